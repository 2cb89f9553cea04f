"""The one retry layer, and the circuit breaker: when a failed request is tried again, and when an endpoint is let be.

Owns waiting. Every wait lies within one total deadline, listens to ``cancelled`` and runs on the monotonic clock, so a
clock that jumps changes nothing. (The common libraries sleep uninterruptibly and know neither a server's
``Retry-After`` nor a deadline that the request itself shares; hence these few lines.) The SDK's own retries are off.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from architect.model.types import ModelError

Answer = TypeVar("Answer")
POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a failing endpoint is asked again.

    Attributes:
        first: seconds before the second attempt; each further wait is ``factor`` times as long, up to ``most``.
        factor: see there.
        most: see there.
        jitter: the share by which a wait varies, so that many clients do not come back at once.
        window: seconds after the first failure beyond which no attempt is begun.
    """

    first: float = 0.5
    factor: float = 2.0
    most: float = 15.0
    jitter: float = 0.25
    window: float = 45.0


@dataclass
class Clock:
    """Time and waiting, so that tests need neither."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random


def persevere(
    attempt: Callable[[], Answer],
    patience: Patience,
    deadline: float,
    cancelled: Callable[[], bool],
    clock: Clock,
    say: Callable[[str], None] = lambda text: None,
) -> Answer:
    """The answer of ``attempt``, tried again as long as its failure is one that passes.

    Args:
        attempt: raises ``ModelError``.
        patience: how long.
        deadline: on ``clock.now``; nothing is begun or waited for beyond it.
        cancelled: ends a wait.
        clock: time.
        say: gets a line before each wait.

    Raises:
        ModelError: the last failure; its message says how often it was tried.
    """
    began: float | None = None
    tries = 0
    while True:
        try:
            return attempt()
        except ModelError as error:
            tries += 1
            began = clock.now() if began is None else began
            end = min(deadline, began + patience.window)
            wait = _wait(error, tries, patience, clock)
            if not error.retryable or clock.now() + wait > end:
                raise _told(error, tries, wait, end - clock.now()) from error
            say(f"{error.message}; asking again in {wait:.1f} s")
            _pause(wait, cancelled, clock)


def _wait(error: ModelError, tries: int, patience: Patience, clock: Clock) -> float:
    wait = min(patience.most, patience.first * patience.factor ** (tries - 1))
    wait *= 1 + patience.jitter * (2 * clock.chance() - 1)
    # What a server says is the earliest time; one that says 0 and refuses again is not to be hammered.
    return max(wait, error.retry_after or 0.0)


def _told(error: ModelError, tries: int, wait: float, left: float) -> ModelError:
    if not error.retryable:
        return error
    if error.retry_after is not None and tries == 1:
        error.message += (
            f"; it asks to wait {wait:g} s, and no more than {max(left, 0):.0f} s are given to it"
        )
    else:
        error.message += f" (asked {tries} times)"
    return error


def _pause(seconds: float, cancelled: Callable[[], bool], clock: Clock) -> None:
    end = clock.now() + seconds
    while (left := end - clock.now()) > 0:
        if cancelled():
            raise ModelError("cancelled", "cancelled")
        clock.sleep(min(POLL_SECONDS, left))


@dataclass
class Breaker:
    """Lets an endpoint be that failed again and again.

    After ``threshold`` asks in a row that its failures ended, further ones fail at once for ``rest`` seconds; then one
    is let through, and decides.
    """

    threshold: int = 2
    rest: float = 30.0
    clock: Clock = field(default_factory=Clock)
    failures: int = 0
    _until: float = 0.0
    _last: ModelError | None = None

    def check(self) -> None:
        """Raises what the endpoint failed with last, while it is let be."""
        left = self._until - self.clock.now()
        if self._last is not None and self.failures >= self.threshold and left > 0:
            message = f"{self._last.message}; it is left alone for {left:.0f} s more"
            raise ModelError(message, "provider", code=self._last.code)

    def failed(self, error: ModelError) -> None:
        """An ask ended in a failure of the endpoint."""
        self.failures += 1
        self._last = error
        self._until = self.clock.now() + self.rest

    def worked(self) -> None:
        """An ask was answered."""
        self.failures, self._last = 0, None
