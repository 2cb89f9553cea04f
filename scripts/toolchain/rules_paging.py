"""Rules for page faults: where the walk of CR2 ends, why, and which routine should have seen to it.

Owns the reading of Intel SDM vol. 3, chapter 4 for ``diagnose``. Each rule is a function of ``Clues``; ``RULES``
holds them in order.
"""

from __future__ import annotations

from toolchain import vectors, walk
from toolchain.clues import PAGE, Clues, describe
from toolchain.types import Diagnosis, Walk, WalkLevel

_ENTRIES = 512
_NULL_PAGE = PAGE
_STACK_REACH = 2 * PAGE  # a push or call lands at most this far below the stack pointer's page
_MAX_SUSPECTS = 6
_STACK_WORDS = ("push", "call", "enter")


def _page_fault(clues: Clues) -> int | None:
    """CR2 when the cause is a page fault, else None."""
    first = clues.first
    return first.cr2 if first and first.vector == vectors.PAGE_FAULT else None


def _bits(clues: Clues) -> tuple[str, ...]:
    return clues.first.decoded if clues.first else ()


def _here(clues: Clues) -> str:
    return describe(clues.place) if clues.place else "an unknown place"


def _store(clues: Clues) -> str:
    """The faulting instruction with the register that held the address: ``mov dword ptr [rdi], 0 (rdi = 0x..)``."""
    code = clues.instruction
    if code is None:
        return "the instruction"
    names = {name for operand in code.memory for name in (operand.base, operand.index) if name}
    known = [f"{name} = {clues.registers[name]:#x}" for name in sorted(names) if name in clues.registers]
    return f"'{code.text}'" + (f" ({', '.join(known)})" if known else "")


def _end(found: Walk) -> WalkLevel | None:
    return next((level for level in found.levels if level.level == found.ends_at), None)


def _entry_text(level: WalkLevel) -> str:
    value = "empty" if not level.entry else f"{level.entry:#x}"
    return f"{level.level} entry {level.index} at {level.entry_address:#x} ({value})"


def _reason(clues: Clues) -> str:
    found = clues.walk
    if found is None:
        return "the page tables were not read"
    return f"the walk of {found.address:#x} ends at the {found.ends_at or 'last'} level: {found.reason}"


def mapping_suspects(clues: Clues) -> list[str]:
    """Routines that should have made a mapping, likeliest first.

    Those that were called before the fault on the way to it and say that they map; then those that these call; then
    the mapping routines that the boot units up to now reach; then whatever else was called before.
    """
    called = clues.calls_made()
    mappers = [name for name in called if clues.maps(name)]
    below = [s.name for s in clues.reached_by(mappers) if clues.maps(s.name)]
    entries = clues.unit_entries()
    by_units = [s.name for s in clues.reached_by(entries) if clues.maps(s.name)]
    own = [name for name in entries if clues.maps(name)]
    order = [*mappers, *below, *own, *by_units, *called]
    return list(dict.fromkeys(order))[:_MAX_SUSPECTS]


def _writes_no_entry(clues: Clues, suspects: list[str]) -> str:
    """The blamed routine and the mapping routines below it store nothing themselves: say so, and who does."""
    symbol = clues.symbols.find(suspects[0]) if clues.symbols and suspects else None
    if symbol is None or not clues.maps(symbol.name):
        return ""
    below = clues.code.reachable(symbol.address)
    mappers = [symbol, *(routine for routine in below if clues.maps(routine.name))]
    if any(clues.code.stores_anything(routine.address) for routine in mappers):
        return ""
    names = " and ".join(routine.name for routine in mappers)
    others = [r.name for r in below if r not in mappers and clues.code.stores_anything(r.address)]
    text = (
        f"{names} {'stores' if len(mappers) == 1 else 'store'} nothing to memory: no entry is written there"
    )
    return f"{text}, unless {' or '.join(others[:3])} should" if others else text


