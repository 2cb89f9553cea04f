"""Any bytes or picture, packed without loss: several layouts, several codecs, and the smallest kept.

Owns the form of a packed stream (SPEC.md, "Packed streams") and the choice among layouts: as it is, x86 branches made
absolute, cut at ELF sections into up to three streams, records of one width, and for pictures predictors and palettes.
Unpacking needs only what stands in the stream; it allocates what its caller has allowed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pixelvm.god import codecs, elfcut, filters, predict
from pixelvm.god.codecs import Codec, Damaged, Setting, lzma_setting
from pixelvm.god.filters import Filter
from pixelvm.god.varint import Reader, number

PLAIN, BRANCHES, CUT = 64, 65, 66  # layouts; a number below is a form of a picture
SEGMENTS_MAX = 4096
_GROUPS = 3
_KIND_BITS = 4
_WIDTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)  # bytes of a record that are tried
_THOROUGH = 1 << 20  # bytes up to which every layout is tried
_CLOSE = 1.02  # a layout this near to the best is tried with every codec
_FINALISTS = 3
_QUICK = lzma_setting(3, 0, 0)
_LZMA = tuple(
    lzma_setting(*bits)
    for bits in ((3, 0, 0), (3, 0, 2), (4, 0, 0), (2, 0, 0), (1, 0, 0), (0, 0, 0), (2, 1, 1), (1, 2, 2), (0, 2, 2), (0, 3, 3))
)  # fmt: skip
_OTHERS = (Setting(Codec.STORED), Setting(Codec.ZSTD), Setting(Codec.BROTLI))
_LARGE = (*_LZMA[:2], *_OTHERS)
_HAS_WIDTH = (Filter.DELTA, Filter.COLUMNS, Filter.COLUMN_DELTA)
_TILE_FORMS = tuple(
    predict.Form(kind, green, planes).number
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
    """What stands before the streams, and the bytes of each stream."""

    head: bytes
    streams: tuple[bytes, ...]
    name: str


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
    layouts = [*_of_bytes(data), *(_of_picture(data, width) if width else ())]
    settings = (*_LZMA, *_OTHERS) if len(data) <= _THOROUGH else _LARGE
    if prefix:
        settings += (Setting(Codec.TRAINED),)
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

    if len(layouts) > _FINALISTS:
        quick = [(len(packed(layout, (_QUICK,)).data), at) for at, layout in enumerate(layouts)]
        bound = min(quick)[0] * _CLOSE
        chosen = {at for size, at in sorted(quick)[:_FINALISTS] if size <= bound}
        layouts = [layout for at, layout in enumerate(layouts) if at in chosen or at == 0]
    return min((packed(layout, settings) for layout in layouts), key=lambda found: len(found.data))


def _stream(setting: Setting, data: bytes) -> bytes:
    parameter = bytes([setting.parameter]) if setting.codec is Codec.LZMA else b""
    return bytes([setting.codec]) + parameter + number(len(data)) + data


def _of_bytes(data: bytes) -> list[Layout]:
    found = [Layout(bytes([PLAIN]), (data,), "plain")]
    if not data:
        return found
    found.append(Layout(bytes([BRANCHES]), (filters.apply(Filter.X86, 0, data),), "x86"))
    ranges = elfcut.ranges(data)
    if 1 < len(ranges) <= SEGMENTS_MAX:
        for groups, name in (((0, 0, 0), "elf"), ((0, 1, 1), "elf in 2"), ((0, 1, 2), "elf in 3")):
            segments = [Segment(r.end - r.start, r.kind, r.width, groups[r.group]) for r in ranges]
            found.append(_cut(data, segments, name))
    elif len(data) <= _THOROUGH:
        for width in _WIDTHS:
            for kind in _HAS_WIDTH[: 1 if width == 1 else None]:
                segment = Segment(len(data), kind, width)
                found.append(_cut(data, [segment], f"{kind.name.lower().replace('_', ' ')} {width}"))
    return found


def _cut(data: bytes, segments: Sequence[Segment], name: str) -> Layout:
    head, at = bytes([CUT]) + number(len(segments)), 0
    streams: dict[int, list[bytes]] = {}
    for segment in segments:
        part = data[at : at + segment.length]
        at += segment.length
        streams.setdefault(segment.group, []).append(filters.apply(segment.kind, segment.width, part))
        head += number(segment.length) + bytes([segment.kind | segment.group << _KIND_BITS])
        head += bytes([segment.width]) if segment.kind in _HAS_WIDTH else b""
    return Layout(head, tuple(b"".join(streams[group]) for group in sorted(streams)), name)


def _of_picture(pixels: bytes, width: int) -> list[Layout]:
    found = []
    for wanted in (*_TILE_FORMS, predict.PALETTE):
        form = predict.form(wanted)
        data = None if form is None else predict.encode(form, pixels, width)
        if data is not None and wanted == predict.PALETTE:
            found.append(Layout(bytes([wanted, data[0]]), (data[1:],), "palette"))
        elif data is not None:
            found.append(Layout(bytes([wanted]), (data,), f"predicted ({wanted})"))
    return found


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
        kind, group = mark & (1 << _KIND_BITS) - 1, mark >> _KIND_BITS
        if kind not in tuple(Filter) or group >= _GROUPS:
            raise reader.refuse(f"is damaged: segment mark {mark} is none")
        width = reader.byte() if Filter(kind) in _HAS_WIDTH else 0
        if Filter(kind) in _HAS_WIDTH and not width:
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
