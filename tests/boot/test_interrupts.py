"""Ctrl-C and SIGTERM at any moment of any command: the status of the contract, one line, nothing left behind.

A moment is something that the command says or does, waited for and never slept for. Everything that a command
starts inherits a mark in its environment, by which it is found wherever it has gone.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from architect import corpus
from tests.processes import having
from tests.unit.pxos import PXOS

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "kernel"
BUGS = ROOT / "tests/bugs"
DEADLINE = 60.0  # for what must happen on a loaded machine
MARK = "PXOS_TEST_MARK"
ENDS = {signal.SIGINT: (130, "pxos: interrupted"), signal.SIGTERM: (143, "pxos: ended by SIGTERM")}


@dataclass
class Run:
    """A ``pxos`` that runs, in a session of its own as a terminal would start it."""

    folder: Path
    process: subprocess.Popen[bytes]
    mark: str

    @property
    def errors(self) -> str:
        return (self.folder / "errors").read_text()

    @property
    def output(self) -> str:
        return (self.folder / "output").read_text()

    def family(self) -> dict[int, str]:
        """Everything that it started and that still runs, itself not: process number -> name."""
        found = {}
        for number in having(f"{MARK}={self.mark}\0", "environ") - {self.process.pid}:
            with suppress(OSError):  # it ended meanwhile
                found[number] = Path(f"/proc/{number}/comm").read_text().strip()
        return found


def await_(run: Run, condition: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE
    while not condition():
        assert run.process.poll() is None, run.errors
        assert time.monotonic() < until, run.errors
        time.sleep(0.002)


def gone(run: Run) -> None:
    """What it started dies with it: the system tells the children, and they need a moment to be gone."""
    until = time.monotonic() + DEADLINE
    while run.family():
        assert time.monotonic() < until, run.family()
        time.sleep(0.002)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    """Starts ``pxos`` in ``tmp_path``; whatever a failed test leaves is ended."""
    runs = []

    def begin(*words: str, launcher: Sequence[str] = ()) -> Run:
        mark = uuid.uuid4().hex
        (tmp_path / "scratch").mkdir(exist_ok=True)
        with (tmp_path / "errors").open("wb") as errors, (tmp_path / "output").open("wb") as output:
            process = subprocess.Popen(
                [*launcher, *PXOS, *words],
                cwd=tmp_path,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                start_new_session=True,
                env={
                    **os.environ,
                    MARK: mark,
                    "TMPDIR": str(tmp_path / "scratch"),
                    "XDG_DATA_HOME": str(tmp_path / "data"),
                },
            )
        run = Run(tmp_path, process, mark)
        runs.append(run)
        return run

    yield begin
    for run in runs:
        for pid in (*run.family(), *([run.process.pid] if run.process.poll() is None else [])):
            os.kill(pid, signal.SIGKILL)
        assert run.process.stdin is not None
        run.process.stdin.close()
        run.process.wait()


@pytest.fixture(scope="module")
def bug(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kernel tree with a bug that the search mends."""
    tree = tmp_path_factory.mktemp("bug") / "tree"
    return corpus.plant(corpus.read(BUGS / "large-page-unmapped.toml"), KERNEL, tree)


def says(text: str) -> Callable[[Run], object]:
    return lambda run: text in run.errors


def starts(program: str) -> Callable[[Run], object]:
    return lambda run: any(name.startswith(program) for name in run.family().values())


