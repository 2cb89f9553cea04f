"""What the service asks of a device, so that the model on the CPU and a GPU stand behind one interface.

Owns: the interface, the form of a dispatch, the one error by which a device says that it is gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from toolchain.mailbox import layout as m

if TYPE_CHECKING:
    import numpy as np

    Rows = np.ndarray[Any, np.dtype[np.uint32]]

LIMIT_INVOCATIONS, LIMIT_WORKGROUP_BYTES, LIMIT_BINDING_BYTES, LIMIT_GROUPS = range(4)
DRAINED = (m.OP_ALLOC, m.OP_FREE, m.OP_MMIO_READ, m.OP_MMIO_WRITE, m.OP_PING)  # what ``drain`` runs


class DeviceLost(Exception):
    """The device is gone: what it held is lost, and nothing further can be asked of it."""


class CommandError(Exception):
    """A command is answered with an error.

    Args:
        error: error bits of STATUS.
    """

    def __init__(self, error: int) -> None:
        super().__init__(m.error_name(error))
        self.error = error


class Buffer(NamedTuple):
    """One row of a GPU_EXECUTE's table, checked.

    Attributes:
        binding: of group 0.
        view: the bytes in the shared memory; empty for a part of the heap.
        heap: offset in the heap, or None.
        length: bytes.
        reads: copied to the device before.
        writes: copied back after.
    """

    binding: int
    view: memoryview
    heap: int | None
    length: int
    reads: bool
    writes: bool


class Execute(NamedTuple):
    """One dispatch of a registered shader, its ranges checked."""

    shader: int
    groups: tuple[int, int, int]
    buffers: Sequence[Buffer]


class Device(Protocol):
    """A device. Every method but ``close`` may raise ``DeviceLost``."""

    name: str
    features: int  # of the control page: FEATURE_EXECUTE, FEATURE_GPU
    heap_bytes: int
    shaders: Sequence[str]  # names of the registered shaders; the id is the place
    dispatches: int  # how often ``drain`` went to the device

    def drain(self, rows: Rows) -> tuple[Any, Any]:
        """Run rows whose opcodes are of ``DRAINED``, in their order: n results (64 bits), n error bits."""

    def execute(self, work: Execute) -> int:
        """Run one dispatch; nanoseconds on the device. Raises ``CommandError`` for what the device refuses."""

    def limit(self, number: int) -> int | None:
        """A limit of the device (call DEVICE_LIMIT), or None for no such limit."""

    def close(self) -> None:
        """Give the device back."""
