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
from toolchain import headers

NAME = "physical-as-virtual"
_TYPES = ("phys", "pa", "physical")
_NAMES = re.compile(r"\b(physical|phys|frame)\b")
_DEPTH = 6  # moves that are followed back


def rule(view: View) -> Iterator[Suspicion]:
    """Memory operands whose base is a physical address."""
    for flow in view.flows:
        if flow.nodes[0].statement.mode != 64:
            continue  # before long mode the two are one
        for number, node in enumerate(flow.nodes):
            for operand in (*node.effects.loads, *node.effects.stores):
                for register in sorted(registers_in(operand) - {"rsp", "rbp"}):
                    if _is_physical(view, flow, number, register, _DEPTH):
                        message = f"`{node.statement.code.text}` takes the physical address in {register} for a pointer"
                        yield Suspicion(NAME, "base", message, *node.site.key, flow.routine.name)


def _is_physical(view: View, flow: Flow, number: int, register: str, depth: int) -> bool:
    givers = view.givers(flow, number, register)
    return bool(givers) and depth > 0 and all(_gives(view, flow, g, register, depth) for g in givers)


def _gives(view: View, flow: Flow, giver: int, register: str, depth: int) -> bool:
    if giver == ENTRY:
        header = flow.routine.header
        return header is not None and _said(header.inputs, register)
    node = flow.nodes[giver]
    if node.effects.flow == "call":
        header = flow.declared.get(node.effects.target or "")
        return header is not None and _said(header.outputs, register)
    s = node.statement
    source = headers.full_register(s.operand(1)) if s.name == "mov" and len(s.operands) == 2 else None
    return source is not None and _is_physical(view, flow, giver, source, depth - 1)


def _said(slots: tuple[headers.Slot, ...], register: str) -> bool:
    return any(
        headers.full_register(slot.register) == register
        and (slot.type in _TYPES or (slot.type != "ptr" and bool(_NAMES.search(slot.name))))
        for slot in slots
    )
