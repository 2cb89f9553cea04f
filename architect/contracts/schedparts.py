"""The scheduler's pure parts: heap, histogram of start jitter, sums of admission, median, specs, what is shown."""

from __future__ import annotations

import heapq
import random
import struct

from architect.contracts import contract
from architect.contracts.model import FULL, INVALID, MASK64, Session
from toolchain.harness import BUFFER_BASE, PERCPU_PAGE, Harness

_ROWS = BUFFER_BASE + 0x100
_PPM = 1_000_000
_MOST = 0xFFFF_FFFF
_EXACT, _BITS, _BUCKETS = 16, 36, 272
_CURRENT, _BACKGROUND, _THREADS, _COUNT = (
    0x280,
    0x2C8,
    0x2D0,
    0x2D8,
)  # of the per-CPU block (kernel/include/sched.inc)


@contract("queue_push", "queue_pop")
def sched_queue(harness: Harness) -> None:
    """Random sequences against ``heapq``: the smallest key first, no row lost or made up, never more than fit."""
    session, noise = Session(harness), random.Random(21)
    for capacity, spread in ((1, 4), (7, 3), (40, 1000), (200, MASK64)):
        harness.write(BUFFER_BASE, struct.pack("<3Q", 0, capacity, _ROWS))
        harness.write(_ROWS + capacity * 16, b"\x77" * 16)
        held: list[tuple[int, int]] = []
        for step in range(6 * capacity + 20):
            grow = noise.random() < (0.7 if step < 3 * capacity else 0.35)
            if grow:
                key, value = noise.randint(0, spread), noise.getrandbits(64)
                full = len(held) == capacity
                result = session.call("queue_push", rdi=BUFFER_BASE, rsi=key, rdx=value)
                session.equal(result.flag("cf"), full, "queue_push", "refuses otherwise than when it is full")
                if not full:
                    heapq.heappush(held, (key, value))
            else:
                result = session.call("queue_pop", rdi=BUFFER_BASE)
                session.equal(
                    result.flag("cf"), not held, "queue_pop", "refuses otherwise than when it is empty"
                )
                if held:
                    row = result.registers["rax"], result.registers["rdx"]
                    session.equal(row[0], held[0][0], "queue_pop", "does not take the smallest key")
                    session.expect(row in held, "queue_pop", "takes a row that was never put in")
                    held.remove(row)
                    heapq.heapify(held)
            session.equal(harness.read_u64(BUFFER_BASE), len(held), "queue_push", "counts otherwise")
        kept = harness.read(_ROWS + capacity * 16, 16) == b"\x77" * 16
        session.expect(kept, "queue_push", "writes behind its rows")


def _index(value: int) -> int:
    value = min(value, (1 << _BITS) - 1)
    shift = max(0, value.bit_length() - 4)
    return (value >> shift) + 8 * shift


