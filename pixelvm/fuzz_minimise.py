"""A failing case made as small as it gets while it still fails, and told as source that assembles.

Owns the search (greedy: a smaller case is kept when the difference is still there) and the text. Judges nothing itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from pixelvm import fuzz, isa
from pixelvm import state as states
from pixelvm.disassembler import disassemble
from pixelvm.fuzz import MIXED, Case, Difference
from pixelvm.isa import Op, Operand
from pixelvm.program import Program
from pixelvm.state import State

TRIES = 4000  # runs of one case, at most


def fails(names: Sequence[str], engine: str) -> Callable[[Case], str]:
    """What is different about a case on one engine (or on all by turns); empty where nothing is."""
    plan = fuzz.mover(names) if engine == MIXED else fuzz.alone(engine)

    def judge(case: Case) -> str:
        got, want = fuzz.ends([case], plan)[0], fuzz.expected(case)
        return "" if got == want else fuzz.difference(case, got, want)

    return judge


def minimised(case: Case, judge: Callable[[Case], str]) -> Case:
    """The smallest case that was found; ``case`` itself where it does not fail alone.

    Args:
        case: one that fails.
        judge: says what is wrong with a case, or nothing.
    """
    tries, changed = TRIES, bool(judge(case))
    while changed:
        changed = False
        for smaller in _smaller(case):
            tries -= 1
            if tries < 0:
                return case
            if judge(smaller):
                case, changed = smaller, True
                break
    return case


def _smaller(case: Case) -> Iterator[Case]:
    """Cases with one thing less, the large steps first."""
    program, state = case.program, states.restore(case.state, case.program)
    if len(case.slices) > 1:
        yield case._replace(slices=(sum(case.slices),))
        yield case._replace(slices=case.slices[:-1])
    plain = states.save(State(program), program)
    if case.state != plain:
        yield case._replace(state=plain)
    for size in (len(program.code) // 2, 4, 1):
        for at in range(0, len(program.code), max(size, 1)):
            shorter = _without(program, at, size) if 0 < size < len(program.code) else None
            if shorter is not None:
                yield _moved(case, shorter, state, at, size)
    for at, code in enumerate(program.code):
        if code != isa.word(Op.PUSH):
            words = (*program.code[:at], isa.word(Op.PUSH), *program.code[at + 1 :])
            yield _moved(case, program._replace(code=words), state, len(words), 0)
    if program.data:
        yield _moved(case, program._replace(data=b""), state, len(program.code), 0)
    yield from _smaller_state(case, state)
    last = case.slices[-1]
    for less in (last // 2, last - 1):
        if 0 < less < last:
            yield case._replace(slices=(*case.slices[:-1], less))
    if case.talk:
        yield case._replace(talk=0)


def _smaller_state(case: Case, state: State) -> Iterator[Case]:
    """States with fewer values."""

    def made() -> Case:
        return case._replace(state=states.save(state, case.program))

    stack, returns, frames = state.stack, state.returns, state.locals
    for kept in (len(stack) // 2, len(stack) - 1):
        if 0 <= kept < len(stack):
            state.stack = stack[len(stack) - kept :]
            yield made()
    state.stack = stack
    if returns:
        state.returns, state.locals = [], frames[-1:]
        yield made()
        state.returns, state.locals = returns, frames
    if any(state.memory):
        state.memory[:] = bytes(len(state.memory))
        yield made()


def _without(program: Program, at: int, size: int) -> Program | None:
    """The program without some words; targets behind them move along."""
    code = [*program.code[:at], *program.code[at + size :]]
    if not code:
        return None
    for place, word in enumerate(code):
        row = isa.INSTRUCTIONS.get(word & 0xFF)
        target = word >> 8
        if row is not None and row.operand is Operand.TARGET and target < len(program.code):
            code[place] = isa.word(row.op, min(_after(target, at, size), len(code) - 1))
    return program._replace(code=tuple(code), entry=min(_after(program.entry, at, size), len(code) - 1))


def _after(place: int, at: int, size: int) -> int:
    """Where a word is when those from ``at`` have gone."""
    return place if place < at else max(place - size, at)


def _moved(case: Case, program: Program, state: State, at: int, size: int) -> Case:
    """The case with another program, its state carried along."""
    end = len(program.code)
    new = State(program, fuel=state.fuel, seed=state.seed)
    fresh = states.save(State(case.program, fuel=state.fuel, seed=state.seed), case.program) == case.state
    if not fresh:
        new.pc = min(_after(state.pc, at, size), end)
        new.stop, new.result, new.written, new.read = state.stop, state.result, state.written, state.read
        new.stack, new.locals = state.stack, state.locals
        new.returns = [min(_after(place, at, size), end) for place in state.returns]
        new.memory[:] = state.memory
    return case._replace(program=program, state=states.save(new, program))


def told(seed: int, found: Difference, names: Sequence[str]) -> str:
    """The failing case, minimised, as ``.pxa`` with all that is needed to run it again in its comments."""
    judge = fails(names, found.engine)
    case = minimised(found.case, judge)
    what = judge(case) or f"{found.what} (only together with the cases before it)"
    again = f"pxos vm fuzz --seed {seed} --first {found.number} --count 1 --engines {','.join(names)}"
    head = [f"; {found.engine}: {what}", f"; again: {again}"]
    head.append(f"; fuel in slices of {', '.join(map(str, case.slices))}; the host's answers: {case.talk}")
    state = states.restore(case.state, case.program)
    if case.state != states.save(State(case.program), case.program):
        head.append(f"; state: pc {state.pc}, stop {state.stop.name}, stack {state.stack}")
        head.append(f"; returns {state.returns}, seed {state.seed}, locals {state.locals[-1]}")
        head.append(f"; written {state.written}, read {state.read}, memory {_memory(state)}")
    return "\n".join(head) + "\n" + disassemble(case.program)


def _memory(state: State) -> str:
    return bytes(state.memory).hex() if any(state.memory) else "all zero"
