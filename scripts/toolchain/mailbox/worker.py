"""The process that serves: it opens the device, runs the loop, and ends when it is halted, lost or hung.

Owns: the heart (a thread that beats while the batch in progress is within its time, and ends the process when it is
not) and the exit statuses by which the supervisor decides. A hung shader cannot be interrupted: its process is killed.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from toolchain.errors import PxError
from toolchain.mailbox import layout as m

if TYPE_CHECKING:
    from toolchain.mailbox.device import Device
    from toolchain.mailbox.memory import Memory
    from toolchain.mailbox.operations import VirtualMachine
    from toolchain.mailbox.rings import Rings
    from toolchain.mailbox.service import Service

EXIT_HALTED, EXIT_NO_DEVICE, EXIT_LOST, EXIT_HUNG = 0, 2, 3, 5
DEVICES = ("auto", "gpu", "model")
_BEATS = 2  # beats in the time in which one is due


@dataclass(frozen=True)
class Settings:
    """What a worker is told, as JSON in its only argument.

    Attributes:
        memory: file descriptor of the shared memory.
        statistics: file descriptor of the counters' page.
        service: eventfds that the client rings.
        client: eventfds that the client waits for.
        device: one of ``DEVICES``; auto is a GPU where there is one, else the model.
        adapter: a part of the adapter's name, or None.
        heap: bytes of the device heap.
        answer_ms: bound on the time of a batch.
        spin: seconds of looking before sleeping.
    """

    memory: int
    statistics: int
    service: Sequence[int]
    client: Sequence[int]
    device: str = "auto"
    adapter: str | None = None
    heap: int = 16 << 20
    answer_ms: int = 5000
    spin: float = 200e-6

    def to_argument(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))


def open_device(settings: Settings) -> Device:
    """The device that the settings ask for.

    Raises:
        PxError: it is not to be had.
    """
    from toolchain.mailbox.model import Model

    if settings.device == "model":
        return Model(settings.heap)
    from toolchain.mailbox.gpu import Gpu

    try:
        return Gpu(settings.heap, settings.adapter)
    except PxError as error:
        if settings.device == "gpu" or settings.adapter:
            raise
        print(f"mailbox: {error.message}; the model on the CPU serves instead", file=sys.stderr, flush=True)
        return Model(settings.heap)


def serve(
    settings: Settings, device: Device, vm: VirtualMachine | None, counters: Callable[[Service], None]
) -> int:
    """Serve until the end; the exit status. ``counters`` is told of the service before it starts."""
    from toolchain.mailbox.memory import Memory
    from toolchain.mailbox.operations import Operations, Streams
    from toolchain.mailbox.service import Service
    from toolchain.mailbox.transport import Bells, Doorbell

    memory = Memory.of(settings.memory)
    operations = Operations(memory, device, Streams(1, 0), vm, log=_log)
    service = Service(
        memory,
        device,
        operations,
        Doorbell(Bells(settings.service, settings.client)),
        answer_ms=settings.answer_ms,
        spin=settings.spin,
        rings=_rings(memory),
    )
    counters(service)
    service.start()
    heart = threading.Thread(target=_heart, args=(service,), daemon=True)
    heart.start()
    service.run()
    return EXIT_LOST if service.lost else EXIT_HALTED


def _rings(memory: Memory) -> Rings:
    """The rings in machine code where this machine runs it."""
    from toolchain.mailbox import native
    from toolchain.mailbox.rings import Rings

    if not native.available():
        return Rings(memory)
    try:
        return native.NativeRings(memory)
    except PxError as error:
        _log(f"{error.message}; Python serves the rings instead")
        return Rings(memory)


def _heart(service: Service) -> None:
    """Beat; end the process when a batch takes longer than was promised."""
    while True:
        since = service.busy_since
        if since is not None and time.monotonic() - since > service.answer_ms / 1000:
            _log(f"no answer from {service.device.name} within {service.answer_ms} ms: ending")
            os._exit(EXIT_HUNG)
        service.beat()
        time.sleep(m.HEARTBEAT_MS / 1000 / _BEATS)


def _log(text: str) -> None:
    print(f"mailbox: {text}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str], vm: VirtualMachine | None = None) -> int:
    """A worker process.

    Args:
        arguments: the settings.
        vm: runs Pixel VM programs.
    """
    import mmap

    settings = Settings(**json.loads(arguments[0]))
    try:
        device = open_device(settings)
    except PxError as error:
        _log(error.message)
        return EXIT_NO_DEVICE
    page = memoryview(mmap.mmap(settings.statistics, mmap.PAGESIZE)).cast("Q")

    def share(service: Service) -> None:
        page[: m.COUNTER_COUNT] = memoryview(bytes(8 * m.COUNTER_COUNT)).cast("Q")
        service.counters.values = page

    return serve(settings, device, vm, share)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
