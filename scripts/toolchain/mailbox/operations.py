"""The operations that the CPU runs, and the checks of every command's fields against the shared memory.

Owns: what each opcode means apart from the device's own. A handler gets a private copy of the slot and gives (result,
error bits). Never touches a ring.
"""

from __future__ import annotations

import os
import select
import struct
import time
from collections.abc import Callable
from math import prod
from typing import Protocol

from toolchain.errors import InputError
from toolchain.mailbox import layout as m
from toolchain.mailbox.device import Buffer, CommandError, Device, Execute
from toolchain.mailbox.memory import MASK32, MASK64, Memory
from toolchain.printable import printable

_ROW = struct.Struct(f"<{m.BUFFER_SIZE // 4}I")
_NAME_MAX = 256
_WORD = 4


class Console(Protocol):
    """The service's end of the UART."""

    def write(self, data: bytes) -> int:
        """Take bytes without waiting; how many were taken."""

    def read(self, size: int) -> bytes:
        """Bytes that wait, up to ``size``, without waiting."""


class Streams:
    """A console on two file descriptors; None for a side that is not there."""

    def __init__(self, out: int | None, source: int | None = None) -> None:
        self.out = out
        self.source = source

    def write(self, data: bytes) -> int:
        """Take what fits; a pipe that can be written takes at least UART_MAX bytes (POSIX, PIPE_BUF)."""
        if self.out is None:
            return len(data)
        try:
            return os.write(self.out, data) if select.select([], [self.out], [], 0)[1] else 0
        except OSError:
            self.out = None  # nobody listens any more
            return len(data)

    def read(self, size: int) -> bytes:
        """What waits."""
        if self.source is None or not select.select([self.source], [], [], 0)[0]:
            return b""
        try:
            data = os.read(self.source, size)
        except OSError:
            data = b""
        if not data:
            self.source = None  # it has ended
        return data


# (program, state or None, fuel, seed) -> (stop code, state, console output); InputError for what is no program or state
VirtualMachine = Callable[[bytes, bytes | None, int, int], tuple[int, bytes, bytes]]
Answer = tuple[int, int]


class Counters:
    """The counters of STATISTICS, by their names in the specification."""

    def __init__(self) -> None:
        # a view of shared memory where another process reads them
        self.values: list[int] | memoryview[int] = [0] * m.COUNTER_COUNT

    def add(self, counter: int, amount: int = 1) -> None:
        """Count."""
        self.values[counter] = (self.values[counter] + amount) & MASK64

    def named(self) -> dict[str, int]:
        """Name -> value."""
        return {row["name"]: self.values[row["value"]] for row in m.rows()["counter"]}


