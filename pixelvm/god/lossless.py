"""Any bytes or picture, packed without loss: several layouts, several codecs, and the smallest kept.

Owns the form of a packed stream (SPEC.md, "Packed streams") and the choice among layouts (``layouts``) and codecs.
Unpacking needs only what stands in the stream; it allocates what its caller has allowed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from pixelvm.god import codecs, filters, predict
from pixelvm.god.codecs import Codec, Damaged, Setting, lzma_setting
from pixelvm.god.filters import Filter
from pixelvm.god.layouts import (
    BRANCHES,
    CUT,
    GROUPS,
    HAS_WIDTH,
    KIND_BITS,
    PLAIN,
    SEGMENTS_MAX,
    Layout,
    Segment,
    propose,
)
from pixelvm.god.varint import Reader, number

_THOROUGH = 1 << 20  # bytes up to which many settings of LZMA are tried
# bytes up to which so many layouts, this near to the best, are tried with each codec; the plain one besides
_FINALISTS = ((1 << 16, 6, 1.3), (_THOROUGH, 3, 1.02), (1 << 32, 1, 1.02))
_QUICK = lzma_setting(3, 0, 0)
_LZMA = tuple(
    lzma_setting(*bits)
    for bits in (
        (3, 0, 0), (3, 0, 2), (4, 0, 0), (2, 0, 0), (1, 0, 0), (0, 0, 0), (2, 1, 1), (1, 2, 2), (0, 2, 2), (0, 3, 3),
    )
)  # fmt: skip
_OTHERS = (Setting(Codec.STORED), Setting(Codec.ZSTD), Setting(Codec.BROTLI))


class Packed(NamedTuple):
    """A packed stream, and in words how: for the table."""

    data: bytes
    how: str


# --- packing ---------------------------------------------------------------------------------------------


def pack(data: bytes, width: int = 0, prefix: bytes = b"") -> Packed:
    """``data`` as small as the layouts and codecs here make it.

    Args:
        data: any bytes.
        width: pixels of a row when it is a picture (RGBA), else 0.
        prefix: a trained dictionary that the reader will have too.
    """
    layouts = propose(data, width)
    settings = (_QUICK, *_OTHERS, *((Setting(Codec.TRAINED),) if prefix else ()))
    tried: dict[tuple[Setting, bytes], bytes] = {}

    def packed(layout: Layout, allowed: Iterable[Setting]) -> Packed:
        out, names = layout.head, [layout.name]
        for stream in layout.streams:
            best: tuple[int, Setting, bytes] | None = None
            for setting in allowed:
                key = (setting, stream)
                if key not in tried:
                    tried[key] = codecs.pack(setting, stream, prefix)
                if best is None or len(tried[key]) < best[0]:
                    best = len(tried[key]), setting, tried[key]
            if best is not None:
                out += _stream(best[1], best[2])
                names.append(best[1].codec.name.lower())
        return Packed(out, " ".join(names))

    finalists, close = next((count, near) for size, count, near in _FINALISTS if len(data) <= size)
    if len(layouts) > finalists:
        quick = [(_judged(layout), at) for at, layout in enumerate(layouts)]
        bound = min(quick)[0] * close
        chosen = {at for size, at in sorted(quick)[:finalists] if size <= bound}
        layouts = [layout for at, layout in enumerate(layouts) if at in chosen or at == 0]
    first = [packed(layout, settings) for layout in layouts]
    best = min(range(len(first)), key=lambda at: len(first[at].data))
    if len(first[best].data) > len(data):
        return first[best]
    more = _LZMA if len(data) <= _THOROUGH else _LZMA[:2]
    return packed(layouts[best], (*settings, *more))


def _judged(layout: Layout) -> int:
    """About how small a layout gets: machine code by LZMA, where gains are small; the others quickly."""
    if layout.closely:
        return len(layout.head) + sum(len(codecs.pack(_QUICK, stream)) for stream in layout.streams)
    return len(layout.head) + sum(codecs.estimate(stream) for stream in layout.streams)


def _stream(setting: Setting, data: bytes) -> bytes:
    parameter = bytes([setting.parameter]) if setting.codec is Codec.LZMA else b""
    return bytes([setting.codec]) + parameter + number(len(data)) + data


# --- unpacking -------------------------------------------------------------------------------------------


def unpack(reader: Reader, size: int, width: int = 0, prefix: bytes = b"") -> bytes:
    """The ``size`` bytes of a packed stream.

    Args:
        reader: stands at its first byte, is left behind its last.
        size: checked by the caller against what may be allocated.
        width: pixels of a row when it is a picture, else 0.
        prefix: the trained dictionary, when there is one.

    Raises:
        InputError: it is damaged, or does not hold so many bytes.
    """
    layout = reader.byte()
    if layout == PLAIN:
        return _unpacked(reader, size, prefix)
    if layout == BRANCHES:
        return filters.undo(Filter.X86, 0, _unpacked(reader, size, prefix))
    if layout == CUT:
        return _joined(reader, size, prefix)
    form = predict.form(layout)
    if form is None or not width or not size:
        raise reader.refuse(f"is damaged: layout {layout} is none")
    return _picture(reader, form, width, size // (4 * width), prefix)


def _unpacked(reader: Reader, size: int, prefix: bytes) -> bytes:
    """One stream of so many bytes."""
    codec, parameter = reader.byte(), 0
    if codec == Codec.LZMA:
        parameter = reader.byte()
    if codec not in tuple(Codec) or not codecs.is_legal(Setting(Codec(codec), parameter)):
        raise reader.refuse(f"is damaged: codec {codec} with parameter {parameter} is none")
    if codec == Codec.TRAINED and not prefix:
        raise reader.refuse("needs its trained dictionary; name it with --dict")
    data = reader.take(reader.number(len(reader.data), "the length of a stream"))
    try:
        return codecs.unpack(Setting(Codec(codec), parameter), data, size, prefix)
    except Damaged as damage:
        raise reader.refuse(f"is damaged: {damage}") from damage


def _joined(reader: Reader, size: int, prefix: bytes) -> bytes:
    count = reader.number(SEGMENTS_MAX, "the number of its segments")
    segments, left = [], size
    for _ in range(count):
        length = reader.number(left, "the length of a segment")
        left -= length
        mark = reader.byte()
        kind, group = mark & (1 << KIND_BITS) - 1, mark >> KIND_BITS
        if kind not in tuple(Filter) or group >= GROUPS:
            raise reader.refuse(f"is damaged: segment mark {mark} is none")
        width = reader.byte() if Filter(kind) in HAS_WIDTH else 0
        if Filter(kind) in HAS_WIDTH and not width:
            raise reader.refuse("is damaged: records of 0 bytes")
        segments.append(Segment(length, Filter(kind), width, group))
    if left:
        raise reader.refuse(f"is damaged: its segments leave {left} bytes out")
    streams, places = {}, {}
    for group in sorted({segment.group for segment in segments}):
        length = sum(segment.length for segment in segments if segment.group == group)
        streams[group], places[group] = _unpacked(reader, length, prefix), 0
    parts = []
    for segment in segments:
        at = places[segment.group]
        places[segment.group] = at + segment.length
        part = streams[segment.group][at : at + segment.length]
        parts.append(filters.undo(segment.kind, segment.width, part))
    return b"".join(parts)


def _picture(reader: Reader, form: predict.Form, width: int, height: int, prefix: bytes) -> bytes:
    if form.predictor != predict.PALETTE:
        data = _unpacked(reader, predict.encoded_size(form, width, height, 0), prefix)
    else:
        colours = reader.byte()
        size = predict.encoded_size(form, width, height, colours) - 1
        data = bytes([colours]) + _unpacked(reader, size, prefix)
    pixels = predict.decode(form, data, width, height)
    if pixels is None:
        raise reader.refuse("is damaged: a row or an index of its picture is none")
    return pixels
