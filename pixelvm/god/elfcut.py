"""What lies where in a file of machine code: the ranges for which a filter is worth trying.

Owns a tolerant look at ELF section headers (System V gABI, chapter 4), in a file or anywhere inside an image. It only
proposes: a wrong guess costs bytes, never the content, so damaged headers are passed over, not refused.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple

from pixelvm.god.filters import WIDEST, Filter

_MAGIC = re.compile(b"\x7fELF[\x01\x02]\x01\x01")  # any class, little-endian, version 1
_WIDE = 2  # EI_CLASS of a 64-bit file
_HEADERS = {1: (32, 46, "<I", "<HHH"), _WIDE: (40, 58, "<Q", "<HHH")}  # class -> e_shoff, e_shentsize, how
_SECTIONS = {1: struct.Struct("<10I"), _WIDE: struct.Struct("<IIQQQQIIQQ")}
_SECTIONS_MAX = 1024
_EXECUTE = 4
_PROGRAM, _NOBITS = 1, 8
_SMALLEST = 64  # bytes that are worth a range of their own
_RANGES = {1: 4, _WIDE: 8}  # bytes of an address in .debug_ranges


class Range(NamedTuple):
    """A part of a file and the filter for it; ``group`` tells code (0), text and the like (1) and tables (2) apart."""

    start: int
    end: int
    kind: Filter
    width: int
    group: int


CODE, TEXT, TABLE = range(3)


def ranges(data: bytes) -> list[Range]:
    """The ranges of all ELF files in ``data``, in order, none overlapping, the rest filled with plain ones."""
    found: list[Range] = []
    for match in _MAGIC.finditer(data):
        found += _sections(data, match.start())
    found.sort()
    whole: list[Range] = []
    at = 0
    for part in found:
        if part.start < at or part.end - part.start < _SMALLEST:
            continue
        if part.start > at:
            whole.append(Range(at, part.start, Filter.NONE, 0, TEXT))
        whole.append(part)
        at = part.end
    if at < len(data):
        whole.append(Range(at, len(data), Filter.NONE, 0, TEXT))
    return whole


def _sections(data: bytes, base: int) -> Iterator[Range]:
    wide = data[base + 4]
    place, count_place, offset_form, count_form = _HEADERS[wide]
    form = _SECTIONS[wide]
    if len(data) < base + count_place + 6:
        return
    (offset,) = struct.unpack_from(offset_form, data, base + place)
    size, count, names = struct.unpack_from(count_form, data, base + count_place)
    if size != form.size or count > _SECTIONS_MAX or base + offset + size * count > len(data):
        return
    heads = [form.unpack_from(data, base + offset + size * number) for number in range(count)]
    titles = heads[names] if names < count else None
    for head in heads:
        name, kind, flags, _, start, length, _, _, _, entry = head
        if kind in (0, _NOBITS) or base + start + length > len(data) or not length:
            continue
        title = b"" if titles is None else _title(data, base + titles[4] + name)
        filter_, width, group = _filter(kind, flags, entry, title, wide)
        yield Range(base + start, base + start + length, filter_, width, group)
    if offset:
        yield Range(base + offset, base + offset + size * count, Filter.COLUMN_DELTA, size, TABLE)


def _title(data: bytes, at: int) -> bytes:
    return data[at : at + 32].split(b"\0", 1)[0]


def _filter(kind: int, flags: int, entry: int, title: bytes, wide: int) -> tuple[Filter, int, int]:
    if flags & _EXECUTE:
        return Filter.X86, 0, CODE
    if 1 < entry <= WIDEST and kind != _PROGRAM:
        return Filter.COLUMN_DELTA, entry, TABLE
    if title in (b".debug_ranges", b".debug_aranges"):
        return Filter.COLUMN_DELTA, _RANGES[wide], TABLE
    return Filter.NONE, 0, TEXT
