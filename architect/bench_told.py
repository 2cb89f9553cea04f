"""How a run of ``pxos bench fix`` is told: a row for each bug and engine, totals, the table of the README.

Owns the forms: JSON as the contract has it, text, Markdown. Repairs nothing.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from architect import bench_rates
from architect.bench_result import Result
from toolchain import measure


def told(results: Sequence[Result], booted: bench_rates.Seconds) -> dict[str, Any]:
    """The JSON of one engine.

    Args:
        results: of each bug.
        booted: what candidates took that were booted for the measurement, by their kind.
    """
    return {
        "machine": measure.machine(),
        "rows": totals(results) + bench_rates.rows([result.taken for result in results], booted),
        "bugs": [row(result) for result in results],
        "prevention_rate": rate(sum(r.before_boot for r in results), len(results)),
    }


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
        "same_code": result.same_code,
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
