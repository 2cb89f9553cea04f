"""The kernel's engine on this machine: ``kernel/vm/run.s``, assembled by the toolchain and called as it is.

Owns the assembling, and the way of a state into a machine of ``kernel/include/vm.inc`` and back. So the very code that
runs programs on bare metal is held to the reference, and timed. A state that cannot be one of its program goes to the
reference as a whole.
"""

from __future__ import annotations

import ctypes
import struct
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

from pixelvm import isa, reference
from pixelvm.host import Host, answered
from pixelvm.isa import Stop, System
from pixelvm.program import Program
from pixelvm.state import State, is_sound
from pixelvm.x86 import pages

STAGE = "vm"
SLICE = 1 << 27  # fuel for one stay in the code, so that an interruption is not kept waiting
TREE = Path(__file__).resolve().parents[1] / "kernel"
UNIT = Path("vm/run.s")
_HEAD = struct.Struct("<QQ12I")  # up to `count`; the slot below the stack follows
_STACK, _RETURNS, _LOCALS, _SIZE = 0x40, 0x440, 0x540, 0x1540  # VM_* of vm.inc; a test compares them
_CELL = 8
_FIELDS = ("pc", "fuel", "result", "seed", "written", "read")


class Code(NamedTuple):
    """The kernel's routines in memory: ``pages`` hold them, the rest are addresses."""

    pages: pages.Pages
    decode: int
    run: int


@cache
def code() -> Code:
    """Assemble ``vm/run.s`` and make it executable.

    Raises:
        InputError: the source does not assemble, or this machine does not execute x86-64 code.
    """
    from toolchain import link
    from toolchain.assemble import assemble
    from toolchain.encode import Encoder
    from toolchain.layout import Layout, OutputSection
    from toolchain.preprocess import Preprocessor

    pages.check_machine()
    sections = (OutputSection(".text", (".text",), "ax"), OutputSection(".rodata", (".rodata",), "a"))
    layout = Layout(str(UNIT), "vm_run", 0, 0, (), (), sections)
    with Encoder() as encoder:
        made = assemble(Preprocessor(TREE, [TREE / "include"]).run(UNIT), encoder)
    image = link.link([made], layout, lines=False)
    data = bytearray(max(section.address + section.size for section in image.sections))
    for section in image.sections:
        data[section.address : section.address + len(section.data)] = section.data
    held = pages.code(bytes(data))
    places = {symbol.name: held.address + symbol.address for symbol in image.symbols}
    return Code(held, places["vm_decode"], places["vm_run"])


@lru_cache(maxsize=64)
def _cells(program: Program) -> ctypes.Array[ctypes.c_char]:
    """The decoded program."""
    words = struct.pack(f"<{len(program.code)}I", *program.code)
    made = ctypes.create_string_buffer(_CELL * (len(program.code) + 1))
    decode = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_uint32, ctypes.c_void_p)(code().decode)
    decode(words, len(program.code), ctypes.addressof(made))
    return made


def run(program: Program, state: State, host: Host) -> Stop:
    """Run until it halts, traps or wants more fuel than ``state.fuel``; as ``reference.run``.

    Raises:
        InputError: this machine does not execute x86-64 code.
    """
    if state.stop is Stop.FUEL:
        state.stop = Stop.RUNNING
    if state.stop is not Stop.RUNNING:
        return state.stop
    if not is_sound(state, program):
        return reference.run(program, state, host)
    cells = _cells(program)
    step = ctypes.CFUNCTYPE(ctypes.c_uint32, ctypes.c_void_p)(code().run)
    machine = ctypes.create_string_buffer(_SIZE)
    memory, held = pages.address_of(state.memory)
    kept = state.fuel
    try:
        while True:
            state.fuel = min(kept, SLICE)
            kept -= state.fuel
            _into(state, machine, ctypes.addressof(cells), memory, len(program.code))
            call = step(ctypes.addressof(machine))
            stop = _out_of(machine, state)
            kept += state.fuel
            state.fuel = kept
            if call:
                depth = len(state.stack)
                arguments = struct.unpack_from("<4I", machine, _STACK + 4 * min(depth, isa.STACK_SLOTS - 4))
                shift = depth - min(depth, isa.STACK_SLOTS - 4)
                state.stack += answered(host, System(call - 1), state, arguments[shift:])
            elif stop is Stop.FUEL and kept >= isa.cost(program.code[state.pc]).fuel:
                state.stop = Stop.RUNNING
            else:
                return stop
    finally:
        del held


def _into(state: State, machine: ctypes.Array[ctypes.c_char], cells: int, memory: int, count: int) -> None:
    _HEAD.pack_into(
        machine, 0, cells, memory, state.pc, state.fuel, state.stop, state.result, state.seed, state.written,
        state.read, len(state.stack), len(state.locals), len(state.memory), count, 0,
    )  # fmt: skip
    struct.pack_into(f"<{len(state.stack)}I", machine, _STACK, *state.stack)
    struct.pack_into(f"<{len(state.returns)}I", machine, _RETURNS, *state.returns)
    values = [value for frame in state.locals for value in frame]
    struct.pack_into(f"<{len(values)}I", machine, _LOCALS, *values)


def _out_of(machine: ctypes.Array[ctypes.c_char], state: State) -> Stop:
    numbers = _HEAD.unpack_from(machine)
    (state.pc, state.fuel, stop, state.result, state.seed, state.written, state.read, depth, frames) = (
        numbers[2:11]
    )
    state.stop = Stop(stop)
    state.stack = list(struct.unpack_from(f"<{depth}I", machine, _STACK))
    state.returns = list(struct.unpack_from(f"<{frames - 1}I", machine, _RETURNS))
    values = struct.unpack_from(f"<{frames * isa.LOCALS}I", machine, _LOCALS)
    state.locals = [list(values[at : at + isa.LOCALS]) for at in range(0, len(values), isa.LOCALS)]
    return state.stop
