"""One piece of evidence: a distribution over source lines, how far it is to be trusted, and why."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from architect.slicing import Key


@dataclass(frozen=True, slots=True)
class Evidence:
    """One piece.

    Attributes:
        kind: pieces of one kind say the same thing in several ways: the strongest counts, not their sum.
        trust: how many bits it moves the line that it names first.
        reason: why, a clause for the report.
        lines: what it names, with shares; only their proportion counts.
    """

    kind: str
    trust: float
    reason: str
    lines: Mapping[Key, float]
