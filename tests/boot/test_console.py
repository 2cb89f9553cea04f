"""The text console: what the screen shows is what the serial line said, read back from its pixels."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import pytest

from toolchain import build, qemu_args
from toolchain.machine import Machine
from toolchain.types import BootConfig, Screen

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
FONT = (ROOT / "kernel/dev/font/spleen-8x16.psf").read_bytes()[32:]
INK = b"\xd8\xde\xe9"
SECONDS = 60
GLYPHS = {FONT[code * 16 : code * 16 + 16]: chr(code) for code in range(32, 127)}


def text(screen: Screen | None) -> list[str]:
    """The rows of characters that a screen shows; a cell that shows no character of the font is a middle dot."""
    assert screen is not None
    rows = []
    for top in range(0, screen.height - 15, 16):
        row = ""
        for left in range(0, screen.width - 7, 8):
            glyph = bytearray()
            for y in range(top, top + 16):
                at = 3 * (y * screen.width + left)
                line = screen.pixels[at : at + 24]
                glyph.append(sum(1 << 7 - x for x in range(8) if line[3 * x : 3 * x + 3] == INK))
            row += GLYPHS.get(bytes(glyph), "·")
        rows.append(row.rstrip())
    return rows


@contextmanager
def machine(folder: Path, display: Literal["std", "bochs"]) -> Iterator[Machine]:
    """The kernel on a machine that has neither isa-debug-exit nor pvpanic, as real ones have not."""
    built = build.build(ROOT / "kernel", folder / "build", iso=False)
    words = qemu_args.machine_arguments(BootConfig(built.elf, display=display), "tcg")
    at = next(i for i, word in enumerate(words) if word.startswith("isa-debug-exit"))
    del words[at - 1 : at + 1]
    with Machine([*words, "-no-reboot"], folder) as made:
        yield made


def hear(made: Machine, until: str) -> str:
    """What the serial line says, up to some words."""
    said, end = "", time.monotonic() + SECONDS
    while until not in said:
        assert time.monotonic() < end, said[-500:]
        data = made.read_serial(4096)
        assert data != b"", said[-500:]
        said += (data or b"").decode("latin-1")
        if not data:
            time.sleep(0.01)
    return said


def shown(made: Machine, last: str) -> list[str]:
    """What the screen shows, once it shows some words.

    The processors are held for each picture: QEMU draws it from the top down, and a guest that writes meanwhile
    would have its last rows in it and not its first ones.
    """
    end = time.monotonic() + SECONDS
    while True:
        made.stop()
        rows = text(made.screenshot())
        if any(last in row for row in rows):
            return rows
        assert time.monotonic() < end, "\n".join(rows)
        made.resume()


@pytest.mark.parametrize("display", ["std", "bochs"])
def test_the_panic_screen_shows_the_report(tmp_path: Path, display: Literal["std", "bochs"]) -> None:
    with machine(tmp_path, display) as made:
        hear(made, "px> ")
        made.write_serial(b"fault read\r")
        said = hear(made, "PXFAULT v1 end\n")
        rows = shown(made, "PXFAULT v1 end")
    report = said[said.index("PXFAULT v1 begin") :].replace("\r", "").rstrip("\n").split("\n")
    columns = 1024 // 8
    wrapped = [line[at : at + columns] for line in report for at in range(0, max(len(line), 1), columns)]
    assert rows[: len(wrapped)] == [line.rstrip() for line in wrapped]
    assert not any(rows[len(wrapped) :])


def test_the_shell_is_on_the_screen(tmp_path: Path) -> None:
    with machine(tmp_path, "std") as made:
        hear(made, "px> ")
        made.write_serial(b"hlp\x1b[D\x1b[De\r")
        hear(made, "takes\n")
        made.write_serial(b"mem\r")
        hear(made, "type=usable")
        rows = shown(made, "type=usable")
    assert rows[0] == "px> help"
    assert any(row.startswith("map ADDR") for row in rows)
    assert "·" not in "".join(rows)
