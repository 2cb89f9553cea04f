"""The service's side of the rings: fetching slots into private copies, posting completions.

Owns: FETCHED, COMPLETED and FLAGS of every queue, and the judgement whether a slot is well-formed. Fetches only what
there will be room to answer, so a posted completion never waits. Reads each shared field once. Never runs a command.

A fetched slot is a row of sixteen words. Its three words that have been judged are replaced: 1 by the low 32 bits of
its index, 2 by its queue, 3 by the error (0: well-formed). Rows have this form on the device too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from toolchain.mailbox import layout as m
from toolchain.mailbox.memory import MASK32, MASK64, Memory, fence

if TYPE_CHECKING:
    import numpy as np

    Rows = np.ndarray[Any, np.dtype[np.uint32]]

ROW_INDEX, ROW_QUEUE, ROW_ERROR = 1, 2, 3
ROWS_MAX = m.QUEUES * m.DEPTH
_MASK = m.DEPTH - 1
_WORDS = m.SLOT_SIZE // 4


class Rings:
    """All queues of the shared memory.

    Args:
        memory: the shared memory.

    Attributes:
        batch: the rows of the last ``fetch``.
        brief: whether ``fetch`` should come back soon where there is nothing.
        checksum: whether slots carry one (the feature was taken).
        answered: commands that ``fetch`` has answered itself; ``failed``: of them with an error. The service takes
            both.
        wanted: queues whose client wants a message for what ``fetch`` answered.
        overflows: times that a slot stood where its completion would have had no room.
        fetched: of each queue, how many slots were taken; likewise ``completed`` and ``consumed`` (as last seen).
        broken: queues that stand until they are reset.
    """

    def __init__(self, memory: Memory) -> None:
        import numpy as np

        self.memory = memory
        self.brief = False
        self.checksum = False
        self.answered = self.failed = 0
        self.wanted: set[int] = set()
        self.overflows = 0
        self.batch: Rows = np.zeros((ROWS_MAX, _WORDS), np.uint32)
        self.broken: set[int] = set()
        self.fetched: list[int] | memoryview[int] = [0] * m.QUEUES
        self.completed: list[int] | memoryview[int] = [0] * m.QUEUES
        self.consumed: list[int] | memoryview[int] = [0] * m.QUEUES
        self._full: set[int] = set()

    # --- resets --------------------------------------------------------------------------------------------

    def reset_all(self) -> None:
        """Every queue as at the start of a session."""
        for queue in range(m.QUEUES):
            self._clear(queue)

    def reset(self, queue: int, request: int) -> None:
        """One queue, answering RESET."""
        self._clear(queue)
        self.memory.words[(_block(queue) + m.QUEUE_RESET_DONE) >> 2] = request

    def reset_requests(self) -> Iterable[tuple[int, int]]:
        """(queue, RESET) of each queue whose RESET is not answered."""
        words = self.memory.words
        for queue in range(m.QUEUES):
            asked = words[(_block(queue) + m.QUEUE_RESET) >> 2]
            if asked != words[(_block(queue) + m.QUEUE_RESET_DONE) >> 2]:
                yield queue, asked

    def _clear(self, queue: int) -> None:
        words, block = self.memory.words, _block(queue)
        ring = m.RING_AT + queue * m.RING_STRIDE
        for slot in range(m.DEPTH):
            words[(ring + slot * m.SLOT_SIZE) >> 2] = m.INVALID
        answers = m.ANSWER_AT + queue * m.ANSWER_STRIDE
        self.memory.raw[answers : answers + m.ANSWER_STRIDE] = bytes(m.ANSWER_STRIDE)
        for field in (m.QUEUE_FETCHED, m.QUEUE_COMPLETED):
            self.memory.quads[(block + field) >> 3] = 0
        for field in (m.QUEUE_FLAGS, m.QUEUE_CAUSE):
            words[(block + field) >> 2] = 0
        # a session starts with RESET answered, whatever a client left there
        words[(block + m.QUEUE_RESET_DONE) >> 2] = words[(block + m.QUEUE_RESET) >> 2]
        self.fetched[queue] = self.completed[queue] = self.consumed[queue] = 0
        self.broken.discard(queue)
        self._full.discard(queue)

    # --- fetching ------------------------------------------------------------------------------------------

    def fetch(self) -> int:
        """Take everything that is pending; how many rows of ``batch`` hold it."""
        count = 0
        for queue in range(m.QUEUES):
            if queue not in self.broken:
                count = self._drain(queue, count)
        return count

    def pending(self) -> bool:
        """Whether a slot stands that ``fetch`` would take."""
        words = self.memory.words
        return any(
            words[_slot(queue, self.fetched[queue]) >> 2] != m.INVALID
            for queue in range(m.QUEUES)
            if queue not in self.broken and (queue not in self._full or self._room(queue))
        )

    def _drain(self, queue: int, count: int) -> int:
        words, start = self.memory.words, self.fetched[queue]
        while count < ROWS_MAX:
            index = self.fetched[queue]
            at = _slot(queue, index)
            header = words[at >> 2]
            if header == m.INVALID or not self._room(queue):
                break
            row = self.batch[count]
            row[:] = words[at >> 2 : (at >> 2) + _WORDS]
            row[0] = header
            words[at >> 2] = m.INVALID
            self._judge(row, queue, index)
            self.fetched[queue] = index + 1
            count += 1
        if self.fetched[queue] != start:
            self.memory.quads[(_block(queue) + m.QUEUE_FETCHED) >> 3] = self.fetched[queue]
        return count

    def _room(self, queue: int) -> bool:
        """Whether one more completion fits; looks at CONSUMED only when it matters."""
        if self.fetched[queue] - self.consumed[queue] < m.DEPTH and queue not in self._full:
            return True
        consumed = self.memory.quads[(_block(queue) + m.QUEUE_CONSUMED) >> 3]
        if not self.consumed[queue] <= consumed <= self.completed[queue]:
            self.refuse(queue)
            return False
        self.consumed[queue] = consumed
        flags = (_block(queue) + m.QUEUE_FLAGS) >> 2
        if self.fetched[queue] - consumed < m.DEPTH:
            if queue in self._full:
                self._full.discard(queue)
                self.memory.words[flags] = 0
            return True
        if queue not in self._full:
            self._full.add(queue)
            self.overflows += 1
            self.memory.words[flags] = m.QUEUE_FLAG_OVERFLOW
        return False

    def _judge(self, row: Rows, queue: int, index: int) -> None:
        values = row.tolist()
        total = 0
        for value in values:
            total ^= value
        error = 0
        if self.checksum and total != m.CHECKSUM_SEED:
            error = m.ERROR_BAD_CHECKSUM
        elif values[m.SLOT_SEQUENCE >> 2] != index & MASK32:
            error = m.ERROR_BAD_SEQUENCE
        elif values[m.SLOT_RESERVED >> 2] or (values[m.SLOT_CHECKSUM >> 2] and not self.checksum):
            error = m.ERROR_BAD_FIELD
        row[ROW_INDEX], row[ROW_QUEUE], row[ROW_ERROR] = index & MASK32, queue, error

    def check_indices(self) -> None:
        """Refuse queues whose client words are impossible; for when there is time, not for the hot path."""
        quads = self.memory.quads
        for queue in range(m.QUEUES):
            if queue in self.broken:
                continue
            submitted = quads[(_block(queue) + m.QUEUE_SUBMITTED) >> 3]
            consumed = quads[(_block(queue) + m.QUEUE_CONSUMED) >> 3]
            # SUBMITTED is stored after the header: the service may be one slot ahead of each posting processor
            ahead = (submitted - self.fetched[queue] + m.DEPTH) & MASK64
            if ahead > 2 * m.DEPTH or not self.consumed[queue] <= consumed <= self.completed[queue]:
                self.refuse(queue)

    def refuse(self, queue: int) -> None:
        """Leave a queue alone until it is reset."""
        block = _block(queue)
        self.broken.add(queue)
        self.memory.words[(block + m.QUEUE_CAUSE) >> 2] = m.ERROR_BAD_INDEX
        self.memory.words[(block + m.QUEUE_FLAGS) >> 2] = m.QUEUE_FLAG_NEEDS_RESET

    # --- posting -------------------------------------------------------------------------------------------

    def post(self, rows: Rows, results: Any, errors: Any) -> set[int]:
        """Complete fetched rows.

        Args:
            rows: (n, 16) as ``fetch`` left them.
            results: n results, 64 bits.
            errors: n error bits of STATUS, 0 for success.

        Returns:
            The queues whose client wants a message.
        """
        words, quads = self.memory.words, self.memory.quads
        touched = set()
        for row, result, error in zip(rows[:, : ROW_ERROR + 1].tolist(), results, errors, strict=True):
            queue = row[ROW_QUEUE]
            index = self.completed[queue]
            at = m.ANSWER_AT + queue * m.ANSWER_STRIDE + (index & _MASK) * m.COMPLETION_SIZE
            phase = 1 - (index >> m.DEPTH_SHIFT) % 2
            quads[(at + m.COMPLETION_RESULT) >> 3] = 0 if error else int(result)
            words[(at + m.COMPLETION_SEQUENCE) >> 2] = row[ROW_INDEX]
            head = (self.fetched[queue] & 0xFFFF) << 16
            words[(at + m.COMPLETION_STATUS) >> 2] = head | int(error) | phase
            self.completed[queue] = index + 1
            touched.add(queue)
        for queue in touched:
            quads[(_block(queue) + m.QUEUE_COMPLETED) >> 3] = self.completed[queue]
        fence()
        return {q for q in touched if words[(_block(q) + m.QUEUE_WANT_INTERRUPT) >> 2]}


def _block(queue: int) -> int:
    return m.QUEUE_AT + queue * m.QUEUE_STRIDE


def _slot(queue: int, index: int) -> int:
    return m.RING_AT + queue * m.RING_STRIDE + (index & _MASK) * m.SLOT_SIZE
