"""Who may import whom (ARCHITECTURE.md, "The rooms"), read from the sources."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
OURS = {"toolchain", "architect", "pixelvm", "cli", "tests"}
ROOMS = {
    "scripts/toolchain": {"toolchain"},
    "pixelvm": {"toolchain", "pixelvm"},
    "architect": {"toolchain", "pixelvm", "architect"},
    "scripts/cli.py": {"toolchain", "pixelvm", "architect"},
    "tests": {"toolchain", "pixelvm", "architect", "cli", "tests"},
}


def imported(path: Path) -> Iterator[str]:
    """Top-level names that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.split(".")[0]


def breaches(files: list[Path], allowed: set[str]) -> list[str]:
    return [f"{p}: imports {name}" for p in files for name in imported(p) if name in OURS - allowed]


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_what_it_may(room: str) -> None:
    place = ROOT / room
    files = [place] if place.is_file() else sorted(place.rglob("*.py"))
    assert files
    assert breaches(files, ROOMS[room]) == []


def test_a_breach_is_seen(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text(
        "def f():\n    from architect.loop import repair\n    import cli\n    return repair, cli\n"
    )
    assert len(breaches([bad], {"toolchain"})) == 2


def test_no_path_edits() -> None:
    edits = [str(p) for room in ROOMS if room != "tests" for p in sorted((ROOT / room).rglob("*.py"))
             if "sys.path" in p.read_text(encoding="utf-8")]  # fmt: skip
    assert edits == []
