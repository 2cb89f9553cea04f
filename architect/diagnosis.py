"""What the unpatched tree does, and what a repair of it must therefore show.

Owns the two values that pass between the diagnosis (``bench``), the loop and the workers. Runs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from architect.ladder import PLAIN, Probe
from architect.protocols import Case, GateResult
from architect.reporting import accusable
from architect.spectrum import telling
from architect.terms import QUICK, THOROUGH
from architect.verify import accused


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the unpatched tree does.

    Attributes:
        case: what is known of it.
        image_sha256: names its image; None when it does not assemble.
        reached: how far its boot came, 0 to 1.
        timeout: deadline of a candidate's boot, seconds, by the speed of this machine.
        boots: what the diagnosis took.
        incomplete: no boots or no time were left for some gates, so an empty ``case.failures`` proves nothing.
        probe: the cheapest boot in which it failed.
        proof: seconds that a finalist's gates may take, by what these took; 0 where that tells nothing.
        still: seconds after which a candidate that stands still counts as hung; 0 where nobody looks for that.
    """

    case: Case
    image_sha256: str | None = None
    reached: float = 0.0
    timeout: float = 0.0
    boots: int = 0
    incomplete: bool = False
    probe: Probe = PLAIN
    proof: float = 0.0
    still: float = 0.0

    def joined(self, other: Diagnosis) -> Diagnosis:
        """This and what ``other`` gates say of the same tree; the boot of whichever booted."""
        failures = in_order((*self.case.failures, *other.case.failures))
        main = other if other.case.boot is not None else self
        asked = in_order((*self.case.asked, *other.case.asked))
        if main.case.diagnostics:
            failures, asked = main.case.failures, main.case.asked
        proofs = (self.proof, other.proof)
        runs = self.case.runs or other.case.runs
        return replace(
            main,
            case=replace(main.case, failures=failures, runs=runs, asked=asked),
            timeout=max(self.timeout, other.timeout),
            boots=self.boots + other.boots,
            incomplete=self.incomplete or other.incomplete,
            proof=max(proofs) if main.case.diagnostics else sum(proofs),
            still=max(self.still, other.still),
        )


def in_order(gates: Sequence[GateResult]) -> tuple[GateResult, ...]:
    """Gates as they are asked, cheapest first, whoever asked them; those of other kinds of trees keep their order."""
    order = {name: number for number, name in enumerate(THOROUGH)}
    return tuple(sorted(gates, key=lambda gate: order.get(gate.gate, 0)))


@dataclass(frozen=True, slots=True)
class Demands:
    """What a candidate must show besides the quick gates, because the unpatched tree did not.

    Attributes:
        gates: those that it failed and that are not asked of every candidate.
        failing: all that it failed.
        reached: how far its boot came, 0 to 1.
        timeout: deadline of a candidate's boot, seconds.
        hangs: it ended at its deadline.
        several: no line was run by every failing call, but such as most calls run: there may be more than one bug,
            and a candidate that mends some of the broken contracts has come further.
        free: routines and files that the diagnosis accuses: what reports may be changed there alone.
        probe: the first boot of a candidate.
        still: seconds after which a candidate that stands still counts as hung.
    """

    gates: tuple[str, ...] = ()
    failing: tuple[GateResult, ...] = ()
    reached: float = 1.0
    timeout: float = 0.0
    hangs: bool = False
    several: bool = False
    free: tuple[str, ...] = ()
    probe: Probe = PLAIN
    still: float = 0.0

    @classmethod
    def of(cls, diagnosis: Diagnosis) -> Demands:
        """The demands on repairs of a diagnosed case."""
        failing = diagnosis.case.failures
        extra = tuple(gate.gate for gate in failing if gate.gate in THOROUGH and gate.gate not in QUICK)
        boot = diagnosis.case.boot
        hangs = boot is not None and boot.outcome in ("timeout", "silent")
        rows = [run.lines for run in diagnosis.case.runs if run.failed]
        several = bool(rows) and not telling(
            frozenset.intersection(*rows), [(run, run.lines) for run in diagnosis.case.runs]
        )
        free = accusable(diagnosis.case)
        return cls(
            extra,
            failing,
            diagnosis.reached,
            diagnosis.timeout,
            hangs,
            several,
            free,
            diagnosis.probe,
            diagnosis.still,
        )

    @property
    def contracts(self) -> tuple[str, ...]:
        """The routines whose contracts the unpatched kernel broke."""
        return accused([gate for gate in self.failing if gate.gate == "contract"])
