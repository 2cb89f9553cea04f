"""``pxos bench fix``: every bug of the corpus repaired from nothing, then judged by what the repair never saw.

Owns the conditions of that measurement: a tree without history, corpus or build products, a cache of its own, an
empty lesson store; the invariants in a process of their own, on a fresh copy with the patch applied. *Plausible*: every
gate of ``pxos fix`` passes. *Correct*: plausible, and every invariant of the bug holds. Never tells an engine
anything of a bug. Of several engines the first works from nothing; the others find the lessons that it learnt from all
bugs but the one at hand (leaving one out).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from architect import bench_rates, corpus, invariants, run
from architect.bench_kept import Kept
from architect.bench_result import Result, Taught, Terms
from architect.bench_told import engine_row, line, told
from architect.corpus import Bug
from architect.lessons import SqliteLessons
from architect.verdict import Verdict
from toolchain import scratch
from toolchain.command import Ui
from toolchain.errors import InputError, PxError

STAGE = "bench"
TREES = ("kernel", "shaders")
Judged = tuple[
    tuple[str, ...], bool | None
]  # the broken invariants, and whether the code is the sound one's again
BEFORE_BOOT = frozenset(("assembles", "checks", "contract"))  # gates that find a bug without booting it


def by_invariants(bug: Bug, tree: Path, patched: Path) -> Judged:
    """A repair by the invariants of its bug."""
    return _broken(bug, tree, patched), None


def repairs(
    ui: Ui,
    bugs: Sequence[Bug],
    trees: Mapping[str, Path],
    terms: Terms,
    kept: Kept | None = None,
    judge: Callable[[Bug, Path, Path], Judged] = by_invariants,
) -> list[Result]:
    """Every bug repaired, one behind the other.

    Args:
        ui: told of each.
        bugs: of the corpus.
        trees: the sound tree of each kind.
        terms: for each.
        kept: what an interrupted run has measured; it takes what this one does.
        judge: of a bug, the sound tree and the patched one.

    Raises:
        InputError: a bug no longer applies to its tree; what is kept cannot be written.
        ToolError: QEMU or GRUB is missing.
    """
    results = []
    for bug in bugs:
        known = kept.get(bug, terms) if kept else None
        result = known or repair(bug, trees[bug.tree], terms, judge)
        if kept and not known:
            kept.put(result, terms)
        results.append(result)
        ui.step(line(result) + (", known from before" if known else ""))
    return results


def _booted(ui: Ui, bugs: Sequence[Bug], kernel: Path) -> bench_rates.Seconds:
    """What booted candidates take, where kernels are among the bugs: shaders boot nothing."""
    if not any(bug.tree == "kernel" for bug in bugs):
        return {}
    from architect import bench_boots

    ui.step("candidates that are booted, beside an empty kernel")
    with scratch.folder("pxos-bench-") as folder:
        return bench_boots.rates(bugs, kernel, folder)


def each(
    ui: Ui,
    trees: tuple[Path, Path],
    folder: Path,
    ids: Sequence[str],
    terms: Terms,
    engines: Sequence[str],
    keep: Path | None = None,
) -> dict[str, Any]:
    """Several engines, one behind the other under the same terms; totals are those of the first.

    Args:
        ui: told of each bug.
        trees: the sound kernel, the sound shaders.
        folder: the corpus.
        ids: bugs; all when empty.
        terms: without their engine.
        engines: names.
        keep: the file in which results are kept as they come, and from which an interrupted run goes on.

    Raises:
        InputError: no such bug, or one that no longer applies to its tree; the file cannot be read or written.
        ToolError: QEMU or GRUB is missing.
    """
    bugs = chosen(corpus.load(folder), ids)
    by_kind = dict(zip(TREES, trees, strict=True))
    kept = Kept(keep, by_kind) if keep else None
    return compared(ui, bugs, by_kind, terms, engines, kept)


def compared(
    ui: Ui,
    bugs: Sequence[Bug],
    trees: Mapping[str, Path],
    terms: Terms,
    engines: Sequence[str],
    kept: Kept | None = None,
    judge: Callable[[Bug, Path, Path], Judged] | None = None,
) -> dict[str, Any]:
    """``each`` for bugs that are at hand; with a ``judge`` of their own no boots are measured beside."""
    parts: dict[str, dict[str, Any]] = {}
    for name in engines:
        ui.step(f"engine {name}" + (f", taught {len(terms.taught)} lessons of other bugs" if parts else ""))
        results = repairs(ui, bugs, trees, replace(terms, engine=name), kept, judge or by_invariants)
        if not parts:
            taught = [Taught(result.bug.id, lesson) for result in results for lesson in result.learnt]
            terms = replace(terms, taught=tuple(taught))
        parts[name] = told(results, {} if parts or judge else _booted(ui, bugs, trees["kernel"]))
    first = parts[engines[0]]
    rows = [engine_row(name, part) for name, part in parts.items()]
    return {**first, "bugs": [bug for part in parts.values() for bug in part["bugs"]], "engines": rows}


def chosen(bugs: Sequence[Bug], ids: Sequence[str]) -> Sequence[Bug]:
    """The bugs named, in the order of the corpus; all when none is."""
    known = {bug.id for bug in bugs}
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise InputError(f"no bug is called '{unknown[0]}' (see pxos bugs list)", stage=STAGE)
    return [bug for bug in bugs if not ids or bug.id in ids]


def repair(
    bug: Bug, tree: Path, terms: Terms, judge: Callable[[Bug, Path, Path], Judged] = by_invariants
) -> Result:
    """Plant, repair, judge: one bug in a folder of its own that is gone afterwards."""
    with scratch.folder("pxos-bench-") as folder:
        planted = corpus.plant(bug, tree, folder / "tree")
        store = SqliteLessons(folder / "lessons")
        known = {
            store.merge(lesson.signature, lesson.cause, lesson.edit, lesson.evidence["runs"])
            for lesson in (taught.lesson for taught in terms.taught if taught.bug != bug.id)
        }
        settings = run.Settings(
            planted,
            folder / "fix",
            folder / "lessons",
            terms.engine,
            terms.seconds,
            terms.max_boots,
            model=terms.model,
            ledger=terms.ledger,
            guards=False,
        )
        before = sum(os.times()[:4])  # of this process and of those that it has waited for
        try:
            done = run.repair(settings, Ui(quiet=True))
        except InputError as error:
            return Result(bug, "error", error.message, asked=terms.engine)
        cpu_seconds = sum(os.times()[:4]) - before
        verdict = done.verdict
        broken: tuple[str, ...] = ()
        same: bool | None = None
        if verdict.patch is not None:
            patched = done.workspace.materialise(folder / "patched", verdict.patch)
            broken, same = judge(bug, tree, patched)
        found = _result(bug, verdict, done.data["patch"], broken)
        money = done.data.get("money")
        money = None if money is None else str(money)
        taken = bench_rates.of_journals(folder / "fix")
        learnt = tuple(lesson for lesson in store.all() if lesson.id not in known)
        return replace(
            found,
            asked=terms.engine,
            money=money,
            cpu_seconds=cpu_seconds,
            taken=taken,
            learnt=learnt,
            same_code=same,
        )


def _broken(bug: Bug, tree: Path, patched: Path) -> tuple[str, ...]:
    try:
        rows = invariants.in_own_process(bug, tree, patched)
    except PxError as error:
        return (error.message,)
    return tuple(f"{row['kind']}: {row['message']}" for row in rows if not row["holds"])


def _result(bug: Bug, verdict: Verdict, patch: str | None, broken: tuple[str, ...]) -> Result:
    return Result(
        bug,
        verdict.outcome,
        verdict.reason,
        plausible=verdict.outcome == "fixed",
        broken=broken,
        before_boot=any(gate.gate in BEFORE_BOOT for gate in verdict.case.failures),
        engine=verdict.patch.engine if verdict.patch else None,
        operator=verdict.patch.operator if verdict.patch else None,
        patch=patch,
        candidates=verdict.candidates,
        boots=verdict.boots,
        seconds=verdict.seconds,
        tokens=verdict.tokens,
        edits=len(verdict.patch.edits) if verdict.patch else 0,
    )
