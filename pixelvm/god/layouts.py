"""The ways to lay bytes or a picture out for a compressor: those that are worth trying for a given content.

Owns the candidates: as it is, x86 branches made absolute, cut at ELF sections into up to three streams, records of one
width, and for pictures predictors and palettes. Of the many the promising are picked on a sample. How small each
becomes, ``lossless`` finds out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from pixelvm.god import codecs, elfcut, filters, predict
from pixelvm.god.family import PIXEL
from pixelvm.god.filters import Filter
from pixelvm.god.varint import number

PLAIN, BRANCHES, CUT = 64, 65, 66  # layouts; a number below is a form of a picture
SEGMENTS_MAX = 4096
GROUPS = 3
KIND_BITS = 4
HAS_WIDTH = (Filter.DELTA, Filter.COLUMNS, Filter.COLUMN_DELTA)
_WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # bytes of a record that are tried
_SAMPLE = 1 << 16  # bytes on which layouts are compared
_PICKED = 3
_FORMS = tuple(
    predict.Form(kind, green, planes)
    for kind in (*predict.PREDICTORS, predict.BY_ROW)
    for green in (False, True)
    for planes in (False, True)
)


class Segment(NamedTuple):
    """A run of bytes, its filter, and the stream that it goes into."""

    length: int
    kind: Filter = Filter.NONE
    width: int = 0
    group: int = 0


class Layout(NamedTuple):
    """What stands before the streams, and the bytes of each stream; ``closely``: small gains are worth a look."""

    head: bytes
    streams: tuple[bytes, ...]
    name: str
    closely: bool = False


Maker = Callable[[bytes], Layout]


def propose(data: bytes, width: int) -> list[Layout]:
    """The layouts worth trying, the plain one first.

    Args:
        data: any bytes.
        width: pixels of a row when it is a picture (RGBA), else 0.
    """
    found = [Layout(bytes([PLAIN]), (data,), "plain", True)]
    if not data:
        return found
    found.append(Layout(bytes([BRANCHES]), (filters.apply(Filter.X86, 0, data),), "x86", True))
    ranges = elfcut.ranges(data)
    if 1 < len(ranges) <= SEGMENTS_MAX:
        for groups, name in (((0, 0, 0), "elf"), ((0, 1, 1), "elf in 2"), ((0, 1, 2), "elf in 3")):
            segments = [Segment(r.end - r.start, r.kind, r.width, groups[r.group]) for r in ranges]
            found.append(_cut(segments, name, True, data))
        return found
    makers = _records(data)
    if width:
        makers += [partial(_formed, form, width) for form in _FORMS]
    palette = predict.encode(predict.Form(predict.PALETTE), data, width) if width else None
    if palette is not None:
        found.append(Layout(bytes([predict.PALETTE, palette[0]]), (palette[1:],), "palette"))
    return found + [make(data) for make in _picked(makers, data, width)]


def _picked(makers: list[Maker], data: bytes, width: int) -> list[Maker]:
    """Those that do best on a sample from the middle; all where that is the whole."""
    if len(data) <= _SAMPLE:
        return makers
    unit = PIXEL * width or _SAMPLE
    rows = max(1, _SAMPLE // unit)
    start = (len(data) // unit - rows) // 2 * unit
    sample = data[start : start + rows * unit]
    sizes = [sum(map(codecs.estimate, make(sample).streams)) for make in makers]
    best = sorted(range(len(makers)), key=sizes.__getitem__)[:_PICKED]
    return [makers[at] for at in sorted(best)]


def _records(data: bytes) -> list[Maker]:
    kinds = [(kind, width) for width in _WIDTHS for kind in HAS_WIDTH[: 1 if width == 1 else None]]
    return [partial(_recorded, kind, width) for kind, width in kinds if width < len(data)]


def _recorded(kind: Filter, width: int, data: bytes) -> Layout:
    name = f"{kind.name.lower().replace('_', ' ')} {width}"
    return _cut([Segment(len(data), kind, width)], name, False, data)


def _formed(form: predict.Form, width: int, pixels: bytes) -> Layout:
    data = predict.encode(form, pixels, width)
    assert data is not None  # only palettes can be too small
    return Layout(bytes([form.number]), (data,), f"predicted ({form.number})")


def _cut(segments: Sequence[Segment], name: str, closely: bool, data: bytes) -> Layout:
    head, at = bytes([CUT]) + number(len(segments)), 0
    streams: dict[int, list[bytes]] = {}
    for segment in segments:
        part = data[at : at + segment.length]
        at += segment.length
        streams.setdefault(segment.group, []).append(filters.apply(segment.kind, segment.width, part))
        head += number(segment.length) + bytes([segment.kind | segment.group << KIND_BITS])
        head += bytes([segment.width]) if segment.kind in HAS_WIDTH else b""
    return Layout(head, tuple(b"".join(streams[group]) for group in sorted(streams)), name, closely)
