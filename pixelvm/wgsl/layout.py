"""What the shader and the host share: the words of a machine's record, the shader's own instruction codes, the bounds.

Owns the block of constants between the marks in shaders/pixel_vm.wgsl, which is printed from here and from isa.py
(``python -m pixelvm.wgsl.layout`` writes it, a test compares it). Touches no device.

The shader never sees the program's words but what ``decode`` makes of them: a code in the low byte, which says how many
values are needed and how the depth changes, and the operand above it. What is rare (divisions, system calls, ``halt``,
illegal words) has the code ``SLOW`` and all that is to be known of it packed into the operand.
"""

from __future__ import annotations

from pathlib import Path

from pixelvm import isa
from pixelvm.isa import Op, Stop, System
from toolchain.gpu.device import LOOP_MAX

SHADER = Path(__file__).resolve().parents[2] / "shaders/pixel_vm.wgsl"
BEGIN = "// BEGIN generated: python -m pixelvm.wgsl.layout\n"
END = "// END generated\n"

# A record: the words of one machine that host and shader exchange at each dispatch.
RECORD = (
    "pc", "fuel", "stop", "result", "seed", "written", "depth", "frames", "known",
    "request", "first", "second", "posted", "pops", "pushes", "answer", "behind", "cost",
    "code", "memory",
)  # fmt: skip
FIELD = {name: at for at, name in enumerate(RECORD)}
WORDS = len(RECORD)

QUEUE = 32  # calls without an answer that one machine can post in a dispatch
POST = 4  # words of a posted call: its number, its arguments
NO_REQUEST = 0xFFFFFFFF
DRAIN = 0xFFFFFFFE  # the request of a machine whose queue is full

FRAME_WORDS = 1 + isa.LOCALS  # return address, locals
PAD = 4  # words below the stack that a fill from an empty one may read
ARRAY = PAD + isa.STACK_SLOTS + 1  # the last word is for writes that nobody needs
FRAME_ROWS = isa.FRAMES * FRAME_WORDS  # words of a machine's frames in the buffer, before its memory

BURST = 64  # steps between two looks at what is rare
ROUND = 2  # iterations of a burst that are no steps
COPIES = 2 * isa.STACK_SLOTS  # iterations that carry the stack in and out


def loops(steps: int) -> int:
    """The most iterations, of all loops together, of one invocation that is given so many steps."""
    return COPIES + BURST + isa.LOCALS + steps + ROUND * -(-steps // BURST)


STEPS_MAX = (LOOP_MAX - COPIES - BURST - isa.LOCALS) // (BURST + ROUND) * BURST
WORKGROUP = 64

SLOW = 0  # no instruction needs nothing and takes two values
FAST_CODES = (
    4  # bits of needs and change below the number that tells codes of the same needs and change apart
)


def _codes() -> dict[Op, int]:
    """A byte for each instruction of the fast path: needs | change + 2 << 2 | running number << 4."""
    taken: dict[int, int] = {}
    codes: dict[Op, int] = {}
    for op, row in isa.INSTRUCTIONS.items():
        if op in RARE:
            continue
        group = row.pops | (row.pushes - row.pops + 2) << 2
        number = taken.get(group, 0)
        taken[group] = number + 1
        codes[Op(op)] = group | number << FAST_CODES
    return codes


RARE = {Op.DIVU: 1, Op.DIVS: 2, Op.REMU: 3, Op.REMS: 4, Op.SYS: 5, Op.HALT: 6}  # what SLOW's operand says
RARE_ILLEGAL = 0
CODES = _codes()

# The operand of SLOW, from its low bit: which of RARE, argument, values needed, change of depth + 3, fuel.
RARE_BITS, ARGUMENT_BITS, NEEDS_BITS, CHANGE_BITS = 4, 8, 2, 3
CHANGE_BIAS = 3
LINK_BITS = (
    19  # of a frame's link: the return address; above it, how many of the caller's locals have been set
)


def slow(rare: int, argument: int = 0, needs: int = 0, change: int = 0, fuel: int = 0) -> int:
    """The word of what is rare."""
    parts = (
        (rare, RARE_BITS),
        (argument, ARGUMENT_BITS),
        (needs, NEEDS_BITS),
        (change + CHANGE_BIAS, CHANGE_BITS),
    )
    operand, at = 0, 0
    for value, bits in parts:
        assert 0 <= value < 1 << bits
        operand |= value << at
        at += bits
    return SLOW | (operand | fuel << at) << 8


def constants() -> str:
    """The generated block, marks included."""
    lines = [BEGIN.rstrip("\n")]

    def say(name: str, value: int) -> None:
        lines.append(f"const {name}: u32 = {value}u;")

    for name, value in (
        ("STACK_SLOTS", isa.STACK_SLOTS), ("FRAMES", isa.FRAMES), ("LOCALS", isa.LOCALS),
        ("WORDS", WORDS), ("QUEUE", QUEUE), ("POST", POST), ("NO_REQUEST", NO_REQUEST), ("DRAIN", DRAIN),
        ("FRAME_WORDS", FRAME_WORDS), ("PAD", PAD), ("ARRAY", ARRAY), ("BURST", BURST), ("ROUND", ROUND),
        ("WORKGROUP", WORKGROUP),
        ("LINK_BITS", LINK_BITS), ("RARE_BITS", RARE_BITS), ("ARGUMENT_BITS", ARGUMENT_BITS),
        ("NEEDS_BITS", NEEDS_BITS), ("CHANGE_BITS", CHANGE_BITS), ("CHANGE_BIAS", CHANGE_BIAS),
        ("CALL_FUEL", isa.INSTRUCTIONS[Op.CALL].fuel), ("SLOW", SLOW), ("RARE_ILLEGAL", RARE_ILLEGAL),
    ):  # fmt: skip
        say(name, value)
    for at, field in enumerate(RECORD):
        say(f"AT_{field.upper()}", at)
    for stop in Stop:
        say(f"STOP_{stop.name}", stop)
    for call in System:
        say(f"SYS_{call.name}", call)
    for op, code in RARE.items():
        say(f"RARE_{op.name}", code)
    for op, code in CODES.items():
        say(f"K_{op.name}", code)
    return "\n".join([*lines, END])


def generated(text: str) -> str:
    """A shader's text with its block of constants as it has to be."""
    before, rest = text.split(BEGIN)
    return before + constants() + rest.split(END)[1]


def main() -> None:
    """Write the block into the shader."""
    SHADER.write_text(generated(SHADER.read_text()))


if __name__ == "__main__":
    main()
