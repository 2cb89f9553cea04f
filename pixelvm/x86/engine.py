"""The machine-code engine: runs a state on translated code, with Python's host for its system calls.

Owns the way of a state into a context and back, and what happens when translated code is left. It decides nothing
about an instruction that cannot be carried out: it goes back to before it and lets the reference say what that is. A
state from anybody is checked here; what is no state of the program goes to the reference as a whole.
"""

from __future__ import annotations

import struct

from pixelvm import isa, reference
from pixelvm.host import Host, answered
from pixelvm.isa import Stop, System
from pixelvm.program import Program
from pixelvm.state import State, is_sound
from pixelvm.x86 import context, pages
from pixelvm.x86.context import DEPTH, FRAMES, FUEL, LOCALS, MEMORY, PC, REASON, RETURNS, SEED, TARGET
from pixelvm.x86.translation import Context, Translation, gate, kept

SLICE = 1 << 27  # fuel for one stay in translated code, so that an interruption is not kept waiting
BLOCK_FUEL = 1 << 13  # more than any block costs
_STEPS = 64  # instructions that the reference carries out on the way to a place that is translated already
_BURST = 128  # the same where translating would not pay yet


def run(program: Program, state: State, host: Host) -> Stop:
    """Run until it halts, traps or wants more fuel than ``state.fuel``; as ``reference.run``.

    Raises:
        InputError: this machine does not execute x86-64 code.
    """
    if state.stop is Stop.FUEL:
        state.stop = Stop.RUNNING
    if state.stop is not Stop.RUNNING:
        return state.stop
    if not is_sound(state, program):
        return reference.run(program, state, host)
    fresh = True  # where it stands a block may begin
    steps = wait = 0
    while state.stop is Stop.RUNNING:
        translation = kept.find(program, state)
        if steps >= wait and (state.pc in translation.entries or fresh or steps >= _STEPS):
            stay = _Stay(translation, program, state, host)
            stay.run()
            steps, wait = 0, _BURST if stay.is_cold else 0
            if state.stop is not Stop.RUNNING:
                break
        before = state.pc
        reference.step(program, state, host)
        steps += 1
        fresh = state.pc != before + 1
    return state.stop


class _Stay:
    """A state's stay in a context, from one instruction between blocks to another.

    Args:
        translation: of the program.
        program: what runs.
        state: changed when the stay is over.
        host: for system calls.

    Attributes:
        is_cold: it ended where nothing is translated because that place was not reached often enough.
    """

    def __init__(self, translation: Translation, program: Program, state: State, host: Host) -> None:
        self._translation, self._program, self._state, self._host = translation, program, state, host
        self._context: Context = translation.take()
        self._words = self._context.words
        self._pc = state.pc
        self._fuel = self._limit()  # what is not in the context
        self._later = state.fuel - self._fuel
        self._given = list(state.returns)  # of the frames that were there from the start
        self.is_cold = False

    def run(self) -> None:
        """Run until it halts, or stands where the reference has to look."""
        address, held = pages.address_of(self._state.memory)
        self._enter(address)
        try:
            while self._go_on():
                pass
        finally:
            self._leave()
            del held
            self._translation.give(self._context)

    def _limit(self) -> int:
        """The fuel of this stay: it ends where the program has run for long enough to be verified."""
        left = self._translation.trial()
        return min(self._state.fuel, max(left, BLOCK_FUEL)) if left else self._state.fuel

    # --- in and out ----------------------------------------------------------------------------------------

    def _enter(self, memory: int) -> None:
        state, here, words = self._state, self._context.map, self._words
        stack, frames = state.stack, state.locals
        struct.pack_into(f"<{len(stack)}I", here, context.STACK, *stack)
        flat = [value for frame in frames for value in frame]
        here[LOCALS:RETURNS] = struct.pack(f"<{len(flat)}I", *flat).ljust(RETURNS - LOCALS, b"\0")
        returns, unknown = self._translation.returns, gate().returned
        struct.pack_into(
            f"<{len(state.returns)}Q", here, RETURNS, *(returns.get(pc, unknown) for pc in state.returns)
        )
        self._context.quads[MEMORY // 8] = memory
        words[DEPTH // 4] = 4 * len(stack)
        words[FRAMES // 4] = len(state.returns)
        words[SEED // 4] = state.seed
        words[FUEL // 4] = 0

    def _leave(self) -> None:
        state, here, words = self._state, self._context.map, self._words
        state.pc = self._pc
        before = state.fuel
        state.fuel = self._later + self._fuel + words[FUEL // 4]
        self._translation.spent += before - state.fuel
        state.seed = words[SEED // 4]
        state.stack[:] = struct.unpack_from(f"<{words[DEPTH // 4] // 4}I", here, context.STACK)
        count = words[FRAMES // 4]
        sites = self._translation.sites
        addresses = struct.unpack_from(f"<{count}Q", here, RETURNS)
        state.returns[:] = [
            sites[address] if address in sites else self._given[at] for at, address in enumerate(addresses)
        ]
        flat = struct.unpack_from(f"<{(count + 1) * isa.LOCALS}I", here, LOCALS)
        state.locals[:] = [list(flat[at : at + isa.LOCALS]) for at in range(0, len(flat), isa.LOCALS)]

    def _go_on(self) -> bool:
        """From one way out of translated code to the next; whether the stay goes on."""
        words, translation = self._words, self._translation
        target = translation.entries.get(self._pc)
        if target is None:
            self.is_cold = not translation.is_worth(self._pc)
            if translation.full or self.is_cold:
                return False
            translation.translate(self._pc)
            target = translation.entries[self._pc]
        given = min(self._fuel, SLICE - words[FUEL // 4])
        if given > 0:
            words[FUEL // 4] += given
            self._fuel -= given
        self._context.quads[TARGET // 8] = target
        gate().enter(self._context.address)
        self._pc, reason = words[PC // 4], words[REASON // 4]
        if reason == context.SYSTEM:
            self._system()
            return True
        if reason == context.RETURNED:
            self._pc = self._given[words[FRAMES // 4]]
            return True
        if reason == context.HALT:
            self._state.stop, self._state.result = Stop.HALTED, self._program.code[self._pc] >> 8
            return False
        if reason == context.SLOW:
            return self._fuel > 0 and words[FUEL // 4] < BLOCK_FUEL
        return True

    # --- system calls --------------------------------------------------------------------------------------

    def _system(self) -> None:
        """Make the call at ``pc``, which is paid for and has its values; if the host fails it was not made."""
        words = self._words
        number = self._program.code[self._pc] >> 8
        call = isa.SYSTEM_CALLS[number]
        top = words[DEPTH // 4] // 4
        taken = [words[at] for at in range(top - call.pops, top)]
        try:
            given = answered(self._host, System(number), self._state, taken)
        except BaseException:
            self._fuel += call.fuel
            raise
        for at, value in enumerate(given, top - call.pops):
            words[at] = value
        words[DEPTH // 4] += 4 * (call.pushes - call.pops)
        self._pc += 1
