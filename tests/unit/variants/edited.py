"""The kernel's sources, and one of them with a line exchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

KERNEL = Path(__file__).resolve().parents[3] / "kernel"


def edited(file: str, start: str, new: list[str]) -> dict[str, str]:
    lines = (KERNEL / file).read_text(encoding="utf-8").split("\n")
    at = next(number for number, line in enumerate(lines) if line.startswith(start))
    return {file: exchanged(lines, at, new)}


def kernel_texts() -> dict[str, str]:
    return {
        path.relative_to(KERNEL).as_posix(): path.read_text(encoding="utf-8")
        for path in KERNEL.rglob("*")
        if path.suffix in (".s", ".inc") and "test" not in path.parts
    }


def exchanged(lines: Sequence[str], at: int, new: Sequence[str]) -> str:
    """A text with other lines in the place of one."""
    return "\n".join([*lines[:at], *new, *lines[at + 1 :]])
