"""Rules for page tables that were set up wrongly: wrong index, NX before NXE, paging switched on too early.

Owns the reading of Intel SDM vol. 3, 4.1 (paging modes) and 4.5 (four levels) for ``diagnose``. Each rule is a
function of ``Clues``; ``RULES`` holds them in order.
"""

from __future__ import annotations

from toolchain import walk, walk_legacy
from toolchain.clues import PAGE, Clues
from toolchain.rule_words import decoded, end_level, entry_text, here, mapping_suspects, page_fault, reason
from toolchain.types import Diagnosis

_ENTRIES = 512
_MAX_SUSPECTS = 6


def entry_elsewhere(clues: Clues) -> Diagnosis | None:
    """The mapping was made, at another index of the same table: a wrong shift or mask."""
    address, found = page_fault(clues), clues.walk
    level = end_level(found) if found else None
    if address is None or found is None or level is None or level.level not in ("PT", "PD"):
        return None
    if found.mapped or "reserved bit" in decoded(clues) or clues.paging_legacy:
        return None
    size = 1 << dict(walk.LEVELS)[level.level]
    table = clues.read_physical(level.entry_address & ~(PAGE - 1), PAGE)
    for index in range(_ENTRIES if table else 0):
        entry = int.from_bytes(table[8 * index : 8 * index + 8], "little") if table else 0
        leaf = level.level == "PT" or entry & walk.LARGE
        frame = entry & 0x000F_FFFF_FFFF_F000 & ~(size - 1)
        if entry & walk.PRESENT and leaf and frame == address & ~(size - 1):
            return Diagnosis(
                "entry-at-wrong-index",
                f"The frame of {address:#x} is mapped by {level.level} entry {index}, but the walk uses entry "
                f"{level.index}: the index was computed with a wrong shift or mask.",
                tuple(mapping_suspects(clues)),
                f"the {level.level} index is bits {size.bit_length() + 7}:{size.bit_length() - 1} of the address",
            )
    return None


def page_size_ignored(clues: Clues) -> Diagnosis | None:
    """An entry of 32-bit paging asks for a 4 MB page, which CR4.PSE does not allow."""
    found = clues.walk if page_fault(clues) is not None else None
    level = next((row for row in found.levels if walk_legacy.IGNORED in row.flags), None) if found else None
    if level is None:
        return None
    return Diagnosis(
        "pse-clear",
        f"{entry_text(level)} has bit 7 (page size) set while CR4.PSE is clear: the processor takes the frame of the "
        "4 MB page for a page table.",
        tuple(dict.fromkeys([*clues.routines(), *mapping_suspects(clues)]))[:_MAX_SUSPECTS],
        "set CR4.PSE (bit 4) before paging is turned on",
    )


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
        tuple(dict.fromkeys([*clues.code.routines_with("wrmsr"), *mapping_suspects(clues)]))[:_MAX_SUSPECTS],
        "set EFER.NXE (MSR 0xc0000080, bit 11) before tables with NX are used",
    )


def code_not_mapped(clues: Clues) -> Diagnosis | None:
    """The kernel's own code cannot be fetched: CR3 holds no table that maps it."""
    address = page_fault(clues)
    section = clues.symbols.section_at(address) if clues.symbols and address is not None else None
    if address is None or address != clues.rip or section is None or "x" not in section.flags:
        return None
    if "not present" not in decoded(clues):
        return None
    cr3 = clues.registers.get("cr3", 0)
    physical = address - section.address + section.physical
    # the kernel's own address, or the boot code's identity mapping, through the table as if it were a lower one
    below = next(
        filter(
            None, (walk.level_of_table(cr3, a, physical, clues.read_physical) for a in (address, physical))
        ),
        None,
    )
    before = clues.code.before(address)
    switched = before is not None and before.text.startswith(("mov cr0", "mov cr3"))
    sentence = f"The code at {here(clues)} is not mapped: {reason(clues)}."
    if switched and before:
        sentence = (
            f"After '{before.text}' the next instruction, at {here(clues)}, is not mapped: {reason(clues)}."
        )
    if below:
        sentence += (
            f" Taken as a {below}, the table at {cr3:#x} would map it: CR3 holds the {below}, not the PML4."
        )
    loaders = clues.code.routines_with("mov cr3")
    return Diagnosis(
        "cr3-wrong-level" if below else "paging-enable" if switched else "code-not-mapped",
        sentence,
        tuple(dict.fromkeys([*loaders, *mapping_suspects(clues), *clues.routines()]))[:_MAX_SUSPECTS],
        "load CR3 with the PML4"
        if below
        else "map the code at this address, on every level, before it is needed",
    )


def not_in_long_mode(clues: Clues) -> Diagnosis | None:
    """Paging is on and the processor is not in long mode: something was not set before CR0.PG."""
    known = clues.registers
    if clues.first is None or known.get("bits", 64) == 64:
        return None
    efer, cr4 = known.get("efer", walk.EFER_LMA), known.get("cr4", 0)
    tried = known.get("cr0", 0) & walk.CR0_PG or (efer & walk.EFER_LME and not cr4 & walk.CR4_PAE)
    if efer & walk.EFER_LMA or not tried:
        return None
    missing = [
        name
        for name, there in (("EFER.LME", efer & walk.EFER_LME), ("CR4.PAE", cr4 & walk.CR4_PAE))
        if not there
    ]
    return Diagnosis(
        "not-in-long-mode",
        f"Long mode was to begin without {' and '.join(missing) or 'what it needs'}: the processor at {here(clues)} is "
        f"still in 32-bit mode, where the tables (CR3 {known.get('cr3', 0):#x}) mean something else.",
        tuple(clues.code.routines_with("mov cr0")),
        "set CR4.PAE, load CR3, set EFER.LME, and only then CR0.PG",
    )


RULES = (not_in_long_mode, page_size_ignored, entry_elsewhere, nx_without_nxe, code_not_mapped)
