"""The emulated machine for one routine: registers, memory, ports, substitutes, and every way a run can end."""

from __future__ import annotations

import pytest

from toolchain.errors import InputError
from toolchain.harness import BUFFER_BASE, DIRECT_BASE, Harness
from toolchain.types import Image, Section, Symbol

TEXT = 0xFFFFFFFF80100000
DATA = 0xFFFFFFFF80101000


def machine(code: str, **more: str) -> Harness:
    """A harness whose routine ``f`` is the given hex; further routines by name."""
    text, symbols = b"", []
    for name, body in {"f": code, **more}.items():
        symbols.append(Symbol(name, TEXT + len(text), 0, "func", ".text", "x.s", 1, True))
        text += bytes.fromhex(body)
    sections = (
        Section(".text", TEXT, 0x100000, len(text), text, "ax", 4096),
        Section(".data", DATA, 0x101000, 16, b"\x11" * 8, "aw", 4096),
    )
    return Harness(Image(TEXT, sections, tuple(symbols), (), ("x.s",)))


def test_returns_with_its_result() -> None:
    result = machine("488d4701 c3").call("f", {"rdi": 41})  # lea rax, [rdi+1]; ret
    assert (result.end, result.registers["rax"], result.value("al")) == ("returned", 42, 42)
    assert result.registers["rbx"] == result.before["rbx"]


def test_same_seed_same_noise() -> None:
    harness = machine("c3")
    assert harness.call("f", seed=7).before == harness.call("f", seed=7).before
    assert harness.call("f", seed=7).before != harness.call("f", seed=8).before


def test_flags() -> None:
    assert machine("f9 c3").call("f").flag("cf")
    assert not machine("f8 c3").call("f").flag("cf")


def test_unmapped_store_names_its_address() -> None:
    result = machine("48890425000000fd".replace("fd", "7d") + "c3").call("f")  # mov [0x7d000000], rax
    assert (result.end, result.address) == ("fault", 0x7D000000)


@pytest.mark.parametrize(
    ("code", "end"),
    [
        ("ebfe", "limit"),
        ("f4", "halt"),
        ("cd20", "interrupt"),
        ("0f0b", "fault"),
        ("31c9f7f1c3", "interrupt"),
    ],
)
def test_ways_to_end(code: str, end: str) -> None:
    assert machine(code).call("f", limit=1000).end == end


def test_ports() -> None:
    result = machine("ba f8030000 b0 41 ee ba fd030000 ec c3").call("f")
    assert result.ports == ((0x3F8, 1, 0x41),)
    assert result.value("al") == 0x60


def test_substitute_runs_instead() -> None:
    harness = machine("e803000000 4889c3 c3".replace("e803000000", "e804000000"), g="0f0b")

    def answer(h: Harness) -> None:
        h.set("rax", 0x1234)
        h.set_flag("cf", True)

    harness.substitute("g", answer)
    result = harness.call("f")
    assert (result.end, result.registers["rbx"], result.calls) == ("returned", 0x1234, ("g",))
    assert result.flag("cf")


def test_reset_restores_memory() -> None:
    harness = machine("c3")
    harness.write_u64(DATA, 0)
    harness.write_u64(DIRECT_BASE, 5)
    harness.write(BUFFER_BASE, b"x")
    harness.reset()
    assert harness.read_u64(DATA) == 0x1111111111111111
    assert harness.read_u64(DIRECT_BASE) == 0
    assert harness.read(BUFFER_BASE, 1) == b"\0"


def test_errors_are_named() -> None:
    harness = machine("c3")
    with pytest.raises(InputError, match="no symbol 'g'"):
        harness.call("g")
    with pytest.raises(InputError, match="nothing is mapped"):
        harness.read(0x1000, 4)