def bar_unmapped(clues: Clues) -> Diagnosis | None:
    """An access to a device's registers that nothing mapped."""
    address = _page_fault(clues)
    bar = clues.bar_at(address) if address is not None else None
    if (
        address is None
        or bar is None
        or "not present" not in _bits(clues)
        or (clues.walk and clues.walk.mapped)
    ):
        return None
    suspects = mapping_suspects(clues)
    blame = f"; {suspects[0]}, called before it, should have mapped it" if suspects else ""
    level = _end(clues.walk) if clues.walk else None
    where = f"{_entry_text(level)} ends the walk" if level else _reason(clues)
    verb = "writes" if "write" in _bits(clues) else "touches"
    sentence = f"{_store(clues)} in {_here(clues)} {verb} {address:#x}, {bar.name}, which nothing maps: {where}{blame}."
    hint = _writes_no_entry(clues, suspects)
    advice = hint or "look for the store that writes the page-table entry, and for invlpg after it"
    return Diagnosis("bar-unmapped", sentence, tuple(suspects), advice)


def entry_elsewhere(clues: Clues) -> Diagnosis | None:
    """The mapping was made, at another index of the same table: a wrong shift or mask."""
    address, found = _page_fault(clues), clues.walk
    level = _end(found) if found else None
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
    if _page_fault(clues) is None or "reserved bit" not in _bits(clues):
        return None
    found = clues.walk
    level = _end(found) if found else None
    if clues.registers.get("efer", 0) & walk.EFER_NXE:
        what = (
            f"{_entry_text(level)} has {found.reason.split(' has ')[-1]}"
            if level and found
            else _reason(clues)
        )
        return Diagnosis(
            "reserved-bit",
            f"A page-table entry has a reserved bit set: {what}.",
            tuple(mapping_suspects(clues)),
            "check how the entry's address and flags are combined; bits 51:40 are beyond QEMU's physical addresses",
        )
    where = _entry_text(level) if level else "an entry of the walk"
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


def write_protected(clues: Clues) -> Diagnosis | None:
    """A write to a page that is mapped read-only."""
    address, bits = _page_fault(clues), _bits(clues)
    if address is None or not {"present", "write"} <= set(bits) or "reserved bit" in bits:
        return None
    level = _end(clues.walk) if clues.walk else None
    denied = f": {_entry_text(level)} has R/W clear" if level else ""
    section = clues.section_name(address)
    rsp = clues.registers.get("rsp", 0)
    if 0 <= rsp - address <= PAGE:
        return Diagnosis(
            "stack-read-only",
            f"The stack (rsp = {rsp:#x}) lies in a read-only page{denied}, and CR0.WP is set.",
            tuple(mapping_suspects(clues)),
            "map the stack writable",
        )
    what = f"{clues.name(address)} in section {section}" if section else f"{address:#x}"
    return Diagnosis(
        "write-to-read-only",
        f"{_store(clues)} in {_here(clues)} writes {what}, which is mapped read-only{denied}; CR0.WP is set.",
        _routines(clues),
        "either the pointer is wrong, or the page should be writable (R/W, bit 1, on every level)",
    )


def not_executable(clues: Clues) -> Diagnosis | None:
    """A jump into a page with NX."""
    address, bits = _page_fault(clues), _bits(clues)
    if address is None or "fetch" not in bits or "present" not in bits or "reserved bit" in bits:
        return None
    level = _end(clues.walk) if clues.walk else None
    section = clues.section_name(address)
    what = f"{clues.name(address)} in section {section}" if section else f"{address:#x}"
    return Diagnosis(
        "execute-no-execute",
        f"The processor was sent to {what}, which is not executable"
        + (f": {_entry_text(level)} has NX set." if level else "."),
        tuple(
            name for name in _routines(clues) if not section or name != (clues.place and clues.place.symbol)
        ),
        "a wrong target (return address, function pointer), or code mapped with NX",
    )


def stack_overflow(clues: Clues) -> Diagnosis | None:
    """A push or call just below the mapped stack: the guard page did its work."""
    address, code = _page_fault(clues), clues.instruction
    rsp = clues.registers.get("rsp", 0)
    if address is None or "not present" not in _bits(clues) or not 0 <= rsp - address <= _STACK_REACH:
        return None
    touches_stack = (
        code is None
        or code.name.startswith(_STACK_WORDS)
        or any(operand.base in ("rsp", "rbp") for operand in code.memory)
    )
    if not touches_stack:
        return None
    names = [place.symbol for place in clues.trace if place.symbol]
    repeated = [name for name in dict.fromkeys(names) if names.count(name) > 2]
    why = f"; {repeated[0]} calls itself" if repeated else ""
    return Diagnosis(
        "stack-guard",
        f"The stack pointer {rsp:#x} has run into an unmapped page at {address:#x}, the guard below the stack{why}.",
        tuple(dict.fromkeys([*repeated, *_routines(clues)])),
        "endless recursion, pushes without pops in a loop, a buffer too large for the stack, or rsp never set",
    )


