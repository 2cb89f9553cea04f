"""What runs the boot units, each routine alone: which unit has its turn, what is said of it, what ends the boot."""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import FAIL, OK, SKIP
from architect.contracts.steps import BUFFER, Step
from toolchain import contract as shared
from toolchain.harness import PERCPU_PAGE, Harness

_UNIT, _NOTE_COUNT = 0x10, 0x68  # of the per-CPU block
_ROW = struct.Struct("<4Q")


@contract("boot_run_units", needs=("unit_run", "unit_say_needs", "panic", "boot_unit_table"))
def run_units_alone(harness: Harness) -> None:
    """Rows in order; those whose needs are missing are said, a failure that is not optional is the end."""
    step = Step(harness, "boot_run_units")
    names = {s.address for s in harness.image.symbols if s.kind == "func"}
    table = step.at("boot_unit_table")
    rows: list[tuple[int, ...]] = []
    while len(rows) < 64:
        values = _ROW.unpack(step.read(table + len(rows) * _ROW.size, _ROW.size, step.routine))
        if values[1] not in names:
            break
        rows.append(values)
    results: dict[int, int] = {}
    step.stand("unit_run", "rdi", answer=lambda place: {"rax": results.get((place - table) // _ROW.size, OK)})
    step.stand("unit_say_needs", "rdi", "rsi", answer={})

    def stop() -> Mapping[str, int]:
        harness.stop()
        return {}

    step.stand("panic", "rdi", "rsi", answer=lambda *_: stop())
    optional = [n for n, r in enumerate(rows) if r[2] & shared.constant("BOOT_FLAG_OPTIONAL")]
    needed = [n for n in range(len(rows)) if n not in optional]
    cases: list[dict[int, int]] = [{}, {0: SKIP}, dict.fromkeys(range(len(rows)), SKIP)]
    cases += [{n: FAIL} for n in (*optional[:2], *needed[:1], *needed[-1:])]
    for chosen in cases:
        results.clear()
        results.update(chosen)
        step.asked.clear()
        result = harness.call("boot_run_units", {}, seed=1, limit=20_000)
        expected: list[tuple[str | int, ...]] = []
        done, ended = 0, False
        for number, (_, _, flags, needs) in enumerate(rows):
            place = table + number * _ROW.size
            if needs & ~done:
                expected.append(("unit_say_needs", place, needs & ~done))
                continue
            expected.append(("unit_run", place))
            outcome = chosen.get(number, OK)
            done |= (outcome == OK) << number
            if outcome == FAIL and not flags & shared.constant("BOOT_FLAG_OPTIONAL"):
                ended = True
                break
        shown = {"results": repr(chosen)}
        got = [call for call in step.asked if call[0] != "panic"]
        step.expect(got == expected, step.routine, "runs, or leaves out, other units than it should", **shown)
        step.expect(
            (step.asked[-1][0] == "panic") == ended,
            step.routine,
            "goes on, or ends, where it should not",
            **shown,
        )
        if not ended:
            step.expect(result.end == "returned", step.routine, f"does not return: {result.end}", **shown)
            step.equal(
                result.registers["rax"], done, step.routine, "counts other units as succeeded", **shown
            )


@contract(
    "unit_run", needs=("unit_line_begin", "unit_put_notes", "serial_line_end", "unit_note", "unit_note_store")
)
def unit_run_alone(harness: Harness) -> None:
    """A start line, the entry with its row, a result line with the notes; the unit in progress is known."""
    step = Step(harness, "unit_run")
    answer = [0]
    seen: list[tuple[int, int]] = []

    def entry(place: int) -> Mapping[str, int]:
        seen.append((harness.read_u64(PERCPU_PAGE + _UNIT), harness.read_u64(PERCPU_PAGE + _NOTE_COUNT)))
        return {"rax": answer[0]}

    step.stand("unit_line_begin", "rdi", "rsi", answer={})
    step.stand("unit_put_notes", answer={})
    step.stand("serial_line_end", answer={})
    step.stand("unit_note_store", "rdi", answer=entry)  # any routine will do for an entry
    step.put(BUFFER, _ROW.pack(BUFFER + 0x100, step.at("unit_note_store"), 0, 0))
    step.put(BUFFER + 0x100, b"paging\0")
    for result, state in (
        (0, b" ok"),
        (1, b" skip"),
        (2, b" fail"),
        (3, b" fail"),
        (1 << 32, b" fail"),
        ((1 << 64) - 1, b" fail"),
    ):
        answer[0] = result
        seen.clear()
        harness.write_u64(PERCPU_PAGE + _NOTE_COUNT, 3)
        step.run("says another result", want={"rax": min(result, FAIL)}, rdi=BUFFER, rbx=result)
        step.same(seen, [(BUFFER + 0x100, 0)], "runs a unit under another name, or with another's notes")
        calls = [
            "unit_line_begin",
            "serial_line_end",
            "unit_note_store",
            "unit_line_begin",
            "unit_put_notes",
            "serial_line_end",
        ]
        step.same([call[0] for call in step.asked], calls, "does its steps in another order")
        step.same(step.asked[2][1], BUFFER, "gives the entry another row")
        states = [
            step.read(int(c[2]), 8, step.routine).split(b"\0")[0]
            for c in step.asked
            if c[0] == "unit_line_begin"
        ]
        step.same(states, [b" start", state], "says another state", result=result)
        step.same(harness.read_u64(PERCPU_PAGE + _UNIT), 0, "names a unit after it has ended")
