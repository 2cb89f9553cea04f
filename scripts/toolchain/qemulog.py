"""QEMU's own log of exceptions (``-d int,cpu_reset,guest_errors``): the records, and the chain that ended a boot.

Owns the two kinds of lines that TCG writes. ``check_exception old: 0x.. new 0x..`` appears when an exception is
raised, ``N: v=.. e=.. .. IP=.. SP=.. CR2=..`` with a register dump when one is delivered; one that escalates to a
double fault before its delivery appears in the first kind only, and the end is ``Triple fault``. KVM logs none of
it. Firmware shows up too: SMM dumps, software interrupts. Never looks at the image or at the serial line.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from toolchain import vectors

MAX_RECORDS = 50_000  # the last ones are kept; a flood repeats itself long before
NONE = 0xFFFFFFFF  # `old` when no exception was being delivered

_DUMP_BYTES = 4096  # a register dump is 1.5 KB
_FRAME = 40  # bytes that a 64-bit exception pushes: ss rsp rflags cs rip
_NESTED_REACH = 64 << 10  # a handler's frames lie at most this far below the interrupted stack pointer
_EFER_LMA = 1 << 10
_CR0_PE = 1
_DOUBLE_FAULT = vectors.DOUBLE_FAULT

_RECORD = re.compile(
    rb"^(?:check_exception old: 0x(?P<old>[0-9a-f]{1,8}) new 0x(?P<new>[0-9a-f]{1,8})\b"
    rb"| *\d+: v=(?P<v>[0-9a-f]{2}) e=(?P<e>[0-9a-f]{4,16}) i=(?P<i>[01]) cpl=(?P<cpl>[0-3])"
    rb" IP=(?P<cs>[0-9a-f]{4}):(?P<ip>[0-9a-f]{8,16}) pc=[0-9a-f]+"
    rb" SP=(?P<ss>[0-9a-f]{4}):(?P<sp>[0-9a-f]{8,16})(?: CR2=(?P<cr2>[0-9a-f]{8,16}))?"
    rb"|(?P<triple>Triple fault)"
    rb"|(?P<reset>CPU Reset \(CPU \d+\))"
    rb"|SMM: (?P<smm>enter|after RSM))",
    re.MULTILINE,
)
_REGISTER = re.compile(r"\b([A-Z][A-Z0-9]{1,3}) ?=([0-9a-f]{1,16})(?![0-9a-zA-Z.])")
_TABLE = re.compile(r"\b(GDT|IDT)= +([0-9a-f]{8,16}) ([0-9a-f]{8})")
_SEGMENT = re.compile(
    r"^(ES|CS|SS|DS|FS|GS|LDT|TR) ?=([0-9a-f]{4}) ([0-9a-f]{8,16}) ([0-9a-f]{8})", re.MULTILINE
)
_RENAMED = {"RFL": "rflags", "EFL": "rflags"} | {
    f"E{name}": f"r{name.lower()}" for name in ("AX", "BX", "CX", "DX", "SI", "DI", "BP", "SP", "IP")
}
_WANTED = frozenset(
    ["rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", "rip", "rflags", "cpl", "efer"]
    + [f"r{n}" for n in range(8, 16)]
    + [f"cr{n}" for n in (0, 2, 3, 4)]
)


@dataclass(frozen=True, slots=True)
class Raised:
    """One exception as QEMU logged it.

    Attributes:
        vector: its vector.
        error: its error code; None when the log does not tell (it was never delivered).
        escalates: the vector whose delivery failed by this one, or None.
        delivered: False when it became a double or triple fault instead.
        software: True for an ``int n`` instruction.
        cpl: privilege level it interrupted.
        ip, sp: where; for one that was not delivered those of the exception before it.
        cr2: for a delivered page fault.
        registers: at its delivery, as ``parse_registers`` names them; empty when not delivered.
    """

    vector: int
    error: int | None
    escalates: int | None
    delivered: bool
    software: bool
    cpl: int
    ip: int | None
    sp: int | None
    cr2: int | None
    registers: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Record:
    raised: Raised
    dump: int  # offset of the register dump, or -1


@dataclass(slots=True)
class QemuLog:
    """A parsed log.

    Attributes:
        triple_fault: True when it says so; nothing after the first one is read.
        resets: CPU resets seen (two at the start of every machine).
        records: exceptions below vector 32, outside SMM, in order (the last ``MAX_RECORDS``).
        interrupts: how many interrupts of other vectors there were.
    """

    triple_fault: bool = False
    resets: int = 0
    interrupts: int = 0
    records: deque[_Record] = field(default_factory=lambda: deque(maxlen=MAX_RECORDS))
    _data: bytes = b""

    def final_chain(self, handled: Collection[tuple[int, int]] = ()) -> tuple[Raised, ...]:
        """The exceptions from the first cause to the end of the log.

        Escalations are joined to what escalated, and so is an exception inside the handler of an earlier one, as
        the stack pointers tell: it runs below the frame that the earlier one pushed.

        Args:
            handled: (vector, rip) of exceptions that the kernel says it expected and survived.
        """
        groups = self._groups(handled)
        if not groups:
            return ()
        first = len(groups) - 1
        while first > 0 and _inside_handler(groups[first - 1], groups[first][0].raised):
            first -= 1
        while len(groups) - first > 1 and _same(groups[first], groups[first + 1]):
            first += 1  # a fault that its handler did not mend repeats: once is enough
        return tuple(self._resolve(record) for group in groups[first:] for record in group)

    def chain_of(self, vector: int, rip: int | None) -> tuple[Raised, ...]:
        """The chain around the exception that the kernel itself reported: what led to it and what came of it.

        Args:
            vector: of the report.
            rip: of the report, None when the report was cut before it.
        """
        for group in self._groups(()):
            if any(r.raised.vector == vector and rip in (None, r.raised.ip) for r in group):
                return tuple(self._resolve(record) for record in group)
        return ()

    def repeats(self) -> bool:
        """True when the log ends in the same exception twice: its handler returns without a mend, for ever."""
        groups = self._groups(())
        return len(groups) > 1 and _same(groups[-2], groups[-1])

    def exceptions(self) -> tuple[Raised, ...]:
        """Every exception, without registers."""
        return tuple(record.raised for record in self.records)

    def _groups(self, handled: Collection[tuple[int, int]]) -> list[list[_Record]]:
        groups: list[list[_Record]] = []
        for record in self.records:
            raised = record.raised
            if groups and _escalates(groups[-1][-1].raised, raised):
                groups[-1].append(record)
            elif (raised.vector, raised.ip) not in handled:
                groups.append([record])
        return groups

    def _resolve(self, record: _Record) -> Raised:
        raised = record.raised
        if record.dump < 0:
            return raised
        text = self._data[record.dump : record.dump + _DUMP_BYTES].decode("latin-1")
        registers = parse_registers(text)
        return Raised(
            raised.vector, raised.error, raised.escalates, raised.delivered, raised.software, raised.cpl,
            raised.ip, raised.sp, raised.cr2, registers,
        )  # fmt: skip


def _escalates(before: Raised, after: Raised) -> bool:
    """True when ``after`` happened while the CPU was delivering ``before`` (SDM vol. 3, 6.15, double fault)."""
    if after.escalates is not None:
        return True
    # A benign exception leaves no trace in `old`: then the one that hit its delivery is at the same place.
    return before.vector in vectors.BENIGN and (before.ip, before.sp) == (after.ip, after.sp)


def _inside_handler(group: list[_Record], after: Raised) -> bool:
    """True when ``after`` ran on the stack below the frame of the last delivered exception of ``group``."""
    before = group[-1].raised
    if not before.delivered or before.software or before.sp is None or after.sp is None:
        return False
    frame = (before.sp & ~15) - _FRAME
    return before.cpl == after.cpl == 0 and 0 <= frame - after.sp < _NESTED_REACH


def _same(group: list[_Record], following: list[_Record]) -> bool:
    a, b = group[0].raised, following[0].raised
    return (a.vector, a.ip, a.sp, a.cr2) == (b.vector, b.ip, b.sp, b.cr2)


def parse(data: bytes) -> QemuLog:
    """Parse a log; whatever is not a record (guest errors, firmware, junk) is skipped."""
    log = QemuLog(_data=data)
    pending: tuple[int, int | None] | None = None  # raised but not delivered yet: vector, what it escalates
    in_smm = False
    for match in _RECORD.finditer(data):
        kind = match.lastgroup
        if kind == "smm":
            in_smm = match["smm"] == b"enter"
        elif in_smm:
            continue
        elif kind == "new":
            if pending is not None:
                _undelivered(log, pending)
            old = int(match["old"], 16)
            pending = (int(match["new"], 16), None if old == NONE else old)
        elif kind == "reset":
            log.resets += 1
            pending = None
        elif kind == "triple":
            if pending is not None:
                _undelivered(log, pending)
            log.triple_fault = True
            break
        else:
            _delivered(log, match, pending)
            pending = None
    return log


def _undelivered(log: QemuLog, pending: tuple[int, int | None]) -> None:
    vector, escalates = pending
    last = log.records[-1].raised if log.records and escalates is not None else None
    place = (last.cpl, last.ip, last.sp) if last else (0, None, None)
    if vector < vectors.EXCEPTIONS:
        log.records.append(_Record(Raised(vector, None, escalates, False, False, *place, None), -1))


def _delivered(log: QemuLog, match: re.Match[bytes], pending: tuple[int, int | None] | None) -> None:
    vector = int(match["v"], 16)
    software = match["i"] == b"1"
    if vector >= vectors.EXCEPTIONS or (software and vector not in (vectors.BREAKPOINT, vectors.OVERFLOW)):
        log.interrupts += 1
        return
    escalates = None
    if pending is not None:
        if pending[0] == vector:
            escalates = pending[1]
        else:  # it became a double fault
            _undelivered(log, pending)
            escalates = pending[0] if vector == _DOUBLE_FAULT else None
    error = int(match["e"], 16) if vector in vectors.WITH_ERROR_CODE else None
    cr2 = int(match["cr2"], 16) if match["cr2"] else None
    raised = Raised(
        vector,
        error,
        escalates,
        True,
        software,
        int(match["cpl"]),
        int(match["ip"], 16),
        int(match["sp"], 16),
        cr2,
    )
    log.records.append(_Record(raised, match.end()))


def parse_registers(text: str) -> dict[str, int]:
    """The first register dump of ``text``, as ``-d int`` and the monitor's ``info registers`` write it.

    Returns:
        Lower-case 64-bit names (``rax`` for EAX too), ``cr0 cr2 cr3 cr4 efer cpl``, selectors ``cs``..., and
        ``gdt_base gdt_limit idt_base idt_limit tr_base ldt_base``. ``bits`` is 64, 32 or 16: the width of CS.
    """
    found: dict[str, int] = {}
    end = re.search(r"^(?:FCW|DR0|check_exception| *\d+: v=|CPU#[1-9])", text[1:], re.MULTILINE)
    tail = re.search(r"\bEFER=([0-9a-f]{1,16})", text)
    head = text[: end.start() + 1] if end else text
    for match in _REGISTER.finditer(head):
        name = _RENAMED.get(match[1], match[1].lower())
        if name in _WANTED:
            found.setdefault(name, int(match[2], 16))
    if tail and "rip" in found:
        found.setdefault("efer", int(tail[1], 16))
    for match in _TABLE.finditer(head):
        found[f"{match[1].lower()}_base"] = int(match[2], 16)
        found[f"{match[1].lower()}_limit"] = int(match[3], 16)
    for match in _SEGMENT.finditer(head):
        name = match[1].lower()
        found[name] = int(match[2], 16)
        if name in ("tr", "ldt", "fs", "gs"):
            found[f"{name}_base"] = int(match[3], 16)
    if "rip" in found:
        found["bits"] = _width(head, found)
    return found


def _width(dump: str, registers: Mapping[str, int]) -> int:
    """The width of the code that runs: of CS, but for what the mode overrules."""
    long_mode = registers.get("efer", 0) & _EFER_LMA
    told = re.search(r"^CS .*\bCS(16|32|64)\b", dump, re.MULTILINE)
    if told and not (told[1] == "64" and not long_mode):
        return int(told[1])
    if told or registers.get("cr0", 0) & _CR0_PE:
        return 64 if long_mode else 32  # a descriptor with L set means nothing outside long mode
    return 16  # real mode: the dump names no kind of segment
