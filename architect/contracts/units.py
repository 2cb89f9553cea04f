"""The boot units: run in the order of their table, each line as the contract of the serial port says.

The units are stand-ins with chosen results; the kernel's own table says their names and what each needs. A unit that
misses what it needs is skipped and names the first it misses; one that fails and is not optional ends the boot.
"""

from __future__ import annotations

import random
import re
import struct
from typing import NamedTuple

from architect.contracts import contract
from architect.contracts.model import FAIL, OK, SKIP, Session
from toolchain import contract as shared
from toolchain.harness import BUFFER_BASE, PERCPU_PAGE, Harness

_COM1 = 0x3F8
_ROWS_MAX, _NOTES_MAX = 64, 8
_ROW = struct.Struct("<4Q")
_TSC = re.compile(rb" tsc=\d+")
# of the per-CPU block
_CPU, _UNIT, _NOTE_COUNT, _NOTES = 0x08, 0x10, 0x68, 0x70


class Unit(NamedTuple):
    """A row of the kernel's table."""

    name: bytes
    entry: str
    optional: bool
    needs: int


def sent(ports: tuple[tuple[int, int, int], ...]) -> bytes:
    """What went out of the serial port."""
    return bytes(value for port, size, value in ports if port == _COM1 and size == 1)


def lines(text: bytes) -> list[bytes]:
    """The lines of a serial log, without carriage returns and empty lines."""
    return [line for line in text.replace(b"\r", b"").split(b"\n") if line]


def said(session: Session, routine: str) -> dict[str, str]:
    """The notes that a boot unit has left, by key; they are taken away."""
    text = sent(session.call("unit_put_notes").ports).decode("latin-1")
    session.harness.write_u64(PERCPU_PAGE + _NOTE_COUNT, 0)
    pairs = [word.partition("=") for word in text.split()]
    session.expect(
        all(mark for _, mark, _ in pairs), routine, "leaves a note that is no pair", got=repr(text)
    )
    return {key: value for key, _, value in pairs}


class _Units(Session):
    def __init__(self, harness: Harness, results: dict[int, int]) -> None:
        super().__init__(harness)
        self.results = results
        self.ran: list[int] = []
        self.told: list[bytes] = []
        harness.write(BUFFER_BASE, b"note\0")
        harness.write_u64(PERCPU_PAGE + _NOTE_COUNT, 3)  # what an earlier unit left is nobody's
        self.rows = self._rows()
        for entry in {row.entry for row in self.rows}:
            harness.substitute(entry, self._run)

    def _rows(self) -> list[Unit]:
        """The rows of the table: as long as they name routines."""
        entries = {s.address: s.name for s in self.harness.image.symbols if s.kind == "func"}
        at = self.harness.address("boot_unit_table")
        rows: list[Unit] = []
        while len(rows) < _ROWS_MAX:
            name, entry, flags, needs = _ROW.unpack(self.harness.read(at, _ROW.size))
            if entry not in entries:
                break
            text = self.harness.read(name, 33).split(b"\0")[0]
            optional = bool(flags & shared.constant("BOOT_FLAG_OPTIONAL"))
            rows.append(Unit(text, entries[entry], optional, needs))
            at += _ROW.size
        return rows

    def _run(self, harness: Harness) -> None:
        number = (harness.get("rdi") - self.harness.address("boot_unit_table")) // _ROW.size
        self.ran.append(number)
        name = harness.read_u64(PERCPU_PAGE + _UNIT)
        self.told.append(self.read(name, 33, "unit_run").split(b"\0")[0])
        note = struct.pack("<3Q", BUFFER_BASE, number, harness.address("serial_put_dec"))
        harness.write(PERCPU_PAGE + _NOTES, note)
        count = harness.read_u64(PERCPU_PAGE + _NOTE_COUNT)
        self.equal(count, 0, "unit_run", "leaves a unit the notes of another")
        harness.write_u64(PERCPU_PAGE + _NOTE_COUNT, 1)
        harness.set("rax", self.results.get(number, OK))

    def expected(self) -> tuple[list[bytes], list[int], int, bool]:
        """Lines, units that run, the mask of those that succeed, and whether the boot goes on to the end."""
        prefix = shared.string("BOOT_PREFIX").encode()
        lines_: list[bytes] = []
        ran: list[int] = []
        succeeded = 0
        for number, unit in enumerate(self.rows):
            missing = unit.needs & ~succeeded
            if missing:
                first = self.rows[(missing & -missing).bit_length() - 1].name
                lines_.append(prefix + unit.name + b" skip needs=" + first)
                continue
            ran.append(number)
            result = min(self.results.get(number, OK), FAIL)
            lines_.append(prefix + unit.name + b" start")
            lines_.append(prefix + unit.name + (b" ok", b" skip", b" fail")[result] + b" note=%d" % number)
            if result == OK:
                succeeded |= 1 << number
            elif result == FAIL and not unit.optional:
                lines_.append(shared.string("PANIC_PREFIX").encode() + b"unit-failed " + unit.name)
                return lines_, ran, succeeded, False
        return lines_, ran, succeeded, True


