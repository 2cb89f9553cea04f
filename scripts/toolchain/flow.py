"""The control flow of linked routines: instructions decoded once, with their successors and stack effect.

Owns the decoding of ``.text`` into routines (Capstone, Intel SDM vol. 2) and nothing that judges it. Bytes of a
routine that do not decode end its flow there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

from toolchain.types import Image, Section, Symbol


@dataclass(frozen=True, slots=True)
class Instruction:
    """One decoded instruction.

    Attributes:
        address: its virtual address.
        size: bytes.
        mnemonic: lower case, prefixes included (``lock cmpxchg``).
        operands: Capstone's operand text.
        target: the address that a direct branch or call goes to, else None.
        writes: general registers it writes, by their 64-bit names; RSP and flags are not among them.
    """

    address: int
    size: int
    mnemonic: str
    operands: str
    target: int | None
    writes: frozenset[str]

    @property
    def is_call(self) -> bool:
        """A near call, direct or not."""
        return self.mnemonic == "call"

    @property
    def is_jump(self) -> bool:
        """A jump, conditional or not."""
        return self.mnemonic.startswith(("j", "loop"))

    @property
    def ends_flow(self) -> bool:
        """Nothing runs after it: ret, jmp, iret, ud2, sysret."""
        return self.mnemonic in _ENDS or self.mnemonic.startswith(("ret", "iret", "sysret", "sysexit"))

    @property
    def end(self) -> int:
        """The address after it."""
        return self.address + self.size


_ENDS = {"jmp", "ljmp", "ud2", "retf", "retfq", "rsm"}


@dataclass(frozen=True, slots=True)
class RoutineFlow:
    """A routine's instructions in address order."""

    symbol: Symbol
    instructions: tuple[Instruction, ...]
    by_address: dict[int, Instruction] = field(default_factory=dict)

    def successors(self, instruction: Instruction) -> Iterator[int]:
        """Addresses that may run next inside or outside of the routine; a call goes on after itself."""
        if instruction.is_jump and instruction.target is not None:
            yield instruction.target
        if not instruction.ends_flow:
            yield instruction.end


def _section_of(image: Image, address: int) -> Section | None:
    for section in image.sections:
        if section.address <= address < section.address + len(section.data):
            return section
    return None


def flows(image: Image, *, section: str = ".text", names: Collection[str] | None = None) -> list[RoutineFlow]:
    """The ``func`` symbols of one section (only those named, where ``names`` is given), decoded, in address order."""
    import capstone

    machine: Any = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    machine.detail = True
    routines = sorted(
        (
            s
            for s in image.symbols
            if s.kind == "func" and s.section == section and s.size > 0 and (names is None or s.name in names)
        ),
        key=lambda s: (s.address, s.name),
    )
    found = []
    for symbol in routines:
        home = _section_of(image, symbol.address)
        if home is None:
            continue
        start = symbol.address - home.address
        code = home.data[start : start + symbol.size]
        instructions = tuple(_decode(machine, code, symbol.address))
        found.append(RoutineFlow(symbol, instructions, {i.address: i for i in instructions}))
    return found


def _decode(machine: Any, code: bytes, address: int) -> Iterator[Instruction]:
    from capstone import CS_GRP_CALL, CS_GRP_JUMP
    from capstone.x86_const import X86_OP_IMM

    from toolchain.headers import full_register

    for item in machine.disasm(code, address):
        target = None
        if (item.group(CS_GRP_JUMP) or item.group(CS_GRP_CALL)) and item.operands:
            operand = item.operands[0]
            target = operand.imm & ((1 << 64) - 1) if operand.type == X86_OP_IMM else None
        names = (full_register(item.reg_name(number)) for number in item.regs_access()[1])
        writes = frozenset(name for name in names if name and name != "rsp")
        yield Instruction(item.address, item.size, item.mnemonic, item.op_str, target, writes)
