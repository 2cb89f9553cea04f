"""A small tree whose objects are kept, and what was assembled and linked of it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests import small_tree
from toolchain import build, parallel, sealed

PRODUCTS = ("pxos.elf", "pxos.map", "pxos.lst")
NAMES = ["cpu/other.s", "picture.s", "start.s"]
IMAGE = small_tree.IMAGE.replace('["include"]', '["first", "include"]')
PICTURE = """\
.section .rodata, "a"
.global picture
picture:
    .incbin "picture.bin"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """The small tree with an include file in an include file, a folder that is looked in first, and a binary file."""
    folder = small_tree.plant(tmp_path / "tree")
    (folder / "first").mkdir()
    (folder / "image.toml").write_text(IMAGE)
    (folder / "include/values.inc").write_text('.include "deeper.inc"\n')
    (folder / "include/deeper.inc").write_text(".set VALUE, 7\n")
    (folder / "include/picture.bin").write_bytes(b"picture")
    (folder / "picture.s").write_text(PICTURE)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache/pxos/objects"


@pytest.fixture
def assembled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The names of the units that were assembled, in whatever process; emptied by ``made``."""
    found = tmp_path / "assembled"
    found.touch()
    really = parallel.assemble

    def noted(names: dict[str, int], *others: object) -> object:
        with found.open("a") as file:
            file.writelines(f"{name}\n" for name in names)
        return really(names, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(parallel, "assemble", noted)
    return found


def made(assembled: Path) -> list[str]:
    names = sorted(assembled.read_text().split())
    assembled.write_text("")
    return names


def same(tree: Path, cache: Path) -> None:
    """A build with ``cache`` is what one without is."""
    assert build.once(tree, cache) == build.once(tree)


def the_file(cache: Path) -> Path:
    (path,) = cache.glob("*.objects")
    return path


def named(tree: Path) -> str:
    """The file of a tree's objects."""
    return f"{sealed.digest(os.fsencode(tree)).hex()}.objects"


def later(path: Path, text: str | bytes) -> None:
    """Another content with the same time, as an editor within one tick of the clock leaves it."""
    status = path.stat()
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def products(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in PRODUCTS}
