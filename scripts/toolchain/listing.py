"""The map file and the listing of an image: what lies where, for people.

Owns: their text. Same image and sources, same text. Never decodes an instruction: the listing shows each source
line with the address and the bytes that it became.
"""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter

from toolchain.types import Image

_BYTES_SHOWN = 10  # of one line; a line that became more ends in "+"


def map_text(image: Image) -> str:
    """Sections and symbols by address, then the absolute symbols by name."""
    out = [
        f"entry {image.entry:#x}",
        "",
        f"{'section':<16} {'address':<18} {'physical':<18} {'size':>8}  flags",
    ]
    out += [
        f"{s.name:<16} {s.address:#018x} {s.physical:#018x} {s.size:#8x}  {s.flags}{' nobits' if s.nobits else ''}"
        for s in image.sections
    ]
    placed = [s for s in image.symbols if s.section is not None]
    placed.sort(key=lambda s: (s.address, s.name))
    out += ["", f"{'address':<18} {'size':>8} {'section':<12} {'symbol':<36} source"]
    out += [f"{s.address:#018x} {s.size:#8x} {s.section:<12} {s.name:<36} {s.file}:{s.line}" for s in placed]
    absolute = sorted({(s.name, s.address) for s in image.symbols if s.section is None})
    out += ["", "absolute", *(f"{value:#018x} {name}" for name, value in absolute), ""]
    return "\n".join(out)


def listing_text(image: Image, sources: Mapping[str, str]) -> str:
    """Every source line with the address and bytes of its code.

    Args:
        image: the image.
        sources: text of the files that its line rows name.
    """
    code = sorted((s for s in image.sections if "x" in s.flags and not s.nobits), key=attrgetter("address"))
    made: dict[tuple[str, int], tuple[int, bytearray]] = {}
    at = 0
    for row in sorted(image.lines, key=attrgetter("address")):
        while at + 1 < len(code) and code[at + 1].address <= row.address:
            at += 1
        offset = row.address - code[at].address
        data = code[at].data[offset : offset + row.length]
        known = made.get((row.file, row.line))
        if known is None:
            made[row.file, row.line] = (row.address, bytearray(data))
        else:
            known[1].extend(data)
    out: list[str] = []
    blank = " " * (16 + 1 + 2 * _BYTES_SHOWN + 1)
    for file in image.files:
        text = sources.get(file)
        if text is None:
            continue
        out += [f"=== {file}", ""]
        for number, line in enumerate(text.splitlines(), 1):
            found = made.get((file, number))
            if found is None:
                out.append(f"{number:5} {blank} {line}".rstrip())
            else:
                address, data_ = found
                shown = data_[:_BYTES_SHOWN].hex() + ("+" if len(data_) > _BYTES_SHOWN else "")
                out.append(f"{number:5} {address:016x} {shown:<{2 * _BYTES_SHOWN + 1}} {line}")
        out.append("")
    return "\n".join(out)
