"""A client, the service and its device in one process: what a command costs where nobody has to be woken.

Owns: the session without doorbells that ``pxos bench mailbox`` measures beside the one of two processes. What the two
differ in is the system's: how soon it lets a process run that was woken.
"""

from __future__ import annotations

import time
from array import array

from toolchain.errors import ToolError
from toolchain.mailbox import layout as m
from toolchain.mailbox import native
from toolchain.mailbox.client import Client
from toolchain.mailbox.device import Device
from toolchain.mailbox.memory import Memory
from toolchain.mailbox.operations import Operations
from toolchain.mailbox.service import Service

STAGE = "bench"
_SECONDS = 10.0
_ONE_LOOK = 1


class _Silence:
    """Doorbells that nobody needs, a console that nobody reads."""

    def wait(self, seconds: float) -> bool:
        return False

    def notify(self, queue: int) -> None:
        pass

    def write(self, data: bytes) -> int:
        return len(data)

    def read(self, size: int) -> bytes:
        return b""


class Alone:
    """A session in one process on a device."""

    def __init__(self, device: Device) -> None:
        self.memory = Memory(bytearray(m.BYTES_DEFAULT))
        silence = _Silence()
        operations = Operations(self.memory, device, silence, None, lambda line: None)
        self.service = Service(
            self.memory, device, operations, silence, rings=native.NativeRings(self.memory)
        )
        self.service.start()
        self.client = Client(self.memory, lambda vector: None, m.FLAGS_MASK, self.service.turn)
        self.client.connect(_SECONDS)
        self.service.turn()
        self.code = native.code()
        queue = self.client.queues[0]
        self._state = array("Q", (queue.submitted, queue.consumed))

    def batches(self, count: int, header: int, mask: int) -> float:
        """Seconds of this process's own time for ``count`` batches, each of as many commands as can be open.

        Args:
            count: how many.
            header: of each command.
            mask: what of its index is its value, and its right result.

        Raises:
            ToolError: a batch was not answered at once, or wrongly.
        """
        base, state = native.address(self.memory), self._state.buffer_info()[0]
        began = time.process_time()
        for _ in range(count):
            end = self._state[0] + m.DEPTH
            self.code.burst(base, state, end, header, _ONE_LOOK, m.DEPTH, mask)
            self.service.turn()
            if self.code.burst(base, state, end, header, _ONE_LOOK, m.DEPTH, mask) != end:
                raise ToolError("the service has not answered a whole batch", stage=STAGE)
        return time.process_time() - began
