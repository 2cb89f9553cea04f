"""What goes wrong around a repair: it is killed, its disk is full, its QEMU dies, the clock jumps, it is not alone.

An endpoint that dies in the middle of an answer is in ``test_fix_model``, a machine's full disk in ``test_full_disk``.
"""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from architect.journal import edits_digest, evaluation_from_json
from architect.lessons import SqliteLessons
from architect.protocols import Evaluation
from architect.workspace import TreeCopy
from tests.architect.test_fix_qemu import STORE, plant, wait_for
from tests.processes import having

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "kernel"

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(1000)]

SEED = 20_050
MOMENTS = 50
COPIES = 0.1  # share of the moments that lie in the copy of the tree: the same 200 files each time


def words(tree: Path, tmp_path: Path, *more: str) -> list[str]:
    where = ["--kernel", str(tree), "--out", str(tmp_path / "out"), "--lessons", str(tmp_path / "lessons")]
    return ["fix", "--json", "--engine", "search", "--budget", "900", *where, *more]


def run(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, timeout=900, **more)


def pxos(tree: Path, tmp_path: Path, *more: str, **options: Any) -> tuple[int, dict[str, Any], str]:
    done = run([sys.executable, "-m", "cli", *words(tree, tmp_path, *more)], **options)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout), done.stderr


# --- killed ---------------------------------------------------------------------------------------------------


def records(out: Path) -> list[bytes]:
    """The whole lines of a folder's journal; what a kill tore is none."""
    found = []
    for path in out.glob("*/journal.jsonl"):
        for line in path.read_bytes().split(b"\n"):
            try:
                json.loads(line)
            except ValueError:
                continue
            found.append(line)
    return found


def evaluations(out: Path) -> list[Evaluation]:
    """The evaluations that a folder's journals hold."""
    rows = [json.loads(line) for line in records(out)]
    return [evaluation_from_json(row) for row in rows if row["kind"] == "evaluation"]


def killed_at(moment: str, tree: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    done = run([sys.executable, "-m", "tests.architect.dying", moment, *words(tree, tmp_path)])
    assert "Traceback" not in done.stderr, done.stderr
    return done


def held(out: Path, known: list[bytes]) -> list[bytes]:
    """What a journal holds now: all that it held, no edits judged twice, no image booted twice."""
    now = records(out)
    assert now[: len(known)] == known, "what was known is lost"
    judged = evaluations(out)
    edits = Counter(edits_digest(evaluation.patch) for evaluation in judged)
    assert not [digest for digest, times in edits.items() if times > 1], "edits were judged twice"
    images = Counter(e.image_sha256 for e in judged if e.boots and not e.duplicate)
    assert not [name for name, times in images.items() if times > 1], "an image was booted twice"
    return now


def killed(tmp_path: Path, moments: Iterator[str], cuts: int) -> None:
    """Runs that are killed at moments in turn and go on from there, until ``cuts`` were cut.

    One that comes to its end is a repair like any other, and the next begins anew.
    """
    tree = plant(tmp_path, "mm/page.s", STORE, "")
    out, digest = tmp_path / "out", TreeCopy(tree).digest()
    store = SqliteLessons(tmp_path / "lessons")
    known: list[bytes] = []
    while cuts:
        moment = next(moments)
        done = killed_at(moment, tree, tmp_path)
        wait_for(lambda: not having(str(out)))
        assert TreeCopy(tree).digest() == digest, f"the tree is not what it was ({moment})"
        assert len(store.all()) <= 1, "the same repair is one lesson"
        if done.returncode == -signal.SIGKILL:
            known = held(out, known)
            cuts -= 1
        else:
            finished(out, done.returncode, json.loads(done.stdout), known)
            shutil.rmtree(out)
            known = []
    status, data, _ = pxos(tree, tmp_path)
    finished(out, status, data, known)
    assert TreeCopy(tree).digest() == digest


def finished(out: Path, status: int, data: dict[str, Any], known: list[bytes]) -> None:
    """A run that came to its end: repaired, with all that the killed ones before it knew."""
    assert (status, data["outcome"]) == (0, "fixed"), data["reason"]
    held(out, known)
    assert data["candidates"] == len(evaluations(out))
    assert (out / "patch.diff").read_text() == data["patch"]


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    """After the diagnosis, while candidates are tried."""
    killed(tmp_path, iter([f"step:{random.Random(SEED).randint(10, 16)}"]), 1)


@pytest.mark.slow
@pytest.mark.timeout(14_400)  # 72 minutes on two cores that six others use as well
def test_killed_at_fifty_moments(tmp_path: Path) -> None:
    """Anywhere between the start of a run and its end, as a run that nobody kills has shown where that is."""
    whole = tmp_path / "whole"
    whole.mkdir()
    done = killed_at("step:0", plant(whole, "mm/page.s", STORE, ""), whole)
    assert done.returncode == 0, done.stderr
    events = dict(word.split("=") for word in done.stderr.splitlines()[-1].split())
    draw = random.Random(SEED)

    def moments() -> Iterator[str]:
        while True:
            kind = "copy" if draw.random() < COPIES else "step"
            yield f"{kind}:{draw.randint(1, int(events[kind]))}"

    killed(tmp_path, moments(), MOMENTS)


# --- the machine around it ------------------------------------------------------------------------------------


def test_a_full_disk_is_one_line_and_the_next_run_goes_on(tmp_path: Path) -> None:
    tree = plant(tmp_path, "mm/page.s", STORE, "")
    digest = TreeCopy(tree).digest()

    def full() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))  # below an image, above most sources

    status, data, errors = pxos(tree, tmp_path, "-q", preexec_fn=full)
    assert (status, errors.count("\n")) == (2, 1) and "cannot write: File too large; choose" in errors
    assert "error" in data and TreeCopy(tree).digest() == digest
    assert not having(str(tmp_path / "out"))
    status, data, _ = pxos(tree, tmp_path)
    assert (status, data["outcome"]) == (0, "fixed")


