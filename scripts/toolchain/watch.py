"""What a run does to the CPU besides registers and memory: INVLPG, control registers, MSRs, descriptor tables, fences.

An emulator without a TLB shows none of these by its state, or not their order. ``watch`` finds the instructions by
their opcodes (Intel SDM vol. 2) in the executable sections and notes each when it runs. Never changes a run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache, lru_cache, partial
from typing import Any, NamedTuple

from toolchain.emulator import MASK64, Emulator
from toolchain.headers import full_register
from toolchain.types import Symbols

_FENCES = {b"\xe8": "lfence", b"\xf0": "mfence", b"\xf8": "sfence"}
# 0F 01 /2 lgdt, /3 lidt, /7 invlpg (memory forms); 0F 00 /3 ltr; 0F 22 mov cr; 0F 30 wrmsr; 0F AE E8|F0|F8 fences
_OPCODES = re.compile(
    rb"\x0f(?:\x01[\x10-\x1f\x38-\x3f\x50-\x5f\x78-\x7f\x90-\x9f\xb8-\xbf]|\x00[\x18-\x1f\xd8-\xdf]|\x22|\x30"
    rb"|\xae(?:\xe8|\xf0|\xf8))",
    re.DOTALL,
)


class Event(NamedTuple):
    """One instruction that ran.

    ``kind`` is its mnemonic, or ``cr0`` ... ``cr4`` for a store to a control register. ``value`` is the address that
    INVLPG, LGDT and LIDT were given, the selector of LTR, what was written to a control register or MSR; ``number``
    is the MSR's.
    """

    kind: str
    value: int = 0
    number: int = 0


def watch(
    machine: Emulator, routines: Collection[str] | None = None, on: Callable[[Event], None] | None = None
) -> list[Event]:
    """The events of the given routines (of all code when None) from now on, in order: a list that grows.

    Ends with the machine's ``forget``. A routine that the image does not have is passed over. ``on`` is called with
    each event, before the instruction runs.
    """
    events: list[Event] = []

    def note(event: Event) -> None:
        events.append(event)
        if on is not None:
            on(event)

    for start, code in _pieces(machine, routines):
        for match in _OPCODES.finditer(code):
            # The byte before may be a REX prefix or the end of another instruction: only one of the two places runs.
            for at in (match.start() - 1, match.start()):
                if at == match.start() or (machine.bits == 64 and at >= 0 and 0x40 <= code[at] <= 0x4F):
                    action = _action(code[at : at + 15], start + at, note, machine.bits)
                    if action is not None:
                        machine.probe(start + at, action)
    return events


def _pieces(machine: Emulator, routines: Collection[str] | None) -> Iterator[tuple[int, bytes]]:
    image = machine.image
    # What runs with 32 bits lies at its own physical address; the rest is code for long mode, and a probe is dear.
    own = machine.bits == 32
    texts = [s for s in image.sections if "x" in s.flags and s.data and not (own and s.address != s.physical)]
    if routines is None:
        yield from ((s.address, s.data) for s in texts)
        return
    symbols = image.symbols if isinstance(image.symbols, Symbols) else Symbols(image.symbols)
    for name in sorted(routines):
        for symbol in map(symbols.__getitem__, symbols.places.get(name, ())):
            for section in texts:
                if section.address <= symbol.address < section.address + len(section.data):
                    at = symbol.address - section.address
                    yield symbol.address, section.data[at : at + symbol.size]


def _action(code: bytes, address: int, note: Callable[[Event], None], bits: int) -> Any:
    """What a probe at an instruction does; None when the bytes are none of those that are watched."""
    opcode = code[1:] if bits == 64 and 0x40 <= code[0] <= 0x4F else code
    if opcode[:2] == b"\x0f\x30":
        return lambda m: note(_msr(m))
    if opcode[:2] == b"\x0f\xae":
        return lambda m: note(Event(_FENCES[opcode[2:3]]))
    item = _decoded(code, address, bits)
    if item is None or not item.operands:
        return None
    name = item.mnemonic
    if name == "mov" and item.reg_name(item.operands[0].reg).startswith("cr"):
        control, source = item.reg_name(item.operands[0].reg), _full(item, item.operands[1].reg)
        return lambda m: note(Event(control, m.get(source)))
    if name not in ("invlpg", "lgdt", "lidt", "ltr"):
        return None
    operand = item.operands[0]
    if operand.type == 1:  # a register: LTR
        source = _full(item, operand.reg)
        return lambda m: note(Event(name, m.get(source) & 0xFFFF))
    return partial(_noted, note, name, item, operand.mem)


@lru_cache(maxsize=1 << 12)
def _decoded(code: bytes, address: int, bits: int) -> Any:
    """The instruction that the bytes begin with, or None."""
    return next(_decoder(bits).disasm(code, address, 1), None)


def _noted(note: Callable[[Event], None], name: str, item: Any, memory: Any, machine: Emulator) -> None:
    address = int(memory.disp)
    if memory.base:
        base = item.reg_name(memory.base)
        address += (
            item.address + item.size if base in ("rip", "eip") else machine.get(_full(item, memory.base))
        )
    if memory.index:
        address += machine.get(_full(item, memory.index)) * memory.scale
    note(Event(name, address & MASK64))


def _msr(machine: Emulator) -> Event:
    low, high = machine.get("rax") & 0xFFFFFFFF, machine.get("rdx") & 0xFFFFFFFF
    return Event("wrmsr", high << 32 | low, machine.get("rcx") & 0xFFFFFFFF)


def _full(item: Any, number: int) -> str:
    return full_register(item.reg_name(number)) or item.reg_name(number)


@cache
def _decoder(bits: int) -> Any:
    import capstone

    machine: Any = capstone.Cs(
        capstone.CS_ARCH_X86, capstone.CS_MODE_64 if bits == 64 else capstone.CS_MODE_32
    )
    machine.detail = True
    return machine


_RDMSR = b"\x0f\x32"


def answer_rdmsr(machine: Emulator, answer: Callable[[int], int]) -> None:
    """Let ``answer`` say what each RDMSR reads, until ``forget``: the emulated CPU knows few MSRs."""

    def read(stopped: Emulator) -> None:
        value = answer(stopped.get("rcx") & 0xFFFFFFFF)
        stopped.set("rax", value & 0xFFFFFFFF)
        stopped.set("rdx", value >> 32)
        stopped.set("rip", stopped.get("rip") + len(_RDMSR))

    for start, code in _pieces(machine, None):
        for match in re.finditer(re.escape(_RDMSR), code):
            machine.probe(start + match.start(), read)
