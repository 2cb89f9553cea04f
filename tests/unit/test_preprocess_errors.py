"""What preprocessing says of a source that is wrong: the exact lines, one clear error each, all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.pxos import pxos
from toolchain.errors import InputError
from toolchain.preprocess import Preprocessor, preprocess
from toolchain.source import SourceFile
from toolchain.types import Diagnostic

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


def run(text: str, **files: str) -> tuple[Diagnostic, ...]:
    """The errors of ``text``; ``files`` are include files (``x_inc="…"`` is ``x.inc``)."""
    preprocessor = Preprocessor(Path("/nowhere"))
    preprocessor.overrides = {name.replace("_inc", ".inc"): content for name, content in files.items()}
    return preprocessor.run(SourceFile("t.s", text)).errors


def errors(text: str, **files: str) -> str:
    """All diagnostics as a person sees them."""
    return "\n".join(map(str, run(text, **files)))


def test_all_errors_of_a_file_at_once() -> None:
    told = errors('.include "gone.inc"\n.if K\n.endif\n.rept\n.endr\n.macro\n.endm\nm\\x\n')
    assert told == (
        "t.s:1: error: cannot find `gone.inc'\n"
        '    .include "gone.inc"\n'
        "    ^\n"
        "    expected a file in the tree\n"
        "t.s:2: error: .if: `K' is not defined here, so the value is not known yet\n"
        "    .if K\n"
        "    ^\n"
        "    expected constants set above this line\n"
        "t.s:4: error: .rept: missing operand\n"
        "    .rept\n"
        "    ^\n"
        "    expected a number or a name\n"
        "t.s:6: error: missing macro name\n"
        "    .macro\n"
        "    ^\n"
        "    expected .macro name [parameter[:req|:vararg][=default], …]\n"
        "t.s:8: error: bad statement `m\\x'\n"
        "    m\\x\n"
        "    ^\n"
        "    expected a label, a directive or an instruction"
    )


def test_error_in_a_macro_shows_the_trail() -> None:
    told = errors(".macro m a\n\t.if \\a\n.endif\n.endm\n.macro n\nm q\n.endm\nn\n")
    assert told == (
        "t.s:2: error: .if: `q' is not defined here, so the value is not known yet\n"
        "    \t.if \\a\n"
        "    \t^\n"
        "    expected constants set above this line\n"
        "    in macro m, expanded at t.s:6\n"
        "    in macro n, expanded at t.s:8"
    )


def test_circular_include() -> None:
    told = errors('.include "a.inc"\n', a_inc='nop\n.include "b.inc"\n', b_inc='.include "a.inc"\n')
    assert told.startswith("b.inc:1: error: circular include: t.s -> a.inc -> b.inc -> a.inc\n")
    assert told.count("error:") == 1


def test_missing_include_names_the_nearest() -> None:
    preprocessor = Preprocessor(KERNEL, [KERNEL / "include"])
    (error,) = preprocessor.run(SourceFile("t.s", '.include "macro.inc"\n')).errors
    assert error.expected == "`macros.inc'?"


@pytest.mark.long
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (".macro m\nm\n.endm\nm\n", "t.s:2: error: macros nested more than 100 deep: `m' calls itself?"),
        (".macro m\nm\nm\n.endm\nm\n", "t.s:2: error: macros nested more than 100 deep: `m' calls itself?"),
        (".rept 1000000000\nnop\n.endr\n", "t.s:1: error: .rept 1000000000 times"),
        (".rept 2000000\n.rept 2\nnop\n.endr\n.endr\n", "t.s:1: error: .rept 2000000 times"),
        (
            ".rept 1500\n.rept 1500\nnop\n.endr\n.endr\n",
            "t.s:2: error: runaway expansion: more than 2,000,000 statements",
        ),
        (".rept -1\n.endr\n", "t.s:1: error: .rept -1 times"),
    ],
)  # fmt: skip
def test_runaway(text: str, message: str) -> None:
    told = errors(text)
    assert told.splitlines()[0] == message
    assert told.count("error:") == 1


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        (".macro m\n", 1, ".macro without .endm"),
        ("nop\n.rept 2\nnop\n", 2, ".rept without .endr"),
        (".irp x, 1\n", 1, ".irp without .endr"),
        (".if 1\nnop\n", 1, ".if without .endif"),
        (".if 0\nnop\n", 1, ".if without .endif"),
        (".if 0\n.else\n", 1, ".if without .endif"),
        (".macro m\n.if 1\n.endm\nm\n", 2, ".if without .endif"),
        (".else\n", 1, ".else without .if"),
        (".if 1\n.else\n.elseif 1\n.endif\n", 3, ".elseif after .else"),
        (".if 0\n.else\n.else\n.endif\n", 3, ".else after .else"),
        (".endm\n", 1, ".endm without .macro"),
        (".endr\n", 1, ".endr without .rept, .irp or .irpc"),
        (".macro set_it a:need\n.endm\n", 1, "`need' is not a parameter qualifier"),
        (".macro m a, a\n.endm\n", 1, "macro m has two parameters `a'"),
        (".macro .if\n.endm\n", 1, "`.if' is a directive"),
        (".irp\n.endr\n", 1, ".irp: missing parameter name"),
        (".ifc a\n.endif\n", 1, "bad operands of .ifc"),
        (".ifeqs a, b\n.endif\n", 1, "bad operands of .ifeqs"),
        (".ifdef a b\n.endif\n", 1, "bad operands of .ifdef"),
        (".include x\n", 1, "bad operand of .include"),
        (".set 5, 6\n", 1, "bad operands of .set"),
        (".set x\n", 1, "bad operands of .set"),
        ("x == 5\n", 1, "`==' is not supported"),
        (".set x, 1 +\n", 1, "missing operand"),
        (".set x, 1 / 0\n", 1, "division by zero"),
        (".error \"told \\\"so\\\"\"\n", 1, 'told "so"'),
        ("nop\n\"x\" y\n", 2, "bad statement"),
        (".ascii \"abc\n", 1, "a quote is not closed in `.ascii \"abc'"),
        ("*** \n", 1, "bad statement `***'"),
        ("é: nop\n", 1, "bad statement `é: nop'"),
        ("nop\ncli /* open\nnop; *** \n", 2, "this comment has no end"),
    ],
)  # fmt: skip
def test_one_clear_error(text: str, line: int, message: str) -> None:
    found = run(text)
    places = [(e.place.line, e.message) for e in found]
    assert places[0][0] == line
    assert places[0][1].startswith(message)
    assert len(found) == 1


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x.s:1: error: the file is empty"),
        (b" \n\t\n", "x.s:1: error: the file is empty"),
        (b"\x7fELF\0\0", "x.s:1: error: this is a binary file"),
        (b"nop\nnop # \xff\n", "x.s:2: error: byte 0xff is not UTF-8"),
    ],
)
def test_files_that_are_no_source(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "x.s").write_bytes(data)
    with pytest.raises(InputError) as caught:
        preprocess(Path("x.s"), tmp_path)
    assert caught.value.lines()[0].splitlines()[0] == message
    assert len(caught.value.diagnostics) == 1


def test_file_that_is_not_there_or_a_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        preprocess(Path("x.s"), tmp_path)
    assert caught.value.lines()[0].startswith("x.s:1: error: cannot read: No such file or directory")
    (tmp_path / "y.s").mkdir()
    with pytest.raises(InputError, match="1 error"):
        preprocess(Path("y.s"), tmp_path)


@pytest.mark.parametrize("directive", ["include", "incbin"])
def test_a_name_that_is_too_long_for_the_system_is_no_file(directive: str, tmp_path: Path) -> None:
    (tmp_path / "x.s").write_text(f'nop\n.{directive} "{"a" * 5000}"\n')
    answer = pxos("asm", str(tmp_path / "x.s"))
    assert (answer.status, "x.s:2: error: cannot find `aaa" in answer.errors) == (2, True)


def test_binary_include_is_refused_at_its_own_place(tmp_path: Path) -> None:
    (tmp_path / "x.s").write_text('.include "b.inc"\nnop\n')
    (tmp_path / "b.inc").write_bytes(b"\0\0")
    with pytest.raises(InputError) as caught:
        preprocess(Path("x.s"), tmp_path)
    assert caught.value.lines() == [
        "b.inc:1: error: this is a binary file\n    expected assembly source as UTF-8 text"
    ]
