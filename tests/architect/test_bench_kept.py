"""An interrupted ``pxos bench fix`` goes on where it was, and believes nothing that is not the same measurement."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from architect import bench_fix, bench_kept, corpus
from architect.bench_kept import Kept
from architect.bench_result import Result, Taught, Terms
from architect.corpus import Bug
from architect.protocols import Lesson, Signature
from toolchain.command import Ui
from toolchain.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
TERMS = Terms(seconds=60.0)


@pytest.fixture
def bugs(tmp_path: Path) -> list[Bug]:
    """Three bugs in a folder of their own."""
    folder = tmp_path / "bugs"
    folder.mkdir()
    for bug in [bug for bug in corpus.load(ROOT / "tests/bugs") if bug.tree == "kernel"][:3]:
        shutil.copy(bug.file, folder)
    return corpus.load(folder)


@pytest.fixture
def trees(tmp_path: Path) -> dict[str, Path]:
    for kind in bench_fix.TREES:
        (tmp_path / kind / "cpu").mkdir(parents=True)
        (tmp_path / kind / "cpu/idt.s").write_text("ret\n")
    return {kind: tmp_path / kind for kind in bench_fix.TREES}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def lesson(number: int, cause: str) -> Lesson:
    words: dict[str, list[str]] = {name: [] for name in ("before", "after", "remove")}
    step = {"routine": "r", "role": "", "file": "a.s", **words, "insert": ["iretq"]}
    signature = Signature("fault", 14, (), None, None, None, None, (), None)
    return Lesson(number, signature, cause, {"operator": "x", "steps": [step]}, {"runs": [{}]})


def result(bug: Bug, *learnt: Lesson) -> Result:
    return Result(
        bug, "fixed", "why", True, ("an invariant: broken",), True, "search", "delete", "--- a\n+++ b\n", 7, 3, 1.5,
        0, 2.5, 1, "search", None, {"contract": [0.5], "booted": []}, learnt,
    )  # fmt: skip


def test_what_is_kept_comes_back_as_it_was(bugs: list[Bug], trees: dict[str, Path], file: Path) -> None:
    first = result(bugs[0], lesson(1, "one"), lesson(2, "two"))
    Kept(file, trees).put(first, TERMS)
    Kept(file, trees).put(result(bugs[1]), TERMS)
    kept = Kept(file, trees)
    assert kept.get(bugs[0], TERMS) == first
    assert kept.get(bugs[1], TERMS) == result(bugs[1])
    assert kept.get(bugs[2], TERMS) is None


def test_other_terms_are_another_measurement(bugs: list[Bug], trees: dict[str, Path], file: Path) -> None:
    bug, other = bugs[:2]
    taught = (Taught(bug.id, lesson(1, "of itself")), Taught(other.id, lesson(1, "of another")))
    terms = replace(TERMS, taught=taught)
    Kept(file, trees).put(result(bug), terms)
    kept = Kept(file, trees)
    assert kept.get(bug, terms)
    assert kept.get(bug, replace(terms, taught=taught[1:])), "lessons of the bug itself are not told"
    for change in ({"taught": taught[:1]}, {"engine": "auto"}, {"seconds": 61.0}, {"max_boots": 1}):
        assert kept.get(bug, replace(terms, **change)) is None, change


def test_another_tree_or_bug_or_code_or_machine_is_another_measurement(
    bugs: list[Bug], trees: dict[str, Path], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bug, source = bugs[0], trees["kernel"] / "cpu/idt.s"
    Kept(file, trees).put(result(bug), TERMS)
    source.write_text("iretq\n")
    assert Kept(file, trees).get(bug, TERMS) is None
    source.write_text("ret\n")
    assert Kept(file, trees).get(bug, TERMS)
    text = bug.file.read_text()
    bug.file.write_text(text + "# a word\n")
    assert Kept(file, trees).get(bug, TERMS) is None
    bug.file.write_text(text)
    with monkeypatch.context() as patch:
        patch.setattr("toolchain.measure.machine", lambda: {"cpu": "another"})
        assert Kept(file, trees).get(bug, TERMS) is None
    monkeypatch.setattr(bench_kept, "__file__", str(source))
    assert Kept(file, trees).get(bug, TERMS) is None


def test_a_line_that_is_torn_or_changed_is_passed_over(
    bugs: list[Bug], trees: dict[str, Path], file: Path
) -> None:
    for bug in bugs[:2]:
        Kept(file, trees).put(result(bug), TERMS)
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    assert Kept(file, trees).get(bugs[0], TERMS) and Kept(file, trees).get(bugs[1], TERMS) is None
    Kept(file, trees).put(result(bugs[1]), TERMS)
    assert Kept(file, trees).get(bugs[1], TERMS), "what comes after a torn line is whole"
    file.write_bytes(whole.replace(b'"fixed"', b'"wrong"', 1))
    assert Kept(file, trees).get(bugs[0], TERMS) is None and Kept(file, trees).get(bugs[1], TERMS)
    file.write_bytes(b"\x00\xff nothing of ours\n")
    assert Kept(file, trees).get(bugs[0], TERMS) is None


def test_what_is_noted_comes_back_for_the_same_trees(trees: dict[str, Path], file: Path) -> None:
    Kept(file, trees).note("a mutant", ["noticed", "why"])
    assert Kept(file, trees).recall("a mutant") == ["noticed", "why"]
    assert Kept(file, trees).recall("another") is None
    (trees["kernel"] / "cpu/idt.s").write_text("iretq\n")
    assert Kept(file, trees).recall("a mutant") is None


def test_an_interrupted_run_goes_on(
    bugs: list[Bug], trees: dict[str, Path], file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repaired: list[str] = []
    interrupts = [KeyboardInterrupt]

    def repair(bug: Bug, tree: Path, terms: Terms, judge: object) -> Result:
        if bug == bugs[2] and interrupts:
            raise interrupts.pop()
        repaired.append(bug.id)
        return replace(result(bug, lesson(1, bug.id)), asked=terms.engine)

    monkeypatch.setattr(bench_fix, "repair", repair)
    monkeypatch.setattr(bench_fix, "_booted", lambda ui, bugs, kernel: {})
    folder, pair = bugs[0].file.parent, (trees["kernel"], trees["shaders"])

    def run() -> object:
        engines = ["search", "lessons"]
        return bench_fix.each(Ui(quiet=True), pair, folder, (), TERMS, engines, file)["bugs"]

    with pytest.raises(KeyboardInterrupt):
        run()
    names = [bug.id for bug in bugs]
    assert repaired == names[:2]
    told = run()
    assert repaired == [*names, *names], "those that are known are not repaired again"
    assert run() == told
    assert repaired == [*names, *names]


def test_a_file_that_cannot_be_written_is_one_line(
    bugs: list[Bug], trees: dict[str, Path], tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="cannot write"):
        Kept(tmp_path / "none/kept", trees).put(result(bugs[0]), TERMS)
    with pytest.raises(InputError):
        Kept(tmp_path, trees)
