"""``architect/JOURNAL.md``: what the architect tried, learnt and accepted, written from the evidence and nothing else.

Owns the summaries that are kept of runs and lessons (``architect/evidence/``), and the page that is made of them, of
the prevention history and of the log of prompts. The same evidence gives the same bytes; a run is folded in once,
whatever becomes of its trajectory later. Writes no sentence that a figure does not stand behind.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from architect.ci.escape import line as one_line
from architect.learn import evolve, prevention, trajectory
from architect.learn.recorded import totals
from architect.learn.trajectory import Step
from architect.model import prompt_files
from architect.protocols import Lesson
from toolchain.errors import InputError
from toolchain.files import make_folder, read_bounded, write_atomic

STAGE = "journal"
HOME = Path(__file__).resolve().parents[1]
PAGE = HOME / "JOURNAL.md"
EVIDENCE = HOME / "evidence"
RUNS, LESSONS = "runs.jsonl", "lessons.jsonl"
FILE_BYTES_MAX = 16 << 20
CELL_MAX = 120
_HEAD = """\
# Journal of the architect

Written by `pxos journal` from the evidence: trajectories of repairs, the lesson store, the history of the prevention
rate, the log of prompts. Not edited by hand: a test makes it again and compares.
"""


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the page is made of; rows as they stand in the files."""

    runs: tuple[Mapping[str, Any], ...]
    lessons: tuple[Mapping[str, Any], ...]
    prevention: tuple[Mapping[str, Any], ...]
    prompts: tuple[Mapping[str, Any], ...]


# --- summaries ---------------------------------------------------------------------------------------------


def run_row(data: bytes, steps: Sequence[Step]) -> dict[str, Any] | None:
    """What is kept of a repair's trajectory; None for one that did not come to its end or is of something else."""
    first, ends = steps[0], [step for step in steps if step.kind == "end"]
    if first.kind != "run" or first.data["what"] != "fix" or not ends:
        return None
    proposals = {step.data["id"]: step.data["patch"] for step in steps if step.kind == "proposal"}
    passing = [
        step.data["of"] for step in steps if step.kind == "gate" and step.data["passed"] and step.data["of"]
    ]
    found = proposals.get(passing[-1]) if passing and ends[-1].data["outcome"] == "fixed" else None
    told: Mapping[str, Any] = next((s.data for s in steps if s.kind == "diagnosis"), {"failures": []})
    spent = totals(steps)
    return {
        "id": hashlib.sha256(data).hexdigest()[:16],
        "tree": Path(str(first.data.get("tree", "?"))).name,
        "digest": str(first.data.get("digest", ""))[:16],
        "asked": str(first.data.get("engine", "?")),
        "outcome": ends[-1].data["outcome"],
        "failing": [str(gate["gate"]) for gate in told["failures"]],
        "engine": found["engine"] if found else None,
        "operator": found["operator"] if found else None,
        "proposals": len(proposals),
        "seconds": round(ends[-1].at, 1),
        "requests": spent["requests"],
        "tokens": spent["tokens"],
        "money": spent["money"],
    }


def lesson_row(lesson: Lesson) -> dict[str, Any]:
    """What is kept of a lesson."""
    runs = lesson.evidence.get("runs", ())
    return {
        "id": lesson.id,
        "cause": lesson.cause,
        "operator": lesson.edit["operator"],
        "helped": lesson.helped,
        "misled": lesson.misled,
        "evidence": len(runs),
        "guards": sorted(str(guard["rule"]) for guard in lesson.guards),
    }


def fold_runs(folder: Path, where: Path) -> tuple[int, list[str]]:
    """Add the trajectories below ``where`` that are not known yet; how many, and which could not be read."""
    known = rows_of(folder / RUNS, ("id", "outcome", "proposals", "seconds"))
    seen = {row["id"] for row in known}
    added, bad = 0, []
    for path in sorted(where.rglob("trajectories/*.jsonl")):
        try:
            data = read_bounded(path, trajectory.FILE_BYTES_MAX, stage=STAGE)
            row = run_row(data, trajectory.read(path).steps)
        except InputError as error:
            bad.append(error.message)
            continue
        if row is not None and row["id"] not in seen:
            seen.add(row["id"])
            known.append(row)
            added += 1
    if added:
        _write(folder / RUNS, known)
    return added, bad


def fold_lessons(folder: Path, lessons: Iterable[Lesson]) -> int:
    """Keep the lessons as they are now; how many. A store without any leaves what was kept."""
    rows = [lesson_row(lesson) for lesson in lessons]
    if rows:
        _write(folder / LESSONS, rows)
    return len(rows)


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    make_folder(path.parent, stage=STAGE)
    write_atomic(path, "".join(json.dumps(row, sort_keys=True) + "\n" for row in rows), stage=STAGE)


