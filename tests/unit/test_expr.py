from __future__ import annotations

import subprocess

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.errors import InputError
from toolchain.expr import EvaluationError, Expr, number, parse, parse_cached, signed64, symbol
from toolchain.types import Place

HERE = Place("e.s", 7, "mov eax, 1 +", 9)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1<<2+1", 5),
        ("1+1<<2", 5),
        ("2+3*4", 14),
        ("-1>>1", 2**63 - 1),
        ("-7/2", -3),
        ("-7%3", -1),
        ("7 mod 4", 3),
        ("not 0 + 1", 0),
        ("6^3|1&2", 0),
        ("5!2", -3),
        ("3==3", -1),
        ("5>3>2", 0),
        ("2&&3", 1),
        ("0||0", 0),
        ("!5", 0),
        ("'A'", 65),
        ("'\\n'", 10),
        ("'\\0'", 48),
        ("';'", 59),
        ("010", 8),
        ("0b11", 3),
        ("0XfF", 255),
        ("1 SHL 4", 16),
        ("1<<64", 0),
        ("- - 1", 1),
    ],
)
def test_a_constant_has_the_value_of_gnu_as(text: str, value: int) -> None:
    assert parse(text, HERE).constant == value


def test_names_stay_names_until_looked_up() -> None:
    expression = parse("(end - start) / 8 + 1b", HERE)
    assert expression.names() == ("end", "start", "1b")
    assert expression.constant is None
    assert expression.evaluate({"end": 80, "start": 16, "1b": 1}.get) == 9
    assert expression.evaluate({"end": 80}.get) is None


def test_the_current_address_has_two_names() -> None:
    assert parse("$+5", HERE) == parse(".+5", HERE)


def test_fold_replaces_what_is_known() -> None:
    assert parse("a + K * 2", HERE).fold({"K": 4}.get).symbol_offset() == ("a", 8)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a", ("a", 0)), ("a+4-2", ("a", 2)), ("4+a", ("a", 4)), ("a-b", None), ("-a", None), ("8-a", None)],
)
def test_symbol_offset(text: str, expected: tuple[str, int] | None) -> None:
    assert parse(text, HERE).symbol_offset() == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "(1",
        "1)",
        "09",
        "10h",
        "0o17",
        "1_000",
        "0d10",
        "1e3",
        "* 2",
        "a b",
        "eq",
        "'é'",
        "[1]",
        "1 = 2",
    ],
)
def test_what_is_no_expression_is_refused_at_its_place(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse(text, HERE)
    (diagnostic,) = caught.value.diagnostics
    assert str(diagnostic).startswith("e.s:7: error: ")


def test_division_by_zero_is_refused() -> None:
    with pytest.raises(InputError, match="division by zero"):
        parse("1/0", HERE)
    with pytest.raises(EvaluationError):
        parse("1/a", HERE).evaluate({"a": 0}.get)


def test_a_literal_keeps_its_width_and_a_result_does_not() -> None:
    assert (
        parse("0x123456789abcdef0112233445566778899", HERE).constant == 0x123456789ABCDEF0112233445566778899
    )
    assert parse("0xffffffffffffffff", HERE).constant == 2**64 - 1
    assert parse("0xffffffffffffffff+0", HERE).constant == -1


def test_expressions_are_equal_when_they_say_the_same() -> None:
    assert symbol("a", 4) == parse_cached("a + 4")
    assert hash(number(3)) == hash(parse_cached("3"))
    assert str(parse_cached("a+2*b")) == "(a + (2 * b))"


_LEAVES = st.integers(-(2**64) + 1, 2**64 - 1).map(lambda value: str(value) if value >= 0 else f"({value})")


def _inner(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(
        ["+", "-", "*", "&", "|", "^", "!", "==", "<>", "<", "<=", ">", ">=", "&&", "||"]
    )
    shifts = st.tuples(children, st.sampled_from(["<<", ">>", " shl ", " shr "]), st.integers(0, 63).map(str))
    divisions = st.tuples(children, st.sampled_from(["/", "%", " mod "]), st.integers(1, 2**62).map(str))
    return st.one_of(
        st.tuples(children, operators, children).map("".join),
        shifts.map("".join),
        divisions.map("".join),
        st.tuples(st.sampled_from(["-", "~", "!"]), children).map("".join),
        children.map(lambda text: f"({text})"),
    )


@given(st.lists(st.recursive(_LEAVES, _inner, max_leaves=6), min_size=1, max_size=40))
@settings(max_examples=15, deadline=None)
def test_generated_expressions_against_gnu_as(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("expr")
    source = ".intel_syntax noprefix\n.text\n" + "".join(f".quad {text}\n" for text in texts)
    run = subprocess.run(
        ["as", "-o", str(folder / "e.o"), "-"], input=source, capture_output=True, text=True, check=False
    )
    if run.returncode:
        # INT64_MIN / -1 traps in as itself; nothing else of these may fail.
        assert "nternal error" in run.stderr, run.stderr
        return
    with (folder / "e.o").open("rb") as stream:
        data = ELFFile(stream).get_section_by_name(".text").data()
    for index, text in enumerate(texts):
        expected = int.from_bytes(data[8 * index : 8 * index + 8], "little", signed=True)
        constant = parse(text, HERE).constant
        assert constant is not None
        assert signed64(constant) == expected, text


@given(st.text(alphabet="0123456789abfxABX+-*/%<>=!&|^~()'\\ .$_[]:,{}é\x00", max_size=30))
@settings(max_examples=300, deadline=None)
def test_any_text_is_an_expression_or_an_input_error(text: str) -> None:
    try:
        assert isinstance(parse(text, HERE), Expr)
    except InputError as error:
        assert error.diagnostics


def test_deep_nesting_is_an_input_error() -> None:
    with pytest.raises(InputError):
        parse("(" * 100_000 + "1", HERE)
    with pytest.raises(InputError):
        parse("-" * 100_000 + "1", HERE)
