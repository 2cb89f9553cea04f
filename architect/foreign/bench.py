"""The service of a worker for a foreign tree: candidates built and booted in the sandbox, judged as its file says.

Owns: from a patch to an evaluation, the diagnosis of the unpatched tree (with what it executed), the finalist's way
on a fresh copy. The judge is the tree's ``pxos.toml``, which no repair can edit.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from architect.coverage import Run
from architect.diagnosis import Demands, Diagnosis
from architect.foreign import places, said, words_of_ready
from architect.foreign.tongue import Translation
from architect.foreign.workspace import ForeignCopy, others
from architect.protocols import NO_BOOTS, Case, Evaluation, GateResult, Patch
from architect.report import patch_text
from architect.tried import CANDIDATES, claim, keep
from toolchain.errors import InputError, Timeout
from toolchain.files import make_folder, write_atomic
from toolchain.foreign import boot as booting
from toolchain.foreign import build as building
from toolchain.foreign import executed, report
from toolchain.foreign.boot import Boot
from toolchain.foreign.build import Built
from toolchain.foreign.sandbox import Limits, Sandbox
from toolchain.foreign.tree import Copy
from toolchain.types import FaultReport

STAGE = "fix"
BUILDS, BOOTS = "assembles", "boot"  # names of gates, as the loop knows them
RUN = "the boot"  # the one row of what was executed
FINAL_BOOTS = 3  # the same image again and again: a repair that holds by luck is none
CANDIDATE_LEAST = 1.2  # seconds that a candidate's boot may take at least
LIFE_FACTOR = 4.0  # times what the unpatched kernel took to its last sign of life
STILL_LEAST = 0.3  # seconds that a candidate may stand still
STILL_FACTOR = 2.0  # times what the unpatched kernel stood still and went on
SAID_KEPT = 4096  # characters of each stream that a verdict keeps, from its end
SAID_LINES = 50.0
NEVER = -10.0


class ForeignBench:
    """One foreign tree on the bench.

    Args:
        workspace: the tree as it was.
        folder: the run's folder.
        unsafe: without a sandbox, because the person said so.
    """

    def __init__(self, workspace: ForeignCopy, folder: Path, *, unsafe: bool = False) -> None:
        self.workspace = workspace
        self.foreign = workspace.foreign
        self.folder = folder
        self.sandbox = Sandbox(unsafe=unsafe)
        self.known: dict[str, Evaluation] = {}
        self.limits = Limits()
        self._copy: Copy | None = None

    @property
    def copy(self) -> Copy:
        """This worker's own copy, in which one candidate after another is built."""
        if self._copy is None:
            self._copy = Copy(self.workspace.whole, self.folder / f"copy-{os.getpid()}")
        return self._copy

    @cached_property
    def translation(self) -> Translation:
        """The tree's assembly in the words of the search."""
        texts = {**others(self.workspace), **self.workspace.sources()}
        return Translation(self.foreign.syntax, texts)

    def close(self) -> None:
        """Remove the copy."""
        if self._copy is not None:
            shutil.rmtree(self._copy.folder, ignore_errors=True)

    def diagnose(self, gates: tuple[str, ...], boots: int) -> Diagnosis:
        """The unpatched tree: built, and with boots at hand booted and watched."""
        sources, tree = self.workspace.sources(), self.workspace.tree
        began = time.perf_counter()
        try:
            self.copy.refresh()
            built = building.build(self.foreign, self.copy, self.sandbox, self.limits)
        except (InputError, Timeout) as error:
            gate = _unbuilt(error, time.perf_counter() - began)
            failures = (gate,) if BUILDS in gates else ()
            found = tuple(getattr(error, "diagnostics", ()))
            return Diagnosis(Case(tree, sources, None, None, None, found, failures), timeout=CANDIDATE_LEAST)
        image = built.names.image if built.names is not None else None
        case = Case(tree, sources, image, None, None)
        if BOOTS not in gates:
            return Diagnosis(case, built.sha256, timeout=CANDIDATE_LEAST)
        if not boots:
            return Diagnosis(case, built.sha256, timeout=self.foreign.timeout, incomplete=True)
        boot, gate, told = self._boot(built, self.folder / "original")
        life = max(
            CANDIDATE_LEAST, LIFE_FACTOR * (boot.last_sign if not gate.passed else boot.result.seconds)
        )
        runs: tuple[Run, ...] = ()
        taken = 1
        if not gate.passed and boots > 1:
            runs, taken = self._executed(built), 2
            runs += self._spoken(runs, boot, sources)
        failures = () if gate.passed else (gate,)
        case = replace(case, boot=boot.result, report=told, failures=failures, runs=runs)
        life, still = min(life, self.foreign.timeout), STILL_FACTOR * boot.stood
        return Diagnosis(case, built.sha256, _progress(boot), life, taken, still=still)

    def _executed(self, built: Built) -> tuple[Run, ...]:
        """Which source lines the failing boot executed."""
        if built.names is None or not built.names.image.lines:
            return ()
        places = executed.lines(self.foreign, built, self.folder / "executed", self.sandbox)
        return (Run(RUN, True, 1.0, frozenset(places), frozenset()),) if places else ()

    def _spoken(self, runs: Sequence[Run], boot: Boot, sources: Mapping[str, str]) -> tuple[Run, ...]:
        """What the pieces of the line that must come say for and against the lines that made them."""
        if not runs or self.foreign.ready is None:
            return ()
        ran = frozenset(key for run in runs for key in run.lines)
        return said.rows(boot.judge.streams, self.foreign.ready, sources, self.translation, ran)

    def _boot(
        self, built: Built, folder: Path, demands: Demands | None = None
    ) -> tuple[Boot, GateResult, FaultReport | None]:
        """Boot with the tree's own patience, or with what ``demands`` leave a candidate."""
        began = time.perf_counter()
        shutil.rmtree(folder, ignore_errors=True)
        if demands is None:
            boot = booting.boot(self.foreign, built, folder, self.sandbox)
        else:
            least = min(self.foreign.timeout, max(demands.timeout, CANDIDATE_LEAST))
            still = max(demands.still, STILL_LEAST)
            boot = booting.boot(self.foreign, built, folder, self.sandbox, least, still=still)
        told = report.explain(boot, built.names, self.workspace.tree) if not boot.good else None
        if told is not None and built.names is not None:
            told = places.located(told, built.names.table(), self.translation)
        heard = {stream: text[-SAID_KEPT:] for stream, text in boot.judge.streams.items()}
        evidence: dict[str, Any] = {"outcome": boot.result.outcome, "said": heard}
        message = boot.message if told is None else told.cause
        if boot.result.outcome == "panic" and boot.judge.forbidden is not None:
            evidence["forbidden"] = boot.judge.forbidden.line
        gate = GateResult(BOOTS, boot.good, time.perf_counter() - began, message, evidence)
        return boot, gate, told

    def begin(self, demands: Demands) -> None:
        """There is nothing to make before a candidate."""

    def verify(self, patch: Patch, boots: int, demands: Demands) -> Evaluation:
        """One candidate: does it apply, build, and boot to what must be seen? Equal images are booted once."""
        began = time.perf_counter()
        try:
            changed = self.workspace.apply(patch)
            words_of_ready.check(self.foreign, self.workspace.sources(), patch)
            self.copy.put(changed)
            built = building.build(self.foreign, self.copy, self.sandbox, self.limits, named=False)
        except (InputError, Timeout) as error:
            gate = _unbuilt(error, time.perf_counter() - began)
            errors = len(getattr(error, "diagnostics", ()))
            return Evaluation(patch, (gate,), False, -errors / 1000 if errors else NEVER, False)
        gate = GateResult(BUILDS, True, time.perf_counter() - began)
        sha = built.sha256
        if sha in self.known:
            return replace(self.known[sha], patch=patch, duplicate=True, booted=False, boots=0)
        folder = self.folder / CANDIDATES / sha
        make_folder(folder, stage=STAGE)
        with claim(folder) as known:
            if known is not None:
                return replace(known, patch=patch, duplicate=True, booted=False, boots=0)
            if boots < 1:
                none = GateResult(BOOTS, False, 0.0, NO_BOOTS)
                return Evaluation(patch, (gate, none), False, 0.0, False, sha)
            write_atomic(folder / "patch.diff", patch_text(self.workspace, patch), stage=STAGE)
            named = building.with_names(built, self.copy)
            boot, judged, told = self._boot(named, folder / "boot", demands)
            evaluation = Evaluation(
                patch, (gate, judged), judged.passed, _progress(boot), True, sha, report=told, boots=1
            )
            keep(folder, evaluation)
            shutil.rmtree(folder / "boot", ignore_errors=True)
            self.known[sha] = evaluation
            return evaluation

    def finalise(self, patch: Patch, boots: int, demands: Demands) -> tuple[tuple[GateResult, ...], int]:
        """The whole again on a fresh copy, with the tree's own deadline, booted more than once."""
        began = time.perf_counter()
        folder = self.folder / "final"
        shutil.rmtree(folder, ignore_errors=True)
        try:
            changed = self.workspace.apply(patch)
            words_of_ready.check(self.foreign, self.workspace.sources(), patch)
            fresh = Copy(self.workspace.whole, folder / "tree")
            fresh.put(changed)
            built = building.build(self.foreign, fresh, self.sandbox, self.limits)
        except (InputError, Timeout) as error:
            return (_unbuilt(error, time.perf_counter() - began),), 0
        gates = [GateResult("fresh-copy", True, time.perf_counter() - began)]
        for number in range(min(FINAL_BOOTS, boots)):
            _, judged, _ = self._boot(built, folder / f"boot-{number + 1}")
            gates.append(replace(judged, gate=f"boot-{number + 1}"))
            if not judged.passed:
                break
        if len(gates) == 1:
            gates.append(GateResult("boot-1", False, 0.0, NO_BOOTS))
        return tuple(gates), len(gates) - 1


def _progress(boot: Boot) -> float:
    """How far a boot came: what it said besides what it must not, and how much of what it must."""
    if boot.good:
        return 2.0
    return 0.5 * min(1.0, boot.judge.lines() / SAID_LINES) + 0.45 * boot.judge.nearness()


def _unbuilt(error: InputError | Timeout, seconds: float) -> GateResult:
    lines = error.lines()
    first: Sequence[str] = [str(line) for line in lines[:3]]
    message = first[0].splitlines()[0] if first else error.message
    evidence: Mapping[str, Any] = {"errors": len(getattr(error, "diagnostics", ())), "first": list(first)}
    return GateResult(BUILDS, False, seconds, message, evidence)
