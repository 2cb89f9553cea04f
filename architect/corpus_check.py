"""Proof that the corpus is what it says: each bug applies, breaks what it names, and its invariants can tell.

Owns no verdict on repairs. One bug at a time in a process of its own; what a bug must do is in its file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from architect import checks, contracts, corpus, each_bug
from architect.corpus import Bug
from architect.invariants import Court, judge
from toolchain import scratch
from toolchain.errors import InputError

REJECTED = "rejected"
PROOF_SECONDS = 300.0  # after which a proof is taken for dead: its boots have deadlines of their own


HANG_SECONDS = 2.0
SHADER_OUTCOMES = {"compiles": REJECTED, "loops": "hang", "reference": "wrong-value"}


@dataclass(frozen=True, slots=True)
class Proof:
    """What was seen of one bug. ``problems`` is empty when the file tells the truth."""

    id: str
    problems: tuple[str, ...]
    outcome: str
    noticed_by: tuple[str, ...]


def prove(bug: Bug, tree: Path, parent: Path) -> Proof:
    """Plant one bug in a folder under ``parent`` and look: how a boot ends, who notices, what the invariants say."""
    with scratch.folder(f"{bug.id}-", parent) as folder:
        try:
            planted = corpus.plant(bug, tree, folder / "tree")
        except InputError as error:
            return Proof(bug.id, (error.message,), "", ())
        if bug.tree == "shaders":
            return _prove_shaders(bug, tree, planted, folder)
        court = Court(tree, planted, folder)
        try:
            image = court.image
        except InputError as error:
            expected = bug.expect == REJECTED and bug.noticed_by == "assembles"
            problems = () if expected else (f"does not assemble: {error.lines()[0].splitlines()[0]}",)
            return Proof(bug.id, problems, REJECTED, ("assembles",))
        sources = corpus.sources(tree)
        noticed = []
        if checks.findings(image, sources):
            noticed.append("checks")
        if contracts.violations(image, contracts.routines(sources)):
            noticed.append("contract")
        # A hang may end by itself, much later: its deadline is short, and a healthy boot's tenth of it would do.
        result = court.boot(cmdline="test", **({"timeout": HANG_SECONDS} if bug.shows == "hang" else {}))
        failed = [name for name, passed in result.tests.items() if not passed]
        if result.outcome in ("fault", "panic", "reset", "shutdown", "timeout", "silent", "qemu-died"):
            noticed.append("boot")
        if failed or result.outcome == "tests-failed":
            noticed.append("tests")
        rows = judge(bug, court)
        if court.pixels() is not None:
            noticed.append("claims")
        return Proof(
            bug.id, tuple(_problems(bug, result.outcome, noticed, rows)), result.outcome, tuple(noticed)
        )


def _prove_shaders(bug: Bug, tree: Path, planted: Path, folder: Path) -> Proof:
    from architect.shaders import proof
    from architect.shaders.gates import RUNS, STATIC

    failed = [gate.gate for gate in proof.prove(planted, (*STATIC, *RUNS)) if not gate.passed]
    outcome = SHADER_OUTCOMES[failed[0]] if failed else "healthy"
    rows = judge(bug, Court(tree, planted, folder))
    return Proof(bug.id, tuple(_problems(bug, outcome, failed, rows)), outcome, tuple(failed))


def _problems(
    bug: Bug, outcome: str, noticed: Sequence[str], rows: Sequence[dict[str, Any]]
) -> Iterator[str]:
    if outcome != bug.expect:
        yield f"ends as {outcome}, the file expects {bug.expect}"
    first = noticed[0] if noticed else "nothing"
    if bug.noticed_by != "iso" and first != bug.noticed_by:
        yield f"is noticed by {first} first, the file says {bug.noticed_by}"
    if all(row["holds"] for row in rows):
        yield "breaks none of its invariants: a wrong repair would count as correct"


def clean(bugs: Sequence[Bug], trees: Mapping[str, Path]) -> list[str]:
    """What the sound trees break of the invariants of all bugs (nothing, if they are sound too)."""
    problems: dict[str, None] = {}
    seen: set[str] = set()
    with scratch.folder("pxos-sound-") as folder:
        courts = {name: Court(tree, tree, folder) for name, tree in trees.items()}
        for bug in bugs:
            court = courts[bug.tree]
            fresh = tuple(row for row in bug.invariants if repr(row) not in seen)
            seen.update(repr(row) for row in fresh)
            single = Bug(
                bug.id, bug.cls, bug.report, bug.shows, bug.expect, bug.noticed_by, 1, (), fresh, bug.file
            )
            for row in judge(single, court):
                if not row["holds"]:
                    problems[
                        f"{bug.id}: the sound {bug.tree} tree breaks {row['kind']}: {row['message']}"
                    ] = None
    return list(problems)


def prove_all(bugs: Sequence[Bug], trees: Mapping[str, Path], say: Callable[[Proof], None]) -> list[Proof]:
    """Every bug on all cores, in the order of the corpus.

    Args:
        bugs: which.
        trees: the sound trees.
        say: told of each proof as it is finished.

    Raises:
        PxError: a proof could not be carried out, e.g. a tool is missing.
    """
    return each_bug.ask("bugs", partial(_Prover, trees), "prove", bugs, seconds=PROOF_SECONDS, say=say)


@dataclass(frozen=True, slots=True)
class _Prover:
    """What a worker does."""

    trees: Mapping[str, Path]
    folder: Path

    def prove(self, bug: Bug) -> Proof:
        return prove(bug, self.trees[bug.tree], self.folder)
