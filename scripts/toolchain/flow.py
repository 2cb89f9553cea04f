"""The control flow of linked routines: instructions decoded once, with their successors and what they refer to.

Owns the decoding of code into routines (Capstone, Intel SDM vol. 2) and nothing that judges it. Bytes of a routine
that do not decode end its flow there. Decoding is the dear part, and variants of one kernel differ in few routines: a
routine that differs only in the distances of its branches and of what it refers to is not decoded again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

from toolchain.types import Image, Section, Symbol, Symbols

MASK64 = (1 << 64) - 1
VARIANTS_KEPT = 4  # decodings kept of one routine
_DISTANCE = 4  # bytes of a RIP-relative displacement
_ENDS = {"jmp", "ljmp", "ud2", "retf", "retfq", "rsm"}


class Instruction(NamedTuple):
    """One decoded instruction.

    Attributes:
        address: its virtual address.
        size: bytes.
        mnemonic: lower case, prefixes included (``lock cmpxchg``).
        operands: Capstone's operand text; distances in it may be those of another variant.
        target: the address that a direct branch or call goes to, else None.
        writes: general registers it writes, by their 64-bit names; RSP and flags are not among them.
        reference: the address that a RIP-relative operand names, else None.
        stores: whether it writes to that address.
    """

    address: int
    size: int
    mnemonic: str
    operands: str
    target: int | None
    writes: frozenset[str]
    reference: int | None = None
    stores: bool = False

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


class _Field(NamedTuple):
    """A distance in an instruction: where it stands in the routine, its size, and the instruction's number."""

    offset: int
    size: int
    instruction: int
    branch: bool


@dataclass(frozen=True, slots=True)
class _Decoded:
    """A routine decoded as if it began at address 0."""

    fixed: bytes
    fields: tuple[_Field, ...]
    instructions: tuple[Instruction, ...]
    mnemonics: frozenset[str]


class RoutineFlow:
    """A routine's instructions in address order.

    Attributes:
        symbol: the routine.
        key: equal for two variants of a routine that differ only in distances.
        whole: whether all its bytes decode.
        mnemonics: of all its instructions; to pass a routine over without placing them.
    """

    def __init__(self, symbol: Symbol, code: bytes, decoded: _Decoded) -> None:
        self.symbol = symbol
        self.code = code
        self.key = decoded.fixed
        self._decoded = decoded
        self.mnemonics = decoded.mnemonics
        last = decoded.instructions[-1].end if decoded.instructions else 0
        self.whole = last == len(code)

    @cached_property
    def distances(self) -> dict[int, tuple[int, bool]]:
        """Instruction number -> the address that it branches or refers to, and whether it branches."""
        found = {}
        base, rows = self.symbol.address, self._decoded.instructions
        for offset, size, number, branch in self._decoded.fields:
            distance = int.from_bytes(self.code[offset : offset + size], "little", signed=True)
            found[number] = ((base + rows[number].end + distance) & MASK64, branch)
        return found

    @cached_property
    def instructions(self) -> tuple[Instruction, ...]:
        """Every instruction."""
        base, distances = self.symbol.address, self.distances
        made = []
        for number, row in enumerate(self._decoded.instructions):
            place, branch = distances.get(number, (None, False))
            target = place if branch else row.target
            reference = None if branch else place
            made.append(row._replace(address=base + row.address, target=target, reference=reference))
        return tuple(made)

    def stores(self) -> Iterator[tuple[int, int]]:
        """Every store to a fixed place: the instruction's address, and the place."""
        for number, (place, branch) in self.distances.items():
            row = self._decoded.instructions[number]
            if row.stores and not branch:
                yield self.symbol.address + row.address, place

    @cached_property
    def by_address(self) -> dict[int, Instruction]:
        """Every instruction by its address."""
        return {instruction.address: instruction for instruction in self.instructions}

    def successors(self, instruction: Instruction) -> Iterator[int]:
        """Addresses that may run next inside or outside of the routine; a call goes on after itself."""
        if instruction.is_jump and instruction.target is not None:
            yield instruction.target
        if not instruction.ends_flow:
            yield instruction.end


