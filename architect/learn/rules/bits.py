"""A question about bits whose answer is known: they were masked away before they are looked at.

Follows, within a straight run of instructions, which bits of a register are surely zero: masks, shifts, 32-bit
writes. ``test`` or ``and`` with a constant inside of those bits always gives zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from architect.dataflow import Flow
from architect.learn.rules.view import Suspicion, View
from architect.statements import Statement
from architect.told import value_of
from toolchain import headers

NAME = "bits-known"
_ALL = (1 << 64) - 1
_LOW = (1 << 32) - 1


def rule(view: View) -> Iterator[Suspicion]:
    """Tests of bits that are always clear."""
    for flow in view.flows:
        yield from _routine(view, flow)


def _routine(view: View, flow: Flow) -> Iterator[Suspicion]:
    targets = {place for places in flow.labels.values() for place in places}
    zero: dict[str, int] = {}  # register -> bits that are surely clear
    for number, node in enumerate(flow.nodes):
        if number in targets:
            zero = {}
        s = node.statement
        asked = _asked(s, view.values())
        if asked is not None and zero.get(asked[0], 0) & asked[1] == asked[1] != 0:
            message = f"`{s.code.text}` asks for bits that were cleared before: the answer is always zero"
            yield Suspicion(NAME, f"{s.name} of cleared bits", message, *node.site.key, flow.routine.name)
        known = _after(s, zero, view.values())
        for register in node.effects.writes | (set(zero) if node.effects.opaque else set()):
            zero.pop(register, None)
        if known is not None:
            zero[known[0]] = known[1]
        if node.effects.flow not in ("next", "branch"):
            zero = {} if node.effects.flow != "call" or node.effects.opaque else zero


def _asked(s: Statement, values: Mapping[str, int]) -> tuple[str, int] | None:
    if s.name not in ("test", "and") or len(s.operands) != 2:
        return None
    register, bits = headers.full_register(s.operand(0)), headers.register_bits(s.operand(0))
    value = value_of(s.operand(1), values)
    return (register, value & ((1 << bits) - 1)) if register and bits and value is not None else None


def _after(s: Statement, zero: Mapping[str, int], values: Mapping[str, int]) -> tuple[str, int] | None:
    """The register that an instruction writes and the bits of it that are surely clear then."""
    register, bits = headers.full_register(s.operand(0)), headers.register_bits(s.operand(0))
    if not register or not bits or bits < 32 or len(s.operands) != 2:
        return None
    high = _ALL & ~_LOW if bits == 32 else 0
    value = value_of(s.operand(1), values)
    source = headers.full_register(s.operand(1))
    before = zero.get(register, 0) | high
    if s.name == "and" and value is not None:
        return register, (before | ~value & (_LOW if bits == 32 else _ALL)) & _ALL | high
    if s.name == "mov" and source:
        return register, zero.get(source, 0) | high
    if s.name in ("or", "add") and value is not None and s.name == "or":
        return register, before & ~value
    if s.name == "shl" and value is not None and 0 < value < bits:
        return register, (before << value | ((1 << value) - 1)) & _ALL | high
    return (register, high) if high and s.name in ("mov", "lea", "movzx", "add", "sub", "or", "xor") else None
