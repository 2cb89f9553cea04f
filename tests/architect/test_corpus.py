"""The seeded bugs stand: every file is read, and what it plants stands exactly once in the kernel as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect import corpus

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "kernel"
FOLDERS = ("tests/bugs", "tests/bugs/further")
BUGS = [bug for folder in FOLDERS for bug in corpus.load(ROOT / folder)]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.id)
def test_a_bug_applies_to_the_kernel(bug: corpus.Bug) -> None:
    sources = corpus.sources(KERNEL)
    changed = corpus.changed(bug, sources)
    assert changed
    assert all(text != sources[name] for name, text in changed.items())


def test_further_bugs_are_of_other_classes() -> None:
    ours = {bug.cls for bug in corpus.load(ROOT / FOLDERS[0])}
    further = [bug.cls for bug in corpus.load(ROOT / FOLDERS[1])]
    assert not ours.intersection(further)
    assert len(further) == len(set(further))
