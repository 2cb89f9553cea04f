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
    made = _bytes_by_line(image)
    out: list[str] = []
    append = out.append
    blank = " " * (1 + 16 + 1 + 2 * _BYTES_SHOWN + 1 + 1)
    numbers: list[str] = []  # of lines, as shown
    width = 2 * _BYTES_SHOWN + 1
    for file in image.files:
        text = sources.get(file)
        if text is None:
            continue
        out += [f"=== {file}", ""]
        get = made.get(file, {}).get
        lines = text.replace("\r\n", "\n").split("\n")
        while len(numbers) <= len(lines):
            numbers.append(f"{len(numbers):5}")
        for number, line in enumerate(lines, 1):
            found = get(number)
            if found is not None:
                address, data = found
                shown = data.hex()
                if len(data) > _BYTES_SHOWN:
                    shown = f"{shown[: 2 * _BYTES_SHOWN]}+"
                append(f"{numbers[number]} {address:016x} {shown:{width}} {line}")
            elif line:
                append(f"{numbers[number]}{blank}{line}")
            else:
                append(numbers[number])
        append("")
    return "\n".join(out)


def _bytes_by_line(image: Image) -> dict[str, dict[int, tuple[int, bytes]]]:
    """File -> line -> the first address of its code, and its bytes, as many as are shown and one at least."""
    code = sorted((s for s in image.sections if "x" in s.flags and not s.nobits), key=attrgetter("address"))
    found: dict[str, dict[int, tuple[int, bytes]]] = {}
    if not code:
        return found
    following = iter([*code[1:], None])
    section, after = code[0], next(following)
    for address, length, file, line in sorted(image.lines):
        while after is not None and after.address <= address:
            section, after = after, next(following)
        at = address - section.address
        data = section.data[at : at + length]
        lines = found.get(file)
        if lines is None:
            lines = found[file] = {}
        known = lines.get(line)
        if known is None:
            lines[line] = address, data
        elif len(known[1]) <= _BYTES_SHOWN:  # a line of a repetition can become any number of pieces
            lines[line] = known[0], known[1] + data
    return found
