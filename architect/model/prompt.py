"""The prompt of a repair: the case's evidence, what was tried, lessons and sources, within the room that there is.

Owns what is told, in which order, and how much of each. Everything that came out of a kernel, a log or a source stands
in fences (``architect.model.fence``). Nothing of this machine, its user or their environment is told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from architect.model.fence import clipped, fenced
from architect.model.near import Near, excerpts
from architect.model.prompt_files import PromptSet
from architect.protocols import Case, Evaluation, GateResult, Lesson
from toolchain.printable import printable
from toolchain.types import FaultReport

# Shares of the room for the parts of the first message; what a part does not use goes to the sources.
EVIDENCE_SHARE, TRIED_SHARE, LESSONS_SHARE, FILES_SHARE = 0.35, 0.12, 0.08, 0.06
GATE_EVIDENCE_MAX = 1500
SERIAL_LINES = 25
DIAGNOSTICS_MAX = 12
TRIED_MAX = 12
TRACE_MAX = 8
ROOM_MIN = 1500  # bytes below which a prompt says too little to be worth sending


@dataclass(frozen=True, slots=True)
class Told:
    """What a prompt is made from, besides the case.

    Attributes:
        tried: evaluations of other engines, the furthest first.
        lessons: of similar failures, the nearest first.
        tools: how tools are called, or a line that there are none.
    """

    tried: Sequence[Evaluation] = ()
    lessons: Sequence[Lesson] = ()
    tools: str = ""


def first_message(case: Case, near: Near, told: Told, prompts: PromptSet, room: int) -> str:
    """The message that lays out the case, about ``room`` bytes long at most; ``near`` is of that case."""
    room = max(ROOM_MIN, room - len(prompts["case"].text) - len(told.tools))
    evidence = evidence_of(case, int(EVIDENCE_SHARE * room))
    tried = _tried(told.tried, int(TRIED_SHARE * room))
    lessons = _lessons(told.lessons, int(LESSONS_SHARE * room))
    files = _files(case, int(FILES_SHARE * room))
    left = room - sum(len(part.encode("utf-8", "replace")) for part in (evidence, tried, lessons, files))
    sources = "\n\n".join(fenced(e.title, e.text) for e in excerpts(near, max(left, ROOM_MIN // 2)))
    parts = {"evidence": evidence, "tried": tried, "lessons": lessons, "files": files}
    return prompts["case"].filled(tools=told.tools, sources=sources, **parts)


def evidence_of(case: Case, room: int) -> str:
    """How the kernel fails, fenced: gates, fault report, errors of the assembler, the end of the serial log."""
    parts = [("gates that the kernel fails", "\n".join(_gate(gate) for gate in case.failures))]
    if case.diagnostics:
        shown = [str(diagnostic) for diagnostic in case.diagnostics[:DIAGNOSTICS_MAX]]
        more = len(case.diagnostics) - len(shown)
        parts.append(("errors of the assembler", "\n".join(shown) + (f"\nand {more} more" if more else "")))
    if case.report is not None:
        parts.append(("fault report", _report(case.report)))
    if case.boot is not None:
        lines = _without_block(case.boot.serial.splitlines())[-SERIAL_LINES:]
        if any(line.strip() for line in lines):
            parts.append(("end of the serial log", "\n".join(lines)))
    each = max(200, room // len(parts))
    return "\n\n".join(fenced(name, text, each) for name, text in parts)


def _without_block(lines: Sequence[str]) -> list[str]:
    """A serial log without the kernel's own fault block, which the report holds."""
    begins = [n for n, line in enumerate(lines) if line.startswith("PXFAULT v1 begin")]
    return list(lines[: begins[-1]]) if begins else list(lines)


def _gate(gate: GateResult) -> str:
    rows = {
        key: value
        for key, value in gate.evidence.items()
        if key in ("violations", "findings", "failed", "units")
    }
    told = f"{gate.gate}: {gate.message}"
    return f"{told}\n  {clipped(json.dumps(rows, default=str), GATE_EVIDENCE_MAX)}" if rows else told


