"""One routine alone: whatever it calls is replaced by what that promises, so that nobody answers for another.

A whole that fails says little about which of its parts is wrong. The models that build on this (``*steps``) hold single
routines to their headers, with stand-ins below them; where one fails, it is that routine, not what it calls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from architect.contracts.model import Session
from toolchain.harness import BUFFER_BASE, Harness, Result

Answer = Callable[..., Mapping[str, int]]
FAILED: Mapping[str, int] = {"cf": 1}
DONE: Mapping[str, int] = {"cf": 0}


class Step(Session):
    """Calls of one routine.

    Attributes:
        asked: the stand-ins that were called, in order: name and the arguments that they take.
    """

    def __init__(self, harness: Harness, routine: str) -> None:
        super().__init__(harness)
        self.routine = routine
        self.asked: list[tuple[str | int, ...]] = []
        self._answers: dict[str, Answer | Mapping[str, int]] = {}

    def stand(self, routine: str, *takes: str, answer: Answer | Mapping[str, int] = DONE) -> None:
        """Replace a routine: its arguments are noted, and ``answer`` says what it leaves in registers and CF."""
        self._answers[routine] = answer

        def run(machine: Harness) -> None:
            values = tuple(machine.get(name) for name in takes)
            self.asked.append((routine, *values))
            said = self._answers[routine]
            for name, value in (said(*values) if callable(said) else said).items():
                if name == "cf":
                    machine.set_flag("cf", bool(value))
                else:
                    machine.set(name, value)

        self.harness.substitute(routine, run)

    def stand_fails(self, routine: str, error: int) -> None:
        """From now on a stand-in fails with an error code."""
        self._answers[routine] = {"rax": error, "cf": 1}

    def stand_says(self, routine: str, answer: Answer | Mapping[str, int]) -> None:
        """From now on a stand-in answers in another way."""
        self._answers[routine] = answer

    def run(self, promise: str, /, *, cf: int | None = None, want: Any = None, **given: int) -> Result:
        """Call it; what it leaves must be ``want`` (a mapping of registers, by any name) and ``cf``."""
        self.asked.clear()
        result = self.call(self.routine, limit=50_000, **given)
        if cf is not None:
            self.equal(result.flag("cf"), bool(cf), self.routine, promise, **given)
        for name, value in (want or {}).items():
            self.equal(result.value(name), value, self.routine, promise, **given, register=name)
        return result

    def same(self, got: object, expected: object, promise: str, **given: int) -> None:
        """Two values of any kind are equal; both go into the evidence."""
        if got != expected:
            self.fail(
                self.routine, promise, {**given, "got": repr(got)[:200], "expected": repr(expected)[:200]}
            )

    def were(self, expected: Sequence[tuple[str | int, ...]], promise: str, **given: int) -> None:
        """The stand-ins were called as they should be."""
        self.same(self.asked, list(expected), promise, **given)

    def put(self, place: str | int, data: bytes) -> None:
        """Bytes at a symbol or an address."""
        self.harness.write(self.harness.address(place) if isinstance(place, str) else place, data)

    def put64(self, place: str, value: int) -> None:
        """A quadword of the kernel."""
        self.harness.write_u64(self.harness.address(place), value)

    def put32(self, place: str, value: int) -> None:
        """A dword of the kernel."""
        self.put(place, (value & 0xFFFF_FFFF).to_bytes(4, "little"))

    def get64(self, place: str) -> int:
        """A quadword of the kernel."""
        return self.harness.read_u64(self.harness.address(place))

    def get32(self, place: str) -> int:
        """A dword of the kernel."""
        return self.harness.read_u32(self.harness.address(place))

    def at(self, symbol: str, offset: int = 0) -> int:
        """An address."""
        return self.harness.address(symbol) + offset


BUFFER = BUFFER_BASE
