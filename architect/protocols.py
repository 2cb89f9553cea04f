"""The nouns and the five Protocols of the fix loop; every engine, store and gate is written against these.

``Engine`` proposes patches, ``Evaluator`` runs them through the gates on all cores, ``Verifier`` is the list of
gates, ``Workspace`` holds the sources in a copy, ``LessonStore`` remembers. Nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from toolchain.types import BootResult, Diagnostic, FaultReport, Image

if TYPE_CHECKING:
    from architect.coverage import Run


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace ``old`` by ``new`` at line ``line`` (1-based) of ``file``; an insertion has no ``old`` lines.

    Lines are without their newline. An edit applies only where ``old`` stands exactly.
    """

    file: str
    line: int
    old: tuple[str, ...]
    new: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Patch:
    """A candidate repair.

    Attributes:
        edits: applied together; line numbers are those of the case's sources.
        engine: who proposed it (``search``, ``lessons``, later ``llm``).
        operator: the edit operator or lesson, e.g. ``"shift-constant"``, ``"lesson:12:shift-constant"``.
        reason: one sentence for the person: the evidence that led here.
        cost: lower is tried sooner; deletions are penalised by their engine.
    """

    edits: tuple[Edit, ...]
    engine: str
    operator: str
    reason: str
    cost: float = 0.0


# The message of a gate that could not be asked because the boot limit was reached: no verdict on the candidate.
NO_BOOTS = "no boots are left for this gate"
# That of a proof that did not end within the budget: no verdict either, and no repair.
NO_TIME = "the proof on a fresh copy did not end within the budget"


@dataclass(frozen=True, slots=True)
class GateResult:
    """One verification gate on one candidate. ``evidence`` is JSON-able, for the report and the lesson."""

    gate: str
    passed: bool
    seconds: float
    message: str = ""
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What the gates said of one patch.

    ``progress`` orders failures: how far the candidate came (boot units reached, tests passed), so that an engine
    can build on the best partial result. ``boots`` counts the machines it took; a ``duplicate`` took none and
    repeats the verdict on an identical image. ``place`` is which proposal of the repair it was, from 1: unlike the
    number of candidates that ended by then, it does not depend on how fast the host is. 0 where nobody counted.
    ``took`` is what it took of its worker, in seconds, the building included.
    """

    patch: Patch
    gates: tuple[GateResult, ...]
    passed: bool
    progress: float
    booted: bool
    image_sha256: str | None = None
    duplicate: bool = False
    report: FaultReport | None = None
    boots: int = 0
    place: int = 0
    took: float = 0.0


@dataclass(frozen=True, slots=True)
class Case:
    """One kernel that does not work, and all that is known of why.

    Attributes:
        tree: the original kernel tree (read only).
        sources: file (relative to the tree) -> text, for the files that may be edited.
        image: the linked kernel, or None when it does not assemble.
        boot: the failing boot, or None when it does not assemble.
        report: the fault report of that boot, or None (no fault: a hang, failed tests, does not assemble).
        diagnostics: the assembler's errors, empty when it assembles.
        failures: the gates that the unpatched tree fails, cheapest first.
        baseline: source texts of the last good commit when the person named one, else empty.
        runs: which lines each contract executed, when the contract gate failed.
        asked: every gate that the unpatched tree was asked, passed ones too.
    """

    tree: Path
    sources: Mapping[str, str]
    image: Image | None
    boot: BootResult | None
    report: FaultReport | None
    diagnostics: tuple[Diagnostic, ...] = ()
    failures: tuple[GateResult, ...] = ()
    baseline: Mapping[str, str] = field(default_factory=dict)
    runs: tuple[Run, ...] = ()
    asked: tuple[GateResult, ...] = ()


@dataclass(frozen=True, slots=True)
class Signature:
    """The typed key of a lesson: what the failure looked like, free of addresses and line numbers."""

    outcome: str
    vector: int | None
    error_bits: tuple[str, ...]
    walk_level: str | None
    unit: str | None
    mnemonic: str | None
    routine: str | None
    rules: tuple[str, ...]
    failed_gate: str | None


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one repair taught: signature, cause in a sentence, the edit generalised, evidence, and its record.

    ``guards`` find its kind of mistake before a boot, as ``architect.learn.guards`` writes them.
    """

    id: int
    signature: Signature
    cause: str
    edit: Mapping[str, Any]
    evidence: Mapping[str, Any]
    helped: int = 0
    misled: int = 0
    guards: tuple[Mapping[str, Any], ...] = ()


class Engine(Protocol):
    """Proposes patches, likeliest first."""

    name: str

    def propose(self, case: Case) -> Iterator[Patch]:
        """Candidates in the order to try; lazily, the loop stops asking when its budget is spent."""

    def observe(self, evaluation: Evaluation) -> None:
        """What became of a proposal; later proposals may take it into account."""


class Workspace(Protocol):
    """The sources of one kernel tree in a copy that may be written."""

    tree: Path

    def sources(self) -> Mapping[str, str]:
        """File -> text of every source that may be edited."""

    def apply(self, patch: Patch) -> Mapping[str, str]:
        """The changed files only, file -> new text; raises ``InputError`` where an edit does not apply."""


class Evaluator(Protocol):
    """Runs patches through the gates, on this machine's cores or on others."""

    def evaluate(self, patches: Iterable[Patch]) -> Iterator[Evaluation]:
        """One evaluation per patch, as they finish; stops early when the budget is spent."""

    def close(self) -> None:
        """Ends workers and their QEMUs."""


class Verifier(Protocol):
    """The gates, cheapest first."""

    def verify(self, workspace: Workspace, patch: Patch) -> Evaluation:
        """Runs the gates until one fails."""

    def finalise(self, workspace: Workspace, patch: Patch) -> Sequence[GateResult]:
        """The gates of the finalist: ISO boot, and the whole again on a fresh copy."""


class LessonStore(Protocol):
    """Remembers repairs."""

    def recall(self, signature: Signature, limit: int = 5) -> Sequence[Lesson]:
        """The lessons nearest to the signature, best record first."""

    def record(
        self, signature: Signature, cause: str, edit: Mapping[str, Any], evidence: Mapping[str, Any]
    ) -> int:
        """Stores a lesson, returns its id; an equal one gains evidence instead."""

    def credit(self, lesson: int, *, helped: bool, run: str = "") -> None:
        """Counts one use of a lesson; of one ``run`` only once."""
