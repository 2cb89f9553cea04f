"""The tables of SPEC.md, printed from the definitions: ``python -m pixelvm.god.spec`` writes them into the file.

Owns the marked blocks of SPEC.md (``<!-- table NAME -->`` to ``<!-- end -->``); the prose around them is written by
hand. A test fails while the file and the definitions differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pixelvm.god import codecs, container, dictionary, family, filters, layouts, predict
from pixelvm.god.family import FAMILIES, Field

SPEC = Path(__file__).with_name("SPEC.md")
_BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_CONSTANTS = (
    "SIDE", "GOLDEN", "MIX_FIRST", "MIX_SECOND", "SLOPE_FRACTION", "CLOUD_ROW", "AUTOMATON_CELL", "JULIA_FRACTION",
    "JULIA_STEPS", "JULIA_ESCAPE", "JULIA_UNIT", "JULIA_GREY",
)  # fmt: skip
_CODECS = {
    codecs.Codec.STORED: "the bytes themselves",
    codecs.Codec.LZMA: "LZMA1 with an end marker; window: the next power of two, at least 4 KiB",
    codecs.Codec.ZSTD: "zstd (RFC 8878) without its magic number; never of 0 bytes",
    codecs.Codec.BROTLI: "brotli (RFC 7932)",
    codecs.Codec.TRAINED: "zstd with the trained part of the dictionary",
}
_FILTERS = {
    filters.Filter.NONE: "as it is",
    filters.Filter.X86: "branches: relative targets as absolute ones",
    filters.Filter.DELTA: "delta",
    filters.Filter.COLUMNS: "columns",
    filters.Filter.COLUMN_DELTA: "delta, then columns",
}
_PREDICTORS = {
    predict.NONE: "nothing",
    predict.SUB: "the pixel to the left",
    predict.UP: "the pixel above",
    predict.AVERAGE: "half their sum, rounded down",
    predict.PAETH: "PNG's Paeth",
    predict.GRADIENT: "left + above - corner, held between left and above",
    predict.BY_ROW: "by row",
    predict.PALETTE: "palette",
}


def filled(text: str) -> str:
    """``text`` with every marked block holding its table.

    Raises:
        KeyError: a block names no table.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]}\n\n{match[3]}", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines)


def _field(field: Field) -> str:
    text = f"{field.name}:{field.bits}{'s' if field.signed else ''}"
    return text if field.low is None and field.high is None else f"{text} ({field.least} to {field.greatest})"


def _constant(name: str) -> str:
    value = getattr(family, name)
    return f"0x{value:08x}" if value > family.TILE_BYTES else str(value)


TABLES = {
    "words": _table(
        ("R", "means"),
        [
            (
                f"0x{family.RESIDUAL:02x}",
                "with G, B, A = 0, in a grid: a tile of the packed stream before it",
            ),
            (f"0x{family.ADDRESS:02x}", "G, B, A: the index of a tile in the dictionary"),
            ("a family", "a seed code"),
            ("others", "illegal"),
        ],
    ),
    "families": _table(
        ("R", "name", "fields", "pixel (x, y)", "search"),
        [
            (
                f"0x{one.kind:02x}",
                one.name,
                ", ".join(map(_field, one.fields)),
                f"`{one.formula}`",
                one.search,
            )
            for one in FAMILIES.values()
        ],
    ),
    "constants": _table(("name", "value"), [(name, _constant(name)) for name in _CONSTANTS]),
    "container": _table(
        ("offset", "size", "field"),
        [
            (0, 4, f"`{container.MAGIC.decode()}`"),
            (4, 1, f"version, {container.VERSION}"),
            (5, 1, "flags: 1 a picture, 2 needs a dictionary, 4 needs its trained part"),
            (6, 1, f"levels, 0 to {container.LEVELS_MAX}"),
            (7, 1, "greatest error of any channel against what was compressed, 0 when exact"),
            (8, 4, "width in pixels; of a file: its bytes"),
            (12, 4, "height in pixels; of a file: 0"),
            (16, container.DIGEST, "SHA-256 of the content"),
            (container.HEADER - 4, 4, "CRC-32 (as in PNG) of all other bytes in their order"),
            (container.HEADER, dictionary.ID, "with flag 2: the dictionary's id"),
            ("", "", "the packed streams"),
        ],
    ),
    "layouts": _table(
        ("byte", "then"),
        [
            ("0 to 31", "a form of a picture: (palette: a byte,) a stream"),
            (layouts.PLAIN, "a stream"),
            (layouts.BRANCHES, "a stream, filtered as one segment with x86"),
            (
                layouts.CUT,
                f"a number of segments up to {layouts.SEGMENTS_MAX}, the segments, a stream for each group",
            ),
        ],
    ),
    "codecs": _table(
        ("codec", "name", "is"), [(int(c), c.name.lower(), text) for c, text in _CODECS.items()]
    ),
    "filters": _table(
        ("filter", "name", "is"), [(int(f), f.name.lower(), text) for f, text in _FILTERS.items()]
    ),
    "predictors": _table(("predictor", "expects"), _PREDICTORS.items()),
    "dictionary": _table(
        ("offset", "size", "field"),
        [
            (0, 4, f"`{dictionary.MAGIC.decode()}`"),
            (4, 4, f"version, {dictionary.VERSION}"),
            (8, dictionary.ID, "id: made of chance once, tells this dictionary from all others"),
            (24, 4, "next: the first index that was never given"),
            (28, 4, "number of entries"),
            (32, 4, "bytes of the trained part"),
            (36, dictionary.DIGEST, "SHA-256 of all other bytes in their order"),
            (68, "", "the trained part, then the entries:"),
            ("+0", 4, "index"),
            ("+4", 4, "bytes of the packed stream"),
            ("+8", dictionary.DIGEST, "SHA-256 of the tile"),
            ("+40", "", "the tile as a packed stream, a picture 128 pixels wide"),
        ],
    ),
}


def main() -> None:
    """Write the tables into SPEC.md."""
    text = SPEC.read_text(encoding="utf-8")
    SPEC.write_text(filled(text), encoding="utf-8")


if __name__ == "__main__":
    main()
