"""The machine-code engine against the reference: the same bytes of state, wherever a run is cut."""

from __future__ import annotations

import threading
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings

from pixelvm import engines, isa, load, reference
from pixelvm.assembler import assemble
from pixelvm.host import PlainHost
from pixelvm.isa import Op, Stop
from pixelvm.program import Program
from pixelvm.state import State, save
from pixelvm.x86 import engine, translation
from tests.unit import vm_programs
from tests.unit.vm_compare import any_program, differs, trail

EXAMPLES = sorted(Path("pixelvm/examples").glob("*.pxa"))
BENCHES = sorted(Path("pixelvm/bench").glob("*.pxa"))
PYTHON, X86 = reference.run, engine.run
ENOUGH = 1 << 22


def program_of(text: str) -> Program:
    return assemble(text, "test").program


def alike(program: Program, *fuels: int, state: State | None = None) -> None:
    start = save(state or State(program), program)
    expected = trail(program, start, [PYTHON] * len(fuels), fuels)
    assert trail(program, start, [X86] * len(fuels), fuels) == expected


def test_the_table_finds_it() -> None:
    assert engines.find("x86") is X86


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_end_alike(path: Path) -> None:
    alike(load.load(str(path)).program, 1000, ENOUGH)


@pytest.mark.slow
@pytest.mark.parametrize("path", BENCHES, ids=lambda path: path.stem)
def test_benches_are_alike_a_good_way(path: Path) -> None:
    alike(load.load(str(path)).program, 100_000, 900_000)


@given(vm_programs.programs())
@settings(max_examples=60, deadline=None)
def test_any_words_are_alike(program: Program) -> None:
    alike(program, 7, 300)


@given(vm_programs.careful_programs())
@settings(max_examples=60, deadline=None)
def test_careful_programs_are_alike(program: Program) -> None:
    alike(program, 300)


@pytest.mark.long
def test_programs_and_states_at_random() -> None:
    assert not [found for seed in range(300) if (found := differs(seed, X86))]


def test_the_same_where_only_what_comes_often_is_translated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translation, "EAGER", 0)
    translation.kept.clear()
    assert not [found for seed in range(100) if (found := differs(seed, X86))]


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_many_programs_and_states_at_random(part: int) -> None:
    start = 1_000_000 + part * 10_000
    assert not [found for seed in range(start, start + 10_000) if (found := differs(seed, X86))]


@pytest.mark.parametrize("seed", range(20))
def test_a_run_can_be_cut_at_every_instruction(seed: int) -> None:
    """Stop at each fuel, go on in the other engine: the end is the reference's."""
    program = any_program(Random(seed))
    start = save(State(program), program)
    rest = 2000
    for fuel in range(60):
        fuels = [fuel, 1, rest]
        expected = trail(program, start, [PYTHON] * 3, fuels)
        assert trail(program, start, [X86, PYTHON, X86], fuels) == expected
        assert trail(program, start, [PYTHON, X86, X86], fuels) == expected


@pytest.mark.parametrize(
    ("text", "stop"),
    [
        ("drop\nhalt", Stop.UNDERFLOW),
        ("push 1\npick 1", Stop.UNDERFLOW),
        ("main: push 1\njump main", Stop.OVERFLOW),
        ("push 1\npush 0\ndivu", Stop.DIVISION),
        ("push 1\nset 0\npush 5\nget 1\nrems", Stop.DIVISION),
        ("push 2\nload32", Stop.ALIGNMENT),
        ("get 0\nload32 2", Stop.ALIGNMENT),
        ("push 1\nset 0\nget 0\npush 7\nstore32 4", Stop.ALIGNMENT),
        ("push 65536\nload8", Stop.BOUNDS),
        ("push -1\nset 0\nget 0\nload8", Stop.BOUNDS),
        ("push -1\nset 0\nget 0\nload8 65537", Stop.BOUNDS),
        ("push 16384\nset 0\nget 0\npush 2\nshl\nload32", Stop.BOUNDS),
        (".memory 0\nget 0\nload8", Stop.BOUNDS),
        (".memory 0\nget 0\nget 0\nstore32", Stop.BOUNDS),
        ("main: call main", Stop.CALLS),
        ("ret", Stop.RETURN),
        (".pixel 0", Stop.ILLEGAL),
        ("push 1", Stop.ILLEGAL),
        ("main: jump main", Stop.FUEL),
    ],
)
def test_every_way_to_stop(text: str, stop: Stop) -> None:
    program = program_of(text)
    state = State(program, fuel=5000)
    assert X86(program, state, PlainHost()) is stop
    alike(program, 5000)
    alike(program, 2, 2, 5000)


