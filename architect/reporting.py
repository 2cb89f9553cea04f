"""What a repair must leave alone: the code that says how the boot goes, the tests, what only an emulator answers.

Owns the gate ``reporting``. A kernel is judged by what it says and by what the host measures of it; whoever may change
the first can say anything. So a patch changes routines that report, gives a routine a new way to the serial line, to
the machine's exit or to the CPU's identity, adds text that reads like a report, or changes what a test does, only
where the diagnosis accuses that place. It reads the linked images, not the patch: macros and constants hide nothing.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise
from operator import attrgetter
from pathlib import PurePosixPath

from architect.protocols import Case
from architect.verify import accused
from architect.workspace import PROTECTED_FOLDERS
from toolchain import contract
from toolchain.headers import Routine
from toolchain.types import Image, Symbol, Symbols

GATE = "reporting"
ANY = "*"  # nothing was said: whatever speaks may be broken
# Whose routines say how the boot goes, or end the machine.
REPORTERS = (
    "boot/main.s", "boot/units.s", "boot/cmdline.s", "boot/contract.s", "dev/serial.s", "dev/debug_exit.s",
    "dev/last_words.s", "dev/fw_cfg.s", "cpu/fault.s", "cpu/fault_report.s", "cpu/fault_trace.s",
)  # fmt: skip
# Instructions that speak to the machine besides the routines made for it, or ask it what it is.
_SPEAKING = ("cpuid", "rdtsc", "rdtscp", "rdpmc", "vmcall", "vmmcall")
# Ports at which a kernel is heard or learns what it runs on: COM1 to COM4, isa-debug-exit, pvpanic, fw_cfg, debugcon.
_PORTS = frozenset(
    (*range(0x3F8, 0x400), *range(0x2F8, 0x300), *range(0x3E8, 0x3F0), *range(0x2E8, 0x2F0), *range(0xF4, 0xF8), 0x505,
     *range(0x510, 0x51C), 0xE9)
)  # fmt: skip
# CPUID leaves that a hypervisor answers (Intel SDM, volume 2A, CPUID: 40000000H to 4FFFFFFFH are for software).
_HYPERVISOR = range(0x4000_0000, 0x5000_0000)
# A test's result, "ok 1" or "not ok 1": the letters first, which are searched ten times as fast as a boundary of words.
_RESULT = re.compile(rb"ok \d(?<!\wok \d)")
_RESULTS = (b"TAP version 1", b"# SKIP")
_NUMBER = re.compile(r"0x[0-9a-f]+|\b\d+\b")
_TO_DX = re.compile(r"mov (?:e|r)?dx, (0x[0-9a-f]+|\d+)$")
_WRITES_DX = re.compile(r"(?!cmp|test|out|push)\w+ (?:[er]?dx|d[lh])\b")
_address = attrgetter("address")
_SILENT = ("timeout", "silent", "reset", "shutdown", "qemu-died")


@dataclass(frozen=True, slots=True)
class Shape:
    """What a routine does, as far as addresses and numbers do not matter.

    Attributes:
        mnemonics: in order.
        calls: the symbols outside that it names, and the files that they are of.
        numbers: immediate operands within ``_HYPERVISOR``.
        ports: of every ``in`` and ``out``, -1 for one that no instruction before it names.
    """

    mnemonics: tuple[str, ...]
    calls: frozenset[tuple[str, str]]
    numbers: frozenset[int]
    ports: tuple[int, ...]


@dataclass
class Reporting:
    """The gate on one tree.

    Args:
        image: of the unpatched tree.
        headers: its routines.
    """

    image: Image
    headers: Mapping[str, Routine]
    _shapes: dict[str, Shape | None] = field(default_factory=dict)

    def problem(
        self, image: Image, names: Collection[str] | None, files: Iterable[str], free: Collection[str]
    ) -> str | None:
        """What a candidate's image does that no repair of this failure needs; None when there is nothing.

        Args:
            image: of the candidate.
            names: the routines that the patch changes; None when it may be any.
            files: the sources whose data it changes.
            free: routines and files that the diagnosis accuses (``accusable``).
        """
        if ANY in free:
            names = () if names is None else names
        opened = {self.headers[name].file for name in free if name in self.headers} | set(free)
        after = _Symbols(image)
        for name in self._changed(after) if names is None else [*names, *self._new(after)]:
            file = self._file(name, after)
            if file in REPORTERS and file not in opened and ANY not in free:
                return f"{name} in {file} says how the boot goes, and nothing accuses it"
            before, now = self._before(name), after.shape(name)
            if now is None:
                continue
            if _is_test(file) and before is not None and now.mnemonics != before.mnemonics:
                return f"{name} in {file} is a test, and the patch changes what it does"
            found = _speaks(name, before, now, free)
            if found is not None:
                return found
        for file in files:
            if file in REPORTERS and file not in opened and ANY not in free:
                return f"the data of {file} says how the boot goes, and nothing accuses it"
        return self._texts(after)

    def _changed(self, after: _Symbols) -> list[str]:
        """Every routine whose bytes are others, reporters and tests among them."""
        return [name for name in after.routines if self._own.data(name) != after.data(name)]

    def _new(self, after: _Symbols) -> list[str]:
        return [name for name in after.routines if name not in self._own.routines]

    @cached_property
    def _own(self) -> _Symbols:
        return _Symbols(self.image)

    def _before(self, name: str) -> Shape | None:
        if name not in self._shapes:
            self._shapes[name] = self._own.shape(name)
        return self._shapes[name]

    def _file(self, name: str, after: _Symbols) -> str:
        found = after.routines.get(name) or self._own.routines.get(name)
        return self.headers[name].file if name in self.headers else found.file if found else ""

    def _texts(self, after: _Symbols) -> str | None:
        """Lines for programs in the image's data that were not there."""
        after.alike = self._own
        for word, most in self._words.items():
            if after.count(word) > most:
                return f"the patch adds the text {word.decode()!r}, which only the kernel's own reports begin with"
        added = after.results - self._own.results
        return f"the patch adds {added} texts that read like test results" if added > 0 else None

    @cached_property
    def _words(self) -> dict[bytes, int]:
        names = ("BOOT_PREFIX", "READY_PREFIX", "FAULT_BEGIN", "PANIC_PREFIX")
        words = [contract.string(name).split()[0].encode() for name in names]
        return {word: self._own.count(word) for word in words}


