"""Builds on disk: what GNU as and ld make, one process or two, copies, map, listing, the command."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

import cli
from tests.small_tree import plant
from toolchain import build, elf_read, forked, generate, layout
from toolchain.build import Session
from toolchain.tools import GnuAs, GnuLd

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
SCHEMA = json.loads((Path(build.__file__).parent / "schemas/build.json").read_text())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree")


@pytest.mark.long
def test_the_kernel_is_what_gnu_as_and_ld_make_of_it(tmp_path: Path) -> None:
    loaded = layout.load(KERNEL / "image.toml")
    generate.generate(KERNEL, tmp_path)
    (tmp_path / "layout.ld").write_text(layout.ld_script(loaded))
    include = [tmp_path / "gen", *(KERNEL / folder for folder in loaded.include)]
    objects = []
    for name in build.source_names(KERNEL, loaded.sources, {}):
        objects.append(tmp_path / (name.replace("/", "_") + ".o"))
        GnuAs("test").assemble(KERNEL / name, objects[-1], include)
    GnuLd("test").link(objects, tmp_path / "layout.ld", tmp_path / "gnu.elf")
    build.build(KERNEL, tmp_path / "out", iso=False)
    theirs = elf_read.read(tmp_path / "gnu.elf")
    ours = elf_read.read(tmp_path / "out/pxos.elf")
    assert ours.entry == theirs.entry
    named = [s for s in ours.sections if "a" in s.flags]
    assert {".boot", ".text", ".rodata", ".data", ".bss"} <= {s.name for s in named}
    for section in named:
        other = theirs.section(section.name)
        assert other is not None
        assert (section.address, section.size) == (other.address, other.size)
        assert section.nobits or section.data == other.data, section.name


@pytest.mark.long
def test_two_processes_make_the_same_image_as_one() -> None:
    if not forked.available():
        pytest.skip("one core, or a process with threads")
    image, texts = build.once(KERNEL)
    with Session(KERNEL) as session:
        assert session.build() == image
        assert session.sources() == texts


# --- products ----------------------------------------------------------------------------------------------


def test_copies_built_elsewhere_and_later_are_the_same_bytes(tmp_path: Path, tree: Path) -> None:
    first = build.build(tree, tmp_path / "out")
    copy = tmp_path / "another name" / "of the tree"
    shutil.copytree(tree, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    second = build.build(copy, tmp_path / "elsewhere/out")
    assert first.iso is not None
    assert second.iso is not None
    for one, other in ((first.elf, second.elf), (first.iso, second.iso), (first.map, second.map)):
        assert one.read_bytes() == other.read_bytes()
    assert first.listing.read_text() == second.listing.read_text()
    assert first.bytes == first.elf.stat().st_size


def test_map_and_listing(tmp_path: Path, tree: Path) -> None:
    result = build.build(tree, tmp_path / "out", iso=False)
    assert result.iso is None
    lines = result.map.read_text().splitlines()
    assert any(re.match(r"0xffffffff801\w+ +0x\w+ \.text +start +start\.s:4$", line) for line in lines)
    listing = result.listing.read_text()
    assert re.search(r"5 ffffffff801\w+ b807000000 +mov eax, VALUE$", listing, re.M)
    assert "=== cpu/other.s" in listing


def test_the_listing_of_a_repetition_shows_how_it_begins(tmp_path: Path, tree: Path) -> None:
    other = tree / "cpu/other.s"
    other.write_text(other.read_text() + ".section .text\n.rept 20000\nnop\nud2\n.endr\n")
    shown = re.findall(
        r"([0-9a-f]{20}\+) (nop|ud2)$", build.build(tree, tmp_path, iso=False).listing.read_text(), re.M
    )
    assert shown == [("90" * 10 + "+", "nop"), ("0f0b" * 5 + "+", "ud2")]


_LEAVING = """
import atexit, sys, cli
from toolchain.command import STATUS_NO, Outcome
from toolchain.commands import build

class Dear:
    def __del__(self):
        sys.stderr.write("taken apart")

atexit.register(sys.stderr.write, "exit handler, ")
build.run = lambda args, ui: Outcome(STATUS_NO, text="said", spared=Dear())
sys.stdout.write("unflushed ")
sys.exit(cli.main())
"""


def test_what_is_spared_is_not_taken_apart_when_the_process_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEAVING, "build"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "unflushed said\n", "exit handler, ")


def test_nothing_is_rewritten_when_nothing_changed(tmp_path: Path, tree: Path) -> None:
    out = tmp_path / "out"
    build.build(tree, out, iso=False)
    before = {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()}
    build.build(tree, out, iso=False)
    assert {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()} == before


def test_command(tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["build", "--kernel", str(tree), "--out", str(tmp_path / "out"), "--no-iso"]
    assert cli.main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    jsonschema.validate(data, SCHEMA)
    assert Path(data["elf"]).stat().st_size == data["bytes"]
    assert data["iso"] is None
    assert cli.main([*arguments, "-q"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "pxos.elf" in captured.out
