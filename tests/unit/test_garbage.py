"""Sources that nobody would write: whatever stands in them, the answer is an image or an error with its place."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit import gnu_link
from toolchain import generate, layout
from toolchain.encode import Encoder
from toolchain.errors import InputError
from toolchain.types import Diagnostic

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
PLAN = layout.load(KERNEL / "image.toml")
SMALL = gnu_link.small_layout()
SETTINGS = settings(
    deadline=None,
    max_examples=100,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
WORDS = [
    ".if",
    ".else",
    ".endif",
    ".elseif",
    ".macro",
    ".endm",
    ".rept",
    ".irp",
    ".irpc",
    ".endr",
    ".set",
    ".equ",
    ".include",
    ".incbin",
    ".byte",
    ".long",
    ".quad\n.ascii",
    ".asciz",
    ".skip",
    ".fill",
    ".balign",
    ".p2align",
    ".org",
    ".section",
    ".text",
    ".data",
    ".bss",
    ".pushsection",
    ".popsection",
    ".previous",
    ".global\n.type",
    ".size",
    ".weak",
    ".code16",
    ".code32",
    ".code64",
    ".error",
    ".purgem",
    ".exitm",
    ".ifdef",
    ".ifc",
    ".ifb",
    ".float",
    ".octa",
    ".end",
    "m",
    "a",
    "b",
    "K",
    "x:",
    "1:",
    "1b",
    "1f\nmov",
    "add",
    "jmp",
    "je",
    "call",
    "push",
    "rax",
    "eax",
    "al",
    "[rdi+8]",
    "[rip+x]",
    '"s"',
    '"un',
    "'",
    "#",
    ";",
    "//",
    "/*",
    "*/",
    "\\a",
    "\\@",
    "\\()",
    ",",
    ",",
    ",",
    "+",
    "-",
    "*",
    "(",
    ")",
    "=",
    "==",
    "0",
    "1",
    "0x80\n4096",
    "-1",
    "0xffffffffffffffff",
    "08",
    "0b2",
    "1e5",
    "é",
    "@function",
    '"ax"',
    ",",
    ".",
    ".-x",
    "x-x",
    "$",
    "%",
    "&",
    "<",
    ">",
    "!",
    "~",
    "^",
    "|",
    "{",
    "}",
    "`",
    "?",
    "\t",
]
word = st.sampled_from([piece for text in WORDS for piece in text.split("\n")])
line = st.lists(word, max_size=7).map(" ".join)


def check_errors(error: InputError) -> None:
    """Every error names a line and says something."""
    assert error.diagnostics
    for diagnostic in error.diagnostics:
        assert isinstance(diagnostic, Diagnostic)
        assert diagnostic.place.line >= 1
        assert diagnostic.message
    assert error.message.startswith(f"{error.diagnostics[0].place.file}:")  # type: ignore[attr-defined]


@pytest.mark.long
@SETTINGS
@given(lines=st.lists(line, max_size=25))
def test_words(encoder: Encoder, lines: list[str]) -> None:
    source = ".intel_syntax noprefix\n.global _start\n_start:\n" + "\n".join(lines)
    try:
        gnu_link.ours({"p.s": source}, SMALL, encoder)
    except InputError as error:
        check_errors(error)


@SETTINGS
@given(text=st.text(max_size=200))
def test_characters(encoder: Encoder, text: str) -> None:
    try:
        gnu_link.ours({"p.s": text}, SMALL, encoder)
    except InputError as error:
        check_errors(error)


# --- the kernel, damaged -----------------------------------------------------------------------------------


def damage(text: str, chance: random.Random, lines: list[str], words: list[str]) -> str:
    """``text`` with a few lines or words taken out, doubled, exchanged or put in."""
    found = text.split("\n")
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        at = chance.randrange(len(found))
        pieces = re.findall(r"[\w.$]+|\s+|[^\w\s]", found[at].split("#")[0])
        action = chance.randrange(8)
        if action == 0:
            del found[at]
        elif action == 1:
            found.insert(at, chance.choice(lines))
        elif action == 2:
            found[at] = chance.choice(lines)
        elif pieces:
            where = chance.randrange(len(pieces))
            if action == 3:
                del pieces[where]
            elif action == 4:
                pieces[where] *= 2
            elif action == 5:
                pieces.insert(where, chance.choice(words))
            else:
                pieces[where] = chance.choice(words)
            found[at] = "".join(pieces)
    return "\n".join(found)


@pytest.mark.slow
def test_damaged_kernel_units_against_gnu(encoder: Encoder, tmp_path: Path) -> None:
    """No damage makes an image that differs from as + ld's, or one where they refuse."""
    generate.generate(KERNEL, tmp_path)
    include = [tmp_path / "gen", *(KERNEL / folder for folder in PLAN.include)]
    units = [path.read_text() for path in PLAN.units(KERNEL)]
    lines = [
        row for text in units for row in text.split("\n") if row.strip() and not row.strip().startswith("#")
    ]
    words = sorted({piece for row in lines for piece in re.findall(r"[\w.$]+|[^\w\s]", row)})
    chance = random.Random(5)
    same = 0
    for _ in range(1200):
        source = damage(chance.choice(units), chance, lines, words)
        path = tmp_path / "m.s"
        path.write_text(source)
        try:
            stubs = gnu_link.missing_symbols(path, include, PLAN)
        except gnu_link.Refused:
            stubs = ".intel_syntax noprefix\n"
        sources: dict[str, str | Path] = {"m.s": source, "stubs.s": stubs}
        oracle = gnu_link.gnu(sources, PLAN, include)
        try:
            image = gnu_link.ours(sources, PLAN, encoder, include)
        except InputError as error:
            check_errors(error)
            continue
        assert not oracle.complaint, source
        assert gnu_link.differences(image, oracle) == [], source
        same += 1
    assert same > 200
