"""The batch drainer's model on the CPU: what mailbox_runtime.wgsl computes, in Python.

Owns: a device for machines without a GPU and for tests. It runs no registered shaders. Equal rows in equal order give
equal answers on this and on a GPU; a test holds that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toolchain.mailbox import layout as m
from toolchain.mailbox.allocator import Heap
from toolchain.mailbox.device import LIMIT_GROUPS, CommandError, Execute

if TYPE_CHECKING:
    from toolchain.mailbox.device import Rows

HEAP_BYTES = 16 << 20
WINDOW_WORDS = m.WINDOW_SIZE // 4
_BODY = m.SLOT_BODY >> 2
_HEAP_WORDS = 4


class Model:
    """A device on the CPU.

    Args:
        heap_bytes: size of the heap.
    """

    name = "model on the CPU"
    features = 0
    shaders: Sequence[str] = ()

    def __init__(self, heap_bytes: int = HEAP_BYTES) -> None:
        self.heap_bytes = heap_bytes
        self.heap = Heap(heap_bytes)
        self.window = [0] * WINDOW_WORDS
        self.dispatches = 0

    def drain(self, rows: Rows) -> tuple[Any, Any]:
        """Run rows in their order."""
        self.dispatches += 1
        results, errors = [], []
        for row in rows.tolist():
            result, error = self._run(row)
            results.append(0 if error else result)
            errors.append(error)
        return results, errors

    def execute(self, work: Execute) -> int:
        """No shader is registered here."""
        raise CommandError(m.ERROR_NOT_SUPPORTED)

    def limit(self, number: int) -> int | None:
        """Limits of a device without shaders: 0."""
        return 0 if number <= LIMIT_GROUPS else None

    def close(self) -> None:
        """Nothing is held."""

    def _run(self, row: list[int]) -> tuple[int, int]:
        opcode = row[0] >> m.OPCODE_SHIFT
        body = row[_BODY:]
        used = {m.OP_ALLOC: 1, m.OP_FREE: 1, m.OP_MMIO_READ: 2, m.OP_MMIO_WRITE: 3, m.OP_PING: 2}[opcode]
        if any(body[used:]):
            return 0, m.ERROR_BAD_FIELD
        if opcode == m.OP_ALLOC:
            return self.heap.allocate(body[0])
        if opcode == m.OP_FREE:
            return self.heap.free(body[0])
        if opcode == m.OP_PING:
            return body[0] | body[1] << 32, 0
        return self._register(opcode == m.OP_MMIO_WRITE, *body[:3])

    def _register(self, write: bool, window: int, offset: int, value: int) -> tuple[int, int]:
        if offset % 4:
            return 0, m.ERROR_MISALIGNED
        index = offset // 4
        if window == m.WINDOW_SCRATCH and index < WINDOW_WORDS:
            before = self.window[index]
            if write:
                self.window[index] = value
            return before, 0
        if window == m.WINDOW_HEAP and index < _HEAP_WORDS and not write:
            heap = self.heap
            return (heap.size, heap.free_bytes, heap.largest(), heap.used)[index], 0
        return 0, m.ERROR_NOT_GRANTED
