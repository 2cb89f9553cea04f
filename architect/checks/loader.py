"""What the boot loaders need of the image: the Multiboot2 header and the PVH note.

Multiboot2 specification 2.0, 3.1: the header lies in the first 32768 bytes of the file, 64-bit aligned, its four
first words sum to zero, its tags end with type 0, size 8. PVH (Xen ``docs/misc/pvh.pandoc``): an ELF note of name
"Xen", type 18, whose descriptor is the 32-bit physical entry point.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from architect.checks import Finding, Subject
from architect.checks.places import places
from toolchain.types import Section

_MAGIC = 0xE85250D6
_SEARCH = 32768
_ALIGN = 8
_NOTE_TYPE = 18
_NOTE_NAME = b"Xen\0"
_END, _INFORMATION_REQUEST, _FRAMEBUFFER = 0, 1, 5
# bytes of the tags that have one size (3.1.5 to 3.1.14); an information request has any
_TAG_SIZES = {2: 24, 3: 12, 4: 12, 5: 20, 6: 8, 7: 8, 8: 12, 9: 12, 10: 24}
_OPTIONAL = 1
_DEPTHS = (0, 8, 15, 16, 24, 32)


class _Wrong(NamedTuple):
    """What is wrong, and with which bytes: offsets from the beginning of the section."""

    message: str
    offsets: tuple[int, ...]


def check(subject: Subject) -> Iterator[Finding]:
    """At most one finding per loader."""
    first = min((s for s in subject.image.sections if s.data), key=lambda s: s.address, default=None)
    if first is None:
        yield Finding("multiboot2", "the image is empty")
        return
    yield from _found(subject, "multiboot2", first, _multiboot2(first.data))
    note = next((s for s in subject.image.sections if s.name.startswith(".note")), None)
    if note is None:
        yield Finding("pvh-note", "there is no note section: QEMU cannot boot the ELF directly")
        return
    yield from _found(subject, "pvh-note", note, _pvh(note.data, subject))


def _found(subject: Subject, rule: str, section: Section, wrong: _Wrong | None) -> Iterator[Finding]:
    if wrong:
        at = (section.address + offset for offset in wrong.offsets or (0,))
        yield Finding(rule, wrong.message).about(places(subject, *at))


def _multiboot2(data: bytes) -> _Wrong | None:
    """What is wrong with the header; the first section opens the file after the ELF headers, page-aligned."""
    magic = struct.pack("<I", _MAGIC)
    anywhere = data.find(magic)
    offset = next(
        (o for o in range(0, min(len(data), _SEARCH - 4096) - 15, _ALIGN) if data[o : o + 4] == magic), None
    )
    if offset is None:
        if anywhere < 0:
            return _Wrong("there is no header magic 0xe85250d6", (0,))
        where = f"the header lies at {anywhere:#x} of the first section"
        return _Wrong(f"{where}: it must be 8-byte aligned in the first 32 KiB", (anywhere,))
    _, architecture, length, checksum = struct.unpack_from("<4I", data, offset)
    if (_MAGIC + architecture + length + checksum) & 0xFFFFFFFF:
        message = "magic, architecture, header_length and checksum do not sum to zero"
        return _Wrong(message, (offset + 12, offset + 8, offset + 4))
    if architecture != 0:
        return _Wrong(f"architecture is {architecture}, i386 is 0", (offset + 4,))
    return _tags(data, offset, length)


def _tags(data: bytes, header: int, length: int) -> _Wrong | None:
    position, end = header + 16, min(len(data), header + length)
    while position + 8 <= end:
        kind, flags, size = struct.unpack_from("<HHI", data, position)
        if kind == _END:
            return _end(header, position, size, length)
        wrong = _tag(kind, flags, size, data[position + 8 : position + size])
        if wrong:
            return _Wrong(wrong, (position + 4, position))
        position += -(-size // _ALIGN) * _ALIGN
    message = f"header_length {length} ends before an end tag (type 0, size 8)"
    return _Wrong(message, (min(position, header + length), header + 8))


def _end(header: int, position: int, size: int, length: int) -> _Wrong | None:
    if size != 8:
        return _Wrong(f"the end tag has size {size}, it must be 8", (position + 4, position))
    last = position + size - header
    if last != length:
        return _Wrong(f"header_length is {length}, but the end tag ends at {last}", (header + 8, position))
    return None


def _tag(kind: int, flags: int, size: int, content: bytes) -> str | None:
    if size < 8:
        return f"a tag of type {kind} has size {size}"
    known = _TAG_SIZES.get(kind)
    if known is None and kind != _INFORMATION_REQUEST and not flags & _OPTIONAL:
        return f"a tag of type {kind}, which no loader knows, is not optional"
    if known is not None and size != known:
        return f"a tag of type {kind} has size {size}, it must be {known}"
    if kind == _FRAMEBUFFER and struct.unpack("<I", content[8:12])[0] not in _DEPTHS:
        return f"the framebuffer tag asks for {struct.unpack('<I', content[8:12])[0]} bits per pixel"
    return None


def _pvh(data: bytes, subject: Subject) -> _Wrong | None:
    if len(data) < 12:
        return _Wrong("the note is cut short", (0,))
    name_size, size, kind = struct.unpack_from("<3I", data)
    name = data[12 : 12 + name_size]
    start = 12 + -(-name_size // 4) * 4
    if kind != _NOTE_TYPE or name != _NOTE_NAME:
        message = f"the note is of type {kind}, name {name!r}: it must be {_NOTE_TYPE}, {_NOTE_NAME!r}"
        return _Wrong(message, (8,) if kind != _NOTE_TYPE else (0, 12))
    if size not in (4, 8) or len(data) < start + size:
        return _Wrong(
            f"the note's descriptor has {size} bytes, it must be 4 or 8", (4, min(start, len(data) - 1))
        )
    entry = int.from_bytes(data[start : start + size], "little")
    wrong = _entry(entry, subject)
    return _Wrong(wrong, (start,)) if wrong else None


def _entry(entry: int, subject: Subject) -> str | None:
    """What is wrong with the physical address that the note gives."""
    home = next(
        (
            s
            for s in subject.image.sections
            if s.physical <= entry < s.physical + len(s.data) and "x" in s.flags
        ),
        None,
    )
    if home is None:
        return f"the entry {entry:#x} lies in no executable section"
    address = entry - home.physical + home.address
    routines = [s for s in subject.image.symbols if s.kind == "func" and s.section == home.name and s.size]
    inside = next((s for s in routines if s.address < address < s.address + s.size), None)
    if inside:
        return f"the entry {entry:#x} lies within {inside.name}, not at the beginning of a routine"
    named = next((s.name for s in routines if s.address == address), None)
    if named is not None and address == subject.image.entry:
        return f"the entry {named} is that of the ELF header: a Multiboot2 loader leaves other registers than PVH"
    context = subject.context(named) if named else ""
    if context and "32-bit" not in context:
        return f"the entry {named} is no 32-bit code"
    return None
