"""Every operator of the search: a small source in which its mistake stands, and the mend among what it offers."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect.checks import places
from architect.coverage import Run
from architect.evidence import Reader
from architect.operators import Site, View, operators
from architect.origins import Demand
from architect.plausibility import apply
from architect.protocols import GateResult
from architect.source import Tree
from architect.statements import strip_comment
from tests.architect.kernels import case, sources
from tests.architect.mistakes import MISTAKES, Mistake

OPERATORS = {operator.name: operator for operator in operators()}


def code(text: str) -> list[str]:
    """The lines of a source without comments, blanks and indentation."""
    return [line for raw in text.split("\n") if (line := " ".join(strip_comment(raw).split()))]


def waiting(mistake: Mistake, texts: dict[str, str]) -> tuple[Run, ...]:
    """The run in which a register had a wrong value before every line of the file."""
    if mistake.value is None:
        return ()
    register, came, wanted = mistake.value
    lines = range(1, texts[mistake.file].count("\n") + 1)
    gaps = {(mistake.file, line): {register: came} for line in lines}
    demand = Demand(register, (1 << 64) - 1, came, wanted, None, {}, gaps)
    return (Run("contract", True, 1.0, frozenset(gaps), frozenset(), demands=(demand,)),)


def bits(folder: Path, mistake: Mistake) -> float | None:
    """The cost within the operator of the mend of a mistake; None when it is not among what the operator offers."""
    sound = sources()
    sound[mistake.file] += mistake.more
    assert mistake.right in sound[mistake.file]
    broken = {**sound, mistake.file: sound[mistake.file].replace(mistake.right, mistake.wrong, 1)}
    lost = f"{mistake.file}:1: error: undefined symbol `{mistake.lacks}'"
    failures = (GateResult("assembles", False, 0.0, lost, {}),) if mistake.lacks else ()
    baseline = sound if mistake.operator == "revert" else {}
    known = case(folder, broken, baseline=baseline, runs=waiting(mistake, broken), failures=failures)
    tree = Tree(broken)
    view = View(Reader(known, tree))
    operator = OPERATORS[mistake.operator]
    wanted = code(sound[mistake.file])
    found = []
    for statement in tree.files[mistake.file]:
        site = Site(statement, view)
        if site.sort not in operator.sorts:
            continue
        for variant in operator.generate(site):
            for edit in variant.edits:
                stands = tree.lines[edit.file][edit.line - 1 : edit.line - 1 + len(edit.old)]
                assert (edit.file, tuple(stands)) == (mistake.file, edit.old)
            if code("\n".join(apply(tree.lines[mistake.file], variant.edits))) == wanted:
                found.append(variant.bits)
    return min(found, default=None)


@pytest.mark.parametrize("mistake", MISTAKES, ids=str)
def test_the_mend_is_among_what_the_operator_offers(tmp_path: Path, mistake: Mistake) -> None:
    cost = bits(tmp_path, mistake)
    assert cost is not None
    assert cost <= mistake.most


def test_every_operator_has_a_mistake() -> None:
    assert {mistake.operator for mistake in MISTAKES} == OPERATORS.keys()


@pytest.mark.parametrize(
    "text", ["stc", "clc", "popfq", "repne scasb", "lock xadd [rdi], rax", "loop 1b", "jrcxz 1f"]
)
def test_what_assembles_is_not_taken_for_misspelt(tmp_path: Path, text: str) -> None:
    tree = Tree({"a.s": f"f:\n1:  {text}\n1:  ret\n"})
    view = View(Reader(case(tmp_path, dict(tree.texts)), tree))
    site = Site(next(s for s in tree.statements() if s.line == 2), view)
    assert [v.note for v in OPERATORS["spelling"].generate(site) if v.note.split()[0] in text.split()] == []


_ODD = (
    "010",
    "0010",
    "08",
    "7" * 5000,
)  # octal for GNU as, nothing for int(..., 0); no number of GNU as, too long


def test_every_operator_reads_numbers_as_the_assembler_does(tmp_path: Path) -> None:
    lines = ["push rbx", *(f"{form.format(n)}" for n in _ODD for form in (
        "sub rsp, {}", "mov eax, {}", "shl eax, {}", "and eax, {}", "mov rax, [rsp + {}]", ".balign {}", ".set K, {}",
    ))]  # fmt: skip
    tree = Tree({"a.s": "f:\n" + "\n".join(f"    {line}" for line in lines) + "\n    ret\n"})
    view = View(Reader(case(tmp_path, dict(tree.texts)), tree))
    sites = [Site(statement, view) for statement in tree.statements()]
    offered = {
        (site.statement.line, variant.note)
        for site in sites for operator in OPERATORS.values() if site.sort in operator.sorts
        for variant in operator.generate(site)
    }  # fmt: skip
    assert (3, "010 -> 7 (off by one)") in offered
    assert [places._size(f".balign {n}", 1) for n in _ODD] == [7, 7, None, None]


def test_the_ends_of_blocks_stay_where_they_are(tmp_path: Path) -> None:
    """Nobody writes half of a macro's body behind its end, aligns an end, or begins a macro twice."""
    known = sources()
    view = View(Reader(case(tmp_path, known), Tree(known)))
    ends = {".macro", ".endm"}
    for name in ("order-neighbours", "order-move", "alignment", "sibling-insert"):
        for statement in view.tree.files["include/macros.inc"]:
            site = Site(statement, view)
            for variant in OPERATORS[name].generate(site) if site.sort in OPERATORS[name].sorts else ():
                words = {w for e in variant.edits for line in (*e.old, *e.new) for w in line.split()[:1]}
                assert words.isdisjoint(ends), (name, variant.note)
                assert statement.name not in ends, (name, variant.note)