_CACHE: dict[tuple[str, int], list[_Decoded]] = {}


def flows(
    image: Image, *, section: str = ".text", bits: int = 64, names: Collection[str] | None = None
) -> list[RoutineFlow]:
    """The ``func`` symbols of one section, decoded, in address order.

    Args:
        image: the kernel.
        section: its name.
        bits: 64 or 32.
        names: only these, where given.
    """
    home = next((s for s in image.sections if s.name == section), None)
    if home is None:
        return []
    wanted = None if names is None else frozenset(names)
    routines = Symbols.of(image).routines.get(section, ())
    return [flow_of(home, symbol, bits) for symbol in routines if wanted is None or symbol.name in wanted]


def flow_of(home: Section, symbol: Symbol, bits: int = 64) -> RoutineFlow:
    """One routine of a section, decoded."""
    start = symbol.address - home.address
    code = home.data[start : start + symbol.size]
    known = _CACHE.setdefault((symbol.name, bits), [])
    for number, decoded in enumerate(known):
        if len(decoded.fixed) == len(code) and _fixed(code, decoded.fields) == decoded.fixed:
            if number:
                known.insert(0, known.pop(number))
            return RoutineFlow(symbol, code, decoded)
    decoded = _decode(code, bits)
    known.insert(0, decoded)
    del known[VARIANTS_KEPT:]
    return RoutineFlow(symbol, code, decoded)


def _fixed(code: bytes, fields: Sequence[_Field]) -> bytes:
    """The code with its distances zeroed."""
    if not fields:
        return code
    data = bytearray(code)
    for offset, size, _, _ in fields:
        data[offset : offset + size] = bytes(size)
    return bytes(data)


_DECODERS: dict[int, Any] = {}


def _decoder(bits: int) -> Any:
    if bits not in _DECODERS:
        import capstone

        mode = capstone.CS_MODE_64 if bits == 64 else capstone.CS_MODE_32
        _DECODERS[bits] = capstone.Cs(capstone.CS_ARCH_X86, mode)
        _DECODERS[bits].detail = True
    return _DECODERS[bits]


def _decode(code: bytes, bits: int) -> _Decoded:
    from capstone import CS_AC_WRITE, CS_GRP_CALL, CS_GRP_JUMP
    from capstone.x86_const import X86_OP_IMM, X86_OP_MEM, X86_REG_RIP

    from toolchain.headers import full_register

    made: list[Instruction] = []
    fields: list[_Field] = []
    for item in _decoder(bits).disasm(code, 0):
        target, stores = None, False
        operands = item.operands
        encoding = item.encoding
        if (
            operands
            and operands[0].type == X86_OP_IMM
            and (item.group(CS_GRP_JUMP) or item.group(CS_GRP_CALL))
        ):
            target = operands[0].imm & MASK64
            if encoding.imm_size and item.mnemonic not in ("ljmp", "lcall"):
                fields.append(_Field(item.address + encoding.imm_offset, encoding.imm_size, len(made), True))
        for operand in operands:
            if operand.type == X86_OP_MEM and operand.mem.base == X86_REG_RIP and not operand.mem.index:
                place = item.address + encoding.disp_offset
                fields.append(_Field(place, _DISTANCE, len(made), False))
                stores = bool(operand.access & CS_AC_WRITE)
        names = (full_register(item.reg_name(number)) for number in item.regs_access()[1])
        writes = frozenset(name for name in names if name and name != "rsp")
        made.append(
            Instruction(item.address, item.size, item.mnemonic, item.op_str, target, writes, None, stores)
        )
    mnemonics = frozenset(row.mnemonic for row in made)
    return _Decoded(_fixed(code, fields), tuple(fields), tuple(made), mnemonics)
