"""The kernel's machine code as a fault report looks at it: one instruction, its routine, who is called before it.

Owns: decoding around an address (Capstone, imported on first use), effective addresses from a register file, and the
static call order. Bytes come from the image, or from guest memory where the image has none. Never runs anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from toolchain.symbols import SymbolTable
from toolchain.types import Symbol

ReadVirtual = Callable[[int, int], bytes | None]

_MASK = (1 << 64) - 1
_MAX_INSTRUCTION = 15
_MAX_ROUTINE = 1 << 16  # bytes; beyond it a "routine" is data
_PREFIX = re.compile(r"^(?:rep|repne|lock|bnd|notrack) ")


@dataclass(frozen=True, slots=True)
class MemoryOperand:
    """``[base + index * scale + displacement]`` of ``size`` bytes; ``address`` where the registers are known."""

    base: str | None
    index: str | None
    scale: int
    displacement: int
    segment: str | None
    size: int
    writes: bool
    reads: bool


@dataclass(frozen=True, slots=True)
class Code:
    """One decoded instruction. ``target`` is that of a direct branch or call; ``memory`` is filled by ``at`` alone."""

    address: int
    size: int
    mnemonic: str
    operands: str
    target: int | None
    memory: tuple[MemoryOperand, ...]

    @property
    def text(self) -> str:
        """As Intel syntax writes it."""
        return f"{self.mnemonic} {self.operands}".rstrip()

    @property
    def is_call(self) -> bool:
        """Direct or indirect near call."""
        return self.mnemonic == "call"

    @property
    def name(self) -> str:
        """The mnemonic without prefixes."""
        return _PREFIX.sub("", self.mnemonic)

    @property
    def stores(self) -> bool:
        """Writes memory other than its own stack slot. Known for instructions that ``at`` decoded."""
        return any(m.writes and m.base not in ("rsp", "rbp") for m in self.memory)


@dataclass(frozen=True, slots=True)
class Call:
    """A direct call at ``address`` to the routine ``name``."""

    address: int
    target: int
    name: str


class CodeView:
    """Decodes on demand and remembers routines.

    Args:
        symbols: of the image, or None: then only single instructions can be shown.
        read: guest memory by virtual address, for code that the image does not hold; None where not known.
        bits: width of the code segment at the fault.
    """

    def __init__(self, symbols: SymbolTable | None, read: ReadVirtual, bits: int = 64) -> None:
        self._symbols = symbols
        self._read = read
        self._bits = bits
        self._routines: dict[int, tuple[Code, ...]] = {}
        self._engines: dict[int, Any] = {}

    def bytes_at(self, address: int, size: int) -> bytes:
        """Up to ``size`` bytes of code: from the image, else from guest memory."""
        data = self._symbols.read(address, size) if self._symbols else b""
        return data or self._read(address, size) or b""

    def at(self, address: int) -> Code | None:
        """The instruction at ``address``, or None where no bytes are known or none decodes."""
        data = self.bytes_at(address, _MAX_INSTRUCTION)
        return (
            next((_code(insn) for insn in self._engine(address).disasm(data, address, 1)), None)
            if data
            else None
        )

    def stores_anything(self, address: int) -> bool:
        """True when the routine around ``address`` writes memory other than its own stack slots."""
        return any(
            "[" in code.operands and (exact := self.at(code.address)) and exact.stores
            for code in self.routine(address)
        )

    def routine_symbol(self, address: int) -> Symbol | None:
        """The routine around ``address``: the nearest function symbol, else the nearest label."""
        if self._symbols is None:
            return None
        return self._symbols.symbol_at(address)

    def routine(self, address: int) -> tuple[Code, ...]:
        """The instructions of the routine around ``address``, in order; empty when there is none."""
        symbol = self.routine_symbol(address)
        if symbol is None or self._symbols is None:
            return ()
        if symbol.address not in self._routines:
            start, end = self._symbols.extent(symbol)
            data = self._symbols.read(start, min(end - start, _MAX_ROUTINE))
            # without operand detail: that costs ten times as much, and a report looks at hundreds of routines
            self._routines[symbol.address] = tuple(
                Code(at, size, mnemonic, operands, _target(mnemonic, operands), ())
                for at, size, mnemonic, operands in self._engine(start).disasm_lite(data, start)
            )
        return self._routines[symbol.address]

    def before(self, address: int) -> Code | None:
        """The instruction in front of ``address`` in its routine."""
        previous = None
        for code in self.routine(max(address - 1, 0)):
            if code.address >= address:
                break
            previous = code
        return previous if previous and previous.address + previous.size == address else None

    def calls_before(self, address: int) -> list[Call]:
        """Direct calls of the routine that stand before ``address``, nearest first."""
        found = [call for call in self.calls_of(address) if call.address < address]
        found.reverse()
        return found

    def calls_of(self, address: int) -> list[Call]:
        """Every direct call (and tail jump to another routine) of the routine around ``address``, in order."""
        home = self.routine_symbol(address)
        found = []
        for code in self.routine(address):
            if code.target is None or (not code.is_call and code.mnemonic != "jmp"):
                continue
            callee = self.routine_symbol(code.target)
            if callee and callee.address == code.target and (code.is_call or callee != home):
                found.append(Call(code.address, code.target, callee.name))
        return found

    def reachable(self, address: int, depth: int = 4) -> list[Symbol]:
        """Routines that the one at ``address`` calls, directly or not, in call order, each once; itself not."""
        found: list[Symbol] = []
        seen = {address}

        def follow(place: int, left: int) -> None:
            for call in self.calls_of(place):
                if call.target in seen:
                    continue
                seen.add(call.target)
                symbol = self.routine_symbol(call.target)
                if symbol:
                    found.append(symbol)
                if left > 1:
                    follow(call.target, left - 1)

        follow(address, depth)
        return found

    def routines_with(self, *starts: str) -> list[str]:
        """Routines of the image with an instruction whose text starts so, e.g. ``"mov cr3"`` or ``"lidt"``."""
        return [
            symbol.name
            for symbol in self._code_symbols()
            if any(code.text.startswith(starts) for code in self.routine(symbol.address))
        ]

    def routines_before(self, start: str, next_: tuple[str, ...]) -> set[str]:
        """Routines with an instruction that starts with ``start``, and behind it one that starts with ``next_``."""
        found = set()
        for symbol in self._code_symbols():
            texts = [code.text for code in self.routine(symbol.address)]
            if any(one.startswith(start) and two.startswith(next_) for one, two in pairwise(texts)):
                found.add(symbol.name)
        return found

    def _code_symbols(self) -> list[Symbol]:
        """The best name of each routine of the image."""
        table = self._symbols
        found = []
        for symbol in table.symbols if table else ():
            section = table.section_at(symbol.address) if table and symbol.section else None
            if table and section and "x" in section.flags and table.symbol_at(symbol.address) == symbol:
                found.append(symbol)
        return found

    def callers_of(self, name: str) -> list[Call]:
        """Call sites of a routine in the whole image: the address of each call and the routine it stands in."""
        target = self._symbols.find(name) if self._symbols else None
        return [
            Call(call.address, call.target, symbol.name)
            for symbol in (self._code_symbols() if target else ())
            for call in self.calls_of(symbol.address)
            if target and call.target == target.address
        ]

    def _engine(self, address: int) -> Any:
        """Identity-mapped boot code below 4 GB may be 32-bit: there the CPU's own mode decides."""
        bits = self._bits if address < 1 << 32 else 64
        if bits not in self._engines:
            import capstone

            mode = {16: capstone.CS_MODE_16, 32: capstone.CS_MODE_32, 64: capstone.CS_MODE_64}[bits]
            engine = capstone.Cs(capstone.CS_ARCH_X86, mode)
            engine.detail = True
            self._engines[bits] = engine
        return self._engines[bits]


