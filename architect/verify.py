"""The gates, cheapest first: one linked kernel is tried until a gate says no.

Owns what each gate asks of the stages below (checks, contracts, boot, claims) and how far a kernel came. The judge,
the headers and QEMU's arguments are given; the kernel on trial supplies nothing but its image.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect import brief, claims, ladder
from architect.judge import Judge
from architect.ladder import FIRST, PLAIN_SHARE, Probe
from architect.protocols import NO_BOOTS, GateResult
from architect.terms import (
    BOOTING,
    ISO_TIMEOUT_FACTOR,
    MACHINES,
    NEED_READY,
    PATIENCE_FACTOR,
    THOROUGH,
    UEFI,
    UEFI_TIMEOUT_FACTOR,
    WHOLE_FACTOR,
    Terms,
)
from toolchain.errors import InputError
from toolchain.headers import Routine
from toolchain.types import BootConfig, BootResult, FaultReport, Image

if TYPE_CHECKING:
    from architect.contracts import Asked, Violation
    from toolchain.qemu import Enough
    from toolchain.rewind import Rewinder


@dataclass
class Trial:
    """One kernel on trial.

    Args:
        judge: the baseline.
        headers: what each routine promises, from the original tree.
        image: the linked kernel.
        elf: its file.
        iso: makes the ISO of it, when a gate asks for one.
        folder: where its logs go.
        tree: sources for the fault report's excerpts.
        terms: which gates, how long, how many boots.

    Attributes:
        lined: makes the same image with its lines, where ``image`` has none: few candidates are told about by them.
        rewinder: has a machine for the first boot of a candidate; what proves a repair boots in a QEMU of its own.
    """

    judge: Judge
    headers: Mapping[str, Routine]
    image: Image
    elf: Path
    iso: Callable[[], Path]
    folder: Path
    tree: Path
    terms: Terms
    gates: list[GateResult] = field(default_factory=list)
    boots: int = 0
    cut_short: bool = False
    progress: float = 0.0
    result: BootResult | None = None
    ready: BootResult | None = None  # a first boot that was looked at when it was ready
    report: FaultReport | None = None
    lined: Callable[[], Image] | None = None
    rewinder: Rewinder | None = None
    taken: list[dict[str, Any]] = field(
        default_factory=list
    )  # boots of the gate that is asked, for its evidence

    def run(self, *, stop: bool = True) -> bool:
        """Through the gates until one fails (or through all of them); whether all passed."""
        for name in self.terms.gates:
            if name in BOOTING and self.boots >= self.terms.boots:
                self.gates.append(GateResult(name, False, 0.0, NO_BOOTS))
                self.cut_short = True
            elif name in NEED_READY and not self._came_up():
                continue
            else:
                self.gates.append(self._gate(name))
            if not self.gates[-1].passed and stop:
                break
        failed = [
            n for n, name in enumerate(THOROUGH) if any(g.gate == name and not g.passed for g in self.gates)
        ]
        self.progress += 1 + (failed[0] if failed else len(THOROUGH))
        return not failed

    def probe(self, failing: Sequence[str]) -> Probe:
        """The cheapest boot in which this kernel fails as it did in the gates ``failing``.

        Where that is one with some of the in-kernel tests it is tried on it, which takes a boot or two.
        """
        for probe in ladder.candidates(self.result, self.judge, failing):
            if self.boots >= self.terms.boots:
                break
            result = self._booted(FIRST, cmdline=probe.cmdline)
            if result.outcome not in ("tests-passed", "qemu-died"):
                return probe
        return ladder.plain(failing)

    def _came_up(self) -> bool:
        """Whether the first boot, if it was asked for, reached the tests: the gates behind it need that."""
        return all(gate.passed for gate in self.gates if gate.gate == "boot")

    def _gate(self, name: str) -> GateResult:
        began = time.perf_counter()
        own = f"_{name.replace('-', '_')}"
        self.taken = []
        gate = self._machine(name) if name in MACHINES else getattr(self, own)()
        gate = ladder.told(gate, self.taken)
        return replace(gate, gate=gate.gate or name, seconds=time.perf_counter() - began)

    def _checks(self) -> GateResult:
        from architect import checks

        found = checks.run(self.image, self.judge.sources, self.terms.routines)
        if found.passed or self.lined is None:
            return found
        self._take_lines()
        return checks.run(self.image, self.judge.sources, self.terms.routines)

    def _take_lines(self) -> None:
        if self.lined is not None:
            self.image, self.lined = self.lined(), None

    def _contract(self) -> GateResult:
        if not self.terms.explain:
            return broken(self.image, self.headers, self.terms.routines, self.terms.files)
        from architect import contracts

        try:
            found = contracts.violations(self.image, self.headers, self.terms.routines)
        except InputError as error:  # a kernel so odd that the harness cannot even set the call up
            return GateResult("contract", False, 0.0, error.message)
        return _contract(found)

    def _boot(self) -> GateResult:
        """Units, PXREADY and the in-kernel tests, in one; before it the first boot of a candidate."""
        if self.terms.probe is not None:
            refused = self._first(self.terms.probe)
            if refused is not None:
                return refused
            if self.boots >= self.terms.boots:
                self.cut_short = True
                return GateResult("boot", False, 0.0, NO_BOOTS)
        return self._came(self._patiently("tests", self.terms.timeout, cmdline="test"))

    def _came(self, result: BootResult) -> GateResult:
        """How far a boot came, with or without tests."""
        self.result = result
        problem = None
        if result.outcome not in ("tests-passed", "tests-failed", "ready"):
            problem = self._death(result)
        problem = problem or self.judge.boot_problem(result.serial)
        if problem:
            self.progress = self.judge.reached(result.serial)
        return GateResult("boot", problem is None, 0.0, problem or "", _evidence(result))

    def _first(self, probe: Probe) -> GateResult | None:
        """Why the first boot refuses a candidate, or None."""
        enough = probe.enough(self.judge, self.terms.reached)
        silence = self.terms.timeout * (PLAIN_SHARE if probe.plain else 1.0)
        result = self._patiently(
            FIRST, silence, cmdline=probe.cmdline, inspect_ready=probe.plain, enough=enough
        )
        came = self._came(result)
        if not came.passed:
            return came
        if probe.plain:
            self.ready = result
            measured = replace(self._measured(result), gate="claims")
            return measured if probe.claims and not measured.passed else None
        refused = probe.refusal(result)
        if refused is not None:
            self.progress = probe.progress(result.tests)
        return refused

    def _patiently(self, what: str, silence: float, **changes: Any) -> BootResult:
        """A boot, and another with a longer deadline where it was cut short and promising."""
        result = self._booted(what, stall=silence, **changes)
        reached = self.judge.reached(result.serial)
        if result.outcome == "timeout" and self._promising(reached) and self.boots < self.terms.boots:
            result = self._booted(what, **{**changes, "stall": self.terms.timeout * PATIENCE_FACTOR})
        return result

    def _promising(self, reached: float) -> bool:
        """Whether a boot that was cut short came further than the unpatched kernel: it may be slow, and right."""
        return reached > self.terms.reached or (reached == 1.0 and not self.terms.hangs)

    def _tests(self) -> GateResult:
        assert self.result is not None
        tests = self.result.tests
        problem = self.judge.tests_problem(self.result.serial)
        if problem is None and self.result.outcome != "tests-passed":
            problem = f"the boot with tests ended as {self.result.outcome}"
        if problem:
            self.progress = sum(tests.values()) / (1 + max(len(tests), len(self.judge.tests)))
        failed = [name for name, passed in tests.items() if not passed]
        return GateResult(
            "tests", problem is None, 0.0, problem or "", {"tests": len(tests), "failed": failed}
        )

    def _claims(self) -> GateResult:
        """What the kernel says at PXREADY, measured from outside, in a boot without tests."""
        return self._measured(self.ready or self._booted("claims", inspect_ready=True))

    def _measured(self, result: BootResult) -> GateResult:
        problem = None if result.outcome == "ready" else self._death(result)
        problem = (
            problem or self.judge.boot_problem(result.serial) or claims.problem(result, self.judge.units)
        )
        return GateResult("", problem is None, 0.0, problem or "", _evidence(result))

    def _iso(self) -> GateResult:
        """The whole way that a person's machine takes: GRUB from the ISO."""
        timeout = self.terms.timeout * ISO_TIMEOUT_FACTOR
        result = self._booted("iso", image=self.iso(), path="iso", cmdline="test", stall=timeout)
        return self._whole(result)

    def _iso_uefi(self) -> GateResult:
        timeout = self.terms.timeout * UEFI_TIMEOUT_FACTOR
        changes: dict[str, Any] = {"path": "iso", "firmware": "uefi", "cmdline": "test", "stall": timeout}
        return self._whole(self._booted(UEFI, image=self.iso(), **changes))

    def _machine(self, name: str) -> GateResult:
        options = MACHINES[name]
        if options.get("inspect_ready"):
            return self._measured(self._booted(name, **options))
        return self._whole(self._booted(name, cmdline="test", **options))

    def _whole(self, result: BootResult) -> GateResult:
        problem = None if result.outcome == "tests-passed" else self._death(result)
        problem = problem or self.judge.boot_problem(result.serial) or self.judge.tests_problem(result.serial)
        return GateResult("", problem is None, 0.0, problem or "", _evidence(result))

    def _booted(self, what: str, enough: Enough | None = None, **changes: Any) -> BootResult:
        result = self._started(what, enough, **changes)
        if result.outcome == "qemu-died" and self.boots < self.terms.boots:
            self.rewinder = None
            result = self._started(what, enough, **changes)  # somebody ended it; if it was the kernel, again
        return result

    def _started(self, what: str, enough: Enough | None, **changes: Any) -> BootResult:
        from toolchain import qemu

        began = time.perf_counter()
        self.boots += 1
        config = BootConfig(
            image=self.elf, stall=self.terms.timeout, log_dir=self.folder / f"boot{self.boots}"
        )
        config = replace(config, **changes)
        assert config.stall is not None
        config = replace(config, timeout=WHOLE_FACTOR * config.stall)
        rewinder = self.rewinder if what == FIRST else None
        result = qemu.boot(config, enough=enough, inspect=self._explained, rewinder=rewinder)
        self.taken.append(ladder.row(result, what, time.perf_counter() - began))
        return result

    def _explained(self, serial: str) -> bool:
        """Whether a death is told in full: then the machine is looked at as it stands."""
        return self.terms.explain or self.judge.reached(serial) > self.terms.reached

    def _death(self, result: BootResult) -> str:
        """Why a boot ended as it did, in a sentence; keeps the fault report of the first one."""
        if self._explained(result.serial):
            from toolchain import fault  # with what it imports half a second of a worker that never needs it
            from toolchain.symbols import SymbolTable

            self._take_lines()
            report = fault.analyse(result, SymbolTable(self.image), self.tree)
        else:
            report = brief.report(result, self.image)
        self.report = self.report or report
        if report is not None:
            return report.cause
        units = [unit.name for unit in result.units if unit.state in ("start", "fail")]
        return f"the boot ended as {result.outcome}" + (f" in unit {units[-1]}" if units else "")


