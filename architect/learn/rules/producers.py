"""An operand that an instruction takes silently, made by something that never makes it elsewhere.

``div`` takes rdx, ``wrmsr`` edx, ``cpuid`` ecx: what gave the register its value is known by walking back. The sort
is the pair of consumer and giver; a giver that the consumer never has in a sound kernel is one that does not fit: a
remainder for a dividend's upper half, an address for the upper half of an MSR.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.dataflow import Flow
from architect.learn.rules.view import ENTRY, Suspicion, View, kinds
from architect.statements import Statement
from architect.told import value_of

NAME = "operand-from-elsewhere"
_TAKES = {
    "div": ("rdx",),
    "idiv": ("rdx",),
    "cpuid": ("rcx",),
    "wrmsr": ("rdx",),
    "xsetbv": ("rdx",),
}
_LEAF = "rax"
_SUBLEAVES = frozenset(
    {4, 7, 0xB, 0xD, 0xF, 0x10, 0x12, 0x14, 0x15, 0x16, 0x17, 0x18, 0x1F}
)  # SDM vol. 2, CPUID


def rule(view: View) -> Iterator[Suspicion]:
    """Operands whose giver does not fit."""
    for flow in view.flows:
        for number, node in enumerate(flow.nodes):
            s = node.statement
            for register in _TAKES.get(s.name, ()):
                yield from _given(view, flow, number, s, register)


def _given(view: View, flow: Flow, number: int, s: Statement, register: str) -> Iterator[Suspicion]:
    for giver in sorted(view.givers(flow, number, register)):
        made = "the caller" if giver == ENTRY else kinds(flow.nodes[giver].statement)
        sort = f"{s.name}{_leaf(view, flow, number, s)} takes {register} from {made}"
        if giver == ENTRY and register in flow.defined[number]:
            sort = f"{s.name} takes {register} from an input"
        at = "what the caller left" if giver == ENTRY else f"`{flow.nodes[giver].statement.code.text}`"
        message = f"{s.name} takes {register}, which comes from {at}"
        yield Suspicion(NAME, sort, message, *flow.nodes[number].site.key, flow.routine.name)


def _leaf(view: View, flow: Flow, number: int, s: Statement) -> str:
    """For cpuid: whether the leaf that is asked has subleaves, as far as it is known."""
    if s.name != "cpuid":
        return ""
    givers = view.givers(flow, number, _LEAF)
    texts = ["" if giver == ENTRY else flow.nodes[giver].statement.operand(1) for giver in givers]
    leaves = {value_of(text, view.values()) for text in texts}
    return " of a leaf with subleaves" if leaves and leaves <= _SUBLEAVES else ""
