"""What ``pxos bench fix`` finds out about one bug, and under which terms.

Owns the values that pass between the repairs (``bench_fix``) and how they are told (``bench_told``). Runs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from architect import bench_rates
from architect.corpus import Bug
from architect.protocols import Lesson

if TYPE_CHECKING:
    from architect.model.ledger import Ledger
    from architect.model.settings import ModelSettings

BUDGET_SECONDS = 120.0
BOOTS_MAX = 4000


@dataclass(frozen=True, slots=True)
class Taught:
    """A lesson, and the bug whose repair taught it."""

    bug: str
    lesson: Lesson


@dataclass(frozen=True, slots=True)
class Terms:
    """Under which terms every bug is repaired.

    Attributes:
        engine: who proposes.
        seconds, max_boots: for each bug.
        model, ledger: the language model, if any.
        taught: lessons that are known before; those of the bug at hand are left out.
    """

    engine: str = "search"
    seconds: float = BUDGET_SECONDS
    max_boots: int = BOOTS_MAX
    model: ModelSettings | None = None
    ledger: Ledger | None = None
    taught: tuple[Taught, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one bug.

    Attributes:
        bug: of the corpus.
        outcome: of ``pxos fix``, or ``error``.
        reason: its sentence.
        plausible: a patch passed every gate.
        broken: the invariants that do not hold for it, a line each.
        before_boot: the planted bug is found without a boot.
        engine, operator, patch: whose repair it is, and the diff.
        candidates, boots, seconds, tokens: what it took.
        cpu_seconds: time on a processor of the repair with all that it started, QEMU too: what a machine that others
            load as well does not stretch.
        asked: the engine of the terms.
        money: what a model cost, as text; None where none was asked or its price is unknown.
        taken: what its candidates took of their workers, by what was asked of them.
        learnt: the lessons that it left behind.
        same_code: the patched tree is the sound one again, byte for byte of its image; None where nobody looked.
    """

    bug: Bug
    outcome: str
    reason: str
    plausible: bool = False
    broken: tuple[str, ...] = ()
    before_boot: bool = False
    engine: str | None = None
    operator: str | None = None
    patch: str | None = None
    candidates: int = 0
    boots: int = 0
    seconds: float = 0.0
    tokens: int = 0
    cpu_seconds: float = 0.0
    edits: int = field(default=0)
    asked: str = ""
    money: str | None = None
    taken: bench_rates.Seconds = field(default_factory=dict)
    learnt: tuple[Lesson, ...] = ()
    same_code: bool | None = None

    @property
    def correct(self) -> bool:
        """Plausible, and every invariant holds."""
        return self.plausible and not self.broken