def broken(
    image: Image,
    headers: Mapping[str, Routine],
    names: Collection[str] | None,
    files: Collection[str] = (),
    asked: Asked | None = None,
    *,
    every: bool = False,
) -> GateResult:
    """The contract gate up to the first violation; arguments as for ``contracts.first``.

    With ``every`` the evidence tells what share of the promises that the unpatched kernel broke is kept
    (``share``, below 1), and which (``kept``).
    """
    from architect import contracts

    try:
        if every and asked is not None:
            found, kept = contracts.mended(image, headers, names, asked)
            gate = _contract(found[:1])
            share = len(kept) / (len(kept) + len(found) + 1)
            return replace(gate, evidence={**gate.evidence, "share": share, "kept": kept})
        one = contracts.first(image, headers, names, files, asked)
    except InputError as error:
        return GateResult("contract", False, 0.0, error.message)
    return _contract([] if one is None else [one])


def _contract(found: Sequence[Violation]) -> GateResult:
    rows = [{"routine": v.routine, "promise": v.promise, "call": dict(v.call)} for v in found]
    message = f"{found[0].routine}: {found[0].promise}" if found else ""
    routine = {"routine": found[0].routine} if found else {}
    return GateResult("contract", not found, 0.0, message, {"violations": rows, **routine})


def _evidence(result: BootResult) -> dict[str, Any]:
    units = {unit.name: unit.state for unit in result.units}
    return {"outcome": result.outcome, "seconds": round(result.seconds, 4), "units": units}


def accused(failing: Sequence[GateResult]) -> tuple[str, ...]:
    """The routines that broke a promise, or that a check found wrong."""
    rows = [
        row for gate in failing for key in ("violations", "findings") for row in gate.evidence.get(key, ())
    ]
    return tuple(dict.fromkeys(row["routine"] for row in rows if row["routine"]))
