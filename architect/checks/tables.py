"""Descriptor tables in static data: pointers for LGDT and LIDT, and the descriptors that they lead to.

Intel SDM vol. 3, 2.4.1 (the limit is the last byte), 3.4.5 (segment descriptors), 5.2.1 (64-bit code). A limit that is
the size, or in the wrong unit, is not noticed until something lies behind the table; an emulator may never notice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from architect.checks import Finding, Subject
from architect.checks.places import places
from architect.contracts.descriptors import segment
from toolchain.flow import Instruction, RoutineFlow, flows

_ABSOLUTE = re.compile(r"\[(0x[0-9a-f]+)\]$")
_SELECTOR = re.compile(r"^(0x[0-9a-f]+|\d+)(?:, |:)")
_DESCRIPTOR = {"lgdt": 8, "lidt": 16}
_FLAT = 0xFFFF_FFFF


def check(subject: Subject) -> Iterator[Finding]:
    """Every LGDT and LIDT of a fixed address, every far jump to a fixed selector."""
    for flow, bits in (*((f, 32) for f in early(subject)), *((f, 64) for f in subject.flows)):
        tables: list[tuple[int, int]] = []
        if flow.mnemonics.isdisjoint(_DESCRIPTOR):
            continue
        for instruction in flow.instructions:
            if instruction.mnemonic in _DESCRIPTOR:
                yield from _pointer(subject, flow, instruction, bits, tables)
            elif instruction.mnemonic == "ljmp" and tables:
                yield from _far_jump(subject, flow, instruction, tables[-1])


def early(subject: Subject) -> list[RoutineFlow]:
    """The routines that run before 64-bit mode, decoded as such."""
    found = []
    for section in subject.image.sections:
        if "x" in section.flags and section.address == section.physical:
            found += [
                flow
                for flow in flows(subject.image, section=section.name, bits=32)
                if "32-bit" in subject.context(flow.symbol.name)
            ]
    return found


def _pointer(
    subject: Subject, flow: RoutineFlow, instruction: Instruction, bits: int, tables: list[tuple[int, int]]
) -> Iterator[Finding]:
    match = _ABSOLUTE.search(instruction.operands)
    at = instruction.reference if instruction.reference is not None else int(match[1], 0) if match else None
    data = _data(subject, at, 2 + bits // 8) if at is not None else None
    if data is None:
        return
    assert at is not None
    limit, base = int.from_bytes(data[:2], "little"), int.from_bytes(data[2:], "little")
    size, name = _DESCRIPTOR[instruction.mnemonic], instruction.mnemonic[1:].upper()
    if (limit + 1) % size:
        message = f"the limit of the {name} is {limit:#x}: it must be its size less one, a multiple of {size}"
        found = subject.finding("table-limit", message, instruction.address, flow.symbol.name)
        yield found.about(places(subject, at))
        return
    home = subject.section(base)
    if home is None or base + limit >= home.address + home.size:
        message = f"the {name} lies at {base:#x} to {base + limit:#x}, outside of the image"
        found = subject.finding("table-limit", message, instruction.address, flow.symbol.name)
        yield found.about(places(subject, at, at + 2, base))
        return
    tables.append((base, limit))
    if size == 8:
        yield from _descriptors(subject, flow, instruction, base, limit)


def _descriptors(
    subject: Subject, flow: RoutineFlow, instruction: Instruction, base: int, limit: int
) -> Iterator[Finding]:
    data = _data(subject, base, limit + 1)
    for selector in range(8, limit + 1, 8) if data else ():
        assert data is not None
        found = segment(int.from_bytes(data[selector : selector + 8], "little"))
        wrong = None
        if found.system or not found.present:
            continue
        if found.type & 8 and found.long and found.big:
            wrong = "is both 64-bit and 32-bit code (L and D)"
        elif found.base == 0 and found.last < _FLAT:
            unit = "4 KB" if found.granular else "bytes"
            wrong = f"has the limit {found.limit:#x} in {unit}: it ends at {found.last:#x}"
        elif not found.type & 8 and not found.type & 2:
            wrong = "is data that cannot be written"
        if wrong:
            message = f"descriptor {selector:#x} of the GDT {wrong}"
            named = subject.finding("descriptor", message, instruction.address, flow.symbol.name)
            yield named.about(places(subject, base + selector))


def _far_jump(
    subject: Subject, flow: RoutineFlow, instruction: Instruction, table: tuple[int, int]
) -> Iterator[Finding]:
    match = _SELECTOR.match(instruction.operands)
    base, limit = table
    if not match:
        return
    selector = int(match[1], 0)
    data = _data(subject, base, limit + 1)
    if data is None:
        return
    wrong = "lies beyond the GDT" if selector | 7 > limit else None
    if wrong is None:
        found = segment(int.from_bytes(data[selector & ~7 : (selector & ~7) + 8], "little"))
        code = found.present and not found.system and found.type & 8
        wrong = None if code and found.long else "is no 64-bit code segment"
    if wrong:
        message = f"jumps to selector {selector:#x}, which {wrong}"
        named = subject.finding("descriptor", message, instruction.address, flow.symbol.name)
        yield named.about(places(subject, base + (selector & ~7)))


def _data(subject: Subject, address: int, size: int) -> bytes | None:
    """Bytes of the image that are there before anything runs."""
    home = subject.section(address)
    if home is None or home.nobits:
        return None
    at = address - home.address
    data = home.data[at : at + size]
    return data if len(data) == size else None
