"""Operators on pairs that must match: push and pop, take and give back, store and flush.

Owns edits in two or more places of a routine at once, where one alone would break it. What a routine must save it
reads from its header, what it saves from its first statements, where it leaves from its returns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from architect.dataflow import Flow, values_of
from architect.effects import FLAGS, is_memory, registers_in
from architect.operators.base import GAPS, Operator, Site, Variant, indent, inserted_at, rank_bits, rewritten
from architect.protocols import Edit
from architect.statements import Statement
from toolchain import headers
from toolchain.expr import literal

# verbs of routines that undo each other
_ANTONYMS = (("begin", "end"), ("lock", "unlock"), ("acquire", "release"), ("enter", "leave"), ("save", "restore"),
             ("enable", "disable"), ("start", "stop"), ("open", "close"), ("alloc", "free"), ("take", "give"),
             ("map", "unmap"), ("hold", "release"), ("push", "pop"))  # fmt: skip
_FLAGS = (("cli", "sti"), ("sti", "cli"), ("std", "cld"), ("pushfq", "popfq"), ("pushad", "popad"),
          ("pusha", "popa"), ("pushfd", "popfd"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Frame:
    """How a routine begins and ends.

    Attributes:
        body: its statements with code, in order.
        pushes: the registers pushed at its beginning, in order, with their statements.
        entry: the statement after them.
        exits: for each return the run of pops (and ``add rsp``) before it, and the return itself.
    """

    body: tuple[Statement, ...]
    pushes: tuple[tuple[str, Statement], ...]
    entry: Statement
    exits: tuple[tuple[tuple[Statement, ...], Statement], ...]


def frame(site: Site) -> Frame | None:
    """The frame of the routine that a site stands in."""
    routine = site.view.tree.routines.get(site.statement.routine or "")
    flow = site.view.flows.of(site.statement.routine)
    if routine is None or flow is None:
        return None
    body = tuple(
        s for s in routine.statements if s.kind == "instruction" or (s.kind == "macro" and flow.nodes_of(s))
    )
    if not body:
        return None
    start = 0
    while start < len(body) - 1 and _opens(site, body[start]):
        start += 1
    pushes = []
    while start < len(body) - 1 and body[start].name == "push":
        full = headers.full_register(body[start].operand(0))
        pushes.append((full or body[start].operand(0), body[start]))
        start += 1
    exits = []
    for place, s in enumerate(body):
        if not any(flow.nodes[n].effects.flow == "return" for n in flow.nodes_of(s)):
            continue
        first = place
        while first > 0 and _closes(body[first - 1]) and not body[first].labels:
            first -= 1
        exits.append((body[first:place], s))
    return Frame(body, tuple(pushes), body[start], tuple(exits))


def _opens(site: Site, s: Statement) -> bool:
    """The rbp frame: ``push rbp``, ``mov rbp, rsp`` or a macro of both."""
    if s.kind == "macro":
        return "rbp" in {o for m in site.view.tree.macros[s.name].body for o in [m.operand(0)]}
    return "rbp" in (s.operand(0), s.operand(1)) and s.name in ("push", "mov")


def _closes(s: Statement) -> bool:
    return s.name in ("pop", "leave", "clc", "stc") or (
        s.name in ("add", "lea", "mov") and s.operand(0) == "rsp"
    )


def _is_first(site: Site, shape: Frame) -> bool:
    """A frame's repairs belong to one site, its first statement."""
    return site.statement is shape.body[0]


def _line(s: Statement, text: str) -> str:
    return indent(s) + text


def saves(site: Site) -> Iterator[Variant]:
    """Save and restore a register: one that the routine changes and its header does not allow, or any it changes."""
    shape = frame(site)
    if shape is None or not _is_first(site, shape) or not shape.exits:
        return
    flow = site.view.flows.of(site.statement.routine)
    assert flow is not None
    odd = {
        a.register for s in shape.body for a in site.view.anomalies.get(s.key, ()) if a.kind == "undeclared"
    }
    changed = {r for n in flow.nodes for r in n.effects.writes} - {"rsp", "flags", "rbp"}
    pushed = {name for name, _ in shape.pushes}
    wanted = sorted(odd) + sorted(changed - odd - pushed - flow.may_change)
    word = 8 if site.statement.mode == 64 else 4
    for rank, register in enumerate(wanted):
        name = register if word == 8 else "e" + register[1:]
        pops = {s.operand(0) for run, _ in shape.exits for s in run if s.name == "pop"}
        if name in pops or register in pushed:
            continue
        edits = [inserted_at(shape.entry.file, shape.entry.line, [_line(shape.entry, f"push {name}")])]
        edits += [_before_pops(run, last, f"pop {name}") for run, last in shape.exits]
        bits = rank_bits(rank) - (2.5 if register in odd else 0.0)
        yield Variant(tuple(edits), bits, f"save and restore {name}")


