"""The constants of shaders/god_pixel.wgsl, printed from ``family``: ``python -m pixelvm.god.shader`` writes them.

Owns the marked block of the shader. A test fails while the two differ.
"""

from __future__ import annotations

import re
from pathlib import Path

from pixelvm.god import family
from pixelvm.god.family import FAMILIES

SHADER = Path(__file__).resolve().parents[2] / "shaders" / "god_pixel.wgsl"
_BLOCK = re.compile(r"(// BEGIN generated: [^\n]*\n).*?(// END generated\n)", re.DOTALL)
_SHARED = (
    "SIDE", "TILE_PIXELS", "GOLDEN", "MIX_FIRST", "MIX_SECOND", "SLOPE_FRACTION", "CLOUD_ROW", "AUTOMATON_CELL",
    "JULIA_FRACTION", "JULIA_STEPS", "JULIA_ESCAPE", "JULIA_UNIT", "JULIA_GREY",
)  # fmt: skip
_SIGNED = ("JULIA_ESCAPE", "JULIA_UNIT")


def constants() -> list[str]:
    """The declarations: what both languages share, each family's number, and where each of its fields lies."""
    lines = []
    for name in _SHARED:
        value = getattr(family, name)
        kind, suffix = ("i32", "i") if name in _SIGNED else ("u32", "u")
        lines.append(f"const {name}: {kind} = {value}{suffix};")
    for at, shift in enumerate(family.MIX_SHIFTS):
        lines.append(f"const MIX_SHIFT_{at}: u32 = {shift}u;")
    for one in FAMILIES.values():
        lines.append(f"const {one.kind.name}: u32 = {int(one.kind)}u;")
        place = 0
        for field in one.fields:
            lines.append(f"const {one.kind.name}_{field.name.upper()} = vec2u({place}u, {field.bits}u);")
            place += field.bits
    return lines


def generated(text: str) -> str:
    """``text`` with the block holding the constants."""
    return _BLOCK.sub(lambda match: match[1] + "".join(f"{line}\n" for line in constants()) + match[2], text)


def main() -> None:
    """Write the constants into the shader."""
    SHADER.write_text(generated(SHADER.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
