"""Words and evidence that several diagnosis rules share: the access, the entry where its walk ends, who maps.

Owns how a rule describes what it saw. Draws no conclusion itself.
"""

from __future__ import annotations

from toolchain import vectors
from toolchain.clues import Clues, describe
from toolchain.types import Walk, WalkLevel

_MAX_SUSPECTS = 6


def page_fault(clues: Clues) -> int | None:
    """CR2 when the cause is a page fault, else None."""
    first = clues.first
    return first.cr2 if first and first.vector == vectors.PAGE_FAULT else None


def decoded(clues: Clues) -> tuple[str, ...]:
    """The error code of the cause in words."""
    return clues.first.decoded if clues.first else ()


def here(clues: Clues) -> str:
    """Where the cause happened: ``routine+offset (file:line)``."""
    return describe(clues.place) if clues.place else "an unknown place"


def access(clues: Clues) -> str:
    """The faulting instruction with the register that held the address: ``mov dword ptr [rdi], 0 (rdi = 0x..)``."""
    code = clues.instruction
    if code is None:
        return "the instruction"
    names = {name for operand in code.memory for name in (operand.base, operand.index) if name}
    known = [f"{name} = {clues.registers[name]:#x}" for name in sorted(names) if name in clues.registers]
    return f"'{code.text}'" + (f" ({', '.join(known)})" if known else "")


def end_level(found: Walk) -> WalkLevel | None:
    """The level at which a walk ended, or None when it did not end early."""
    return next((level for level in found.levels if level.level == found.ends_at), None)


def entry_text(level: WalkLevel) -> str:
    """An entry for a person: level, index, place, value."""
    value = "empty" if not level.entry else f"{level.entry:#x}"
    return f"{level.level} entry {level.index} at {level.entry_address:#x} ({value})"


def reason(clues: Clues) -> str:
    """Where the walk of CR2 ends and why."""
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


def instruction(clues: Clues) -> str:
    """The faulting instruction in quotes."""
    return f"'{clues.instruction.text}'" if clues.instruction else "the instruction"
