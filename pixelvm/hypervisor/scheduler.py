"""The hypervisor: slices of fuel for many machines in turn, on any engine, each machine's faults its own.

Owns the order (round robin), the slices, the moves between engines and what happens when an engine itself fails.
Machines are guests (guest.py); what they call, and where snapshots lie, is not known here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from pixelvm import engines
from pixelvm import state as states
from pixelvm.host import Host
from pixelvm.hypervisor.guest import Guest, Status, said
from pixelvm.program import Program
from pixelvm.state import State
from toolchain.errors import InputError
from toolchain.interrupts import uninterrupted

STAGE = "vm"
SLICE = 10_000
SLICE_MAX = (
    1_000_000  # fuel; the reference needs about a second for it, and Ctrl-C waits for the end of a slice
)
GUESTS_MAX = 16_384

_Machines = Sequence[tuple[Program, State, Host]]


class Hypervisor:
    """Machines that take turns.

    Args:
        guests: in the order of their turns.
        route: engines; a machine begins on the first and goes to the next one at each slice.
        portion: fuel of a slice.

    Attributes:
        turns: how often every machine that could run had its slice.

    Raises:
        InputError: an engine that is not there, a slice out of bounds.
    """

    def __init__(self, guests: Sequence[Guest], route: Sequence[str], portion: int = SLICE) -> None:
        if not 1 <= portion <= SLICE_MAX:
            raise InputError(f"a slice of {portion}; expected 1 to {SLICE_MAX} units of fuel", stage=STAGE)
        self.guests = list(guests)
        self.route = tuple(route)
        self.portion = portion
        self.turns = 0
        for name in {*self.route, *(guest.engine for guest in guests)}:
            engines.find(name)

    def running(self) -> list[Guest]:
        """Machines that can go on."""
        return [guest for guest in self.guests if guest.status is Status.RUNNING]

    def move(self, guest: Guest, engine: str) -> None:
        """Let a machine go on on another engine. It is carried over as bytes, as to another host it would be.

        Raises:
            InputError: there is no such engine here.
        """
        engines.find(engine)
        if engine != guest.engine:
            saved = states.save(guest.state, guest.program)
            guest.state = states.restore(saved, guest.program, guest.name)
            guest.engine = engine
            guest.moves += 1

    def turn(self) -> bool:
        """One slice for every machine that can run; False when there is none."""
        runnable = self.running()
        if not runnable:
            return False
        groups: dict[str, list[Guest]] = {}
        for guest in runnable:
            if len(self.route) > 1:
                self.move(guest, self.route[guest.slices % len(self.route)])
            groups.setdefault(guest.engine, []).append(guest)
        for name, members in groups.items():
            self._slices(name, members)
        self.turns += 1
        return True

    def _slices(self, name: str, guests: list[Guest]) -> None:
        """A slice for each, together where the engine runs many at once."""
        together = getattr(sys.modules[engines.ENGINES[name].module], "run_many", None)
        with uninterrupted():
            if together is not None and len(guests) > 1 and self._together(guests, together):
                return
        run = engines.find(name)
        for guest in guests:
            with uninterrupted():
                self._alone(guest, run)

    def _together(self, guests: list[Guest], run: Callable[[_Machines], object]) -> bool:
        """One slice for all at once. False where the engine fails; it has changed no state then (its contract)."""
        before = [(guest.state.fuel, guest.state.stop) for guest in guests]
        amounts = [self._give(guest) for guest in guests]
        try:
            run([(guest.program, guest.state, guest.guard) for guest in guests])
        except Exception:  # who of them it was shows when each runs by itself
            for guest, (fuel, stop) in zip(guests, before, strict=True):
                guest.state.fuel, guest.state.stop = fuel, stop
            return False
        for guest, amount in zip(guests, amounts, strict=True):
            guest.given += amount
            guest.slices += 1
        return True

    def _alone(self, guest: Guest, run: engines.Run) -> None:
        """One slice; it happens whole, or (an engine that fails) not at all."""
        before = states.save(guest.state, guest.program)
        amount = self._give(guest)
        try:
            run(guest.program, guest.state, guest.guard)
        except Exception as error:
            guest.state = states.restore(before, guest.program, guest.name)
            guest.failure = f"engine {guest.engine}: {said(error)}"
        else:
            guest.given += amount
            guest.slices += 1

    def _give(self, guest: Guest) -> int:
        """Fuel for a slice, as far as the quota goes."""
        amount = min(self.portion, guest.quota.fuel - guest.given)
        guest.state.add_fuel(amount)
        return amount
