"""What the kernel says on COM1, read as it arrives: PXBOOT, PXREADY, PXFAULT and PXPANIC lines, and KTAP.

Owns the grammar of the contract's four kinds of lines (ARCHITECTURE.md, "What the kernel says"). The bytes are
hostile: firmware writes to the same port, a line may be cut anywhere, a broken kernel may write anything for ever.
So everything kept is bounded, and what does not parse is free text. Never decides how the boot ended.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass, field
from typing import Literal

from toolchain import contract, ktap
from toolchain.types import Unit

MAX_LINE = 4096  # bytes; the longest true line is the trace of a fault, 16 addresses of 19 characters
MAX_TEXT = 1 << 20  # characters of serial text kept from the start, and again from the end
MAX_UNITS = 256
MAX_FAULTS = 64
TAIL_LINES = 40

_MAX_PAIRS = 64
_MAX_KEYS = 64
_MAX_VALUE = 1024

_ANSI = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[@-Z\\-_]|\([0-9A-B])")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_BOOT = re.compile(r"([A-Za-z0-9_.:-]{1,64}) (start|ok|skip|fail)(?: tsc=(\d{1,20}))?(?:\s+(.*))?$")
_READY = re.compile(r"tsc=(\d{1,20})(?:\s|$)")
_PAIR = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]{0,63})=(\S*)")
_FIELD = re.compile(r"([a-z_][a-z0-9_]{0,15})=(.*)$")
_SCOPES = ("kernel", "user", "expected")

Scope = Literal["kernel", "user", "expected"]


@dataclass(frozen=True, slots=True)
class FaultBlock:
    """One PXFAULT block: its ``key=value`` lines as they stand. ``complete`` when its end line was seen."""

    values: dict[str, str]
    complete: bool

    @property
    def scope(self) -> Scope:
        """Whose fault it was; a block cut before it said so counts as the kernel's."""
        scope = self.values.get("scope", "kernel")
        return scope if scope in _SCOPES else "kernel"  # type: ignore[return-value]


@dataclass(frozen=True, slots=True)
class Ready:
    """PXREADY: the boot has finished. ``tsc`` is the guest's time-stamp counter."""

    tsc: int


@dataclass(frozen=True, slots=True)
class Panic:
    """PXPANIC: the kernel gave up by itself."""

    code: str
    text: str


Happening = Unit | Ready | FaultBlock | Panic | ktap.TestResult


