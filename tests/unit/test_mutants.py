"""Mutants: drawn the same everywhere, of every class, of statements only, and without a look at the repairs."""

from __future__ import annotations

import ast
import re
from itertools import islice
from pathlib import Path

import pytest

from architect import mutants, mutations
from architect.mutants import Sources, draws

ROOT = Path(__file__).resolve().parents[2]
INTEL = """\
# page_clear -- mov rax, 4 in a comment
.set PAGE_BYTES, 4096
.set PAGE_WORDS, 512

function page_clear
    push rbx                # add rbx, 1
    mov ecx, PAGE_BYTES
    mov dword ptr [rdi + 8], 0
.Lclear_next:
    add rdi, 8
    dec ecx
    jnz .Lclear_next
    call page_check
    call page_check_all
.Lclear_leave:
    pop rbx
    ret
end_function page_clear
"""
ATT = """\
# movl $1, %eax
putc:
        movb    4(%esp), %al    # addl $1, %eax
        jz      other
other:
        ret
"""
NASM = "; mov eax, 1\nBITS 64\nSIZE equ 8\n.wait: in al, dx ; add eax, 1\n        jz .wait\n        ret\n"


def news(text: str, line: int, syntax: str = "gas-intel") -> dict[str, set[str]]:
    """Class -> what it makes of a line (1-based), lines joined with a slash."""
    made = Sources({"a.s": text}, syntax).variants("a.s", line - 1)
    return {cls: {" / ".join(row.strip() for row in one.new) for one in some} for cls, some in made.items()}


@pytest.mark.parametrize(
    ("line", "cls", "new"),
    [
        (2, "constant", ".set PAGE_BYTES, 4097"),
        (2, "constant", ".set PAGE_BYTES, 8192"),
        (6, "delete", ""),
        (6, "duplicate", "push rbx                # add rbx, 1 / push rbx                # add rbx, 1"),
        (6, "swap", "mov ecx, PAGE_BYTES / push rbx                # add rbx, 1"),
        (6, "register", "push rcx                # add rbx, 1"),
        (6, "mnemonic", "pop rbx                # add rbx, 1"),
        (7, "name", "mov ecx, PAGE_WORDS"),
        (7, "exchange", "mov PAGE_BYTES, ecx"),
        (8, "size", "mov qword ptr [rdi + 8], 0"),
        (8, "displacement", "mov dword ptr [rdi + 12], 0"),
        (8, "constant", "mov dword ptr [rdi + 8], 1"),
        (10, "mnemonic", "sub rdi, 8"),
        (12, "condition", "jz .Lclear_next"),
        (12, "branch", "jnz .Lclear_leave"),
        (13, "call", "call page_check_all"),
    ],
)
def test_each_class_changes_what_its_name_says(line: int, cls: str, new: str) -> None:
    assert new in {row.strip() for row in news(INTEL, line)[cls]}


def test_the_same_condition_by_another_name_is_none() -> None:
    assert "jne .Lclear_next" not in news(INTEL, 12)["condition"] and len(news(INTEL, 12)["condition"]) == 15


@pytest.mark.parametrize(
    "text", ["", "   ", "# mov eax, 1", ".Lnext:", ".section .text", 'x: .asciz "add 1, 2"', "function f"]
)
def test_what_is_no_statement_has_no_mutants(text: str) -> None:
    assert mutations.read(text, "gas-intel") is None


def test_other_syntaxes() -> None:
    assert "movb    8(%esp), %al    # addl $1, %eax" in news(ATT, 3, "gas-att")["displacement"]
    assert "movb    4(%esp), %bl    # addl $1, %eax" in news(ATT, 3, "gas-att")["register"]
    assert "movl    4(%esp), %al    # addl $1, %eax" in news(ATT, 3, "gas-att")["size"]
    assert "jz      putc" in news(ATT, 4, "gas-att")["branch"]
    assert news(NASM, 4, "nasm")["delete"] == {".wait:"}
    assert "SIZE equ 9" in news(NASM, 3, "nasm")["constant"]
    assert mutations.read("; mov eax, 1", "nasm") is None and mutations.read("BITS 64", "nasm") is None


def test_a_seed_draws_the_same_everywhere() -> None:
    told = [one.told() for one in islice(draws(Sources({"b.s": INTEL, "a.s": ATT}, "gas-intel"), 7), 40)]
    again = [one.told() for one in islice(draws(Sources({"a.s": ATT, "b.s": INTEL}, "gas-intel"), 7), 40)]
    other = [one.told() for one in islice(draws(Sources({"a.s": ATT, "b.s": INTEL}, "gas-intel"), 8), 40)]
    assert told == again and told != other and len(set(told)) == 40
    # Python promises the sequence of random(): this is what other hosts draw.
    assert told[0].startswith("a.s:3: register: `movb    4(%esp), %al")


def test_what_is_drawn_is_one_edit_of_a_statement() -> None:
    sources = Sources({"a.s": INTEL})
    seen = list(islice(draws(sources, 3), 200))
    rows = INTEL.split("\n")
    for one in seen:
        assert tuple(rows[one.line - 1 : one.line - 1 + len(one.old)]) == one.old != one.new
        assert re.match(r"\s*[.a-z]", one.old[0]) and not one.old[0].startswith("#")
        assert one.routine == (None if one.line < 5 else "page_clear")
    assert {one.cls for one in seen} == set(mutations.CLASSES)


def test_a_tree_that_is_drawn_out_ends() -> None:
    assert 0 < len(list(draws(Sources({"a.s": "    cli\n"}), 1))) < 5
    assert list(draws(Sources({"a.s": "# nothing\n"}), 1)) == []


@pytest.mark.parametrize("module", [mutants, mutations])
def test_the_repairs_are_not_known_to_the_mutator(module: object) -> None:
    tree = ast.parse(Path(str(module.__file__)).read_text())  # type: ignore[attr-defined]
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not any("operators" in str(name) or "search" in str(name) for name in names)
    assert {name for name in names if str(name).startswith("architect")} <= {
        "architect.mutants",
        "architect.mutations",
    }
