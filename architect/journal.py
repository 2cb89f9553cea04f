"""The journal of one repair as JSON lines, so that a killed run resumes where it stood.

Owns ``journal.jsonl`` and the lock of a run's folder, and how patches and evaluations read as JSON; what a person reads
later, ``trajectories/N.jsonl``, is written beside it (``architect.learn.trajectory``). A line is written with one
``write`` to an append-only file: a run killed at any moment loses at most the line it was writing, and reading drops
that. Never decides what to do next.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from architect.learn.trajectory import Trajectory
from architect.protocols import Edit, Evaluation, GateResult, Patch
from toolchain.errors import InputError
from toolchain.files import make_folder, unwritable

STAGE = "journal"
VERSION = 1
LINE_BYTES_MAX = 1 << 20
_ID_BYTES = 8
TRAJECTORIES_KEPT = 20  # runs of one tree, the newest


def edits_digest(patch: Patch) -> str:
    """Names what a patch changes, whoever proposed it: equal edits, equal digests."""
    edits = sorted((e.file, e.line, e.old, e.new) for e in patch.edits)
    return hashlib.sha256(json.dumps(edits).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def patch_to_json(patch: Patch) -> dict[str, Any]:
    """A patch as plain JSON values."""
    edits = [{"file": e.file, "line": e.line, "old": list(e.old), "new": list(e.new)} for e in patch.edits]
    about = {"engine": patch.engine, "operator": patch.operator, "reason": patch.reason, "cost": patch.cost}
    return {"edits": edits, **about}


def patch_from_json(data: Mapping[str, Any]) -> Patch:
    """The inverse of ``patch_to_json``; ``KeyError``, ``TypeError`` or ``ValueError`` for anything else."""
    edits = tuple(
        Edit(str(e["file"]), int(e["line"]), tuple(map(str, e["old"])), tuple(map(str, e["new"])))
        for e in data["edits"]
    )
    return Patch(edits, str(data["engine"]), str(data["operator"]), str(data["reason"]), float(data["cost"]))


def gate_to_json(gate: GateResult) -> dict[str, Any]:
    """A gate's result as plain JSON values."""
    about = {"gate": gate.gate, "passed": gate.passed, "seconds": round(gate.seconds, 4)}
    return {**about, "message": gate.message, "evidence": dict(gate.evidence)}


def gate_from_json(data: Mapping[str, Any]) -> GateResult:
    """The inverse of ``gate_to_json``."""
    about = (str(data["gate"]), bool(data["passed"]), float(data["seconds"]))
    return GateResult(*about, str(data["message"]), dict(data["evidence"]))


def evaluation_to_json(evaluation: Evaluation) -> dict[str, Any]:
    """An evaluation without its fault report: that lies in the candidate's folder."""
    return {
        "patch": patch_to_json(evaluation.patch),
        "gates": [gate_to_json(g) for g in evaluation.gates],
        "passed": evaluation.passed,
        "progress": evaluation.progress,
        "boots": evaluation.boots,
        "image_sha256": evaluation.image_sha256,
        "duplicate": evaluation.duplicate,
        "took": round(evaluation.took, 4),
    }


def evaluation_from_json(data: Mapping[str, Any]) -> Evaluation:
    """The inverse of ``evaluation_to_json``; the fault report is None."""
    return Evaluation(
        patch=patch_from_json(data["patch"]),
        gates=tuple(gate_from_json(g) for g in data["gates"]),
        passed=bool(data["passed"]),
        progress=float(data["progress"]),
        booted=int(data["boots"]) > 0,
        boots=int(data["boots"]),
        image_sha256=data["image_sha256"],
        duplicate=bool(data["duplicate"]),
        took=float(data["took"]),
    )