# moment -> command (BUG stands for a tree with a bug), how it is told
MOMENTS: dict[str, tuple[str, Callable[[Run], object]]] = {
    "build: ISO": (f"build --kernel {KERNEL} --out out", says("out/pxos.elf: ")),
    "boot: begins": (f"boot --kernel {KERNEL} --out out --cmdline test", says("booting")),
    "boot: ISO": (f"boot --iso --kernel {KERNEL} --out out", starts("qemu")),
    "run: at the prompt": (f"run --kernel {KERNEL} --out out", lambda run: "PXREADY" in run.output),
    "debug: halted": (f"debug --no-gdb --kernel {KERNEL} --out out", says("halted at reset")),
    "check: builds": (f"check --kernel {KERNEL}", says("assembling")),
    "check: calls": (f"check --kernel {KERNEL} --seeds 1000", says("calling every routine")),
    "fix: first look": ("fix --kernel BUG --out out --apply", says("as it is")),
    "fix: search": ("fix --kernel BUG --out out --apply", says("failing: ")),
    "fix: proof": ("fix --kernel BUG --out out --apply", says("the whole again")),
    "bench fix: workers": (f"bench fix idt-never-loaded --kernel {KERNEL} --bugs {BUGS}", starts("qemu")),
    "bench build": (f"bench build --kernel {KERNEL}", says("kernel: ")),
    "bench boot": (f"bench boot --kernel {KERNEL}", says("direct boot")),
    "bugs check": (f"bugs check idt-never-loaded --kernel {KERNEL} --bugs {BUGS}", says("the sound trees")),
    "demo: begins": (f"demo --kernel {KERNEL} --bugs {BUGS} --out out", says("1. The healthy kernel")),
    "demo: repairs": (f"demo --kernel {KERNEL} --bugs {BUGS} --out out", says("failing: ")),
}
LONG = ("fix: proof", "demo: repairs")


@pytest.mark.parametrize("number", ENDS, ids=lambda number: signal.Signals(number).name)
@pytest.mark.parametrize(
    "moment", [pytest.param(name, marks=pytest.mark.slow if name in LONG else ()) for name in MOMENTS]
)
def test_an_end_at_a_moment(
    start: Callable[..., Run], tmp_path: Path, bug: Path, moment: str, number: signal.Signals
) -> None:
    words, there = MOMENTS[moment]
    tree = shutil.copytree(bug, tmp_path / "tree") if "BUG" in words else KERNEL
    before = contents(tree)
    run = start(*words.replace("BUG", str(tree)).split())
    await_(run, lambda: there(run))
    if number == signal.SIGINT:
        os.killpg(run.process.pid, number)  # a terminal sends Ctrl-C to all that runs in its foreground
    else:
        run.process.send_signal(number)
    status = run.process.wait(DEADLINE)
    lines = run.errors.splitlines()
    assert (status, lines[-1]) == ENDS[number], run.errors
    assert "Traceback" not in run.errors and "Error" not in run.errors
    assert run.output == "" or words.startswith("run")
    gone(run)
    assert contents(tree) == before
    assert [path.name for path in (tmp_path / "scratch").iterdir()] == []
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]
    assert not (tmp_path / "data").exists()


def contents(tree: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in tree.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_what_was_interrupted_can_be_done_again(start: Callable[..., Run], tmp_path: Path, bug: Path) -> None:
    """A repair that was interrupted goes on in the same folder, and ends well."""
    first = start("fix", "--kernel", str(bug), "--out", "out", "--budget", "600")
    await_(first, lambda: "failing: " in first.errors)
    first.process.send_signal(signal.SIGINT)
    assert first.process.wait(DEADLINE) == 130
    second = start("fix", "--kernel", str(bug), "--out", "out", "--budget", "600")
    assert second.process.wait(2 * DEADLINE) == 0, second.errors
    assert second.output.startswith("fixed: ")
    gone(second)


def test_ctrl_c_before_anybody_can_take_it(start: Callable[..., Run]) -> None:
    """As the installed command starts: with SIGINT blocked, which it lets through when it listens.

    Here it is pending before Python begins.
    """
    held = ("/usr/bin/env", "--block-signal=INT")
    if subprocess.run([*held, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this env cannot block signals")
    run = start(
        "check", "--kernel", str(KERNEL), launcher=(*held, "sh", "-c", 'kill -INT $$; exec "$@"', "sh")
    )
    assert run.process.wait(DEADLINE) == 130
    assert run.errors == "pxos: interrupted\n"
    gone(run)


def test_a_debugger_ends_with_us(start: Callable[..., Run], tmp_path: Path) -> None:
    if shutil.which("gdb") is None:
        pytest.skip("no gdb here")
    run = start("debug", "--kernel", str(KERNEL), "--out", "out", "--execute", "info registers rip")
    await_(run, lambda: "rip " in run.output)
    run.process.send_signal(signal.SIGTERM)
    assert run.process.wait(DEADLINE) == 143
    assert run.errors.splitlines()[-1] == "pxos: ended by SIGTERM"
    gone(run)
