"""``pxos init``: what a tree looks like, told with reasons, never over what is there."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import pytest

from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain.foreign import config, guess

KERNELS = Path(__file__).resolve().parents[1] / "fixtures/kernels"
EXPECTED = {
    "nasm-flat": ("nasm", "nasm -f bin -l kernel.lst -o kernel.img boot.asm", "kernel.img"),
    "att-multiboot": ("gas-att", "make", "kernel.elf"),
    "c-multiboot": ("gas-intel", "make", "kernel.elf"),
}


@pytest.mark.parametrize("kernel", EXPECTED)
def test_a_tree_is_recognised(tmp_path: Path, kernel: str) -> None:
    tree = tmp_path / kernel
    shutil.copytree(KERNELS / kernel, tree, ignore=shutil.ignore_patterns("pxos.toml"))
    answer = pxos("init", str(tree), "--json")
    assert answer.status == 0, answer.errors
    schemas.validate(answer.data, "init")
    made, given = config.load(tree), config.load(KERNELS / kernel)
    assert (made.syntax, made.build, made.artifact) == EXPECTED[kernel]
    files = [path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()]
    assert {n for n in files if made.may_edit(n)} == {n for n in files if given.may_edit(n)}
    assert all(row["why"] for row in answer.data["guesses"])


def test_what_is_there_stays(tmp_path: Path) -> None:
    tree = tmp_path / "k"
    shutil.copytree(KERNELS / "nasm-flat", tree)
    before = (tree / "pxos.toml").read_text()
    answer = pxos("init", str(tree))
    assert answer.status == 2 and "--force" in answer.errors and (tree / "pxos.toml").read_text() == before
    assert pxos("init", str(tree), "--force").status == 0
    assert (tree / "pxos.toml").read_text() != before


def test_a_folder_without_sources_is_told(tmp_path: Path) -> None:
    answer = pxos("init", str(tmp_path))
    assert answer.status == 2 and "no sources of a kernel" in answer.errors
    assert pxos("init", str(tmp_path / "none")).status == 2
    assert not (tmp_path / "pxos.toml").exists()


def test_the_makefile_says_what_qemu_gets(tmp_path: Path) -> None:
    (tmp_path / "boot.s").write_text(
        '.globl _start\n_start: movl $1, %eax\n.long 0x1BADB002\n.asciz "Welcome to k\\n"\n'
    )
    (tmp_path / "Makefile").write_text(
        "ISO := build/os.iso\nall: $(ISO)\n$(ISO): boot.o\n\tgrub-mkrescue -o $@ iso\n"
        "run:\n\tqemu-system-x86_64 -m 512M -smp 2 -serial stdio -cdrom $(ISO) -netdev user,id=n -cpu max\n"
    )
    rows = {g.key: g for g in guess.Look(tmp_path).guesses()}
    assert rows["qemu"].value == '["-m", "512M", "-smp", "2", "-cpu", "max"]'
    assert "-serial -netdev" in rows["qemu"].why
    assert rows["artifact"].value == '"build/os.iso"' and rows["ready"].value == '"Welcome to k"'
    config.parse(guess.toml(guess.Look(tmp_path).guesses()), tmp_path)


@pytest.mark.parametrize(
    ("syntax", "text"),
    [
        (
            "nasm",
            "bits 32\nsection .text\nglobal start\nstart:\n mov eax, [foo] ; load\n jmp start\nfoo: dd 1\n",
        ),
        ("gas-att", ".globl start\nstart:\n movl foo, %eax # load\n jmp start\nfoo: .long 1\n"),
        (
            "gas-intel",
            ".intel_syntax noprefix\n.globl start\nstart:\n mov eax, dword ptr [foo] # load\n jmp start\n",
        ),
    ],
)
def test_dialects_are_told_apart(syntax: str, text: str) -> None:
    scores = guess.score_text(text)
    assert max(scores, key=lambda name: scores[name]) == syntax


SECTOR = "bits 16\norg 0x7c00\nstart: hlt\ntimes 510-($-$$) db 0\ndw 0xaa55\n"


def test_a_name_with_blanks_is_one_word_of_the_command(tmp_path: Path) -> None:
    (tmp_path / "start up; it's.asm").write_text(SECTOR)
    assert pxos("init", str(tmp_path)).status == 0
    words = shlex.split(config.load(tmp_path).build)
    assert words[0] == "nasm" and words[-1] == "start up; it's.asm"


def test_cmake_builds_where_there_is_no_makefile(tmp_path: Path) -> None:
    (tmp_path / "boot.s").write_text("    hlt\n")
    (tmp_path / "CMakeLists.txt").write_text("project(k)\n")
    answer = pxos("init", str(tmp_path), "--json")
    whys = {row["key"]: row["why"] for row in answer.data["guesses"]}
    assert config.load(tmp_path).build.startswith("cmake ") and whys["build"] == "there is a CMakeLists.txt"
    assert whys["syntax"] == "a guess: no line tells one syntax from another"


def test_a_command_takes_the_foreign_tree_that_it_stands_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = tmp_path / "k"
    shutil.copytree(KERNELS / "nasm-flat", tree)
    (tree / "kernel").mkdir()  # many have a folder of that name, which is no tree
    monkeypatch.chdir(tree)
    answer = pxos("build", "--json", "--out", str(tmp_path / "out"))
    assert answer.status == 0, answer.errors
    assert answer.data["artifact"].endswith("os.img")
    told = pxos("debug").errors
    assert "another's kernel tree" in told and "pxos build, boot, check, fix and chat" in told
