"""The page walks outside long mode: 32-bit paging and PAE paging, by hand on memory that was read beforehand.

Owns Intel SDM vol. 3, 4.3 (32-bit paging, with 4 MB pages and PSE-36) and 4.4 (PAE paging); ``walk.translate`` asks it
for machines that have paging on and are not in long mode. Rights are ``walk``'s.
"""

from __future__ import annotations

from toolchain import walk
from toolchain.types import Walk

CR4_PSE = 1 << 4
_LARGE_SHIFT = 22  # of a 4 MB page
_RESERVED_LARGE = 1 << 21
_PSE36 = 0xFF  # bits 39:32 of a 4 MB page's address, in bits 20:13 of its entry
_ADDRESS32 = 0xFFFF_F000
_PDPT_TABLE = 0xFFFF_FFE0  # what CR3 holds of it: 32 bytes aligned
_PDPT_RESERVED = 0b1_1110_0110  # R/W, U/S, accessed, dirty, PS and G are none there
IGNORED = "ps-ignored"  # a flag's name: bit 7 without CR4.PSE


def translate(address: int, paging: walk.Paging, read: walk.Reader) -> Walk:
    """Walk the tables for the lower 32 bits of an address, as ``walk.translate`` does for four levels."""
    steps = walk.Steps(address & 0xFFFF_FFFF, paging, read)
    return _pae(steps) if paging.cr4 & walk.CR4_PAE else _plain(steps)


def _plain(steps: walk.Steps) -> Walk:
    """Two levels of 1,024 entries of four bytes; bit 7 in the first makes a 4 MB page, if CR4.PSE is set."""
    large = bool(steps.paging.cr4 & CR4_PSE)
    names = _large if large else _small
    entry = steps.entry("PD", steps.paging.cr3 & _ADDRESS32, _LARGE_SHIFT, 4, names)
    if entry is None:
        return steps.ended()
    if entry & walk.LARGE and large:
        if entry & _RESERVED_LARGE:
            return steps.ended(f"PD entry {steps.levels[-1].index} ({entry:#x}) has reserved bit 21 set")
        return steps.mapped((entry >> 13 & _PSE36) << 32 | entry & _ADDRESS32, 1 << _LARGE_SHIFT)
    lost = bool(entry & walk.LARGE)  # asked for a large page, and gets a table
    entry = steps.entry("PT", entry & _ADDRESS32, 12, 4)
    if entry is not None:
        return steps.mapped(entry & _ADDRESS32, 1 << 12)
    asked = "; bit 7 of the PD entry asks for a 4 MB page, and CR4.PSE is clear" if lost else ""
    return steps.ended(steps.why + asked)


def _pae(steps: walk.Steps) -> Walk:
    """Four entries of eight bytes that CR3 names, then two levels of 512; 2 MB pages."""
    entry = steps.entry("PDPT", steps.paging.cr3 & _PDPT_TABLE, 30, names=lambda _, e: walk.flags("PML4", e))
    if entry is None:
        return steps.ended()
    steps.rights.clear()  # it has none, and is no leaf
    if entry & _PDPT_RESERVED:
        return steps.ended(f"PDPT entry {steps.levels[-1].index} ({entry:#x}) has reserved bits set")
    levels: tuple[tuple[walk.Level, int], ...] = walk.LEVELS[2:]
    for level, shift in levels:
        entry = steps.entry(level, entry & walk.ADDRESS, shift)
        if entry is None:
            return steps.ended()
        if level == "PT" or entry & walk.LARGE:
            return steps.mapped(entry & walk.ADDRESS, 1 << shift)
    raise AssertionError("the PT level always ends a walk")


def _large(level: walk.Level, entry: int) -> tuple[str, ...]:
    return tuple("4M" if name == "2M" else name for name in walk.flags(level, entry))


def _small(level: walk.Level, entry: int) -> tuple[str, ...]:
    """Bit 7 of the first level means nothing."""
    names = walk.flags(level, entry & ~walk.LARGE)
    return (*names, IGNORED) if entry & walk.LARGE else names