def test_an_address_may_wrap_around() -> None:
    """Negative indexes are ordinary addresses modulo 2^32; each form of access takes its long way and comes back."""
    program = program_of(
        """
        push 0x01020304
        high 1
        push 4
        swap
        store32
        push -4
        set 0
        get 0
        load8 8
        get 0
        load32 8
        add
        get 0
        push 2
        shl
        load32 20
        add
        get 0
        push 0x55
        store8 9
        push 4
        load32
        add
        set 1
        halt
        """
    )
    state = State(program, fuel=100)
    assert X86(program, state, PlainHost()) is Stop.HALTED
    assert state.locals[0][1] == (4 + 2 * 0x01020304 + 0x01025504) & isa.MASK
    alike(program, 100)


@pytest.mark.parametrize("value", [251, 252, 253, 254, 255])
@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 5])
def test_a_mask_excludes_a_trap_only_as_far_as_it_reaches(value: int, offset: int) -> None:
    for access, mask in (("load8", 255), ("load8", 254), ("load32", 252), ("load32", 255)):
        alike(
            program_of(f".memory 256\npush {value}\nset 0\nget 0\npush {mask}\nand\n{access} {offset}\nhalt"),
            100,
        )
    words = "get 0\npush 63\nand\npush 2\nshl"
    alike(
        program_of(
            f".memory 256\npush {value}\nset 0\n{words}\nload32 {offset}\n{words}\npush 1\nstore32 {offset}"
        ),
        100,
    )


@pytest.mark.parametrize("counts", [(5, 27), (27, 5), (5, 26), (0, 32), (16, 16), (33, -1)])
@pytest.mark.parametrize("last", ["or", "add", "xor", "and"])
def test_only_a_rotation_is_made_one(counts: tuple[int, int], last: str) -> None:
    one, other = counts
    for first, second in (("shl", "shr"), ("shr", "shl"), ("shr", "shr")):
        for first_copy, again in (("get 0", "get 0"), ("get 0\ndup", "swap"), ("get 0", "get 1")):
            text = f"{first_copy}\npush {one}\n{first}\n{again}\npush {other}\n{second}\n{last}"
            alike(program_of(f"push 0x123456\nhigh 0x89\nset 0\n{text}\nset 2\nhalt"), 100)


def test_more_comparisons_at_once_than_there_are_registers() -> None:
    flag = "push {0}\nload8\npush {1}\nload8\nltu"
    flags = "\n".join(flag.format(n, n + 1) for n in range(5))
    for shuffle in ("rot", "swap", "over", "dup", "pick 3", "rot\nrot\nswap"):
        alike(
            program_of(
                f"{flags}\n{shuffle}\nadd\nadd\npush 7\nload8\ndivu\nhalt\n.data\n.byte 1,2,2,9,4,5,6,7"
            ),
            100,
        )


def test_fuel_is_given_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SLICE", 2 * engine.BLOCK_FUEL)
    alike(load.load("pixelvm/examples/life.pxa").program, 100_000, ENOUGH)


