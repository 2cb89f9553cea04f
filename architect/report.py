"""What a repair leaves for the person: ``report.md``, ``report.json`` and ``patch.diff`` (or ``partial.diff``).

Owns their form, and the unified diff with and without colour. Never decides anything.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from architect.journal import gate_to_json, patch_to_json
from architect.protocols import Case, GateResult, Patch
from architect.verdict import Verdict
from architect.workspace import TreeCopy
from toolchain.command import paint
from toolchain.errors import InputError
from toolchain.files import make_folder, write_atomic
from toolchain.printable import printable

STAGE = "report"
ALTERNATIVES_MAX = 10  # of those the likeliest are shown
SERIAL_LINES = 20
_NO_NEWLINE = "\\ No newline at end of file\n"


def patch_text(workspace: TreeCopy, patch: Patch) -> str:
    """The patch as a unified diff that ``git apply`` and ``patch -p1`` take inside the tree."""
    parts: list[str] = []
    for name, text in sorted(workspace.apply(patch).items()):
        parts.append(unified(name, workspace.sources()[name], text))
    return "".join(parts)


def unified(name: str, old: str, new: str) -> str:
    """One file's change as a unified diff; a file that was not there has no old text."""
    before = f"a/{name}" if old else "/dev/null"
    rows = difflib.unified_diff(_lines(old), _lines(new), before, f"b/{name}")
    return "".join(_ended(line) for line in rows)


def _lines(text: str) -> list[str]:
    """Lines with their ends; only a line feed ends one, as for git and the assembler."""
    *whole, rest = text.split("\n")
    return [line + "\n" for line in whole] + ([rest] if rest else [])


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n{_NO_NEWLINE}"


def coloured(diff: str, enabled: bool) -> str:
    """A unified diff for a terminal."""
    styles = {"+++": "bold", "---": "bold", "@@": "cyan", "+": "green", "-": "red"}
    out = []
    for line in diff.splitlines():
        style = next((styles[lead] for lead in styles if line.startswith(lead)), None)
        out.append(paint(line, style, enabled) if style else line)
    return "\n".join(out)


def as_json(
    verdict: Verdict, workspace: TreeCopy, folder: Path, trajectory: Path | None = None
) -> dict[str, Any]:
    """The JSON object of ``pxos fix --json``; ``report.json`` holds the same."""
    return {
        "outcome": verdict.outcome,
        "reason": verdict.reason,
        "patch": patch_text(workspace, verdict.patch) if verdict.patch else None,
        "engine": verdict.patch.engine if verdict.patch else None,
        "boots": verdict.boots,
        "candidates": verdict.candidates,
        "seconds": round(verdict.seconds, 3),
        "tokens": verdict.tokens,
        "money": verdict.model["money"] if verdict.model else None,
        "ended": verdict.ended,
        "model": dict(verdict.model) if verdict.model else None,
        "report": str(folder / "report.md"),
        "trajectory": str(trajectory) if trajectory else None,
        "lesson": verdict.lesson,
        "place": verdict.place,
        "tried": dict(verdict.tried),
        "diagnosis": _diagnosis(verdict.case),
        "asked": [gate_to_json(gate) for gate in verdict.case.asked],
        "gates": [gate_to_json(gate) for gate in verdict.gates],
        "operator": verdict.patch.operator if verdict.patch else None,
        "why": verdict.patch.reason if verdict.patch else None,
        "partial": _partial(verdict, workspace),
        "doubts": list(verdict.doubts),
        "alternatives": [
            {"diff": patch_text(workspace, p), "operator": p.operator, "why": p.reason}
            for p in verdict.alternatives[:ALTERNATIVES_MAX]
        ],
    }


def _diagnosis(case: Case) -> dict[str, Any]:
    report = case.report
    failing = []
    for gate in case.failures:
        file, line = place(case, gate)
        failing.append({"gate": gate.gate, "message": gate.message, "file": file, "line": line})
    return {
        "failing": failing,
        "cause": report.cause if report else None,
        "rules": [d.rule for d in report.diagnosis] if report else [],
        "sentences": [d.sentence for d in report.diagnosis] if report else [],
    }


def place(case: Case, gate: GateResult) -> tuple[str | None, int | None]:
    """Where in the tree a person should look first for what a gate says: file and line, None where nothing tells."""
    if gate.gate == "assembles":
        where = next((d.place for d in case.diagnostics), None)
        return (where.file, where.line) if where else (None, None)
    for finding in gate.evidence.get("findings", ()):
        if finding.get("file"):
            return finding["file"], finding["line"]
    routine = gate.evidence.get("routine")
    if routine is None and case.report is not None and case.report.place is not None:
        at = case.report.place
        if at.file in case.sources:
            return at.file, at.line
        routine = at.symbol
    label = re.compile(rf"^[ \t]*(?:function\s+)?{re.escape(str(routine))}\b:?\s*(?:#.*)?$", re.MULTILINE)
    for name, text in case.sources.items() if routine else ():
        if found := label.search(text):
            return name, text.count("\n", 0, found.end()) + 1
    return None, None


