"""The seeded bugs stand: every file is read, and what it plants stands exactly once in its tree as it is."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from architect import corpus
from toolchain.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
CORPUS = ROOT / "tests/bugs"
BUGS = corpus.load(CORPUS)
SOURCES = {tree: corpus.sources(ROOT / tree) for tree in corpus.TREES}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.id)
def test_a_bug_applies_to_its_tree(bug: corpus.Bug) -> None:
    sources = SOURCES[bug.tree]
    changed = corpus.changed(bug, sources)
    assert changed
    assert all(text != sources[name] for name, text in changed.items())


def test_the_corpus_is_as_large_and_various_as_is_said() -> None:
    assert len(BUGS) >= 60
    assert len({bug.cls for bug in BUGS}) >= 20
    trees = Counter(bug.tree for bug in BUGS)
    assert trees["shaders"] >= 10 and trees["kernel"] >= 60
    assert sum(bug.reference_edits > 1 for bug in BUGS) >= 4
    assert sum(bug.cls == "missing-routine" for bug in BUGS) >= 2


def test_further_bugs_are_of_other_classes() -> None:
    folders = {"bugs", "further"}
    ours = {bug.cls for bug in BUGS if bug.file.parent.name == "bugs"}
    further = [bug.cls for bug in BUGS if bug.file.parent.name == "further"]
    assert not ours.intersection(further)
    assert len(further) == len(set(further))
    assert folders <= {bug.file.parent.name for bug in BUGS}


def test_two_bugs_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    for folder in (tmp_path, tmp_path / "other"):
        shutil.copy(CORPUS / "misspelt-symbol.toml", folder)
    with pytest.raises(InputError, match="has the id 'misspelt-symbol' too"):
        corpus.load(tmp_path)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('tree = "paper"', "'tree' is 'paper', expected one of kernel, shaders"),
        ('tree = "shaders"', "'noticed_by' is 'boot', expected one of compiles, loops, reference"),
    ],
)
def test_a_tree_has_gates_of_its_own(tmp_path: Path, line: str, said: str) -> None:
    rows = (CORPUS / "sse-not-enabled.toml").read_text().splitlines()
    kept = [row for row in rows if not row.startswith("noticed_by")]
    path = tmp_path / "sse-not-enabled.toml"
    path.write_text("\n".join([line, 'noticed_by = "boot"', *kept]))
    with pytest.raises(InputError, match=said):
        corpus.read(path)
