"""The first boot of a candidate: the cheapest one in which the unpatched kernel failed as it did.

Owns what that boot is (``Probe``), when it has said enough, and what its result means. What passes it is asked
everything else as before, so a first boot refuses and never accepts. Never boots by itself: ``verify.Trial`` does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from architect.judge import Judge
from architect.protocols import GateResult
from toolchain.serial import SerialLog
from toolchain.types import BootResult, OutcomeName

# Of the silence that is allowed in the in-kernel tests: those take eight boots of an empty kernel without a line, the
# boot units all together less than one.
PLAIN_SHARE = 0.4
FIRST = "first"  # what a gate's evidence calls such a boot
_WORD = "test="


@dataclass(frozen=True, slots=True)
class Probe:
    """The first boot that is asked of every candidate.

    Attributes:
        cmdline: nothing for the boot units alone, else ``test=NAME``.
        runs: the tests that this runs, as far as the unpatched kernel came to them.
        passed: how many of the others the unpatched kernel passes, in a boot with all tests.
        known: how many tests there are; both for the progress of who fails here.
        claims: what is measured from outside at PXREADY is judged at once, for there it failed.
    """

    cmdline: str = ""
    runs: tuple[str, ...] = ()
    passed: int = 0
    known: int = 0
    claims: bool = False

    @property
    def plain(self) -> bool:
        """Whether it runs no in-kernel test: it may then be looked at when it is ready."""
        return not self.cmdline

    def enough(self, judge: Judge, reached: float) -> Callable[[SerialLog], OutcomeName | None]:
        """How such a boot has ended, as soon as its log tells that this candidate is refused.

        Args:
            judge: the baseline.
            reached: how far the unpatched kernel came: what comes further is looked at in full.
        """

        def ended(log: SerialLog) -> OutcomeName | None:
            block = log.kernel_fault
            died: OutcomeName | None = "fault" if block is not None and block.complete else None
            died = died or ("panic" if log.panic is not None else None)
            if died is not None:
                return died if judge.reached(log.text) <= reached else None
            if len(self.runs) == 1 and any(result.verdict == "fail" for result in log.tap.results):
                return "tests-failed"
            return None

        return ended

    def refusal(self, result: BootResult) -> GateResult | None:
        """What the tests of this boot say against the candidate, or None; for a boot that came to its end."""
        if self.plain or result.outcome == "tests-passed":
            return None
        failed = [name for name, passed in result.tests.items() if not passed]
        what = f"{', '.join(failed[:4])} failed" if failed else f"the boot with {self.cmdline} said nothing"
        return GateResult("tests", False, 0.0, what, {"tests": len(result.tests), "failed": failed})

    def progress(self, tests: Mapping[str, bool]) -> float:
        """The share of all in-kernel tests that would pass, as after a boot with all of them."""
        return (self.passed + sum(tests.values())) / (1 + self.known)


PLAIN = Probe()


def candidates(result: BootResult | None, judge: Judge, failing: Sequence[str]) -> tuple[Probe, ...]:
    """First boots that may show the failure of an unpatched kernel, for who tries them on it; the best first.

    Args:
        result: its boot with all in-kernel tests.
        judge: the baseline.
        failing: the gates that it failed.
    """
    if result is None or judge.reached(result.serial) < 1.0:
        return ()
    tests = result.tests
    failed = tuple(name for name, passed in tests.items() if not passed)
    known = max(len(tests), len(judge.tests))
    if failed:
        words = [_common(failed), failed[0]]
    elif "boot" in failing:  # it died in a test: in the one behind the last that ended
        words = [_behind(tuple(tests), judge.tests)]
    else:
        return ()
    found = []
    for word in dict.fromkeys(words):
        if word and not any(sign.isspace() for sign in word):
            runs = tuple(name for name in tests if name.startswith(word))
            passed = sum(ok for name, ok in tests.items() if not name.startswith(word))
            found.append(Probe(_WORD + word, runs, passed, known))
    return tuple(found)


def plain(failing: Sequence[str]) -> Probe:
    """The boot units alone, and what is measured behind them where the unpatched kernel failed that first."""
    return Probe(claims="claims" in failing and "boot" not in failing and "tests" not in failing)


def row(result: BootResult, what: str, seconds: float) -> dict[str, Any]:
    """A boot of a candidate as its gate's evidence lists it; ``seconds`` with start and end of the machine."""
    return {"what": what, "outcome": result.outcome, "seconds": round(seconds, 4)}


def _common(names: Sequence[str]) -> str:
    """What all of some names begin with."""
    first, last = min(names), max(names)
    return next((first[:at] for at, sign in enumerate(first) if last[at : at + 1] != sign), first)


def _behind(ended: Sequence[str], declared: Sequence[str]) -> str:
    """The test that follows the last one that ended, where tests run in the order of their declaration."""
    if not ended:
        return declared[0] if declared else ""
    if ended[-1] not in declared:
        return ""
    after = declared[declared.index(ended[-1]) + 1 :]
    return after[0] if after else ""


def told(gate: GateResult, boots: Sequence[Mapping[str, Any]]) -> GateResult:
    """A gate with the boots that it took in its evidence."""
    return (
        replace(gate, evidence={**gate.evidence, "boots": [dict(boot) for boot in boots]}) if boots else gate
    )
