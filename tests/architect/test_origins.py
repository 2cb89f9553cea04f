"""Where the bytes of an image came from: instructions, rows of data, and lines that macros made."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import pytest

from tests.architect.kernels import line_of
from toolchain.build import Session
from toolchain.types import Image

IMAGE = """\
[image]
entry = "start"
physical_base = 0x100000
virtual_base = 0xffffffff80000000
sources = ["**/*.s"]
include = ["include"]
[[section]]
name = ".text"
inputs = [".text"]
flags = "ax"
[[section]]
name = ".rodata"
inputs = [".rodata", ".data"]
flags = "aw"
"""
MACROS = """\
.macro twice register
    add \\register, \\register
    once \\register
.endm
.macro once register
    inc \\register
.endm
.macro row first, second
    .long \\first
    .long \\second
.endm
"""
START = """\
.intel_syntax noprefix
.include "macros.inc"
.global start
start:
    mov eax, 7
    twice eax
    call other
    ret
.section .rodata
    .balign 8
table: .quad 1, 2
    .byte 3
    row 4, 5
"""
OTHER = """\
.intel_syntax noprefix
.text
.global other
other:
    mov rax, offset word_of
    ret
.data
word_of: .quad other
"""
HERE, THERE, MACRO = "start.s", "cpu/other.s", "include/macros.inc"
Lines = set[tuple[str, int]]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("tree")
    for name, text in {
        "image.toml": IMAGE,
        "boot.toml": "",
        HERE: START,
        THERE: OTHER,
        MACRO: MACROS,
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    with Session(folder) as made:
        assert made.origins() == []
        yield made


@pytest.fixture
def image(session: Session) -> Image:
    return session.build()


def lines_at(session: Session, address: int) -> Lines:
    rows = [o for o in session.origins() if o.address <= address < o.address + o.length]
    assert len(rows) <= 1
    return {line for row in rows for line in row.lines}


def at(image: Image, name: str) -> int:
    return next(s.address for s in image.symbols if s.name == name)


def line(file: str, text: str) -> tuple[str, int]:
    return file, line_of({HERE: START, THERE: OTHER, MACRO: MACROS}[file], text)


def test_instructions_have_their_lines(session: Session, image: Image) -> None:
    assert lines_at(session, at(image, "start")) == {line(HERE, "mov eax, 7")}
    assert lines_at(session, at(image, "start") + 4) == {line(HERE, "mov eax, 7")}
    assert lines_at(session, at(image, "other")) == {line(THERE, "mov rax, offset word_of")}


@pytest.mark.parametrize(
    ("offset", "made_by"),
    [(5, ["add \\register, \\register"]), (7, ["inc \\register", "once \\register"])],
)
def test_what_a_macro_made_has_the_line_of_its_body_and_of_every_call(
    session: Session, image: Image, offset: int, made_by: list[str]
) -> None:
    expected = {line(HERE, "twice eax"), *(line(MACRO, text) for text in made_by)}
    assert lines_at(session, at(image, "start") + offset) == expected


@pytest.mark.parametrize(
    ("offset", "text", "body"),
    [
        (0, "table: .quad 1, 2", ""),
        (15, "table: .quad 1, 2", ""),
        (16, ".byte 3", ""),
        (17, "row 4, 5", ".long \\first"),
        (21, "row 4, 5", ".long \\second"),
    ],
)
def test_rows_of_data_have_their_lines(
    session: Session, image: Image, offset: int, text: str, body: str
) -> None:
    expected = {line(HERE, text)} | ({line(MACRO, body)} if body else set())
    assert lines_at(session, at(image, "table") + offset) == expected


def test_data_of_another_section_has_its_place(session: Session, image: Image) -> None:
    assert lines_at(session, at(image, "word_of")) == {line(THERE, "word_of: .quad other")}
    assert lines_at(session, at(image, "word_of") + 8) == set()


def test_origins_are_in_order_and_do_not_overlap(session: Session, image: Image) -> None:
    rows = session.origins()
    assert image.sections
    assert len(rows) > 10
    for before, after in pairwise(rows):
        assert before.address + before.length <= after.address


def test_origins_are_those_of_the_last_build(session: Session) -> None:
    added = START.replace("    mov eax, 7\n", "    # why\n    nop\n    mov eax, 7\n")
    changed = session.build({HERE: added})
    start = at(changed, "start")
    assert lines_at(session, start) == {(HERE, line_of(added, "nop"))}
    assert lines_at(session, start + 1) == {(HERE, line_of(added, "mov eax, 7"))}
    session.build()
    assert lines_at(session, start) == {line(HERE, "mov eax, 7")}
