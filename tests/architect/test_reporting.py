"""The gate of who reports: ports as the code names them, and what a diagnosis leaves open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from architect import reporting
from architect.reporting import ANY, Shape, accusable
from tests.architect.cases import case
from toolchain.types import BootResult, Image, Section, Symbol


@pytest.mark.parametrize(
    ("code", "ports"),
    [
        (["mov edx, 0x3f8", "out dx, al"], [0x3F8]),
        (["out 0x20, al", "in al, 0x60"], [0x20, 0x60]),
        (["mov dx, 0x70", "add edx, 1", "out dx, al"], [-1]),
        (["mov edx, 0xf4", "mov eax, 0x10", "cmp edx, eax", "out dx, eax"], [0xF4]),
        (["mov edx, 0xf4", "pop rdx", "in eax, dx"], [-1]),
        (["mov edx, 0x3f8", "rep outsb dx, byte ptr [rsi]"], [-1]),
        (["mov eax, edx", "ret"], []),
    ],
)
def test_ports(code: list[str], ports: list[int]) -> None:
    assert list(reporting._ports(code)) == ports


def shape(*ports: int, mnemonics: tuple[str, ...] = ()) -> Shape:
    return Shape(mnemonics, frozenset(), frozenset(), ports)


def test_a_device_may_be_spoken_to_and_the_serial_line_not() -> None:
    assert reporting._speaks("timer", shape(), shape(0x20, 0x60), ()) is None
    for port in (0x3F8, 0xF4, 0x505, 0x511, -1):
        assert reporting._speaks("timer", shape(), shape(port), ()) is not None
        assert reporting._speaks("timer", shape(port), shape(port), ()) is None
        assert reporting._speaks("timer", shape(), shape(port), ("timer",)) is None
    assert reporting._speaks("timer", None, shape(mnemonics=("cpuid",)), ()) is not None


def test_a_kernel_that_died_without_a_word_leaves_everything_open() -> None:
    silent = BootResult("silent", 1, None, "", (), {}, None, None, "", None, (), None)
    assert ANY in accusable(replace(case({}), boot=silent))
    assert accusable(case({})) == ()


@pytest.mark.parametrize(
    ("text", "count"),
    [
        (b"ok 1 a\nnot ok 2 b\n", 2),
        (b"book 1, smok 2, _ok 3", 0),
        (b"ok one", 0),
        (b"\0ok 7\0", 1),
        (b"KTAP version 1\nTAP version 1\n", 2),
        (b"ok 3 # SKIP no device", 2),
    ],
)
def test_texts_that_read_like_results_are_counted(text: bytes, count: int) -> None:
    section = Section(".rodata", 0x1000, 0x1000, len(text), text, "a", 1, False)
    assert reporting._Symbols(Image(0, (section,), (), (), ())).results == count


def test_what_lies_at_an_address_has_the_last_name_that_is_no_local_label() -> None:
    rows = [(".Lfirst", 8), ("early", 8), ("late", 8), (".Lz", 8), (".Lonly", 16), ("other", 24)]
    symbols = tuple(Symbol(name, at, 0, "notype", ".text", "a.s", 1, False) for name, at in rows)
    named = reporting._Symbols(Image(0, (), symbols, (), ()))._named
    assert [named(at) for at in (0, 8, 16, 24, 32)] == [None, ("late", "a.s"), None, ("other", "a.s"), None]
