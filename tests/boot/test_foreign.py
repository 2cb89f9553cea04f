"""Three kernels of different make, built, booted and judged as their ``pxos.toml`` says; their deaths."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain.foreign import config, sandbox
from toolchain.foreign.build import build
from toolchain.foreign.tree import Copy, read

pytestmark = pytest.mark.qemu

KERNELS = Path(__file__).resolve().parents[1] / "fixtures/kernels"
Plant = Callable[[str, str, str, str], Path]


@pytest.fixture
def plant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plant:
    """A copy of a kernel in which one text is another."""
    monkeypatch.chdir(tmp_path)

    def make(kernel: str, file: str = "", old: str = "", new: str = "") -> Path:
        tree = tmp_path / kernel
        shutil.copytree(KERNELS / kernel, tree)
        if file:
            text = (tree / file).read_text()
            assert text.count(old) >= 1
            (tree / file).write_text(text.replace(old, new, 1))
        return tree

    return make


@pytest.mark.parametrize("kernel", ["nasm-flat", "att-multiboot", "c-multiboot"])
def test_a_sound_kernel_is_built_and_comes_up(plant: Plant, kernel: str) -> None:
    tree = plant(kernel, "", "", "")
    before = sorted(path.name for path in tree.rglob("*"))
    built = pxos("build", "--kernel", str(tree), "--out", "out", "--json", "-q")
    assert built.status == 0, built.errors
    schemas.validate(built.data, "build")
    assert Path(built.data["artifact"]).is_file() and built.data["symbols"] > 10
    booted = pxos("boot", "--kernel", str(tree), "--out", "out", "--json", "-q")
    assert booted.status == 0, booted.data
    schemas.validate(booted.data, "boot")
    assert booted.data["outcome"] == "ready"
    assert sorted(path.name for path in tree.rglob("*")) == before  # the tree itself is only read


@pytest.mark.parametrize(
    ("kernel", "file", "old", "new", "outcome", "cause"),
    [
        ("nasm-flat", "boot.asm", "call open_a20", "ud2", "silent", "in real mode"),
        ("nasm-flat", "long.asm", "or eax, CR4_PAE", "or eax, 0", "fault", "(long.asm:23) in protected mode"),
        (
            "nasm-flat",
            "main.asm",
            "mov edx, [rdi]",
            "mov edx, [rbp - 8]",
            "fault",
            "(main.asm:30) in long mode",
        ),
        ("att-multiboot", "src/traps.s", "addl    $8, %esp", "addl    $4, %esp", "panic", "(src/traps.s:43)"),
        ("att-multiboot", "src/paging.s", "$PATTERN, shared", "$0, shared", "shutdown", "page: 0x00000000"),
        (
            "att-multiboot",
            "src/timer.s",
            "MASK_BUT_TIMER, 0xfe",
            "MASK_BUT_TIMER, 0xff",
            "silent",
            "protected mode: no interrupt comes to the halted processor",
        ),
        ("nasm-flat", "main.asm", "jz .wait", "jnz .wait", "silent", "it spins, and no register changes"),
        ("c-multiboot", "src/text.c", "~crc", "crc", "timeout", "crc BEB05CC6"),
    ],
)
def test_a_death_is_told(
    plant: Plant, kernel: str, file: str, old: str, new: str, outcome: str, cause: str
) -> None:
    tree = plant(kernel, file, old, new)
    booted = pxos("boot", "--kernel", str(tree), "--out", "out", "--json", "-q")
    schemas.validate(booted.data, "boot")
    assert booted.data["outcome"] == outcome, booted.data["judge"]
    said = booted.data["fault"]["cause"]
    assert cause in said, said
    if outcome == "shutdown":
        assert " mode" not in said, "the machine has gone, and nothing tells its mode"
    assert booted.status == {"silent": 3, "timeout": 3}.get(outcome, 1)


def test_the_instruction_is_told_in_the_mode_of_its_code(plant: Plant) -> None:
    tree = plant("nasm-flat", "long.asm", "mov ax, gdt.data", "mov ax, 0x50")
    fault = pxos("boot", "--kernel", str(tree), "--out", "out", "--json", "-q").data["fault"]
    assert fault["instruction"] == "mov ds, ax" or fault["instruction"] == "mov ds, eax"
    assert fault["place"]["symbol"] == "protected" and "protected mode" in fault["cause"]


def test_words_of_being_up_are_not_enough(plant: Plant) -> None:
    """A kernel that dies right after it said that it is up is not up."""
    tree = plant("nasm-flat", "main.asm", ".idle:\n        hlt", ".idle:\n        ud2")
    booted = pxos("boot", "--kernel", str(tree), "--out", "out", "--json", "-q")
    assert booted.data["outcome"] == "fault" and booted.data["judge"]["streams"]["COM1"].startswith(
        "flat64: up"
    )


def test_a_build_that_fails_says_where(plant: Plant) -> None:
    tree = plant("att-multiboot", "src/timer.s", "movb    $ICW1_INIT, %al", "mvob    $ICW1_INIT, %al")
    built = pxos("build", "--kernel", str(tree), "--out", "out", "--json", "-q")
    assert built.status == 2 and "src/timer.s:21" in built.errors and "mvob" in built.errors
    shutil.rmtree(tree)
    tree = plant("nasm-flat", "boot.asm", "mov sp, STACK_TOP", "mov sp, STACK_TIP")
    built = pxos("build", "--kernel", str(tree), "--out", "out", "--json", "-q")
    assert built.status == 2 and "boot.asm:12" in built.errors and "STACK_TIP" in built.errors


def test_what_we_write_into_a_tree_is_no_part_of_it(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run in the tree itself, three times: the copies do not contain each other."""
    monkeypatch.chdir(plant("nasm-flat", "", "", ""))
    for _ in range(3):
        assert pxos("build", "--kernel", ".", "--json", "-q").status == 0
    assert not Path("build/foreign/tree/build").exists()
    refused = pxos("build", "--kernel", ".", "--out", "src", "-q")
    assert refused.status == 2 and "lies in the kernel tree" in refused.errors


