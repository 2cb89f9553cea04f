"""Whether a machine stands still: nothing it does can change anything any more, so that no deadline is waited for.

Owns the comparison of one look with the next. A processor that is halted and gets no interrupt stands still, and so
does one that runs through a loop in which no register changes. Both may end by themselves (a clock of one second, a
slow device), so that it takes a while before anybody is sure, and the longest stillness that did end is told. Never
talks to QEMU, and never counts time in which the host had no core for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from toolchain.headers import GENERAL


@dataclass(frozen=True, slots=True)
class Look:
    """A machine at one moment.

    Attributes:
        registers: of its only processor, as ``qemulog.parse_registers`` names them.
        halted: the processor waits for an interrupt.
        said: grows with all that it says and with every interrupt that is delivered.
        at: seconds by the monotonic clock.
        ran: seconds that its busiest thread was on a core of the host.
        starved: seconds that a thread of it was ready to run and had none.
    """

    registers: Mapping[str, int]
    halted: bool
    said: int
    at: float
    ran: float
    starved: float

    def same(self, other: Look) -> bool:
        """Whether nothing that counts has changed since."""
        names = (*GENERAL, "rip") if self.halted else GENERAL  # a loop that gets nowhere moves RIP alone
        return (self.halted, self.said) == (other.halted, other.said) and all(
            self.registers.get(name) == other.registers.get(name) for name in names
        )


class Stillness:
    """The looks at one machine, one after another.

    Attributes:
        seconds: how long it has stood still by now, in seconds.
        longest: the longest stillness that ended.
    """

    def __init__(self) -> None:
        self._first: Look | None = None
        self.seconds = 0.0
        self.longest = 0.0

    def look(self, now: Look) -> float:
        """Take one more look; returns ``seconds``."""
        first = self._first
        if first is None or not first.registers or not now.same(first):
            self.longest = max(self.longest, self.seconds)
            self._first, self.seconds = now, 0.0
        elif now.halted:
            self.seconds = max(0.0, now.at - first.at - (now.starved - first.starved))
        else:
            self.seconds = now.ran - first.ran
        return self.seconds
