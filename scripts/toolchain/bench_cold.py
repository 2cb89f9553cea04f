"""What ``pxos build`` costs as a whole process: time and memory, with nothing kept from an earlier run and with all.

Owns: the rows ``cold build`` (``--no-cache``: every unit is assembled), ``cold process, objects kept`` (a folder of
object files that an earlier run left; everything as it was, or one unit with a new line) and ``cold build memory``.
The three are never mixed: each run has a build folder of its own kind, and what is kept lies in the bench's own folder.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolchain import measure
from toolchain.bench_gnu import STAGE, Edits, Gnu
from toolchain.command import Ui
from toolchain.errors import ToolError

ROUNDS = 9
MEMORY_ROUNDS = 5
IMPORT = "import keystone, capstone"
REACH = 3  # times that import, with nothing kept
MEMORY_REACH = 150  # MiB
_SAMPLE_SECONDS = 0.002  # between two looks at the memory of a running build


def rows(ui: Ui, suffix: str, tree: Path, gnu: Gnu, scratch: Path, lines: int) -> list[dict[str, Any]]:
    """The rows of one tree.

    Args:
        ui: told of the progress.
        suffix: of the rows' names.
        tree: the kernel tree.
        gnu: the peer, which has not built yet.
        scratch: a folder for build folders, a copy of the tree and what is kept.
        lines: of the tree's units, for the rows.
    """
    runs = _Runs(tree, gnu, scratch / f"cold-{tree.name}")
    gnu.build()
    found = measure.interleave(
        {
            "cold": runs.cold, "same": runs.unchanged, "edited": runs.edited, "import": runs.bare,
            "as+ld": lambda: measure.timed(gnu.build), "as1+ld": runs.gnu_edited, "ld": lambda: measure.timed(gnu.link),
        },
        ROUNDS,
        tick=lambda text: ui.progress(f"cold build{suffix}: {text}"),
    )  # fmt: skip
    sizes = measure.interleave(
        {"cold": lambda: _peak(runs.command("--no-cache")), "import": lambda: _peak(_IMPORTING)},
        MEMORY_ROUNDS,
    )
    bare = f'python -c "{IMPORT}"'
    kept = f"cold process, objects kept{suffix}"
    plan: list[tuple[str, str, str, str, dict[str, Any]]] = [
        (
            f"cold build{suffix}",
            "cold",
            bare,
            "import",
            {"reach": REACH, "reach_of": "ratio", "kept": "nothing"},
        ),
        (f"cold build against as + ld{suffix}", "cold", "as + ld", "as+ld", {"kept": "nothing"}),
        (f"{kept}: nothing changed", "same", bare, "import", {"kept": "objects"}),
        (f"{kept}: nothing changed, against ld", "same", "ld", "ld", {"kept": "objects"}),
        (f"{kept}: one file changed", "edited", bare, "import", {"kept": "objects"}),
        (
            f"{kept}: one file changed, against as + ld",
            "edited",
            "as (one file) + ld",
            "as1+ld",
            {"kept": "objects"},
        ),
    ]
    made = [
        measure.row(what, found[own], peer, found[other], "s", lines=lines, **more)
        for what, own, peer, other, more in plan
    ]
    memory = measure.row(
        f"cold build memory{suffix}", sizes["cold"], bare, sizes["import"], "MiB", 2**-20, reach=MEMORY_REACH,
        kept="nothing",
    )  # fmt: skip
    return [*made, memory]


_IMPORTING = [sys.executable, "-c", IMPORT]


class _Runs:
    """Whole processes that build a tree; each call returns the seconds of one."""

    def __init__(self, tree: Path, gnu: Gnu, folder: Path) -> None:
        self._tree, self._gnu, self._folder = tree, gnu, folder
        self._copy = folder / "tree"
        shutil.copytree(tree, self._copy)
        self._edits = Edits(tree, gnu.names)
        self._numbers = itertools.count()
        program = Path(sys.executable).with_name("pxos")
        self._start = [str(program)] if program.is_file() else [sys.executable, "-m", "cli"]
        for warmed in ("same", "edited"):
            self._kept(warmed)

    def command(self, *options: str, tree: Path | None = None, out: str = "") -> list[str]:
        """``pxos build`` into a folder of its own, or into ``out``."""
        target = self._folder / (out or f"out-{next(self._numbers)}")
        where = ["--kernel", str(tree or self._tree), "--out", str(target)]
        return [*self._start, "build", "-q", "--no-iso", *options, *where]

    def cold(self) -> float:
        """Nothing kept: every unit is assembled, every product written."""
        return _process(self.command("--no-cache"))

    def unchanged(self) -> float:
        """Again what was built before, into the same build folder."""
        return self._kept("same")

    def edited(self) -> float:
        """One unit has a line that no run has seen."""
        (self._copy / self._edits.name).write_text(self._edits.next())
        return self._kept("edited")

    def bare(self) -> float:
        """The peer that does nothing but load the libraries."""
        return _process(_IMPORTING)

    def gnu_edited(self) -> float:
        """GNU as on the unit with such a line, and ld on all."""
        gnu, name = self._gnu, self._edits.name
        source = self._folder / "edited.s"
        source.write_text(self._edits.next())
        return measure.timed(lambda: gnu.rebuild(name, source))

    def _kept(self, which: str) -> float:
        tree = self._copy if which == "edited" else self._tree
        return _process(self.command(tree=tree, out=which), {"XDG_CACHE_HOME": str(self._folder / "cache")})


def _process(command: list[str], more: Mapping[str, str] | None = None) -> float:
    began = time.perf_counter()
    result = subprocess.run(
        command, capture_output=True, text=True, timeout=120, env=_environment() | dict(more or {})
    )
    seconds = time.perf_counter() - began
    if result.returncode:
        raise _failed(command, result.returncode, result.stderr)
    return seconds


def _environment() -> dict[str, str]:
    """This process's environment, in which the warm-up may keep the bytecode of modules just edited."""
    dropped = ("PYTHONDONTWRITEBYTECODE", "PXOS_NO_CACHE")
    return {name: value for name, value in os.environ.items() if name not in dropped}


def _failed(command: list[str], status: int, output: str) -> ToolError:
    last = output.strip().splitlines()[-1:] or ["it said nothing"]
    return ToolError(
        f"{Path(command[0]).name} {command[1]}: exit status {status}: {last[0]}",
        stage=STAGE,
        command=command,
        returncode=status,
        output_tail=output,
    )


# --- memory ------------------------------------------------------------------------------------------------


def _peak(command: list[str]) -> float:
    """Peak memory in bytes of a command and its children together: the greatest sum of their PSS at one moment.

    A process's proportional set size counts a page that several processes share by its part in each, so the sum over
    a family of forks counts what they share once. It is looked at every 2 ms: a shorter peak can be missed.

    Source: proc(5), ``/proc/pid/smaps_rollup``.
    """
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=_environment()
    )
    highest = 0
    while process.poll() is None:
        highest = max(highest, sum(map(_proportional, _family(process.pid))))
        time.sleep(_SAMPLE_SECONDS)
    if process.returncode:
        raise _failed(command, process.returncode, "")
    return float(highest)


def _family(pid: int) -> list[int]:
    found = [pid]
    for parent in found:
        try:
            found += map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())
        except (OSError, ValueError):
            continue  # it has just ended
    return found


def _proportional(pid: int) -> int:
    """The PSS of a process in bytes; 0 when it has just ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0