def test_without_a_sandbox_nothing_is_built(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = plant("nasm-flat", "", "", "")
    monkeypatch.setattr(sandbox, "_problem", lambda: "bwrap is not installed")
    for command in ("build", "boot"):
        refused = pxos(command, "--kernel", str(tree), "--out", "out", "--json", "-q")
        assert refused.status == 2 and "--unsafe-no-sandbox" in refused.errors
        assert not list(Path("out").rglob("os.img"))
    trusted = pxos("build", "--kernel", str(tree), "--out", "out", "--json", "-q", "--unsafe-no-sandbox")
    assert trusted.status == 0 and Path("out/foreign/os.img").is_file()


def test_a_hostile_build_is_held(plant: Plant, tmp_path: Path) -> None:
    tree = plant("nasm-flat", "", "", "")
    (tmp_path / "secret").write_text("SECRET")
    text = (tree / "pxos.toml").read_text()
    hostile = (
        f"ln -sf {tmp_path}/secret os.img; ln -sf /etc/passwd boot.asm; echo x > {tmp_path}/written; true"
    )
    (tree / "pxos.toml").write_text(text.replace("nasm -f bin -l os.lst -o os.img boot.asm", hostile))
    built = pxos("build", "--kernel", str(tree), "--out", "out", "--json", "-q")
    assert built.status == 2 and "leads out of the tree" in built.errors
    assert not (tmp_path / "written").exists()
    assert "SECRET" not in str(built.data)


READER = """\
bits 16
org 0x7c00
    xor ax, ax
    mov ds, ax
    mov es, ax
    mov ax, 0x0201                      ; read one sector
    mov cx, 1
    mov dx, 0x0081                      ; of the second hard disk
    mov bx, 0x7e00
    int 0x13
    mov si, bx
.next:
    lodsb
    out 0xe9, al
    cmp al, 10
    jne .next
    cli
    hlt
times 510 - ($ - $$) db 0
dw 0xaa55
"""


def test_a_further_disk_is_read_and_belongs_to_what_is_tried(tmp_path: Path) -> None:
    tree = tmp_path / "k"
    tree.mkdir()
    (tree / "boot.asm").write_text(READER)
    (tree / "words").write_text("from the second disk\n")
    (tree / "pxos.toml").write_text(
        '[kernel]\nsources = ["*.asm"]\nsyntax = "nasm"\nartifact = "boot.img"\n'
        'build = "nasm -f bin -o boot.img boot.asm && cp words d,1.img && truncate -s 1M d,1.img"\n'
        '[boot]\ndisks = ["d,1.img"]\n[judge]\nready = "^from the second disk$"\n'
    )
    booted = pxos("boot", "--kernel", str(tree), "--out", str(tmp_path / "out"), "--json", "-q")
    assert booted.status == 0 and booted.data["outcome"] == "ready", booted.output
    described = config.load(tree)
    sums = []
    for text in ("from the second disk\n", "another text\n"):
        (tree / "words").write_text(text)
        copy = Copy(read(tree), tmp_path / "copy")
        sums.append(build(described, copy, sandbox.Sandbox()).sha256)
    assert sums[0] != sums[1]  # the same boot sector, another image: it is tried anew
    (tree / "pxos.toml").write_text((tree / "pxos.toml").read_text().replace('["d,1.img"]', '["d2.img"]'))
    missing = pxos("build", "--kernel", str(tree), "--out", str(tmp_path / "out"))
    assert missing.status == 2 and "d2.img" in missing.errors and "mend [boot] disks" in missing.errors