def _target(mnemonic: str, operands: str) -> int | None:
    """Where a direct branch or call goes."""
    if not operands.startswith("0x") or not (mnemonic == "call" or mnemonic.startswith(("j", "loop"))):
        return None
    return int(operands, 16)


def _code(insn: Any) -> Code:
    from capstone import CS_AC_READ, CS_AC_WRITE, x86

    memory = []
    for operand in insn.operands:
        if operand.type == x86.X86_OP_MEM and insn.mnemonic not in ("lea", "nop"):
            place = operand.mem
            memory.append(
                MemoryOperand(
                    insn.reg_name(place.base) if place.base else None,
                    insn.reg_name(place.index) if place.index else None,
                    place.scale,
                    place.disp,
                    insn.reg_name(place.segment) if place.segment else None,
                    operand.size,
                    bool(operand.access & CS_AC_WRITE),
                    bool(operand.access & CS_AC_READ),
                )
            )
    target = _target(insn.mnemonic, insn.op_str)
    return Code(insn.address, insn.size, insn.mnemonic, insn.op_str, target, tuple(memory))


def effective_address(code: Code, operand: MemoryOperand, registers: Mapping[str, int]) -> int | None:
    """The address of a memory operand with these registers (64-bit names), or None when one is not known."""
    total = operand.displacement
    for name, scale in ((operand.base, 1), (operand.index, operand.scale)):
        if name is None or name in ("riz", "eiz"):
            continue
        if name in ("rip", "eip"):
            total += code.address + code.size
            continue
        wide = "r" + name[1:] if name.startswith("e") else name.removesuffix("d") if name[-1] == "d" else name
        value = registers.get(wide)
        if value is None:
            return None
        total += (value if wide == name else value & 0xFFFF_FFFF) * scale
    if operand.segment in ("fs", "gs"):
        base = registers.get(f"{operand.segment}_base")
        if base is None:
            return None
        total += base
    return total & _MASK
