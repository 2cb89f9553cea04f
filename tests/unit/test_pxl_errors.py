"""Sources in error: what is said, where, and that no text at all is worse than an error."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelvm.pxl import faults, lexer
from pixelvm.pxl.compiler import compile_text, read_source
from pixelvm.pxl.lexer import KEYWORDS
from tests.unit.pxl_programs import program
from tests.unit.pxos import pxos
from toolchain.errors import InputError
from toolchain.types import Diagnostic


def errors_of(text: str) -> list[Diagnostic]:
    with pytest.raises(InputError) as caught:
        compile_text(text, "p.pxl")
    return [d for d in caught.value.diagnostics if isinstance(d, Diagnostic)]


def in_main(text: str) -> str:
    return f"const N = 3;\nvar g;\nvar a: word[4];\nfn two() -> x, y {{ return 1, 2; }}\nfn main() {{\n{text}\n}}\n"


@pytest.mark.parametrize(
    ("text", "column", "message", "expected"),
    [
        ("x = 1;", 1, "no variable, constant or function `x'", ""), ("gg = 1;", 1, "function `gg'", "`g'?"),
        ("var v = 1 v = 2;", 11, "`;' is missing", "`;'"), ("var v = ;", 9, "a value is missing", "a number"),
        ("g = 1 < 2;", 7, "`<' does not say how", "`<s'"), ("g = 5 / 2;", 7, "`/' does not say how", "`/u'"),
        ("g /= 2;", 3, "`/=' does not say how", "`/s='"), ("g >>= 2;", 3, "does not say how", "`>>u='"),
        ("g = 1 <u 2 <u 3;", 12, "a comparison of a comparison", "`&&'"), ("g = (1;", 7, "`)' is missing", "`)'"),
        ("g + 1;", 3, "an assignment is missing", "`='"), ("1 = g;", 1, "no statement begins", ""),
        ("N = 1;", 1, "`N' cannot be assigned to", "a variable"),
        ("a = 1;", 1, "`a' cannot be assigned", "an element"),
        ("g[1] = 2;", 1, "`g' is no array", "word[address]"), ("g = two;", 5, "`two' is a function", "two(…)"),
        ("g = two();", 5, "`two' gives 2 values", "one"),
        ("var x, y = 5;", 12, "one value for 2 variables", "a call"),
        ("var x, y, z = two();", 15, "2 values for 3", "2 variables"), ("two(1);", 1, "1 arguments for `two'", "0"),
        ("g, g = two();", 1, "assigned to twice", "once"), ("a[0], g = two();", 1, "several targets", "a variable"),
        ("g();", 1, "`g' is no function", ""), ("main();", 1, "`main'", "another function"),
        ("break;", 1, "`break' outside of a loop", "`while'"), ("continue;", 1, "`continue' outside", ""),
        ("return 1;", 1, "1 values from `main'", "0"), ("halt 256;", 6, "256 is no result", "0 to 255"),
        ("halt g;", 6, "not known before", "constants"), ("var g2; var g2;", 13, "`g2' is given twice", "line 6"),
        ("var putc; putc(1);", 11, "`putc' is a variable here", ""), ("g = putc;", 5, "to be called", "putc(…)"),
        ("g = len(g);", 5, "len is of one array", ""), ("var b: byte[3];", 6, "array inside a function", "outside"),
        ("g = 0x;", 5, "`0x' is no number", "digits"), ("g = 12ab;", 5, "is no number", ""),
        ("g = 4294967296;", 5, "more than 32 bits", "4294967295"), ("g = 'ab';", 5, "is no character", "one"),
        ("g = '';", 5, "is no character", ""), ('g = "abc;', 5, "no closing quote", ""),
        ("g = @;", 5, "no token", ""),
        ('g = "a\\q";', 7, "unknown escape `\\q'", ""),
        ("g = word(1);", 9, "`[' is missing", "word[address]"), ("for g = 1; g; var q { }", 15, "the step", ""),
        ("g = " + "(" * 101 + "1" + ")" * 101 + ";", 104, "levels of nesting", "smaller parts"),
        ("g = 1" + " + g" * 101 + ";", 407, "levels of nesting", ""), ("{" * 101 + "}" * 101, 100, "levels of", ""),
    ],
)  # fmt: skip
def test_a_statement_in_error(text: str, column: int, message: str, expected: str) -> None:
    error = errors_of(in_main(text))[0]
    assert message in error.message and expected in error.expected
    assert (error.place.line, error.place.column + 1) == (6, column)
    assert str(error).startswith(f"p.pxl:6:{column}: error: {error.message[:20]}")


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("", "1:1", "no function `main'"), ("x", "1:1", "no declaration begins"),
        ("fn main( {}", "1:10", "name of a parameter"),
        ("fn main(x) {}", "1:4", "`main' has parameters"), ("fn main() -> x { return 1; }", "1:4", "`main' has"),
        ("var a: word[0]; fn main() {}", "1:5", "an array of 0"), ("var a: word[]; fn main() {}", "1:5", "no length"),
        ("var a: word[2] = [1,2,3]; fn main() {}", "1:5", "3 elements for an array of 2"),
        ("var a: byte[] = [256]; fn main() {}", "1:18", "256 is no byte"),
        ("var a: int[2]; fn main() {}", "1:8", "kind"),
        ("const A = B; const B = A; fn main() {}", "1:24", "`A' is made of itself"),
        ("const A = g; var g; fn main() {}", "1:11", "not known before"),
        ("const A = 1 /u 0; fn main() {}", "1:13", "zero"),
        ("fn f() {} fn f() {} fn main() {}", "1:14", "given twice"), ("var putc; fn main() {}", "1:5", "belongs to"),
        ("fn f() -> x { if 1 { return 1; } } fn main() {}", "1:34", "`f' can end without its result"),
        ("fn f() -> x { while 1 { break; } } fn main() {}", "1:34", "can end without"),
        ("use nothing; fn main() {}", "1:5", "no library `nothing'"),
        ('include "x.pxl"; fn main() {}', "1:9", "nothing"),
        ("fn f(a, a) {} fn main() {}", "1:9", "given twice"), ("const = 1; fn main() {}", "1:7", "a constant"),
        ("fn f(" + ", ".join(f"p{i}" for i in range(17)) + ") {} fn main() {}", "1:4", "too many parameters"),
        ("fn main() {" + " ".join(f"var v{i};" for i in range(1001)) + "}", "1:9906", "more than 1000 locals"),
    ],
)  # fmt: skip
def test_a_declaration_in_error(text: str, place: str, message: str) -> None:
    error = errors_of(text)[0]
    assert message in error.message
    assert str(error).startswith(f"p.pxl:{place}: error: ")


@pytest.mark.parametrize(
    "text", ["fn f() -> x { while 1 { } } fn main() {}", "fn f() -> x { halt 1; } fn main() {}"]
)
def test_what_never_ends_needs_no_return(text: str) -> None:
    compile_text(text, "p.pxl")


def test_every_error_is_told_once_and_what_follows_is_read() -> None:
    text = "fn main() {\n  var a = 1\n  b = a;\n  if a < 2 { c(); }\n"
    text += "  var d = 1 +;\n}\nfn f() -> x { }\nvar e: word[];\n"
    places = [(error.place.line, error.place.column + 1) for error in errors_of(text)]
    assert places == [(2, 12), (3, 3), (4, 8), (4, 14), (5, 14), (7, 15), (8, 5)]


def test_a_brace_that_is_missing_is_one_error() -> None:
    (error,) = errors_of("fn main() {\n if 1 {\n while 1 {\nfn f() { }\n")
    assert (error.message, error.place.line) == ("`}' is missing at `fn'", 4)
    assert "on line 3" in error.expected


def test_many_errors_end_somewhere() -> None:
    assert len(errors_of("fn main() {" + "x = 1;\n" * 5000 + "}")) == faults.ERRORS_MAX
    assert len(errors_of("@ " * 5000)) == faults.ERRORS_MAX


def test_a_program_that_is_too_large() -> None:
    for text in (
        "var a: word[200000]; var b: word[200000]; fn main() { a[0] = b[0]; }",
        "\n".join(f"const C{i} = C{i + 1} + 1;" for i in range(3000)) + "const C3000 = 1; fn main() {}",
    ):
        with pytest.raises(InputError) as caught:
            compile_text(text, "p.pxl")
        assert len(caught.value.lines()) == 1


def test_a_source_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lexer, "TOKENS_MAX", 20)
    assert "too long" in "".join(error.message for error in errors_of("fn main() { putc(1); }\n" * 4))


# --- files -------------------------------------------------------------------------------------------------


def test_included_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("part").mkdir()
    Path("main.pxl").write_text('include "part/a.pxl"; include "b.pxl"; use std; fn main() { a(); b(); }')
    Path("part/a.pxl").write_text('include "c.pxl"; use std; fn a() { print("a"); c(); }')
    Path("part/c.pxl").write_text('include "a.pxl"; fn c() { print("c"); }')
    Path("b.pxl").write_text("fn b() { putc('b'); }")
    answer = pxos("vm", "run", "main.pxl")
    assert (answer.status, answer.output) == (0, "acb\n")
    listed = pxos("vm", "asm", "main.pxl").output
    assert {"main.pxl:1", "part/a.pxl:1", "part/c.pxl:1", "library/std.pxl:6"} <= set(listed.split())
    Path("part/c.pxl").write_text("fn c() { d(); }")
    assert pxos("vm", "run", "main.pxl").errors.startswith("part/c.pxl:1:10: error: ")
    for name in ("../x.pxl", "/etc/passwd", "x.txt", "missing.pxl", ""):
        Path("main.pxl").write_text(f'include "{name}"; fn main() {{ }}')
        refused = pxos("vm", "run", "main.pxl")
        assert (refused.status, refused.output) == (2, "")
        assert refused.errors.startswith("main.pxl:1:9: error: ")


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x.pxl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not UTF-8"):
        read_source(tmp_path / "x.pxl")


# --- any text ----------------------------------------------------------------------------------------------

_WORDS = [
    *KEYWORDS,
    *"{}()[];,=:?<>+-!",
    "<u",
    "x",
    "main",
    "1",
    '"s"',
    "'c'",
    "->",
    "\n",
    "putc",
    "&&",
    "//",
]


@given(st.lists(st.sampled_from(_WORDS), max_size=40).map(" ".join) | st.text(max_size=80))
def test_any_text_is_a_program_or_an_input_error(text: str) -> None:
    try:
        compile_text(text, "p.pxl")
    except InputError as error:
        assert error.lines()


@pytest.mark.long
def test_damaged_programs_are_programs_or_input_errors() -> None:
    random = Random(5)
    for seed in range(60):
        text = program(seed)
        at = random.randrange(len(text))
        damaged = (
            text[:at]
            + random.choice(["", "}", "{", ";", "(", "x", '"', "fn ", "9"])
            + text[at + random.randrange(4) :]
        )
        try:
            compile_text(damaged, "p.pxl")
        except InputError as error:
            assert all(":" in line for line in error.lines())
