"""The compatibility page: four registers, one command at a time, no negotiation.

Owns: the hand-over by DOORBELL and what a 16-bit payload stands for. Never runs a command; the service does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from toolchain.mailbox import layout as m
from toolchain.mailbox.device import CommandError
from toolchain.mailbox.memory import MASK32, Memory
from toolchain.mailbox.operations import Operations

_PAYLOAD = 0xFFFF
_BYTE = 0xFF
_SLOT = struct.Struct("<16I")
_PLACED = (
    m.OP_GPU_EXECUTE,
    m.OP_MMIO_WRITE,
    m.OP_VM_RUN,
)  # the payload is the place of a slot in the data area
_BODY = m.SLOT_BODY >> 2

Run = Callable[[list[int]], tuple[int, int]]


def start(memory: Memory) -> None:
    """The registers at the start of a service; a command that an earlier one had begun is ABORTED."""
    words = memory.words
    if words[m.DOORBELL >> 2] and words[m.STATUS >> 2] & m.STATUS_BUSY:
        words[m.RESP >> 2] = m.ERROR_ABORTED
        words[m.STATUS >> 2] = m.STATUS_READY | m.STATUS_COMPLETE | m.STATUS_ERROR
        words[m.DOORBELL >> 2] = 0
    elif not words[m.STATUS >> 2] & m.STATUS_COMPLETE:
        words[m.STATUS >> 2] = m.STATUS_READY


def serve(memory: Memory, run: Run, operations: Operations) -> bool:
    """Answer the command that stands; whether it was a HALT that was carried out.

    Args:
        memory: the shared memory.
        run: runs a row.
        operations: console and counters, for the commands that answer into a register here.

    Raises:
        DeviceLost: after an answer that says so.
    """
    words = memory.words
    words[m.STATUS >> 2] = m.STATUS_BUSY
    command = words[m.CMD >> 2]
    result, error = 0, m.ERROR_DEVICE_LOST
    try:
        result, error = _run(memory, command, run, operations)
    except CommandError as refused:
        error = refused.error
    finally:
        words[m.RESP >> 2] = error if error else result & MASK32
        words[m.STATUS >> 2] = m.STATUS_READY | m.STATUS_COMPLETE | (m.STATUS_ERROR if error else 0)
        words[m.DOORBELL >> 2] = 0
    return command >> m.OPCODE_SHIFT == m.OP_HALT and not error


def _run(memory: Memory, command: int, run: Run, operations: Operations) -> tuple[int, int]:
    opcode, payload = command >> m.OPCODE_SHIFT, command & _PAYLOAD
    row = [0] * (m.SLOT_SIZE >> 2)
    row[0] = opcode << m.OPCODE_SHIFT
    if opcode in _PLACED:
        at = m.DATA_AT + payload * m.COMPATIBLE_UNIT
        if not memory.holds(at, m.SLOT_SIZE):
            return 0, m.ERROR_OUT_OF_RANGE
        slot = list(_SLOT.unpack(memory.data(at, m.SLOT_SIZE)))
        if slot[0] >> m.OPCODE_SHIFT != opcode:
            return 0, m.ERROR_BAD_FIELD
        return run([slot[0], 0, 0, 0, *slot[_BODY:]])
    if opcode == m.OP_UART_WRITE:
        if payload > _BYTE:
            return 0, m.ERROR_BAD_FIELD
        row[0] |= m.FLAG_INLINE
        row[m.UART_WRITE_LENGTH >> 2] = 1
        row[m.UART_WRITE_TEXT >> 2] = payload
    elif opcode == m.OP_UART_READ:
        data = b"" if payload else operations.console.read(1)
        return (data[0], 0) if data else (0, m.ERROR_BAD_FIELD if payload else m.ERROR_NO_DATA)
    elif opcode == m.OP_STATISTICS:
        known = payload < m.COUNTER_COUNT
        return (operations.counters.values[payload], 0) if known else (0, m.ERROR_BAD_FIELD)
    elif opcode == m.OP_MMIO_READ:
        row[m.MMIO_READ_REGISTER >> 2] = payload
    elif opcode == m.OP_SYSCALL:
        row[m.SYSCALL_NUMBER >> 2] = payload
    elif opcode in (m.OP_ALLOC, m.OP_FREE):
        row[_BODY] = payload * m.COMPATIBLE_UNIT
    elif opcode == m.OP_PING:
        row[m.PING_VALUE >> 2] = payload
    elif payload:
        return 0, m.ERROR_BAD_FIELD
    return run(row)
