"""``scripts/setup.sh`` on machines that lack something: one line that says what, status 2; interrupted, it runs again.

The machine is a folder of links to what every system has, and of small scripts in place of what is to be tried.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASE = [
    "bash", "cat", "chmod", "cut", "dirname", "env", "flock", "grep", "id", "mkdir", "mktemp", "rm", "sed",
    "sha256sum", "sort", "tail", "tr", "true",
]  # fmt: skip
TOOLS = [
    "qemu-system-x86_64",
    "grub-mkrescue",
    "xorriso",
    "mformat",
    "as",
    "ld",
    "gdb",
    "bwrap",
    "gcc",
    "nasm",
]
# Makes .venv with itself as its Python; its pip says on a pipe that it is there, and waits where it is told to.
PYTHON = """\
#!/bin/bash
case "$*" in
    --version) echo "Python 3.12.1" ;;
    "-m venv .venv") mkdir -p .venv/bin; cat "$0" >.venv/bin/python; chmod +x .venv/bin/python ;;
    "-m pip install -q --no-deps"*) printf '#!%s\\n' "$PWD/.venv/bin/python" >.venv/bin/pxos ;;
    "-m pip"*) [ ! -p hold ] || { echo >hold; read -r _ <hold; } ;;
esac
"""


class Machine:
    """A checkout with nothing but ``setup.sh``, and the programs that this machine has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "programs"
        (folder / "scripts").mkdir()
        self.programs.mkdir()
        shutil.copy(ROOT / "scripts/setup.sh", folder / "scripts/setup.sh")
        for name in ("requirements.lock", "pyproject.toml"):
            (folder / name).write_text("")
        for name in BASE:
            program = shutil.which(name)
            assert program is not None
            (self.programs / name).symlink_to(program)

    def has(self, name: str, script: str = "#!/bin/bash\n") -> None:
        (self.programs / name).write_text(script)
        (self.programs / name).chmod(0o755)

    def start(self) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(self.folder / "scripts/setup.sh")],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={"PATH": str(self.programs), "TMPDIR": str(self.folder), "LC_ALL": "C"},
        )  # fmt: skip

    def set_up(self) -> tuple[int, list[str]]:
        process = self.start()
        output, errors = process.communicate(timeout=60)
        assert output == ""
        return process.returncode, errors.splitlines()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def ready(machine: Machine) -> Machine:
    """All tools are there, and a Python."""
    if not Path("/usr/share/OVMF").exists() or not Path("/usr/lib/grub/i386-pc/boot.img").exists():
        pytest.skip("files of the system packages are missing here")
    for name in TOOLS:
        machine.has(name)
    machine.has("python3.12", PYTHON)
    return machine


def test_missing_tools_where_there_is_no_apt(machine: Machine) -> None:
    status, (line,) = machine.set_up()
    assert status == 2
    assert line.startswith("setup: missing, and there is no apt here: install by hand: ")
    assert set(line.split()) >= {"binutils", "gdb", "grub-common", "mtools", "qemu-system-x86", "xorriso"}


def test_missing_tools_where_nobody_may_install(machine: Machine) -> None:
    (machine.programs / "id").unlink()
    machine.has("id", "#!/bin/bash\necho 1000\n")
    machine.has("apt-get")
    status, (line,) = machine.set_up()
    assert status == 2
    assert line.startswith("setup: not root and no sudo: install these packages yourself: binutils ")


def test_an_apt_that_fails(machine: Machine) -> None:
    (machine.programs / "id").unlink()
    machine.has("id", "#!/bin/bash\necho 0\n")
    machine.has(
        "apt-get", "#!/bin/bash\necho Reading...\necho 'E: Unable to locate package xorriso'\nexit 100\n"
    )
    status, (begun, line) = machine.set_up()
    assert status == 2
    assert begun.startswith("setup: installing system packages: ")
    assert "E: Unable to locate package xorriso (details in " in line


@pytest.mark.parametrize(("version", "found"), [("Python 3.9.2", "Python 3.9.2"), ("", "none")])
def test_a_wrong_python(ready: Machine, version: str, found: str) -> None:
    (ready.programs / "python3.12").unlink()
    if version:
        ready.has("python3", f"#!/bin/bash\n[ $1 = --version ] || exit 1\necho {version}\n")
    status, (line,) = ready.set_up()
    assert status == 2
    assert line.startswith(f"setup: Python 3.11 or 3.12 is needed, found {found}: install one")


def test_a_checkout_that_cannot_be_written(ready: Machine) -> None:
    (ready.folder / "build").write_text("")
    assert ready.set_up() == (2, [f"setup: cannot write to {ready.folder}/build"])
    (ready.folder / "build").unlink()
    (ready.folder / "build/.setup.lock").mkdir(parents=True)
    assert ready.set_up() == (2, [f"setup: cannot write to {ready.folder}/build"])


def test_a_virtual_environment_that_cannot_be_made(ready: Machine) -> None:
    ready.has("python3.12", PYTHON.replace("mkdir -p", "exit 1; mkdir -p"))
    status, (begun, line) = ready.set_up()
    assert (status, begun) == (2, "setup: making the virtual environment .venv with Python 3.12.1")
    assert line.startswith("setup: cannot make the virtual environment .venv with python3.12 (details in ")


def test_a_pip_that_fails(ready: Machine) -> None:
    ready.has("python3.12", PYTHON.replace('"-m pip"*)', '"-m pip"*) echo ERROR: no matching hash; exit 1;'))
    status, lines = ready.set_up()
    assert status == 2
    assert "pip could not install requirements.lock: ERROR: no matching hash (details in " in lines[-1]


def test_an_interrupted_set_up_is_done_again(ready: Machine) -> None:
    os.mkfifo(ready.folder / "hold")
    process = ready.start()
    (ready.folder / "hold").read_text()  # pip is there
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode != 0
    assert not (ready.folder / ".venv/.pxos-setup").exists()
    (ready.folder / "hold").unlink()
    status, lines = ready.set_up()
    assert (status, lines[-1]) == (0, "setup: ready")
    assert ready.set_up() == (0, [])
    (ready.folder / ".venv/bin/python").unlink()  # a Python that the system has removed
    assert ready.set_up()[1][-1] == "setup: ready"


def test_the_command_starts_with_ctrl_c_held_back(ready: Machine) -> None:
    assert ready.set_up()[0] == 0
    first = (ready.folder / ".venv/bin/pxos").read_text().splitlines()[0]
    python = ready.folder / ".venv/bin/python"
    held = (
        len(f"#!{python}") < 90
    )  # as in setup.sh; where the tests' folders lie, and how many there were, decides
    assert first == (f"#!/usr/bin/env -S --block-signal=INT {python}" if held else f"#!{python}")
