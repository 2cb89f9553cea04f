"""Where a wrong value came from, step by step, and what an edit there would make of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from architect.arithmetic import after
from architect.contracts.model import Violation
from architect.coverage import Run
from architect.origins import Origins, trace_back
from architect.protocols import Edit
from architect.told import Told
from tests.architect.kernels import case
from toolchain.headers import GENERAL
from toolchain.steps import Step, changed_by
from toolchain.types import Image, Section

BASE = 0x1000
MASK64 = (1 << 64) - 1
BLOCK = 0xFFFF_FE00_0040_0000
# mov rax, rdi; mov rdx, rdi; mov ecx, 0xc0000101; wrmsr: the upper half of the value is not shifted down
CODE = (b"\x48\x89\xf8", b"\x48\x89\xfa", b"\xb9\x01\x01\x00\xc0", b"\x0f\x30")
LINES = ("mov rax, rdi", "mov rdx, rdi", "mov ecx, 0xc0000101", "wrmsr")


def _image(*code: bytes) -> Image:
    data = b"".join(code)
    text = Section(".text", BASE, BASE, len(data), data, "ax", 16, False)
    return Image(BASE, (text,), (), (), (), ())


def _steps(code: tuple[bytes, ...], states: list[Mapping[str, int]]) -> list[Step]:
    found, at = [], BASE
    for one, state in zip(code, states, strict=True):
        found.append(Step(at, len(one), tuple(state.get(name, 0) for name in GENERAL)))
        at += len(one)
    return found


def _lines(address: int, size: int) -> frozenset[tuple[str, int]]:
    ends = [BASE + sum(map(len, CODE[:n])) for n in range(len(CODE))]
    return frozenset({("a.s", ends.index(address) + 1)})


def _msr() -> Origins:
    start = {"rdi": BLOCK, "rdx": 5, "rcx": 6}
    states: list[Mapping[str, int]] = [
        start,
        {**start, "rax": BLOCK},
        {**start, "rax": BLOCK, "rdx": BLOCK},
        {**start, "rax": BLOCK, "rdx": BLOCK, "rcx": 0xC0000101},
    ]
    came = (BLOCK & 0xFFFFFFFF) << 32 | BLOCK & 0xFFFFFFFF
    call = {"got": repr([(0xC0000101, came)]), "expected": repr([(0xC0000101, BLOCK)])}
    found = trace_back(
        _image(*CODE), _steps(CODE, states), Violation("init", "points it elsewhere", call), _lines
    )
    assert found is not None
    return found


def test_only_the_half_that_is_wrong_is_followed() -> None:
    found = _msr()
    assert set(found.lines) == {("a.s", 2), ("a.s", 4)}
    (demand,) = found.demands
    assert (demand.register, demand.wanted, demand.made) == ("rdx", BLOCK >> 32, ("a.s", 2))
    assert set(demand.gaps) == {("a.s", 3), ("a.s", 4)}


@pytest.mark.parametrize(
    ("line", "old", "new", "right"),
    [
        (3, (), ("    shr rdx, 32",), True),
        (4, (), ("    shr rdx, 32",), True),
        (3, (), ("    shr rdx, 16",), False),
        (4, (), ("    shr rax, 32",), False),
        (2, (LINES[1],), ("    mov rdx, 0xfffffe00",), True),
        (2, (LINES[1],), ("    mov edx, edi",), False),
        (3, (), ("    mov rdx, [rdi]",), None),
        (1, (), ("    shr rdx, 32",), None),
    ],
)
def test_an_edit_is_computed(
    tmp_path: Path, line: int, old: tuple[str, ...], new: tuple[str, ...], right: bool | None
) -> None:
    found = _msr()
    run = Run("init", True, 1.0, frozenset(), frozenset(), found.lines, found.demands)
    earned = Told(case(tmp_path, {"a.s": "\n".join(LINES)}, runs=(run,)), {}).earned(
        [Edit("a.s", line, old, new)]
    )
    assert (earned > 0) == (right is True)
    assert (earned < 0) == (right is False)


def test_a_register_that_is_not_preserved_leads_to_what_wrote_it() -> None:
    steps = _steps(CODE, [{"rdi": 1}, {"rdi": 1, "rax": 1}, {"rdi": 1, "rdx": 1}, {"rdi": 1}])
    found = trace_back(
        _image(*CODE), steps, Violation("init", "changes rdx, which its header does not list", {}), _lines
    )
    assert found is not None
    assert ("a.s", 2) in found.lines
    assert ("a.s", 1) not in found.lines


def test_what_shows_nowhere_has_no_origin() -> None:
    steps = _steps(CODE, [{}, {}, {}, {}])
    violation = Violation("init", "is wrong", {"got": 0x123456, "expected": 0x654321})
    assert trace_back(_image(*CODE), steps, violation, _lines) is None


@pytest.mark.parametrize(
    ("name", "operands", "wanted"),
    [
        ("shr", ("rdx", "4"), 0xF0F0_F0F0_F0F0_F0F),
        ("sar", ("rdx", "60"), MASK64),
        ("mov", ("edx", "1"), 1),
        ("mov", ("dl", "1"), 0xF0F0_F0F0_F0F0_F001),
        ("neg", ("dl",), 0xF0F0_F0F0_F0F0_F010),
        ("rol", ("rdx", "4"), 0x0F0F_0F0F_0F0F_0F0F),
        ("not", ("edx",), 0x0F0F_0F0F),
        ("movsxd", ("rdx", "ecx"), 0xFFFF_FFFF_8000_0000),
        ("movzx", ("edx", "cl"), 0),
        ("xchg", ("rdx", "rcx"), 0x8000_0000),
        ("bswap", ("edx",), 0xF0F0_F0F0),
        ("cmp", ("rdx", "1"), 0xF0F0_F0F0_F0F0_F0F0),
        ("mov", ("rdx", "[rcx]"), None),
        ("mov", ("dh", "1"), None),
        ("div", ("rcx",), None),
        ("call", ("other",), None),
    ],
)
def test_plain_instructions(name: str, operands: tuple[str, ...], wanted: int | None) -> None:
    registers = {"rdx": 0xF0F0_F0F0_F0F0_F0F0, "rcx": 0x8000_0000}
    found = after(name, operands, registers, lambda text: int(text, 0) if text.isdigit() else None)
    assert (found and found["rdx"]) == wanted


def test_what_an_instruction_can_change() -> None:
    assert [GENERAL[place] for place in changed_by(b"\x48\x89\xfa")] == ["rdx"]
    assert {GENERAL[place] for place in changed_by(b"\x0f\xa2")} == {"rax", "rbx", "rcx", "rdx"}  # cpuid
    assert len(changed_by(b"\x06")) == len(GENERAL)  # no instruction in 64-bit mode
