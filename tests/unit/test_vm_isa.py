"""The Pixel VM's definition: whole, free of contradictions, and the same in SPEC.md."""

from __future__ import annotations

import pytest

from pixelvm import isa, spec
from pixelvm.isa import INSTRUCTIONS, SYSTEM_CALLS, Op, Operand, Stop, System


def test_the_specification_says_what_the_definition_says() -> None:
    text = spec.SPEC.read_text(encoding="utf-8")
    assert spec.filled(text) == text, "run python -m pixelvm.spec"
    for name in spec.TABLES:
        assert f"<!-- table {name} -->" in text


def test_a_change_of_the_specification_is_seen() -> None:
    text = spec.SPEC.read_text(encoding="utf-8")
    assert spec.filled(text.replace("| divu |", "| div |")) == text
    assert text.replace("| divu |", "| div |") != text


def test_every_opcode_call_and_stop_has_its_row() -> None:
    assert set(INSTRUCTIONS) == set(Op)
    assert set(SYSTEM_CALLS) == set(System) == set(range(len(System)))
    assert set(isa.STOPS) == set(Stop)
    assert not {0x00, 0xFF} & set(INSTRUCTIONS)  # erased pixels


@pytest.mark.parametrize("row", [*INSTRUCTIONS.values(), *SYSTEM_CALLS.values()], ids=lambda row: row.name)
def test_effects_name_as_many_values_as_are_taken_and_left(row: isa.Instruction | isa.SystemCall) -> None:
    if row.name in ("pick", "sys"):
        return
    before, after = row.effect[1 : row.effect.index(")")].split("--")
    assert (len(before.split()), len(after.split())) == (row.pops, row.pushes)
    assert row.fuel >= 1


def test_words_keep_their_operands() -> None:
    assert isa.word(Op.PUSH, -1) == 0xFFFFFF10
    assert isa.signed_operand(isa.word(Op.PUSH, -1)) == -1
    assert isa.signed_operand(isa.word(Op.PUSH, 0x7FFFFF)) == 0x7FFFFF
    assert isa.signed_operand(isa.word(Op.PUSH, -0x800000)) == -0x800000


@pytest.mark.parametrize(
    ("op", "last"),
    [
        (Op.ADD, 0), (Op.PUSH, isa.OPERAND_MAX), (Op.HIGH, 255), (Op.PICK, 255), (Op.LOAD8, isa.OPERAND_MAX),
        (Op.GET, 15), (Op.JUMP, 6), (Op.CALL, 6), (Op.SYS, max(System)), (Op.HALT, 255),
    ],
)  # fmt: skip
def test_the_last_legal_operand(op: Op, last: int) -> None:
    assert isa.is_legal(isa.word(op, last), 7)
    if last < isa.OPERAND_MAX:
        assert not isa.is_legal(isa.word(op, last + 1), 7)


@pytest.mark.parametrize("code", [0, 0xFFFFFFFF, 0x18, 0x91, 0xFF000000])
def test_what_is_no_instruction(code: int) -> None:
    assert not isa.is_legal(code, 1)


def test_costs_that_depend_on_the_operand() -> None:
    assert isa.cost(isa.word(Op.PICK, 4)) == (5, 0, 1, 1)
    assert isa.cost(isa.word(Op.SYS, System.PLOT)) == (3, 3, 0, 16)
    assert isa.cost(isa.word(Op.DIVS)) == (2, 2, 1, 4)
    assert all(isa.INSTRUCTIONS[op].operand is Operand.TARGET for op in (Op.JUMP, Op.JZ, Op.JNZ, Op.CALL))


def test_the_random_generator() -> None:
    assert isa.next_random(1) == 270369  # the first of xorshift32 from 1
    assert isa.next_random(270369) == 67634689