DYING_QEMU = """\
#!/bin/sh
exec 9>>{count}.lock
flock 9
number=$(($(cat {count} 2>/dev/null || echo 0) + 1))
echo $number > {count}
exec 9>&-
[ $number -ne {dies} ] || kill -9 $$
exec {qemu} "$@"
"""


@pytest.mark.parametrize("dies", [2, 3])
def test_a_qemu_that_dies_once_makes_no_kernel_sick(tmp_path: Path, dies: int) -> None:
    """The first machine measures an empty kernel; the second and third look at the kernel itself."""
    tree = tmp_path / "kernel"
    shutil.copytree(KERNEL, tree)
    folder = tmp_path / "bin"
    folder.mkdir()
    qemu = shutil.which("qemu-system-x86_64")
    fake = folder / "qemu-system-x86_64"
    fake.write_text(DYING_QEMU.format(count=tmp_path / "count", dies=dies, qemu=qemu))
    fake.chmod(0o755)
    status, data, _ = pxos(tree, tmp_path, env={**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"})
    assert int((tmp_path / "count").read_text()) > dies, "it never came to that"
    assert (status, data["outcome"]) == (0, "healthy"), data["reason"]


JUMPING = """\
import itertools, random, sys, time
draw = random.Random(3)
time.time = lambda: draw.uniform(0, 2**32)
time.time_ns = lambda: draw.randrange(2**62)
import cli
sys.argv = ["pxos", *sys.argv[1:]]
sys.exit(cli.main())
"""


@pytest.mark.slow
def test_a_clock_that_jumps_changes_nothing(tmp_path: Path) -> None:
    """The wall clock goes anywhere at every look at it: budgets and deadlines are of the monotonic one."""
    tree = plant(tmp_path, "mm/page.s", STORE, "")
    done = run([sys.executable, "-c", JUMPING, *words(tree, tmp_path)])
    data = json.loads(done.stdout)
    assert (done.returncode, data["outcome"]) == (0, "fixed"), done.stderr
    assert 0 < data["seconds"] < 900


# --- not alone ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_runs_with_folders_of_their_own(tmp_path: Path) -> None:
    """One tree, one store of lessons, two runs: both repair it. In one folder the second is refused (test_fix_qemu)."""
    tree = plant(tmp_path, "mm/page.s", STORE, "")
    digest = TreeCopy(tree).digest()
    commands = []
    for name in ("one", "two"):
        row = words(tree, tmp_path)
        row[row.index("--out") + 1] = str(tmp_path / name)
        commands.append([sys.executable, "-m", "cli", *row])
    both = [
        subprocess.Popen(c, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for c in commands
    ]
    answers = [process.communicate(timeout=900) for process in both]
    assert [process.returncode for process in both] == [0, 0], answers
    assert [json.loads(output)["outcome"] for output, _ in answers] == ["fixed", "fixed"]
    assert TreeCopy(tree).digest() == digest
    lessons = SqliteLessons(tmp_path / "lessons").all()
    assert len(lessons) == 1, "the same repair is one lesson"


def test_an_interrupted_ci_run_tells_the_best_so_far(tmp_path: Path) -> None:
    tree = plant(tmp_path, "mm/page.s", STORE, "    call page_map\n")
    command = [sys.executable, "-m", "cli", *words(tree, tmp_path, "--ci", "files")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: len(evaluations(tmp_path / "out")) >= 2 or process.poll() is not None, 200)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    finally:
        process.kill()
    if process.returncode == 0:
        pytest.fail("it was repaired before it could be interrupted: take a harder bug")
    summary = (tmp_path / "out/ci/summary.md").read_text()
    assert "Kernel broken, budget spent" in summary and "broken off" in summary
    assert (tmp_path / "out/ci/junit.xml").exists() and not having(str(tmp_path / "out"))
