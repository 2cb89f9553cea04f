"""The client's side in Python: negotiation, posting, taking completions, recovery.

Owns: what a kernel does, for tests, benches and programs on the host. Every command gets exactly one outcome: a
completion, or ABORTED when the service or the queue was reset under it. Never maps or makes the memory.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

from toolchain.errors import PxError, Timeout
from toolchain.mailbox import layout as m
from toolchain.mailbox.memory import MASK32, Memory, fence

STAGE = "mailbox"
_BODY = m.SLOT_SIZE - m.SLOT_BODY
_DRIVER = m.CLIENT_ACKNOWLEDGE | m.CLIENT_DRIVER | m.CLIENT_FEATURES_OK
_WORDS = struct.Struct("<16I")
_MASK = m.DEPTH - 1
_PAUSE = 20e-6  # between two looks at a word of the service


class Refused(PxError):
    """The service refuses, or it is no service that we can talk to."""


class Completion(NamedTuple):
    """One outcome.

    Attributes:
        number: index of the submission in its queue.
        result: of the operation.
        status: error bits of STATUS (0: success), see ``layout.error_name``.
    """

    number: int
    result: int
    status: int

    @property
    def name(self) -> str:
        """``OK``, or the error's name."""
        return m.error_name(self.status)


class Queue:
    """One queue of a session; used by one thread at a time.

    Attributes:
        open: index -> opcode of the commands without an outcome.
    """

    def __init__(self, memory: Memory, number: int, checksum: bool) -> None:
        self.memory = memory
        self.number = number
        self.checksum = checksum
        self.submitted = 0
        self.consumed = 0
        self.fetched = 0
        self.open: dict[int, int] = {}
        self._block = m.QUEUE_AT + number * m.QUEUE_STRIDE
        self._ring = m.RING_AT + number * m.RING_STRIDE
        self._answers = m.ANSWER_AT + number * m.ANSWER_STRIDE

    def clear(self) -> None:
        """Our words of the queue block: 0."""
        self.submitted = self.consumed = self.fetched = 0
        self.memory.quads[(self._block + m.QUEUE_SUBMITTED) >> 3] = 0
        self.memory.quads[(self._block + m.QUEUE_CONSUMED) >> 3] = 0
        self.memory.words[(self._block + m.QUEUE_WANT_INTERRUPT) >> 2] = 0

    def post(self, opcode: int, body: bytes = b"", flags: int = 0, thread: int = 0) -> int | None:
        """Publish one command.

        Returns:
            Its index, or None while DEPTH commands are open.
        """
        index = self.submitted
        at = self._ring + (index & _MASK) * m.SLOT_SIZE
        if len(self.open) >= m.DEPTH or self.memory.words[at >> 2] != m.INVALID:
            return None
        header = opcode << m.OPCODE_SHIFT | thread << m.THREAD_SHIFT | flags
        words = [header, index & MASK32, 0, 0, *struct.unpack("<12I", body.ljust(_BODY, b"\0"))]
        if self.checksum:
            words[2] = checksum(words)
        self.memory.raw[at + 4 : at + m.SLOT_SIZE] = _WORDS.pack(*words)[4:]
        self.open[index] = opcode
        self.memory.words[at >> 2] = header
        self.submitted = index + 1
        self.memory.quads[(self._block + m.QUEUE_SUBMITTED) >> 3] = index + 1
        return index

    def stands(self) -> bool:
        """Whether a completion can be taken."""
        at = self._answers + (self.consumed & _MASK) * m.COMPLETION_SIZE
        status = self.memory.words[(at + m.COMPLETION_STATUS) >> 2]
        return status & m.COMPLETION_PHASE == 1 - (self.consumed >> m.DEPTH_SHIFT) % 2

    def take(self) -> Completion | None:
        """The next completion, or None while there is none."""
        at = self._answers + (self.consumed & _MASK) * m.COMPLETION_SIZE
        status = self.memory.words[(at + m.COMPLETION_STATUS) >> 2]
        if status & m.COMPLETION_PHASE != 1 - (self.consumed >> m.DEPTH_SHIFT) % 2:
            return None
        low = self.memory.words[(at + m.COMPLETION_SEQUENCE) >> 2]
        result = self.memory.quads[(at + m.COMPLETION_RESULT) >> 3]
        self.consumed += 1
        self.memory.quads[(self._block + m.QUEUE_CONSUMED) >> 3] = self.consumed
        index = next((i for i in self.open if i & MASK32 == low), None)
        if index is None:
            raise Refused(f"queue {self.number}: a completion for {low}, which is not open", stage=STAGE)
        del self.open[index]
        return Completion(index, result, status & m.COMPLETION_ERROR)

    def abort(self) -> Iterator[Completion]:
        """Give up what is open: one ABORTED for each."""
        for index in sorted(self.open):
            yield Completion(index, 0, m.ERROR_ABORTED)
        self.open.clear()


