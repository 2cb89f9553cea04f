"""What a repair may cost: seconds, boots, candidates, and when it is spent.

Owns the counters of one ``pxos fix`` run. Never boots and never waits. Boots are granted before they happen and
given back when they did not, so that a limit holds however many workers run.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

PROOF_SHARE = 0.5  # the most of what the diagnosis leaves that is kept for the finalist's gates


@dataclass
class Budget:
    """The limits of one run and what has been spent.

    Attributes:
        seconds: wall time that the run may take.
        max_boots: boots that the run may make, those of an earlier, killed run included.
        reserve: boots kept back for the finalist's gates.
        reserve_seconds: wall time kept back for them, once the diagnosis has told how long they take.
        clock: seconds that never go back (tests put their own).
        starved: a candidate came to a gate for which no boot was left.
        earlier_seconds: wall time of the killed runs that this one resumes; it counts.
    """

    seconds: float
    max_boots: int
    reserve: int = 0
    clock: Callable[[], float] = time.monotonic
    boots: int = 0
    candidates: int = 0
    granted: int = 0
    earlier_seconds: float = 0.0
    starved: bool = False
    reserve_seconds: float = 0.0
    _began: float = field(init=False)

    def __post_init__(self) -> None:
        self._began = self.clock()

    def elapsed(self) -> float:
        """Wall seconds of this run."""
        return self.clock() - self._began

    def total_seconds(self) -> float:
        """Wall seconds of this run and of the killed ones that it resumed."""
        return self.earlier_seconds + self.elapsed()

    def seconds_left(self, *, final: bool = False) -> float:
        """Wall seconds left for candidates, never negative; ``final`` opens the finalist's reserve."""
        kept = 0.0 if final else self.reserve_seconds
        return max(0.0, self.seconds - kept - self.total_seconds())

    def keep_for_proof(self, seconds: float) -> None:
        """Keep ``seconds`` of what is left for the finalist's gates, and no more than half of it.

        Where half does not suffice a proof may stay unfinished; without a candidate there is none to begin.
        """
        self.reserve_seconds = min(seconds, PROOF_SHARE * self.seconds_left(final=True))

    def boots_left(self, *, final: bool = False) -> int:
        """Boots that may still be granted; ``final`` opens the finalist's reserve."""
        kept = 0 if final else self.reserve
        return max(0, self.max_boots - kept - self.boots - self.granted)

    def grant(self, wanted: int, *, final: bool = False) -> int:
        """Set aside up to ``wanted`` boots; ``settle`` must follow."""
        given = min(wanted, self.boots_left(final=final))
        self.granted += given
        return given

    def settle(self, given: int, used: int) -> None:
        """Turn a grant into what it really took."""
        self.granted -= given
        self.boots += used

    def spent(self) -> str | None:
        """Why no further candidate may be tried, or None."""
        if self.seconds_left() <= 0:
            left = self.seconds_left(final=True)
            kept = f" ({self.reserve_seconds:.1f} s kept for the last proof)" if left else ""
            return f"the budget of {self.seconds:g} s is spent{kept}"
        # What fails before its first boot can be told without one.
        return self.booted_out() if self.starved else None

    def booted_out(self) -> str | None:
        """That no boot is left for a candidate, or None."""
        if self.boots_left() + self.granted > 0:
            return None
        kept = f" ({self.reserve} kept for the final gates)" if self.reserve else ""
        return f"the limit of {self.max_boots} boots is reached{kept}"

    def open_reserve(self) -> bool:
        """Give candidates the boots kept for a finalist when one could not be proved with them; whether that is so."""
        if self.max_boots - self.boots - self.granted > self.reserve:
            return False
        self.reserve = 0
        return True
