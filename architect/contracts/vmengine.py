"""The Pixel VM on bare metal: programs run as the reference runs them, whoever wrote them; loading.

pixelvm/SPEC.md. The reference engine (``pixelvm.reference``) decides; states are compared as the bytes that would be
saved.
"""

from __future__ import annotations

import random
import struct

from architect.contracts import contract
from architect.contracts.model import MALFORMED, NO_MEMORY, UNSUPPORTED, Session
from architect.contracts.steps import FAILED, Step
from pixelvm import fuzz_programs, isa, reference
from pixelvm import program as programs
from pixelvm import state as states
from pixelvm.host import PlainHost
from pixelvm.isa import Op, Stop, word
from pixelvm.program import Program
from pixelvm.state import State
from toolchain.harness import BUFFER_BASE, Harness

_SIZE, _CELL = 0x1540, 8
_STACK, _RETURNS, _LOCALS = 0x40, 0x440, 0x540
_HEAD = struct.Struct("<QQ12I")
_MACHINE = BUFFER_BASE
_CELLS = BUFFER_BASE + 0x2000
_MEMORY = BUFFER_BASE + 0x8000
_WORDS = BUFFER_BASE + 0xA000
_MEMORY_MAX = 0x1000
_CODE_MAX = (_MEMORY - _CELLS) // _CELL - 1
_RANDOM_PROGRAMS = 24
_EXECUTED = 400_000
_FUEL = 400  # of a random program: a slice, and the rest


