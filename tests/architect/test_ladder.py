"""The first boot of a candidate: which it is, when it has said enough, and that passing it proves nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from architect import claims, ladder
from architect.judge import Judge, Promise
from architect.ladder import Probe
from architect.protocols import NO_BOOTS, GateResult
from architect.terms import QUICK, Terms
from architect.verify import Trial
from toolchain import serial
from toolchain.rewind import Rewinder
from toolchain.types import BootConfig, BootResult, Image

EMPTY = Image(0, (), (), (), ())
TESTS = ("pages_map", "pages_split", "frames")
JUDGE = Judge((Promise("frames", ("ok",)), Promise("pages", ("ok",))), TESTS, {})
START, PAGES = "PXBOOT v1 frames start tsc=1", "PXBOOT v1 pages start tsc=3"
UNITS = (START, "PXBOOT v1 frames ok tsc=2", PAGES, "PXBOOT v1 pages ok tsc=4", "PXREADY v1 tsc=5")
FAULT = ("PXFAULT v1 begin", "scope=kernel", "vector=0xe", "rip=0x1000", "PXFAULT v1 end")


def text(*lines: str) -> str:
    return "".join(f"{line}\n" for line in lines)


def tap(**results: bool) -> tuple[str, ...]:
    rows = [f"{'ok' if good else 'not ok'} {n} {name}" for n, (name, good) in enumerate(results.items(), 1)]
    return ("KTAP version 1", f"1..{len(results)}", *rows)


def ended(outcome: Any, *lines: str) -> BootResult:
    log = serial.parse(text(*lines).encode())
    block = log.kernel_fault
    return BootResult(
        outcome=outcome, seconds=0.1, qemu_status=None, serial=log.text, units=tuple(log.units.values()),
        tests=log.tap.tests, kernel_fault=block.values if block else None, panic=None, qemu_log="", snapshot=None,
        command=(), log_dir=None, stderr_tail="", ready_tsc=log.ready,
    )  # fmt: skip


DIED = ended("fault", *UNITS[:3], *FAULT)
READY = ended("ready", *UNITS)
PASSED = ended("tests-passed", *UNITS, *tap(pages_map=True, pages_split=True, frames=True))
ONE_FAILED = ended("tests-failed", *UNITS, *tap(pages_map=True, pages_split=False, frames=True))
TWO_FAILED = ended("tests-failed", *UNITS, *tap(pages_map=False, pages_split=False, frames=True))
DIED_IN_TEST = ended("fault", *UNITS, *tap(pages_map=True), *FAULT)


@pytest.mark.parametrize(
    ("result", "failing", "cmdlines"),
    [
        (None, ["assembles"], []),
        (DIED, ["boot"], []),
        (PASSED, ["contract"], []),
        (PASSED, ["claims"], []),
        (ONE_FAILED, ["tests"], ["test=pages_split"]),
        (TWO_FAILED, ["tests"], ["test=pages_", "test=pages_map"]),
        (DIED_IN_TEST, ["boot"], ["test=pages_split"]),
    ],
)
def test_which_boots_may_show_it(result: BootResult | None, failing: list[str], cmdlines: list[str]) -> None:
    assert [probe.cmdline for probe in ladder.candidates(result, JUDGE, failing)] == cmdlines


def test_tests_that_have_nothing_in_common_are_not_asked_together() -> None:
    both = ended("tests-failed", *UNITS, *tap(pages_map=False, pages_split=True, frames=False))
    assert [probe.cmdline for probe in ladder.candidates(both, JUDGE, ["tests"])] == ["test=pages_map"]


def test_the_unpatched_kernel_failing_again_comes_as_far_as_before() -> None:
    for whole, again in (
        (ONE_FAILED, tap(pages_split=False)),
        (TWO_FAILED, tap(pages_map=False, pages_split=False)),
    ):
        (probe, *_) = ladder.candidates(whole, JUDGE, ["tests"])
        before = sum(whole.tests.values()) / (1 + len(TESTS))
        assert probe.progress(ended("tests-failed", *UNITS, *again).tests) == before
        better = {**dict.fromkeys(probe.runs, False), probe.runs[0]: True}
        assert probe.progress(better) > before


@pytest.mark.parametrize(
    ("probe", "reached", "lines", "outcome"),
    [
        (Probe(), 1 / 3, [*UNITS[:3], *FAULT], "fault"),
        (Probe(), 1 / 3, [*UNITS[:3], *FAULT[:-1]], None),
        (Probe(), 0.0, [*UNITS[:3], *FAULT], None),  # further than the unpatched kernel: looked at in full
        (Probe(), 1 / 3, [*UNITS[:3], "PXPANIC v1 no-memory none"], "panic"),
        (Probe(), 1 / 3, UNITS, None),
        (Probe("test=pages_split", ("pages_split",)), 1.0, [*UNITS, *tap(pages_split=False)], "tests-failed"),
        (Probe("test=pages_split", ("pages_split",)), 1.0, [*UNITS, *tap(pages_split=True)], None),
        (Probe("test=pages_", ("pages_map", "pages_split")), 1.0, [*UNITS, *tap(pages_map=False)], None),
    ],
)
def test_when_enough_was_said(probe: Probe, reached: float, lines: list[str], outcome: str | None) -> None:
    log = serial.SerialLog()
    log.feed(text(*lines).encode())
    assert probe.enough(JUDGE, reached)(log) == outcome


class Scripted(Trial):
    """A trial whose boots are written down, and whose claims and static gates hold."""

    script: list[BootResult]
    asked: list[str]
    false_claims = False

    def _started(self, what: str, enough: Any, **changes: Any) -> BootResult:
        self.boots += 1
        self.asked.append(f"{what} {changes.get('cmdline', '')}".strip())
        result = self.script.pop(0)
        self.taken.append(ladder.row(result, what, 0.1))
        return result

    def _measured(self, result: BootResult) -> GateResult:
        return GateResult("", not self.false_claims, 0.0, "BAR0 is elsewhere" if self.false_claims else "")

    def _checks(self) -> GateResult:
        return GateResult("checks", True, 0.0)

    def _contract(self) -> GateResult:
        return GateResult("contract", True, 0.0)


def trial(probe: Probe | None, *script: BootResult, boots: int = 5, reached: float = 1 / 3) -> Scripted:
    terms = Terms(QUICK, 1.0, boots, reached=reached, explain=False, probe=probe)
    made = Scripted(JUDGE, {}, EMPTY, Path("k.elf"), lambda: Path("k.iso"), Path(), Path(), terms)
    made.script, made.asked = list(script), []
    return made


def gates(of: Trial) -> dict[str, bool]:
    return {gate.gate: gate.passed for gate in of.gates}


def test_whoever_fails_as_before_takes_one_short_boot() -> None:
    of = trial(Probe(), DIED)
    assert not of.run() and of.asked == ["first"] and of.boots == 1
    assert gates(of) == {"checks": True, "contract": True, "boot": False}
    whole = trial(None, DIED)
    assert not whole.run() and whole.asked == ["tests test"] and whole.progress == of.progress
    (row,) = of.gates[-1].evidence["boots"]
    assert (row["what"], row["outcome"]) == ("first", "fault")


def test_whoever_passes_is_asked_everything_and_its_first_boot_is_looked_at() -> None:
    of = trial(Probe(), READY, PASSED)
    assert of.run() and of.asked == ["first", "tests test"]
    assert gates(of) == dict.fromkeys(QUICK, True)
    of = trial(Probe("test=pages_split", ("pages_split",), 2, 3), PASSED, PASSED, READY, reached=1.0)
    assert of.run() and of.asked == ["first test=pages_split", "tests test", "claims"]


@pytest.mark.parametrize("later", [DIED_IN_TEST, ONE_FAILED])
def test_the_first_boot_accepts_nothing(later: BootResult) -> None:
    of = trial(Probe(), READY, later)
    assert not of.run() and of.asked == ["first", "tests test"]
    of = trial(Probe(), READY, PASSED)
    of.false_claims = True
    assert not of.run() and of.gates[-1].gate == "claims"


def test_false_claims_are_seen_at_once_where_they_were_the_failure() -> None:
    of = trial(ladder.plain(["claims"]), READY)
    of.false_claims = True
    assert not of.run() and of.asked == ["first"] and gates(of)["claims"] is False
    late = trial(None, PASSED, READY)
    late.false_claims = True
    assert not late.run() and late.progress == of.progress


def test_a_test_that_fails_again_is_the_verdict_of_the_tests() -> None:
    whole = trial(None, ONE_FAILED, reached=1.0)
    assert not whole.run()
    of = trial(
        Probe("test=pages_split", ("pages_split",), 2, 3),
        ended("tests-failed", *UNITS, *tap(pages_split=False)),
    )
    assert not of.run() and gates(of) == {"checks": True, "contract": True, "tests": False}
    assert of.progress == whole.progress


def test_a_boot_that_is_not_granted_is_no_verdict() -> None:
    of = trial(Probe(), READY, boots=1)
    assert not of.run() and of.cut_short and of.gates[-1].message == NO_BOOTS


def test_a_diagnosis_tries_the_boot_that_it_chooses() -> None:
    again = ended("tests-failed", *UNITS, *tap(pages_split=False))
    fine = ended("tests-passed", *UNITS, *tap(pages_split=True))
    for answers, chosen in (([again], "test=pages_split"), ([fine], "")):
        of = trial(None, ONE_FAILED, *answers)
        of.run()
        assert of.probe(["tests"]).cmdline == chosen and of.boots == 2
    short = trial(None, ONE_FAILED, boots=1)
    short.run()
    assert short.probe(["tests"]).plain and short.boots == 1


def test_what_is_said_early_ends_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The way to QEMU: the first boot carries its question and may share a machine, others neither."""
    seen: list[tuple[str, bool, bool]] = []

    def boot(
        config: BootConfig, *, enough: Any = None, inspect: Any = None, rewinder: Any = None
    ) -> BootResult:
        seen.append((config.cmdline, enough is not None, rewinder is not None))
        return READY if not config.cmdline else PASSED

    monkeypatch.setattr("toolchain.qemu.boot", boot)
    monkeypatch.setattr(claims, "problem", lambda result, units: None)
    terms = Terms(("boot", "tests", "claims"), 1.0, 5, explain=False, probe=Probe())
    whole = (Path("k.elf"), lambda: Path("k.iso"), tmp_path, tmp_path, terms)
    assert Trial(JUDGE, {}, EMPTY, *whole, rewinder=Rewinder()).run()
    assert seen == [("", True, True), ("test", False, False)]
