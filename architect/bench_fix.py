"""``pxos bench fix``: every bug of the corpus repaired from nothing, then judged by what the repair never saw.

Owns the conditions of that measurement: a tree without history, corpus or build products, a cache of its own, an
empty lesson store; the invariants in a process of their own, on a fresh copy with the patch applied. *Plausible*: every
gate of ``pxos fix`` passes. *Correct*: plausible, and every invariant of the bug holds. Never tells an engine
anything of a bug.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect import bench_rates, corpus, invariants, run
from architect.corpus import Bug
from architect.verdict import Verdict
from toolchain import measure, scratch
from toolchain.command import Ui
from toolchain.errors import InputError, PxError

if TYPE_CHECKING:
    from architect.model.ledger import Ledger
    from architect.model.settings import ModelSettings

STAGE = "bench"
BUDGET_SECONDS = 120.0
BOOTS_MAX = 4000
BEFORE_BOOT = frozenset(("assembles", "checks", "contract"))  # gates that find a bug without booting it


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms every bug is repaired: engine, seconds and boots for each, and the language model, if any."""

    engine: str = "search"
    seconds: float = BUDGET_SECONDS
    max_boots: int = BOOTS_MAX
    model: ModelSettings | None = None
    ledger: Ledger | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one bug.

    Attributes:
        bug: of the corpus.
        outcome: of ``pxos fix``, or ``error``.
        reason: its sentence.
        plausible: a patch passed every gate.
        broken: the invariants that do not hold for it, a line each.
        before_boot: the planted bug is found without a boot.
        engine, operator, patch: whose repair it is, and the diff.
        candidates, boots, seconds, tokens: what it took.
        cpu_seconds: time on a processor of the repair with all that it started, QEMU too: what a machine that others
            load as well does not stretch.
        asked: the engine of the terms.
        money: what a model cost, as text; None where none was asked or its price is unknown.
        taken: what its candidates took of their workers, by what was asked of them.
    """

    bug: Bug
    outcome: str
    reason: str
    plausible: bool = False
    broken: tuple[str, ...] = ()
    before_boot: bool = False
    engine: str | None = None
    operator: str | None = None
    patch: str | None = None
    candidates: int = 0
    boots: int = 0
    seconds: float = 0.0
    tokens: int = 0
    cpu_seconds: float = 0.0
    edits: int = field(default=0)
    asked: str = ""
    money: str | None = None
    taken: bench_rates.Seconds = field(default_factory=dict)

    @property
    def correct(self) -> bool:
        """Plausible, and every invariant holds."""
        return self.plausible and not self.broken


def bench(
    ui: Ui,
    tree: Path,
    folder: Path,
    ids: Sequence[str] = (),
    terms: Terms = Terms(),
    shaders: Path = Path("shaders"),
) -> dict[str, Any]:
    """Repair every bug of ``folder`` (or those named) planted into ``tree``; the JSON of ``pxos bench fix``.

    Raises:
        InputError: no such bug, or one that no longer applies to the tree.
        ToolError: QEMU or GRUB is missing.
    """
    bugs = chosen(corpus.load(folder), ids)
    results = []
    for bug in bugs:
        result = repair(bug, {"kernel": tree, "shaders": shaders}[bug.tree], terms)
        results.append(result)
        ui.step(line(result))
    taken = [result.taken for result in results]
    booted: bench_rates.Seconds = {}
    if any(bug.tree == "kernel" for bug in bugs):  # repairs of shaders boot nothing, and need no QEMU
        from architect import bench_boots

        ui.step("candidates that are booted, beside an empty kernel")
        with scratch.folder("pxos-bench-") as scratched:
            booted = bench_boots.rates(bugs, tree, scratched)
    return {
        "machine": measure.machine(),
        "rows": totals(results) + bench_rates.rows(taken, booted),
        "bugs": [row(result) for result in results],
        "prevention_rate": rate(sum(r.before_boot for r in results), len(results)),
    }


def each(
    ui: Ui,
    trees: tuple[Path, Path],
    folder: Path,
    ids: Sequence[str],
    terms: Terms,
    engines: Sequence[str],
) -> dict[str, Any]:
    """``bench`` for several engines, one behind the other under the same terms; totals are those of the first.

    Args:
        ui: told of each bug.
        trees: the sound kernel, the sound shaders.
        folder: the corpus.
        ids: bugs; all when empty.
        terms: without their engine.
        engines: names.
    """
    parts = {}
    for name in engines:
        ui.step(f"engine {name}")
        parts[name] = bench(ui, trees[0], folder, ids, replace(terms, engine=name), trees[1])
    first = parts[engines[0]]
    rows = [engine_row(name, part) for name, part in parts.items()]
    return {**first, "bugs": [bug for part in parts.values() for bug in part["bugs"]], "engines": rows}


def engine_row(name: str, part: dict[str, Any]) -> dict[str, Any]:
    """What one engine did on the whole corpus."""
    bugs = part["bugs"]
    spent = [Decimal(bug["money"]) for bug in bugs if bug["money"] is not None]
    return {
        "engine": name,
        "bugs": len(bugs),
        "plausible": sum(bug["plausible"] for bug in bugs),
        "correct": sum(bug["correct"] for bug in bugs),
        "wrong": sum(bug["plausible"] and not bug["correct"] for bug in bugs),
        "boots": sum(bug["boots"] for bug in bugs),
        "seconds": round(sum(bug["seconds"] for bug in bugs), 1),
        "median_seconds": round(statistics.median(bug["seconds"] for bug in bugs), 2) if bugs else None,
        "tokens": sum(bug["tokens"] for bug in bugs),
        "money": str(sum(spent)) if spent else None,
    }


def chosen(bugs: Sequence[Bug], ids: Sequence[str]) -> Sequence[Bug]:
    """The bugs named, in the order of the corpus; all when none is."""
    known = {bug.id for bug in bugs}
    unknown = [name for name in ids if name not in known]
    if unknown:
        raise InputError(f"no bug is called '{unknown[0]}' (see pxos bugs list)", stage=STAGE)
    return [bug for bug in bugs if not ids or bug.id in ids]


def repair(bug: Bug, tree: Path, terms: Terms) -> Result:
    """Plant, repair, judge: one bug in a folder of its own that is gone afterwards."""
    with scratch.folder("pxos-bench-") as folder:
        planted = corpus.plant(bug, tree, folder / "tree")
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
        if verdict.patch is not None:
            patched = done.workspace.materialise(folder / "patched", verdict.patch)
            broken = _broken(bug, tree, patched)
        found = _result(bug, verdict, done.data["patch"], broken)
        money = done.data.get("money")
        money = None if money is None else str(money)
        taken = bench_rates.of_journals(folder / "fix")
        return replace(found, asked=terms.engine, money=money, cpu_seconds=cpu_seconds, taken=taken)


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


def row(result: Result) -> dict[str, Any]:
    """One bug as the contract lists it."""
    return {
        "id": result.bug.id,
        "class": result.bug.cls,
        "plausible": result.plausible,
        "correct": result.correct,
        "engine": result.engine,
        "operator": result.operator,
        "candidates": result.candidates,
        "boots": result.boots,
        "seconds": round(result.seconds, 3),
        "cpu_seconds": round(result.cpu_seconds, 3),
        "tokens": result.tokens,
        "asked": result.asked,
        "money": result.money,
        "outcome": result.outcome,
        "reason": result.reason,
        "reference_edits": result.bug.reference_edits,
        "edits": result.edits,
        "found_before_boot": result.before_boot,
        "broken": list(result.broken),
        "patch": result.patch,
    }


def line(result: Result) -> str:
    """One bug for a person."""
    verdict = "correct" if result.correct else "plausible" if result.plausible else result.outcome
    text = (
        f"{result.bug.id:<28} {result.bug.cls:<24} {verdict:<10} {result.operator or '-':<18}"
        f" {result.candidates:>5} candidates {result.boots:>4} boots {result.seconds:>6.1f} s"
        f" ({result.cpu_seconds:.1f} s of CPU)"
    )
    return f"{text}  {'; '.join(result.broken)}" if result.broken else text


def totals(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The rows of the contract; the peer of a count is the number of bugs."""
    one = [r for r in results if r.bug.reference_edits == 1]
    return [
        _count("plausible", [r.plausible for r in results], "all bugs"),
        _count("correct", [r.correct for r in results], "all bugs"),
        _count("wrong", [r.plausible and not r.correct for r in results], "all bugs"),
        _count("plausible, one edit mends", [r.plausible for r in one], "bugs that one edit mends"),
        _count("correct, one edit mends", [r.correct for r in one], "bugs that one edit mends"),
        _median("median seconds", [r.seconds for r in results], "s"),
        _median("median CPU seconds", [r.cpu_seconds for r in results], "s"),
        _median("median boots", [float(r.boots) for r in results], "boots"),
        _median("median candidates", [float(r.candidates) for r in results], "candidates"),
    ]