def _partial(verdict: Verdict, workspace: TreeCopy) -> dict[str, Any] | None:
    best = verdict.best
    if best is None or verdict.patch is not None:
        return None
    try:
        diff = patch_text(workspace, best.patch)
    except InputError:  # a patch that does not apply is no result
        return None
    return {**patch_to_json(best.patch), "diff": diff, "gates": [gate_to_json(gate) for gate in best.gates]}


def write(
    verdict: Verdict, workspace: TreeCopy, folder: Path, trajectory: Path | None = None
) -> dict[str, Any]:
    """Write the three files into ``folder``; the JSON object. ``trajectory`` is the file that tells the run.

    ``patch.diff`` is there only when a patch was proved; the best partial result is ``partial.diff``. Those of an
    earlier run are removed.
    """
    make_folder(folder, stage=STAGE)
    data = as_json(verdict, workspace, folder, trajectory)
    partial = data["partial"]["diff"] if data["partial"] else None
    for name, text in (("patch.diff", data["patch"]), ("partial.diff", partial)):
        if text is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_atomic(folder / name, text, stage=STAGE)
    write_atomic(folder / "report.json", json.dumps(data, indent=1, default=str) + "\n", stage=STAGE)
    write_atomic(folder / "report.md", markdown(verdict, data), stage=STAGE)
    return data


def markdown(verdict: Verdict, data: Mapping[str, Any]) -> str:
    """The report for people."""
    out = [f"# {_title(verdict)}", "", verdict.reason, ""]
    out += ["## What was wrong", "", *_wrong(verdict.case)]
    if verdict.patch is not None:
        out += ["## The repair", "", f"{verdict.patch.reason} (engine `{verdict.patch.engine}`, "]
        out[-1] += f"operator `{verdict.patch.operator}`)"
        out += ["", "```diff", data["patch"].rstrip("\n"), "```", ""]
        out += _passes_only(data)
    elif data["partial"] is not None:
        out += ["## The best partial result", "", data["partial"]["reason"], ""]
        out += ["```diff", data["partial"]["diff"].rstrip("\n"), "```", ""]
    gates = verdict.gates or (verdict.best.gates if verdict.best and data["partial"] else ())
    if gates:
        out += ["## Gates", "", *_table(gates), ""]
    out += ["## What it took", "", "| engine | candidates |", "| --- | --- |"]
    out += [f"| {name} | {count} |" for name, count in verdict.tried.items()]
    out += ["", f"{verdict.boots} boots, {verdict.candidates} candidates, {verdict.seconds:.1f} s."]
    if verdict.lesson is not None:
        out += ["", f"Recorded as lesson {verdict.lesson} (`pxos lessons show {verdict.lesson}`)."]
    return "\n".join([*out, ""])


def _passes_only(data: Mapping[str, Any]) -> list[str]:
    """What a person should know who takes a repair that passes for the right one."""
    out = [f"It passes, but {doubt}." for doubt in data["doubts"]]
    others = data["alternatives"]
    if others:
        out += [
            "",
            f"Other repairs pass a candidate's gates as well ({len(others)}, the likeliest first):",
            "",
        ]
        for other in others:
            out += ["```diff", other["diff"].rstrip("\n"), "```"]
    return [*out, ""] if out else []


def _title(verdict: Verdict) -> str:
    titles = {
        "healthy": "Healthy",
        "fixed": "Repaired",
        "not-fixed": "Not repaired",
        "budget": "Budget spent",
    }
    return titles[verdict.outcome]


def _wrong(case: Case) -> list[str]:
    if not case.failures:
        return ["Nothing: every gate passes.", ""]
    out = [*_table(case.failures), ""]
    if case.report is not None:
        out += [case.report.cause, ""]
        out += [f"- {d.sentence}" for d in case.report.diagnosis]
        out += [""] if case.report.diagnosis else []
    for diagnostic in case.diagnostics[:SERIAL_LINES]:
        out += ["```", str(diagnostic), "```", ""]
    if case.boot is not None:
        tail = _printable(case.boot.serial).splitlines()[-SERIAL_LINES:]
        out += ["The last serial lines:", "", "```", *tail, "```", ""]
    return out


def _table(gates: tuple[GateResult, ...]) -> list[str]:
    rows = [
        f"| {g.gate} | {'pass' if g.passed else '**fail**'} | {g.seconds:.3f} s | {_cell(g.message)} |"
        for g in gates
    ]
    return ["| gate | result | time | |", "| --- | --- | --- | --- |", *rows]


def _cell(text: str) -> str:
    return _printable(text).replace("|", "\\|").replace("\n", " ")[:300]


def _printable(text: str) -> str:
    """Guest text with what could end a fence or drive a terminal taken out."""
    return printable(text, "\n", " ").replace("```", "'''")
