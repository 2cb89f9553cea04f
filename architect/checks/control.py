"""Control registers as 64-bit code may load them.

Intel SDM vol. 2, MOV to control registers, 64-bit mode exceptions: a CR0 without PG, or with PG and without PE, a CR4
without PAE, raise #GP. A mode bit is lost where a value replaces what the register held instead of being joined to it.
Emulators let this pass and go astray. Follows bits that are surely set or clear along straight code, no further.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from architect.checks import Found, Subject
from toolchain.flow import MASK64, Instruction, RoutineFlow
from toolchain.headers import full_register

_LOAD = re.compile(r"^(cr[04]), (r\w+)$")
_IMMEDIATE = re.compile(r"^([er]\w+), (-?0x[0-9a-f]+|-?\d+)$")
_SAME = re.compile(r"^(e?r?\w+), \1$")
_NEEDED = {"cr0": {"PE": 0, "PG": 31}, "cr4": {"PAE": 5}}


class _Bits(NamedTuple):
    """The bits of a register that are surely set, and those that are surely clear."""

    ones: int = 0
    zeros: int = 0


_UNKNOWN = _Bits()


def check(subject: Subject, flow: RoutineFlow) -> Iterator[Found]:
    """Every load of CR0 or CR4 that surely clears what 64-bit mode needs."""
    if not any(_LOAD.match(i.operands) for i in flow.instructions if i.mnemonic == "mov"):
        return
    targets = {instruction.target for instruction in flow.instructions if instruction.is_jump}
    known: dict[str, _Bits] = {}
    for instruction in flow.instructions:
        if instruction.address in targets:
            known.clear()
        load = _LOAD.match(instruction.operands) if instruction.mnemonic == "mov" else None
        if load:
            clear = known.get(full_register(load[2]) or "", _UNKNOWN).zeros
            lost = [name for name, bit in _NEEDED[load[1]].items() if clear >> bit & 1]
            if lost:
                register = load[1].upper()
                message = f"loads {register} without {' and '.join(lost)}, which 64-bit mode needs"
                yield Found("control-register", message, instruction.address)
        elif instruction.is_call or instruction.ends_flow:
            known.clear()
        else:
            _follow(known, instruction)


def _follow(known: dict[str, _Bits], instruction: Instruction) -> None:
    """What is known of the registers after an instruction."""
    match = _IMMEDIATE.match(instruction.operands)
    name = full_register(match[1]) if match else None
    before = known.get(name or "", _UNKNOWN)
    for written in instruction.writes:
        known.pop(written, None)
    if instruction.mnemonic in ("xor", "sub") and (same := _SAME.match(instruction.operands)):
        if (whole := full_register(same[1])) is not None and same[1][0] in "er":
            known[whole] = _Bits(0, MASK64)
    elif match and name is not None and name in instruction.writes:
        short = match[1].startswith("e") or match[1].endswith("d")
        if not short and match[1] != name:
            return  # 8 and 16 bits of a register say nothing of the others
        value = int(match[2], 0) & (0xFFFF_FFFF if short else MASK64)
        after = _after(instruction.mnemonic, before, value)
        if after is not None:
            known[name] = (
                _Bits(after.ones & 0xFFFF_FFFF, after.zeros | MASK64 ^ 0xFFFF_FFFF) if short else after
            )


def _after(mnemonic: str, before: _Bits, value: int) -> _Bits | None:
    """The bits that an instruction with an immediate leaves; None when nothing can be told."""
    if mnemonic in ("mov", "movabs"):
        return _Bits(value, MASK64 ^ value)
    if mnemonic == "or":
        return _Bits(before.ones | value, before.zeros & ~value)
    if mnemonic == "and":
        return _Bits(before.ones & value, before.zeros | MASK64 ^ value)
    if mnemonic == "btr" and value < 64:
        return _Bits(before.ones & ~(1 << value), before.zeros | 1 << value)
    if mnemonic == "bts" and value < 64:
        return _Bits(before.ones | 1 << value, before.zeros & ~(1 << value))
    return None