class _Symbols:
    """An image by routine: what lies between one and the next belongs to the first."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.alike: _Symbols | None = None  # another image that differs in few sections
        self._counted: dict[tuple[int, object], int] = {}
        found = Symbols.of(image).routines.values()
        self.routines: dict[str, Symbol] = {s.name: s for rows in found for s in rows}
        starts = sorted(s.address for s in self.routines.values())
        self._next = dict(pairwise(starts))

    def data(self, name: str) -> bytes:
        """The bytes of a routine; empty when there is none."""
        symbol = self.routines.get(name)
        if symbol is None:
            return b""
        for section in self.image.sections:
            start = symbol.address - section.address
            if 0 <= start < len(section.data):
                end = self._next.get(symbol.address, section.address + section.size) - section.address
                return bytes(section.data[start:end])
        return b""

    def _named(self, address: int) -> tuple[str, str] | None:
        """Name and file of what lies at an address, of several the last; the linker leaves symbols in their order."""
        symbols = self.image.symbols
        first, end = (find(symbols, address, key=_address) for find in (bisect_left, bisect_right))
        found = [(s.name, s.file) for s in symbols[first:end] if not s.name.startswith(".L")]
        return found[-1] if found else None

    def shape(self, name: str) -> Shape | None:
        """What a routine does; None when there is none of this name."""
        from toolchain.disassemble import decode

        if name not in self.routines:
            return None
        symbol, data = self.routines[name], self.data(name)
        code = list(decode(data, symbol.address, 64))
        inside = range(symbol.address, symbol.address + len(data))
        targets = {i.target for i in code if i.target is not None and i.target not in inside}
        calls = filter(None, map(self._named, targets))
        numbers = {int(text, 0) for i in code for text in _NUMBER.findall(i.text.partition(" ")[2])}
        mnemonics = tuple(_plain(i.text.partition(" ")[0]) for i in code)
        ports = tuple(_ports([i.text for i in code]))
        return Shape(mnemonics, frozenset(calls), frozenset(n for n in numbers if n in _HYPERVISOR), ports)

    def count(self, word: bytes) -> int:
        """How often a text stands in the image."""
        return self._sum(word, lambda data: data.count(word))

    @cached_property
    def results(self) -> int:
        """How many texts read like a line of test results."""
        lines = self._sum(_RESULT, lambda data: len(_RESULT.findall(data)))
        return lines + sum(map(self.count, _RESULTS))

    def _sum(self, what: object, count: Callable[[bytes], int]) -> int:
        """Over the sections; where one is that of ``alike``, what was counted there is not counted again."""
        for number, section in enumerate(self.image.sections):
            if (number, what) not in self._counted:
                same = self.alike is not None and self.alike.holds(number, section.data)
                known = self.alike._counted.get((number, what)) if same and self.alike is not None else None
                self._counted[number, what] = count(section.data) if known is None else known
        return sum(self._counted[number, what] for number in range(len(self.image.sections)))

    def holds(self, number: int, data: bytes) -> bool:
        """Whether a section, by its number, holds this."""
        return number < len(self.image.sections) and self.image.sections[number].data == data


def _plain(mnemonic: str) -> str:
    """Without the forms of one instruction that differ by operand size alone."""
    return mnemonic.removesuffix("abs")


def _ports(code: Sequence[str]) -> Iterator[int]:
    """The port of every instruction that speaks to one."""
    known = -1
    for text in code:
        name, _, operands = text.partition(" ")
        if found := _TO_DX.match(text):
            known = int(found[1], 0)
        elif name.startswith(("ins", "outs")) or " outs" in text or " ins" in text:
            yield -1
        elif name in ("in", "out"):
            port = next((o for o in operands.split(", ") if _NUMBER.fullmatch(o)), None)
            yield known if port is None else int(port, 0)
        elif (text.endswith(("edx", "dx", "rdx")) and name in ("pop",)) or _WRITES_DX.match(text):
            known = -1


def _is_test(file: str) -> bool:
    return any(part in PROTECTED_FOLDERS for part in PurePosixPath(file).parent.parts)


def _speaks(name: str, before: Shape | None, now: Shape, free: Collection[str]) -> str | None:
    """What a routine says or asks that it did not; one that is accused may come to call what reports."""
    known = before.mnemonics if before is not None else ()
    if now.numbers - (before.numbers if before is not None else frozenset()) and "cpuid" in now.mnemonics:
        return f"{name} asks CPUID for what only a hypervisor answers"
    if name in free or ANY in free:
        return None
    spoken = Counter(now.ports) - Counter(before.ports if before is not None else ())
    if any(port < 0 or port in _PORTS for port in spoken):
        return f"{name} has a new way to a port at which the kernel is heard, and nothing accuses it"
    for word in _SPEAKING:
        if now.mnemonics.count(word) > known.count(word):
            return f"{name} has a new `{word}`, and nothing accuses it"
    for called, file in sorted(now.calls - (before.calls if before is not None else frozenset())):
        if file in REPORTERS:
            return f"{name} comes to use {called} of {file}, which says how the boot goes, and nothing accuses it"
    return None


def accusable(case: Case) -> tuple[str, ...]:
    """The routines and files that a diagnosis accuses; ``ANY`` where the kernel died without a word."""
    found = dict.fromkeys(accused(case.failures))
    report = case.report
    if report is not None:
        if report.place is not None and report.place.symbol is not None:
            found[report.place.symbol] = None
        found |= dict.fromkeys(name for rule in report.diagnosis for name in rule.suspects)
    found |= dict.fromkeys(d.place.file for d in case.diagnostics)
    if case.boot is not None and report is None and case.boot.outcome in _SILENT:
        found[ANY] = None
    return tuple(found)
