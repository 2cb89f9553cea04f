"""Symbols and lines of foreign kernels: nasm listings and maps, maps of ld, ELF32; the judge's streams."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from toolchain.foreign import build, config, names
from toolchain.foreign.judge import DEBUG, SCREEN, SERIAL, Judge, screen_text

NASM = """\
        bits 16
        org 0x7c00
%include "more.inc"
start:  cli
        mov dword [0x5000], 0x12345678
        times 3 nop
.local: jmp start
text:   db "a long text that takes more than one line of a listing", 0
        times 510 - ($ - $$) db 0
        dw 0xaa55
"""
GAS = ".globl _start\n_start:\n    movl $1, %eax\n    call f\nf:\n    ret\n"


def run(folder: Path, *words: str) -> None:
    subprocess.run(words, cwd=folder, check=True, capture_output=True)


@pytest.fixture
def flat(tmp_path: Path) -> Path:
    (tmp_path / "more.inc").write_text("first equ 1\nbefore: nop\n")
    (tmp_path / "boot.asm").write_text(NASM)
    run(tmp_path, "nasm", "-f", "bin", "-l", "os.lst", "-o", "os.img", "boot.asm")
    return tmp_path


def test_a_listing_tells_lines_of_every_file(flat: Path) -> None:
    found = names.find(flat, flat / "os.img")
    assert found is not None and found.source == "os.lst"
    table = found.table()
    assert [s.name for s in found.image.symbols] == ["before", "start", "text"]
    place = table.place(0x7C00)
    assert (place.symbol, place.file, place.line) == ("before", "more.inc", 2)
    place = table.place(
        0x7C02
    )  # the first byte of a statement whose bytes fill more than a line of the listing
    assert (place.symbol, place.offset, place.file, place.line) == ("start", 1, "boot.asm", 5)
    data = (flat / "os.img").read_bytes()
    for line in found.image.lines:
        assert table.read(line.address, line.length) == data[line.address - 0x7C00 :][: line.length]


def test_a_map_of_nasm_tells_symbols(flat: Path) -> None:
    (flat / "boot.asm").write_text("[map symbols os.map]\n" + NASM)
    run(flat, "nasm", "-f", "bin", "-o", "os.img", "boot.asm")
    (flat / "os.lst").unlink()
    found = names.find(flat, flat / "os.img", 0x7C00)
    assert found is not None and found.source == "os.map"
    assert found.table().place(0x7C02).symbol == "start"


def test_elf32_tells_symbols_and_lines(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/a.s").write_text(GAS)
    run(tmp_path, "as", "--32", "-g", "-o", "a.o", "src/a.s")
    run(tmp_path, "ld", "-m", "elf_i386", "-Ttext=0x100000", "-Map=k.map", "-o", "k.elf", "a.o")
    found = names.find(tmp_path, tmp_path / "k.elf")
    assert found is not None
    place = found.table().place(0x100005)
    assert (place.symbol, place.offset, place.file, place.line) == ("_start", 5, "src/a.s", 4)
    assert found.table().read(0x100000, 5) == b"\xb8\x01\0\0\0"
    run(tmp_path, "objcopy", "-O", "binary", "k.elf", "k.bin")  # a flat kernel beside its ELF file
    beside = names.find(tmp_path, tmp_path / "k.bin")
    assert beside is not None and beside.source == "k.elf"
    (tmp_path / "k.elf").unlink()
    (tmp_path / "a.o").unlink()
    (tmp_path / "k.map").write_text((tmp_path / "k.map").read_text())
    mapped = names.find(tmp_path, tmp_path / "k.bin", 0x100000)
    assert mapped is not None and mapped.source == "k.map"
    assert mapped.table().place(0x100000).symbol == "_start"


@pytest.mark.parametrize("size", [0, 4, 5, 20, 52, 60, 200])
def test_a_damaged_elf_is_no_news(tmp_path: Path, size: int) -> None:
    """What a build left behind may be anything: it is then read as if it were not there."""
    (tmp_path / "a.s").write_text(GAS)
    run(tmp_path, "as", "--32", "-o", "a.o", "a.s")
    run(tmp_path, "ld", "-m", "elf_i386", "-o", "whole", "a.o")
    data = (tmp_path / "whole").read_bytes()
    for name in ("whole", "a.o"):
        (tmp_path / name).unlink()
    (tmp_path / "k.elf").write_bytes(data[:size] + b"\xff" * 40)
    (tmp_path / "os.lst").write_bytes(b"\xff\0 12 00000000 90 x\n" * 3)
    (tmp_path / "os.img").write_bytes(bytes(512))
    assert names.find(tmp_path, tmp_path / "os.img") is None


def test_what_starts_an_artifact_is_told_by_its_content() -> None:
    multiboot = b"\x7fELF\x01" + bytes(59) + b"\x02\xb0\xad\x1b"
    assert build.kind_of(multiboot, "k") == ("elf", "qemu")
    multiboot2 = b"\x7fELF\x02" + bytes(59) + b"\xd6\x50\x52\xe8"
    assert build.kind_of(multiboot2, "k") == ("elf", "multiboot2")
    assert build.kind_of(bytes(510) + b"\x55\xaa", "k") == ("disk", "")
    assert build.kind_of(bytes(0x8001) + b"CD001", "k") == ("iso", "")
    for data in (
        b"",
        bytes(512),
        b"\x7fELF\x01" + bytes(100),
        b"\x7fELF\x02" + bytes(61) + b"\x02\xb0\xad\x1b",
    ):
        with pytest.raises(Exception, match="k: "):
            build.kind_of(data, "k")


def test_errors_of_three_tools_have_places(tmp_path: Path) -> None:
    (tmp_path / "a.c").write_text("int x\n")
    said = (
        "a.c:1:6: error: expected ';' at end of input\nboot.asm:12: error: symbol `x' not defined\n"
        "src/t.s: Assembler messages:\nsrc/t.s:21: Error: no such instruction: `mvob'\n"
        "ld: a.o: in function `main':\nk/main.c:7: undefined reference to `frame'\n"
        "ld: cpu/isr.o:/elsewhere/idt.h:31: multiple definition of `idt'; cpu/idt.o:/x/idt.h:31: first defined here\n"
    )
    found = build.diagnostics(said, tmp_path)
    assert [(d.place.file, d.place.line) for d in found] == [
        ("a.c", 1), ("boot.asm", 12), ("src/t.s", 21), ("k/main.c", 7), ("/elsewhere/idt.h", 31)
    ]  # fmt: skip
    assert found[0].place.text == "int x"


def judge(**keys: object) -> Judge:
    base = {"tree": Path(), "name": "k", "sources": ("*",), "syntax": "nasm", "build": "x", "artifact": "y"}
    return Judge(config.Foreign(**base, **keys))  # type: ignore[arg-type]


def test_every_stream_is_judged() -> None:
    for stream in (SERIAL, DEBUG):
        seen = judge(ready="^up$")
        seen.hear(stream, "u")
        assert not seen.passed
        seen.hear(stream, "p\r\nmore")
        assert (
            seen.passed and seen.ready is not None and seen.ready.stream == stream and seen.ready.line == "up"
        )
    seen = judge(ready="^up$")
    cells = b"".join(bytes([c, 7]) for c in b"up".ljust(80)) + bytes(24 * 160)
    seen.see(cells)
    assert seen.passed and seen.ready is not None and seen.ready.stream == SCREEN


def test_forbidden_words_count_more_than_being_ready() -> None:
    seen = judge(ready="up", forbid=("PANIC",))
    seen.hear(SERIAL, "up\nPANIC: x")
    assert seen.ready is not None and not seen.passed
    assert seen.forbidden is not None and seen.forbidden.line == "PANIC: x"


def screen(*rows: bytes) -> str:
    return screen_text(b"".join(bytes([c, 7]) for row in rows for c in row.ljust(80)).ljust(4000, b"\0"))


def test_the_words_of_the_bios_are_not_the_kernels() -> None:
    banner = b"SeaBIOS (version 1.16)"
    assert screen(banner, b"", b"Booting from Hard Disk...", b"hello") == "hello"
    for begun in (b"B", b"Bootin", b"iPX", b"Press"):
        assert screen(banner, b"", begun) == "", "the BIOS is in the middle of a word"
        assert screen(begun) == begun.decode(), "a kernel that cleared the screen"
        assert screen(banner, b"Booting from Hard Disk...", begun) == begun.decode(), "a boot sector"
    assert screen(banner, b"hello") == "hello"
