"""The kernel's own engine, run on this machine: its numbers are isa.py's, and its states are the reference's."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import pytest

from pixelvm import assembly, conform, engines, fuzz, isa, kernel_engine, reference
from pixelvm.host import PlainHost
from pixelvm.isa import Op, Stop, word
from pixelvm.program import Program
from pixelvm.state import State, save
from toolchain.errors import InputError

INCLUDE = Path(__file__).resolve().parents[2] / "kernel/include"


def test_the_assembler_reads_the_numbers_of_isa() -> None:
    assert assembly.PATH.read_text() == assembly.text(), "run python -m pixelvm.assembly"


def test_the_machine_lies_as_the_kernel_has_it() -> None:
    said = dict(
        re.findall(r"^\.set (VM_\w+), (0x[0-9a-f]+|\d+)", (INCLUDE / "vm.inc").read_text(), re.MULTILINE)
    )
    ours = {
        "VM_STACK": kernel_engine._STACK, "VM_RETURNS": kernel_engine._RETURNS,
        "VM_FRAME_LOCALS": kernel_engine._LOCALS, "VM_SIZE": kernel_engine._SIZE, "VM_CELL_SIZE": kernel_engine._CELL,
    }  # fmt: skip
    assert {name: int(said[name], 0) for name in ours} == ours
    sizes = 4 * isa.STACK_SLOTS, 4 * isa.FRAMES, 4 * isa.FRAMES * isa.LOCALS
    places = [int(said[name], 0) for name in ("VM_STACK", "VM_RETURNS", "VM_FRAME_LOCALS", "VM_SIZE")]
    assert [end - begin for begin, end in pairwise(places)] == list(sizes)


@pytest.mark.long
def test_random_programs_end_as_the_reference_says() -> None:
    for _, differences in fuzz.run(3, 0, 1500, ["kernel"]):
        assert [(one.number, one.what) for one in differences] == []


def test_the_conformance_suite() -> None:
    assert [(case.name, failed) for case, failed in conform.run(["kernel"]) if failed] == []


def test_a_long_run_is_cut_into_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_engine, "SLICE", 64)  # what the dearest instruction costs
    program = Program((word(Op.PUSH, 1), word(Op.DROP), word(Op.SYS, isa.System.PUTC), word(Op.JUMP, 0)))
    for fuel in range(60, 100):
        states = []
        for run in (kernel_engine.run, reference.run):
            state = State(program, fuel=fuel)
            state.stack = [65] * 3
            run(program, state, PlainHost())
            states.append(save(state, program))
        assert states[0] == states[1], fuel


def test_a_state_that_cannot_be_is_left_to_the_reference() -> None:
    program = Program((word(Op.RET),))
    state = State(program, fuel=9)
    state.returns, state.locals = [1 << 30], [[0] * isa.LOCALS] * 2
    assert kernel_engine.run(program, state, PlainHost()) is Stop.ILLEGAL


def test_another_processor_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    kernel_engine.code.cache_clear()
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(InputError, match="x86-64"):
        kernel_engine.run(Program((word(Op.HALT),)), State(Program((word(Op.HALT),)), fuel=1), PlainHost())
    assert "kernel" in engines.NAMES
