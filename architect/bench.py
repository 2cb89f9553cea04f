"""The service of a worker: one kernel tree on the bench, with a warm build session and the judge.

Owns: from a patch to an evaluation (claim of the image, trial; ``images`` makes it), the diagnosis of the unpatched
tree, and the finalist's whole way on a fresh copy. Nothing it writes lies outside the run's folder.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

from architect import abreast, contracts, coverage, deadlines, reporting
from architect.diagnosis import Demands, Diagnosis
from architect.generalise import Listing
from architect.images import Images
from architect.judge import Judge
from architect.protocols import NO_BOOTS, Case, Evaluation, GateResult, Patch
from architect.report import patch_text
from architect.reporting import Reporting
from architect.statements import label_arguments
from architect.terms import BOOT_FIRST, QUICK, STATIC, Terms
from architect.tried import CANDIDATES, STAGE, claim, content, keep, linked
from architect.verify import Trial, accused
from architect.workers import give_back, tidy
from architect.workspace import TreeCopy
from toolchain.changes import Changes
from toolchain.errors import InputError
from toolchain.files import make_folder, write_atomic
from toolchain.types import Image

FEW = 60  # changed routines whose contracts cost less than a boot
TIDY_EACH = 150  # candidates: what they leave behind makes a worker twice as large
NEVER = -10.0  # the progress of a patch that does not even apply
_NOT_BUILT = "the image that was tried is not what a build makes of it"


class Bench:
    """One kernel tree on the bench.

    Args:
        workspace: the tree as it was.
        tree: a pristine copy of it on disk.
        judge: the baseline of the original tree.
        folder: the run's folder.
        cache: where encodings are kept from run to run, or None.
    """

    def __init__(
        self, workspace: TreeCopy, tree: Path, judge: Judge, folder: Path, cache: Path | None = None
    ) -> None:
        from toolchain import build
        from toolchain.rewind import Rewinder

        self.workspace = workspace
        self.tree = tree
        self.judge = judge
        self.folder = folder
        self.headers = contracts.routines(judge.sources)
        self.macros = label_arguments(judge.sources.values())
        self.listings: dict[str, Listing] = {}
        self.known: dict[int, Evaluation] = {}
        self.begun = False
        self.tried = 0
        self.reporting: Reporting | None = None
        self.session = build.Session(tree, cache, still=True)
        self.images = Images(self.session, self.headers)
        self.rewinder = Rewinder(folder)

    def __enter__(self) -> Bench:
        """Start the encoder."""
        self.session.__enter__()
        return self

    def __exit__(self, *exception: object) -> None:
        """End it, and the machine that candidates share."""
        self.rewinder.close()
        self.session.__exit__(*exception)

    def diagnose(self, gates: tuple[str, ...], boots: int) -> Diagnosis:
        """Run the unpatched tree through some gates, none left out because another failed."""
        sources, tree = self.workspace.sources(), self.workspace.tree
        began = time.perf_counter()
        try:
            image = self.session.build()
        except InputError as error:
            gate = _unassembled(error, time.perf_counter() - began)
            case = Case(tree, sources, None, None, None, tuple(error.diagnostics), (gate,), asked=(gate,))  # type: ignore[arg-type]
            unit = deadlines.empty_boot_seconds(self.folder / gates[0])
            return Diagnosis(
                case, timeout=deadlines.candidates_timeout(unit), proof=deadlines.proof_seconds_unbuilt(unit)
            )
        data, sha = linked(image)
        folder = self.folder / f"original-{gates[0]}"
        shutil.rmtree(folder, ignore_errors=True)
        unit = deadlines.empty_boot_seconds(folder) if boots else 0.0
        terms = Terms(gates, deadlines.original_timeout(unit), boots)
        busy = time.process_time()
        trial, asked = abreast.every(
            lambda part: self._trial(image, data, folder, replace(terms, gates=part)), gates
        )
        busy = time.process_time() - busy
        failures = tuple(gate for gate in asked if not gate.passed and gate.message != NO_BOOTS)
        if failures:  # a patch that changes nothing is known to fail
            nothing = Patch((), "none", "none", "the unpatched kernel")
            refused = Evaluation(nothing, asked, False, 0.0, True, sha)
            keep(self._candidate(sha), refused)
            self.known[content(image)] = refused
        case = Case(
            tree,
            sources,
            image,
            trial.result,
            trial.report,
            failures=failures,
            runs=self._runs(image, failures),
            asked=tuple(gate for gate in asked if gate.message != NO_BOOTS),
        )
        reached = self.judge.reached(trial.result.serial) if trial.result else 0.0
        probe = trial.probe([gate.gate for gate in failures])
        proof = deadlines.proof_seconds(busy)
        timeout = deadlines.candidates_timeout(unit)
        return Diagnosis(case, sha, reached, timeout, trial.boots, trial.cut_short, probe, proof)

    def _runs(self, image: Image, failures: Sequence[GateResult]) -> tuple[coverage.Run, ...]:
        """What the contracts execute, when some are broken; nothing of a kernel that cannot even be set up."""
        rows = [row for g in failures if g.gate == "contract" for row in g.evidence.get("violations", ())]
        if not rows:
            return ()
        broken = {str(row["routine"]) for row in rows}
        tidy()  # the machines of all contracts
        return coverage.runs(image, self.session.origins(), self.headers, broken)

    def verify(self, patch: Patch, boots: int, demands: Demands) -> Evaluation:
        """The gates on one candidate, until one fails.

        An image that was tried before, here or in another worker, is not booted again: its verdict stands.
        """
        if not self.begun:
            self.begin(demands)
        began = time.perf_counter()
        self.tried += 1
        if not self.tried % TIDY_EACH:
            tidy()
        evaluation = self._verified(patch, boots, demands, began)
        return replace(evaluation, took=time.perf_counter() - began)

    def _verified(self, patch: Patch, boots: int, demands: Demands, began: float) -> Evaluation:
        try:
            changed = self.workspace.apply(patch)
            name, suspected = self.images.judged(changed, demands, self.known)
            # What was asked may lack code that does not run there, and that does not assemble.
            made = None if suspected is not None or name in self.known else self.images.whole(changed)
        except InputError as error:
            gate = _unassembled(error, time.perf_counter() - began)
            errors = len(error.diagnostics)
            return Evaluation(patch, (gate,), False, -errors / 1000 if errors else NEVER, False)
        gate = GateResult("assembles", True, time.perf_counter() - began)
        if suspected is not None:
            progress = 1.0 + STATIC.index("contract") + suspected.evidence.get("share", 0.0)
            self.known[name] = Evaluation(patch, (gate, suspected), False, progress, False)
            return self.known[name]
        if made is None:
            return replace(self.known[name], patch=patch, duplicate=True, booted=False, boots=0)
        whole, differing = made
        names, files = self._changes(patch, differing)
        lined = partial(self.session.build, changed)
        return self._tried(patch, gate, whole, boots, demands, names, files, lined)

    def begin(self, demands: Demands) -> None:
        """Before the first candidate: what it is compared with, and which broken contracts show soonest."""
        self.begun = True
        give_back()  # what the diagnosis held
        self.session.prepare()  # candidates hold instructions that the tree does not
        with suppress(InputError):  # it may not assemble
            whole, sketch = self.images.begin(demands)
            if demands.failing:
                self.known[content(sketch)] = self._refused(demands)
            self.reporting = Reporting(whole, self.headers)
        give_back()  # and what this made and did not keep: what it kept is not looked at again

    @staticmethod
    def _refused(demands: Demands) -> Evaluation:
        """The verdict on the unpatched kernel, for patches that change no byte of it."""
        nothing = Patch((), "none", "none", "the unpatched kernel")
        return Evaluation(nothing, demands.failing, False, 0.0, True)

    def _tried(
        self,
        patch: Patch,
        gate: GateResult,
        image: Image,
        boots: int,
        demands: Demands,
        names: Sequence[str] | None,
        files: Sequence[str],
        lined: Callable[[], Image],
    ) -> Evaluation:
        """Every gate on an image that no worker has tried."""
        data, sha = linked(image)
        folder = self._candidate(sha)
        with claim(folder) as known:
            if known is not None:
                return replace(known, patch=patch, duplicate=True, booted=False, boots=0)
            write_atomic(folder / "patch.diff", patch_text(self.workspace, patch), stage=STAGE)
            refused = self._silenced(image, names, files, demands)
            if refused is not None:
                evaluation = Evaluation(patch, (gate, refused), False, 0.0, False, sha)
                keep(folder, evaluation)
                return evaluation
            few = names is not None and len(names) <= FEW
            gates = (*(QUICK if few else BOOT_FIRST), *demands.gates)
            routines = None if names is None else tuple(dict.fromkeys((*names, *accused(demands.failing))))
            terms = Terms(
                gates,
                demands.timeout,
                boots,
                routines,
                demands.reached,
                demands.hangs,
                explain=False,
                files=tuple(files),
                probe=demands.probe,
            )
            trial = self._trial(image, data, folder, terms)
            trial.lined, trial.rewinder = lined, self.rewinder
            passed, gates_seen = trial.run(), tuple(trial.gates)
            if passed and linked(lined())[1] != sha:  # then nothing is proved
                passed, gates_seen = False, (GateResult("assembles", False, 0.0, _NOT_BUILT),)
            evaluation = Evaluation(
                patch,
                (gate, *gates_seen),
                passed,
                trial.progress,
                trial.boots > 0,
                sha,
                report=trial.report,
                boots=trial.boots,
            )
            if not trial.cut_short:
                keep(folder, evaluation)
            return evaluation

    def _silenced(
        self, image: Image, names: Sequence[str] | None, files: Sequence[str], demands: Demands
    ) -> GateResult | None:
        """Why a candidate is not even asked: it changes who tells, and not what is told. None when it does not."""
        began = time.perf_counter()
        if self.reporting is None:  # the unpatched tree does not assemble: there is nothing to compare with
            return None
        said = self.reporting.problem(image, names, files, demands.free)
        return None if said is None else GateResult(reporting.GATE, False, time.perf_counter() - began, said)

    def finalise(self, patch: Patch, boots: int, demands: Demands) -> tuple[tuple[GateResult, ...], int]:
        """The whole again on a fresh copy of the tree, with ISO and other machines; the gates and the boots taken."""
        from toolchain import build, elf

        began = time.perf_counter()
        folder = self.folder / "final"
        shutil.rmtree(folder, ignore_errors=True)
        fresh = self.workspace.materialise(folder / "tree", patch)
        image = self.session.build(self.workspace.apply(patch))
        built = build.build(fresh, folder / "build", iso=False)
        same = built.elf.read_bytes() == elf.write(image)
        message = "" if same else "a fresh build of the patched tree gives another image"
        gate = GateResult("fresh-copy", same, time.perf_counter() - began, message)
        if not same:
            return (gate,), 0
        make = partial(Trial, self.judge, self.headers, image, built.elf, tree=fresh)
        patience = deadlines.finalists_patience(demands.timeout)
        gates, taken = abreast.final(make, folder, partial(_iso, built.elf), patience, boots)
        return (gate, *gates), taken

    def _candidate(self, sha: str) -> Path:
        folder = self.folder / CANDIDATES / sha
        make_folder(folder, stage=STAGE)
        return folder

    def _trial(self, image: Image, data: bytes, folder: Path, terms: Terms) -> Trial:
        make_folder(folder, stage=STAGE)
        path = folder / "kernel.elf"
        write_atomic(path, data, stage=STAGE)
        return Trial(self.judge, self.headers, image, path, partial(_iso, path), folder, self.tree, terms)

    def _listing(self, file: str) -> Listing:
        if file not in self.listings:
            self.listings[file] = Listing(self.workspace.sources()[file], self.macros)
        return self.listings[file]

    def _changes(
        self, patch: Patch, differing: Callable[[], Changes | None]
    ) -> tuple[list[str] | None, list[str]]:
        """The routines that a patch changes (None when it may be any), and the sources whose data it does.

        An edit within routines of one source changes those; of any other, what was assembled is compared.
        """
        names: dict[str, None] = {}
        for edit in patch.edits:
            if not edit.file.endswith(".s"):
                names[""] = None
                break
            rows = self._listing(edit.file)
            for line in range(
                edit.line - 2, edit.line + len(edit.old)
            ):  # the line before an insertion counts too
                names.setdefault(rows.routine_at(max(0, line)))
        if "" not in names:
            return list(names), []
        found = differing()
        if found is None:
            return None, []
        names.pop("")
        return [*names, *sorted(found.routines - names.keys())], sorted(found.files)


def _iso(path: Path, firmware: Literal["hybrid", "bios"] = "bios") -> Path:
    from toolchain import iso

    target = path.with_suffix(".iso")
    iso.make(path, target, firmware=firmware)
    return target


def _unassembled(error: InputError, seconds: float) -> GateResult:
    lines = [str(line) for line in error.lines()]
    evidence = {"errors": len(error.diagnostics), "first": lines[:3]}
    return GateResult(
        "assembles", False, seconds, lines[0].splitlines()[0] if lines else error.message, evidence
    )