def _before_pops(run: tuple[Statement, ...], last: Statement, text: str) -> Edit:
    first = next((s for s in run if s.name in ("pop", "leave")), last)
    return inserted_at(first.file, first.line, [_line(first, text)])


def balances(site: Site) -> Iterator[Variant]:
    """Pops that mirror the pushes: one put in, one taken out, or the run put in order."""
    shape = frame(site)
    if shape is None or not _is_first(site, shape):
        return
    pushed = [name for name, _ in shape.pushes]
    for run, last in shape.exits:
        pops = [s for s in run if s.name == "pop"]
        names = [headers.full_register(s.operand(0)) or "" for s in pops]
        expected = list(reversed(pushed))
        if names == expected:
            continue
        missing = [r for r in expected if r not in names]
        surplus = [n for n, r in enumerate(names) if r not in expected]
        if len(missing) == 1 and not surplus and [r for r in expected if r in names] == names:
            at = expected.index(missing[0])
            before = pops[at] if at < len(pops) else last
            text = _line(before, f"pop {_sized(missing[0], last)}")
            yield Variant((inserted_at(before.file, before.line, [text]),), 0.0, f"pop {missing[0]}")
        if len(surplus) == 1 and not missing:
            yield from _push_for(shape, names, surplus[0])
        if sorted(names) == sorted(expected):
            edits = tuple(rewritten(s, f"pop {_sized(r, s)}") for s, r in zip(pops, expected, strict=True))
            yield Variant(edits, 0.0, "pops in the reverse order of the pushes")
    others = {tuple(s.operand(0) for s in run if s.name == "pop") for run, _ in shape.exits}
    if len(others) == 1 and pushed:
        (names_all,) = others
        order = [headers.full_register(n) or "" for n in reversed(names_all)]
        if sorted(order) == sorted(pushed) and order != pushed:
            edits = tuple(
                rewritten(s, f"push {_sized(r, s)}") for (_, s), r in zip(shape.pushes, order, strict=True)
            )
            yield Variant(edits, 1.0, "pushes in the reverse order of the pops")


def _push_for(shape: Frame, names: list[str], extra: int) -> Iterator[Variant]:
    """A pop without its push: the push goes where the mirror has it."""
    mirrored = list(reversed(names))
    at = mirrored.index(names[extra])
    before = shape.pushes[at][1] if at < len(shape.pushes) else shape.entry
    text = _line(before, f"push {_sized(names[extra], before)}")
    yield Variant((inserted_at(before.file, before.line, [text]),), 0.0, f"push {names[extra]}")


def _sized(register: str, s: Statement) -> str:
    return register if s.mode == 64 or register[1:2].isdigit() else "e" + register[1:]


def alignment(site: Site) -> Iterator[Variant]:
    """The stack moved by 8 over the body, so that calls find it aligned; or such a move taken out."""
    shape = frame(site)
    if shape is None or not _is_first(site, shape) or not shape.exits:
        return
    if any(s.name == "call" for s in shape.body):
        for rank, amount in enumerate((8, 16, 24)):
            edits = [
                inserted_at(shape.entry.file, shape.entry.line, [_line(shape.entry, f"sub rsp, {amount}")])
            ]
            edits += [_before_pops(run, last, f"add rsp, {amount}") for run, last in shape.exits]
            yield Variant(tuple(edits), 0.5 + rank, f"{amount} more bytes of stack over the body")
    for s in shape.body:
        for step in (8, -8, 16, -16):
            if s.name in ("sub", "add") and s.operand(0) == "rsp" and s.operand(1).isdigit():
                twins = [t for t in shape.body if t.operand(0) == "rsp" and t.operand(1) == s.operand(1)]
                amount = (literal(s.operand(1)) or 0) + step
                if s is twins[0] and amount > 0:
                    edit = tuple(rewritten(t, f"{t.name} rsp, {amount}") for t in twins)
                    yield Variant(edit, 2.0, f"{amount} bytes of stack for {s.operand(1)}")


def call_alignment(site: Site) -> Iterator[Variant]:
    """The stack moved by 8 around one call."""
    s = site.statement
    after = site.following
    if s.name != "call" or after is None:
        return
    for rank, (down, up) in enumerate(
        (("sub rsp, 8", "add rsp, 8"), ("push rax", "add rsp, 8"), ("add rsp, 8", "sub rsp, 8"))
    ):
        edits = (
            inserted_at(s.file, s.line, [_line(s, down)]),
            inserted_at(s.file, s.line + 1, [_line(s, up)]),
        )
        yield Variant(edits, 1.0 + rank, "stack aligned around the call")


