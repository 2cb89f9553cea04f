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
from architect.told import Told, value_of
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
    demand = found.demands[0]
    assert not demand.turned and all(further.turned for further in found.demands[1:])
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
        ("lea", ("rdx", "[rcx + rdx * 2 - 1]"), 0xE1E1_E1E2_61E1_E1DF),
        ("lea", ("edx", "[rcx]"), 0x8000_0000),
        ("lea", ("rdx", "[rip + 5]"), None),
        ("lea", ("rdx", "[ecx]"), None),
        ("mov", ("rdx", "[rcx]"), None),
        ("mov", ("dh", "1"), None),
        ("div", ("rcx",), None),
        ("call", ("other",), None),
    ],
)
def test_plain_instructions(name: str, operands: tuple[str, ...], wanted: int | None) -> None:
    registers = {"rdx": 0xF0F0_F0F0_F0F0_F0F0, "rcx": 0x8000_0000}
    found = after(name, operands, registers, lambda text: value_of(text, {}))
    assert (found and found["rdx"]) == wanted


def test_what_an_instruction_can_change() -> None:
    assert [GENERAL[place] for place in changed_by(b"\x48\x89\xfa")] == ["rdx"]
    assert {GENERAL[place] for place in changed_by(b"\x0f\xa2")} == {"rax", "rbx", "rcx", "rdx"}  # cpuid
    assert len(changed_by(b"\x06")) == len(GENERAL)  # no instruction in 64-bit mode


STORE = b"\x48\x89\x0b"  # mov [rbx], rcx


@pytest.mark.parametrize(
    ("code", "text", "came", "wanted"),
    [
        (b"\x48\xf7\xd9", "neg rcx", 0xFFFFF8, 0x1000000),
        (b"\xf7\xd9", "neg ecx", 0xFFFFF8, 0x1000000),
        (b"\x48\xf7\xd1", "not rcx", 0x1234, 0x5678),
        (b"\x48\xff\xc1", "inc rcx", 0x1234, 0x5678),
        (b"\x48\xff\xc9", "dec rcx", 0x1234, 0),
        (b"\x48\x83\xc1\x10", "add rcx, 16", 0x1234, 0x8),
        (b"\x48\x29\xd1", "sub rcx, rdx", 0x1234, 0x5678),
        (b"\x48\x31\xd1", "xor rcx, rdx", 0x1234, 0x5678),
        (b"\x48\x89\xd1", "mov rcx, rdx", 0x1234, 0x5678),
        (b"\x0f\xb6\xca", "movzx ecx, dl", 0x34, 0x78),
    ],
)
def test_what_a_value_was_made_of_is_demanded_in_its_turn(
    code: bytes, text: str, came: int, wanted: int
) -> None:
    before = {"rcx": 0x55, "rdx": 0x77, "rbx": BLOCK}
    steps = _steps((code, STORE), [before, {**before, "rcx": came}])
    steps[1].stores.append((BLOCK, 8, came))
    found = trace_back(
        _image(code, STORE),
        steps,
        Violation("size", "is wrong", {"got": came, "expected": wanted}),
        lambda address, size: frozenset({("a.s", 1 if address == BASE else 2)}),
    )
    assert found is not None
    first, second = found.demands
    assert (first.register, first.wanted, first.made, first.turned) == ("rcx", wanted, ("a.s", 1), False)
    assert second.turned and second.gaps.keys() == {("a.s", 1)}
    name, _, operands = text.partition(" ")
    right = after(name, operands.split(", "), {**before, second.register: second.wanted}, _number)
    assert right is not None and right["rcx"] == wanted


def _number(text: str) -> int | None:
    return int(text, 0) if text[0].isdigit() else None


@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        (b"\xf7\xd9", 1 << 40),  # neg ecx: no value of ECX makes the upper half
        (b"\x0f\xb6\xca", 0x1234),  # movzx ecx, dl
        (b"\x48\x01\xc9", 0x1234),  # add rcx, rcx
        (b"\x48\x21\xd1", 0x1234),  # and rcx, rdx: many do
        (b"\x48\x8b\x0b", 0x1234),  # mov rcx, [rbx]
        (b"\x00\xd1", 0x1234),  # add cl, dl
    ],
)
def test_what_cannot_be_turned_around_ends_the_chain(code: bytes, wanted: int) -> None:
    before = {"rcx": 0x55, "rdx": 0x77, "rbx": BLOCK}
    steps = _steps((code, STORE), [before, {**before, "rcx": 0x99}])
    steps[1].stores.append((BLOCK, 8, 0x99))
    violation = Violation("size", "is wrong", {"got": 0x99, "expected": wanted})
    found = trace_back(_image(code, STORE), steps, violation, lambda *_: frozenset({("a.s", 1)}))
    assert found is not None and len(found.demands) == 1


@pytest.mark.parametrize(("line", "right"), [("and ecx, ~8", True), ("and ecx, ~4", False), ("nop", False)])
def test_an_edit_before_what_is_turned_around_can_only_earn(tmp_path: Path, line: str, right: bool) -> None:
    code, before = b"\xf7\xd9", {"rcx": 0xFF000008, "rbx": BLOCK}
    steps = _steps((code, STORE), [before, {**before, "rcx": 0xFFFFF8}])
    steps[1].stores.append((BLOCK, 8, 0xFFFFF8))
    violation = Violation("size", "is wrong", {"got": 0xFFFFF8, "expected": 0x1000000})
    places = lambda address, size: frozenset({("a.s", 1 if address == BASE else 2)})  # noqa: E731
    found = trace_back(_image(code, STORE), steps, violation, places)
    assert found is not None
    run = Run("size", True, 1.0, frozenset(), frozenset(), found.lines, found.demands)
    told = Told(case(tmp_path, {"a.s": "neg ecx\nmov [rbx], rcx"}, runs=(run,)), {})
    assert told.earned([Edit("a.s", 1, (), (f"    {line}",))]) == (6.0 if right else 0.0)


def test_a_control_register_takes_a_value_out_of_the_routine() -> None:
    code = (b"\x48\x83\xce\x20", b"\x0f\x22\xe6", b"\x90")  # or rsi, 0x20; mov cr4, rsi; nop
    steps = _steps(code, [{"rsi": 0x600}, {"rsi": 0x620}, {"rsi": 0x620}])
    violation = Violation("enable", "switches on other features", {"got": 0x620, "expected": 0x660})
    lines = {BASE: 1, BASE + 4: 2, BASE + 7: 3}
    found = trace_back(
        _image(*code), steps, violation, lambda address, _: frozenset({("a.s", lines[address])})
    )
    assert found is not None and set(found.lines) == {("a.s", 1), ("a.s", 2)}
    assert [(d.register, d.wanted, d.made) for d in found.demands] == [("rsi", 0x660, ("a.s", 1))]
