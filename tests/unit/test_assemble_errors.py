"""What assembling says of a unit that is wrong: the exact lines, all errors at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.assemble import assemble, assemble_units
from toolchain.encode import Encoder
from toolchain.errors import InputError
from toolchain.pool import Pool
from toolchain.preprocess import Preprocessor, Unit
from toolchain.source import SourceFile

SYNTAX = ".intel_syntax noprefix\n"


def unit(text: str, name: str) -> Unit:
    return Preprocessor(Path("/nowhere")).run(SourceFile(name, SYNTAX + text))


def told(text: str, encoder: Encoder) -> str:
    """All diagnostics of ``text`` as a person sees them."""
    with pytest.raises(InputError) as caught:
        assemble(
            Preprocessor(Path("/nowhere")).run(SourceFile("t.s", text)),
            encoder,
            intel=True,
        )
    return "\n".join(caught.value.lines())


def test_all_errors_of_a_unit_at_once(encoder: Encoder) -> None:
    text = (
        ".byte 256\n"
        "mov eax, [rax\n"
        "  frobnicate eax\n"
        "a: nop\n"
        "a: hlt\n"
        ".balign 3\n"
        ".bss\n"
        ".long 1\n"
        ".text\n"
        "jmp .Lgone\n"
        "x: .skip 300\n"
        "loop x\n"
        ".macro m r\n"
        "mov \\r, [\n"
        ".endm\n"
        "m eax\n"
    )
    with pytest.raises(InputError) as caught:
        assemble(Preprocessor(Path("/nowhere")).run(SourceFile("t.s", text)), encoder, intel=True)
    lines = [line.splitlines()[0] for line in caught.value.lines()]
    assert [line.split(": ")[0] for line in lines] == [
        "t.s:1", "t.s:2", "t.s:3", "t.s:5", "t.s:6", "t.s:8", "t.s:10", "t.s:12", "t.s:14",
    ]  # fmt: skip
    assert caught.value.lines()[-1].splitlines()[-1] == "    in macro m, expanded at t.s:16"
    assert caught.value.message.endswith("(and 8 more)")
    assert caught.value.stage == "assemble"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            ".byte 1, 256, -129",
            [
                "t.s:1: error: `256' is 0x100: it does not fit in 8 bits",
                "    .byte 1, 256, -129",
                "    ^",
                "    expected a value from -0xff to 0xff",
            ],
        ),
        (
            "a: nop\n a: hlt",
            [
                "t.s:2: error: symbol `a' is already defined at t.s:1",
                "     a: hlt",
                "     ^",
                "    expected a name of its own",
            ],
        ),
        (
            "x: .skip 200\n\tloop x",
            [
                "t.s:2: error: `x' is 0xca bytes back: too far for 8 bits",
                "    \tloop x",
                "    \t^",
                "    expected a distance that fits in 8 bits",
            ],
        ),
        (
            ".Lone: jmp .Lonr",
            [
                "t.s:1: error: undefined label `.Lonr'",
                "    .Lone: jmp .Lonr",
                "           ^",
                "    expected `.Lone'?",
            ],
        ),
        (
            "1: jmp 2f",
            [
                "t.s:1: error: there is no label 2: below",
                "    1: jmp 2f",
                "       ^",
                "    expected a line with 2:",
            ],
        ),
        (
            ".sekip 4",
            [
                "t.s:1: error: unknown directive .sekip",
                "    .sekip 4",
                "    ^",
                "    expected `.skip'?",
            ],
        ),
        (
            ".data\na: .quad a * 2",
            [
                "t.s:2: error: cannot resolve `(a * 2)': `*' of an address",
                "    a: .quad a * 2",
                "       ^",
                "    expected a label plus or minus numbers",
            ],
        ),
        (
            ".section .x, \"aq\"",
            [
                "t.s:1: error: section flag `q' is not supported",
                "    .section .x, \"aq\"",
                "    ^",
                "    expected letters of \"awx\"",
            ],
        ),
        (
            "a: .skip a - b\nb:",
            [
                "t.s:1: error: `(a - b)' depends on the size of this gap itself",
                "    a: .skip a - b",
                "       ^",
                "    expected labels above it",
            ],
        ),
    ],
)  # fmt: skip
def test_words(text: str, expected: list[str], encoder: Encoder) -> None:
    assert told(text, encoder).splitlines()[: len(expected)] == expected


_DIGITS = "7" * 5000  # Python turns no more than 4,300 into a number


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".bss\n.skip 4\nnop\nnop\n", "code in section .bss, which holds zeros"),
        (".quad 1 2\n", "junk `2' after expression"),
        (".octa x\n", "`x' is an address in .octa"),
        (".ascii abc\n", "`abc' is not a string"),
        ('.asciz "\\q"\n', "unknown escape `\\q'"),
        (".skip\n", "bad operands of .skip"),
        (".skip 1, 2, 3\n", "bad operands of .skip"),
        (".skip 1, 300\n", "`300' is 0x12c: it does not fit in 8 bits"),
        (".skip 0x7fffffff\n", "a gap of 2147483647 times 1 bytes"),
        (".skip -1\n", "a gap of -1 times 1 bytes"),
        (".fill 1, 9\n", ".fill of 9 bytes each"),
        (".fill x\n", "a count that is no number"),
        (".balign 8, 0x100\n", "`0x100' is 0x100: it does not fit in 8 bits"),
        (".p2align 60\n", "alignment to 2 to the power of 60"),
        (".p2align 2,,-1\n", "most bytes to skip is -1"),
        (".balign x\n", "`x' is not known here"),
        (".org x\n", ".org to something that is no offset in this section"),
        (".skip 4\n.org 2\n", ".org to 0x2 goes backwards"),
        (".popsection\n", ".popsection without .pushsection"),
        ('.section .t, "ax"\n.section .t, "aw"\n', "section .t was opened with other flags"),
        ('.section .t, "a", @init_array\n', "section type @init_array is not supported"),
        (".section\n", "bad operands of .section"),
        (".text 1\n", "subsections are not supported"),
        (".type f\n", "bad operands of .type"),
        (".size f\n", "bad operands of .size"),
        ("f: .size f, g\n", ".size of `f' is no number"),
        (".global 5\n", "`5' is not a symbol name"),
        (".comm x, 4\n", ".comm is not supported"),
        (".altmacro\n", ".altmacro is not supported"),
        ('.incbin "gone.bin"\n', "cannot find `gone.bin'"),
        (".incbin gone\n", ".incbin: `gone' is not a string"),
        (".intel_syntax prefix\n", ".intel_syntax prefix is not supported"),
        (".att_syntax\nnop\n", "instruction `nop' before .intel_syntax"),
        (".set K, 1\nK: nop\n", "symbol `K' is already defined"),
        ("K: nop\n.set K, 1\n", "symbol `K' is already defined at t.s:1"),
        ("K: nop\nx:\n.set K, x\n", "symbol `K' is already defined at t.s:1"),
        (".set x, y\n.set y, x\n.long y\n", "`y' is defined by itself"),
        (".global K\n.set K, a - b\n.data\na:\n.text\nb:\n", "`K' is no number and no address of this file"),
        ("jmp 1b\n", "there is no label 1: above"),
        (".float x\n", "`x' is no number of this size"),
        (f".byte {_DIGITS}\n", "a number of 5,000 digits"),
        (f".set K, 0x{_DIGITS}\n", "a number of 5,002 digits"),
        (f".intel_syntax noprefix\nmov eax, {_DIGITS}\n", "a number of 5,000 digits"),
        (f".intel_syntax noprefix\nmov eax, [rax + {_DIGITS}]\n", "a number of 5,000 digits"),
        (f".intel_syntax noprefix\nmov eax, [rax * {_DIGITS}]\n", "a number of 5,000 digits"),
        (f".intel_syntax noprefix\nfld st({_DIGITS})\n", "a number of 5,000 digits"),
        (
            f"{_DIGITS}:\n.intel_syntax noprefix\njmp 1{_DIGITS}b\n",
            f"there is no label 1{_DIGITS}: above"[:100],
        ),
    ],
)
def test_one_clear_error(text: str, message: str, encoder: Encoder) -> None:
    found = told(text, encoder)
    assert found.count("error:") == 1
    assert f"error: {message}" in found.splitlines()[0]


def test_instruction_before_the_syntax_is_named(encoder: Encoder) -> None:
    item = Preprocessor(Path("/nowhere")).run(SourceFile("t.s", "nop\n"))
    with pytest.raises(InputError, match=r"instruction `nop' before \.intel_syntax"):
        assemble(item, encoder)


def test_errors_of_all_units_with_those_of_the_preprocessor(encoder: Encoder) -> None:
    units = [unit(".if K\n.endif\nbad\n", "b.s"), unit("worse\n", "a.s"), unit("nop\n", "c.s")]
    with pytest.raises(InputError) as caught:
        assemble_units(units, Pool(encoder))
    assert [line.split(": ")[0] for line in caught.value.lines()] == ["a.s:2", "b.s:2", "b.s:4"]
