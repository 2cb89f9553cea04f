"""The reference engine: what each instruction does, how each trap leaves the machine, states that move."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pixelvm import isa, reference, state
from pixelvm.host import PlainHost
from pixelvm.isa import Op, Stop, System, word
from pixelvm.program import Program
from pixelvm.state import State
from tests.unit.vm_programs import programs
from toolchain.errors import InputError

INT_MIN = 0x80000000
MINUS_1 = 0xFFFFFFFF


def push(value: int) -> list[int]:
    return [word(Op.PUSH, value & 0xFFFFFF), word(Op.HIGH, value >> 24 & 0xFF)]


def machine(*code: int | list[int], memory: int = 256, data: bytes = b"") -> Program:
    flat = [w for part in code for w in (part if isinstance(part, list) else [part])]
    return Program((*flat, word(Op.HALT)), data, memory)


def ran(program: Program, host: PlainHost | None = None, fuel: int = 10_000) -> State:
    at = State(program, fuel=fuel)
    reference.run(program, at, host or PlainHost())
    return at


@pytest.mark.parametrize(
    ("op", "a", "b", "result"),
    [
        (Op.ADD, MINUS_1, 2, 1), (Op.SUB, 1, 2, MINUS_1), (Op.MUL, 0x10001, 0x10001, 0x20001),
        (Op.DIVU, MINUS_1, 2, 0x7FFFFFFF), (Op.DIVS, -7, 2, -3), (Op.DIVS, 7, -2, -3),
        (Op.DIVS, INT_MIN, -1, INT_MIN), (Op.DIVS, -7, -2, 3), (Op.DIVS, 0, -5, 0),
        (Op.REMU, MINUS_1, 10, 5), (Op.REMS, -7, 2, -1), (Op.REMS, 7, -2, 1), (Op.REMS, INT_MIN, -1, 0),
        (Op.AND, 12, 10, 8), (Op.OR, 12, 10, 14), (Op.XOR, 12, 10, 6),
        (Op.SHL, 1, 31, INT_MIN), (Op.SHL, 3, 32, 3), (Op.SHL, 1, 33, 2), (Op.SHR, INT_MIN, 31, 1),
        (Op.SHR, INT_MIN, 64, INT_MIN), (Op.SAR, INT_MIN, 31, -1), (Op.SAR, 8, 34, 2), (Op.SAR, -8, 1, -4),
        (Op.EQ, 5, 5, 1), (Op.EQ, 5, 6, 0), (Op.NE, 5, 5, 0), (Op.NE, 5, 6, 1),
        (Op.LTU, 1, MINUS_1, 1), (Op.LTU, 5, 5, 0), (Op.LTS, 1, -1, 0), (Op.LTS, INT_MIN, 0, 1),
    ],
)  # fmt: skip
def test_arithmetic(op: Op, a: int, b: int, result: int) -> None:
    at = ran(machine(push(a & MINUS_1), push(b & MINUS_1), word(op)))
    assert (at.stop, at.stack) == (Stop.HALTED, [result & MINUS_1])


@pytest.mark.parametrize(
    ("op", "operand", "after"),
    [
        (Op.DUP, 0, [1, 2, 3, 3]), (Op.DROP, 0, [1, 2]), (Op.SWAP, 0, [1, 3, 2]), (Op.OVER, 0, [1, 2, 3, 2]),
        (Op.ROT, 0, [2, 3, 1]), (Op.PICK, 0, [1, 2, 3, 3]), (Op.PICK, 2, [1, 2, 3, 1]),
        (Op.PUSH, -5, [1, 2, 3, 0xFFFFFFFB]), (Op.HIGH, 0xAB, [1, 2, 0xAB000003]),
    ],
)  # fmt: skip
def test_the_stack(op: Op, operand: int, after: list[int]) -> None:
    assert ran(machine(*(word(Op.PUSH, n) for n in (1, 2, 3)), word(op, operand))).stack == after


def test_memory() -> None:
    at = ran(machine(push(8), push(0xDEADBEEF), word(Op.STORE32, 4), push(13), word(Op.LOAD8),
                     push(0x10), push(0x1FF), word(Op.STORE8), push(12), word(Op.LOAD32), push(0),
                     word(Op.LOAD8, 1), data=b"ab"))  # fmt: skip
    assert at.stack == [0xBE, 0xDEADBEEF, ord("b")]
    assert at.memory[12:18] == b"\xef\xbe\xad\xde\xff\0"
    assert ran(machine(push(MINUS_1 - 3), word(Op.LOAD32, 4), data=b"\1\2\3\4")).stack == [0x04030201]


def test_jumps_calls_and_locals() -> None:
    program = Program((
        word(Op.PUSH, 7), word(Op.SET, 3), word(Op.CALL, 5), word(Op.GET, 3), word(Op.HALT, 9),
        word(Op.GET, 3), word(Op.PUSH, 1), word(Op.SET, 3), word(Op.PUSH, 0), word(Op.JZ, 11),
        word(Op.HALT, 1), word(Op.PUSH, 2), word(Op.JNZ, 14), word(Op.HALT, 2), word(Op.RET),
    ))  # fmt: skip
    at = ran(program)
    assert (at.stop, at.result, at.pc, at.stack) == (Stop.HALTED, 9, 4, [0, 7])


TRAPS: list[tuple[Stop, list[int]]] = [
    (Stop.ILLEGAL, [0]), (Stop.ILLEGAL, [word(Op.ADD, 1)]), (Stop.ILLEGAL, [word(Op.JUMP, 99)]),
    (Stop.ILLEGAL, [word(Op.SYS, len(System))]), (Stop.UNDERFLOW, [word(Op.DROP)]),
    (Stop.UNDERFLOW, [*push(1), word(Op.ADD)]), (Stop.UNDERFLOW, [*push(1), word(Op.PICK, 1)]),
    (Stop.UNDERFLOW, [*push(1), *push(1), word(Op.SYS, System.PLOT)]),
    (Stop.OVERFLOW, [word(Op.PUSH)] * (isa.STACK_SLOTS + 1)),
    (Stop.OVERFLOW, [word(Op.PUSH)] * (isa.STACK_SLOTS - 1) + [word(Op.SYS, System.SIZE)]),
    (Stop.DIVISION, [*push(1), *push(0), word(Op.DIVU)]), (Stop.DIVISION, [*push(1), *push(0), word(Op.REMS)]),
    (Stop.BOUNDS, [*push(256), word(Op.LOAD8)]), (Stop.BOUNDS, [*push(0), word(Op.LOAD32, 256)]),
    (Stop.BOUNDS, [*push(MINUS_1), *push(1), word(Op.STORE8)]),
    (Stop.ALIGNMENT, [*push(2), word(Op.LOAD32)]), (Stop.ALIGNMENT, [*push(257), *push(1), word(Op.STORE32)]),
    (Stop.CALLS, [word(Op.CALL, 0)]), (Stop.RETURN, [word(Op.RET)]),
]  # fmt: skip


@pytest.mark.parametrize(("stop", "code"), TRAPS, ids=lambda v: v.name if isinstance(v, Stop) else "")
def test_a_trap_leaves_the_machine_as_before_the_instruction(stop: Stop, code: list[int]) -> None:
    program, host = machine(code), PlainHost()
    at = ran(program, host)
    assert at.stop is stop
    executed = 10_000 - at.fuel
    before = State(program, fuel=10_000)
    while 10_000 - before.fuel < executed:
        reference.step(program, before, host)
    before.stop = stop
    assert state.save(at, program) == state.save(before, program)
    assert reference.run(program, at, host) is stop  # and it stays so


def test_every_trap_is_tested() -> None:
    assert {stop for stop, _ in TRAPS} == {stop for stop in Stop if stop >= Stop.ILLEGAL}


def test_running_off_the_end() -> None:
    program = Program((word(Op.PUSH),))
    at = ran(program)
    assert (at.stop, at.pc, at.stack) == (Stop.ILLEGAL, 1, [0])


def test_the_order_of_stops() -> None:
    assert ran(machine(word(Op.DROP)), fuel=0).stop is Stop.FUEL
    assert ran(machine(0), fuel=0).stop is Stop.ILLEGAL
    assert ran(machine(push(255 + 2), word(Op.LOAD32))).stop is Stop.ALIGNMENT
    assert ran(machine(word(Op.DIVU))).stop is Stop.UNDERFLOW


def test_fuel_is_exact() -> None:
    program = machine(push(6), push(3), word(Op.DIVU))
    assert ran(program, fuel=8).stop is Stop.FUEL
    at = ran(program, fuel=9)
    assert (at.stop, at.fuel) == (Stop.HALTED, 0)
    assert ran(program, fuel=7).stack == [6, 3]


def system(call: System, *arguments: int) -> list[int]:
    return [*(w for n in arguments for w in push(n)), word(Op.SYS, call)]


def test_console() -> None:
    host = PlainHost(input=b"xy")
    at = ran(machine(*[system(System.GETC)] * 3, system(System.PUTC, 0x141)), host)
    assert (at.stack, at.read, at.written) == ([ord("x"), ord("y"), MINUS_1], 2, 1)
    assert host.output == b"A"


def test_screen() -> None:
    host = PlainHost(width=2, height=2)
    plots = [*system(System.PLOT, 1, 0, 0x11223344), *system(System.PLOT, 2, 0, 5)]
    looks = [*system(System.PIXEL, 1, 0), *system(System.PIXEL, 0, MINUS_1)]
    at = ran(machine(system(System.SIZE), plots, looks, system(System.SHOW)), host)
    assert at.stack == [2, 2, 0x11223344, 0]
    assert bytes(host.pixels) == b"\0\0\0\xff\x44\x33\x22\x11" + b"\0\0\0\xff" * 2
    assert host.shown == 1


def test_mailbox_clock_and_random() -> None:
    host = PlainHost(clock=1 << 32 | 5)
    host.inbox.append(77)
    program = machine(system(System.RECEIVE), system(System.RECEIVE), system(System.SEND, 8),
                      system(System.TIME), system(System.RANDOM))  # fmt: skip
    at = State(program, fuel=1000, seed=1)
    reference.run(program, at, host)
    assert at.stack == [77, 1, 0, 0, 1, 5, 270369]
    assert at.seed == 270369
    assert list(host.outbox) == [8]


@pytest.mark.long
@given(programs(), st.integers(1, 40))
def test_slices_and_moves_change_nothing(program: Program, portion: int) -> None:
    """In slices, each saved and restored, it ends as in one go."""
    whole_host, sliced_host = (PlainHost(input=b"hello", width=4, height=4) for _ in range(2))
    whole = ran(program, whole_host, fuel=400)
    sliced = State(program)
    given_out = 0
    while given_out < 400 and sliced.stop in (Stop.RUNNING, Stop.FUEL):
        amount = min(portion, 400 - given_out)
        sliced.add_fuel(amount)
        given_out += amount
        reference.run(program, sliced, sliced_host)
        sliced = state.restore(state.save(sliced, program), program)
    sliced.fuel += 400 - given_out
    assert state.save(sliced, program) == state.save(whole, program)
    assert vars(sliced_host) == vars(whole_host)


PROGRAM = machine(push(1), word(Op.CALL, 3), word(Op.SYS, System.RANDOM), word(Op.RET))


def corrupt(data: bytes, at: int, value: int) -> bytes:
    return data[:at] + value.to_bytes(4, "little") + data[at + 4 :]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: b"", "not a saved state"), (lambda d: b"X" + d[1:], "not a saved state"),
        (lambda d: d[:60], "not a saved state"), (lambda d: corrupt(d, 4, 2), "version 2"),
        (lambda d: corrupt(d, 8, 3), "stop is 3"), (lambda d: corrupt(d, 12, 99), "pc is 99"),
        (lambda d: corrupt(d, 20, 256), "result is 256"), (lambda d: corrupt(d, 24, 0), "seed is 0"),
        (lambda d: corrupt(d, 36, 257), "depth is 257"), (lambda d: corrupt(d, 40, 0), "frames is 0"),
        (lambda d: corrupt(d, 44, 512), "memory is 512"), (lambda d: corrupt(d, 48, 0), "another program"),
        (lambda d: d[:-1], "bytes; expected"), (lambda d: d + b"x", "bytes; expected"),
        (lambda d: corrupt(d, state.HEADER + 4, 99), "return address"),
    ],
)  # fmt: skip
def test_a_state_that_is_none(change: Any, words: str) -> None:
    at = ran(PROGRAM, fuel=4)
    assert (len(at.stack), len(at.returns)) == (1, 1)
    data = state.save(at, PROGRAM)
    assert state.save(state.restore(data, PROGRAM), PROGRAM) == data
    with pytest.raises(InputError, match=words) as caught:
        state.restore(change(data), PROGRAM, "saved.pxst")
    assert caught.value.message.startswith("saved.pxst: ")
