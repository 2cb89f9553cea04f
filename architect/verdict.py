"""How a repair ended: the value that the loop returns and every report is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from architect.protocols import Case, Evaluation, GateResult, Patch


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a repair ended.

    Attributes:
        outcome: ``healthy`` (nothing was wrong), ``fixed``, ``not-fixed`` (every proposal was tried), ``budget``.
        reason: one sentence for the person.
        case: what was wrong.
        patch: the proved, minimised patch, or None.
        gates: the finalist's gates, on a fresh copy.
        best: the candidate that came furthest.
        tried: engine -> candidates of it.
        boots: machines booted, those of a killed run that was resumed included.
        candidates: patches evaluated, those included.
        seconds: wall time.
        tokens: of language models.
        lesson: the lesson recorded or confirmed.
        place: which proposal of the repair the patch was, from 1; None without one.
        ended: what ended a run without a repair: ``limit``, ``tests`` (the gates refused every proposal),
            ``no-proposal``, or of a model alone ``provider``, ``format``, ``refused``, ``context``; None for success.
        doubts: what speaks against the patch although it passes.
        alternatives: what else passed the gates of a candidate; none was proved.
        model: what a language model took and how it ended (``LlmEngine.summary``), or None.
    """

    outcome: Literal["healthy", "fixed", "not-fixed", "budget"]
    reason: str
    case: Case
    patch: Patch | None = None
    gates: tuple[GateResult, ...] = ()
    best: Evaluation | None = None
    tried: Mapping[str, int] = field(default_factory=dict)
    boots: int = 0
    candidates: int = 0
    seconds: float = 0.0
    tokens: int = 0
    lesson: int | None = None
    place: int | None = None
    ended: str | None = None
    doubts: tuple[str, ...] = ()
    alternatives: tuple[Patch, ...] = ()
    model: Mapping[str, Any] | None = None
