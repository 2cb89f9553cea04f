"""Time: the arithmetic against exact integers, timers that are absent, stuck or lying, the one-shot timer.

Intel SDM vol. 2 (CPUID leaves 0x15 and 0x16), vol. 3, 10.5.4 (APIC timer); IA-PC HPET 1.0a, 2.3 and 3.2.4; Intel 8254
data sheet; ACPI 6.5, 4.8.3.3 (PM timer).
"""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping

from architect.contracts import contract
from architect.contracts.acpi import table
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import PERCPU_PAGE, Harness

_SECOND, _FS = 10**9, 10**15
_MIN, _MAX = 10**7, 2 * 10**10
_TICKS_MAX = (1 << 64) - 1
_DEADLINE, _EARLY, _OFF = 0x208, 0x210, (1 << 64) - 1  # of the per-CPU block; not armed
_RATES = (10**7, 999_999_937, 10**9, 2_596_133_111, 3_000_000_000, 5_400_000_001, 2 * 10**10)
_CALLED = BUFFER + 0x8000  # code of stand-ins that are given by address


def _numbers(seed: str, count: int, bits: int) -> list[int]:
    noise = random.Random(seed)
    return [noise.getrandbits(noise.randrange(1, bits + 1)) for _ in range(count)]


@contract("clock_ticks_to_ns", "clock_set", needs=("clock_scale", "clock_base", "clock_hz"))
def nanoseconds(harness: Harness) -> None:
    """Scaled multiply-shift, exact to the last bit and without overflow up to 2^64 ticks; as close as 32 bits allow."""
    step = Step(harness, "clock_set")
    for hz in _RATES:
        step.routine = "clock_set"
        step.run("fails", rdi=hz)
        scale = (_SECOND << 32) // hz
        step.equal(step.get64("clock_scale"), scale, step.routine, "computes another scale", hz=hz)
        step.equal(step.get64("clock_hz"), hz, step.routine, "keeps another rate", hz=hz)
        step.expect(step.get64("clock_base") != 0, step.routine, "does not begin the clock", hz=hz)
        step.routine = "clock_ticks_to_ns"
        for ticks in (0, 1, hz - 1, hz, 3600 * hz, 1 << 40, _TICKS_MAX, *_numbers(f"ns/{hz}", 40, 64)):
            given = {"rdi": ticks}
            got = step.run("is wrong", want={"rax": ticks * scale >> 32 & _TICKS_MAX}, **given).registers[
                "rax"
            ]
            exact = ticks * _SECOND // hz
            if exact < 1 << 64:
                near = abs(got - exact) <= 1 + (exact * hz // _SECOND >> 32) + 1
                step.expect(near, step.routine, "loses more than the scale's last bit", ticks=ticks, hz=hz)


@contract("clock_ns", "clock_delay", needs=("clock_scale", "clock_base"))
def running_clock(harness: Harness) -> None:
    """It does not go back, follows its scale, and a delay comes to an end, with a rate that is known or not."""
    step = Step(harness, "clock_ns")
    step.put64("clock_base", 0)
    before = 0
    for number in range(20):
        now = step.run("fails", rdi=number).registers["rax"]
        step.expect(now > before, step.routine, "goes back, or stands still", before=before, now=now)
        before = now
    step.put64("clock_scale", 1)  # a tick is 2^-32 ns
    slow = step.run("fails").registers["rax"]
    step.expect(slow <= before >> 31, step.routine, "does not scale", before=before, now=slow)
    step.put64("clock_scale", 1 << 32)
    moment = [0]

    def later() -> Mapping[str, int]:
        moment[0] += 7
        return {"rax": moment[0]}

    step = Step(harness, "clock_delay")
    step.stand("clock_ns", answer=later)
    for length in (0, 1, 7, 8, 1000):
        first = moment[0] + 7
        step.run("does not end", rdi=length)
        step.expect(moment[0] - first >= length, step.routine, "ends too soon", length=length)
        step.expect(moment[0] - first <= length + 14, step.routine, "lasts too long", length=length)


@contract("clock_from_cpuid", "clock_choose")
def rate_of_cpuid(harness: Harness) -> None:
    """Leaf 0x15 is exact, 0x16 nominal; nonsense counts for nothing; the measurement wins where they differ."""
    step = Step(harness, "clock_from_cpuid")
    for last, ratio, frequency, rate, exact in (
        (0x14, (1, 125, 24_000_000), 2500, 0, 0), (0x15, (1, 125, 24_000_000), 2500, 3 * 10**9, 1),
        (0x16, (2, 250, 24_000_000), 2500, 3 * 10**9, 1), (0x16, (2, 250, 0), 2500, 2_500_000_000, 0),
        (0x16, (0, 250, 24_000_000), 3100, 3_100_000_000, 0), (0x15, (2, 250, 0), 2500, 0, 0),
        (0x16, (0, 0, 0), 0, 0, 0), (0x16, (1, 1, 1000), 0, 0, 0), (0x16, (1, 2**31, 2**31), 0, 0, 0),
        (0x16, (0, 0, 0), 0xFFFF, 0, 0), (0x16, (3, 2**32 - 1, 20), 0, 0, 0), (0xD, (9, 9, 9), 9, 0, 0),
    ):  # fmt: skip
        leaves = {0: (last, 0, 0, 0), 0x15: (*ratio, 0), 0x16: (frequency | 0xABCD_0000, 9, 9, 9)}
        harness.cpuid = lambda leaf, subleaf, leaves=leaves: leaves.get(leaf, (0, 0, 0, 0))
        want = {"rax": rate, "ecx": exact}
        step.run("takes another rate from CPUID", want=want, rbx=last << 16 | frequency)
    step.routine = "clock_choose"
    for measured, told, exact, rate, speaks in (
        (0, 0, 0, 0, False), (3 * 10**9, 0, 0, 3 * 10**9, False), (0, 3 * 10**9, 1, 3 * 10**9, False),
        (0, 3 * 10**9, 0, 3 * 10**9, False), (2_999_000_000, 3 * 10**9, 1, 3 * 10**9, True),
        (2_999_000_000, 3 * 10**9, 0, 2_999_000_000, True), (3_001_000_000, 3 * 10**9, 1, 3 * 10**9, True),
        (2_900_000_000, 3 * 10**9, 1, 2_900_000_000, True), (10**9, 3 * 10**9, 1, 10**9, True),
        (3 * 10**9, 10**9, 1, 3 * 10**9, True),
    ):  # fmt: skip
        given = {"rdi": measured, "rsi": told, "rdx": exact}
        result = step.run("believes another rate", want={"rax": rate}, **given)
        word = step.read(result.registers["rdx"], 8, step.routine) if result.registers["rdx"] else b""
        near = measured and told and abs(measured - told) < measured >> 6
        right = (b"agrees" if near else b"differs") if speaks else b""
        step.expect(word.split(b"\0")[0] == right, step.routine, "says something else of CPUID", **given)


@contract("calibrate_rate")
def measured_rates(harness: Harness) -> None:
    """Ticks a second, exact; no time, too much of it, and rates that no machine has are refused."""
    step = Step(harness, "calibrate_rate")
    noise = random.Random("rates")
    cases = [
        (noise.randrange(1 << 34), noise.randrange(1, 1 << 22), noise.randrange(1, 10**9)) for _ in range(200)
    ]
    cases += [
        (1000, 0, 10**7),
        (0, 1000, 10**7),
        (2_596_133, 100_000, 10**7),
        (_TICKS_MAX, 1, 1),
        (1, 1 << 40, 10**9),
    ]
    cases += [
        (10_000, 100_000, 10**7),
        (9_999, 100_000, 10**7),
        (20_000_000, 100_000, 10**7),
        (20_000_001, 10**5, 10**7),
    ]
    cases += [(10**9, ((1 << 64) + _FS) // 2, 2)]
    for ticks, counts, period in cases:
        passed = counts * period
        rate = ticks * _FS // passed if 0 < passed < 1 << 64 else -1
        good = _MIN <= rate <= _MAX
        want = {"rax": rate} if good else {}
        step.run(
            "computes another rate, or believes it", cf=not good, want=want, rdi=ticks, rsi=counts, rdx=period
        )


class _Counter:
    """A routine given by address that returns the counts of a list, the last for ever; how often it was asked."""

    def __init__(self, harness: Harness, counts: Callable[[int], int]) -> None:
        self.asked = 0
        self.counts = counts
        harness.write_code(_CALLED, b"\xc3")
        harness.probe(_CALLED, self._answer)

    def _answer(self, machine: Harness) -> None:
        machine.set("rax", self.counts(self.asked))
        self.asked += 1


_STUCK_MAX = 1 << 14
_STANDS = _CALLED + 0x10
_MOV_EAX, _RET = b"\xb8", b"\xc3"


@contract("calibrate_wait", "calibrate_sample")
def watched_references(harness: Harness) -> None:
    """A reference is watched until it has counted so far, across its wrap; one that stands still is given up."""
    step = Step(harness, "calibrate_wait")
    counter = _Counter(harness, lambda n: n)
    harness.write_code(_STANDS, _MOV_EAX + bytes(4) + _RET)  # never counts, and costs no answer of ours
    for mask, first, wanted, pace, stops in (
        (0xFFFF, 0, 100, 1, None), (0xFFFF, 0xFFF0, 100, 7, None), (0xFFFFFFFF, 0xFFFFFF00, 3000, 11, None),
        (0xFFFFFF, 5, 100, 1, 20), (0xFFFF, 0, 100, 0, None),
    ):  # fmt: skip
        counter.asked = 0
        limit = 1 << 62 if stops is None else stops
        counter.counts = lambda n, f=first, p=pace, m=mask, e=limit: f + min(n * p, e) & m  # type: ignore[misc]
        step.put(BUFFER, struct.pack("<5Q", 0, 0, _CALLED if pace else _STANDS, mask, 0))
        given = {"rdi": BUFFER, "rsi": first, "rdx": wanted}
        result = harness.call("calibrate_wait", given, seed=first, limit=20 * _STUCK_MAX)
        still = stops is not None or not pace
        step.expect(result.end == "returned", step.routine, "waits for ever", **given)
        step.equal(result.flag("cf"), still, step.routine, "is wrong about whether it counts", **given)
        if not still:
            step.equal((counter.asked - 1) * pace >= wanted, True, step.routine, "ends too soon", **given)
            step.expect((counter.asked - 2) * pace < wanted, step.routine, "ends too late", **given)
    step.routine = "calibrate_sample"
    counter.asked, counter.counts = 0, lambda n: 500 + n
    step.run("fails", rdi=BUFFER, rsi=_CALLED)
    ticks, count = struct.unpack("<QQ", step.read(BUFFER, 16, step.routine))
    right = counter.asked > 1 and 500 <= count < 500 + counter.asked and ticks
    step.expect(bool(right), step.routine, "does not keep one of several samples", got=count)


@contract("pit_read", "pm_timer_read", needs=("power_timer",))
def port_timers(harness: Harness) -> None:
    """The 8254 is latched, low byte first, and counts down; the PM timer has 24 bits whatever else it returns."""
    step = Step(harness, "pit_read")
    bytes_left: list[int] = []
    harness.port_in = lambda port, size: bytes_left.pop(0) if port == 0x42 and bytes_left else 0x5A
    for count in (0xFFFF, 0x1234, 0):
        bytes_left[:] = [count & 0xFF, count >> 8]
        result = step.run("reads another count", want={"rax": 0xFFFF - count}, rbx=count)
        step.same(
            [(port, value) for port, _, value in result.ports], [(0x43, 0x80)], "does not latch channel 2"
        )
    step.routine = "pm_timer_read"
    step.put32("power_timer", 0x608)
    harness.port_in = lambda port, size: 0xAB12_3456 if (port, size) == (0x608, 4) else 0
    step.run("reads another count", want={"rax": 0x12_3456})


_NOT_FOUND, _MALFORMED = 3, 6  # ERROR_*


@contract("hpet_open", "hpet_read", needs=("acpi_find", "mmio_map"))
def hpet_tables(harness: Harness) -> None:
    """A table that is whole and names memory; a period within the specification; the counter runs afterwards."""
    step = Step(harness, "hpet_open")
    found = {"rax": BUFFER + 0x800, "cf": 0}
    step.stand("acpi_find", "edi", "esi", answer=lambda signature, skip: found)
    step.stand("mmio_map", "rdi", "rsi", "edx", answer={"rax": BUFFER, "cf": 0})
    for space, address, size, period, good in (
        (0, 0xFED0_0000, 56, 10_000_000, True), (0, 0xFED0_0000, 56, 100_000_000, True), (0, 0xFED0_0000, 60, 1, True),
        (0, 0xFED0_0000, 56, 100_000_001, False), (0, 0xFED0_0000, 56, 0, False), (0, 0xFED0_0000, 55, 10**7, False),
        (0, 0xFED0_0000, 56, 2**32 - 1, False), (1, 0xFED0_0000, 56, 10**7, False), (0, 0xFED0_0010, 56, 10**7, False),
    ):  # fmt: skip
        body = struct.pack("<I BBBBQ B HB", 0x8086_A201, space, 64, 0, 0, address, 0, 100, 0)
        step.put(BUFFER + 0x800, table(b"HPET", body.ljust(24, b"\0")[: size - 36]))
        step.put(BUFFER, struct.pack("<IIQI", 0x8086_A701, period, 0, 2).ljust(0x100, b"\0"))
        want = {"rax": period if good else _MALFORMED}
        given = {"rbx": space, "r12": period, "r13": size}
        step.run("is wrong about whether it can be used", cf=not good, want=want, **given)
        if good:
            step.equal(harness.read_u32(BUFFER + 0x10), 3, step.routine, "does not let it count", **given)
            step.same(step.asked[-1], ("mmio_map", address, 0x400, 0x18), "maps it in another way", **given)
    found.update(cf=1)
    step.run("finds what is not there", cf=True, want={"rax": _NOT_FOUND})
    step.put(BUFFER + 0xF0, struct.pack("<Q", 0x1_2345_6789))
    step.routine = "hpet_read"
    step.run("reads another count", want={"rax": 0x2345_6789})


@contract(
    "timer_counts",
    "timer_arm",
    "timer_cancel",
    "timer_interrupt",
    needs=("clock_ns", "timer_scale", "lapic_write"),
)
def one_shot(harness: Harness) -> None:
    """Rounded up, at least 1, at most what the counter holds; early interrupts arm the rest, late ones are due once."""
    step = Step(harness, "timer_counts")
    for hz in (10**6, 62_500_000, 10**9, 1_000_014_000):
        scale = (hz << 32) // _SECOND
        step.put64("timer_scale", scale)
        for ns in (0, 1, 999, 10**6, 5 * 10**9, 1 << 50, _TICKS_MAX, *_numbers(f"timer/{hz}", 20, 64)):
            step.run("is wrong", want={"rax": min((ns * scale >> 32) + 1, 0xFFFF_FFFF)}, rdi=ns, rbx=hz)
    step.put64("timer_scale", 1 << 32)
    now = [10_000]
    step.stand("clock_ns", answer=lambda: {"rax": now[0]})
    step.stand("lapic_write", "edi", "esi", answer={})
    for deadline, count in (
        (10_500, 501),
        (10_000, 1),
        (9_000, 1),
        (0, 1),
        (10_000 + (1 << 40), 0xFFFF_FFFF),
    ):
        step.routine = "timer_arm"
        step.run("fails", rdi=deadline)
        step.same(step.asked[-1], ("lapic_write", 0x380, count), "arms for another moment", deadline=deadline)
        step.equal(
            harness.read_u64(PERCPU_PAGE + _DEADLINE), deadline, step.routine, "keeps another deadline"
        )
    handled = _Counter(harness, lambda n: 0)
    step.routine = "timer_set_handler" if harness.has("timer_set_handler") else step.routine
    step.run("fails", rdi=_CALLED)
    step.routine = "timer_interrupt"
    for deadline, due, again in ((10_000, 1, False), (9_999, 1, False), (10_001, 0, True), (_OFF, 0, False)):
        handled.asked = 0
        harness.write_u64(PERCPU_PAGE + _DEADLINE, deadline)
        harness.write_u64(PERCPU_PAGE + _EARLY, 0)
        step.run("fails", rdi=0, rsi=BUFFER)
        step.equal(handled.asked, due, step.routine, "is wrong about whether it is due", deadline=deadline)
        asked = step.asked[1:] if deadline != _OFF else step.asked
        rest = [("clock_ns",), ("lapic_write", 0x380, 2)] * again
        step.same(asked, rest, "arms the rest otherwise", deadline=deadline)
        left = harness.read_u64(PERCPU_PAGE + _DEADLINE), harness.read_u64(PERCPU_PAGE + _EARLY)
        step.same(left, (deadline, 1) if again else (_OFF, 0), "leaves another state", deadline=deadline)
    step.routine = "timer_cancel"
    harness.write_u64(PERCPU_PAGE + _DEADLINE, 5)
    step.run("fails")
    step.were([("lapic_write", 0x380, 0)], "does not stop the timer")
    step.equal(harness.read_u64(PERCPU_PAGE + _DEADLINE), _OFF, step.routine, "leaves a deadline")
