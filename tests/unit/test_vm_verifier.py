"""The verifier: what it proves holds when the program runs, and what it cannot prove it names with its place."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from pixelvm import assembler, isa, reference, verifier
from pixelvm.host import PlainHost
from pixelvm.isa import Op, Stop
from pixelvm.program import Program
from pixelvm.state import State
from tests.unit.vm_programs import careful_programs, programs, quick

FIB = """
main: push 12
      call fib
      halt
fib:  dup               ; ( n -- fib(n) )
      push 2
      swap
      ltu               ; 2 < n
      jz .end
      dup
      push 1
      sub
      call fib
      swap
      push 2
      sub
      call fib
      add
      ret
.end: drop
      push 1
      ret
"""


def of(source: str) -> tuple[Program, verifier.Verdict]:
    program = assembler.assemble(source, "source.pxa").program
    return program, verifier.verify(program)


@pytest.mark.parametrize(
    ("source", "calls"),
    [
        ("halt", True),
        (FIB, False),  # it calls itself
        ("main: push 3\n.again: push -1\n add\n dup\n jnz .again\n halt", True),
        ("main: call f\n call f\n add\n halt\nf: call g\n ret\ng: push 1\n ret", True),
        ("main: push 1\n jz .a\n push 1\n jump .b\n.a: push 2\n.b: drop\n halt", True),
        ("main: jump main", True),
        ("main: call f\n halt\nf: push 1\n call f\n drop\n ret", False),  # 63 deep it holds 63 values
        ("main: call f\n halt\nf: jump f", True),
        ("main: push 1\n jz .a\n push 5\n.a: halt", True),  # 0 or 1 values, none of them taken
        ("main: call f\n drop\n halt\nf: get 0\n jnz f\n push 1\n ret\n .pixel 0", True),  # behind every path
    ],
)  # fmt: skip
def test_what_is_proved(source: str, calls: bool) -> None:
    program, verdict = of(source)
    assert verdict.findings == ()
    assert verdict.calls is calls
    assert reference.run(program, State(program, fuel=50_000), PlainHost()) in (
        (Stop.HALTED, Stop.FUEL) if calls or source == FIB else (Stop.CALLS,)
    )


@pytest.mark.parametrize(
    ("source", "pc", "words"),
    [
        ("drop\nhalt", 0, "0 values here, where 1 are taken"),
        ("push 1\npick 1\nhalt", 1, "1 values here, where 2 are taken"),
        ("main: push 1\n jz .a\n push 5\n.a: drop\n halt", 3, "0 values here, where 1"),
        ("main: push 1\n jump main", 1, "grow over 256 values on a path through here"),
        ("main: push 1\n push 1\n call f\n halt\nf: drop\n drop\n drop\n ret", 2, "where 3 are taken"),
        ("main: push 9\n.a: drop\n jump .a", 1, "shrink without end"),
        ("main: call f\n halt\nf:" + " push 1\n" * 5 + " get 0\n jnz .end\n call f\n.end: ret", 9, "grow over 256"),
        ("main: call f\n halt\nf:" + " push 1\n" * 5 + " get 0\n jz .end\n call f\n.end:" + " drop\n" * 5 + " ret",
         0, "grow over 256 values here"),
        ("main: push 1\n", 0, "run off its end"), ("main: push 1\n jz main\n", 1, "run off its end"),
        ("main: ret", 0, "a return from the entry's own function"), ("main: .pixel 0x18", 0, "0x00000018"),
        (".pixel 0x6363", 0, "is no instruction"),
    ],
)  # fmt: skip
def test_what_cannot_be_proved(source: str, pc: int, words: str) -> None:
    _, verdict = of(source)
    assert not verdict.proved
    assert [finding.pc for finding in verdict.findings if words in finding.message] == [pc], verdict.findings


@pytest.mark.parametrize(
    ("source", "proved"),
    [
        ("push 252\nload32\nhalt", True), ("push 253\nload32\nhalt", False), ("push 256\nload8\nhalt", False),
        ("push 0\nload8 255\nhalt", True), ("push 0\nload32 253\nhalt", False), ("push -4\nload32 8\nhalt", True),
        ("sys random\npush 255\nand\nload8\nhalt", True), ("sys random\npush 255\nand\nload8 1\nhalt", False),
        ("sys random\npush 63\nand\npush 2\nshl\nload32\nhalt", True),
        ("sys random\npush 63\nand\nload32\nhalt", False),
        ("sys random\npush 64\nremu\npush 4\nmul\npush 7\nstore32\nhalt", True),
        ("push 0\nx: load8\ndup\njnz x\nhalt", False), ("sys random\nload8\nhalt", False),
        ("push 8\npush 9\nswap\nstore8\nhalt", True), ("push 900\npush 0\nover\nload8\nhalt", False),
    ],
)  # fmt: skip
def test_accesses(source: str, proved: bool) -> None:
    program, verdict = of(".memory 256\n" + source)
    memory = (Op.LOAD8, Op.LOAD32, Op.STORE8, Op.STORE32)
    (at,) = [pc for pc, code in enumerate(program.code) if code & 0xFF in memory]
    assert verdict.findings == ()
    assert (at in verdict.accesses) is proved


def holds(program: Program, inputs: bytes) -> bool:
    """What the verdict says is so in a run; gives whether it was proved."""
    verdict = verifier.verify(program)
    at = State(program, fuel=1500)
    while verdict.proved and reference.step(program, at, PlainHost(input=inputs)) is Stop.RUNNING:
        pass
    assert at.stop not in (Stop.ILLEGAL, Stop.UNDERFLOW, Stop.OVERFLOW, Stop.RETURN)
    assert at.stop is not Stop.CALLS or not verdict.calls
    assert at.stop not in (Stop.BOUNDS, Stop.ALIGNMENT) or at.pc not in verdict.accesses
    return verdict.proved


@pytest.mark.long
@settings(max_examples=300)
@given(careful_programs(), st.binary(max_size=4))
def test_what_is_proved_holds(program: Program, inputs: bytes) -> None:
    event("proved" if holds(program, inputs) else "not proved")


@pytest.mark.long
@given(programs(), st.binary(max_size=4))
def test_any_program_gets_a_verdict(program: Program, inputs: bytes) -> None:
    holds(program, inputs)


@pytest.mark.slow
def test_what_is_proved_holds_for_many() -> None:
    random = Random(20)
    proved = sum(holds(quick(random), b"\0\1a") for _ in range(100_000))
    assert proved > 40_000


@pytest.mark.long
def test_many_of_the_careful_programs_are_proved() -> None:
    verdicts = []

    @settings(max_examples=100)
    @given(careful_programs())
    def look(program: Program) -> None:
        verdicts.append(verifier.verify(program).proved)

    look()
    assert sum(verdicts) >= 20


def test_a_program_made_to_take_long_ends() -> None:
    """Ever more ways to a word: the work has a bound."""
    code = [isa.word(Op.CALL, (7 * at + 3) % 3000) for at in range(3000)]
    verdict = verifier.verify(Program((*code, isa.word(Op.RET))))
    assert not verdict.calls