def _upper(index: int) -> int:
    return index if index < _EXACT else (((index & 7) + 9) << (index // 8 - 1)) - 1


@contract("histogram_index", "histogram_upper", "histogram_add", "histogram_percentile")
def sched_histogram(harness: Harness) -> None:
    """Buckets without a gap, an eighth wide; a percentile is the end of the bucket that holds it."""
    session, noise = Session(harness), random.Random(22)
    values = {0, 1, 15, 16, 17, 31, 32, (1 << _BITS) - 1, 1 << _BITS, MASK64}
    values |= {(1 << bit) + by for bit in range(4, 63) for by in (-1, 0, 1)}
    for value in sorted(values):
        got = session.call("histogram_index", rdi=value).value("eax")
        session.equal(got, _index(value), "histogram_index", "chooses another bucket", rdi=value)
    for index in range(_BUCKETS):
        upper = session.call("histogram_upper", rdi=index).registers["rax"]
        session.equal(upper, _upper(index), "histogram_upper", "names another end", rdi=index)
        session.equal(_index(upper), index, "histogram_upper", "names the end of another bucket", rdi=index)
    for count, bits in ((0, 1), (1, 4), (2, 20), (99, 6), (100, 30), (101, 36), (250, 12)):
        harness.write(BUFFER_BASE, bytes(8 * _BUCKETS))
        sample = sorted(noise.getrandbits(noise.randint(1, bits)) for _ in range(count))
        for value in noise.sample(sample, count):
            session.call("histogram_add", rdi=BUFFER_BASE, rsi=value)
        rows = struct.unpack(f"<{_BUCKETS}Q", harness.read(BUFFER_BASE, 8 * _BUCKETS))
        session.equal(sum(rows), count, "histogram_add", "does not count each value once")
        for share in (1, 500, 990, 999, 1000):
            given = {"rsi": count, "rdx": share}
            got = session.call("histogram_percentile", rdi=BUFFER_BASE, **given).registers["rax"]
            right = _upper(_index(sample[-(-count * share // 1000) - 1])) if count else 0
            session.equal(got, right, "histogram_percentile", "names another value", **given)


@contract("admit_share", "admit_total")
def sched_admission(harness: Harness) -> None:
    """Sums of C / min(D, T) and of the longest section over the shortest window, rounded up; at most the whole."""
    session, noise = Session(harness), random.Random(23)
    pairs = [(0, 1), (1, 1), (1, 3), (2, 3), (1, _PPM), (1, _PPM + 1), (5, 0), (MASK64, 1), (MASK64, MASK64)]
    pairs += [
        (noise.getrandbits(noise.randint(1, 64)), noise.getrandbits(noise.randint(1, 64))) for _ in range(60)
    ]
    for cost, window in pairs:
        got = session.call("admit_share", rdi=cost, rsi=window).registers["rax"]
        right = min(-(-cost * _PPM // window), _MOST) if window else _MOST
        session.equal(got, right, "admit_share", "computes another share", rdi=cost, rsi=window)
    cases = [(0, _PPM, 0, 1), (0, _PPM + 1, 0, 1), (700_000, 300_000, 0, 5), (700_000, 299_000, 1, 1000)]
    cases += [(700_000, 299_001, 1, 1000), (_MOST, _MOST, MASK64, 0), (0, 0, 0, 0)]
    cases += [
        (noise.randrange(_PPM), noise.randrange(_PPM), noise.randrange(2000), noise.randint(1, 10**6))
        for _ in range(40)
    ]
    for load, share, section, window in cases:
        given = {"rdi": load, "rsi": share, "rdx": section, "rcx": window}
        result = session.call("admit_total", **given)
        blocked = 0 if not section else min(-(-section * _PPM // window), _MOST) if window else _MOST
        total = load + share + blocked
        session.equal(result.registers["rax"], total, "admit_total", "computes another sum", **given)
        session.equal(result.flag("cf"), total > _PPM, "admit_total", "admits otherwise", **given)


@contract("sched_median")
def sched_median(harness: Harness) -> None:
    """The value in the middle of what was measured, however often it comes."""
    session, noise = Session(harness), random.Random(24)
    for count in (1, 2, 3, 14, 15, 15, 15, 64):
        values = [
            noise.choice((0, 7, MASK64, noise.getrandbits(64), 700 + noise.randrange(5)))
            for _ in range(count)
        ]
        harness.write(BUFFER_BASE, struct.pack(f"<{count}Q", *values))
        got = session.call("sched_median", rdi=BUFFER_BASE, rsi=count).registers["rax"]
        session.equal(got, sorted(values)[count // 2], "sched_median", "chooses another value", count=count)


@contract("sched_check", "sched_check_times", needs=("sched_create",))
def sched_specs(harness: Harness) -> None:
    """Only times that make sense, only of the background thread, only as many as the queues hold."""
    session = Session(harness)
    longest, own = 1 << 56, BUFFER_BASE + 0x400
    for period, budget, window, entry, current, count, error in (
        (1000, 1000, 0, 1, own, 0, 0), (1000, 1001, 0, 1, own, 0, INVALID), (999, 1, 0, 1, own, 0, INVALID),
        (longest, 1, 0, 1, own, 0, 0), (longest + 1, 1, 0, 1, own, 0, INVALID), (5000, 0, 0, 1, own, 0, INVALID),
        (5000, 300, 300, 1, own, 1023, 0), (5000, 301, 300, 1, own, 0, INVALID), (5000, 5000, 9000, 1, own, 0, 0),
        (5000, 5001, 9000, 1, own, 0, INVALID), (5000, 1, 1, 0, own, 0, INVALID), (5000, 1, 1, 1, 0, 0, INVALID),
        (5000, 1, 1, 1, own + 8, 0, INVALID), (5000, 1, 1, 1, own, 1024, FULL), (5000, 1, MASK64, 1, own, 0, INVALID),
        (MASK64, 1, 1, 1, own, 0, INVALID), (5000, MASK64, 0, 1, own, 0, INVALID), (0, 1, 1, 1, own, 0, INVALID),
    ):  # fmt: skip
        harness.write(BUFFER_BASE, struct.pack("<7Q", 1, entry, 0, period, budget, window, 0))
        harness.write_u64(PERCPU_PAGE + _CURRENT, current)
        harness.write_u64(PERCPU_PAGE + _BACKGROUND, own)
        harness.write_u64(PERCPU_PAGE + _COUNT, count)
        result = session.call("sched_check", rdi=BUFFER_BASE)
        given = {"period": period, "budget": budget, "window": window, "threads": count}
        session.refused(result, error, "sched_check", "what a thread asks for", **given)
        if not error:
            right = min(period, window or period)
            session.equal(result.registers["rax"], right, "sched_check", "names another window", **given)


_NAME, _NEXT, _WORST, _STARTS, _HISTOGRAM = 0x10, 0x30, 0x98, 0xA8, 0xB0  # of a thread (THREAD_*)
_SHOWN = {"p99": 0xB0, "name": 0xC0, "size": 0xE0}  # of its copy (kernel/include/snapshot.inc)


@contract("threads_count", "thread_copy", "snapshot_percentile", needs=("histogram_percentile",))
def sched_snapshots(harness: Harness) -> None:
    """The nth thread of a CPU: its record, its name as far as there is room, a percentile that nothing exceeded."""
    session, noise = Session(harness), random.Random(25)
    first, apart, names, row = BUFFER_BASE + 0x1000, 0x1000, BUFFER_BASE + 0x800, BUFFER_BASE + 0x200
    request, room = BUFFER_BASE + 0x100, _SHOWN["size"] - _SHOWN["name"]
    told = (b"idle", b"", b"n" * (room - 1), b"m" * (room + 9))
    records = []
    for number, name in enumerate(told):
        at, name_at = first + number * apart, names + number * 0x40
        harness.write(name_at, name + b"\0")
        record = bytearray(noise.randbytes(_HISTOGRAM))
        worst, next_at = 1000 + number, at + apart if number + 1 < len(told) else 0
        for offset, value in ((_NAME, name_at), (_NEXT, next_at), (_WORST, worst), (_STARTS, number)):
            record[offset : offset + 8] = struct.pack("<Q", value)
        harness.write(at, bytes(record) + bytes(8 * _BUCKETS))
        for _ in range(number):
            session.call("histogram_add", rdi=at + _HISTOGRAM, rsi=worst)
        records.append((bytes(record), name, worst if number else 0))
    for count in (0, len(told)):
        harness.write_u64(PERCPU_PAGE + _THREADS, first if count else 0)
        got = session.call("threads_count", rdi=0).registers["rax"]
        session.equal(got, count, "threads_count", "counts otherwise")
        for number in range(count + 1):
            harness.write(row, b"\xee" * _SHOWN["size"])
            harness.write(request, struct.pack("<QQ", number, row))
            found = session.call("thread_copy", rdi=request).registers["rax"]
            session.equal(found, int(number < count), "thread_copy", "is wrong about who is there", n=number)
            if not found:
                continue
            kept, name, p99 = records[number]
            shown = session.read(row, _SHOWN["size"], "thread_copy")
            same = shown[:_NAME] + shown[_NAME + 8 : _HISTOGRAM] == kept[:_NAME] + kept[_NAME + 8 :]
            session.expect(same, "thread_copy", "copies another record", n=number)
            whole = shown[_SHOWN["name"] :].split(b"\0")[0] == name[: room - 1]
            leads = struct.unpack_from("<Q", shown, _NAME)[0] == row + _SHOWN["name"]
            session.expect(whole and leads, "thread_copy", "shows another name", n=number)
            session.equal(
                struct.unpack_from("<Q", shown, _SHOWN["p99"])[0], p99, "thread_copy", "shows another p99"
            )
