"""Several repairs that pass: how long others are looked for after the first, and which one is proposed.

Owns the choice where the judge is weak. A kernel that is judged by one line that it must say is easily satisfied: an
edit that takes a check away, or makes a loop end sooner, passes far oftener than it is right. Such an edit is doubted:
the bits of its doubts come on top of what it cost as a mistake. The order in which candidates are tried stays as it
is. Never judges whether a repair passes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from architect.protocols import Evaluation, Patch

UNDOUBTED_PART = (
    0.25  # of the proposals that are looked through, where what passed already gives no cause for doubt
)
SPARED = 0.3  # of the budget's time is kept for the proof


@dataclass(frozen=True, slots=True)
class Doubt:
    """Why a repair that passes may be none: a clause, and the bits that its passing is worth less."""

    bits: float
    why: str


@dataclass(frozen=True, slots=True)
class Choice:
    """How a repair is chosen.

    Attributes:
        further: proposals looked through after the first that passes, as long as all that pass are doubtful.
        doubts: what speaks against a repair that passes.
    """

    further: int = 0
    doubts: Callable[[Patch], Sequence[Doubt]] = lambda patch: ()

    def enough(self, passed: Sequence[Evaluation], since: int) -> bool:
        """Whether no more are looked for.

        Args:
            passed: what passed so far.
            since: proposals that were made after the first of them.
        """
        doubtful = all(self.doubts(evaluation.patch) for evaluation in passed)
        return since >= self.further * (1.0 if doubtful else UNDOUBTED_PART)

    def ranked(self, passed: Sequence[Evaluation]) -> list[Evaluation]:
        """One evaluation for each image, the likeliest repair first."""
        order = sorted(passed, key=lambda evaluation: self.price(evaluation.patch))
        kept: dict[object, Evaluation] = {}
        for evaluation in order:
            kept.setdefault(evaluation.image_sha256 or evaluation.patch.edits, evaluation)
        return list(kept.values())

    def price(self, patch: Patch) -> float:
        """How unlikely a repair that passes is the right one, in bits."""
        return patch.cost + sum(doubt.bits for doubt in self.doubts(patch))
