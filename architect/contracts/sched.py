"""Who runs: the decision of the scheduler over random threads, against earliest deadline first in Python.

Liu and Layland 1973, section 7: whoever is released and has the earliest absolute deadline runs; the background thread
runs when nobody is. A decision takes less than 400 instructions with 64 threads.
"""

from __future__ import annotations

import random
import struct

from architect.contracts import contract
from architect.contracts.model import MASK64, Session
from toolchain.harness import BUFFER_BASE, PERCPU_PAGE, Harness

_SCALE = (64, 400)  # threads, and instructions that a decision with them does not reach
# the per-CPU block and a thread (kernel/include/sched.inc)
_CURRENT, _READY, _RELEASES, _BACKGROUND, _RESUMED = 0x280, 0x298, 0x2B0, 0x2C8, 0x2E0
_STATE, _PERIOD, _BUDGET, _WINDOW, _RELEASE, _DEADLINE, _LEFT = 0x18, 0x38, 0x40, 0x48, 0x58, 0x60, 0x68
_USED, _RELEASED, _MISSES = 0x70, 0x78, 0x88
_WAITING, _IS_READY, _RUNNING = range(3)
_THREAD = 0x100  # bytes of a thread that a decision looks at
_LATE = 1 << 40


class Threads(Session):
    """Threads of one CPU in memory, and what should come of them."""

    def __init__(self, harness: Harness, count: int) -> None:
        super().__init__(harness)
        self.count = count
        harness.write_u64(PERCPU_PAGE + _BACKGROUND, self.at(0))
        self.put(0, _DEADLINE, MASK64)

    def at(self, number: int) -> int:
        """Address of a thread; 0 is the background thread."""
        return BUFFER_BASE + 0x4000 + number * _THREAD

    def put(self, number: int, field: int, value: int) -> None:
        """Set a field."""
        self.harness.write_u64(self.at(number) + field, value)

    def get(self, number: int, field: int) -> int:
        """A field."""
        return self.harness.read_u64(self.at(number) + field)

    def queue(self, which: int, rows: list[tuple[int, int]]) -> None:
        """Fill a queue with (key, thread)."""
        rows = sorted(rows)  # a sorted list is a heap
        base = BUFFER_BASE + (0 if which == _READY else 0x2000)
        self.harness.write(base, b"".join(struct.pack("<QQ", key, self.at(n)) for key, n in rows))
        self.harness.write(PERCPU_PAGE + which, struct.pack("<3Q", len(rows), self.count, base))

    def rows(self, which: int) -> list[tuple[int, int]]:
        """What a queue holds, sorted."""
        number, _, base = struct.unpack("<3Q", self.harness.read(PERCPU_PAGE + which, 24))
        flat = struct.unpack(f"<{2 * number}Q", self.harness.read(base, 16 * number))
        found = zip(flat[::2], flat[1::2], strict=True)
        return sorted((key, (at - self.at(0)) // _THREAD) for key, at in found)


@contract("sched_decide", "queue_push", "queue_pop")
def sched_decision(harness: Harness) -> None:
    """Everybody whose release has come is ready; the earliest deadline runs; who is preempted waits in the queue."""
    threads, noise = Threads(harness, 40), random.Random(25)
    for _ in range(60):
        now, number = noise.randrange(1000, 2000), noise.randint(0, 40)
        ready, waiting, deadlines = [], [], {}
        for n in range(1, number + 1):
            window, release = 25 * noise.randrange(1, 20), now + 25 * noise.randrange(-8, 8)
            for field, value in (
                (_WINDOW, window),
                (_RELEASE, release),
                (_BUDGET, n),
                (_RELEASED, 5),
                (_LEFT, 0),
            ):
                threads.put(n, field, value)
            deadlines[n] = release + window
            threads.put(n, _STATE, _WAITING)
            if release <= now and noise.random() < 0.4:
                threads.put(n, _STATE, _IS_READY)
                threads.put(n, _DEADLINE, deadlines[n])
                ready.append((deadlines[n], n))
            else:
                waiting.append((release, n))
        current = noise.choice([0, *(n for _, n in ready)])
        goes_on = not current or noise.random() < 0.6
        ready = [row for row in ready if row[1] != current]
        threads.put(current, _STATE, _RUNNING if goes_on else _WAITING)
        harness.write_u64(PERCPU_PAGE + _CURRENT, threads.at(current))
        threads.queue(_READY, ready)
        threads.queue(_RELEASES, waiting)
        chosen = threads.call("sched_decide", rdi=now).registers["rax"]
        due = [n for release, n in waiting if release <= now]
        could = {n: deadlines[n] for n in (*due, *(n for _, n in ready))}
        best = min(could.values(), default=MASK64)
        mine = (deadlines[current] if current else MASK64) if goes_on else None
        stays = mine is not None and mine <= best
        right = {current} if stays else {n for n, deadline in could.items() if deadline == best} or {0}
        given = {"now": now, "current": current, "chosen": (chosen - threads.at(0)) // _THREAD}
        threads.expect(
            given["chosen"] in right, "sched_decide", "does not choose the earliest deadline", **given
        )
        left = could | ({current: deadlines[current]} if current and goes_on else {})
        left.pop(given["chosen"], None)
        queued = sorted((deadline, n) for n, deadline in left.items())
        threads.expect(
            threads.rows(_READY) == queued, "sched_decide", "leaves others in the ready queue", **given
        )
        later = sorted(row for row in waiting if row[0] > now)
        threads.expect(threads.rows(_RELEASES) == later, "sched_decide", "releases others", **given)
        for n in due:
            fields = tuple(threads.get(n, field) for field in (_DEADLINE, _LEFT, _RELEASED))
            right_fields = (deadlines[n], n, 6)
            threads.expect(
                fields == right_fields, "sched_decide", "fills a new job otherwise", **given, thread=n
            )
        state = threads.get(given["chosen"], _STATE) & 0xFFFF_FFFF
        threads.equal(state, _RUNNING, "sched_decide", "does not say that it runs", **given)


def prepare_scale(harness: Harness, count: int) -> dict[str, int]:
    """The dearest decision that releases one thread of ``count``: it goes up all of one heap, and down the other.

    The thread that runs is preempted by the one that is released; its row in the ready queue sinks to a leaf.
    """
    threads = Threads(harness, count)
    half, now = count // 2, 1000
    threads.put(1, _RELEASE, now)
    threads.put(1, _WINDOW, 1)
    for number, state in ((1, _WAITING), (2, _RUNNING)):
        threads.put(number, _STATE, state)
    threads.put(2, _DEADLINE, _LATE)
    harness.write_u64(PERCPU_PAGE + _CURRENT, threads.at(2))
    places = BUFFER_BASE + 0x5000, BUFFER_BASE + 0x5000 + 16 * (count + 1)
    ready = [(_LATE - count + n, threads.at(3)) for n in range(half - 1)]
    waiting = [(now, threads.at(1)), *((now + 1 + n, threads.at(3)) for n in range(count - half - 1))]
    for which, place, rows in ((_READY, places[0], ready), (_RELEASES, places[1], waiting)):
        harness.write(place, b"".join(struct.pack("<QQ", *row) for row in rows))
        harness.write(PERCPU_PAGE + which, struct.pack("<3Q", len(rows), count, place))
    return {"rdi": now}


def cost(harness: Harness, count: int, most: int = 4000) -> int:
    """Instructions of that decision."""
    low, high = 0, most
    while high - low > 1:
        middle = (low + high) // 2
        given = prepare_scale(harness, count)
        ended = harness.call("sched_decide", given, seed=1, limit=middle).end == "returned"
        low, high = (low, middle) if ended else (middle, high)
    return high


@contract("sched_decide", "queue_push", "queue_pop", needs=("sched_advance",))
def sched_scale(harness: Harness) -> None:
    """A decision with 64 threads takes less than 400 instructions."""
    session = Session(harness)
    count, most = _SCALE
    given = prepare_scale(harness, count)
    result = harness.call("sched_decide", given, seed=1, limit=most - 1)
    session.expect(result.end == "returned", "sched_decide", "takes 400 instructions or more", threads=count)


@contract("sched_advance", "sched_charge", "sched_event", needs=("queue_push",))
def sched_steps(harness: Harness) -> None:
    """The next release lies whole periods ahead, those that passed are missed; charges and events add up."""
    threads, noise = Threads(harness, 4), random.Random(26)
    for _ in range(80):
        period, release = noise.randint(1000, 9000), noise.randint(10_000, 20_000)
        now = release + noise.choice(
            (0, 1, period - 1, period, period + 1, 2 * period, noise.randint(0, 60_000))
        )
        for field, value in (
            (_PERIOD, period),
            (_RELEASE, release),
            (_RELEASED, 3),
            (_MISSES, 2),
            (_STATE, _RUNNING),
        ):
            threads.put(1, field, value)
        threads.queue(_RELEASES, [(1, 2)])
        given = {"period": period, "release": release, "now": now}
        threads.call("sched_advance", rdi=threads.at(1), rsi=now)
        over = max(0, (now - release - period) // period)
        ahead = release + (over + 1) * period
        fields = tuple(threads.get(1, field) for field in (_RELEASE, _RELEASED, _MISSES))
        right = (ahead, 3 + over, 2 + over)
        threads.expect(
            fields == right, "sched_advance", "goes to another release, or counts otherwise", **given
        )
        threads.expect(
            threads.rows(_RELEASES) == [(1, 2), (ahead, 1)],
            "sched_advance",
            "waits for another release",
            **given,
        )
        harness.write_u64(PERCPU_PAGE + _CURRENT, threads.at(1))
        harness.write_u64(PERCPU_PAGE + _RESUMED, now - 70)
        threads.put(1, _USED, 5)
        threads.put(1, _LEFT, 50)
        threads.call("sched_charge", rdi=now)
        charged = threads.get(1, _USED), threads.get(1, _LEFT), harness.read_u64(PERCPU_PAGE + _RESUMED)
        threads.expect(charged == (75, MASK64 - 19, now), "sched_charge", "charges otherwise", **given)
        left, deadline = noise.randint(1, 9000), noise.choice((7, MASK64))
        threads.put(1, _LEFT, left)
        threads.put(1, _DEADLINE, deadline)
        rows = noise.choice(([], [(ahead, 2)]))
        threads.queue(_RELEASES, rows)
        moments = [ahead] * bool(rows) + [now + left] * (deadline == 7)
        got = threads.call("sched_event", rdi=threads.at(1), rsi=now).registers["rax"]
        threads.equal(
            got, min(moments, default=MASK64), "sched_event", "names another moment", **given, left=left
        )
