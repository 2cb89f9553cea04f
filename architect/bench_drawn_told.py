"""How a run of ``pxos bench fix --drawn`` is told: what became of the mutants, of each class, and of the repairs.

Owns the forms: JSON, text, Markdown. Draws and repairs nothing.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from architect.mutants import Mutant
from architect.mutations import CLASSES

FATES = ("unbuilt", "same", "unnoticed", "noticed")
OTHER_CODE = "other code, which nothing but the tree's own judge has seen"


@dataclass(frozen=True, slots=True)
class Draw:
    """One mutant and its fate: a name of ``FATES``, and what was said of it."""

    mutant: Mutant
    fate: str
    why: str


def told(drawn: Sequence[Draw], seed: int, tree: str, bugs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The JSON of the drawing: what became of the mutants, and of each class of them.

    Args:
        drawn: all draws.
        seed: of the drawing.
        tree: its name.
        bugs: the rows of the repairs, of all engines.
    """
    fates = Counter(one.fate for one in drawn)
    mutants = [
        {"class": d.mutant.cls, "fate": d.fate, "why": d.why, "file": d.mutant.file, "line": d.mutant.line,
         "old": list(d.mutant.old), "new": list(d.mutant.new)}
        for d in drawn
    ]  # fmt: skip
    classes = []
    for engine in dict.fromkeys(bug["asked"] for bug in bugs):
        for cls in CLASSES:
            of_class = [one for one in drawn if one.mutant.cls == cls]
            rows = [bug for bug in bugs if bug["class"] == cls and bug["asked"] == engine]
            if of_class:
                classes.append({"class": cls, "engine": engine, "drawn": len(of_class), **counted(rows)})
    return {
        "seed": seed, "tree": tree, "draws": len(drawn), **{fate: fates[fate] for fate in FATES},
        "classes": classes, "mutants": mutants,
    }  # fmt: skip


def counted(rows: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many of some repairs are what."""
    return {
        "bugs": len(rows),
        "plausible": sum(row["plausible"] for row in rows),
        "same_code": sum(row["same_code"] is True for row in rows),
        "correct": sum(row["correct"] for row in rows),
        "wrong": sum(
            row["plausible"] and not row["correct"] and OTHER_CODE not in row["broken"] for row in rows
        ),
        "unproved": sum(OTHER_CODE in row["broken"] for row in rows),
    }


def text(data: Mapping[str, Any]) -> str:
    """For a person; each draw and each repair was told when it was done."""
    drawn = data["drawn"]
    lines = [
        f"{drawn['draws']} mutants of {drawn['tree']} by seed {drawn['seed']}: {drawn['unbuilt']} do not build,"
        f" {drawn['same']} are the same code, {drawn['unnoticed']} nobody notices, {drawn['noticed']} show"
    ]
    columns = ("drawn", "bugs", "plausible", "same_code", "correct", "wrong", "unproved")
    lines.append(f"{'':<24}" + "".join(f"{name.replace('_', ' '):>11}" for name in columns))
    for row in drawn["classes"]:
        name = f"{row['class']} ({row['engine']})"
        lines.append(f"{name:<24}" + "".join(f"{row[column]:>11}" for column in columns))
    for row in data["engines"]:
        whole = counted([bug for bug in data["bugs"] if bug["asked"] == row["engine"]])
        told_of = "".join(f"{whole[column]:>11}" for column in columns[1:])
        lines.append(
            f"{row['engine']:<24}{drawn['draws']:>11}{told_of}   median {row['median_seconds']:g} s,"
            f" {row['boots']} boots"
        )
    return "\n".join(lines)


HEAD = (
    "| tree | seed | engine | mutants | do not build | same code | unnoticed | bugs | plausible | the sound code again"
    " | correct | wrong | unproved | median s | of CPU |"
)


def markdown(data: Mapping[str, Any]) -> str:
    """The totals as a Markdown table, a row for each engine."""
    lines = [HEAD, "| ---- | ---: | ------ |" + " ---: |" * 12]
    drawn = data["drawn"]
    for row in data["engines"]:
        bugs = [bug for bug in data["bugs"] if bug["asked"] == row["engine"]]
        whole = counted(bugs)
        busy = statistics.median(bug["cpu_seconds"] for bug in bugs)
        cells = [drawn["tree"], drawn["seed"], f"`{row['engine']}`", drawn["draws"]]
        cells += [drawn[fate] for fate in FATES[:3]] + list(whole.values())
        lines.append("| " + " | ".join(map(str, cells)) + f" | {row['median_seconds']:.3g} | {busy:.3g} |")
    return "\n".join(lines)
