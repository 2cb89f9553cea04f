"""A return that led to no code points at what moves the stack pointer in the routines that had been called."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from architect.astray import PAIRED, astray, moving
from architect.evidence import Reader
from architect.source import Tree
from tests.architect.cases import report
from tests.architect.kernels import case
from toolchain.types import CodePlace, Exception_

TEXT = """\
.global outer
outer:
    push rbp
    call middle
    pop rbp
    ret
.global middle
middle:
    push rbx
    call inner
    pop rbx
    ret
.global inner
inner:
    push rdi
    mov rax, rdi
    push rdi
    ret
.global elsewhere
elsewhere:
    push rdi
    ret
"""
FILE = "cpu/deep.s"


def found(folder: Path, *, rip: int, cr2: int) -> dict[str, float]:
    """Text of the line -> its share, of a death in ``outer``'s call."""
    chain = (Exception_(14, "#PF", 17, ("fetch",), rip, cr2, "kernel"),)
    trace = (CodePlace(0x1000, "outer", 6, FILE, 5),)
    known = case(folder, {FILE: TEXT}, report=replace(report(), chain=chain, trace=trace))
    lines = [piece.lines for piece in astray(Reader(known, Tree(known.sources)))]
    rows = TEXT.split("\n")
    return {f"{line}: {rows[line - 1].strip()}": share for one in lines for (_, line), share in one.items()}


def test_the_routine_that_does_not_pair_comes_first(tmp_path: Path) -> None:
    shares = found(tmp_path, rip=0x9000, cr2=0x9000)
    assert shares["15: push rdi"] == shares["17: push rdi"] == max(shares.values())
    assert shares["9: push rbx"] < shares["15: push rdi"] and "16: mov rax, rdi" not in shares
    assert not any(text.startswith(("3:", "20:")) for text in shares)  # neither had been called from there


def test_a_fault_at_code_says_nothing_of_returns(tmp_path: Path) -> None:
    assert found(tmp_path, rip=0x9000, cr2=0x8000) == {}


def test_several_returns_or_balance_make_counting_tell_less() -> None:
    tree = Tree(
        {
            "a.s": ".global f\nf:\n    push rax\n    jz .Lout\n    pop rax\n    ret\n.Lout:\n    pop rax\n    ret\n"
        }
    )
    assert set(moving(tree, "f").values()) == {PAIRED} and moving(tree, "none") == {}