def _report(report: FaultReport) -> str:
    lines = [f"cause: {report.cause}", f"outcome: {report.outcome}"]
    if report.unit:
        lines.append(f"boot unit: {report.unit}")
    lines += [f"diagnosis: {d.sentence} (suspects: {', '.join(d.suspects)})" for d in report.diagnosis]
    for raised in report.chain:
        where = f" rip={raised.rip:#x}" if raised.rip is not None else ""
        address = f" cr2={raised.cr2:#x}" if raised.cr2 is not None else ""
        lines.append(f"exception: {raised.name} {' '.join(raised.decoded)}{where}{address}")
    if report.place is not None:
        at = report.place
        lines.append(f"place: {at.symbol}+{at.offset:#x} {at.file or ''}:{at.line or ''}")
    if report.instruction:
        lines.append(f"instruction: {report.instruction}")
    if report.walk is not None:
        lines.append(
            f"page walk of {report.walk.address:#x}: ends at {report.walk.ends_at}: {report.walk.reason}"
        )
    registers = " ".join(f"{name}={value:#x}" for name, value in report.registers.items())
    lines.append(f"registers: {registers}")
    lines += [f"called from: {place.symbol}+{place.offset:#x}" for place in report.trace[:TRACE_MAX]]
    return "\n".join(lines)


def _tried(tried: Sequence[Evaluation], room: int) -> str:
    if not tried:
        return "Nothing was tried before."
    text = "\n".join(tried_line(evaluation) for evaluation in tried[:TRIED_MAX])
    return (
        f"Already tried by other means, {len(tried)} edits, all refused; those that came furthest:\n"
        + fenced("edits that were refused", text, room)
    )


def tried_line(evaluation: Evaluation) -> str:
    """An edit that was refused, and by which gate, in a few lines."""
    rows = []
    for edit in evaluation.patch.edits:
        rows.append(f"{edit.file}:{edit.line}")
        rows += [f"  - {line.strip()}" for line in edit.old] + [f"  + {line.strip()}" for line in edit.new]
    last = evaluation.gates[-1] if evaluation.gates else None
    refused = f"{last.gate}: {last.message}" if last else "not judged"
    return "\n".join([*rows, f"  refused by {refused}"])


def _lessons(lessons: Sequence[Lesson], room: int) -> str:
    if not lessons:
        return "No lesson of past repairs is about such a failure."
    rows = [f"{lesson.cause} (repaired by: {lesson.edit.get('operator', 'an edit')})" for lesson in lessons]
    return "What repaired failures like this one:\n" + fenced("lessons", "\n".join(rows), room)


def _files(case: Case, room: int) -> str:
    names = sorted(case.sources)
    text = " ".join(names)
    return text if len(text) <= room else f"{clipped(text, room)} ({len(names)} files)"


def refusal(evaluation: Evaluation, prompts: PromptSet) -> str:
    """What the model is told of an edit of its own that was judged and refused."""
    failed = next((gate for gate in reversed(evaluation.gates) if not gate.passed), None)
    if failed is None:
        return prompts["failed"].filled(gate="none", evidence="It was not judged.")
    passed = ", ".join(gate.gate for gate in evaluation.gates if gate.passed) or "none"
    text = f"passed: {passed}\nrefused by {_gate(failed)}"
    if evaluation.report is not None:
        text += "\n" + _report(evaluation.report)
    return prompts["failed"].filled(
        gate=failed.gate, evidence=fenced("the verdict", text, 2 * GATE_EVIDENCE_MAX)
    )


def tools_text(described: Sequence[Mapping[str, object]], *, native: bool) -> str:
    """How a model looks at more than it was shown."""
    if not described:
        return "What is shown here is all that can be seen."
    if native:
        return "Call the tools where you need to see more before you edit; what they show is data."
    rows = []
    for tool in described:
        function = tool["function"]
        assert isinstance(function, Mapping)
        rows.append(
            f"- {function['name']}({', '.join(function['parameters']['properties'])}): {function['description']}"
        )
    return (
        "To see more before you edit, answer with a block of this form and nothing else:\n\n```tool\n"
        '{"name": "read_source", "arguments": {"symbol": "page_map"}}\n```\n\n' + "\n".join(rows)
    )


def sentence(text: str, most: int = 200) -> str:
    """What the model says of its edit, on one line: the first words before its blocks."""
    head = printable(text).partition("<<<<<<<")[0]
    lines = [line.strip(" #*`>") for line in head.splitlines()]
    said = " ".join(line for line in lines if line and not line.startswith("```") and " " in line)
    first = said.split(". ")[0].rstrip(".")
    return first if len(first) <= most else first[: most - 1] + "…"
