"""The service's loop: negotiate, drain everything pending, answer, sleep.

Owns: the service's words of the control page, the order in which fetched commands run, the session. Tiny operations run
on the CPU, all of a batch that needs the device goes there in one dispatch. Never opens a device or makes the memory.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from toolchain.mailbox import batch, compatible
from toolchain.mailbox import layout as m
from toolchain.mailbox.device import DRAINED, Device, DeviceLost
from toolchain.mailbox.memory import MASK32, MASK64, Memory, fence
from toolchain.mailbox.operations import Operations
from toolchain.mailbox.patience import Patience
from toolchain.mailbox.rings import ROW_ERROR, Rings

if TYPE_CHECKING:
    from toolchain.mailbox.device import Rows

SPIN_SECONDS = 200e-6  # a client that answers at once does so within this; then sleeping is cheaper
_OFFERED = m.FEATURE_VERSION_1 | m.FEATURE_CHECKSUM | m.FEATURE_INTERRUPT
_TURNS = 64  # a reset of a queue is looked for at least so often, however busy the others are
_SESSION = m.SERVICE_FEATURES_OK | m.SERVICE_RUNNING | m.SERVICE_FAILED


class Doorbell(Protocol):
    """The lines between the peers."""

    def wait(self, seconds: float) -> bool:
        """Sleep until the client rings, at most so long; whether it did."""

    def notify(self, queue: int) -> None:
        """Send the client a message for a queue."""


class Service:
    """One service on one shared memory.

    Args:
        memory: the shared memory.
        device: where shaders run.
        operations: what the CPU runs.
        doorbell: how the two sides wake each other.
        answer_ms: bound on the time of one command, told to the client.
        spin: most seconds of looking before it sleeps.
        rings: the queues; made here unless given.

    Attributes:
        busy_since: monotonic time at which the batch in progress began, or None.
        halted: a HALT was answered.
        lost: the device is gone.
    """

    def __init__(
        self,
        memory: Memory,
        device: Device,
        operations: Operations,
        doorbell: Doorbell,
        *,
        answer_ms: int = 5000,
        spin: float = SPIN_SECONDS,
        rings: Rings | None = None,
    ) -> None:
        self.memory = memory
        self.device = device
        self.operations = operations
        self.counters = operations.counters
        self.doorbell = doorbell
        self.answer_ms = answer_ms
        self.patience = Patience(spin)
        self.rings = rings if rings is not None else Rings(memory)
        self.features = _OFFERED | device.features | (m.FEATURE_VM if operations.vm else 0)
        self.epoch = 0
        self.session = False
        self.halted = False
        self.lost = False
        self.busy_since: float | None = None
        self._status = 0
        self._turns = 0
        self._rang = False  # a doorbell has woken us, and nothing was found yet

    # --- control page ----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Fill the control page and say READY."""
        self._say(0)
        compatible.start(self.memory)
        self.epoch = (self._word(m.CONTROL_EPOCH) + 1) & MASK32 or 1
        for field, value in (
            (m.CONTROL_MAGIC, m.MAGIC), (m.CONTROL_VERSION, m.VERSION), (m.CONTROL_QUEUES, m.QUEUES),
            (m.CONTROL_DEPTH, m.DEPTH), (m.CONTROL_DATA_AT, m.DATA_AT),
            (m.CONTROL_HEAP_BYTES, self.device.heap_bytes), (m.CONTROL_ANSWER_MS, self.answer_ms),
            (m.CONTROL_SHADERS, len(self.device.shaders)), (m.CONTROL_CAUSE, 0), (m.CONTROL_NEED_WAKEUP, 0),
            (m.CONTROL_EPOCH, self.epoch),
        ):  # fmt: skip
            self._set(field, value)
        self.memory.quads[(m.CONTROL_AT + m.CONTROL_BYTES) >> 3] = self.memory.size
        self.memory.quads[(m.CONTROL_AT + m.CONTROL_FEATURES) >> 3] = self.features
        fence()
        self._say(m.SERVICE_READY)

    def beat(self) -> None:
        """Say that we live; from another thread too."""
        at = (m.CONTROL_AT + m.CONTROL_HEARTBEAT) >> 3
        self.memory.quads[at] = (self.memory.quads[at] + 1) & MASK64

    def leave(self) -> None:
        """Take nothing further: the end of an orderly service."""
        self._say(self._status & ~(m.SERVICE_READY | _SESSION))

    def _word(self, field: int) -> int:
        return self.memory.words[(m.CONTROL_AT + field) >> 2]

    def _set(self, field: int, value: int) -> None:
        self.memory.words[(m.CONTROL_AT + field) >> 2] = value

    def _say(self, status: int) -> None:
        self._status = status
        self._set(m.CONTROL_SERVICE_STATUS, status)

    def _negotiate(self) -> None:
        """Follow CLIENT_STATUS."""
        asked = self._word(m.CONTROL_CLIENT_STATUS)
        if not asked & m.CLIENT_FEATURES_OK or asked & m.CLIENT_FAILED:
            if self._status & _SESSION:
                self.session = False
                self._say(self._status & ~_SESSION)
        elif self.session:
            if asked & m.CLIENT_DRIVER_OK and not self._status & m.SERVICE_RUNNING:
                self._say(self._status | m.SERVICE_RUNNING)
        elif not self._status & m.SERVICE_FAILED and self._word(m.CONTROL_CLIENT_EPOCH) == self.epoch:
            self._accept(self.memory.quads[(m.CONTROL_AT + m.CONTROL_CLIENT_FEATURES) >> 3])

    def _accept(self, features: int) -> None:
        if features & ~self.features or not features & m.FEATURE_VERSION_1:
            self._set(m.CONTROL_CAUSE, m.ERROR_BAD_FEATURES)
            self._say(self._status | m.SERVICE_FAILED)
            return
        self.rings.reset_all()
        self.rings.checksum = bool(features & m.FEATURE_CHECKSUM)
        self.counters.add(m.COUNTER_SESSIONS)
        self.session = True
        self._say(self._status | m.SERVICE_FEATURES_OK)

    # --- the loop --------------------------------------------------------------------------------------------

    def run(self, stop: Callable[[], bool] = lambda: False) -> None:
        """Serve until HALT, a lost device or ``stop``."""
        idle_since = time.monotonic()
        slept = False
        while not (self.halted or self.lost or stop()):
            self.rings.brief = self.patience.brief
            if self.turn():
                if not slept:
                    self.patience.found()
                slept = False
                idle_since = time.monotonic()
            elif time.monotonic() - idle_since >= self.patience.seconds:
                self.patience.missed()
                asleep_since = time.monotonic()
                self.sleep()
                self.patience.slept(time.monotonic() - asleep_since)
                slept = True

    def turn(self) -> bool:
        """One look at everything; whether there was work."""
        self._negotiate()
        self._turns += 1
        worked = False
        if self.memory.words[m.DOORBELL >> 2]:
            self._begin()
            try:
                self.halted |= compatible.serve(self.memory, self._single, self.operations)
            except DeviceLost:
                self._device_lost()
            worked = True
        if self.session and self._status & m.SERVICE_RUNNING and not self.lost:
            count = self.rings.fetch()
            if self.rings.answered:
                self._count_answered()
                worked = True
            if count:
                self._begin()
                self._batch(self.rings.batch[:count])
                worked = True
        if self.session and (not worked or self._turns % _TURNS == 0):
            worked |= self._resets()
            if self._rang and not worked:
                self.rings.check_indices()
        self._rang = False
        self.busy_since = None
        return worked

    def sleep(self) -> None:
        """Wait for the doorbell, at most a heartbeat, unless something came at the last moment."""
        self._set(m.CONTROL_NEED_WAKEUP, 1)
        fence()
        if not self._pending():
            self.counters.add(m.COUNTER_SLEEPS)
            self._rang = self.doorbell.wait(m.HEARTBEAT_MS / 1000)
            self.counters.add(m.COUNTER_DOORBELLS, self._rang)
        self._set(m.CONTROL_NEED_WAKEUP, 0)
        if self.session and not self._rang:  # there is time
            self.rings.check_indices()
            self.counters.values[m.COUNTER_OVERFLOWS] = self.rings.overflows

    def _pending(self) -> bool:
        if self.memory.words[m.DOORBELL >> 2] or any(True for _ in self.rings.reset_requests()):
            return True
        asked = self._word(m.CONTROL_CLIENT_STATUS)
        wants = bool(asked & m.CLIENT_FEATURES_OK)
        if wants != bool(self._status & (m.SERVICE_FEATURES_OK | m.SERVICE_FAILED)):
            return not wants or self._word(m.CONTROL_CLIENT_EPOCH) == self.epoch
        if not self.session:
            return False
        if not self._status & m.SERVICE_RUNNING:
            return bool(asked & m.CLIENT_DRIVER_OK)
        return self.rings.pending()

    def _resets(self) -> bool:
        if not self.session:
            return False
        asked = list(self.rings.reset_requests())
        for queue, request in asked:
            self.rings.reset(queue, request)
            self.counters.add(m.COUNTER_QUEUE_RESETS)
        return bool(asked)

    def _count_answered(self) -> None:
        """What the rings have answered themselves."""
        rings = self.rings
        for counter, amount in (
            (m.COUNTER_COMMANDS, rings.answered), (m.COUNTER_ON_CPU, rings.answered),
            (m.COUNTER_ERRORS, rings.failed),
        ):  # fmt: skip
            self.counters.add(counter, amount)
        rings.answered = rings.failed = 0
        self._notify(rings.wanted)

    def _notify(self, queues: set[int]) -> None:
        for queue in queues:
            self.counters.add(m.COUNTER_INTERRUPTS)
            self.doorbell.notify(queue)

    def _begin(self) -> None:
        self.busy_since = time.monotonic()

    # --- commands --------------------------------------------------------------------------------------------

    def _batch(self, rows: Rows) -> None:
        """Answer fetched rows: between barriers, the CPU's first, then the device's in one dispatch, then the long."""
        values = self.counters.values
        values[m.COUNTER_BATCH_MAX] = max(values[m.COUNTER_BATCH_MAX], len(rows))
        for part in batch.between_barriers(rows):
            if self.halted:
                return
            try:
                self._part(part)
            except DeviceLost:
                self._device_lost()
                return

    def _part(self, rows: Rows) -> None:
        import numpy as np

        opcodes = rows[:, 0] >> m.OPCODE_SHIFT
        asked = rows[:, 0] & (m.FLAGS_MASK ^ m.FLAG_BARRIER)
        drained = (rows[:, ROW_ERROR] == 0) & (asked == batch.drained_flags()[opcodes])
        if not drained.all():
            long = np.isin(opcodes, (m.OP_GPU_EXECUTE, m.OP_VM_RUN)) & (rows[:, ROW_ERROR] == 0)
            self._on_cpu(rows[~drained & ~long])
            if not self.halted:
                self._on_device(rows[drained])
                for n in np.flatnonzero(long):
                    self._begin()
                    self._on_cpu(rows[n : n + 1], m.COUNTER_ON_DEVICE)
        else:
            self._on_device(rows)

    def _on_cpu(self, rows: Rows, counter: int | None = None) -> None:
        if not len(rows):
            return
        results, errors = [], []
        halt = False
        try:
            for row in rows.tolist():
                result, error = (0, row[ROW_ERROR]) if row[ROW_ERROR] else self.operations.run(row)
                results.append(result)
                errors.append(error)
                halt |= row[0] >> m.OPCODE_SHIFT == m.OP_HALT and not error
        except DeviceLost:
            self._answer(rows, [0] * len(rows), [m.ERROR_DEVICE_LOST] * len(rows), m.COUNTER_ON_DEVICE)
            raise
        self._answer(rows, results, errors, m.COUNTER_ON_CPU if counter is None else counter)
        if halt:
            self.halted = True
            self._say(self._status & ~m.SERVICE_RUNNING | m.SERVICE_HALTED)

    def _on_device(self, rows: Rows) -> None:
        if not len(rows):
            return
        before = self.device.dispatches
        try:
            results, errors = self.device.drain(rows)
        except DeviceLost:
            self._answer(rows, [0] * len(rows), [m.ERROR_DEVICE_LOST] * len(rows), m.COUNTER_ON_DEVICE)
            raise
        self.counters.add(m.COUNTER_DISPATCHES, self.device.dispatches - before)
        self._answer(rows, results, errors, m.COUNTER_ON_DEVICE)

    def _answer(self, rows: Rows, results: Any, errors: Any, counter: int) -> None:
        import numpy as np

        self.counters.add(m.COUNTER_COMMANDS, len(rows))
        self.counters.add(counter, len(rows))
        self.counters.add(m.COUNTER_ERRORS, int(np.count_nonzero(errors)))
        self._notify(self.rings.post(rows, results, errors))

    def _single(self, row: list[int]) -> tuple[int, int]:
        """One command of the compatibility page."""
        import numpy as np

        error = self.operations.judge(row)
        if error:
            return 0, error
        self.counters.add(m.COUNTER_COMMANDS)
        if row[0] >> m.OPCODE_SHIFT in DRAINED and (
            row[0] >> m.OPCODE_SHIFT != m.OP_PING or row[0] & m.FLAG_DEVICE
        ):
            results, errors = self.device.drain(np.array([row], np.uint32))
            result, error = int(results[0]), int(errors[0])
            self.counters.add(m.COUNTER_ON_DEVICE)
        else:
            result, error = self.operations.run(row)
            self.counters.add(m.COUNTER_ON_CPU)
        self.counters.add(m.COUNTER_ERRORS, bool(error))
        return result, error

    def _device_lost(self) -> None:
        self.lost = True
        self._set(m.CONTROL_CAUSE, m.ERROR_DEVICE_LOST)
        self._say(self._status & ~m.SERVICE_RUNNING | m.SERVICE_NEEDS_RESET)
