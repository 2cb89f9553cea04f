"""A physical address used as a pointer.

A header says of a value that it is physical (``phys``, ``pa``, ``frame``); it becomes a pointer only by adding the
base of the direct mapping. A register that holds such a value, unchanged since it was handed in or returned, stands
in brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from architect.dataflow import Flow
from architect.effects import registers_in
from architect.learn.rules.view import ENTRY, Suspicion, View
from architect.told import value_of
from toolchain import headers

NAME = "physical-as-virtual"
_TYPES = ("phys", "pa", "physical")
_NAMES = re.compile(r"\b(physical|phys|frame)\b")
_STEPS_MAX = 16  # that are followed back; more is not said to be physical


def rule(view: View) -> Iterator[Suspicion]:
    """Memory operands whose base is a physical address."""
    for flow in view.flows:
        if flow.nodes[0].statement.mode != 64:
            continue  # before long mode the two are one
        for number, node in enumerate(flow.nodes):
            for operand in (*node.effects.loads, *node.effects.stores):
                for register in sorted(registers_in(operand) - {"rsp", "rbp"}):
                    if _is_physical(view, flow, number, register, frozenset()):
                        message = f"`{node.statement.code.text}` takes the physical address in {register} for a pointer"
                        yield Suspicion(NAME, "base", message, *node.site.key, flow.routine.name)


def _is_physical(
    view: View, flow: Flow, number: int, register: str, known: frozenset[tuple[int, str]]
) -> bool | None:
    """Whether all that may give a register its value gives a physical address; None: nothing but a loop's own steps."""
    givers = view.givers(flow, number, register)
    fresh = [giver for giver in givers if (giver, register) not in known]
    if len(known) > _STEPS_MAX:
        return False
    said = {_gives(view, flow, giver, register, known | {(giver, register)}) for giver in fresh}
    return False if False in said else True if True in said else None


def _gives(
    view: View, flow: Flow, giver: int, register: str, known: frozenset[tuple[int, str]]
) -> bool | None:
    if giver == ENTRY:
        header = flow.routine.header
        return header is not None and _said(header.inputs, register)
    node = flow.nodes[giver]
    if node.effects.flow == "call":
        header = flow.declared.get(node.effects.target or "")
        return header is not None and _said(header.outputs, register)
    s = node.statement
    source = headers.full_register(s.operand(1)) if len(s.operands) == 2 else None
    if s.name == "mov" and source is not None:
        return _is_physical(view, flow, giver, source, known)
    stays = s.name in ("inc", "dec") or (
        s.name in ("add", "sub") and value_of(s.operand(1), view.values()) is not None
    )
    return _is_physical(view, flow, giver, register, known) if stays else False


def _said(slots: tuple[headers.Slot, ...], register: str) -> bool:
    return any(
        headers.full_register(slot.register) == register
        and (slot.type in _TYPES or (slot.type != "ptr" and bool(_NAMES.search(slot.name))))
        for slot in slots
    )