def null_pointer(clues: Clues) -> Diagnosis | None:
    """An access within page 0."""
    address = _page_fault(clues)
    if address is None or address >= _NULL_PAGE:
        return None
    if "fetch" in _bits(clues) or address == clues.rip:
        return Diagnosis(
            "null-call",
            f"The processor was sent to address {address:#x}: a null function pointer or a zero return address"
            + (f", from {describe(clues.trace[0])}." if clues.trace else "."),
            _routines(clues),
            "check the pointer before the call, and that pushes and pops are paired before the ret",
        )
    return Diagnosis(
        "null-pointer",
        f"{_store(clues)} in {_here(clues)} goes through a null pointer (address {address:#x}, page 0 is unmapped).",
        _routines(clues),
        "find where the pointer should have been set; a failed call may have returned 0",
    )


def paging_switched_on(clues: Clues) -> Diagnosis | None:
    """The very next instruction after CR0.PG cannot be fetched."""
    address = _page_fault(clues)
    if address is None or address != clues.rip or not clues.registers.get("cr0", 0) & walk.CR0_PG:
        return None
    before = clues.code.before(address)
    if before is None or not before.text.startswith(("mov cr0", "mov cr3")):
        return None
    cr3 = clues.registers.get("cr3", 0)
    below = _one_level_down(clues, cr3, address)
    sentence = f"After '{before.text}' the next instruction at {address:#x} is not mapped: {_reason(clues)}."
    if below:
        sentence += (
            f" Taken as a {below}, the table at {cr3:#x} would map it: CR3 holds the {below}, not the PML4."
        )
    return Diagnosis(
        "cr3-wrong-level" if below else "paging-enable",
        sentence,
        _routines(clues),
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


def supervisor_user(clues: Clues) -> Diagnosis | None:
    """SMEP, SMAP, or a user's access to a supervisor page."""
    found = clues.walk
    if _page_fault(clues) is None or found is None or not found.mapped or found.ends_at is None:
        return None
    rule = next(
        (
            r
            for word, r in (("SMEP", "smep"), ("SMAP", "smap"), ("U/S", "user-access"))
            if word in found.reason
        ),
        None,
    )
    if rule is None:
        return None
    return Diagnosis(rule, f"{_store(clues)} in {_here(clues)}: {found.reason}.", _routines(clues))


def not_mapped(clues: Clues) -> Diagnosis | None:
    """Any other access to what is not mapped: the level where the walk ends, and who should have mapped it."""
    address = _page_fault(clues)
    if address is None or "not present" not in _bits(clues) or address < _NULL_PAGE:
        return None
    found = clues.walk
    if clues.bar_at(address) and not (found and found.mapped):
        return None  # bar_unmapped says it better
    if found is not None and found.mapped:
        return Diagnosis(
            "stale-translation",
            f"{address:#x} is mapped now, but was not when {_here(clues)} touched it: the entry was written too late, "
            "or the processor still used an old translation.",
            tuple(mapping_suspects(clues)),
            "write the entry before the access; after changing a present entry, invlpg",
        )
    if stack_overflow(clues) or (address == clues.rip and clues.symbols):
        return None  # said better by stack_overflow, and by wild_jump
    mappers, own = mapping_suspects(clues), _routines(clues)
    near = [call.name for call in clues.code.calls_before(clues.rip) if clues.maps(call.name)]
    blame = f"; {near[0]}, called before it, should have mapped it" if near else ""
    sentence = f"{_store(clues)} in {_here(clues)} touches {address:#x}, which is not mapped: {_reason(clues)}{blame}."
    suspects = [*mappers, *own] if near else [*own, *mappers]
    return Diagnosis("not-mapped", sentence, tuple(dict.fromkeys(suspects))[:_MAX_SUSPECTS])


def _routines(clues: Clues) -> tuple[str, ...]:
    return clues.routines()


RULES = (
    bar_unmapped,
    entry_elsewhere,
    nx_without_nxe,
    paging_switched_on,
    stack_overflow,
    write_protected,
    not_executable,
    null_pointer,
    supervisor_user,
    not_mapped,
)
