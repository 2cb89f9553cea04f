"""Images of user programs: what may be loaded and what is refused, against a reading of the specification in Python.

System V ABI (gABI) 4.1, chapters 4 and 5. Hostile images are made by the hundred from a sound one; each must be
refused with the reason that the model names, or loaded when the model says so.
"""

from __future__ import annotations

import random
import struct
from dataclasses import dataclass, field, replace

from architect.contracts import contract
from architect.contracts.steps import Step
from toolchain.harness import BUFFER_BASE, Harness

_EHDR = struct.Struct("<4sBBBB8xHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_PAGE = 0x1000
_FIRST, _END = 1 << 39, 1 << 44  # what a program's image may have
_PAGES_MAX = 4096
_SEGMENTS_MAX = 16
_LOAD, _DYNAMIC, _INTERPRETER, _NOTE, _HEADERS, _TLS, _STACK = 1, 2, 3, 4, 6, 7, 0x6474E551
_R, _W, _X = 4, 2, 1
_ROOM = 0x3000  # an image ends right before the end of the buffer's mapping
_KINDS = {0, _NOTE, _HEADERS, _STACK, 0x6474E553}
REASONS = (
    "", "SHORT", "MAGIC", "CLASS", "TYPE", "MACHINE", "VERSION", "FLAGS", "HEADER_SIZES", "HEADER_COUNT",
    "HEADER_PLACE", "SEGMENT_TYPE", "RIGHTS", "WRITE_EXECUTE", "SIZE", "TRUNCATED", "ADDRESS", "ALIGNMENT", "OVERLAP",
    "LARGE", "NO_SEGMENT", "ENTRY",
)  # fmt: skip


@dataclass(frozen=True)
class Segment:
    """A program header."""

    kind: int = _LOAD
    rights: int = _R
    place: int = 0
    address: int = _FIRST
    file: int = 0x40
    memory: int = 0x40
    align: int = _PAGE

    def bytes(self) -> bytes:
        """As it stands in the file."""
        mask = (1 << 64) - 1
        quads = (self.place, self.address, 0, self.file, self.memory, self.align)
        return _PHDR.pack(self.kind, self.rights, *(value & mask for value in quads))


@dataclass(frozen=True)
class Program:
    """An image to be; the defaults are sound."""

    magic: bytes = b"\x7fELF"
    ident: tuple[int, int, int, int] = (2, 1, 1, 0)
    kind: int = 2
    machine: int = 62
    version: int = 1
    entry: int = _FIRST + 0x10
    place: int = _EHDR.size
    flags: int = 0
    header: int = _EHDR.size
    each: int = _PHDR.size
    count: int | None = None
    segments: tuple[Segment, ...] = field(
        default=(
            Segment(rights=_R | _X, memory=0x400, file=0x400),
            Segment(address=_FIRST + 0x2000, place=0x100, align=0x100, file=0x10, memory=0x10),
            Segment(rights=_R | _W, address=_FIRST + 0x3200, place=0x200, align=0x200, memory=0x2000),
            Segment(kind=_STACK, rights=_R | _W),
        )
    )
    length: int = 0x400

    def bytes(self) -> bytes:
        """The file."""
        count = len(self.segments) if self.count is None else self.count
        mask = (1 << 64) - 1
        head = _EHDR.pack(
            self.magic, *self.ident, self.kind, self.machine, self.version, self.entry & mask, self.place & mask, 0,
            self.flags, self.header, self.each, count & 0xFFFF, 0, 0, 0,
        )  # fmt: skip
        data = bytearray(head.ljust(self.length, b"\0"))
        if self.place < self.length:
            rows = b"".join(segment.bytes() for segment in self.segments)
            data[self.place : self.place + len(rows)] = rows
        return bytes(data[: self.length])


def judge(data: bytes) -> tuple[str, int]:
    """The reason of the first thing that is wrong ("" when nothing is), and the pages that the segments take."""
    if len(data) < _EHDR.size:
        return "SHORT", 0
    magic, *ident, kind, machine, version, entry, place, _, flags, header, each, count, _, _, _ = (
        _EHDR.unpack_from(data)
    )
    for wrong, reason in (
        (magic != b"\x7fELF", "MAGIC"), (ident != [2, 1, 1, 0], "CLASS"), (kind != 2, "TYPE"),
        (machine != 62, "MACHINE"), (version != 1, "VERSION"), (flags != 0, "FLAGS"),
        ((header, each) != (_EHDR.size, _PHDR.size), "HEADER_SIZES"), (not 0 < count <= _SEGMENTS_MAX, "HEADER_COUNT"),
        (place % 8 or place < _EHDR.size or place + count * _PHDR.size > len(data), "HEADER_PLACE"),
    ):  # fmt: skip
        if wrong:
            return reason, 0
    floor = pages = 0
    entered = False
    for number in range(count):
        row = _PHDR.unpack_from(data, place + number * _PHDR.size)
        reason, span = _segment(row, len(data), floor)
        if reason:
            return reason, 0
        if span is None:
            continue
        floor = span[1]
        pages += (span[1] - span[0]) // _PAGE
        if pages > _PAGES_MAX:
            return "LARGE", 0
        entered |= bool(row[1] & _X) and row[3] <= entry < row[3] + row[5]
    if not pages:
        return "NO_SEGMENT", 0
    return ("", pages) if entered else ("ENTRY", 0)


def _segment(row: tuple[int, ...], length: int, floor: int) -> tuple[str, tuple[int, int] | None]:
    """Why a segment is refused, and the pages that it takes."""
    kind, rights, place, address, _, file, memory, align = row
    if kind == _STACK and rights & _X:
        return "WRITE_EXECUTE", None
    if kind != _LOAD:
        return ("" if kind in _KINDS else "SEGMENT_TYPE"), None
    first, end = address & -_PAGE, address + memory + _PAGE - 1 & -_PAGE
    for wrong, reason in (
        (rights & ~7 or not rights & _R, "RIGHTS"), (rights & _W and rights & _X, "WRITE_EXECUTE"),
        (memory == 0 or file > memory, "SIZE"), (place + file > length, "TRUNCATED"),
        (address < _FIRST or address + memory > _END, "ADDRESS"),
        (align and (align & align - 1 or (address - place) % align), "ALIGNMENT"), (first < floor, "OVERLAP"),
    ):  # fmt: skip
        if wrong:
            return reason, None
    return "", (first, end)


def hostile(noise: random.Random, count: int) -> list[bytes]:
    """Images, most of them wrong in one thing or two: every reason comes up."""
    sound = Program()
    big = (1 << 64) - 1
    odd = (
        0,
        1,
        7,
        8,
        0xFFF,
        _PAGE,
        0x400,
        0x401,
        _FIRST - 1,
        _FIRST,
        _END - 1,
        _END,
        1 << 47,
        1 << 63,
        big,
        big - 0xFFF,
    )
    out = [sound.bytes(), b"", b"\x7fELF", sound.bytes()[:63], sound.bytes()[:64], bytes(64), b"\xff" * 0x400]
    edits: list[dict[str, object]] = [
        {"magic": b"\x7fELG"}, {"ident": (1, 1, 1, 0)}, {"ident": (2, 2, 1, 0)}, {"ident": (2, 1, 1, 3)}, {"kind": 3},
        {"machine": 3}, {"machine": 183}, {"version": 2}, {"flags": 1}, {"header": 52}, {"each": 32}, {"count": 0},
        {"count": 17}, {"count": 65535}, {"place": 0}, {"place": 65}, {"place": big - 7}, {"place": 0x400},
        {"place": 0x3F8}, {"entry": 0}, {"entry": _FIRST + 0x400}, {"entry": _FIRST + 0x2000}, {"entry": big},
        {"length": 0x3FF}, {"segments": sound.segments[3:]}, {"segments": sound.segments[1:]},
        {"segments": sound.segments[::-1]}, {"segments": (sound.segments[0],) * 2},
        {"segments": (Segment(rights=_R | _X, memory=0x400, file=0x400),) + (Segment(kind=0),) * 15},
    ]  # fmt: skip
    text = sound.segments[0]
    for other in (
        Segment(address=_FIRST + _PAGE, file=0, memory=0), Segment(address=_FIRST + _PAGE, file=0, memory=4096 * _PAGE),
        Segment(address=_FIRST + _PAGE, file=0, memory=4095 * _PAGE), Segment(address=_END - _PAGE, memory=_PAGE + 1),
        Segment(address=_END - _PAGE, memory=_PAGE), Segment(address=_FIRST + _PAGE, file=1, memory=0),
    ):  # fmt: skip
        edits.append({"segments": (text, other)})
    out += [replace(sound, **edit).bytes() for edit in edits]  # type: ignore[arg-type]
    fields = ("kind", "rights", "place", "address", "file", "memory", "align")
    kinds = (0, 2, 3, 4, 5, 6, 7, 8, _STACK, 0x6474E550, 0x6474E552, 0x6474E553, 0x70000000, 0xFFFFFFFF)
    while len(out) < count:
        made = sound
        for _ in range(noise.choice((1, 1, 2))):
            index = noise.randrange(len(made.segments))
            name = noise.choice(fields)
            old = int(getattr(made.segments[index], name))
            if name == "kind":
                value = noise.choice(kinds)
            elif name == "rights":
                value = noise.choice((*range(8), 8, 1 << 31))
            else:
                value = (
                    noise.choice((*odd, old + 1, old - 1, 1 << noise.randrange(64), noise.getrandbits(64)))
                    & big
                )
            rows = list(made.segments)
            rows[index] = replace(rows[index], **{name: value})
            made = replace(made, segments=tuple(rows))
        data = bytearray(made.bytes())
        if noise.random() < 0.2:
            data[noise.randrange(len(data))] ^= 1 << noise.randrange(8)
        out.append(bytes(data))
    return out[:count]


@contract("elf_check", "elf_check_header", "elf_check_segment", needs=("elf_reasons",))
def elf_images(harness: Harness) -> None:
    """Sound images pass with the pages that they take; of others the first thing that is wrong is named."""
    step, noise = Step(harness, "elf_check"), random.Random(31)
    for number, data in enumerate(hostile(noise, 260)):
        at = BUFFER_BASE + _ROOM - len(data)
        harness.write(at, data + b"\xa5" * 64)
        reason, pages = judge(data)
        want = {"rax": REASONS.index(reason)} | ({} if reason else {"rdx": pages})
        promise = f"does not refuse for {reason}" if reason else "refuses what can be loaded"
        step.run(promise, cf=bool(reason), want=want, rdi=at, rsi=len(data), r15=number)
