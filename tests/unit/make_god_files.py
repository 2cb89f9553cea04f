"""The files of tests/fixtures/god_pixel.txt: ``python -m tests.unit.make_god_files`` prints them.

Made once for a version of the formats and kept, so that what was written then is read by every later pxOS: a change
that makes one of them unreadable needs a new version number. Compressors may give other bytes another day; these stay.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from pixelvm.god import codecs, container, dictionary, family, filters, layouts, predict, seed
from pixelvm.god.codecs import Codec, Setting
from pixelvm.god.container import Content, Head
from pixelvm.god.dictionary import Dictionary
from pixelvm.god.filters import Filter
from pixelvm.god.surface import Size
from pixelvm.god.varint import number
from tests.unit.god_tiles import code, some, tile

TEXT = b"one pixel, one pixel, one pixel that stands for 16,384. \xe8\1\2\0\0\x0f\x84\xf0\xff\xff\xff\xe9\3\0\0\0end"
PIXELS = bytes((7 * n * n + 13 * n) & 255 for n in range(4 * 5 * 4))
WIDTH, HEIGHT = 5, 4


def file(body: bytes, content: Content, levels: int = 0) -> bytes:
    width, height = (content.width, content.height) if content.is_picture else (len(content.data), 0)
    return container.assemble(Head(content.is_picture, width, height, levels, 0, content.digest), body)


def stream(setting: Setting, data: bytes) -> bytes:
    packed = codecs.pack(setting, data)
    parameter = bytes([setting.parameter]) if setting.codec is Codec.LZMA else b""
    return bytes([setting.codec]) + parameter + number(len(packed)) + packed


def made() -> Iterator[tuple[str, bytes, Content]]:
    """Name, file, content."""
    text = Content(TEXT)
    for setting in (
        Setting(Codec.STORED),
        codecs.lzma_setting(1, 2, 2),
        Setting(Codec.ZSTD),
        Setting(Codec.BROTLI),
    ):
        yield setting.codec.name.lower(), file(bytes([layouts.PLAIN]) + stream(setting, TEXT), text), text
    stored = Setting(Codec.STORED)
    branches = filters.apply(Filter.X86, 0, TEXT)
    yield "x86", file(bytes([layouts.BRANCHES]) + stream(stored, branches), text), text
    cuts = [
        (Filter.NONE, 0, 0, 9),
        (Filter.X86, 0, 1, 54),
        (Filter.DELTA, 3, 2, 5),
        (Filter.COLUMNS, 2, 0, 3),
    ]
    cuts.append((Filter.COLUMN_DELTA, 2, 1, len(TEXT) - sum(cut[3] for cut in cuts)))
    head, groups, at = bytes([layouts.CUT]) + number(len(cuts)), {0: b"", 1: b"", 2: b""}, 0
    for kind, width, group, length in cuts:
        head += (
            number(length) + bytes([kind | group << layouts.KIND_BITS]) + (bytes([width]) if width else b"")
        )
        groups[group] += filters.apply(kind, width, TEXT[at : at + length])
        at += length
    yield "cut", file(head + b"".join(stream(stored, groups[group]) for group in groups), text), text
    picture = Content(PIXELS, WIDTH, HEIGHT)
    for wanted in range(predict.FORMS_MAX):
        form = predict.form(wanted)
        data = None if form is None else predict.encode(form, PIXELS, WIDTH)
        if data is None:
            continue
        palette = wanted == predict.PALETTE
        body = (
            bytes([wanted]) + (data[:1] if palette else b"") + stream(stored, data[1:] if palette else data)
        )
        yield f"form {wanted}", file(body, picture), picture
    for each in family.FAMILIES.values():
        one = some(random.Random(each.name), each)
        yield (
            each.name,
            file(bytes([layouts.PLAIN]) + stream(stored, one.word.to_bytes(4, "little")), tile(one), 1),
            tile(one),
        )
    grey = code("solid", family.Kind.SOLID, 8, 9)
    big = container.grow(seed.expand(grey)[:2, :2], Size(200, 200), "", None)
    content = Content(big.astype("<u4").tobytes(), 200, 200)
    body = bytes([layouts.PLAIN]) + stream(stored, grey.word.to_bytes(4, "little"))
    yield "two levels", file(body, content, 2), content
    mixed = Content(bytes(4 * family.TILE_PIXELS) + TEXT)
    words = code("grey", 0, 0).word.to_bytes(4, "little") + bytes(4)
    rest = stream(Setting(Codec.BROTLI), TEXT.ljust(family.TILE_BYTES, b"!"))
    body = bytes([layouts.PLAIN]) + stream(stored, words) + bytes([layouts.PLAIN]) + rest
    yield "residual", file(body, mixed, 1), mixed


def main() -> None:
    """Print a line for each file: name, SHA-256 of its content, its bytes."""
    for name, data, content in made():
        print(f"{name}: {content.digest.hex()} {data.hex()}")
    store = Dictionary("d", bytes(range(dictionary.ID)))
    for one in (code("xor", 1, 2, 3), code("board", 4, 5, 6)):
        store.add(tile(one).data)
    print(f"dictionary: {tile(code('board', 4, 5, 6)).digest.hex()} {store.to_bytes().hex()}")


if __name__ == "__main__":
    main()
