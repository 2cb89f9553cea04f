"""A program's machine code, unit by unit, as it is wanted.

Owns the units of one program, the slots through which they reach one another, and the contexts of the machines that
run it; and which programs' code is kept. Code is dropped as a whole when there is too much of it: at that moment no
machine is inside it, for every machine keeps the translation that it is in.
"""

from __future__ import annotations

import struct
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from pixelvm import program
from pixelvm.program import Program
from pixelvm.state import State
from pixelvm.verifier import Verdict, verify
from pixelvm.x86 import context, pages
from pixelvm.x86.context import SLOTS, SLOTS_MAX
from pixelvm.x86.pages import Pages
from pixelvm.x86.translate import Scope, Slot, Translator

CODE_MAX = 64 << 20  # bytes of code of one program that are kept
UNITS_MAX = 2048  # of one program; each has pages of its own
EAGER = 4096  # instructions of a program all of which is translated as soon as it is reached
VISITS = 4  # after so many a place of a larger one is translated: what is seldom reached costs less in the reference
PROGRAMS_MAX = 32  # whose code is kept, verified and other; whose verdicts are
TRIAL = 1 << 21  # fuel for each of its words after which verifying a program and translating it again pays
_VISITS = 64  # of each word by the verifier, on average, before the program is left unproved
_SLOTS_SPARE = 2048  # more than one unit can ask for, which is at most one for each block's end

_Key = TypeVar("_Key")
_Made = TypeVar("_Made")


class _Gate:
    """The templates, ready to run."""

    def __init__(self) -> None:
        pages.check_machine()
        parts = (context.ENTER, context.LEAVE, context.RETURNED_CODE)
        self.pages = pages.code(b"".join(parts))
        self.enter: Callable[[int], None] = pages.function(self.pages.address)
        self.leave = self.pages.address + len(context.ENTER)
        self.returned = self.leave + len(context.LEAVE)


@cache
def gate() -> _Gate:
    """The way in and out, made once."""
    return _Gate()