@contract(
    "boot_run_units", "unit_run", "unit_say_needs", "unit_line_begin", "unit_put_notes",
    needs=("boot_unit_table",),
)  # fmt: skip
def boot_units(harness: Harness) -> None:
    """Everything succeeds; then random results, an odd one, and a needed unit that fails."""
    noise = random.Random(11)
    count = len(_Units(harness, {}).rows)
    for results in (
        {},
        {number: noise.choice((OK, OK, OK, SKIP)) for number in range(count)},
        {number: FAIL for number in range(count) if noise.random() < 0.2},
        {count - 1: 3, count - 2: SKIP, 0: 0x1_0000_0000},
    ):
        harness.renew()
        units = _Units(harness, results)
        result = harness.call("boot_run_units", {}, seed=1)
        expected, ran, succeeded, whole = units.expected()
        got = [_TSC.sub(b"", line).strip() for line in lines(sent(result.ports))]
        told = {"results": repr(results), "said": repr(got[-3:])}
        units.expect(units.ran == ran, "boot_run_units", "runs other units than it should", **told)
        units.expect(got == expected, "unit_run", "says other lines than it should", **told)
        times = [line for line in lines(sent(result.ports)) if b"tsc=" not in line and b"PANIC" not in line]
        units.expect(not times, "unit_line_begin", "says a line without its time", **told)
        names = [units.rows[number].name for number in ran]
        units.expect(units.told == names, "unit_run", "names another unit as the one in progress", **told)
        ended = (result.end == "returned") == whole
        units.expect(ended, "boot_run_units", "goes on, or ends, where it should not", **told)
        if whole:
            promise = "counts other units as succeeded"
            units.equal(result.registers["rax"], succeeded, "boot_run_units", promise, **told)
            left = harness.read_u64(PERCPU_PAGE + _UNIT)
            units.equal(left, 0, "unit_run", "names a unit after it has ended", **told)
            harness.write(PERCPU_PAGE + _CPU, b"\5\0\0\0")
            free = harness.call("serial_line_begin", {}, limit=3000).end == "returned"
            units.expect(free, "unit_run", "keeps the serial line", **told)


@contract(
    "unit_note",
    "unit_note_dec",
    "unit_note_text",
    "unit_note_store",
    "unit_put_notes",
    needs=("unit_put_notes",),
)
def notes(harness: Harness) -> None:
    """Pairs come out in their order and form; beyond the eighth they are dropped, and the caller is told."""
    session = Session(harness)
    harness.write(BUFFER_BASE, b"key\0text\0")
    values = (
        ("unit_note", 0x1F, b"0x1f"),
        ("unit_note_dec", 255, b"255"),
        ("unit_note_text", BUFFER_BASE + 4, b"text"),
    )
    expected = b""
    for number in range(_NOTES_MAX + 2):
        routine, value, shown = values[number % 3]
        result = session.call(routine, rdi=BUFFER_BASE, rsi=value)
        full = number >= _NOTES_MAX
        session.equal(result.flag("cf"), full, routine, "is wrong about whether there is room")
        expected += b"" if full else b" key=" + shown
    got = sent(session.call("unit_put_notes").ports)
    session.equal(got, expected, "unit_put_notes", "says other notes than were left")
