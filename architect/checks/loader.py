"""What the boot loaders need of the image: the Multiboot2 header and the PVH note.

Multiboot2 specification 2.0, 3.1: the header lies in the first 32768 bytes of the file, 64-bit aligned, its four
first words sum to zero, its tags end with type 0, size 8. PVH (Xen ``docs/misc/pvh.pandoc``): an ELF note of name
"Xen", type 18, whose descriptor is the 32-bit physical entry point.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from architect.checks import Finding, Subject

_MAGIC = 0xE85250D6
_SEARCH = 32768
_ALIGN = 8
_NOTE_TYPE = 18
_NOTE_NAME = b"Xen\0"


def check(subject: Subject) -> Iterator[Finding]:
    """At most one finding per loader."""
    first = min((s for s in subject.image.sections if s.data), key=lambda s: s.address, default=None)
    if first is None:
        yield Finding("multiboot2", "the image is empty")
        return
    message = _multiboot2(first.data)
    if message:
        yield Finding("multiboot2", message)
    note = next((s for s in subject.image.sections if s.name.startswith(".note")), None)
    message = (
        _pvh(note.data, subject) if note else "there is no note section: QEMU cannot boot the ELF directly"
    )
    if message:
        yield Finding("pvh-note", message)


def _multiboot2(data: bytes) -> str | None:
    """What is wrong with the header; the first section opens the file after the ELF headers, page-aligned."""
    anywhere = data.find(struct.pack("<I", _MAGIC))
    offset = next(
        (
            o
            for o in range(0, min(len(data), _SEARCH - 4096) - 15, _ALIGN)
            if data[o : o + 4] == struct.pack("<I", _MAGIC)
        ),
        None,
    )
    if offset is None:
        if anywhere < 0:
            return "there is no header magic 0xe85250d6"
        return f"the header lies at {anywhere:#x} of the first section: it must be 8-byte aligned in the first 32 KiB"
    _, architecture, length, checksum = struct.unpack_from("<4I", data, offset)
    if (_MAGIC + architecture + length + checksum) & 0xFFFFFFFF:
        return "magic, architecture, header_length and checksum do not sum to zero"
    if architecture != 0:
        return f"architecture is {architecture}, i386 is 0"
    return _tags(data[offset + 16 : offset + length], length)


def _tags(tags: bytes, length: int) -> str | None:
    position = 0
    while position + 8 <= len(tags):
        kind, _flags, size = struct.unpack_from("<HHI", tags, position)
        if kind == 0:
            return None if size == 8 else f"the end tag has size {size}, it must be 8"
        if size < 8:
            return f"a tag of type {kind} has size {size}"
        position += -(-size // _ALIGN) * _ALIGN
    return f"header_length {length} ends before an end tag (type 0, size 8)"


def _pvh(data: bytes, subject: Subject) -> str | None:
    if len(data) < 12:
        return "the note is cut short"
    name_size, size, kind = struct.unpack_from("<3I", data)
    name = data[12 : 12 + name_size]
    start = 12 + -(-name_size // 4) * 4
    if kind != _NOTE_TYPE or name != _NOTE_NAME:
        return f"the note is of type {kind}, name {name!r}: it must be {_NOTE_TYPE}, {_NOTE_NAME!r}"
    if size not in (4, 8) or len(data) < start + size:
        return f"the note's descriptor has {size} bytes, it must be 4 or 8"
    entry = int.from_bytes(data[start : start + size], "little")
    inside = any(
        s.physical <= entry < s.physical + len(s.data) and "x" in s.flags for s in subject.image.sections
    )
    return None if inside else f"the entry {entry:#x} lies in no executable section"
