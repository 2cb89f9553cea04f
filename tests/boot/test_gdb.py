"""gdb on the real kernel in QEMU: breakpoints by source line, sources, and traces across modules."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain import build
from toolchain.symbols import SymbolTable

pytestmark = pytest.mark.qemu
ROOT = Path(__file__).resolve().parents[2]
TARGET = "serial_put_string"  # a routine that routines of other files call


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.build(ROOT / "kernel", tmp_path_factory.mktemp("gdb"), iso=False).elf


@pytest.fixture
def socket(kernel: Path, tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "gdb"
    command = [
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-machine",
        "q35",
        "-cpu",
        "max",
        "-m",
        "128M",
        "-no-reboot",
    ]
    command += [
        "-bios",
        "qboot.rom",
        "-kernel",
        str(kernel),
        "-display",
        "none",
        "-serial",
        "null",
        "-net",
        "none",
    ]
    command += ["-S", "-gdb", f"unix:{path},server=on,wait=off"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    try:
        while not path.exists():
            assert process.poll() is None
        yield path
    finally:
        process.kill()
        process.communicate()


def gdb(kernel: Path, socket: Path, *steps: str) -> str:
    every = [f"target remote {socket}", *steps]
    command = ["gdb", "-nx", "-batch", *(x for step in every for x in ("-ex", step)), str(kernel)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    return result.stdout + result.stderr


def test_break_list_and_trace_across_modules(kernel: Path, socket: Path) -> None:
    table = SymbolTable(kernel)
    symbol = table.find(TARGET)
    assert symbol is not None
    place = table.place(symbol.address)
    assert place.file is not None
    out = gdb(kernel, socket, f"break {Path(place.file).name}:{place.line}", "continue", "list", "bt")
    assert f"Breakpoint 1 at {symbol.address:#x}: file {place.file}, line {place.line}." in out
    source = (ROOT / "kernel" / place.file).read_text().splitlines()
    assert place.line is not None
    assert f"{place.line}\t{source[place.line - 1]}" in out
    frames = re.findall(r"^#(\d+) .*?(\w+) \(\) at ([\w/.-]+):(\d+)$", out, re.M)
    assert frames[0][1] == TARGET
    assert len(frames) >= 3
    assert len({file for _, _, file, _ in frames}) >= 2
    for _, name, file, line in frames[1:]:  # each frame stands at a call of what is above it
        callee = frames[int(_) - 1][1]
        text = (ROOT / "kernel" / file).read_text().splitlines()[int(line) - 1]
        assert "call" in text or callee in text, (name, file, line, text)
    assert "corrupt" not in out