def rows_of(path: Path, needed: Sequence[str]) -> list[dict[str, Any]]:
    """The rows of a file of evidence; none where there is no file.

    Raises:
        InputError: a line of it is no row.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(read_bounded(path, FILE_BYTES_MAX, stage=STAGE).splitlines(), 1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict) or any(key not in row for key in needed):
            raise InputError(
                f"{path}:{number}: no row of evidence; expected {', '.join(needed)}", stage=STAGE
            )
        rows.append(row)
    return rows


def gather(
    folder: Path = EVIDENCE, bugs: Path | None = None, prompts: Path = prompt_files.FOLDER
) -> Evidence:
    """Every piece of evidence that is kept.

    Raises:
        InputError: one of the files is damaged.
    """
    history = prevention.history(bugs / prevention.HISTORY) if bugs is not None else []
    return Evidence(
        tuple(rows_of(folder / RUNS, ("id", "outcome", "proposals", "seconds", "failing", "tokens"))),
        tuple(rows_of(folder / LESSONS, ("id", "cause", "operator", "helped", "misled", "guards"))),
        tuple(history),
        tuple(evolve.log(prompts)),
    )


# --- the page ----------------------------------------------------------------------------------------------


def page(evidence: Evidence) -> str:
    """The page, Markdown."""
    parts: tuple[Callable[[Evidence], Iterator[str]], ...] = (_tried, _learnt, _prevented, _prompts)
    return "\n".join([_HEAD, *(line for part in parts for line in (*part(evidence), ""))]).rstrip() + "\n"


def figures(evidence: Evidence) -> dict[str, Any]:
    """The figures that the page tells."""
    runs = evidence.runs
    fixed = [run for run in runs if run["outcome"] == "fixed"]
    return {
        "runs": len(runs),
        "fixed": len(fixed),
        "outcomes": dict(sorted(Counter(str(run["outcome"]) for run in runs).items())),
        "engines": dict(sorted(Counter(str(run["engine"]) for run in fixed).items())),
        "proposals": sum(run["proposals"] for run in runs),
        "median_proposals": median([run["proposals"] for run in fixed]) if fixed else None,
        "median_seconds": median([run["seconds"] for run in fixed]) if fixed else None,
        "tokens": sum(run["tokens"] for run in runs),
        "lessons": len(evidence.lessons),
        "guarded": sum(bool(lesson["guards"]) for lesson in evidence.lessons),
        "helped": sum(lesson["helped"] for lesson in evidence.lessons),
        "misled": sum(lesson["misled"] for lesson in evidence.lessons),
        "prevention_rate": evidence.prevention[-1]["prevention_rate"] if evidence.prevention else None,
        "prompts_accepted": sum(row["kind"] == "accepted" for row in evidence.prompts),
        "prompts_rejected": sum(row["kind"] == "rejected" for row in evidence.prompts),
    }


def _tried(evidence: Evidence) -> Iterator[str]:
    told = figures(evidence)
    yield "## What was tried"
    yield ""
    if not evidence.runs:
        yield "No repair is recorded."
        return
    outcomes = ", ".join(f"{count} {name}" for name, count in told["outcomes"].items())
    yield f"{told['runs']} repairs ({outcomes}), {told['proposals']} proposals, {told['tokens']} tokens of a model."
    if told["fixed"]:
        engines = ", ".join(f"{name} {count}" for name, count in told["engines"].items())
        yield f"Median of the repaired: {told['median_proposals']:g} proposals, {told['median_seconds']:g} s."
        yield f"Found by: {engines}."
    yield ""
    yield from _table(
        ("tree", "first failing gate", "outcome", "found by", "kind of edit", "proposals", "seconds", "tokens"),
        [
            (run.get("tree", "?"), (run["failing"] or ["-"])[0], run["outcome"], run["engine"] or "-",
             run["operator"] or "-", run["proposals"], run["seconds"], run["tokens"])
            for run in evidence.runs
        ],
    )  # fmt: skip


def _learnt(evidence: Evidence) -> Iterator[str]:
    told = figures(evidence)
    yield "## What was learnt"
    yield ""
    if not evidence.lessons:
        yield "No lesson is recorded."
        return
    yield (
        f"{told['lessons']} lessons, {told['guarded']} of them carry a guard; they helped {told['helped']} times and "
        f"misled {told['misled']} times."
    )
    yield ""
    yield from _table(
        ("lesson", "cause", "kind of edit", "helped", "misled", "guards"),
        [
            (
                row["id"],
                row["cause"],
                row["operator"],
                row["helped"],
                row["misled"],
                ", ".join(row["guards"]) or "-",
            )
            for row in evidence.lessons
        ],
    )


def _prevented(evidence: Evidence) -> Iterator[str]:
    yield "## What is found before a boot"
    yield ""
    if not evidence.prevention:
        yield "The prevention rate was not measured."
        return
    yield "Shares of the corpus, a class never counted on guards of its own (`pxos bench prevention`)."
    yield ""
    ways = ("assembles", "checks", "contract", "guards", "guards_alone")
    yield from _table(
        ("kernel", "bugs", "found", "assembling", "checks", "contracts", "guards", "guards alone"),
        [
            (
                row["kernel"],
                row["bugs"],
                _percent(row["prevention_rate"]),
                *(_percent(row["by"].get(w)) for w in ways),
            )
            for row in evidence.prevention
        ],
    )


def _prompts(evidence: Evidence) -> Iterator[str]:
    yield "## Which prompts were accepted"
    yield ""
    if not evidence.prompts:
        yield "No evolution of prompts was run with a model: those in use are as written by hand."
        return
    rows = []
    for row in evidence.prompts:
        cells = [
            row["kind"],
            ", ".join(row.get("changed", ())) or "-",
            row.get("model", "-"),
            row.get("why", "-"),
        ]
        for part in ("validation", "test"):
            found = row.get(part)
            cells.append(f"{found['wins']} : {found['losses']} (p = {found['p']:g})" if found else "-")
        rows.append(tuple(cells))
    yield from _table(("what", "prompts", "model", "why", "validation, wins : losses", "test"), rows)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(_cell(value) for value in row) + " |"


def _cell(value: object) -> str:
    return one_line(str(value), CELL_MAX).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")
