"""The page walks outside long mode: 32-bit paging and PAE paging, by hand on memory that was read beforehand.

Owns Intel SDM vol. 3, 4.3 (32-bit paging, with 4 MB pages and PSE-36) and 4.4 (PAE paging); ``walk.translate`` asks it
for machines that have paging on and are not in long mode. Rights are ``walk``'s.
"""

from __future__ import annotations

from toolchain import walk
from toolchain.types import Walk, WalkLevel

CR4_PSE = 1 << 4
_LARGE_SHIFT = 22  # of a 4 MB page
_SMALL_PAGE, _MIDDLE_PAGE = 1 << 12, 1 << 21
_RESERVED_LARGE = 1 << 21
_PSE36 = 0xFF  # bits 39:32 of a 4 MB page's address, in bits 20:13 of its entry
_ADDRESS32 = 0xFFFF_F000
_PDPT_TABLE = 0xFFFF_FFE0  # what CR3 holds of it: 32 bytes aligned
_PDPT_RESERVED = 0b1_1110_0110  # R/W, U/S, accessed, dirty, PS and G are none there
IGNORED = "ps-ignored"  # a flag's name: bit 7 without CR4.PSE


def translate(address: int, paging: walk.Paging, read: walk.Reader) -> Walk:
    """Walk the tables for the lower 32 bits of an address, as ``walk.translate`` does for four levels."""
    made = _Legacy(address & 0xFFFF_FFFF, paging, read)
    return made.pae() if paging.cr4 & walk.CR4_PAE else made.plain()


class _Legacy:
    def __init__(self, address: int, paging: walk.Paging, read: walk.Reader) -> None:
        self.address = address
        self.paging = paging
        self.read = read
        self.levels: list[WalkLevel] = []
        self.entries: list[int] = []  # that have a part in the rights
        self.why = ""  # the walk ended

    def plain(self) -> Walk:
        """Two levels of 1,024 entries of four bytes; bit 7 in the first makes a 4 MB page, if CR4.PSE is set."""
        large = bool(self.paging.cr4 & CR4_PSE)
        entry = self._entry("PD", self.paging.cr3 & _ADDRESS32, 4, _LARGE_SHIFT, 0x3FF, large=large)
        if entry is None:
            return self._ended()
        if entry & walk.LARGE and large:
            if entry & _RESERVED_LARGE:
                self.why = f"PD entry {self.levels[-1].index} ({entry:#x}) has reserved bit 21 set"
                return self._ended()
            high = (entry >> 13 & _PSE36) << 32
            return self._mapped(high | entry & 0xFFC0_0000, 1 << _LARGE_SHIFT)
        lost = bool(entry & walk.LARGE)  # asked for a large page, and gets a table
        entry = self._entry("PT", entry & _ADDRESS32, 4, 12, 0x3FF, large=False)
        if entry is None:
            if lost:
                self.why += "; bit 7 of the PD entry asks for a 4 MB page, and CR4.PSE is clear"
            return self._ended()
        return self._mapped(entry & _ADDRESS32, _SMALL_PAGE)

    def pae(self) -> Walk:
        """Four entries of eight bytes that CR3 names, then two levels of 512; 2 MB pages."""
        first = self._entry("PDPT", self.paging.cr3 & _PDPT_TABLE, 8, 30, 3, large=False)
        if first is None:
            return self._ended()
        self.entries.clear()  # it has no rights
        if first & _PDPT_RESERVED:
            self.why = f"PDPT entry {self.levels[-1].index} ({first:#x}) has reserved bits set"
            return self._ended()
        entry = self._entry("PD", first & walk.ADDRESS, 8, 21, 0x1FF, large=True)
        if entry is None:
            return self._ended()
        if entry & walk.LARGE:
            return self._mapped(entry & walk.ADDRESS & ~(_MIDDLE_PAGE - 1), _MIDDLE_PAGE)
        entry = self._entry("PT", entry & walk.ADDRESS, 8, 12, 0x1FF, large=False)
        return self._ended() if entry is None else self._mapped(entry & walk.ADDRESS, _SMALL_PAGE)

    def _entry(
        self, level: walk.Level, table: int, width: int, shift: int, mask: int, *, large: bool
    ) -> int | None:
        """One level's entry; None where the walk ends there, with ``why``."""
        index = self.address >> shift & mask
        where = table + width * index
        data = self.read(where, width)
        if data is None or len(data) < width:
            self.levels.append(WalkLevel(level, index, where, None, ("unknown",)))
            self.why = f"the {level} entry at {where:#x} was not read"
            return None
        entry = int.from_bytes(data, "little")
        names = self._flags(level, entry, width, large=large)
        bad = walk.reserved(level, entry, self.paging) if width == 8 and entry & walk.PRESENT else ()
        self.levels.append(WalkLevel(level, index, where, entry, names + bad))
        if not entry & walk.PRESENT:
            what = "is empty" if entry == 0 else f"holds {entry:#x}, whose present bit is clear"
            self.why = f"{level} entry {index} at {where:#x} {what}"
            return None
        if bad:
            self.why = f"{level} entry {index} ({entry:#x}) has {', '.join(bad)} set"
            return None
        self.entries.append(entry)
        return entry

    @staticmethod
    def _flags(level: walk.Level, entry: int, width: int, *, large: bool) -> tuple[str, ...]:
        if level == "PD" and entry & walk.LARGE and not large:
            return (*walk.flags(level, entry & ~walk.LARGE), IGNORED)
        if level == "PDPT":
            return walk.flags("PML4", entry)  # no leaf either
        names = walk.flags(level, entry)
        return tuple("4M" if name == "2M" and width == 4 else name for name in names)

    def _ended(self) -> Walk:
        return self._walk(False, self.levels[-1].level, self.why)

    def _mapped(self, frame: int, size: int) -> Walk:
        physical = frame | self.address & size - 1
        refused = walk.denied(self.entries, self.paging)
        if refused:
            level = self.levels[len(self.levels) - len(self.entries) + refused[0]].level
            return self._walk(True, level, refused[1], physical, size)
        return self._walk(True, None, f"maps to {physical:#x}", physical, size)

    def _walk(
        self,
        mapped: bool,
        ends_at: str | None,
        why: str,
        physical: int | None = None,
        size: int | None = None,
    ) -> Walk:
        return Walk(self.address, self.paging.cr3, tuple(self.levels), mapped, physical, size, ends_at, why)
