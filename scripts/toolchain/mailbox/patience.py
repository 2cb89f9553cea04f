"""How long the service looks before it sleeps: as long as looking pays.

Owns: that length. Looking spares the wake-up when the client runs on another processor and posts again soon. When the
two share one, the client cannot post while the service looks: then looking only keeps it waiting. Which of the two it
is shows in whether looking finds anything. Never looks or sleeps itself.
"""

from __future__ import annotations

BRIEF = 10e-6  # seconds: what is still looked where looking does not pay
FETCH = 200e-6  # seconds: what one call of ``Rings.fetch`` looks at most
AWAY = 1e-3  # seconds: a client that needed so long was not kept waiting by us
PROBE = 32  # of so many times that it did not pay, one is as long as it may be, to see whether it would


class Patience:
    """The length of the next look.

    Args:
        most: seconds, the longest.

    Attributes:
        seconds: the length.
    """

    def __init__(self, most: float) -> None:
        self.seconds = most
        self._most = most
        self._least = min(BRIEF, most)
        self._misses = 0

    @property
    def brief(self) -> bool:
        """Whether it is shorter than a call of ``Rings.fetch`` that is not brief."""
        return self.seconds < FETCH

    def found(self) -> None:
        """Something came while it was looked for."""
        self.seconds = self._most
        self._misses = 0

    def missed(self) -> None:
        """Nothing came: the next look is half as long, but for one that probes."""
        self._misses += 1
        probes = self._misses % PROBE == 0
        self.seconds = self._most if probes else max(self.seconds / 2, self._least)

    def slept(self, seconds: float) -> None:
        """A sleep has ended: whoever comes after a while may have more, and is looked for whole again."""
        if seconds >= AWAY:
            self.found()
