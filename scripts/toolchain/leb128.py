"""Numbers of variable length, as DWARF writes them (DWARF 4, section 7.6). Owns nothing else."""

from __future__ import annotations


def uleb(value: int) -> bytes:
    """``value`` >= 0 as ULEB128 (DWARF 4, 7.6)."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def sleb(value: int) -> bytes:
    """``value`` as SLEB128 (DWARF 4, 7.6)."""
    out = bytearray()
    while not -0x40 <= value < 0x40:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value & 0x7F)
    return bytes(out)