class Operations:
    """Every operation that the CPU runs or prepares.

    Args:
        memory: the shared memory.
        device: for what shaders do.
        console: the UART.
        vm: runs Pixel VM programs; None where there is no Pixel VM.
        log: takes the lines of the call LOG.
    """

    def __init__(
        self,
        memory: Memory,
        device: Device,
        console: Console,
        vm: VirtualMachine | None = None,
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.memory = memory
        self.device = device
        self.console = console
        self.vm = vm
        self.log = log
        self.counters = Counters()
        self._handlers: dict[int, Callable[[list[int]], Answer]] = {
            m.OP_UART_WRITE: self._uart_write,
            m.OP_UART_READ: self._uart_read,
            m.OP_GPU_EXECUTE: self._execute,
            m.OP_SYSCALL: self._call,
            m.OP_TIMESTAMP: lambda row: (time.monotonic_ns(), 0),
            m.OP_VM_RUN: self._vm_run,
            m.OP_STATISTICS: self._statistics,
            m.OP_PING: lambda row: (_quad(row, m.PING_VALUE), 0),
            m.OP_HALT: lambda row: (0, 0),
        }
        self._unused = {code: _unused(op) for code, op in m.operations().items()}

    def judge(self, row: list[int]) -> int:
        """The error of a row before anything is done: opcode, flags, reserved bytes; 0 when there is none."""
        operation = m.operations().get(row[0] >> m.OPCODE_SHIFT)
        if operation is None:
            return m.ERROR_UNKNOWN_OPCODE
        if row[0] & m.FLAGS_MASK & ~operation.flags:
            return m.ERROR_BAD_FLAGS
        if any(row[index] for index in self._unused[operation.opcode]):
            return m.ERROR_BAD_FIELD
        return 0

    def run(self, row: list[int]) -> Answer:
        """Run one row on the CPU, or as a dispatch of its own; (result, error bits).

        Raises:
            DeviceLost: the device went while it ran.
        """
        error = self.judge(row)
        if error:
            return 0, error
        try:
            result, error = self._handlers[row[0] >> m.OPCODE_SHIFT](row)
        except CommandError as refused:
            return 0, refused.error
        return (0, error) if error else (result & MASK64, 0)

    # --- fields ----------------------------------------------------------------------------------------------

    def _range(self, offset: int, length: int) -> memoryview:
        if not self.memory.holds(offset, length):
            raise CommandError(m.ERROR_OUT_OF_RANGE)
        return self.memory.data(offset, length)

    # --- operations ------------------------------------------------------------------------------------------

    def _uart_write(self, row: list[int]) -> Answer:
        offset, length = _word(row, m.UART_WRITE_OFFSET), _word(row, m.UART_WRITE_LENGTH)
        if row[0] & m.FLAG_INLINE:
            if length > m.INLINE_MAX or offset:
                return 0, m.ERROR_BAD_FIELD
            data = struct.pack("<10I", *row[m.UART_WRITE_TEXT >> 2 :])[:length]
        else:
            if length > m.UART_MAX or any(row[m.UART_WRITE_TEXT >> 2 :]):
                return 0, m.ERROR_BAD_FIELD
            data = bytes(self._range(offset, length))
        taken = self.console.write(data) if data else 0
        self.counters.add(m.COUNTER_UART_BYTES, taken)
        return taken, 0

    def _uart_read(self, row: list[int]) -> Answer:
        offset, length = _word(row, m.UART_READ_OFFSET), _word(row, m.UART_READ_LENGTH)
        if length > m.UART_MAX:
            return 0, m.ERROR_BAD_FIELD
        room = self._range(offset, length)
        data = self.console.read(length) if length else b""
        room[: len(data)] = data
        return len(data), 0

    def _execute(self, row: list[int]) -> Answer:
        device = self.device
        if not device.features & m.FEATURE_EXECUTE:
            return 0, m.ERROR_NOT_SUPPORTED
        shader, count = _word(row, m.GPU_EXECUTE_SHADER), _word(row, m.GPU_EXECUTE_COUNT)
        if shader >= len(device.shaders):
            return 0, m.ERROR_UNKNOWN_SHADER
        groups = tuple(_word(row, m.GPU_EXECUTE_GROUPS_X + _WORD * axis) for axis in range(3))
        if not all(0 < n <= m.GROUPS_MAX for n in groups) or prod(groups) > m.GROUPS_TOTAL:
            return 0, m.ERROR_BAD_DISPATCH
        if count > m.BUFFERS_MAX:
            return 0, m.ERROR_BAD_FIELD
        table = bytes(self._range(_word(row, m.GPU_EXECUTE_TABLE), count * m.BUFFER_SIZE))
        buffers = [self._buffer(*_ROW.unpack_from(table, n * m.BUFFER_SIZE)) for n in range(count)]
        _check_overlap(buffers, [_ROW.unpack_from(table, n * m.BUFFER_SIZE) for n in range(count)])
        self.counters.add(m.COUNTER_EXECUTES)
        return device.execute(Execute(shader, (groups[0], groups[1], groups[2]), buffers)), 0

    def _buffer(self, offset: int, length: int, binding: int, access: int) -> Buffer:
        if access & ~(m.ACCESS_READ | m.ACCESS_WRITE | m.ACCESS_HEAP):
            raise CommandError(m.ERROR_BAD_FIELD)
        if length == 0 or length % _WORD or offset % _WORD:
            raise CommandError(m.ERROR_MISALIGNED)
        reads, writes = bool(access & m.ACCESS_READ), bool(access & m.ACCESS_WRITE)
        if not access & m.ACCESS_HEAP:
            return Buffer(binding, self._range(offset, length), None, length, reads, writes)
        if offset % m.HEAP_GRANULE:
            raise CommandError(m.ERROR_MISALIGNED)
        if offset + length > self.device.heap_bytes:
            raise CommandError(m.ERROR_OUT_OF_RANGE)
        return Buffer(binding, memoryview(b""), offset, length, reads, writes)

    def _call(self, row: list[int]) -> Answer:
        number = _word(row, m.SYSCALL_NUMBER)
        a, b = _quad(row, m.SYSCALL_A), _quad(row, m.SYSCALL_B)
        if _word(row, m.SYSCALL_PAD):
            return 0, m.ERROR_BAD_FIELD
        if number == m.CALL_VERSION:
            return m.VERSION, 0
        if number == m.CALL_RANDOM:
            return int.from_bytes(os.urandom(8), "little"), 0
        if number == m.CALL_WALL_CLOCK:
            return time.time_ns(), 0
        if number == m.CALL_DEVICE_LIMIT:
            limit = self.device.limit(a)
            return (0, m.ERROR_BAD_FIELD) if limit is None else (limit, 0)
        if number in (m.CALL_SHADER_FIND, m.CALL_LOG):
            return self._named(number, a, b)
        return 0, m.ERROR_NOT_SUPPORTED

    def _named(self, number: int, offset: int, length: int) -> Answer:
        if length > _NAME_MAX:
            return 0, m.ERROR_BAD_FIELD
        text = bytes(self._range(offset, length)).decode("utf-8", "replace")
        if number == m.CALL_LOG:
            self.log(printable(text, "", "?"))
            return length, 0
        if text not in self.device.shaders:
            return 0, m.ERROR_UNKNOWN_SHADER
        return self.device.shaders.index(text), 0

    def _vm_run(self, row: list[int]) -> Answer:
        if self.vm is None:
            return 0, m.ERROR_NOT_SUPPORTED
        fuel, resume = _word(row, m.VM_RUN_FUEL), _word(row, m.VM_RUN_RESUME)
        if fuel == 0 or resume > 1:
            return 0, m.ERROR_BAD_FIELD
        program = bytes(self._range(_word(row, m.VM_RUN_PROGRAM), _word(row, m.VM_RUN_LENGTH)))
        room = self._range(_word(row, m.VM_RUN_STATE), _word(row, m.VM_RUN_ROOM))
        try:
            seed = _word(row, m.VM_RUN_SEED)
            stop, state, output = self.vm(program, bytes(room) if resume else None, fuel, seed)
        except InputError:
            return 0, m.ERROR_BAD_PROGRAM
        if len(state) > len(room):
            return 0, m.ERROR_OUT_OF_RANGE
        room[: len(state)] = state
        for at in range(0, len(output), m.UART_MAX):
            self.counters.add(m.COUNTER_UART_BYTES, self.console.write(output[at : at + m.UART_MAX]))
        return stop & MASK32 | len(state) << 32, 0

    def _statistics(self, row: list[int]) -> Answer:
        offset, length = _word(row, m.STATISTICS_OFFSET), _word(row, m.STATISTICS_LENGTH)
        if length % 8:
            return 0, m.ERROR_MISALIGNED
        room = self._range(offset, length)
        values = self.counters.values[: length // 8]
        room[: 8 * len(values)] = struct.pack(f"<{len(values)}Q", *values)
        return 8 * len(values), 0


def _word(row: list[int], offset: int) -> int:
    return row[offset >> 2]


def _quad(row: list[int], offset: int) -> int:
    return row[offset >> 2] | row[(offset >> 2) + 1] << 32


def _unused(operation: m.Operation) -> tuple[int, ...]:
    """Words of the body that no field covers."""
    covered = {w for f in operation.fields for w in range(f.offset >> 2, (f.offset + f.size) >> 2)}
    return tuple(sorted(set(range(m.SLOT_BODY >> 2, m.SLOT_SIZE >> 2)) - covered))


def _check_overlap(buffers: list[Buffer], rows: list[tuple[int, ...]]) -> None:
    """Distinct bindings; what is written is nobody else's."""
    if len({buffer.binding for buffer in buffers}) != len(buffers):
        raise CommandError(m.ERROR_BAD_DISPATCH)
    for n, (first, a) in enumerate(zip(buffers, rows, strict=True)):
        for second, b in zip(buffers[n + 1 :], rows[n + 1 :], strict=True):
            same = (first.heap is None) == (second.heap is None)
            overlap = a[0] < b[0] + b[1] and b[0] < a[0] + a[1]
            if same and overlap and (first.writes or second.writes):
                raise CommandError(m.ERROR_BAD_DISPATCH)
