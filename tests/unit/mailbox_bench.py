"""A service and a client on one memory in one process: the client's waiting turns the service."""

from __future__ import annotations

import struct
from collections import deque

from toolchain.mailbox import layout as m
from toolchain.mailbox.client import Client
from toolchain.mailbox.device import Device
from toolchain.mailbox.memory import Memory
from toolchain.mailbox.model import Model
from toolchain.mailbox.operations import Operations, VirtualMachine
from toolchain.mailbox.rings import Rings
from toolchain.mailbox.service import Service

HEAP = 1 << 16
RINGS: list[type[Rings]] = [Rings]  # what a bench takes unless told otherwise
SECONDS = 10.0


class Lines:
    """Doorbells that are counted; waiting never waits."""

    def __init__(self) -> None:
        self.rung: deque[int] = deque()
        self.notified: list[int] = []

    def wait(self, seconds: float) -> bool:
        rang = bool(self.rung)
        self.rung.clear()
        return rang

    def notify(self, queue: int) -> None:
        self.notified.append(queue)


class Paper:
    """A console that is a sheet of paper."""

    def __init__(self, typed: bytes = b"") -> None:
        self.written = b""
        self.typed = typed

    def write(self, data: bytes) -> int:
        self.written += data
        return len(data)

    def read(self, size: int) -> bytes:
        taken, self.typed = self.typed[:size], self.typed[size:]
        return taken


class Bench:
    """Everything in one place."""

    def __init__(
        self,
        device: Device | None = None,
        vm: VirtualMachine | None = None,
        features: int = m.FLAGS_MASK,
        typed: bytes = b"",
        rings: type[Rings] | None = None,
    ) -> None:
        self.memory = Memory(bytearray(m.BYTES_MIN))
        self.lines = Lines()
        self.paper = Paper(typed)
        self.said: list[str] = []
        self.device = device or Model(HEAP)
        self.vm = vm
        self.rings = rings or RINGS[0]
        self.service = self.serve()
        self.client = Client(self.memory, self.lines.rung.append, features, self.turn)

    def serve(self) -> Service:
        """A new service on the same memory."""
        operations = Operations(self.memory, self.device, self.paper, self.vm, self.said.append)
        self.service = Service(
            self.memory, self.device, operations, self.lines, rings=self.rings(self.memory)
        )
        self.service.start()
        return self.service

    def turn(self) -> None:
        if not self.service.halted and not self.service.lost:
            self.service.turn()

    def connect(self) -> Client:
        self.client.connect(SECONDS)
        return self.client


def words(*values: int) -> bytes:
    return struct.pack(f"<{len(values)}I", *values)


def control(bench: Bench, field: int) -> int:
    return bench.memory.words[(m.CONTROL_AT + field) >> 2]