def around(site: Site) -> Iterator[Variant]:
    """A register saved around one call that destroys it."""
    s = site.statement
    header = site.view.tree.headers.get(s.operand(0)) if s.name == "call" else None
    flow, node = site.view.flow(s), site.view.node(s)
    if header is None or flow is None or node is None:
        return
    lost = sorted(
        (header.may_change() & flow.live[node]) | (site.view.undefined_from(s) & header.may_change())
    )
    given = {headers.full_register(slot.register) for slot in header.outputs}
    for rank, register in enumerate(r for r in lost if r not in given):
        edits = (
            inserted_at(s.file, s.line, [_line(s, f"push {register}")]),
            inserted_at(s.file, s.line + 1, [_line(s, f"pop {register}")]),
        )
        yield Variant(edits, rank_bits(rank), f"{register} kept over the call")


def over(site: Site) -> Iterator[Variant]:
    """A result set aside while its register serves for something else, from where it is overwritten to the last use."""
    s = site.statement
    flow, node = site.view.flow(s), site.view.node(s)
    if s.kind != "instruction" or flow is None or node is None or flow.routine.header is None:
        return
    effect = flow.nodes[node].effects
    results = values_of(flow.routine.header.outputs) - {FLAGS, "rsp"}
    if effect.flow == "call" or effect.stack or effect.opaque:
        return
    for register in sorted((effect.writes - effect.reads - effect.merges) & results & flow.defined[node]):
        for rank, last in enumerate(reversed(_users(flow, node, register))):
            word = _sized(register, s)
            edits = (
                inserted_at(s.file, s.line, [_line(s, f"push {word}")]),
                inserted_at(last.file, last.line + 1, [_line(s, f"pop {word}")]),
            )
            yield Variant(edits, rank_bits(rank), f"{word} set aside up to line {last.line}")


def _users(flow: Flow, node: int, register: str) -> list[Statement]:
    """The statements that read what one gives a register, before a branch or anything that moves the stack."""
    found: list[Statement] = []
    for following in flow.nodes[node + 1 :]:
        effect = following.effects
        if following.statement.labels or effect.flow != "next" or effect.stack or effect.opaque:
            break
        if register in effect.reads | effect.merges:
            found.append(following.site)
        if register in effect.writes:
            break
    return found


def undone(site: Site) -> Iterator[Variant]:
    """What a routine takes it gives back: the opposite call or flag before its returns, or at this place."""
    s = site.statement
    if not site.is_gap:
        return
    shape = frame(site)
    if shape is None:
        return
    names = {x.operand(0) for x in shape.body if x.name == "call"}
    plain = {x.name for x in shape.body}
    wanted: list[str] = []
    for callee in sorted(names):
        for a, b in _ANTONYMS:
            for verb, other in ((a, b), (b, a)):
                opposite = "_".join(other if w == verb else w for w in callee.split("_"))
                if opposite != callee and opposite in site.view.tree.routines and opposite not in names:
                    wanted.append(f"call {opposite}")
    wanted += [b for a, b in _FLAGS if a in plain and b not in plain]
    for rank, text in enumerate(dict.fromkeys(wanted)):
        yield Variant(
            (inserted_at(s.file, s.line, [_line(s, text)]),), 1.0 + rank_bits(rank), f"`{text}` before it"
        )
        if _is_first(site, shape) and shape.exits:
            edits = tuple(_before_pops(run, last, text) for run, last in shape.exits)
            yield Variant(edits, rank_bits(rank), f"`{text}` before every return")


def flushes(site: Site) -> Iterator[Variant]:
    """After a store: the flush of the page it changed, or the fence that orders it."""
    s, before = site.statement, site.previous
    if before is None or not site.is_gap or not is_memory(before.operand(0)):
        return
    hand = [r for r in site.view.hand(s) if r not in registers_in(before.operand(0))]
    for rank, register in enumerate((*hand, *sorted(registers_in(before.operand(0))))):
        text = f"invlpg [{register}]"
        yield Variant(
            (inserted_at(s.file, s.line, [_line(s, text)]),), rank_bits(rank), f"`{text}` after the store"
        )
    for rank, text in enumerate(("mfence", "sfence")):
        yield Variant((inserted_at(s.file, s.line, [_line(s, text)]),), 1.0 + rank, f"{text} after the store")


OPERATORS = (
    Operator(
        "save-restore",
        "a register changed that the header says is preserved",
        3.5,
        saves,
        {"contract": -1.0, "check": -1.0},
    ),
    Operator("push-pop", "pushes and pops that do not mirror each other", 2.5, balances, {"check": -1.0}),
    Operator("stack-align", "RSP off by 8 at a call", 5.0, alignment, {"check": -1.5}),
    Operator("call-align", "RSP off by 8 at one call", 5.5, call_alignment, {"check": -1.5}),
    Operator("save-around", "a value in use lost over a call", 4.5, around),
    Operator(
        "save-over", "a result overwritten before the routine returns it", 4.5, over, {"contract": -1.0}
    ),
    Operator(
        "undo",
        "a lock, a line, the interrupt flag taken and not given back",
        4.0,
        undone,
        {"hang": -0.5},
        sorts=GAPS,
    ),
    Operator(
        "flush",
        "a changed translation without invlpg, a doorbell without its fence",
        4.5,
        flushes,
        sorts=GAPS,
    ),
)
