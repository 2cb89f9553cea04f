"""Proof that the corpus is what it says: each bug applies, breaks what it names, and its invariants can tell.

Owns no verdict on repairs. One bug at a time in a process of its own; what a bug must do is in its file.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect import checks, contracts, corpus
from architect.corpus import Bug
from architect.invariants import Court, judge
from toolchain.errors import InputError

REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Proof:
    """What was seen of one bug. ``problems`` is empty when the file tells the truth."""

    id: str
    problems: tuple[str, ...]
    outcome: str
    noticed_by: tuple[str, ...]


def prove(bug: Bug, tree: Path) -> Proof:
    """Plant one bug and look: the outcome of a boot, the gates that notice it, the invariants."""
    with tempfile.TemporaryDirectory(prefix="pxos-bug-") as name:
        folder = Path(name)
        try:
            planted = corpus.plant(bug, tree, folder / "tree")
        except InputError as error:
            return Proof(bug.id, (error.message,), "", ())
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
        result = court.boot(cmdline="test")
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


def clean(bugs: Sequence[Bug], tree: Path) -> list[str]:
    """What the sound kernel breaks of the invariants of all bugs (nothing, if they are sound too)."""
    problems: dict[str, None] = {}
    seen: set[str] = set()
    with tempfile.TemporaryDirectory(prefix="pxos-sound-") as name:
        court = Court(tree, tree, Path(name))
        for bug in bugs:
            fresh = tuple(row for row in bug.invariants if repr(row) not in seen)
            seen.update(repr(row) for row in fresh)
            single = Bug(
                bug.id, bug.cls, bug.report, bug.shows, bug.expect, bug.noticed_by, 1, (), fresh, bug.file
            )
            for row in judge(single, court):
                if not row["holds"]:
                    problems[f"{bug.id}: the sound kernel breaks {row['kind']}: {row['message']}"] = None
    return list(problems)


def prove_all(bugs: Sequence[Bug], tree: Path, say: Callable[[Proof], None]) -> list[Proof]:
    """Every bug on all cores, in the order of the corpus."""
    proofs: dict[str, Proof] = {}
    with ProcessPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        waiting = {pool.submit(prove, bug, tree): bug for bug in bugs}
        try:
            for done in as_completed(waiting):
                proof = done.result()
                proofs[proof.id] = proof
                say(proof)
        except KeyboardInterrupt:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [proofs[bug.id] for bug in bugs]
