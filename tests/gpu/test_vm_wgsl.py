"""The WGSL engine of the Pixel VM: the same state as the reference, whatever the program, the slice and the batch."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from pixelvm import bench_wgsl, c_switch, conform, engines, fuzz, isa, load, reference
from pixelvm.host import PlainHost
from pixelvm.isa import Op, Stop, System, word
from pixelvm.program import Program
from pixelvm.state import State, save
from pixelvm.wgsl import decode, engine, layout
from pixelvm.wgsl.engine import Gpu, Machine
from tests.unit.pxos import pxos
from tests.unit.vm_programs import quick
from toolchain.command import Ui
from toolchain.errors import InputError, ToolError
from toolchain.gpu import wgsl
from toolchain.gpu.device import LOOP_MAX, Device, DeviceLost


@pytest.fixture(scope="module")
def on() -> Iterator[Gpu]:
    with Device() as device:
        yield Gpu(device)
    gc.collect()


def machine(program: Program, fuel: int, clock: int = 0) -> Machine:
    host = PlainHost(input=b"some input", width=5, height=3, clock=clock)
    host.inbox.extend([7, 8, 9])
    return Machine(program, State(program, fuel=fuel), host)


def agree(on: Gpu, programs: list[tuple[Program, int]], steps: int = layout.STEPS_MAX) -> list[Stop]:
    """All of them in one batch, and each on the reference."""
    ours = [machine(program, fuel) for program, fuel in programs]
    stops = engine.run_many(ours, steps=steps, on=on)
    for (program, fuel), mine, stop in zip(programs, ours, stops, strict=True):
        expected = machine(program, fuel)
        assert reference.run(*expected) is stop is mine.state.stop
        assert save(mine.state, program) == save(expected.state, program)
        assert vars(mine.host) == vars(expected.host)
    return stops


def test_the_shader_holds_the_constants_of_the_machine() -> None:
    text = layout.SHADER.read_text()
    assert layout.generated(text) == text, "run python -m pixelvm.wgsl.layout"
    assert layout.generated(text.replace("const STOP_FUEL: u32 = 2u;", "")) == text


def test_every_instruction_has_a_code_of_its_own() -> None:
    codes = {*layout.CODES.values(), layout.SLOW}
    assert len(codes) == len(layout.CODES) + 1 and max(codes) < 256
    assert layout.CODES.keys() | layout.RARE.keys() == set(Op)
    for op, code in layout.CODES.items():
        row = isa.INSTRUCTIONS[op]
        assert (code & 3, (code >> 2 & 3) - 2) == (row.pops, row.pushes - row.pops)
        assert row.fuel == (isa.INSTRUCTIONS[Op.CALL].fuel if op is Op.CALL else 1)


def test_words_are_legal_where_isa_says_so() -> None:
    random = Random(1)
    for length in (1, 7, 300):
        words = [word(random.choice(list(Op)), random.choice([0, 1, length - 1, length, 255, 256, 1 << 23]))
                 for _ in range(length)]  # fmt: skip
        code, (start,) = decode.decode([Program(tuple(words))])
        illegal = layout.slow(layout.RARE_ILLEGAL)
        assert [int(w) != illegal for w in code[start : start + length]] == [
            isa.is_legal(w, length) for w in words
        ]
        assert code[start + length] == illegal


@pytest.mark.parametrize("steps", [1, 2, 63, 64, 65, layout.STEPS_MAX])
def test_a_batch_of_anything_is_as_the_reference(on: Gpu, steps: int) -> None:
    random = Random(steps)
    programs = []
    for _ in range(60 if steps < 63 else 400):
        program = quick(random)
        if random.random() < 0.5:
            code = list(program.code)
            code[random.randrange(len(code))] = random.getrandbits(32)
            program = program._replace(code=tuple(code))
        programs.append((program, random.randrange(40 if steps == 1 else 300)))
    assert {Stop.HALTED, Stop.FUEL, Stop.ILLEGAL, Stop.UNDERFLOW} <= set(agree(on, programs, steps))


def loop(count: int) -> Program:
    """Counts down, three steps a round."""
    return Program((word(Op.PUSH, count), word(Op.PUSH, 1), word(Op.SUB), word(Op.DUP), word(Op.JNZ, 1),
                    word(Op.HALT)), b"", 256)  # fmt: skip


def test_nothing_ends_silently_on_either_side_of_a_slice(on: Gpu) -> None:
    for fuel in (layout.STEPS_MAX - 1, layout.STEPS_MAX, layout.STEPS_MAX + 1, 3 * layout.STEPS_MAX + 5):
        assert agree(on, [(loop(1 << 20), fuel)]) == [Stop.FUEL]
    assert layout.loops(layout.STEPS_MAX) <= LOOP_MAX < layout.loops(layout.STEPS_MAX + layout.BURST)
    for steps in (0, layout.STEPS_MAX + 1):
        with pytest.raises(InputError, match=f"{steps} steps of one dispatch"):
            engine.run_many([machine(loop(1), 9)], steps=steps, on=on)


def test_the_worst_for_the_bound_of_loops(on: Gpu) -> None:
    """A full stack, and in every frame a local set so that all below it have to be cleared."""
    fill = [word(Op.PUSH, n) for n in range(isa.STACK_SLOTS - 1)]
    at = len(fill)
    calls = [word(Op.CALL, at + 3), word(Op.JUMP, at), word(Op.HALT),
             word(Op.PUSH, 5), word(Op.SET, isa.LOCALS - 1), word(Op.RET)]  # fmt: skip
    agree(on, [(Program((*fill, *calls), b"", 256), 40_000)])


def test_frames_and_locals_across_slices(on: Gpu) -> None:
    """Recursion to the last frame, with locals set in some order and read before they are set."""
    code = (word(Op.GET, 9), word(Op.PUSH, 1), word(Op.ADD), word(Op.DUP), word(Op.SET, 5), word(Op.SET, 2),
            word(Op.GET, 4), word(Op.DROP), word(Op.CALL, 0))  # fmt: skip
    for steps in (1, 64, layout.STEPS_MAX):
        assert agree(on, [(Program(code, b"", 256), 10_000)], steps) == [Stop.CALLS]


def test_calls_reach_the_host_in_order_and_beyond_the_queue(on: Gpu) -> None:
    count = 3 * layout.QUEUE
    code: list[int] = []
    for n in range(count):
        code += [word(Op.PUSH, n % 5), word(Op.PUSH, n % 3), word(Op.PUSH, n), word(Op.SYS, System.PLOT)]
        code += [
            word(Op.PUSH, n % 5),
            word(Op.PUSH, n % 3),
            word(Op.SYS, System.PIXEL),
            word(Op.SYS, System.PUTC),
        ]
    code += [word(Op.PUSH, n) for n in range(count)] + [word(Op.SYS, System.PUTC)] * count
    code += [word(Op.SYS, System.SHOW), word(Op.SYS, System.GETC), word(Op.SYS, System.RECEIVE)]
    code += [word(Op.SYS, System.SEND), word(Op.SYS, System.SIZE), word(Op.SYS, System.TIME)]
    code += [word(Op.SYS, System.RANDOM)] * 3 + [word(Op.HALT, 4)]
    program = Program(tuple(code), b"", 256)
    assert agree(on, [(program, 40_000), (program, 1_000), (program, 4_000)]) == [
        Stop.HALTED,
        Stop.FUEL,
        Stop.FUEL,
    ]


def test_an_answer_on_a_full_stack_does_not_reach_the_frames(on: Gpu) -> None:
    fill = [word(Op.PUSH, n) for n in range(isa.STACK_SLOTS - 1)]
    for call in (System.TIME, System.SIZE, System.RANDOM):
        code = (*fill, word(Op.SYS, call), word(Op.SYS, System.SHOW), word(Op.HALT))
        agree(on, [(Program(code, b"", 256), 9_000)])


def test_memories_of_all_sizes_and_no_machine_at_all(on: Gpu) -> None:
    code = tuple(w for at in (0, 252, 1020, 65532)
                 for w in (word(Op.PUSH, at), word(Op.PUSH, -at), word(Op.STORE32), word(Op.PUSH, at + 1),
                           word(Op.LOAD8), word(Op.PUSH, at + 3), word(Op.PUSH, 0xAB), word(Op.STORE8)))  # fmt: skip
    sizes = (0, 256, 1024, 1 << 16, 256, isa.MEMORY_MAX)
    agree(on, [(Program(code, b"\1\2\3"[: min(3, size)], size), 500) for size in sizes])
    assert engine.run_many([], on=on) == []


def test_batches_fit_the_device(on: Gpu) -> None:
    sizes = [256, 512, 256, 1024, 256]
    machines = [machine(Program((word(Op.HALT),), b"", size), 1) for size in sizes]
    assert [len(part) for part in engine.parts(machines, 1 << 20)] == [3, 1, 1]
    few = 2 * (256 + 4 * layout.FRAME_ROWS)
    assert [len(part) for part in engine.parts(machines, few)] == [2, 1, 1, 1]


def test_a_machine_that_has_stopped_stays_so(on: Gpu) -> None:
    done = machine(loop(1), 100)
    assert engine.run_many([done], on=on) == [Stop.HALTED]
    before = save(done.state, done.program)
    assert engine.run_many([done], on=on) == [Stop.HALTED]
    assert save(done.state, done.program) == before


def test_the_engine_of_the_table_is_this_one() -> None:
    one, two = machine(loop(50), 10_000), machine(loop(50), 10_000)
    assert engines.find("wgsl")(*one) is reference.run(*two)
    assert save(one.state, one.program) == save(two.state, two.program)
    engine.gpu().device.close()


def test_a_lost_device_changes_no_state() -> None:
    lost = Gpu(Device())
    lost.device.close()
    held = machine(loop(50), 10_000)
    before = save(held.state, held.program)
    with pytest.raises(DeviceLost):
        engine.run_many([held], on=lost)
    assert save(held.state, held.program) == before


def test_a_sample_of_the_differential_fuzzing() -> None:
    for _, differences in fuzz.run(1, 0, 2 * fuzz.BATCH, ["wgsl"]):
        assert [(one.number, one.engine, one.what) for one in differences] == []
    engine.gpu().device.close()


def test_it_conforms() -> None:
    assert [failure for _, failed in conform.run(["wgsl"]) for failure in failed] == []
    engine.gpu().device.close()


def test_the_hypervisor_runs_many_at_once_and_moves_them() -> None:
    fib = Path(__file__).resolve().parents[2] / "pixelvm/examples/fib.pxa"
    words = ("vm", "host", str(fib), "--copies", "20", "--slice", "9000", "--json", "-q")
    wanted = [row["output"] for row in pxos(*words).data["machines"]]
    for names in ("wgsl", "python,wgsl"):
        answer = pxos(*words, "--engine", names)
        assert answer.status == 0
        assert [row["output"] for row in answer.data["machines"]] == wanted
    engine.gpu().device.close()


def test_the_rows_of_the_bench(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("COUNT", 70), ("FUEL", 3000), ("SINGLE", 5000), ("ROUNDS", 1)):
        monkeypatch.setattr(bench_wgsl, name, value)
    rows = bench_wgsl.rows(Ui(quiet=True))
    assert [row["what"] for row in rows] == [
        f"many {name} wgsl" for name in (*bench_wgsl.PROGRAMS, "geometric mean")
    ]
    assert all(row["ours"] > 0 and row["peer_value"] > 0 for row in rows)
    assert "70 machines " in bench_wgsl.line(rows[0])
    monkeypatch.setattr(c_switch, "run", lambda program, state, host: setattr(state, "seed", 1))
    with pytest.raises(ToolError, match="ends otherwise on wgsl than in C"):
        bench_wgsl._many(load.load("pixelvm/bench/many/loop.pxa").program, "loop")
    engine.gpu().device.close()


def test_a_shader_that_gets_nowhere_is_an_error(on: Gpu, monkeypatch: pytest.MonkeyPatch) -> None:
    text = layout.SHADER.read_text()
    broken = text.replace("s.fuel >= price", "s.fuel > price + 1000u").replace("(*s).stop = STOP_BOUNDS;", "")
    assert broken.count("1000u") == 1
    monkeypatch.setattr(on, "kernel", on.device.kernel(wgsl.compose(broken, "broken.wgsl")))
    held = machine(Program((word(Op.PUSH, 1), word(Op.JUMP, 0)), b"", 256), 900)
    before = save(held.state, held.program)
    with pytest.raises(ToolError, match="a machine stands still"):
        engine.run_many([held], on=on)
    assert save(held.state, held.program) == before