@dataclass(slots=True)
class SerialLog:
    """Takes bytes as they come and keeps what they mean.

    Attributes:
        units: boot units in the order of their first line.
        ready: the tsc of PXREADY, or None.
        faults: PXFAULT blocks of any scope, in order.
        panic: the first PXPANIC, or None.
        tap: the in-kernel tests.
        tail: the last lines outside PXFAULT blocks, without control characters.
        received: bytes taken so far.
    """

    units: dict[str, Unit] = field(default_factory=dict)
    ready: int | None = None
    faults: list[FaultBlock] = field(default_factory=list)
    panic: Panic | None = None
    tap: ktap.Parser = field(default_factory=ktap.Parser)
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    received: int = 0
    _line: bytearray = field(default_factory=bytearray)
    _block: dict[str, str] | None = None
    _head: list[str] = field(default_factory=list)
    _head_size: int = 0
    _recent: deque[str] = field(default_factory=deque)
    _recent_size: int = 0
    _dropped: int = 0

    def feed(self, data: bytes) -> list[Happening]:
        """Take some bytes; what they completed, in order."""
        self.received += len(data)
        self._keep(data)
        happenings: list[Happening] = []
        *lines, rest = data.split(b"\n")
        for line in lines:
            room = MAX_LINE - len(self._line)
            self._line += line[:room]
            happenings += self._take(bytes(self._line))
            self._line.clear()
        self._line += rest[: MAX_LINE - len(self._line)]
        return happenings

    def finish(self) -> list[Happening]:
        """The guest has ended: close what is open. A last line without newline counts, but for PXREADY.

        A PXREADY that was cut may have lost digits, and success is never read from half a line.
        """
        happenings: list[Happening] = []
        if self._line:
            line = bytes(self._line)
            self._line.clear()
            if contract.string("READY_PREFIX").encode() in line:
                self.tail.append(_clean(line))
            else:
                happenings = self._take(line)
        if self._block is not None:
            happenings += self._close_block(complete=False)
        return happenings

    @property
    def text(self) -> str:
        """The serial log as latin-1: whole, or its two ends with a note of what was left out between them."""
        if not self._dropped:
            return "".join(self._head) + "".join(self._recent)
        note = f"\n[{self._dropped} bytes left out]\n"
        return "".join(self._head) + note + "".join(self._recent)

    @property
    def kernel_fault(self) -> FaultBlock | None:
        """The first block of scope ``kernel``, complete or not."""
        return next((block for block in self.faults if block.scope == "kernel"), None)

    @property
    def unit_in_progress(self) -> str | None:
        """The last unit that started and did not end."""
        return next((unit.name for unit in reversed(self.units.values()) if unit.state == "start"), None)

    @property
    def heard(self) -> int:
        """How far the kernel has come, as a number that grows with it; what is said again does not count again."""
        ended = sum(unit.state != "start" for unit in self.units.values())
        return len(self.units) + ended + len(self.tap.results) + len(self.faults) + (self.ready is not None)

    def _keep(self, data: bytes) -> None:
        text = data.decode("latin-1")
        if room := MAX_TEXT - self._head_size:
            self._head.append(text[:room])
            self._head_size += len(text[:room])
            text = text[room:]
        if text:
            self._recent.append(text)
            self._recent_size += len(text)
            while self._recent_size - len(self._recent[0]) > MAX_TEXT:
                gone = self._recent.popleft()
                self._recent_size -= len(gone)
                self._dropped += len(gone)

    def _take(self, line: bytes) -> list[Happening]:
        text = _clean(line)
        outside = self._block is None
        happened = self._px(text) if text.startswith("PX") else None
        if outside and self._block is None and text.strip():
            self.tail.append(text)
        if happened is not None:
            return happened
        if self._block is not None:
            if (pair := _FIELD.match(text)) and len(self._block) < _MAX_KEYS:
                self._block.setdefault(pair[1], pair[2].strip()[:_MAX_VALUE])
            return []
        result = self.tap.feed(text)
        return [result] if result else []

    def _px(self, text: str) -> list[Happening] | None:
        """The meaning of a line that starts with PX, or None when it is free text after all."""
        known = contract.load().strings
        text = text.rstrip()
        if text.startswith(known["BOOT_PREFIX"]):
            return self._boot(text[len(known["BOOT_PREFIX"]) :])
        if text.startswith(known["READY_PREFIX"]):
            found = _READY.match(text[len(known["READY_PREFIX"]) :])
            if found is None:
                return None
            self.ready = int(found[1]) if self.ready is None else self.ready
            return [Ready(int(found[1]))]
        if text.startswith(known["PANIC_PREFIX"]):
            code, _, words = text[len(known["PANIC_PREFIX"]) :].strip().partition(" ")
            panic = Panic(code[:64], words[:_MAX_VALUE])
            self.panic = self.panic or panic
            return [panic]
        if text == known["FAULT_BEGIN"]:
            # A block inside a block: the reporter itself faulted. The first stays, cut short.
            closed = self._close_block(complete=False) if self._block is not None else []
            self._block = {}
            return closed
        if text == known["FAULT_END"] and self._block is not None:
            return self._close_block(complete=True)
        return None

    def _boot(self, rest: str) -> list[Happening] | None:
        found = _BOOT.match(rest)
        if found is None:
            return None
        name, state, tsc = found[1], found[2], int(found[3] or 0)
        old = self.units.get(name)
        if old is None and len(self.units) >= MAX_UNITS:
            return None
        values = dict(old.values) if old else {}
        for pair in list(_PAIR.finditer(found[4] or ""))[:_MAX_PAIRS]:
            values[pair[1]] = pair[2][:_MAX_VALUE]
        began = tsc if old is None or state == "start" else old.tsc_start
        unit = Unit(name, state, tsc, began, values)  # type: ignore[arg-type]
        self.units[name] = unit
        return [unit]

    def _close_block(self, *, complete: bool) -> list[Happening]:
        block = FaultBlock(self._block or {}, complete)
        self._block = None
        if len(self.faults) < MAX_FAULTS or (block.scope == "kernel" and self.kernel_fault is None):
            self.faults.append(block)
        return [block]


def _clean(line: bytes) -> str:
    """A line as text, without terminal sequences and control characters (firmware and GRUB write both)."""
    text = line.decode("latin-1")
    if "\x1b" in text:
        text = _ANSI.sub("", text)
    return _CONTROL.sub("", text)


def parse(data: bytes) -> SerialLog:
    """Parse a whole log at once."""
    log = SerialLog()
    for start in range(0, len(data), MAX_TEXT):
        log.feed(data[start : start + MAX_TEXT])
    log.finish()
    return log