def _count(what: str, held: Sequence[bool], peer: str) -> dict[str, Any]:
    return {
        "what": what, "ours": sum(held), "peer": peer, "peer_value": len(held), "ratio": rate(sum(held), len(held)),
        "unit": "bugs", "spread": None, "runs": 1,
    }  # fmt: skip


def _median(what: str, values: Sequence[float], unit: str) -> dict[str, Any]:
    return measure.row(what, values, "", [], unit) if values else _count(what, [], "")


def rate(part: int, whole: int) -> float | None:
    """A share to three digits; None of nothing."""
    return round(part / whole, 3) if whole else None


def markdown(data: dict[str, Any]) -> str:
    """The engines side by side as a Markdown table, with the machine that it was measured on."""
    lines = [
        "| engine | bugs | plausible | correct | wrong | boots | median s | tokens | money |",
        "| ------ | ---: | --------: | ------: | ----: | ----: | -------: | -----: | ----: |",
    ]
    for row in data["engines"]:
        median = "-" if row["median_seconds"] is None else f"{row['median_seconds']:g}"
        lines.append(
            f"| `{row['engine']}` | {row['bugs']} | {row['plausible']} | {row['correct']} | {row['wrong']} "
            f"| {row['boots']} | {median} | {row['tokens']} | {row['money'] or '-'} |"
        )
    found, machine = data["prevention_rate"], data["machine"]
    before = "-" if found is None else f"{found:.0%}"
    lines += [
        "",
        f"Found before boot: {before}. {machine['cpu']}, {machine['cores']} cores, {machine['system']}.",
    ]
    return "\n".join(lines)


def text(data: dict[str, Any]) -> str:
    """The totals for a person; each bug was told when it was done."""
    lines = []
    for item in data["rows"]:
        if item["unit"] == "bugs":
            lines.append(f"{item['what']:<28} {item['ours']} of {item['peer_value']}")
        else:
            low, high = item["spread"]["ours"] if item["spread"] else (0, 0)
            text = f"{item['what']:<28} {item['ours']:g}"
            if item["peer"]:
                text += f"  {item['ratio']:.0%} of {item['peer_value']:g} {item['peer']}"
            lines.append(text if low == high else f"{text} ({low:g} to {high:g})")
    found = data["prevention_rate"]
    lines.append(f"{'found before boot':<28} {'-' if found is None else f'{found:.0%}'}")
    return "\n".join(lines)