def checksum(words: list[int]) -> int:
    """The word that makes the exclusive or of all (``words[2]`` being 0) CHECKSUM_SEED."""
    total = m.CHECKSUM_SEED
    for word in words:
        total ^= word
    return total


class Client:
    """A session with the service.

    Args:
        memory: the shared memory.
        ring: rings the doorbell of a vector.
        features: the most that is taken of what is offered.
        pause: what is done between two looks at a word of the service.
    """

    def __init__(
        self,
        memory: Memory,
        ring: Callable[[int], None],
        features: int = MASK32,
        pause: Callable[[], object] = lambda: time.sleep(_PAUSE),
    ) -> None:
        self.memory = memory
        self.ring = ring
        self.wanted = features
        self.pause = pause
        self.features = 0
        self.epoch = 0
        self.queues: list[Queue] = []
        self._beat = (-1, 0.0)

    def word(self, field: int) -> int:
        """A 32-bit word of the control page."""
        return self.memory.words[(m.CONTROL_AT + field) >> 2]

    def connect(self, seconds: float) -> list[tuple[int, Completion]]:
        """Negotiate (section 3 of the specification); also after the service was restarted.

        Returns:
            The outcomes of what was open before: (queue, completion).

        Raises:
            Refused: another version, or the service does not take our features.
            Timeout: it did not answer in ``seconds``.
        """
        deadline = time.monotonic() + seconds
        self._wait(lambda: self.word(m.CONTROL_SERVICE_STATUS) & m.SERVICE_READY, deadline, "is not ready")
        if self.word(m.CONTROL_MAGIC) != m.MAGIC:
            raise Refused("the shared memory holds no mailbox", stage=STAGE)
        version = self.word(m.CONTROL_VERSION)
        if version >> 16 != m.VERSION_MAJOR:
            raise Refused(f"version {version >> 16} of the mailbox; we know {m.VERSION_MAJOR}", stage=STAGE)
        if (self.word(m.CONTROL_DEPTH), self.word(m.CONTROL_DATA_AT)) != (m.DEPTH, m.DATA_AT):
            raise Refused("the service has another layout of the shared memory", stage=STAGE)
        outcomes = [(q.number, c) for q in self.queues for c in self._leave(q)]
        while not self._offer(deadline):
            pass  # another epoch began meanwhile
        if self.word(m.CONTROL_SERVICE_STATUS) & m.SERVICE_FAILED:
            cause = m.error_name(self.word(m.CONTROL_CAUSE))
            raise Refused(f"the service refuses features {self.features:#x}: {cause}", stage=STAGE)
        self._ask(_DRIVER | m.CLIENT_DRIVER_OK)
        self._beat = (-1, 0.0)
        return outcomes

    def _offer(self, deadline: float) -> bool:
        """Steps 2 to 4 with one epoch; False when it ended under them."""
        done = m.SERVICE_FEATURES_OK | m.SERVICE_FAILED
        self._ask(0)
        self._wait(lambda: not self.word(m.CONTROL_SERVICE_STATUS) & done, deadline, "does not reset")
        self.epoch = self.word(m.CONTROL_EPOCH)
        self.features = self.memory.quads[(m.CONTROL_AT + m.CONTROL_FEATURES) >> 3] & self.wanted
        checksum = bool(self.features & m.FEATURE_CHECKSUM)
        self.queues = [Queue(self.memory, n, checksum) for n in range(self.word(m.CONTROL_QUEUES))]
        for queue in self.queues:
            queue.clear()
        self.memory.quads[(m.CONTROL_AT + m.CONTROL_CLIENT_FEATURES) >> 3] = self.features
        self.memory.words[(m.CONTROL_AT + m.CONTROL_CLIENT_EPOCH) >> 2] = self.epoch
        self._ask(_DRIVER)
        self._wait(
            lambda: self.word(m.CONTROL_SERVICE_STATUS) & done or self.word(m.CONTROL_EPOCH) != self.epoch,
            deadline,
            "does not take our features",
        )
        return self.word(m.CONTROL_EPOCH) == self.epoch

    def lost(self) -> bool:
        """Whether the session is over: another epoch, NEEDS_RESET, or a heartbeat that stands."""
        if self.word(m.CONTROL_EPOCH) != self.epoch:
            return True
        if self.word(m.CONTROL_SERVICE_STATUS) & m.SERVICE_NEEDS_RESET:
            return True
        beat, now = self.memory.quads[(m.CONTROL_AT + m.CONTROL_HEARTBEAT) >> 3], time.monotonic()
        if beat != self._beat[0]:
            self._beat = (beat, now)
        return now - self._beat[1] > m.LIVENESS_MS / 1000

    def post(
        self, opcode: int, body: bytes = b"", flags: int = 0, queue: int = 0, thread: int = 0
    ) -> int | None:
        """Publish one command and ring if the service sleeps; its index, or None while the queue is full."""
        index = self.queues[queue].post(opcode, body, flags, thread)
        self.wake(queue)
        return index

    def wake(self, queue: int = 0) -> None:
        """Ring if the service sleeps."""
        fence()
        if self.word(m.CONTROL_NEED_WAKEUP):
            self.ring(queue % m.VECTORS)

    def request(
        self, opcode: int, body: bytes = b"", flags: int = 0, queue: int = 0, seconds: float = 10.0
    ) -> Completion:
        """Post one command on an idle queue and wait for its outcome.

        Raises:
            Timeout: there is none within ``seconds``; the command stays open.
        """
        deadline = time.monotonic() + seconds
        index = self.post(opcode, body, flags, queue)
        assert index is not None
        found: list[Completion] = []

        def answered() -> bool:
            done = self.queues[queue].take()
            if done is not None:
                found.append(done)
            return bool(found)

        self._wait(answered, deadline, "does not answer")
        return found[0]

    def sleep(self, queue: int, wait: Callable[[float], object], seconds: float) -> None:
        """Wait for the message of a queue, unless a completion stands already (specification, "Sleeping").

        Args:
            queue: whose.
            wait: sleeps until the service rings us, at most so many seconds.
            seconds: the bound.
        """
        want = (m.QUEUE_AT + queue * m.QUEUE_STRIDE + m.QUEUE_WANT_INTERRUPT) >> 2
        self.memory.words[want] = 1
        fence()
        if not self.queues[queue].stands():
            wait(seconds)
        self.memory.words[want] = 0

    def reset_queue(self, number: int, seconds: float) -> list[Completion]:
        """Section 7, one queue: what was open is ABORTED.

        Raises:
            Timeout: the service did not answer in ``seconds``.
        """
        queue = self.queues[number]
        block = m.QUEUE_AT + number * m.QUEUE_STRIDE
        queue.clear()
        wanted = (self.memory.words[(block + m.QUEUE_RESET) >> 2] + 1) & MASK32
        self.memory.words[(block + m.QUEUE_RESET) >> 2] = wanted
        self.ring(number % m.VECTORS)
        done = (block + m.QUEUE_RESET_DONE) >> 2
        self._wait(
            lambda: self.memory.words[done] == wanted, time.monotonic() + seconds, "does not reset the queue"
        )
        return list(queue.abort())

    def _leave(self, queue: Queue) -> Iterator[Completion]:
        """Completions that stand, then ABORTED for the rest."""
        while queue.open:
            done = queue.take()
            if done is None:
                break
            yield done
        yield from queue.abort()

    def _ask(self, status: int) -> None:
        self.memory.words[(m.CONTROL_AT + m.CONTROL_CLIENT_STATUS) >> 2] = status
        fence()
        self.ring(0)

    def _wait(self, ready: Callable[[], object], deadline: float, what: str) -> None:
        while not ready():
            if time.monotonic() > deadline:
                raise Timeout(f"the mailbox service {what}", stage=STAGE)
            self.pause()
