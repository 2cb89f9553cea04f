"""Assembler and disassembler of the Pixel VM: text to pixels and back, and errors all at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelvm import assembler, disassembler, isa
from pixelvm.isa import Op, System, word
from pixelvm.program import Program
from tests.unit.vm_programs import programs
from toolchain.errors import InputError

SOURCE = """\
; a comment; with 'quotes" in it
.const N, 3*2
.memory 0x200
start: .again:
    push N          # six
    push big
    push 0x12345678
    push -1
    call main
    jnz .again
main:
.again: push ';'
    load8 text+1
    store32
    pick 3
    sys putc
    jz start.again
    halt
    halt 7
.data
text: .ascii "a;#\\n" "," ; the rest
    .byte 1, ',', -1, 'x'
    .align 4
big: .word main, big, 0xffffffff
    .space 2, 0x55
    .asciz "é"
"""


def assemble(text: str) -> assembler.Assembly:
    return assembler.assemble(text, "source.pxa")


def test_a_source() -> None:
    made = assemble(SOURCE)
    assert made.code_labels == {"start": 0, "start.again": 0, "main": 7, "main.again": 7}
    assert made.data_labels == {"text": 0, "big": 12}
    assert made.program == Program(
        (
            word(Op.PUSH, 6), word(Op.PUSH, 12), word(Op.PUSH, 0x345678), word(Op.HIGH, 0x12), word(Op.PUSH, -1),
            word(Op.CALL, 7), word(Op.JNZ, 0), word(Op.PUSH, ord(";")), word(Op.LOAD8, 1), word(Op.STORE32),
            word(Op.PICK, 3), word(Op.SYS, System.PUTC), word(Op.JZ, 0), word(Op.HALT), word(Op.HALT, 7),
        ),
        b"a;#\n,\1,\xffx\0\0\0\7\0\0\0\14\0\0\0\xff\xff\xff\xff\x55\x55" + "é\0".encode(),
        0x200,
        7,
    )  # fmt: skip
    place = made.places[3]
    assert (place.file, place.line, place.column, place.text) == ("source.pxa", 7, 4, "    push 0x12345678")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("0", 1), ("0x7fffff", 1), ("0x800000", 2), ("-0x800000", 1), ("-0x800001", 2), ("0xffffffff", 1),
        ("0xff800000", 1), ("0xff7fffff", 2), ("0x80000000", 2), ("-0x80000000", 2),
    ],
)  # fmt: skip
def test_the_length_of_a_push(number: str, words: int) -> None:
    code = assemble(f"push {number}").program.code
    assert len(code) == words
    low = isa.signed_operand(code[0]) & isa.MASK
    value = low if words == 1 else low & 0xFFFFFF | code[1] >> 8 << 24
    assert value == int(number, 0) & isa.MASK


@pytest.mark.parametrize(
    ("text", "column", "message", "expected"),
    [
        ("  bogus", 2, "no instruction `bogus'", "such as push"), ("psh 1", 0, "no instruction `psh'", "`push'?"),
        (".bite 1", 0, "no directive `.bite'", "`.byte'?"), ("add 1", 4, "add has no operand", "add alone"),
        ("push", 0, "a number is missing", "a number"), ("jump", 0, "a number is missing", "a number"),
        ("sys puts", 4, "no system call `puts'", "`putc'?"), ("get 16", 4, "16 is out of range", "0 to 15"),
        ("jump 2", 5, "2 is out of range", "0 to 1"), ("high 256", 5, "256 is out", "0 to 255"),
        ("push x+1", 5, "no label or constant `x'", "given in this source"), ("push 1 1", 5, "junk", ""),
        ("push 1<<32", 5, "more than 32 bits", "4294967295"), ("push 1/0", 5, "division by zero", ""),
        ("a: a: halt", 3, "`a' is given twice", "on line 2"), (".data\\n halt", 1, "among data", ".code"),
        (".byte 1", 0, "data among instructions", ".data"), (".data\\n.byte 256", 6, "256 is out of range", "255"),
        (".data\\n.byte 1,,2", 0, "a number is missing", ""), (".memory 100", 8, "100 bytes", "a multiple of 256"),
        ('.data\\n.ascii "x', 7, "without closing quote", ""), ("push 1 \"", 5, "bad expression", ""),
        (".data\\n.space 1<<20\\n.byte 1", 0, "too much data", "at most"), (".entry 5", 7, "no instruction", ""),
        ("d:\\n.data\\ne: .byte 0\\n.code\\njump e", 5, "label of data", "label of code"),
        (".const 1x, 2", 7, "`1x' is no name", ""), ("push late\\n.const late, 1<<24", 5, "stands below", "above"),
        (".align 4", 0, "data among", ""), (".code x", 6, "no arguments", ".code alone"),
    ],
)  # fmt: skip
def test_a_statement_in_error(text: str, column: int, message: str, expected: str) -> None:
    lines = text.split("\\n")
    with pytest.raises(InputError) as caught:
        assemble("\n".join(["halt", *lines]))
    (diagnostic,) = caught.value.diagnostics
    assert message in diagnostic.message  # type: ignore[attr-defined]
    assert expected in diagnostic.expected  # type: ignore[attr-defined]
    assert diagnostic.place.column == column  # type: ignore[attr-defined]
    assert str(diagnostic).startswith("source.pxa:")


def test_every_error_is_told_with_its_line() -> None:
    with pytest.raises(InputError) as caught:
        assemble("main:\n  push nowhere\n  halt\n  bogus\n  get 99\n")
    shown = caught.value.lines()
    assert [line.split(": ")[0] for line in shown] == ["source.pxa:2", "source.pxa:4", "source.pxa:5"]
    assert shown[0].split("\n")[1:3] == ["      push nowhere", "           ^"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "no instructions"), (".memory 256\nhalt\n.data\n.space 300", "300 bytes of data in 256"),
        (".data\nx: .byte 1", "no instructions"),
    ],
)  # fmt: skip
def test_a_program_that_is_none(text: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        assemble(text)
    assert len(caught.value.lines()) == 1 and words in caught.value.lines()[0]


@pytest.mark.long
@given(programs())
def test_back_and_forth(program: Program) -> None:
    assert assemble(disassembler.disassemble(program)).program == program


@given(st.text(max_size=200))
def test_any_text_is_a_program_or_an_input_error(text: str) -> None:
    try:
        assemble(text)
    except InputError as error:
        assert error.lines()


def test_what_the_disassembler_shows() -> None:
    made = assemble("main: push 5\nloop: call f\n jnz loop\n halt\nf: ret\n .pixel 0x18\n.data\n.byte 1,2")
    assert disassembler.disassemble(made.program) == (
        ".memory 65536\n.entry entry\n\nentry:\n    push 5\nl_1:\n    call f_4\n    jnz l_1\n    halt 0\n"
        "f_4:\n    ret\n    .pixel 0x00000018\n\n.data\n    .byte 1, 2\n"
    )


def test_a_label_of_data_in_another_scope_is_no_target() -> None:
    code = "first:\n  jump .end\n.end: halt\n"
    assert assemble(code + ".data\nsecond:\n.end: .byte 2\n").program.code == assemble(code).program.code
