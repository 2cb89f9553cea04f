"""A disk that fills up while a machine runs: one line that names the file, status 2, and no machine left."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path

import pytest

from tests.boot import kernels
from tests.processes import having
from tests.unit.pxos import PXOS
from tests.unit.test_files import full_disk
from toolchain.command import Ui
from toolchain.commands import debug

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
MOUNT = 'mount -t tmpfs -o "size=$1" none "$2" && shift 2 && "$@"'


def on_a_small_disk(size: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """``pxos`` with a disk of ``size`` at ``folder``, which nobody else sees."""
    folder.mkdir(exist_ok=True)
    inside = ["unshare", "-rm", "sh", "-c", MOUNT, "sh", size, str(folder)]
    if subprocess.run([*inside, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no right to mount a small disk here")
    return subprocess.run(
        [*inside, *PXOS, *words], capture_output=True, text=True, timeout=60, check=False, stdin=subprocess.DEVNULL,
        env={**os.environ, "XDG_DATA_HOME": str(folder / "data")},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("size", "words", "file"),
    [
        ("4k", "boot -q --kernel KERNEL --out DISK", "boot/serial.log: cannot write: "),
        ("8k", "boot -q --kernel KERNEL --out DISK", "boot/boot.json: cannot write: "),
        ("4k", "run -q --kernel KERNEL --out DISK --timeout 50", "boot/serial.log: cannot write: "),
        ("100k", "boot -q --kernel TREE --out DISK", "pxos.elf: cannot write: "),
        ("300k", "boot -q --iso --kernel TREE --out DISK", ": cannot write: "),
        ("100k", "fix -q --kernel TREE --out DISK", ".s: cannot write: "),
        ("700k", "fix -q --kernel TREE --out DISK", ": cannot write: "),
    ],
)
def test_a_disk_that_fills_up(tmp_path: Path, size: str, words: str, file: str) -> None:
    image = tmp_path / "image.elf"
    image.write_bytes(
        kernels.outcome_kernel(tmp_path, "serial-flood" if size == "4k" else "ready").read_bytes()
    )
    row = words.replace("KERNEL", str(image)).replace("TREE", str(ROOT / "kernel"))
    done = on_a_small_disk(size, tmp_path / "disk", *row.replace("DISK", str(tmp_path / "disk")).split())
    assert done.returncode == 2, done
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"{file}No space left on device; choose" in done.stderr
    assert not having(str(tmp_path))


class Guest:
    """A machine that has said ``said``."""

    def __init__(self, *said: bytes) -> None:
        self.serial_handle = os.open("/dev/null", os.O_RDONLY)  # readable at once
        self.said = [*said, b""]

    def read_serial(self, size: int) -> bytes:
        return self.said.pop(0)


def test_the_debugger_goes_on_without_its_log(tmp_path: Path) -> None:
    guest, told, path = Guest(b"12345678", b"and more", b"and more"), io.StringIO(), tmp_path / "serial.log"
    with path.open("wb", buffering=0) as file, full_disk(10):
        debug._keep_serial(guest, file, Ui(told))  # type: ignore[arg-type]
    os.close(guest.serial_handle)
    assert guest.said == []
    assert path.read_bytes() == b"12345678an"
    assert told.getvalue() == f"{path}: cannot write: File too large; the serial line is kept no longer\n"