class Context(Pages):
    """A machine's place while translated code runs it (``context``).

    Attributes:
        words: all of it as 32-bit numbers.
        quads: all of it as 64-bit numbers.
    """

    def __init__(self) -> None:
        super().__init__(context.SIZE)
        self.words = memoryview(self.map).cast("I")
        self.quads = memoryview(self.map).cast("Q")
        self.quads[context.EXIT // 8] = gate().leave


class Translation:
    """The machine code of one program.

    Args:
        code: the program's words.
        memory: bytes of its memory.
        proof: what its code does not check: only states that it covers may enter. None: any sound state may.
        trial: fuel after which verifying the program pays.

    Attributes:
        entries: ``pc`` of a block and the address where to go on there.
        returns: ``pc`` behind a call and the address that its callee returns to; ``sites``: the other way around.
        full: whether it should be dropped before anything is added.
        spent: fuel that was spent in it.
    """

    def __init__(self, code: tuple[int, ...], memory: int, proof: Verdict | None, trial: int) -> None:
        self.code, self.memory, self.proof = code, memory, proof
        self._trial, self.spent = trial, 0
        self.entries: dict[int, int] = {}
        self.returns: dict[int, int] = {}
        self.sites: dict[int, int] = {}
        self.full = False
        self._calls: dict[int, int] = {}
        self._cut: set[int] = set()
        self._visits: dict[int, int] = {}
        self._pages: list[Pages] = []
        self._bytes = 0
        self._slots: dict[Slot, int] = {}
        self._addresses: list[int] = []
        self._contexts: list[Context] = []
        self._spare: list[Context] = []
        self._lock = threading.RLock()

    def trial(self) -> int:
        """The fuel until it has run for long enough for its program to be verified; 0 where it has, or is."""
        return 0 if self.proof is not None else max(self._trial - self.spent, 0)

    # --- contexts ------------------------------------------------------------------------------------------

    def take(self) -> Context:
        """A context that no other machine uses."""
        with self._lock:
            if self._spare:
                return self._spare.pop()
            made = Context()
            self._contexts.append(made)
            made.map[SLOTS : SLOTS + 8 * len(self._addresses)] = struct.pack(
                f"<{len(self._addresses)}Q", *self._addresses
            )
            return made

    def give(self, used: Context) -> None:
        """A context that is not needed any more."""
        self._spare.append(used)

    # --- code ----------------------------------------------------------------------------------------------

    def is_worth(self, pc: int) -> bool:
        """Whether a place that was just reached should be translated."""
        if len(self.code) <= EAGER:
            return True
        visits = self._visits[pc] = self._visits.get(pc, 0) + 1
        return visits >= VISITS

    def translate(self, start: int) -> None:
        """Make the unit that begins at ``start``."""
        with self._lock:
            if start in self.entries:
                return
            # What a cut left over may be half of a loop: the unit goes through what is known, to have all of it.
            known = _unknown if start in self._cut else self.entries.__contains__
            scope = Scope(self.code, self.memory, known, self._slot, self.proof)
            unit = Translator(scope, start).unit()
            self._cut |= unit.cut
            made = pages.code(unit.code)
            self._pages.append(made)
            self._bytes += made.size
            base = made.address
            self.entries.update((pc, base + at) for pc, at in unit.entries.items())
            self._calls.update((pc, base + at) for pc, at in unit.calls.items())
            self.returns.update((pc, base + at) for at, pc in unit.returns.items())
            self.sites.update((base + at, pc) for at, pc in unit.returns.items())
            for slot, at in unit.missing.items():
                if not self._addresses[self._slots[slot]]:
                    self._connect(self._slots[slot], base + at)
            for pc in unit.entries:
                self._arrive(Slot(pc, False), self.entries)
            for pc in unit.calls:
                self._arrive(Slot(pc, True), self._calls)
            self.full = (
                self._bytes > CODE_MAX
                or len(self._pages) >= UNITS_MAX
                or len(self._slots) > SLOTS_MAX - _SLOTS_SPARE
            )

    def _slot(self, slot: Slot) -> int:
        number = self._slots.get(slot)
        if number is None:
            number = self._slots[slot] = len(self._addresses)
            self._addresses.append((self._calls if slot.called else self.entries).get(slot.pc, 0))
            self._connect(number, self._addresses[number])
        return SLOTS + 8 * number

    def _arrive(self, slot: Slot, places: dict[int, int]) -> None:
        if slot in self._slots:
            self._connect(self._slots[slot], places[slot.pc])

    def _connect(self, number: int, address: int) -> None:
        self._addresses[number] = address
        for each in self._contexts:
            each.quads[SLOTS // 8 + number] = address


def _unknown(pc: int) -> bool:
    return False


class _Kept:
    """Which programs' code is kept: those used last.

    Attributes:
        trial: fuel for each of a program's words after which it is verified.
    """

    def __init__(self) -> None:
        self.trial = TRIAL
        self._lock = threading.Lock()
        self._programs: OrderedDict[int, tuple[Program, bytes]] = OrderedDict()
        self._made: OrderedDict[tuple[bytes, bool], Translation] = OrderedDict()
        self._verdicts: OrderedDict[bytes, Verdict] = OrderedDict()

    def digest(self, of: Program) -> bytes:
        """The program's digest, which is computed once for an object that comes again."""
        known = self._programs.get(id(of))
        if known is not None and known[0] is of:
            return known[1]
        made = program.digest(of)
        self._programs[id(of)] = of, made
        while len(self._programs) > PROGRAMS_MAX:
            self._programs.popitem(last=False)
        return made

    def find(self, of: Program, state: State) -> Translation:
        """The translation of a program that this sound state may enter.

        What was proved of the program is not checked in it, once the program has run for long enough to be verified.
        """
        with self._lock:
            checked = self._translation(of, None)
            if checked.trial():
                return checked
            verdict = self._verdict(of)
            return self._translation(of, verdict) if verdict.covers(of, state) else checked

    def _translation(self, of: Program, proof: Verdict | None) -> Translation:
        key = self.digest(of), proof is not None
        found = self._made.get(key)
        if found is None or found.full:
            spent = found.spent if found is not None else 0
            found = self._made[key] = Translation(of.code, of.memory, proof, self.trial * len(of.code))
            found.spent = spent
        _use(self._made, key, found)
        return found

    def _verdict(self, of: Program) -> Verdict:
        key = self.digest(of)
        return _use(self._verdicts, key, self._verdicts.get(key) or verify(of, _VISITS * len(of.code)))

    def clear(self) -> None:
        """Forget all code; machines that run keep theirs."""
        with self._lock:
            self._made.clear()
            self._verdicts.clear()
            self._programs.clear()


def _use(cache: OrderedDict[_Key, _Made], key: _Key, made: _Made) -> _Made:
    """What was used last stays."""
    cache[key] = made
    cache.move_to_end(key)
    while len(cache) > PROGRAMS_MAX:
        cache.popitem(last=False)
    return made


kept = _Kept()
