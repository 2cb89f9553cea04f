"""The four-level page walk of x86-64, done by hand on memory that was read beforehand; others are passed on.

Owns Intel SDM vol. 3, 4.5 (4-level paging) and 4.6 (access rights): which entry each level yields, its flags by
name, where a walk ends and why, whether a given access would be allowed. Never reads a machine: it is given a
function that reads physical memory, and says so where that does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from toolchain.types import MemoryChunk, Walk, WalkLevel

Access = Literal["read", "write", "fetch"]
Level = Literal["PML4", "PDPT", "PD", "PT"]
Reader = Callable[[int, int], bytes | None]
Names = Callable[[Level, int], tuple[str, ...]]

LEVELS: tuple[tuple[Level, int], ...] = (("PML4", 39), ("PDPT", 30), ("PD", 21), ("PT", 12))

PRESENT, WRITE, USER, PWT, PCD, ACCESSED, DIRTY, LARGE, GLOBAL = (1 << n for n in range(9))
NX = 1 << 63
_PAT_LARGE = 1 << 12
ADDRESS = 0x000F_FFFF_FFFF_F000
_CANONICAL_BITS = 47

CR0_WP, CR0_PG = 1 << 16, 1 << 31
CR4_PAE, CR4_LA57, CR4_SMEP, CR4_SMAP = 1 << 5, 1 << 12, 1 << 20, 1 << 21
EFER_LME, EFER_LMA, EFER_NXE = 1 << 8, 1 << 10, 1 << 11
RFLAGS_AC = 1 << 18
TABLE_BYTES = 4096
PHYSICAL_BITS = 40  # of QEMU's TCG processors


@dataclass(frozen=True, slots=True)
class Paging:
    """The control registers that a walk depends on, and the access to judge."""

    cr3: int
    cr0: int = CR0_PG | CR0_WP
    cr4: int = CR4_PAE
    efer: int = EFER_LMA | EFER_NXE
    rflags: int = 0
    access: Access = "read"
    user: bool = False
    physical_bits: int = PHYSICAL_BITS


def reader(chunks: Iterable[MemoryChunk]) -> Reader:
    """A ``Reader`` over what a snapshot holds; None for a range that no single chunk covers."""
    held = sorted(chunks, key=lambda chunk: chunk.physical)

    def read(physical: int, size: int) -> bytes | None:
        for chunk in held:
            start = physical - chunk.physical
            if start >= 0 and start + size <= len(chunk.data):
                return chunk.data[start : start + size]
        return None

    return read


def canonical(address: int) -> bool:
    """True when bits 63:47 are all equal (SDM vol. 1, 3.3.7.1)."""
    return address >> _CANONICAL_BITS in (0, (1 << 64 - _CANONICAL_BITS) - 1)


def indices(address: int) -> tuple[int, int, int, int]:
    """The indices of the four levels, PML4 first."""
    return tuple(address >> shift & 0x1FF for _, shift in LEVELS)  # type: ignore[return-value]


def translate(address: int, paging: Paging, read: Reader) -> Walk:
    """Walk the tables for ``address``.

    Args:
        address: virtual, 64 bits.
        paging: control registers and the access to judge.
        read: reads physical memory, ``(address, size) -> bytes`` or None where it does not know.

    Returns:
        ``mapped`` is true when a translation exists, even if the access would fault on its rights; then
        ``ends_at`` names the level that denies and ``reason`` says what. ``ends_at`` is None when all is well.
    """
    if paging.cr0 and not paging.cr0 & CR0_PG:
        return Walk(address, paging.cr3, (), True, address, None, None, "paging is off: virtual is physical")
    if not paging.efer & EFER_LMA:
        from toolchain import walk_legacy

        return walk_legacy.translate(address, paging, read)
    steps = Steps(address, paging, read)
    if paging.cr4 & CR4_LA57:
        return steps.ended("CR4.LA57 is set: five-level paging is not followed", "CR3")
    if not canonical(address):
        return steps.ended("the address is not canonical: bits 63:47 are not all equal", "address")
    table = paging.cr3 & ADDRESS
    for level, shift in LEVELS:
        entry = steps.entry(level, table, shift)
        if entry is None:
            return steps.ended()
        if level == "PT" or (entry & LARGE and level in ("PDPT", "PD")):
            return steps.mapped(entry & ADDRESS, 1 << shift)
        table = entry & ADDRESS
    raise AssertionError("the PT level always ends a walk")


class Steps:
    """A walk on its way: the entries that it has come by, and how it ends.

    Attributes:
        levels: every entry that was looked at.
        rights: the entries that have a part in the rights, the last ones of ``levels``.
        why: the last entry ended it.
    """

    def __init__(self, address: int, paging: Paging, read: Reader) -> None:
        self.address = address
        self.paging = paging
        self.read = read
        self.levels: list[WalkLevel] = []
        self.rights: list[int] = []
        self.why = ""

    def entry(
        self, level: Level, table: int, shift: int, width: int = 8, names: Names | None = None
    ) -> int | None:
        """The entry that a table, a page of entries of ``width`` bytes, has for the address; None where it ends there.

        Args:
            level: of the table.
            table: its physical address.
            shift: the address's lowest bit that chooses among the entries.
            width: 4 or 8.
            names: the flags of an entry by name; None for ``flags``.
        """
        index = self.address >> shift & TABLE_BYTES // width - 1
        where = table + width * index
        data = self.read(where, width)
        if data is None:
            self.levels.append(WalkLevel(level, index, where, None, ("unknown",)))
            self.why = f"the {level} entry at {where:#x} was not read"
            return None
        entry = int.from_bytes(data, "little")
        bad = _reserved(level, entry, self.paging) if width == 8 and entry & PRESENT else ()
        self.levels.append(WalkLevel(level, index, where, entry, (names or flags)(level, entry) + bad))
        if not entry & PRESENT:
            what = "is empty" if entry == 0 else f"holds {entry:#x}, whose present bit is clear"
            self.why = f"{level} entry {index} at {where:#x} {what}"
        elif bad:
            self.why = f"{level} entry {index} ({entry:#x}) has {', '.join(bad)} set"
        else:
            self.rights.append(entry)
            return entry
        return None

    def ended(self, why: str = "", at: str = "") -> Walk:
        """It ends without a translation, at the last level unless another place is named."""
        place = at or self.levels[-1].level
        return Walk(
            self.address, self.paging.cr3, tuple(self.levels), False, None, None, place, why or self.why
        )

    def mapped(self, frame: int, size: int) -> Walk:
        """It ends at a page of ``size`` bytes; bits of ``frame`` below that are not its address."""
        physical = frame & ~(size - 1) | self.address & size - 1
        refused = _denied(self.rights, self.paging)
        level, why = None, f"maps to {physical:#x}"
        if refused:
            level, why = self.levels[refused[0] - len(self.rights)].level, refused[1]
        return Walk(self.address, self.paging.cr3, tuple(self.levels), True, physical, size, level, why)


def level_of_table(table: int, address: int, physical: int, read: Reader) -> Level | None:
    """Which level below PML4 a table is, judged by where it would map an address.

    Args:
        table: physical address of the table, e.g. what CR3 holds.
        address: virtual address whose translation is known.
        physical: what it should map to.
        read: reads physical memory.

    Returns:
        ``"PDPT"`` or ``"PD"`` when the table, read as that level, maps ``address`` to ``physical``; else None.
    """
    for skipped in (1, 2):
        at = table & ADDRESS
        for level, shift in LEVELS[skipped:]:
            data = read(at + 8 * (address >> shift & 0x1FF), 8)
            entry = int.from_bytes(data, "little") if data else 0
            if not entry & PRESENT:
                break
            if level == "PT" or entry & LARGE:
                if (entry & ADDRESS) >> shift == physical >> shift:
                    return LEVELS[skipped][0]
                break
            at = entry & ADDRESS
    return None


def flags(level: Level, entry: int) -> tuple[str, ...]:
    """The flags of an entry by name, in the order of their bits (SDM vol. 3, table 4-14 and following)."""
    if entry == 0:
        return ("empty",)
    leaf = level == "PT" or (entry & LARGE != 0 and level != "PML4")
    names = [
        ("present", PRESENT),
        ("write", WRITE),
        ("user", USER),
        ("pwt", PWT),
        ("pcd", PCD),
        ("accessed", ACCESSED),
    ]
    if leaf:
        names.append(("dirty", DIRTY))
    found = [name for name, bit in names if entry & bit]
    if leaf and level != "PT":
        found.append("2M" if level == "PD" else "1G")
    if leaf and entry & GLOBAL:
        found.append("global")
    if leaf and entry & (LARGE if level == "PT" else _PAT_LARGE):
        found.append("pat")
    if entry & NX:
        found.append("nx")
    return tuple(found) if entry & PRESENT else ("not present", *found)


def _reserved(level: Level, entry: int, paging: Paging) -> tuple[str, ...]:
    """The reserved bits that are set, by name."""
    bad = []
    if entry & NX and not paging.efer & EFER_NXE:
        bad.append("reserved bit 63 (NX without EFER.NXE)")
    if level == "PML4" and entry & LARGE:
        bad.append("reserved bit 7 (page size)")
    high = entry >> paging.physical_bits & (1 << 52 - paging.physical_bits) - 1
    bad += [
        f"reserved bit {paging.physical_bits + n}" for n in range(52 - paging.physical_bits) if high >> n & 1
    ]
    if entry & LARGE and level in ("PDPT", "PD"):
        top = 30 if level == "PDPT" else 21
        low = entry & (1 << top) - 1 & ~(_PAT_LARGE | 0xFFF)
        bad += [f"reserved bit {n}" for n in range(13, top) if low >> n & 1]
    return tuple(bad)


def _denied(entries: list[int], paging: Paging) -> tuple[int, str] | None:
    """The level whose rights deny the access, and why (SDM vol. 3, 4.6.1); None when it is allowed."""
    last = len(entries) - 1
    user_page = all(entry & USER for entry in entries)

    def first_without(bit: int) -> int:
        return next(n for n, entry in enumerate(entries) if not entry & bit)

    if paging.user and not user_page:
        return first_without(USER), "the page is the supervisor's (U/S clear) and the access is the user's"
    if not paging.user and user_page:
        if paging.access == "fetch" and paging.cr4 & CR4_SMEP:
            return last, "supervisor code is fetched from a user page and CR4.SMEP is set"
        if paging.access != "fetch" and paging.cr4 & CR4_SMAP and not paging.rflags & RFLAGS_AC:
            return last, "the supervisor touches a user page, CR4.SMAP is set and RFLAGS.AC is clear"
    protected = paging.user or paging.cr0 & CR0_WP or not paging.cr0
    if paging.access == "write" and protected and not all(entry & WRITE for entry in entries):
        return first_without(WRITE), "the page is read-only (R/W clear) and the access is a write"
    if paging.access == "fetch" and paging.efer & EFER_NXE:
        level = next((n for n, entry in enumerate(entries) if entry & NX), None)
        if level is not None:
            return level, "the page is not executable (NX set) and the access is a fetch"
    return None
