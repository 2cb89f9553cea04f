"""Error codes bit by bit, against the figures of the SDM."""

from __future__ import annotations

import pytest

from toolchain import vectors


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (0x0, ("not present", "read", "supervisor")),
        (0x2, ("not present", "write", "supervisor")),
        (0x3, ("present", "write", "supervisor")),
        (0x7, ("present", "write", "user")),
        (0x9, ("present", "read", "supervisor", "reserved bit")),
        (0x10, ("not present", "fetch", "supervisor")),
        (0x15, ("present", "fetch", "user")),
        (0x21, ("present", "read", "supervisor", "protection key")),
        (0x43, ("present", "write", "supervisor", "shadow stack")),
        (0x8001, ("present", "read", "supervisor", "SGX")),
    ],
)
def test_page_fault_codes(error: int, words: tuple[str, ...]) -> None:
    assert vectors.decode(14, error) == words


@pytest.mark.parametrize(
    ("vector", "error", "words"),
    [
        (13, 0, ()),
        (13, 0x68, ("GDT selector 0x68 (entry 13)",)),
        (13, 0x1D, ("external", "LDT selector 0x1c (entry 3)")),
        (13, 0x72, ("IDT entry 0xe (#PF)",)),
        (11, 0x33, ("external", "IDT entry 0x6 (#UD)")),
        (8, 0, ()),
        (21, 3, ("missing endbranch",)),
        (6, None, ()),
        (6, 5, ()),  # pushes none: a stray number means nothing
    ],
)
def test_other_codes(vector: int, error: int | None, words: tuple[str, ...]) -> None:
    assert vectors.decode(vector, error) == words


def test_tcg_puts_the_vector_times_sixteen_in_long_mode() -> None:
    assert vectors.idt_vector(6 * 8 + 2) == 6
    assert vectors.idt_vector(6 * 16 + 2, delivered=6) == 6
    assert vectors.idt_vector(6 * 8 + 2, delivered=6) == 6
    assert vectors.idt_vector(0x68) is None


def test_names() -> None:
    assert (vectors.name(14), vectors.name(0x80), vectors.name(25)) == ("#PF", "INT 0x80", "#25")
    assert vectors.title(8) == "double fault"
    assert vectors.selector(0x69) == 0x68 and vectors.selector(0) is None and vectors.selector(2) is None
