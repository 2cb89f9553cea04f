"""Preprocessing: what statements there are, where they stand, and what is said when a source is wrong."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from toolchain import generate, layout
from toolchain.preprocess import TEXTS_KEPT, Preprocessor, Unit, preprocess
from toolchain.source import CONSTANTS, LABEL, SourceFile
from toolchain.types import Expansion

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


def run(text: str, **files: str) -> Unit:
    """Preprocess ``text``; ``files`` are include files (``x_inc="…"`` is ``x.inc``)."""
    preprocessor = Preprocessor(Path("/nowhere"))
    preprocessor.overrides = {name.replace("_inc", ".inc"): content for name, content in files.items()}
    return preprocessor.run(SourceFile("t.s", text))


def texts(unit: Unit) -> list[str]:
    assert not unit.errors, "\n".join(map(str, unit.errors))
    return [statement.text for statement in unit.statements if statement.op != CONSTANTS]


# --- statements --------------------------------------------------------------------------------------------


def test_labels_and_statements_apart() -> None:
    assert texts(run("a: b: mov  eax,\t1 ; nop # x\n1:\n  ret\n")) == [
        "a:",
        "b:",
        "mov eax,\t1",
        "nop",
        "1:",
        "ret",
    ]


def test_places() -> None:
    unit = run("\n  nop; \thlt # c\nlab: cli\n/* x\n*/ sti\n")
    found = [(s.text, s.place.line, s.place.column, s.place.text) for s in unit.statements]
    assert found == [
        ("nop", 2, 2, "  nop; \thlt # c"),
        ("hlt", 2, 8, "  nop; \thlt # c"),
        ("lab:", 3, 0, "lab: cli"),
        ("cli", 3, 5, "lab: cli"),
        ("sti", 5, 3, "*/ sti"),
    ]


def test_quotes_hide_separators_and_comments() -> None:
    assert texts(run(".ascii \"a;b#c/*d*/\" # x\nmov al, ';'\n.byte '#', '\\n', 'a")) == [
        '.ascii "a;b#c/*d*/"',
        "mov al, 59",
        ".byte 35, 10, 97",
    ]


def test_crlf_and_no_newline_at_the_end() -> None:
    assert texts(run("nop\r\nhlt\r\ncli")) == ["nop", "hlt", "cli"]


def test_directives_and_mnemonics_in_any_case() -> None:
    assert [s.op for s in run(".LONG 1\nMOV eax, K\n.Set K, 1\n").statements] == [".long", "mov", CONSTANTS]


def test_macro_trail_is_innermost_first() -> None:
    unit = run(".macro inner\n  nop\n.endm\n.macro outer\ninner\n.endm\nouter\n")
    (nop,) = unit.statements
    assert (nop.place.line, nop.place.text, nop.place.column) == (2, "  nop", 2)
    assert nop.trail == (Expansion("inner", "t.s", 5), Expansion("outer", "t.s", 7))


def test_substituted_statement_keeps_its_place() -> None:
    unit = run('.macro m a, b\n  mov \\a, \\b # c\n\\a\\()_x: .asciz "\\b"\n.endm\nm eax, 5\n')
    assert [(s.text, s.place.line, s.place.column) for s in unit.statements] == [
        ("mov eax, 5", 2, 2),
        ("eax_x:", 3, 0),
        ('.asciz "5"', 3, 7),
    ]


def test_text_put_in_may_bring_directives() -> None:
    macros = ".macro m a\n.byte \\a\n.endm\n.macro n a\n\\a: nop\n.endm\n"
    assert texts(run(macros + 'm "1; .set K, 5; .byte K"\n.if K\nm 2\n.endif\n')) == [
        ".byte 1",
        ".byte K",
        ".byte 2",
    ]
    assert texts(run(macros + 'n "x: .if 0; hlt; .endif; y"\n')) == ["x:", "y:", "nop"]


def test_constants_in_runs_with_their_places() -> None:
    unit = run(".set A, 1\nB = A + 1\nnop\n.equ C, B * 2\n")
    first, _, second = unit.statements
    assert first.constants is not None and second.constants is not None
    assert first.constants.values == {"A": 1, "B": 2}
    assert first.constants.places["B"].line == 2
    assert second.constants.values == {"C": 4}


def test_unknown_values_are_left_to_the_assembler() -> None:
    assert texts(run("x: .set N, . - x\n.set M, N + 1\n")) == ["x:", ".set N,. - x", ".set M,N + 1"]


def test_defines() -> None:
    assert [s.text for s in preprocess(".if DEBUG\nnop\n.endif", Path("/x"), defines={"DEBUG": 1})] == ["nop"]


# --- include files -----------------------------------------------------------------------------------------


def test_include_file_is_named_in_places(tmp_path: Path) -> None:
    (tmp_path / "include").mkdir()
    (tmp_path / "include" / "m.inc").write_text("nop\n")
    (tmp_path / "a.s").write_text('.include "m.inc"\nhlt\n')
    found = preprocess(Path("a.s"), tmp_path, [tmp_path / "include"])
    assert [(s.text, s.place.file, s.place.line) for s in found] == [
        ("nop", "include/m.inc", 1),
        ("hlt", "a.s", 2),
    ]


def test_include_folders_in_order(tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "m.inc").write_text(f"mov eax, {len(folder)}{folder[0]}\n".replace("3", ""))
    (tmp_path / "two" / "n.inc").write_text("nop\n")
    (tmp_path / "a.s").write_text('.include "m.inc"\n.include "n.inc"\n')
    found = preprocess(Path("a.s"), tmp_path, [tmp_path / "one", tmp_path / "two"])
    assert [s.text for s in found] == ["mov eax, o", "nop"]


GUARD = ".ifndef G\n.set G, 1\n.set A, 7\n.macro m\nnop\n.endm\n.endif\n"


def test_guarded_include_twice() -> None:
    unit = run('.include "g.inc"\n.include "g.inc"\nm\n.byte A\n', g_inc=GUARD)
    assert texts(unit) == ["nop", ".byte A"]


@pytest.mark.long
def test_remembered_include_does_what_reading_it_does() -> None:
    """Every kernel unit comes out alike from a preprocessor that has seen all others and from a fresh one."""
    plan = layout.load(KERNEL / "image.toml")
    generated = {f"gen/{name}": text for name, text in generate.texts(KERNEL).items()}
    folders = [Path("gen"), *(KERNEL / folder for folder in plan.include)]
    shared = Preprocessor(KERNEL, folders)
    shared.overrides = generated
    for path in plan.units(KERNEL):
        fresh = Preprocessor(KERNEL, folders)
        fresh.overrides = generated
        one, other = shared.run(path), fresh.run(path)
        assert not one.errors
        assert [(s.text, s.place) for s in one.statements if s.op != CONSTANTS] == [
            (s.text, s.place) for s in other.statements if s.op != CONSTANTS
        ]
        assert [s.constants.values for s in one.statements if s.constants] == [
            s.constants.values for s in other.statements if s.constants
        ]
        assert [s.name for s in one.sources] == [s.name for s in other.sources]


@pytest.mark.parametrize(
    "prefixes",
    [
        (".set K, 1\n", ".set K, 2\n"),
        (".set K, 1\n", ""),
        ("", "K: nop\n"),
        (".set K, x\n", ".set K, 3\n"),
    ],
)
def test_include_that_depends_on_its_unit_is_read_again(prefixes: tuple[str, str]) -> None:
    preprocessor = Preprocessor(Path("/nowhere"))
    preprocessor.overrides = {"i.inc": ".ifdef K\n.byte K\n.else\n.byte 0\n.endif\n"}
    for prefix in (*prefixes, *prefixes):
        unit = preprocessor.run(SourceFile("t.s", prefix + '.include "i.inc"\n'))
        assert [s.text for s in unit.statements if s.op == ".byte"] == [".byte K" if prefix else ".byte 0"]


def test_include_uses_a_macro_of_its_unit() -> None:
    preprocessor = Preprocessor(Path("/nowhere"))
    preprocessor.overrides = {"i.inc": "thing 5\n"}
    plain = preprocessor.run(SourceFile("a.s", '.include "i.inc"\n'))
    macro = preprocessor.run(SourceFile("b.s", '.macro thing n\n.byte \\n\n.endm\n.include "i.inc"\n'))
    assert [s.text for s in plain.statements] == ["thing 5"]
    assert [s.text for s in macro.statements] == [".byte 5"]


def test_later_value_wins_after_a_remembered_include() -> None:
    preprocessor = Preprocessor(Path("/nowhere"))
    preprocessor.overrides = {"i.inc": ".set K, 5\n"}
    for prefix in ("", ".set K, 5\n", ".set K, 6\n"):
        unit = preprocessor.run(SourceFile("t.s", prefix + '.include "i.inc"\n.if K == 5\nnop\n.endif\n'))
        assert texts(unit) == ["nop"]


@pytest.mark.parametrize("first", ["", '.include "inner.inc"\n'])
def test_an_include_is_not_remembered_beyond_what_it_includes_itself(first: str) -> None:
    preprocessor = Preprocessor(Path("/nowhere"))
    for value in (1, 2, 1):
        preprocessor.overrides = {
            "outer.inc": '.include "inner.inc"\n',
            "inner.inc": f".set K, {value}\n.byte {value}\n",
        }
        for name in ("a.s", "b.s"):
            unit = preprocessor.run(SourceFile(name, first + '.include "outer.inc"\nmov eax, K\n'))
            assert texts(unit)[-2:] == [f".byte {value}", "mov eax, K"]
            assert [s.constants.values for s in unit.statements if s.constants][-1] == {"K": value}
        assert preprocessor.is_current(unit)


def test_a_remembered_include_within_another_is_looked_at_too() -> None:
    preprocessor = Preprocessor(Path("/nowhere"))
    files = {"outer.inc": '.include "middle.inc"\n', "middle.inc": '.include "inner.inc"\n'}
    source = (
        '.include "middle.inc"\n.include "outer.inc"\n'  # outer.inc is read while the others are remembered
    )
    for value in (1, 2, 1):
        preprocessor.overrides = {**files, "inner.inc": f".byte {value}\n"}
        for _ in range(2):
            assert texts(preprocessor.run(SourceFile("t.s", source))) == [f".byte {value}"] * 2


def test_what_is_remembered_of_texts_long_gone_is_dropped() -> None:
    preprocessor = Preprocessor(Path("/nowhere"))
    for value in range(2 * TEXTS_KEPT):
        preprocessor.overrides = {"outer.inc": '.include "gone.inc"\n', "gone.inc": f".byte {value}\n"}
        assert texts(preprocessor.run(SourceFile("t.s", '.include "outer.inc"\n'))) == [f".byte {value}"]
    gc.collect()
    kept = [one for one in gc.get_objects() if isinstance(one, SourceFile) and one.name == "gone.inc"]
    assert len(kept) <= TEXTS_KEPT


def test_is_current_follows_overrides_and_files(tmp_path: Path) -> None:
    (tmp_path / "a.s").write_text('.include "b.inc"\nnop\n')
    (tmp_path / "b.inc").write_text("hlt\n")
    preprocessor = Preprocessor(tmp_path)
    unit = preprocessor.run(Path("a.s"))
    assert preprocessor.is_current(unit)
    preprocessor.overrides = {"b.inc": "cli\n"}
    assert not preprocessor.is_current(unit)
    assert texts(preprocessor.run(Path("a.s"))) == ["cli", "nop"]
    preprocessor.overrides = {}
    assert preprocessor.is_current(unit)
    (tmp_path / "b.inc").write_text("sti; sti\n")
    preprocessor.refresh()
    assert not preprocessor.is_current(unit)
    (tmp_path / "b.inc").unlink()
    preprocessor.refresh()
    assert not preprocessor.is_current(unit)


# --- the rest ---------------------------------------------------------------------------------------------


def test_warnings_do_not_stop() -> None:
    unit = run('.warning "careful"\nnop\n')
    assert texts(unit) == ["nop"]
    assert [w.message for w in unit.warnings] == ["careful"]


def test_end_stops_reading() -> None:
    assert texts(run("nop\n.end\nrubbish ( \n")) == ["nop"]


def test_label_statement_marks() -> None:
    (label,) = run("x:\n").statements
    assert (label.op, label.args) == (LABEL, "x")
