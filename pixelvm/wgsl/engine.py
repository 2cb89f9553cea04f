"""The WGSL engine: many machines at once, each in bounded slices, on whatever adapter there is.

Owns the way of a batch: states onto the device, dispatches until every machine stops, the hosts' answers between two
dispatches, states back. What a step does stands in shaders/pixel_vm.wgsl, what a host does is the host's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pixelvm import isa
from pixelvm.host import Host
from pixelvm.isa import Stop, System
from pixelvm.program import Program
from pixelvm.state import State
from pixelvm.wgsl import layout
from pixelvm.wgsl.decode import decode
from pixelvm.wgsl.layout import FIELD
from toolchain.errors import InputError, ToolError
from toolchain.gpu import wgsl
from toolchain.gpu.device import Buffer, Device, DeviceLost
from toolchain.gpu.kernels import Kernel

STAGE = "vm"
WORD = 4  # bytes
STEPS = layout.STEPS_MAX  # of one dispatch
GROUPS_MAX = (
    65_535 * layout.WORKGROUP
)  # machines of one dispatch (WebGPU's limit of workgroups in one direction)
STILL_MAX = 4  # dispatches in which a machine may get nowhere; clearing locals before a `set` takes one
Words = NDArray[np.uint32]


class Machine(NamedTuple):
    """One machine of a batch; ``state`` is changed in place."""

    program: Program
    state: State
    host: Host


class Gpu:
    """An open device and the shader on it."""

    def __init__(self, device: Device) -> None:
        self.device = device
        # Checked: without the bounds that naga adds to loops, lanes of lavapipe (Mesa 22.3) that have left the inner
        # loop go on to change their machine.
        self.kernel: Kernel = device.kernel(wgsl.load(layout.SHADER.name))
        limits = device.limits
        self.bytes_max = min(limits["max-buffer-size"], limits["max-storage-buffer-binding-size"])


@lru_cache(maxsize=1)
def _opened() -> Gpu:
    return Gpu(Device())


def gpu() -> Gpu:
    """The device of this process, opened at the first call; another one where the last was lost.

    Raises:
        ToolError: there is none.
    """
    if _opened().device.lost:
        _opened.cache_clear()
    return _opened()


def run(program: Program, state: State, host: Host) -> Stop:
    """Run one machine until it halts, traps or wants more fuel, as ``reference.run`` does."""
    return run_many([Machine(program, state, host)])[0]


def run_many(
    machines: Sequence[tuple[Program, State, Host]], *, steps: int = layout.STEPS_MAX, on: Gpu | None = None
) -> list[Stop]:
    """Run each machine until it halts, traps or wants more fuel than its state has.

    Args:
        machines: as ``Machine``; programs are within bounds (``program.checked``), the same object is stored once.
        steps: of one dispatch, at most ``layout.STEPS_MAX``.
        on: where; None is the device of this process.

    Returns:
        Why each stopped. Every state is as the reference's would be.

    Raises:
        InputError: ``steps`` are too many for one dispatch.
        ToolError: there is no device, it was lost, or it does not run the shader; then no state was changed.
    """
    if not 1 <= steps <= layout.STEPS_MAX:
        raise InputError(f"{steps} steps of one dispatch; expected 1 to {layout.STEPS_MAX}", stage=STAGE)
    named = [Machine(*machine) for machine in machines]
    running = [machine for machine in named if machine.state.stop in (Stop.RUNNING, Stop.FUEL)]
    on = on or gpu()
    for part in parts(running, on.bytes_max):
        batch = Batch(on, part)
        batch.run(steps)
        batch.finish()
    return [machine.state.stop for machine in named]


def parts(machines: Sequence[Machine], limit: int) -> Iterator[Sequence[Machine]]:
    """Batches whose every buffer the device binds, machines with as much memory together."""
    ordered = sorted(machines, key=lambda machine: len(machine.state.memory))
    begin = memory = code = 0
    seen: set[int] = set()
    for at, machine in enumerate(ordered):
        count = at - begin + 1
        here = len(machine.state.memory)
        words = 0 if id(machine.program) in seen else WORD * (len(machine.program.code) + 1)
        other = here != len(ordered[begin].state.memory)
        full = max(memory + here + WORD * layout.FRAME_ROWS, code + words) > limit or count > GROUPS_MAX
        if at > begin and (full or other):
            yield ordered[begin:at]
            begin, memory, code, seen = at, 0, 0, set()
            words = WORD * (len(machine.program.code) + 1)
        memory += here + WORD * layout.FRAME_ROWS
        code += words
        seen.add(id(machine.program))
    if machines:
        yield ordered[begin:]


class Batch:
    """Machines with as much memory each, on the device until the last of them stops."""

    def __init__(self, on: Gpu, machines: Sequence[Machine]) -> None:
        self.on, self.device, self.machines = on, on.device, machines
        self.count = len(machines)
        self.memory = len(machines[0].state.memory) // WORD
        self.records = np.zeros((self.count, layout.WORDS), np.uint32)
        self.still = np.zeros(self.count, np.uint32)  # dispatches since a machine last spent fuel or asked
        self.read = [machine.state.read for machine in machines]
        code = self._programs()
        self.buffers: dict[str, Buffer] = {
            "active": self.device.buffer(WORD * self.count, "active"),
            "code": self.device.upload(code, "code"),
            "records": self.device.buffer(self.records.nbytes, "records"),
            "stacks": self.device.buffer(WORD * isa.STACK_SLOTS * self.count, "stacks"),
            "memories": self.device.buffer(self._size(), "memories"),
            "posts": self.device.buffer(WORD * layout.QUEUE * layout.POST * self.count, "posts"),
        }
        self._upload()

    def _size(self) -> int:
        return WORD * (layout.FRAME_ROWS + self.memory) * self.count

    def _programs(self) -> Words:
        numbers: dict[int, int] = {}
        programs: list[Program] = []
        for machine in self.machines:
            if id(machine.program) not in numbers:
                numbers[id(machine.program)] = len(programs)
                programs.append(machine.program)
        code, starts = decode(programs)
        self.records[:, FIELD["code"]] = [starts[numbers[id(m.program)]] for m in self.machines]
        return code

    # --- states onto the device and back -----------------------------------------------------------------

    def _upload(self) -> None:
        states = [machine.state for machine in self.machines]
        records = self.records
        for name in ("pc", "fuel", "result", "seed", "written"):
            records[:, FIELD[name]] = [getattr(state, name) for state in states]
        records[:, FIELD["depth"]] = [len(state.stack) for state in states]
        records[:, FIELD["frames"]] = [len(state.locals) for state in states]
        records[:, FIELD["memory"]] = WORD * self.memory
        records[:, FIELD["known"]] = isa.LOCALS
        self._upload_stacks(states)
        self._upload_frames(states)
        if self.memory:
            memory = np.frombuffer(b"".join(state.memory for state in states), "<u4")
            self._write("memories", memory.reshape(self.count, self.memory), layout.FRAME_ROWS)

    def _upload_stacks(self, states: Sequence[State]) -> None:
        rows = np.zeros((self.count, max(len(state.stack) for state in states)), np.uint32)
        for row, state in zip(rows, states, strict=True):
            row[: len(state.stack)] = state.stack
        self._write("stacks", rows)

    def _upload_frames(self, states: Sequence[State]) -> None:
        """Frames in use; all of their locals count as known."""
        frames = max(len(state.locals) for state in states)
        rows = np.zeros((self.count, frames, layout.FRAME_WORDS), np.uint32)
        for row, state in zip(rows, states, strict=True):
            if len(state.locals) > 1 or any(state.locals[0]):
                row[1 : len(state.locals), 0] = state.returns
                row[: len(state.locals), 1:] = state.locals
        rows[:, :, 0] |= isa.LOCALS << layout.LINK_BITS
        self._write("memories", rows.reshape(self.count, -1))

    def _write(self, name: str, rows: Words, first: int = 0) -> None:
        """A machine's words in each row; on the device they lie word by word, machines side by side."""
        data = np.ascontiguousarray(rows.T)
        self.device.write(self.buffers[name], data, WORD * first * self.count)

    def _read(self, name: str, count: int, first: int = 0) -> Words:
        """The inverse of ``_write``."""
        line = WORD * self.count
        data = bytes(self.device.download(self.buffers[name], count * line, first * line))
        return np.ascontiguousarray(np.frombuffer(data, np.uint32).reshape(count, self.count).T)

    def finish(self) -> None:
        """All states as they are on the device, and nothing changed where that fails."""
        records = self.records
        stacks = self._read("stacks", int(records[:, FIELD["depth"]].max()))
        links, frames = self._frames(int(records[:, FIELD["frames"]].max()))
        size = WORD * self.memory
        contents = self._read("memories", self.memory, layout.FRAME_ROWS).tobytes()
        for at, (machine, record) in enumerate(zip(self.machines, records.tolist(), strict=True)):
            state, used = machine.state, record[FIELD["frames"]]
            for name in ("pc", "fuel", "result", "seed", "written"):
                setattr(state, name, record[FIELD[name]])
            state.stop = Stop(record[FIELD["stop"]])
            state.read = self.read[at]
            state.stack = stacks[at, : record[FIELD["depth"]]].tolist()
            state.returns = links[at, 1:used].tolist()
            state.locals = frames[at, :used].tolist()
            state.memory[:] = contents[at * size : (at + 1) * size]

    def _frames(self, count: int) -> tuple[Words, Words]:
        """Return addresses and locals; a local that is not known is 0."""
        tables = self._read("memories", count * layout.FRAME_WORDS)
        tables = tables.reshape(self.count, count, layout.FRAME_WORDS)
        links, frames = tables[:, :, 0], tables[:, :, 1:]
        known = np.empty((self.count, count), np.uint32)
        known[:, :-1] = links[:, 1:] >> layout.LINK_BITS
        innermost = self.records[:, FIELD["frames"]] - 1
        known[np.arange(self.count), innermost] = self.records[:, FIELD["known"]]
        unknown = np.arange(isa.LOCALS) >= known[:, :, np.newaxis]
        return links & np.uint32((1 << layout.LINK_BITS) - 1), np.where(unknown, np.uint32(0), frames)

    # --- the way of a batch ------------------------------------------------------------------------------

    def run(self, steps: int) -> None:
        """Dispatches until every machine has stopped; the states stay as they were until ``finish``."""
        active = np.arange(self.count, dtype=np.uint32)
        order = [self.buffers[name] for name in ("active", "code", "records", "stacks", "memories", "posts")]
        while len(active):
            self.device.write(self.buffers["active"], active)
            self.device.write(self.buffers["records"], self.records)
            numbers = np.array([len(active), steps, self.count], np.uint32)
            parameters = self.device.uniform(numbers.tobytes())
            groups = -(-len(active) // layout.WORKGROUP)
            self.device.dispatch(
                self.on.kernel, [parameters, *order], [groups], iterations=layout.loops(steps)
            )
            data = self.device.download(self.buffers["records"])
            before = self.records[active, FIELD["fuel"]]
            self.records = np.frombuffer(data, np.uint32).reshape(self.count, layout.WORDS).copy()
            self._moved(active, before)
            self._posted(active)
            self._answer(active)
            active = active[self.records[active, FIELD["stop"]] == Stop.RUNNING]

    def _moved(self, active: Words, fuel: Words) -> None:
        """No machine stands still: a driver that is wrong must not make an endless run of it."""
        rows = self.records[active]
        stands = (rows[:, FIELD["fuel"]] == fuel) & (rows[:, FIELD["stop"]] == Stop.RUNNING)
        stands &= rows[:, FIELD["request"]] == layout.NO_REQUEST
        self.still[active] = np.where(stands, self.still[active] + 1, 0)
        if self.still.max() > STILL_MAX:
            name = self.device.adapter.name
            raise ToolError(f"{name} does not run the Pixel VM's shader: a machine stands still", stage=STAGE)

    def _posted(self, active: Words) -> None:
        """Hand the posted calls to the hosts, each machine's in its order."""
        counts = self.records[active, FIELD["posted"]]
        most = int(counts.max())
        if not most:
            return
        size = WORD * layout.POST * most * self.count
        posts = np.frombuffer(self.device.download(self.buffers["posts"], size), np.uint32)
        posts = posts.reshape(most, layout.POST, self.count)
        for number, count in zip(active.tolist(), counts.tolist(), strict=True):
            if count:
                host = self.machines[number].host
                for call, *arguments in posts[:count, :, number].tolist():
                    _post(host, call, arguments)

    def _answer(self, active: Words) -> None:
        """Ask the hosts what the machines wait for."""
        records = self.records
        requests = records[active, FIELD["request"]]
        waiting = active[(requests != layout.NO_REQUEST) & (requests != layout.DRAIN)]
        for number in waiting.tolist():
            record = records[number]
            call = isa.SYSTEM_CALLS[int(record[FIELD["request"]])]
            first, second = int(record[FIELD["first"]]), int(record[FIELD["second"]])
            answers = self._call(number, call.number, first, second)
            assert len(answers) == call.pushes
            answer, behind = [*answers, 0, 0][:2]
            for name, value in (
                ("answer", answer), ("behind", behind), ("pops", call.pops), ("pushes", call.pushes),
                ("cost", call.fuel),
            ):  # fmt: skip
                record[FIELD[name]] = value & isa.MASK

    def _call(self, number: int, call: System, first: int, second: int) -> tuple[int, ...]:
        """What a host answers; ``second`` was the top of the stack, ``first`` the value below it."""
        host = self.machines[number].host
        if call is System.GETC:
            byte = host.get(self.read[number])
            if byte is None:
                return (isa.MASK,)
            self.read[number] = (self.read[number] + 1) & isa.MASK
            return (byte & 0xFF,)
        if call is System.TIME:
            return (host.milliseconds(),)
        if call is System.SIZE:
            return host.size()
        if call is System.PIXEL:
            return (host.pixel(first, second),)
        if call is System.SEND:
            return (int(host.send(second)),)
        assert call is System.RECEIVE
        word = host.receive()
        return (0, 0) if word is None else (word, 1)


def _post(host: Host, call: int, arguments: Sequence[int]) -> None:
    if call == System.PUTC:
        host.put(arguments[0], arguments[1])
    elif call == System.PLOT:
        host.plot(arguments[0], arguments[1], arguments[2])
    else:
        host.show()


__all__ = ["DeviceLost", "Gpu", "Machine", "gpu", "run", "run_many"]
