"""A value that is computed, or handed in, and never used: what should have used it is missing or names another.

The sort says what made the value: the kinds of the instruction's operands, or ``input`` for one that the header
takes, and then whether the routine hands on to others and how it is reached.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.anomalies import in_flow
from architect.dataflow import Flow, Node
from architect.effects import FLAGS
from architect.learn.rules.view import Suspicion, View, kinds
from toolchain import headers

NAME = "value-never-used"


def rule(view: View) -> Iterator[Suspicion]:
    """Values that nothing uses."""
    for flow in view.flows:
        yield from _made(flow)
        yield from _handed(view, flow)


def _made(flow: Flow) -> Iterator[Suspicion]:
    lines = {a.line: a for a in in_flow(flow) if a.kind == "dead" and a.register != FLAGS}
    for node in flow.nodes:
        anomaly = lines.get(node.site.line)
        if anomaly is None or node.site is not node.statement:
            continue
        message = f"`{node.statement.code.text}` makes a value in {anomaly.register} that nothing uses"
        yield Suspicion(NAME, kinds(node.statement), message, *node.site.key, flow.routine.name)


def _handed(view: View, flow: Flow) -> Iterator[Suspicion]:
    header = flow.routine.header
    if header is None or any(node.effects.opaque for node in flow.nodes):
        return
    users = view.tree.references.get(flow.routine.name, ())
    reached = "called" if any(s.name == "call" for s in users) else "not called by name"
    on = any(n.effects.flow == "call" or flow.leaves(at) for at, n in _leaving(flow))
    sort = f"input, {reached}, {'hands on' if on else 'alone'}"
    for slot in header.inputs:
        register = headers.full_register(slot.register)
        if register and not any(register in n.effects.reads for n in flow.nodes):
            message = f"the header takes {slot.name} in {slot.register}, and nothing reads it"
            yield Suspicion(NAME, sort, message, *flow.nodes[0].site.key, flow.routine.name)


def _leaving(flow: Flow) -> Iterator[tuple[int, Node]]:
    """The calls and jumps of a routine."""
    for at, node in enumerate(flow.nodes):
        if node.effects.flow in ("call", "jump", "branch"):
            yield at, node
