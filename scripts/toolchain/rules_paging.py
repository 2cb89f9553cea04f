"""Rules for page faults by an access that the tables do not allow: who touched what, and who should have mapped it.

Owns the reading of Intel SDM vol. 3, 4.6 and 4.7 for ``diagnose``. Each rule is a function of ``Clues``; ``RULES``
holds them in order.
"""

from __future__ import annotations

from toolchain.clues import PAGE, Clues, describe
from toolchain.rule_words import (
    access,
    decoded,
    end_level,
    entry_text,
    here,
    mapping_suspects,
    page_fault,
    reason,
)
from toolchain.types import Diagnosis

_NULL_PAGE = PAGE
_STACK_REACH = 2 * PAGE  # a push or call lands at most this far below the stack pointer's page
_MAX_SUSPECTS = 6
_STACK_WORDS = ("push", "call", "enter")


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
    address = page_fault(clues)
    bar = clues.bar_at(address) if address is not None else None
    if (
        address is None
        or bar is None
        or "not present" not in decoded(clues)
        or (clues.walk and clues.walk.mapped)
    ):
        return None
    suspects = mapping_suspects(clues)
    blame = f"; {suspects[0]}, called before it, should have mapped it" if suspects else ""
    level = end_level(clues.walk) if clues.walk else None
    where = f"{entry_text(level)} ends the walk" if level else reason(clues)
    verb = "writes" if "write" in decoded(clues) else "touches"
    sentence = f"{access(clues)} in {here(clues)} {verb} {address:#x}, {bar.name}, which nothing maps: {where}{blame}."
    hint = _writes_no_entry(clues, suspects)
    advice = hint or "look for the store that writes the page-table entry, and for invlpg after it"
    return Diagnosis("bar-unmapped", sentence, tuple(suspects), advice)


def write_protected(clues: Clues) -> Diagnosis | None:
    """A write to a page that is mapped read-only."""
    address, bits = page_fault(clues), decoded(clues)
    if address is None or not {"present", "write"} <= set(bits) or "reserved bit" in bits:
        return None
    level = end_level(clues.walk) if clues.walk else None
    denied = f": {entry_text(level)} has R/W clear" if level else ""
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
        f"{access(clues)} in {here(clues)} writes {what}, which is mapped read-only{denied}; CR0.WP is set.",
        clues.routines(),
        "either the pointer is wrong, or the page should be writable (R/W, bit 1, on every level)",
    )


def not_executable(clues: Clues) -> Diagnosis | None:
    """A jump into a page with NX."""
    address, bits = page_fault(clues), decoded(clues)
    if address is None or "fetch" not in bits or "present" not in bits or "reserved bit" in bits:
        return None
    level = end_level(clues.walk) if clues.walk else None
    section = clues.section_name(address)
    what = f"{clues.name(address)} in section {section}" if section else f"{address:#x}"
    return Diagnosis(
        "execute-no-execute",
        f"The processor was sent to {what}, which is not executable"
        + (f": {entry_text(level)} has NX set." if level else "."),
        tuple(
            name for name in clues.routines() if not section or name != (clues.place and clues.place.symbol)
        ),
        "a wrong target (return address, function pointer), or code mapped with NX",
    )


def stack_overflow(clues: Clues) -> Diagnosis | None:
    """A push or call just below the mapped stack: the guard page did its work."""
    address, code = page_fault(clues), clues.instruction
    rsp = clues.registers.get("rsp", 0)
    if address is None or "not present" not in decoded(clues) or not 0 <= rsp - address <= _STACK_REACH:
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
        tuple(dict.fromkeys([*repeated, *clues.routines()])),
        "endless recursion, pushes without pops in a loop, a buffer too large for the stack, or rsp never set",
    )


def null_pointer(clues: Clues) -> Diagnosis | None:
    """An access within page 0."""
    address = page_fault(clues)
    if address is None or address >= _NULL_PAGE:
        return None
    if "fetch" in decoded(clues) or address == clues.rip:
        return Diagnosis(
            "null-call",
            f"The processor was sent to address {address:#x}: a null function pointer or a zero return address"
            + (f", from {describe(clues.trace[0])}." if clues.trace else "."),
            clues.routines(),
            "check the pointer before the call, and that pushes and pops are paired before the ret",
        )
    return Diagnosis(
        "null-pointer",
        f"{access(clues)} in {here(clues)} goes through a null pointer (address {address:#x}, page 0 is unmapped).",
        clues.routines(),
        "find where the pointer should have been set; a failed call may have returned 0",
    )


def supervisor_user(clues: Clues) -> Diagnosis | None:
    """SMEP, SMAP, or a user's access to a supervisor page."""
    found = clues.walk
    if page_fault(clues) is None or found is None or not found.mapped or found.ends_at is None:
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
    return Diagnosis(rule, f"{access(clues)} in {here(clues)}: {found.reason}.", clues.routines())


def not_mapped(clues: Clues) -> Diagnosis | None:
    """Any other access to what is not mapped: the level where the walk ends, and who should have mapped it."""
    address = page_fault(clues)
    if address is None or "not present" not in decoded(clues) or address < _NULL_PAGE or clues.paging_legacy:
        return None
    found = clues.walk
    if clues.bar_at(address) and not (found and found.mapped):
        return None  # bar_unmapped says it better
    if found is not None and found.mapped:
        return Diagnosis(
            "stale-translation",
            f"{address:#x} is mapped now, but was not when {here(clues)} touched it: the entry was written too late, "
            "or the processor still used an old translation.",
            tuple(mapping_suspects(clues)),
            "write the entry before the access; after changing a present entry, invlpg",
        )
    if stack_overflow(clues) or "reserved bit" in decoded(clues) or (address == clues.rip and clues.symbols):
        return None  # other rules say it better
    mappers, own = mapping_suspects(clues), clues.routines()
    near = [call.name for call in clues.code.calls_before(clues.rip) if clues.maps(call.name)]
    blame = f"; {near[0]}, called before it, should have mapped it" if near else ""
    sentence = (
        f"{access(clues)} in {here(clues)} touches {address:#x}, which is not mapped: {reason(clues)}{blame}."
    )
    suspects = [*mappers, *own] if near else [*own, *mappers]
    return Diagnosis("not-mapped", sentence, tuple(dict.fromkeys(suspects))[:_MAX_SUSPECTS])


FIRST = (bar_unmapped,)
RULES = (
    stack_overflow,
    write_protected,
    not_executable,
    null_pointer,
    supervisor_user,
    not_mapped,
)
