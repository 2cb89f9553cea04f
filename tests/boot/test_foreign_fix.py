"""Bugs planted in kernels of three makes are diagnosed and repaired by search, without a model."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from architect import corpus
from tests.unit import schemas
from tests.unit.pxos import pxos

pytestmark = pytest.mark.qemu

KERNELS = Path(__file__).resolve().parents[1] / "fixtures/kernels"
BUGS = sorted((KERNELS / "bugs").glob("*/*.toml"))
QUICK = {"pd-entries-not-large", "data-selector-beyond-gdt", "column-goes-back"}  # one of each syntax
BUDGET = "400"


def planted(folder: Path, path: Path) -> Path:
    """The kernel of a bug with the bug in it."""
    tree = folder / path.parent.name
    shutil.copytree(KERNELS / path.parent.name, tree)
    for plant in corpus.read(path).plants:
        text = (tree / plant.file).read_text()
        assert text.count(plant.find) == 1
        (tree / plant.file).write_text(text.replace(plant.find, plant.replace))
    return tree


def streams(folder: Path, tree: Path) -> dict[str, Any]:
    """What a boot says on every line of a kernel to the host."""
    answer = pxos("boot", "--kernel", str(tree), "--out", str(folder), "--json", "-q")
    assert answer.status == 0, answer.data
    return {name: text.strip() for name, text in answer.data["judge"]["streams"].items() if text.strip()}


@pytest.mark.parametrize("path", BUGS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_planted_bug_shows_as_it_says(tmp_path: Path, path: Path) -> None:
    tree, bug = planted(tmp_path, path), corpus.read(path)
    answer = pxos(
        "boot", "--kernel", str(tree), "--out", str(tmp_path / "out"), "--timeout", "3", "--json", "-q"
    )
    assert answer.data["outcome"] == bug.expect, answer.data["judge"]["message"]
    assert answer.data["fault"]["cause"]


@pytest.mark.parametrize(
    "path",
    [pytest.param(p, marks=() if p.stem in QUICK else pytest.mark.slow) for p in BUGS],
    ids=lambda path: f"{path.parent.name}-{path.stem}",
)
def test_a_planted_bug_is_repaired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    tree = planted(tmp_path, path)
    before = {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()}
    answer = pxos(
        "fix", "--kernel", str(tree), "--out", "out", "--lessons", "lessons", "--engine", "search",
        "--budget", BUDGET, "--json", "-q",
    )  # fmt: skip
    assert answer.status == 0, answer.data
    schemas.validate(answer.data, "fix")
    assert answer.data["outcome"] == "fixed" and answer.data["engine"] == "search"
    assert [gate["gate"] for gate in answer.data["gates"]] == ["fresh-copy", "boot-1", "boot-2", "boot-3"]
    assert answer.data["diagnosis"]["cause"]
    assert {p: p.read_bytes() for p in tree.rglob("*") if p.is_file()} == before
    subprocess.run(["patch", "-p1", "-s"], cwd=tree, input=answer.data["patch"], text=True, check=True)
    sound = streams(tmp_path / "sound", KERNELS / path.parent.name)
    assert (
        streams(tmp_path / "mended", tree) == sound
    )  # what the repair never saw: every word, not just ready's


def test_a_sound_kernel_is_healthy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tree = KERNELS / "att-multiboot"
    answer = pxos("fix", "--kernel", str(tree), "--out", "out", "--lessons", "lessons", "--json", "-q")
    assert answer.status == 0 and answer.data["outcome"] == "healthy", answer.data


@pytest.mark.parametrize(
    ("kernel", "file", "old", "new"),
    [
        ("nasm-flat", "main.asm", "mov rsp, STACK64_TOP", "mov rsp, STACK_65_TOP"),
        ("att-multiboot", "src/timer.s", "outb    %al, $PIC1_COMMAND", "outb    %al, $PIC1_COMMAN"),
    ],
)
def test_a_tree_that_does_not_build_is_repaired(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kernel: str, file: str, old: str, new: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tree = tmp_path / kernel
    shutil.copytree(KERNELS / kernel, tree)
    text = (tree / file).read_text()
    (tree / file).write_text(text.replace(old, new, 1))
    answer = pxos(
        "fix",
        "--kernel",
        str(tree),
        "--out",
        "out",
        "--lessons",
        "lessons",
        "--budget",
        BUDGET,
        "--json",
        "-q",
    )
    assert answer.data["outcome"] == "fixed", answer.data
    assert answer.data["diagnosis"]["failing"][0]["gate"] == "assembles"
