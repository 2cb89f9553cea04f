"""How many candidates a second the workers refuse by a boot, side by side with boots of an empty kernel.

Owns the conditions: a bug whose boot fails, contracts set aside so that every candidate that assembles is booted, as
many workers as cores, and after each candidate a boot of an empty kernel in the same worker, in a QEMU of its own, so
that whatever else the machine does stretches both. A repair asks contracts first, and they leave few to boot.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path

from architect import corpus, kernel_tree
from architect.bench import Bench
from architect.bench_rates import HUNG, Seconds
from architect.corpus import Bug
from architect.deadlines import empty_boot_seconds
from architect.diagnosis import Demands, Diagnosis
from architect.judge import Judge, load
from architect.ladder import FIRST
from architect.protocols import Patch
from architect.search import SearchEngine
from architect.terms import FINAL_BOOTS, Terms
from architect.verify import Trial
from architect.workers import Workers
from architect.workspace import TreeCopy
from toolchain import measure
from toolchain.types import Image

CANDIDATES = 24  # of each core, the first ones of the search
WARM_UP = 4  # of them that do not count: the first of a worker makes what all later ones use
LOOKED_AT = 5  # bugs, until one is found that shows as a fault at boot
CALL_SECONDS = 300.0


class Booting(Bench):
    """A bench that asks no contracts."""

    def _trial(self, image: Image, data: bytes, folder: Path, terms: Terms) -> Trial:
        gates = tuple(name for name in terms.gates if name != "contract")
        return super()._trial(image, data, folder, replace(terms, gates=gates))


@dataclass
class _Service:
    """What a worker does."""

    bench: Booting
    folder: Path

    def diagnose(self) -> Diagnosis:
        return self.bench.diagnose(kernel_tree.OTHERS, FINAL_BOOTS)

    def some(self, patches: Sequence[Patch], demands: Demands) -> Seconds:
        """Candidates one after the other, a boot of an empty kernel behind each."""
        found: dict[str, list[float]] = {"booted": [], "first": [], "hung": [], "empty": []}
        for number, patch in enumerate(patches):
            evaluation = self.bench.verify(patch, FINAL_BOOTS, demands)
            rows = [row for gate in evaluation.gates for row in gate.evidence.get("boots", ())]
            if number < WARM_UP or evaluation.duplicate or not rows:
                continue
            found["empty"].append(measure.timed(partial(empty_boot_seconds, self.folder)))
            if any(row["outcome"] in HUNG for row in rows):
                found["hung"].append(evaluation.took)
            elif all(row["what"] == FIRST for row in rows):
                found["booted"].append(evaluation.took)
                found["first"] += [float(row["seconds"]) for row in rows]
        return found  # type: ignore[return-value]


def rates(bugs: Sequence[Bug], tree: Path, folder: Path) -> Seconds:
    """What booted candidates of the first bug that faults at boot took, and boots of an empty kernel beside them.

    Args:
        bugs: of the corpus.
        tree: the sound kernel.
        folder: empty, for everything that is written.
    """
    for number, bug in enumerate([bug for bug in bugs if bug.tree == "kernel"][:LOOKED_AT]):
        planted = corpus.plant(bug, tree, folder / f"{number}" / "tree")
        found = _of(planted, folder / f"{number}")
        if found.get("booted"):
            return found
    return {}


def _of(planted: Path, folder: Path) -> Seconds:
    workspace = TreeCopy(planted)
    judge = load(planted, workspace.files)
    workers = Workers(partial(_started, workspace, judge, planted, folder), os.cpu_count() or 1)
    try:
        found: Diagnosis = workers.call("diagnose", seconds=CALL_SECONDS)
        boot = found.case.boot
        if boot is None or boot.outcome not in ("fault", "panic"):
            return {}
        patches = list(islice(SearchEngine().propose(found.case), CANDIDATES * workers.count))
        demands = Demands.of(found)
        calls = [("some", patches[at :: workers.count], demands) for at in range(workers.count)]
        parts: list[Seconds] = workers.gather(calls, seconds=CALL_SECONDS)
    finally:
        workers.close()
    return {kind: [seconds for part in parts for seconds in part[kind]] for kind in parts[0]}


@contextmanager
def _started(workspace: TreeCopy, judge: Judge, planted: Path, folder: Path) -> Iterator[_Service]:
    own = folder / f"worker{os.getpid()}"
    bench = Booting(workspace, planted, judge, own)
    with bench:
        yield _Service(bench, own / "empty")
