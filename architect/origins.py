"""What a wrong value came from: a dynamic slice of the call that broke a contract, and what would have been right.

Owns the way from a violation (what came, what should have come) back through the steps of the call: where the value was
given away (an MSR, a control register, a port, memory, a register at the end), and which instructions made it. Where
one register carried it, its values before that are kept: an edit there can be computed instead of run. Never runs
anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from architect.contracts.model import Violation
from toolchain.headers import GENERAL, full_register, register_bits
from toolchain.steps import Step, decoder
from toolchain.types import Image

Key = tuple[str, int]
Place = str | int  # a general register by its 64-bit name, or the address of a byte

_DECAY = 0.85  # of suspicion with each step back along the data
_ADDRESSES = 0.4  # of it for what made an address, where the value is in question
_LEAST = 0.02
_SMALL = 16  # values below it are met everywhere
_REACH = 24  # instructions before a use at which a register's value is kept
_CHAIN = 4  # makings of a value that are turned around
_HALF = 32  # bits of a register whose writing leaves nothing of what it held
_MEMORY = 3  # Capstone's number for an operand in memory
_CONTROL = re.compile(r"cr\d,")
_CHANGES = re.compile(r"changes (\w+), which")


@dataclass(frozen=True, slots=True)
class Demand:
    """A register that carried a wrong value to where it was used.

    Attributes:
        register: by its 64-bit name.
        mask: the bits that count.
        came: what they were.
        wanted: what they should have been.
        made: the line that gave the register this value, or None when it came with the call.
        before: the general registers before that line.
        gaps: line -> the general registers before it, for the lines from there to the use: the register has its value.
        turned: it follows from another demand, by turning the instruction between them around: what does not meet it
            may still meet the other.
    """

    register: str
    mask: int
    came: int
    wanted: int
    made: Key | None
    before: Mapping[str, int]
    gaps: Mapping[Key, Mapping[str, int]]
    turned: bool = False


@dataclass(frozen=True, slots=True)
class Origins:
    """The lines that a wrong value came from with their suspicion, and what would have been right."""

    lines: Mapping[Key, float]
    demands: tuple[Demand, ...]


@dataclass(frozen=True, slots=True)
class _Start:
    """A use of a wrong value: the step, the places that carried it, and which bits were wrong and should be what."""

    step: int
    places: frozenset[Place]
    wrong: tuple[tuple[str, int, int, int], ...] = ()  # register, mask, came, wanted


def trace_back(
    image: Image,
    steps: Sequence[Step],
    violation: Violation,
    lines: Callable[[int, int], Collection[Key]],
) -> Origins | None:
    """The origins of what a violation tells, in the steps of its call; None when they do not show.

    Args:
        image: whose code ran.
        steps: of the call.
        violation: with what came and what should have come.
        lines: address and size of an instruction -> its source lines.
    """
    run = _Run(image, steps)
    start = next(iter(_starts(run, violation)), None)
    if start is None:
        return None
    found: dict[Key, float] = {}
    for step, share in run.slice(start).items():
        for key in lines(steps[step].address, steps[step].size):
            found[key] = max(found.get(key, 0.0), share)
    return Origins(found, tuple(_demands(run, start, lines)))


class _Run:
    """The steps of a call with what each reads and writes."""

    def __init__(self, image: Image, steps: Sequence[Step]) -> None:
        self.image = image
        self.steps = steps
        self._known: dict[int, Any] = {}

    def instruction(self, step: int) -> Any:
        """The instruction of a step, decoded; None when it cannot be."""
        at = self.steps[step].address
        if at not in self._known:
            self._known[at] = None
            for section in self.image.sections:
                for base in (section.address, section.physical):
                    offset = at - base
                    if 0 <= offset < len(section.data) and self._known[at] is None:
                        code = section.data[offset : offset + self.steps[step].size]
                        self._known[at] = next(decoder().disasm(code, at, 1), None)
        return self._known[at]

    def register(self, step: int, name: str) -> int:
        """A register before a step."""
        return self.steps[step].registers[GENERAL.index(name)]

    def all(self, step: int) -> dict[str, int]:
        """The general registers before a step."""
        return dict(zip(GENERAL, self.steps[step].registers, strict=True))

    def effects(self, step: int) -> tuple[frozenset[str], frozenset[str], frozenset[str]]:
        """General registers that a step reads, of these the ones in addresses, and those that it writes."""
        item = self.instruction(step)
        if item is None:
            return frozenset(), frozenset(), frozenset()
        read, written = item.regs_access()
        address = {
            item.reg_name(r)
            for o in item.operands
            if o.type == _MEMORY
            for r in (o.mem.base, o.mem.index)
            if r
        }
        zeroing = item.mnemonic in ("xor", "sub") and len({item.op_str.partition(",")[0].strip(),
                                                           item.op_str.partition(",")[2].strip()}) == 1  # fmt: skip
        reads = frozenset() if zeroing else _full(item.reg_name(r) for r in read)
        # a call or push also moves RSP: no value of ours
        return reads - {"rsp"}, _full(address), _full(item.reg_name(r) for r in written) - {"rsp"}

    def slice(self, start: _Start) -> dict[int, float]:
        """Step -> how near it is to the use, along the data; 1 for the use itself."""
        found = {start.step: 1.0}
        wanted: dict[Place, float] = dict.fromkeys(start.places, _DECAY)
        for step in range(start.step - 1, -1, -1):
            if not wanted:
                break
            reads, address, writes = self.effects(step)
            stored = {at + n for at, size, _ in self.steps[step].stores for n in range(size)}
            places: list[Place] = [*writes, *stored]
            given = [wanted.pop(place) for place in places if place in wanted]
            if not given or max(given) < _LEAST:
                continue
            share = found[step] = max(given)
            loaded = {at + n for at, size in self.steps[step].loads for n in range(size)}
            sources: list[Place] = [*reads, *loaded]
            for place in sources:
                part = _ADDRESSES * share if place in address else _DECAY * share
                wanted[place] = max(wanted.get(place, 0.0), part)
        return found


def _starts(run: _Run, violation: Violation) -> Iterator[_Start]:
    """Where a wrong value was given away, the likeliest first."""
    from architect.told import pairs

    call = violation.call
    changed = _CHANGES.match(violation.promise)
    if changed and (register := full_register(changed[1])):
        yield from _last_write(run, register)
        return
    named = full_register(str(call.get("register", "")))
    found = list(pairs(call.get("got"), call.get("expected")))
    if named is not None:
        for came, wanted in found[:1]:
            yield from _last_write(run, named, came, wanted)
        return
    for came, wanted in found:
        if abs(came) >= _SMALL or abs(wanted) >= _SMALL:
            yield from _given(run, came, wanted)
    if "address" in call and run.steps:
        last = len(run.steps) - 1
        _, address, _ = run.effects(last)
        if address:
            yield _Start(last, frozenset(address))


def _last_write(
    run: _Run, register: str, came: int | None = None, wanted: int | None = None
) -> Iterator[_Start]:
    """The last instruction that gave a register its value."""
    for step in range(len(run.steps) - 1, -1, -1):
        reads, _, writes = run.effects(step)
        if register in writes:
            wrong = (
                ((register, (1 << 64) - 1, came, wanted),) if came is not None and wanted is not None else ()
            )
            last = len(run.steps) - 1
            yield _Start(last, frozenset({register}), wrong) if step < last else _Start(step, reads)
            return


def _given(run: _Run, came: int, wanted: int) -> Iterator[_Start]:
    """Where a value left the routine: by WRMSR or OUT, to a control register, by a store, or by a register."""
    for step in range(len(run.steps) - 1, -1, -1):
        item = run.instruction(step)
        if item is None:
            continue
        if item.mnemonic == "wrmsr":
            high, low = run.register(step, "rdx") & 0xFFFFFFFF, run.register(step, "rax") & 0xFFFFFFFF
            if high << 32 | low == came:
                parts = (("rax", came & 0xFFFFFFFF, wanted & 0xFFFFFFFF), ("rdx", came >> 32, wanted >> 32))
                wrong = tuple((name, 0xFFFFFFFF, a, b) for name, a, b in parts if a != b)
                yield _Start(step, frozenset(name for name, *_ in wrong), wrong)
                return
        elif item.mnemonic == "out":
            source = item.op_str.rpartition(",")[2].strip()
            mask = (1 << (register_bits(source) or 32)) - 1
            if run.register(step, "rax") & mask == came & mask:
                yield _Start(step, frozenset({"rax"}), (("rax", mask, came & mask, wanted & mask),))
                return
        elif item.mnemonic == "mov" and _CONTROL.match(item.op_str):
            name = full_register(item.op_str.rpartition(",")[2].strip())
            if name is not None and run.register(step, name) == came:
                yield _Start(step, frozenset({name}), ((name, (1 << 64) - 1, came, wanted),))
                return
        for _, size, value in run.steps[step].stores:
            mask = (1 << 8 * size) - 1
            if value == came and (size > 1 or came >= _SMALL):
                yield _stored(run, step, mask, came, wanted)
                return
    for step in range(len(run.steps) - 1, 0, -1):
        _, _, writes = run.effects(step - 1)
        for name in sorted(writes):
            if run.register(step, name) == came:
                yield _Start(step, frozenset({name}), ((name, (1 << 64) - 1, came, wanted),))
                return


def _stored(run: _Run, step: int, mask: int, came: int, wanted: int) -> _Start:
    item = run.instruction(step)
    reads, address, _ = run.effects(step)
    if item.mnemonic == "mov" and len(item.operands) == 2 and item.operands[1].type == 1:
        source = full_register(item.reg_name(item.operands[1].reg))
        if source is not None:
            return _Start(step, frozenset({source}), ((source, mask, came & mask, wanted & mask),))
    return _Start(step, (reads - address) or reads)


def _demands(run: _Run, start: _Start, lines: Callable[[int, int], Collection[Key]]) -> Iterator[Demand]:
    """What the registers should have held, with all that is known of them between their making and their use.

    Where the instruction that made a value can be turned around, what it was made of is demanded in its turn.
    """
    for wrong in start.wrong:
        step: int | None = start.step
        need: _Need | None = _Need(*wrong)
        for turns in range(_CHAIN):
            if step is None or need is None or need.came & need.mask == need.wanted & need.mask:
                break
            demand, step = _demand(run, step, need, lines)
            yield replace(demand, turned=turns > 0)
            need = _turned(run, step, need) if step is not None else None


def _demand(
    run: _Run, use: int, need: _Need, lines: Callable[[int, int], Collection[Key]]
) -> tuple[Demand, int | None]:
    """What one register should have held at a step, and the step that gave it its value, if that is near."""
    gaps: dict[Key, Mapping[str, int]] = {}
    made, before, maker = None, dict[str, int](), None
    for step in range(use, max(-1, use - _REACH), -1):
        if step < use and need.register in run.effects(step)[2]:
            made = next(iter(lines(run.steps[step].address, run.steps[step].size)), None)
            before, maker = run.all(step), step
            break
        for key in lines(run.steps[step].address, run.steps[step].size):
            gaps[key] = run.all(step)
    name, mask, came, wanted = need
    return Demand(name, mask, came & mask, wanted & mask, made, before, gaps), maker


class _Need(NamedTuple):
    """A register, the bits of it that count, what they were and what they should have been."""

    register: str
    mask: int
    came: int
    wanted: int


def _turned(run: _Run, step: int, need: _Need) -> _Need | None:
    """What an instruction's source should have held for its result to be right; None when that cannot be told."""
    item = run.instruction(step)
    names = [text.strip() for text in item.op_str.split(",")]
    bits = register_bits(names[0])
    if bits is None or bits < _HALF or full_register(names[0]) != need.register:
        return None
    ones = (1 << bits) - 1
    if need.mask >> bits and (need.wanted & need.mask) >> bits:  # 32 bits clear the upper half
        return None
    mask, wanted, source = need.mask & ones, need.wanted & ones, names[-1]
    width = register_bits(source)
    if item.mnemonic in ("mov", "movzx") and width is not None and len(names) == 2:
        full, low = full_register(source), (1 << width) - 1
        if full is None or wanted & mask & ~low:
            return None
        return _Need(full, mask & low, run.register(step, full), wanted)
    if item.mnemonic in _TURNED and len(names) == 1:
        back, exact = _TURNED[item.mnemonic](wanted, 0, bits), True
    elif item.mnemonic in _TURNED and len(names) == 2 and item.operands[1].type != _MEMORY:
        full = full_register(source)
        other = item.operands[1].imm if full is None else run.register(step, full) & ((1 << (width or 0)) - 1)
        back, exact = _TURNED[item.mnemonic](wanted, other, bits), full != need.register
    else:
        return None
    whole = mask == ones or item.mnemonic in _BITWISE  # a carry goes on into bits that do not count
    return (
        _Need(need.register, mask, run.register(step, need.register), back & ones)
        if exact and whole
        else None
    )


_TURNED: Mapping[str, Callable[[int, int, int], int]] = {
    "neg": lambda value, other, bits: -value,
    "not": lambda value, other, bits: ~value,
    "inc": lambda value, other, bits: value - 1,
    "dec": lambda value, other, bits: value + 1,
    "add": lambda value, other, bits: value - other,
    "sub": lambda value, other, bits: value + other,
    "xor": lambda value, other, bits: value ^ other,
}
_BITWISE = frozenset({"not", "xor"})


def _full(names: Iterable[str]) -> frozenset[str]:
    return frozenset(full for name in names if (full := full_register(name)))
