"""The budgets of a model: tokens, money and time, reserved before a request is sent.

Owns the rule that no budget is overrun: the most that a request can cost (an upper bound of its prompt, and the whole
answer that it may have) is set aside first; where that does not fit, nothing is sent. Never sends and never waits.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal

from architect.model.types import STAGE, Endpoint, ModelError, Usage
from toolchain.errors import InputError

MILLION = Decimal(1_000_000)


@dataclass(frozen=True, slots=True)
class Reservation:
    """What was set aside for one request."""

    tokens: int
    money: Decimal


@dataclass
class Ledger:
    """What may be spent on a model, and what was.

    Args:
        tokens_max: tokens in both directions together, or None for no limit.
        money_max: money, in the currency of the prices, or None.
        price_in: money per million prompt tokens, or None when it is not known.
        price_out: money per million tokens of the answer, or None.
        seconds_left: what is left of the run's time (tests and runs put their own).

    Attributes:
        prompt, completion: tokens spent.
        estimated: how many of them were not counted by the server but bounded by us.
        money: spent; None where the prices are not known.
        requests: that came to an end, well or badly.

    Raises:
        InputError: a money budget without prices.
    """

    tokens_max: int | None = None
    money_max: Decimal | None = None
    price_in: Decimal | None = None
    price_out: Decimal | None = None
    seconds_left: Callable[[], float] = lambda: math.inf
    prompt: int = 0
    completion: int = 0
    estimated: int = 0
    requests: int = 0
    _spent: Decimal = Decimal(0)
    _held: list[Reservation] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        if self.money_max is not None and (self.price_in is None or self.price_out is None):
            raise InputError(
                "a budget of money needs the model's prices: give --model-price IN,OUT (money per million tokens; "
                "0,0 for a model of your own)",
                stage=STAGE,
            )

    @classmethod
    def of(
        cls, endpoint: Endpoint, tokens_max: int | None = None, money_max: Decimal | None = None
    ) -> Ledger:
        """A ledger with the endpoint's prices."""
        return cls(tokens_max, money_max, endpoint.price_in, endpoint.price_out)

    @property
    def tokens(self) -> int:
        """Tokens spent, both directions."""
        return self.prompt + self.completion

    @property
    def money(self) -> Decimal | None:
        """Money spent; None where the prices are not known."""
        return None if self.price_in is None or self.price_out is None else self._spent

    def price(self, prompt: int, completion: int) -> Decimal:
        """What so many tokens cost; 0 where the prices are not known."""
        if self.price_in is None or self.price_out is None:
            return Decimal(0)
        return (prompt * self.price_in + completion * self.price_out) / MILLION

    def left(self) -> int | None:
        """Tokens that may still be reserved, or None for no limit."""
        if self.tokens_max is None:
            return None
        return max(0, self.tokens_max - self.tokens - sum(r.tokens for r in self._held))

    def reserve(self, prompt: int, completion: int) -> Reservation:
        """Set aside the most that a request can cost; ``settle`` must follow.

        Raises:
            ModelError: ``limit``: it does not fit into what is left.
        """
        wanted = Reservation(prompt + completion, self.price(prompt, completion))
        with self._lock:
            left = self.left()
            if left is not None and wanted.tokens > left:
                raise ModelError(
                    f"the budget of {self.tokens_max} tokens is spent: {left} are left, and the next request may "
                    f"take {wanted.tokens} ({prompt} to send, {completion} to answer); "
                    "give more with --max-tokens-total",
                    "limit",
                )
            spent = self._spent + sum((r.money for r in self._held), Decimal(0))
            if self.money_max is not None and spent + wanted.money > self.money_max:
                raise ModelError(
                    f"the budget of {self.money_max:f} (money) is spent: {spent:f} is gone or reserved, and the next "
                    f"request may cost {wanted.money:f}; give more with --max-money",
                    "limit",
                )
            if self.seconds_left() <= 0:
                raise ModelError("no time is left for the model", "limit")
            self._held.append(wanted)
        return wanted

    def settle(self, held: Reservation, usage: Usage | None) -> Decimal | None:
        """Turn a reservation into what the request took; None took nothing. The money it cost, where known."""
        with self._lock:
            self._held.remove(held)
            if usage is None:
                return self.price(0, 0) if self.money is not None else None
            return self._add(usage)

    def restore(self, prompt: int, completion: int, requests: int = 0) -> None:
        """What an interrupted run spent before: it counts."""
        with self._lock:
            self._add(Usage(prompt, completion))
            self.requests += requests - 1

    def _add(self, usage: Usage) -> Decimal | None:
        self.requests += 1
        self.prompt += usage.prompt
        self.completion += usage.completion
        self.estimated += usage.total if usage.estimated else 0
        cost = self.price(usage.prompt, usage.completion)
        self._spent += cost
        return cost if self.money is not None else None
