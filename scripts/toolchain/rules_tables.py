"""Rules for page tables that were set up wrongly: wrong index, NX before NXE, paging switched on too early.

Owns the reading of Intel SDM vol. 3, 4.1 (paging modes) and 4.5 (four levels) for ``diagnose``. Each rule is a
function of ``Clues``; ``RULES`` holds them in order.
"""

from __future__ import annotations

from toolchain import walk
from toolchain.clues import PAGE, Clues
from toolchain.rule_words import decoded, end_level, entry_text, mapping_suspects, page_fault, reason
from toolchain.types import Diagnosis

_ENTRIES = 512


def entry_elsewhere(clues: Clues) -> Diagnosis | None:
    """The mapping was made, at another index of the same table: a wrong shift or mask."""
    address, found = page_fault(clues), clues.walk
    level = end_level(found) if found else None
    if address is None or found is None or level is None or found.mapped or level.level not in ("PT", "PD"):
        return None
    size = 1 << dict(walk.LEVELS)[level.level]
    table = clues.read_physical(level.entry_address & ~(PAGE - 1), PAGE)
    for index in range(_ENTRIES if table else 0):
        entry = int.from_bytes(table[8 * index : 8 * index + 8], "little") if table else 0
        leaf = level.level == "PT" or entry & walk.LARGE
        frame = entry & 0x000F_FFFF_FFFF_F000 & ~(size - 1)
        if entry & walk.PRESENT and leaf and frame == address & ~(size - 1) and index != level.index:
            return Diagnosis(
                "entry-at-wrong-index",
                f"The frame of {address:#x} is mapped by {level.level} entry {index}, but the walk uses entry "
                f"{level.index}: the index was computed with a wrong shift or mask.",
                tuple(mapping_suspects(clues)),
                f"the {level.level} index is bits {size.bit_length() + 7}:{size.bit_length() - 1} of the address",
            )
    return None


def nx_without_nxe(clues: Clues) -> Diagnosis | None:
    """NX is a reserved bit until EFER.NXE is set."""
    if page_fault(clues) is None or "reserved bit" not in decoded(clues):
        return None
    found = clues.walk
    level = end_level(found) if found else None
    if clues.registers.get("efer", 0) & walk.EFER_NXE:
        what = (
            f"{entry_text(level)} has {found.reason.split(' has ')[-1]}" if level and found else reason(clues)
        )
        return Diagnosis(
            "reserved-bit",
            f"A page-table entry has a reserved bit set: {what}.",
            tuple(mapping_suspects(clues)),
            "check how the entry's address and flags are combined; bits 51:40 are beyond QEMU's physical addresses",
        )
    where = entry_text(level) if level else "an entry of the walk"
    return Diagnosis(
        "nx-without-nxe",
        f"{where} has bit 63 (NX) set while EFER.NXE is clear, so the bit is reserved and every access faults.",
        tuple(dict.fromkeys([*_long_mode_routines(clues), *mapping_suspects(clues)])),
        "set EFER.NXE (MSR 0xc0000080, bit 11) before tables with NX are used",
    )


def _long_mode_routines(clues: Clues) -> list[str]:
    """Routines of the image that write an MSR: where EFER is set."""
    if clues.symbols is None:
        return []
    found = []
    for symbol in clues.symbols.symbols:
        section = clues.symbols.section_at(symbol.address) if symbol.section else None
        if (
            section
            and "x" in section.flags
            and b"\x0f\x30" in clues.symbols.read(*_extent(clues, symbol.address))
        ):
            found.append(symbol.name)
    return found[:2]


def _extent(clues: Clues, address: int) -> tuple[int, int]:
    symbol = clues.symbols.symbol_at(address) if clues.symbols else None
    if clues.symbols is None or symbol is None:
        return address, 0
    start, end = clues.symbols.extent(symbol)
    return start, end - start


def paging_switched_on(clues: Clues) -> Diagnosis | None:
    """The very next instruction after CR0.PG cannot be fetched."""
    address = page_fault(clues)
    if address is None or address != clues.rip or not clues.registers.get("cr0", 0) & walk.CR0_PG:
        return None
    before = clues.code.before(address)
    if before is None or not before.text.startswith(("mov cr0", "mov cr3")):
        return None
    cr3 = clues.registers.get("cr3", 0)
    below = _one_level_down(clues, cr3, address)
    sentence = f"After '{before.text}' the next instruction at {address:#x} is not mapped: {reason(clues)}."
    if below:
        sentence += (
            f" Taken as a {below}, the table at {cr3:#x} would map it: CR3 holds the {below}, not the PML4."
        )
    return Diagnosis(
        "cr3-wrong-level" if below else "paging-enable",
        sentence,
        clues.routines(),
        "load CR3 with the PML4"
        if below
        else "identity-map the code that switches paging on, on every level",
    )


def _one_level_down(clues: Clues, cr3: int, address: int) -> str | None:
    """The level that the table in CR3 really is, when reading it as that level maps the address to itself."""
    for skipped in (1, 2):
        table = cr3 & ~(PAGE - 1)
        for level, shift in walk.LEVELS[skipped:]:
            data = clues.read_physical(table + 8 * (address >> shift & 0x1FF), 8)
            entry = int.from_bytes(data, "little") if data else 0
            if not entry & walk.PRESENT:
                break
            frame = entry & 0x000F_FFFF_FFFF_F000
            if level == "PT" or entry & walk.LARGE:
                if frame & ~((1 << shift) - 1) == address & ~((1 << shift) - 1):
                    return walk.LEVELS[skipped][0]
                break
            table = frame
    return None


RULES = (entry_elsewhere, nx_without_nxe, paging_switched_on)
