"""The compiler and the assembler in .pxl in volume: random programs, and the long way on the reference engine."""

from __future__ import annotations

from random import Random

import pytest

from pixelvm import program
from pixelvm.assembler import assemble
from pixelvm.disassembler import disassemble
from pixelvm.fuzz_programs import corrupted, valid
from tests.unit.test_pxl_examples import assembled, compiled, ran
from tests.unit.test_pxl_programs import run_many
from tests.unit.vm_programs import quick


@pytest.mark.slow
@pytest.mark.parametrize("first", range(1000, 11_000, 1000))
def test_many_programs(first: int) -> None:
    run_many(range(first, first + 1000))


@pytest.mark.slow
def test_the_assembler_assembles_itself_on_the_reference_engine() -> None:
    made = compiled("asm").program
    host, state = ran("asm", disassemble(made).encode(), engine="python")
    assert state.result == 0
    assert bytes(host.output) == program.to_bytes(made)


@pytest.mark.slow
def test_the_assembler_on_random_programs() -> None:
    random = Random(11)
    for _ in range(300):
        text = disassemble(random.choice((quick, valid, corrupted))(random))
        assert assembled(text) == program.to_bytes(assemble(text, "p.pxa").program)