@pytest.mark.parametrize("a", [0, 1, 7, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
@pytest.mark.parametrize("b", [1, 2, 3, 32, 0x80000000, 0xFFFFFFFF])
def test_arithmetic_with_constants_and_without(a: int, b: int) -> None:
    ops = [row.name for row in isa.INSTRUCTIONS.values() if row.pops == 2 and row.pushes == 1]
    lines = [f"push {a}", "set 0", f"push {b}", "set 1"]
    for op in ops:
        for one, other in (
            (f"push {a}", f"push {b}"),
            ("get 0", f"push {b}"),
            (f"push {a}", "get 1"),
            ("get 0", "get 1"),
        ):
            lines += [one, other, op]
    program = program_of("\n".join([*lines, "halt"]))
    alike(program, 2000)
    alike(
        program_of(
            "\n".join(
                [
                    *lines[:4],
                    *(
                        line
                        for op in ops
                        for line in ("get 0", "get 1", op, "set 2", "get 2", "get 1", "get 2", op, "set 1")
                    ),
                    "halt",
                ]
            )
        ),
        2000,
    )


@pytest.mark.long
def test_a_program_of_the_greatest_size() -> None:
    words = [isa.word(Op.PUSH, 1), isa.word(Op.DROP)] * (isa.CODE_MAX // 2)
    words[-2:] = [isa.word(Op.PUSH, 1), isa.word(Op.HALT, 3)]
    program = Program(tuple(words), bytes(isa.MEMORY_MAX), isa.MEMORY_MAX)
    state = State(program, fuel=isa.MASK)
    assert X86(program, state, PlainHost()) is Stop.HALTED
    assert (state.pc, state.fuel) == (isa.CODE_MAX - 1, isa.MASK - isa.CODE_MAX)


def test_a_loop_that_is_longer_than_a_unit() -> None:
    turns = "\n".join(f"get {n % 8}\npush {n}\nadd\nset {(n + 3) % 8}\nget 9\njnz .end" for n in range(120))
    program = program_of(
        f"main: push 30\nset 8\n.turn:\n{turns}\nget 8\npush 1\nsub\ndup\nset 8\njnz .turn\n.end: halt"
    )
    for fuel in (100, 1153, 5000):
        alike(program, fuel, fuel, ENOUGH)


def test_more_functions_than_are_kept_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The code is dropped on the way, with frames open, and made again."""
    monkeypatch.setattr(translation, "UNITS_MAX", 5)
    count = 40
    text = "\n".join(f"f{n}: push {n}\ncall f{n + 1}\nadd\nret" for n in range(count))
    program = program_of(f"main: call f0\ncall f0\nhalt\n{text}\nf{count}: push 0\nret")
    alike(program, 5000)


def test_a_host_that_fails_leaves_the_state_before_its_call() -> None:
    class Broken(PlainHost):
        def put(self, at: int, byte: int) -> None:
            raise KeyboardInterrupt

    program = program_of("push 5\npush 6\nset 3\npush 65\nsys putc\nhalt")
    state = State(program, fuel=100)
    with pytest.raises(KeyboardInterrupt):
        X86(program, state, Broken())
    assert (state.pc, state.fuel, state.stack, state.locals[0][3]) == (4, 96, [5, 65], 6)
    assert X86(program, state, PlainHost()) is Stop.HALTED


def test_a_host_may_run_the_same_program() -> None:
    program = program_of("push 1\nsys send\nset 0\npush 9\nset 1\nhalt")
    inner = State(program, fuel=1000)

    class Nested(PlainHost):
        def send(self, word: int) -> bool:
            return X86(program, inner, PlainHost()) is Stop.HALTED

    state = State(program, fuel=1000)
    assert X86(program, state, Nested()) is Stop.HALTED
    assert save(state, program) == save(inner, program)


def test_threads_run_one_program_each_on_its_own() -> None:
    program = program_of(
        "main: get 0\npush 1\nadd\ndup\nset 0\npush 200000\nltu\njnz main\ncall end\nhalt\nend: ret"
    )
    states = [State(program, fuel=ENOUGH) for _ in range(4)]
    threads = [threading.Thread(target=X86, args=(program, state, PlainHost())) for state in states]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {save(state, program) for state in states} == {save(states[0], program)}
    assert states[0].stop is Stop.HALTED


def test_what_is_no_state_of_the_program_goes_to_the_reference() -> None:
    program = program_of("push 1\nload8\nhalt")
    state = State(program, fuel=10)
    del state.memory[1:]
    assert X86(program, state, PlainHost()) is Stop.BOUNDS


@pytest.mark.parametrize(
    ("field", "value"), [("pc", 3), ("pc", 1 << 30), ("pc", -1), ("returns", [1 << 30]), ("returns", [-1])]
)
def test_an_address_outside_the_program_goes_to_the_reference(
    field: str, value: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = program_of("drop\nret")
    state = State(program, fuel=9)
    state.stack, state.locals = [1], [[0] * isa.LOCALS] * 2
    state.returns = [0]
    setattr(state, field, value)
    seen: list[State] = []

    def run(program: Program, state: State, host: object) -> Stop:
        seen.append(state)
        return Stop.ILLEGAL

    monkeypatch.setattr(reference, "run", run)
    assert X86(program, state, PlainHost()) is Stop.ILLEGAL
    assert seen == [state]


def test_memory_can_be_resized_after_a_run() -> None:
    program = program_of("push 1\nload8\nhalt")
    state = State(program, fuel=10)
    X86(program, state, PlainHost())
    state.memory.append(0)


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="reads /proc")
def test_pages_of_code_can_be_executed_and_not_written() -> None:
    program = program_of("call f\nhalt\nf: ret")
    X86(program, State(program, fuel=9), PlainHost())
    made = translation.kept.find(program, State(program))
    addresses = [translation.gate().pages.address, *made.entries.values()]
    rights = []
    for line in Path("/proc/self/maps").read_text().splitlines():
        place, flags, *_ = line.split()
        low, high = (int(end, 16) for end in place.split("-"))
        rights += [flags for address in addresses if low <= address < high]
    assert rights == ["r-xp"] * len(addresses)