class _Machine(Session):
    """A machine of the kernel beside a state of the reference's."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.guest = bytearray(_SIZE)

    def begin(self, of: Program, state: State) -> None:
        """The kernel's machine, as ``state`` stands."""
        self.harness.write(_WORDS, struct.pack(f"<{len(of.code)}I", *of.code))
        self.call("vm_decode", limit=_EXECUTED, rdi=_WORDS, rsi=len(of.code), rdx=_CELLS)
        _HEAD.pack_into(
            self.guest, 0, _CELLS, _MEMORY, state.pc, state.fuel, state.stop, state.result, state.seed, state.written,
            state.read, len(state.stack), len(state.locals), len(state.memory), len(of.code), 0,
        )  # fmt: skip
        self.harness.write(_MACHINE, bytes(self.guest))
        self.harness.write(_MACHINE + _LOCALS, bytes(4 * isa.LOCALS))
        self.harness.write(_MEMORY, bytes(state.memory))

    def state(self, of: Program) -> State:
        """What the kernel's machine has become."""
        data = self.harness.read(_MACHINE, _SIZE)
        numbers = _HEAD.unpack_from(data)
        made = State(of, fuel=numbers[3], seed=numbers[6])
        made.pc, made.result, made.written, made.read = numbers[2], numbers[5], numbers[7], numbers[8]
        depth, frames = numbers[9], numbers[10]
        known = numbers[4] in set(Stop) and depth <= isa.STACK_SLOTS and 1 <= frames <= isa.FRAMES
        self.expect(
            known, "vm_run", "leaves a machine that cannot be", stop=numbers[4], depth=depth, frames=frames
        )
        made.stop = Stop(numbers[4])
        made.stack = list(struct.unpack_from(f"<{depth}I", data, _STACK))
        made.returns = list(struct.unpack_from(f"<{frames - 1}I", data, _RETURNS))
        values = struct.unpack_from(f"<{frames * isa.LOCALS}I", data, _LOCALS)
        made.locals = [list(values[at : at + isa.LOCALS]) for at in range(0, len(values), isa.LOCALS)]
        made.memory[:] = self.harness.read(_MEMORY, of.memory)
        return made

    def runs(self, of: Program, fuel: int, what: str) -> None:
        """A program without calls that need a host, in two slices; it must be where the reference is."""
        state = State(of, fuel=fuel // 3, seed=7)
        self.begin(of, state)
        for _ in range(2):
            reference.run(of, state, PlainHost())
            call = self.call("vm_run", limit=_EXECUTED, rdi=_MACHINE).value("eax")
            self.equal(call, 0, "vm_run", "asks for a call that the program does not make", program=what)
            mine = self.state(of)
            for name in ("stop", "pc", "fuel", "result", "seed", "stack", "returns", "locals", "memory"):
                got, expected = getattr(mine, name), getattr(state, name)
                if got != expected:
                    self.fail("vm_run", f"leaves another {name}", {"program": what, "got": repr(got)[:120],
                              "expected": repr(expected)[:120]})  # fmt: skip
            self.expect(
                states.save(mine, of) == states.save(state, of),
                "vm_run",
                "leaves another state",
                program=what,
            )
            state.add_fuel(fuel)
            self.harness.write(_MACHINE + 0x14, struct.pack("<II", state.fuel, state.stop))


@contract("vm_run", "vm_decode", needs=("vm_run", "vm_decode"))
def pixel_programs(harness: Harness) -> None:
    """Every opcode, operands inside and outside of their range, the limits of stack and frames; random programs."""
    machine = _Machine(harness)
    for row in isa.INSTRUCTIONS.values():
        limit = isa.operand_limit(row.operand, 40)
        for operand in sorted({0, limit - 1, min(limit, isa.OPERAND_MAX)}):
            if row.op is Op.SYS and operand < len(isa.System) and operand != isa.System.RANDOM:
                continue
            legal = operand < limit
            for values in ((7, 0x7FFFFF, 2), (9, -1), (), (1 << 23, 0)) if legal else ((1, 2, 3),):
                pushes = [word(Op.PUSH, value) for value in values]
                high = (
                    [word(Op.PUSH, 0), word(Op.HIGH, 0x80), word(Op.PUSH, -1)]
                    if values == (9, -1)
                    else pushes
                )
                code = (*high, word(row.op, operand), *([word(Op.HALT, 3)] * 40))[:40]
                machine.runs(Program(code, b"\1\2\3\4\5", 256), 60, f"{row.name} {operand} {values}")
    for what, code in _DIRECTED.items():
        machine.runs(Program(code, b"", 256), 90, what)
    for illegal in (0x00, 0xFF, 0x18, 0x27):
        machine.runs(Program((illegal,), b"", 0), 9, f"word {illegal:#x}")
    deep = [word(Op.PUSH, 1)] * (isa.STACK_SLOTS + 1)
    machine.runs(Program(tuple(deep), b"", 0), 3 * len(deep), "a full stack")
    machine.runs(Program((word(Op.CALL, 0),), b"", 0), 1000, "all frames")
    machine.runs(Program((word(Op.JUMP, 0),), b"", 0), 50, "no end")
    noise = random.Random(5)
    for number in range(_RANDOM_PROGRAMS):
        made = fuzz_programs.valid(noise)
        plain = all(code & 0xFF != Op.SYS or code >> 8 in (isa.System.RANDOM,) for code in made.code)
        if plain and len(made.code) <= _CODE_MAX and made.memory <= _MEMORY_MAX:
            machine.runs(made, _FUEL, f"random {number}")


_DIRECTED = {
    "high bits replaced": (word(Op.PUSH, -1), word(Op.HIGH, 0x12), word(Op.HALT)),
    "random numbers": (*[word(Op.SYS, isa.System.RANDOM)] * 3, word(Op.HALT)),
    "locals begin as zeros": (
        word(Op.CALL, 3), word(Op.CALL, 6 + isa.LOCALS), word(Op.HALT),
        word(Op.PUSH, 5), *(word(Op.DUP) for _ in range(isa.LOCALS)), *(word(Op.SET, n) for n in range(isa.LOCALS)),
        word(Op.RET),
    ),
    "a word at each place": tuple(
        one for at in range(4) for one in (word(Op.PUSH, 252 + at), word(Op.LOAD32, 0), word(Op.STORE32, 4))
    ),
}  # fmt: skip


@contract("vm_run", needs=("vm_run", "vm_decode"))
def pixel_calls(harness: Harness) -> None:
    """A call is paid for, its arguments are taken off, its number is told; too little of anything is a stop."""
    machine = _Machine(harness)
    for call in isa.SYSTEM_CALLS.values():
        if call.number is isa.System.RANDOM:
            continue
        for depth, fuel in (
            (call.pops, call.fuel),
            (call.pops, call.fuel - 1),
            (call.pops - 1, 64),
            (254, 64),
            (256, 64),
        ):
            if depth < 0:
                continue
            first = [word(Op.PUSH, 1234)] if depth else []  # what was pushed last is in no slot yet
            of = Program((*first, word(Op.SYS, call.number), word(Op.HALT)), b"", 256)
            state = State(of, fuel=fuel + len(first))
            state.stack = [11 * i for i in range(depth - len(first))]
            machine.begin(of, state)
            machine.harness.write(_MACHINE + _STACK, struct.pack(f"<{len(state.stack)}I", *state.stack))
            state.stack += [1234] * len(first)
            told = machine.call("vm_run", rdi=_MACHINE).value("eax")
            mine = machine.state(of)
            enough, room = depth >= call.pops, depth - call.pops + call.pushes <= isa.STACK_SLOTS
            given: dict[str, int | str] = {"call": call.name, "depth": depth, "fuel": fuel}
            if fuel < call.fuel or not enough or not room:
                wanted = Stop.FUEL if fuel < call.fuel else Stop.UNDERFLOW if not enough else Stop.OVERFLOW
                machine.equal(told, 0, "vm_run", "makes a call that it cannot", **given)
                machine.equal(int(mine.stop), int(wanted), "vm_run", "stops for another reason", **given)
                machine.equal(
                    mine.fuel, fuel, "vm_run", "takes fuel for a call that it does not make", **given
                )
                continue
            machine.equal(told, call.number + 1, "vm_run", "names another call", **given)
            machine.equal(mine.fuel, fuel - call.fuel, "vm_run", "takes other fuel for a call", **given)
            machine.equal(mine.pc, len(first) + 1, "vm_run", "does not go on behind a call", **given)
            machine.expect(
                mine.stack == state.stack[: depth - call.pops], "vm_run", "takes other arguments", **given
            )
            left = struct.unpack(
                f"<{call.pops}I", harness.read(_MACHINE + _STACK + 4 * len(mine.stack), 4 * call.pops)
            )
            machine.expect(
                list(left) == state.stack[depth - call.pops :], "vm_run", "loses arguments", **given
            )


@contract(
    "vm_program_check", "vm_load", needs=("vm_program_check", "vm_load", "heap_alloc_zeroed", "vm_decode")
)
def pixel_loading(harness: Harness) -> None:
    """Sound programs at the limits, and each number of the header beyond its own."""
    step = Step(harness, "vm_load")
    sound = Program((word(Op.PUSH, 5), word(Op.HALT)), b"data!", 256, 1)
    data = programs.to_bytes(sound)
    step.stand("heap_alloc_zeroed", "rdi", "rsi", answer={"rax": _MACHINE, "cf": 0})
    for at, value, error in (
        (0, 0, MALFORMED), (4, 2, UNSUPPORTED), (8, 0, MALFORMED), (8, isa.CODE_MAX + 1, MALFORMED), (8, 3, MALFORMED),
        (8, 0xFFFFFFFF, MALFORMED), (12, 257, MALFORMED), (12, 0xFFFFFFFF, MALFORMED), (16, 255, MALFORMED),
        (16, isa.MEMORY_MAX + 256, MALFORMED), (16, 0, MALFORMED), (20, 2, MALFORMED), (20, 0xFFFFFFFF, MALFORMED),
    ):  # fmt: skip
        harness.write(_WORDS, data[:at] + struct.pack("<I", value) + data[at + 4 :])
        step.run("takes what is no program", cf=1, want={"rax": error}, rdi=_WORDS, rsi=len(data), rdx=9)
        step.same(
            [call[0] for call in step.asked], [], "takes memory for what is no program", at=at, value=value
        )
    large = data[:8] + struct.pack("<I", isa.CODE_MAX + 1) + data[12:]
    harness.write(_WORDS, large)
    step.run(
        "takes more code than a machine has", cf=1, want={"rax": MALFORMED}, rdi=_WORDS, rsi=1 << 40, rdx=9
    )
    harness.write(_WORDS, data)
    for length in (0, 3, 55, len(data) - 4):  # the bytes that pad the data may be missing
        step.run(
            "takes a program that is cut off", cf=1, want={"rax": MALFORMED}, rdi=_WORDS, rsi=length, rdx=9
        )
    step.stand_says("heap_alloc_zeroed", {**FAILED, "rax": NO_MEMORY})
    step.run("goes on without memory", cf=1, want={"rax": NO_MEMORY}, rdi=_WORDS, rsi=len(data), rdx=9)
    step.stand_says("heap_alloc_zeroed", {"rax": _MACHINE, "cf": 0})
    harness.write(_MACHINE, bytes(0x2000))
    step.run("refuses a program", cf=0, want={"rax": _MACHINE}, rdi=_WORDS, rsi=len(data), rdx=9)
    asked = int(step.asked[0][1])
    numbers = _HEAD.unpack(harness.read(_MACHINE, _HEAD.size))
    cells, memory = numbers[0], numbers[1]
    inside = cells >= _MACHINE + _SIZE and cells + 3 * _CELL <= memory and memory + 256 <= _MACHINE + asked
    step.same(inside, True, "does not keep cells and memory within its block")
    step.same(numbers[2:13], (1, 9, 0, 0, isa.SEED_DEFAULT, 0, 0, 0, 1, 256, 2), "begins with another state")
    step.same(harness.read(memory, 8), b"data!\0\0\0", "begins with other memory")
    step.same(struct.unpack("<I", harness.read(cells + 4, 4))[0], 5, "decodes the program in another way")
