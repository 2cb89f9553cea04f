"""Recording what an emulated run executes and reads."""

from __future__ import annotations

from toolchain.harness import Harness
from toolchain.trace import recording
from toolchain.types import Image, Section, Symbol

TEXT, DATA = 0xFFFFFFFF80100000, 0xFFFFFFFF80101000
# f: test edi, edi; jz +7; mov eax, [rip + DATA]; ret; xor eax, eax; ret
CODE = bytes.fromhex("85ff 7407 8b05 f60f0000 c3 31c0 c3")


def image() -> Image:
    text = Section(".text", TEXT, 0x100000, len(CODE), CODE, "ax", 4096)
    data = Section(".data", DATA, 0x101000, 16, b"\x11" * 16, "aw", 4096)
    return Image(TEXT, (text, data), (Symbol("f", TEXT, 0, "func", ".text", "x.s", 1, True),), (), ("x.s",))


def test_a_run_names_its_blocks_and_what_it_read() -> None:
    with recording() as recorder:
        harness = Harness(image())
        assert harness.call("f", {"rdi": 1}).value("eax") == 0x11111111
        assert harness.call("f", {"rdi": 0}).value("eax") == 0
    first, second = recorder.runs
    assert first.blocks.keys() == {TEXT, TEXT + 4}
    assert first.reads == {DATA}
    assert first.edges == {(TEXT, TEXT + 4)}
    assert second.blocks.keys() == {TEXT, TEXT + 11}
    assert not second.reads


def test_machines_made_outside_are_not_recorded() -> None:
    outside = Harness(image())
    with recording() as recorder:
        outside.call("f", {"rdi": 1})
    Harness(image()).call("f", {"rdi": 1})
    assert recorder.runs == []
