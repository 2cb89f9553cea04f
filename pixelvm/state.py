"""The state of a machine: what can be saved, carried to another engine and resumed there, and nothing else.

Owns the layout of the bytes (SPEC.md, "State") and the check of bytes from anybody. Two engines agree when these
bytes are equal: values above the top of the stack and the locals of frames that have ended are no part of it.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from pixelvm import isa, program
from pixelvm.isa import Stop
from pixelvm.program import Program
from toolchain.errors import InputError

STAGE = "vm"
MAGIC = b"PXST"


class Field(NamedTuple):
    """One 32-bit number of the header of a state."""

    name: str
    meaning: str


FIELDS = (
    Field("version", "1"),
    Field("stop", "why it does not run (table of stops)"),
    Field("pc", "index of the instruction to execute next"),
    Field("fuel", "fuel left"),
    Field("result", "operand of the `halt` that ended it, else 0"),
    Field("seed", "state of the random generator, never 0"),
    Field("written", "bytes written to the console so far, modulo 2^32"),
    Field("read", "bytes read from the console's input so far, modulo 2^32"),
    Field("depth", "values on the stack"),
    Field("frames", "frames in use, 1 or more"),
    Field("memory", "bytes of memory"),
)
DIGEST = 32  # bytes
_NUMBERS = struct.Struct(f"<{len(FIELDS)}I")
DIGEST_AT = len(MAGIC) + _NUMBERS.size
HEADER = DIGEST_AT + DIGEST
BYTES_MAX = HEADER + 4 * (isa.STACK_SLOTS + isa.FRAMES * (1 + isa.LOCALS)) + isa.MEMORY_MAX


class State:
    """A machine that stands still between two instructions.

    Attributes:
        pc: index of the next instruction; the number of instructions when it ran off the end.
        fuel: what is left, below 2^32.
        stop: why it stands; ``RUNNING`` when it can go on.
        result: operand of the ``halt`` that ended it.
        stack: values, unsigned, the top last.
        returns: return addresses, the innermost last.
        locals: ``isa.LOCALS`` values for each frame, the innermost frame last.
        memory: its bytes.
        seed: of ``random``.
        written: console output so far, in bytes.
        read: console input so far, in bytes.
    """

    __slots__ = (
        "fuel", "locals", "memory", "pc", "read", "result", "returns", "seed", "stack", "stop", "written",
    )  # fmt: skip

    def __init__(self, program: Program, *, fuel: int = 0, seed: int = isa.SEED_DEFAULT) -> None:
        self.pc = program.entry
        self.fuel = fuel & isa.MASK
        self.stop = Stop.RUNNING
        self.result = 0
        self.stack: list[int] = []
        self.returns: list[int] = []
        self.locals: list[list[int]] = [[0] * isa.LOCALS]
        self.memory = bytearray(program.memory)
        self.memory[: len(program.data)] = program.data
        self.seed = seed & isa.MASK or isa.SEED_DEFAULT
        self.written = 0
        self.read = 0

    def add_fuel(self, amount: int) -> None:
        """Give it more, up to what 32 bits hold; a machine that stopped for want of it can go on."""
        self.fuel = min(self.fuel + amount, isa.MASK)
        if self.stop is Stop.FUEL:
            self.stop = Stop.RUNNING


def is_sound(state: State, of: Program) -> bool:
    """Whether it can be a state of this program at all: an engine without checks of these reads no further."""
    return (
        len(state.memory) == of.memory
        and 0 <= state.pc <= len(of.code)
        and len(state.stack) <= isa.STACK_SLOTS
        and 1 <= len(state.locals) <= isa.FRAMES
        and len(state.returns) == len(state.locals) - 1
        and all(0 <= address <= len(of.code) for address in state.returns)
        and all(len(frame) == isa.LOCALS for frame in state.locals)
        and 0 <= state.fuel <= isa.MASK
    )


def save(state: State, of: Program) -> bytes:
    """The bytes of ``state``, a machine that runs ``of``."""
    numbers = _NUMBERS.pack(
        isa.VERSION, state.stop, state.pc, state.fuel, state.result, state.seed, state.written, state.read,
        len(state.stack), len(state.locals), len(state.memory),
    )  # fmt: skip
    words = [*state.stack, *state.returns, *(value for frame in state.locals for value in frame)]
    return b"".join(
        (MAGIC, numbers, program.digest(of), struct.pack(f"<{len(words)}I", *words), state.memory)
    )


def restore(data: bytes, of: Program, name: str = "state") -> State:
    """The state that ``save`` gave, for the same program.

    Args:
        data: anybody's bytes.
        of: the program that shall go on.
        name: begins the message of an error.

    Raises:
        InputError: it is no state, is of another version or program, or cannot be one of a machine.
    """
    if len(data) < HEADER or not data.startswith(MAGIC):
        raise _refuse(name, f"not a saved state; expected {MAGIC.decode()}")
    numbers = dict(zip((f.name for f in FIELDS), _NUMBERS.unpack_from(data, len(MAGIC)), strict=True))
    if numbers["version"] != isa.VERSION:
        raise _refuse(name, f"a state of version {numbers['version']}; expected {isa.VERSION}")
    if data[DIGEST_AT:HEADER] != program.digest(of):
        raise _refuse(name, "the state of another program; resume it with its own")
    _check(numbers, of, name)
    depth, frames = numbers["depth"], numbers["frames"]
    count = depth + frames - 1 + frames * isa.LOCALS
    if len(data) != HEADER + 4 * count + of.memory:
        raise _refuse(name, f"{len(data)} bytes; expected {HEADER + 4 * count + of.memory}")
    words = struct.unpack_from(f"<{count}I", data, HEADER)
    state = State(of, fuel=numbers["fuel"], seed=numbers["seed"])
    state.pc, state.stop, state.result = numbers["pc"], Stop(numbers["stop"]), numbers["result"]
    state.written, state.read = numbers["written"], numbers["read"]
    state.stack = list(words[:depth])
    state.returns = list(words[depth : depth + frames - 1])
    rest = words[depth + frames - 1 :]
    state.locals = [list(rest[at : at + isa.LOCALS]) for at in range(0, len(rest), isa.LOCALS)]
    state.memory[:] = data[HEADER + 4 * count :]
    if any(address > len(of.code) for address in state.returns):
        raise _refuse(name, f"a return address is none of {len(of.code)} instructions")
    return state


def _check(numbers: dict[str, int], of: Program, name: str) -> None:
    """Each number of the header lies in its range."""
    limits = {
        "pc": (0, len(of.code)),
        "result": (0, 255),
        "seed": (1, isa.MASK),
        "depth": (0, isa.STACK_SLOTS),
        "frames": (1, isa.FRAMES),
        "memory": (of.memory, of.memory),
    }
    for key, (low, high) in limits.items():
        if not low <= numbers[key] <= high:
            raise _refuse(name, f"{key} is {numbers[key]}; expected {low} to {high}")
    if numbers["stop"] not in list(Stop):
        raise _refuse(name, f"stop is {numbers['stop']}, which is none")


def _refuse(name: str, message: str) -> InputError:
    return InputError(f"{name}: {message}", stage=STAGE)
