"""A folder of shaders as a kind of tree (``architect.kinds``): its copy, its judge, its gates.

Owns the judge of a worker: from a patch to an evaluation, the diagnosis, the last proof. Nothing is booted.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from architect.diagnosis import Demands, Diagnosis
from architect.kinds import Opened
from architect.protocols import Case, Evaluation, GateResult, Patch
from architect.shaders.gates import REST, RUNS, STATIC, THOROUGH, Asked, Gates
from architect.shaders.source import blanked
from architect.workspace import TreeCopy
from toolchain.errors import InputError, ToolError

if TYPE_CHECKING:
    from architect.run import Settings
    from toolchain.gpu.nn import Variant

SUFFIXES = (".wgsl",)
# lavapipe compiles in half the time for the narrowest vectors and without passes over the code; the proof, in a process
# of its own, does not.
HASTE = {"LP_NATIVE_VECTOR_WIDTH": "128", "GALLIVM_PERF": "nopt"}
SCOUTS = 3  # broken probes that every candidate is asked, so that it shows which of two bugs it mends
DEAR = 5.0  # a probe this many times the cheapest one is asked of those that pass that one
NEVER = -10.0  # the progress of a patch that does not even apply
_SPACE = re.compile(r"\s+")


def opened(settings: Settings) -> Opened:
    """A folder of shaders, ready for a repair."""
    from architect.shaders.search import ShaderSearch

    workspace = TreeCopy(settings.tree, SUFFIXES, None)
    bench = partial(_on_bench, workspace)
    return Opened(workspace, bench, STATIC, RUNS, REST, 0, search=ShaderSearch, lessons=False)


def check_tools() -> None:
    """Raises ``ToolError`` where shaders cannot be compiled at all.

    Adapters are looked for in the workers: this process forks them and must not have opened one.
    """
    from importlib.util import find_spec

    if find_spec("wgpu") is None:
        raise ToolError("the Python package wgpu is not installed; run make setup", stage="shaders")


@contextmanager
def _on_bench(workspace: TreeCopy, tree: Path, folder: Path, cache: Path) -> Iterator[ShaderBench]:
    os.environ.update(HASTE)
    with Gates() as gates:
        yield ShaderBench(workspace, gates, folder)


class ShaderBench:
    """One folder of shaders on the bench.

    Args:
        workspace: the tree as it was.
        gates: what judges.
        folder: the run's folder.
    """

    def __init__(self, workspace: TreeCopy, gates: Gates, folder: Path) -> None:
        self.workspace = workspace
        self.gates = gates
        self.folder = folder
        self.known: dict[str, Evaluation] = {}

    def diagnose(self, gates: tuple[str, ...], boots: int) -> Diagnosis:
        """The tree as it is through some gates."""
        texts = dict(self.workspace.sources())
        asked = [self.gates.ask(name, texts) for name in gates]
        failures = tuple(a.gate for a in asked if not a.gate.passed)
        diagnostics = tuple(d for a in asked for d in a.diagnostics)
        rows = tuple(_with_probes(a) for a in asked)
        failing = tuple(g for g in rows if not g.passed)
        assert len(failing) == len(failures)
        case = Case(self.workspace.tree, texts, None, None, None, diagnostics, failing, asked=rows)
        return Diagnosis(case)

    def begin(self, demands: Demands) -> None:
        """There is nothing to make before a candidate."""

    def verify(self, patch: Patch, boots: int, demands: Demands) -> Evaluation:
        """The gates on one candidate, until one fails; what the tree broke is asked first."""
        began = time.perf_counter()
        try:
            changed = self.workspace.apply(patch)
        except InputError as error:
            gate = GateResult("compiles", False, time.perf_counter() - began, error.message)
            return Evaluation(patch, (gate,), False, NEVER, False)
        texts = {**self.workspace.sources(), **changed}
        name = content(changed)
        if name not in self.known:
            self.known[name] = self._judged(patch, texts, list(changed), demands)
            return self.known[name]
        known = self.known[name]
        return Evaluation(patch, known.gates, known.passed, known.progress, False, name, duplicate=True)

    def _judged(self, patch: Patch, texts: dict[str, str], files: list[str], demands: Demands) -> Evaluation:
        broken = probes_of(demands.failing, "broken")
        self._remember(demands)
        done: list[GateResult] = []
        progress = 0.0
        for name in (*STATIC, *RUNS):
            if name in RUNS and broken:
                scouts = self._scouts(broken)
                asked = self.gates.ask(name, texts, (), first=scouts)
                if not asked.gate.passed:
                    progress = len(done) + len(asked.kept) / (len(scouts) + 1)
                    done.append(_with_probes(asked) if asked.kept else asked.gate)
                    break
            wider = _wider(files, demands, name)
            asked = self.gates.ask(name, texts, wider, first=broken, stop=True, whole=False)
            done.append(_with_probes(asked) if asked.kept and not asked.gate.passed else asked.gate)
            if not asked.gate.passed:
                progress = float(len(done) - 1) + (0.9 if broken and name in RUNS else 0.0)
                if name == "compiles":
                    progress = -1.0 - 0.001 * int(asked.gate.evidence.get("errors", 1))
                break
        passed = all(gate.passed for gate in done)
        progress = float(len(done)) if passed else progress
        return Evaluation(patch, tuple(done), passed, progress, False, content(texts))

    def _remember(self, demands: Demands) -> None:
        """What each probe cost the worker that made the diagnosis."""
        if not self.gates.seconds:
            rows = [row for gate in demands.failing for row in gate.evidence.get("ran", ())]
            self.gates.seconds = {(row[0], row[1]): row[3] for row in rows}

    def _scouts(self, broken: set[tuple[str, Variant]]) -> list[tuple[str, Variant]]:
        """The cheapest of the broken probes, each name once; none that costs many times as much as the first."""
        cost = {probe: self.gates.seconds.get(probe, 0.0) for probe in broken}
        found: dict[str, tuple[str, Variant]] = {}
        for probe in sorted(broken, key=lambda key: (cost[key], key)):
            if cost[probe] <= DEAR * min(cost.values()):
                found.setdefault(probe[0], probe)
        return list(found.values())[:SCOUTS]

    def finalise(self, patch: Patch, boots: int, demands: Demands) -> tuple[tuple[GateResult, ...], int]:
        """Every gate on a fresh copy, on sizes that no candidate saw, in a process of its own.

        What no changed file is part of was asked by the diagnosis and is the same.
        """
        from architect.shaders.proof import prove

        began = time.perf_counter()
        folder = self.folder / "final"
        shutil.rmtree(folder, ignore_errors=True)
        fresh = self.workspace.materialise(folder / "tree", patch)
        gate = GateResult("fresh-copy", True, time.perf_counter() - began)
        return (gate, *prove(fresh, THOROUGH, list(self.workspace.apply(patch)))), 0


def content(texts: Mapping[str, str]) -> str:
    """The same for texts that differ in comments and spaces alone."""
    import hashlib

    total = hashlib.sha256()
    for name, text in sorted(texts.items()):
        head = "\n".join(
            line for line in text.splitlines() if line.startswith("//")
        )  # names constants and parts
        total.update(f"{name}\0{head}\0{_SPACE.sub(' ', blanked(text))}\0".encode())
    return total.hexdigest()


def _with_probes(asked: Asked) -> GateResult:
    """The gate's result with the probes that it ran: the search weighs them."""
    evidence = {**asked.gate.evidence, "kept": asked.kept, "broken": asked.broken, "ran": asked.ran}
    gate = asked.gate
    return GateResult(gate.gate, gate.passed, gate.seconds, gate.message, evidence)


def probes_of(gates: tuple[GateResult, ...], which: str) -> set[tuple[str, Variant]]:
    """The probes that the gates' evidence names: ``kept`` or ``broken``."""
    return {(row[0], row[1]) for gate in gates for row in gate.evidence.get(which, ())}


def _wider(files: list[str], demands: Demands, gate: str) -> list[str]:
    """The changed files; where the compiler refused others, those too: a candidate must mend them all."""
    rows = [row for g in demands.failing if g.gate == gate for row in g.evidence.get("findings", ())]
    return [*files, *(row["file"] for row in rows if row["file"])]
