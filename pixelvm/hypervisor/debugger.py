"""The debugger's core: steps forward and back, breakpoints, watches. Says why it stopped, prints nothing.

Owns the meaning of every movement. A *line* is the source line of a word where the program came from source, else each
word is a line of its own. Runs on the reference engine, instruction by instruction; its past is history.py's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pixelvm import isa
from pixelvm.host import PlainHost
from pixelvm.hypervisor.history import History
from pixelvm.isa import Stop
from pixelvm.load import Loaded
from pixelvm.state import State
from toolchain.errors import InputError
from toolchain.interrupts import uninterrupted

STAGE = "vm"
CHUNK = 2_000  # instructions between two looks at Ctrl-C
_OFFSET = re.compile(r"(.+?)([+-](?:0[xX][0-9a-fA-F]+|\d+))")

Value = bytes | int | None


@dataclass
class Break:
    """A word at which to stop, and how the person called it."""

    number: int
    pc: int
    text: str


@dataclass
class Watch:
    """Something whose change is a reason to stop.

    Attributes:
        number: for ``delete``.
        text: how the person called it.
        read: its value; None when it is no more (a local of a frame that has ended).
        last: the value at the last look.
    """

    number: int
    text: str
    read: Callable[[State], Value]
    last: Value


class Debugger:
    """A program under the debugger.

    Args:
        loaded: the program and what its source knows.
        state: where it begins.
        host: see ``History``.

    Attributes:
        past: the machine and where it has been.
        breaks: by number.
        watches: by number.
    """

    def __init__(self, loaded: Loaded, state: State, host: PlainHost) -> None:
        self.loaded, self.program = loaded, loaded.program
        self.past = History(loaded.program, state, host)
        self.breaks: dict[int, Break] = {}
        self.watches: dict[int, Watch] = {}
        self._numbers = 0

    @property
    def state(self) -> State:
        """The machine."""
        return self.past.state

    @property
    def host(self) -> PlainHost:
        """What it reaches."""
        return self.past.host

    def line(self, pc: int) -> tuple[str, int]:
        """The source line of a word; without source the word itself."""
        if pc < len(self.loaded.places):
            place = self.loaded.places[pc]
            return place.file, place.line
        return "", pc

    # --- forward -------------------------------------------------------------------------------------------

    def run(self, until: Callable[[], bool] = lambda: False) -> str:
        """Run until something happens or ``until`` holds after an instruction.

        Returns:
            Why it stopped; empty where ``until`` held.

        Raises:
            KeyboardInterrupt: between two instructions.
        """
        stops = {point.pc for point in self.breaks.values()}
        for watch in self.watches.values():
            watch.last = watch.read(self.state)
        while True:
            with uninterrupted():
                for _ in range(CHUNK):
                    if not self.past.step():
                        return self.ended()
                    changed = self._changed() if self.watches else ""
                    if changed:
                        return changed
                    if self.state.stop is not Stop.RUNNING:
                        return self.ended()
                    if self.state.pc in stops:
                        return self._at_break()
                    if until():
                        return ""

    def ended(self) -> str:
        """Why the machine does not go on."""
        state = self.state
        if state.stop is Stop.RUNNING:
            return ""
        if state.stop is Stop.HALTED:
            return f"halted with {state.result}"
        name = "out of fuel" if state.stop is Stop.FUEL else f"trap {state.stop.name}"
        return f"{name}: {isa.STOPS[state.stop]}"

    def _changed(self) -> str:
        """The first watch that sees another value; one whose frame has ended is deleted."""
        for watch in list(self.watches.values()):
            value = watch.read(self.state)
            if value == watch.last:
                continue
            before, watch.last = watch.last, value
            if value is None:
                del self.watches[watch.number]
                return f"watch {watch.number} ({watch.text}): its frame has ended; deleted"
            return f"watch {watch.number} ({watch.text}): {_shown(before)} became {_shown(value)}"
        return ""

    def _at_break(self) -> str:
        here = [point for point in self.breaks.values() if point.pc == self.state.pc]
        return f"break {here[0].number} ({here[0].text})"

    def step_word(self) -> str:
        """One instruction."""
        return self.run(lambda: True)

    def step(self) -> str:
        """To another line, into calls."""
        begin, depth = self.line(self.state.pc), len(self.state.locals)
        return self.run(lambda: self.line(self.state.pc) != begin or len(self.state.locals) != depth)

    def next(self) -> str:
        """To another line of this frame, or of its caller, over calls."""
        begin, depth = self.line(self.state.pc), len(self.state.locals)

        def there() -> bool:
            now = len(self.state.locals)
            return now < depth or (now == depth and self.line(self.state.pc) != begin)

        return self.run(there)

    def finish(self) -> str:
        """Until this frame has returned.

        Raises:
            InputError: it is the entry's, which returns nowhere.
        """
        depth = len(self.state.locals)
        if depth == 1:
            raise InputError("finish: this is the entry's frame; continue runs on", stage=STAGE)
        return self.run(lambda: len(self.state.locals) < depth)

    # --- back ----------------------------------------------------------------------------------------------

    def back_word(self) -> str:
        """One instruction back; to before the one that stopped the machine, too."""
        if not self.past.at:
            return "this is the beginning"
        self.past.go(self.past.at - 1)
        return ""

    def back(self) -> str:
        """To the beginning of the line that ran before this one."""
        end = self.past.at
        if not end:
            return "this is the beginning"
        here = self._key()
        lines: list[tuple[tuple[str, int], int]] = []
        first = end
        while first:
            first = self.past.checkpoint_before(first)
            until = end - len(lines)
            self.past.go(first)
            part = []
            while self.past.at < until:
                part.append(self._key())
                self.past.step()
            lines = part + lines
            if _run_begins(lines, here) is not None:
                break
        begin = _run_begins(lines, here)
        self.past.go(first + (begin or 0))
        return ""

    def _key(self) -> tuple[tuple[str, int], int]:
        """The line and the frame: a function that calls itself comes through a line twice."""
        return self.line(self.state.pc), len(self.state.locals)

    def restart(self) -> None:
        """To the beginning."""
        self.past.go(0)

    # --- breakpoints and watches ---------------------------------------------------------------------------

    def add_break(self, text: str) -> Break:
        """Stop at a label, a line (``12`` or ``file:12``), or a word (``@40``)."""
        pc = self.code_place(text)
        self._numbers += 1
        self.breaks[self._numbers] = Break(self._numbers, pc, text)
        return self.breaks[self._numbers]

    def watch_memory(self, text: str, size: int) -> Watch:
        """Stop when one of ``size`` bytes at an address changes."""
        at = self.address(text)
        if not 1 <= size <= self.program.memory - at:
            raise InputError(
                f"watch: {size} bytes at {at}; memory has {self.program.memory} bytes", stage=STAGE
            )
        return self._watch(f"{size} bytes at {at}", lambda state: bytes(state.memory[at : at + size]))

    def watch_local(self, number: int) -> Watch:
        """Stop when a local of the frame that runs now changes."""
        if not 0 <= number < isa.LOCALS:
            raise InputError(f"watch: local {number}; a frame has 0 to {isa.LOCALS - 1}", stage=STAGE)
        frame = len(self.state.locals) - 1
        return self._watch(
            f"local {number} of frame {frame}",
            lambda state: state.locals[frame][number] if frame < len(state.locals) else None,
        )

    def watch_value(self, text: str, read: Callable[[State], Value]) -> Watch:
        """Stop when what ``read`` gives changes."""
        return self._watch(text, read)

    def _watch(self, text: str, read: Callable[[State], Value]) -> Watch:
        self._numbers += 1
        self.watches[self._numbers] = Watch(self._numbers, text, read, read(self.state))
        return self.watches[self._numbers]

    def delete(self, number: int) -> None:
        """A breakpoint or a watch."""
        if self.breaks.pop(number, None) is None and self.watches.pop(number, None) is None:
            raise InputError(f"delete: {number} is no breakpoint and no watch (see info)", stage=STAGE)

    # --- places --------------------------------------------------------------------------------------------

    def code_place(self, text: str) -> int:
        """The word that a person means.

        Raises:
            InputError: there is none.
        """
        count = len(self.program.code)
        if text.startswith("@"):
            pc = _number(text[1:])
            if pc is None or not 0 <= pc < count:
                raise InputError(f"'{text}': the program has words @0 to @{count - 1}", stage=STAGE)
            return pc
        if text in self.loaded.code_labels:
            return self.loaded.code_labels[text]
        file, _, line = text.rpartition(":")
        number = _number(line)
        if number is None:
            raise InputError(f"'{text}': no such label; also: a line, file:line, @word", stage=STAGE)
        found = [
            pc
            for pc, place in enumerate(self.loaded.places)
            if place.line >= number and place.file.endswith(file)
        ]
        if not found:
            raise InputError(f"'{text}': no code at this line or behind it", stage=STAGE)
        return min(found, key=lambda pc: (self.loaded.places[pc].line, pc))

    def address(self, text: str) -> int:
        """An address in memory: a number, a label of data, or one with an offset.

        Raises:
            InputError: it is none.
        """
        labels: Mapping[str, int] = self.loaded.data_labels
        found = _number(text) if text not in labels else labels[text]
        parts = _OFFSET.fullmatch(text)
        if found is None and parts is not None:
            base = labels.get(parts[1], _number(parts[1]))
            found = None if base is None else base + int(parts[2], 0)
        if found is None or not 0 <= found <= self.program.memory:
            expected = f"a label of data or a number up to {self.program.memory}, +N and -N behind it"
            raise InputError(f"'{text}': no address; expected {expected}", stage=STAGE)
        return found


def _run_begins(lines: list[tuple[tuple[str, int], int]], here: tuple[tuple[str, int], int]) -> int | None:
    """Where the last stretch of one line that is not ``here`` begins, if that is seen to begin in ``lines``."""
    last = len(lines) - 1
    while last >= 0 and lines[last] == here:
        last -= 1
    if last < 0:
        return None
    begin = last
    while begin and lines[begin - 1] == lines[last]:
        begin -= 1
    return begin or None


def _number(text: str) -> int | None:
    try:
        return int(text, 0)
    except ValueError:
        return None


def _shown(value: Value) -> str:
    return value.hex(" ") if isinstance(value, bytes) else str(value)