class Journal:
    """The folder of one repair: ``journal.jsonl``, ``candidates/``, locked while a run works in it.

    Args:
        folder: made when missing; named by a key of everything that the verdicts depend on, so that a changed
            tree or judge starts a new one.
        about: what the run is, for the first line.

    Attributes:
        evaluations: digest of the edits -> evaluation, those of an interrupted run included.
        untold: of these, what no engine of this run has seen yet.
        boots: boots of the interrupted run; 0 where it ended by itself, out of budget.
        seconds: wall seconds of the interrupted run, likewise.
        resumed: whether there was one.
        id: names the run, the same when it was killed and goes on: what it tells others counts once.
        model_tokens: prompt and answer tokens of the interrupted run.
        trajectory: what the run does, step by step; that of the interrupted run goes on.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self.folder = folder
        self.candidates = folder / "candidates"
        make_folder(self.candidates, stage=STAGE)
        self.evaluations: dict[str, Evaluation] = {}
        self.untold: set[str] = set()
        self.boots = 0
        self.seconds = 0.0
        self.model_tokens = (0, 0)
        self.id = ""
        self._path = folder / "journal.jsonl"
        self._lock = self._take_lock()
        found = records(self._path)
        self.resumed = _is_open(found)
        if self.resumed:
            self._restore(found)
        else:
            self._clear()
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            self._fd = os.open(self._path, flags, 0o644)
        except OSError as error:
            raise unwritable(self._path, error, stage=STAGE) from error
        self._mend_tail()
        self.trajectory = _trajectory(folder / "trajectories", resume=self.resumed)
        self.id = self.id or secrets.token_hex(_ID_BYTES)
        self.write("resume" if self.resumed else "run", {"version": VERSION, "id": self.id, **about})

    def _take_lock(self) -> int:
        path = self.folder / "lock"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise unwritable(path, error, stage=STAGE) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise InputError(
                f"{self.folder}: another pxos fix works on this tree there; wait for it or choose another --out",
                stage=STAGE,
            ) from None
        return fd

    def _restore(self, found: list[dict[str, Any]]) -> None:
        """All evaluations; what was spent, only since a run came to its end: that one had its own budget."""
        for record in found:
            self.seconds = max(self.seconds, float(record.get("seconds", 0.0)))
            if record["kind"] == "evaluation":
                evaluation = evaluation_from_json(record)
                digest = edits_digest(evaluation.patch)
                self.evaluations[digest] = evaluation
                self.untold.add(digest)
                self.boots += evaluation.boots
            elif record["kind"] == "boots":
                self.boots += int(record["count"])
            elif record["kind"] == "end":
                self.boots, self.seconds, self.model_tokens, self.id = 0, 0.0, (0, 0), ""
            elif record["kind"] in ("run", "resume"):
                self.id = str(record.get("id", ""))
            elif record["kind"] == "model":
                prompt, completion = self.model_tokens
                self.model_tokens = (prompt + int(record["prompt"]), completion + int(record["completion"]))

    def _clear(self) -> None:
        self._path.unlink(missing_ok=True)
        shutil.rmtree(self.candidates, ignore_errors=True)
        make_folder(self.candidates, stage=STAGE)

    def _mend_tail(self) -> None:
        """End a line that a killed run left open, so that the next one stands on its own."""
        size = self._path.stat().st_size
        if size and not self._path.read_bytes().endswith(b"\n"):
            os.write(self._fd, b"\n")

    def write(self, kind: str, data: Mapping[str, Any]) -> None:
        """Append one record.

        Raises:
            InputError: the disk is full or the folder went away.
        """
        line = json.dumps({"kind": kind, **data}, default=str).encode() + b"\n"
        try:
            written = os.write(self._fd, line)
            if written != len(line):
                raise OSError(28, "No space left on device")
        except OSError as error:
            raise unwritable(self._path, error, stage=STAGE) from error

    def record(self, evaluation: Evaluation, seconds: float) -> None:
        """Append an evaluation; ``seconds`` is the wall time of the whole repair so far."""
        self.evaluations[edits_digest(evaluation.patch)] = evaluation
        self.write("evaluation", {**evaluation_to_json(evaluation), "seconds": round(seconds, 3)})
        number = self.trajectory.proposals + 1
        self.trajectory.write("proposal", {"id": number, "patch": patch_to_json(evaluation.patch)})
        self.judged(evaluation.gates, number, passed=evaluation.passed, progress=evaluation.progress)

    def judged(self, gates: Sequence[GateResult], proposal: int = 0, **about: object) -> None:
        """Tell the trajectory what gates said; their evidence lies in the candidate's folder."""
        rows = [{**gate_to_json(gate), "evidence": {}} for gate in gates]
        passed = all(gate.passed for gate in gates)
        self.trajectory.write("gate", {"of": proposal, "passed": passed, "gates": rows, **about})

    def spent(self, boots: int, seconds: float) -> None:
        """Append boots that belong to no evaluation."""
        self.write("boots", {"count": boots, "seconds": round(seconds, 3)})

    def asked(self, prompt: int, completion: int) -> None:
        """Append what a question to a language model took, in tokens."""
        self.write("model", {"prompt": prompt, "completion": completion})

    def end(self, outcome: str, reason: str) -> None:
        """The run is over and the person can read what came of it: only now it is not to be resumed any more."""
        said = {"outcome": outcome, "reason": reason}
        self.trajectory.write("end", said)
        self.write("end", said)

    def forget(self) -> None:
        """In a child process: leave the journal and its lock to the parent."""
        self.trajectory.forget()
        os.close(self._fd)
        os.close(self._lock)

    def close(self) -> None:
        """Give the lock back; the journal stays."""
        self.trajectory.close()
        os.close(self._fd)
        os.close(self._lock)


def _trajectory(folder: Path, *, resume: bool) -> Trajectory:
    """The file of this run: the next number, or that of the run that goes on."""
    numbers = sorted(int(path.stem) for path in folder.glob("*.jsonl") if path.stem.isdecimal())
    for old in numbers[: -TRAJECTORIES_KEPT + 1]:
        (folder / f"{old}.jsonl").unlink(missing_ok=True)
    last = numbers[-1] if numbers else 0
    if resume and numbers:
        with suppress(InputError):  # it is damaged: the run goes on all the same, in a file of its own
            return Trajectory.open(folder / f"{last}.jsonl", resume=True)
    return Trajectory.open(folder / f"{last + 1}.jsonl")


def records(path: Path) -> list[dict[str, Any]]:
    """The records of a journal; a torn last line and lines that are no record are dropped."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return []
    found = []
    for line in data.split(b"\n"):
        if not line or len(line) > LINE_BYTES_MAX:
            continue
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict) and _is_record(record):
            found.append(record)
    return found


def _is_record(record: dict[str, Any]) -> bool:
    try:
        if record["kind"] == "evaluation":
            evaluation_from_json(record)
        elif record["kind"] == "boots":
            int(record["count"])
        elif record["kind"] == "model":
            int(record["prompt"]) + int(record["completion"])
        float(record.get("seconds", 0.0))
    except (KeyError, TypeError, ValueError):
        return False
    return True


def _is_open(found: list[dict[str, Any]]) -> bool:
    """Whether the journal tells of a run that was cut short: killed, interrupted or out of budget."""
    if not found or found[0]["kind"] != "run" or found[0].get("version") != VERSION:
        return False
    ends = [r for r in found if r["kind"] in ("run", "resume", "end")]
    return ends[-1]["kind"] != "end" or ends[-1].get("outcome") == "budget"
