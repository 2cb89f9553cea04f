"""Shoot-downs: who is asked, what the others do, and what becomes of a CPU that does not answer.

Intel SDM vol. 3, 4.10.5. The other CPUs are played by the stand-in of ``ipi_send``: they answer, or they do not.
"""

from __future__ import annotations

import struct

from architect.contracts import contract
from architect.contracts.model import FULL, TIMEOUT
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import PERCPU_PAGE, Harness
from toolchain.watch import watch

_PAGE = 0x1000
_ID, _APIC_ID, _FOCUS, _SPACE_CPUS = 0x08, 0x0C, 0x710, 0x10
_VECTOR = 0xF2
_PGE = 1 << 7
_APIC_IDS = tuple(range(0x20, 0xA0, 2))  # of CPU n: not its number
_REQUEST = struct.Struct("<4Q")
_HERE = ("tlb_flush_here",)


class _Cpus(Step):
    """CPU 1 of several; the others answer unless they are in ``deaf``."""

    def __init__(self, harness: Harness, routine: str) -> None:
        super().__init__(harness, routine)
        self.deaf: set[int] = set()
        self.seen: list[tuple[int, int]] = []
        harness.write(PERCPU_PAGE + _ID, struct.pack("<2I", 1, _APIC_IDS[1]))
        self.put("tlb_apic_ids", struct.pack("<64I", *_APIC_IDS))
        self.put64("tlb_wait_max", 50)
        self.events = watch(harness, _HERE)

    def request(self) -> tuple[int, int, int, int]:
        """What is asked: address, length, of whom, and its number."""
        va, length, targets, number = _REQUEST.unpack(self.harness.read(self.at("tlb_request"), 32))
        return va, length, targets, number

    def answer(self, apic_id: int, vector: int) -> dict[str, int]:
        """The other side of an interrupt."""
        cpu = _APIC_IDS.index(apic_id) if apic_id in _APIC_IDS else -1
        va, length, targets, number = self.request()
        asked = vector == _VECTOR and cpu >= 0 and targets >> cpu & 1
        self.expect(bool(asked), "tlb_shoot", "interrupts a CPU and asks nothing of it", apic_id=apic_id)
        self.expect(bool(self.events), "tlb_flush", "asks others before its own translations are gone")
        old = self.harness.read_u64(self.at("tlb_answers", 8 * cpu))
        self.expect(old != number, "tlb_shoot", "takes the answer to an earlier request for this one's")
        self.seen.append((va, length))
        self.harness.write_u64(self.at("tlb_answers", 8 * cpu), number - (cpu in self.deaf))
        return {"rax": 0, "cf": 0}


@contract(
    "tlb_flush", "tlb_shoot", "tlb_wait", "tlb_flush_here",
    needs=(
        "ipi_send", "tlb_answers", "tlb_request", "tlb_cpus", "tlb_late", "tlb_apic_ids", "tlb_wait_max",
        "tlb_timeouts",
    ),
)  # fmt: skip
def shoot_down(harness: Harness) -> None:
    """Exactly those who may hold the translations, and each of them before the call returns."""
    step = _Cpus(harness, "tlb_flush")
    step.stand("ipi_send", "edi", "esi", answer=step.answer)
    timeouts = 0
    for cpus, space, deaf in (
        (0, None, ()), (0b10, None, ()), (0b1011, None, ()), (0b1111, 0b0110, ()), (0b1111, 0b10, ()),
        (0b1011, 0, ()), (1 << 63 | 3, 1 << 63 | 2, ()), (0b1111, None, (2,)), (0b1111, 0b1101, (0, 3)),
    ):  # fmt: skip
        step.deaf = set(deaf)
        step.seen.clear()
        step.events.clear()
        step.put64("tlb_cpus", cpus)
        step.put64("tlb_late", 0)
        harness.write_u64(BUFFER + _SPACE_CPUS, space or 0)
        harness.write_u64(PERCPU_PAGE + _FOCUS, 0 if space is None else BUFFER)
        given = {"rdi": 0xFFFF_C000_0000_3000, "rsi": 5 * _PAGE, "rbx": cpus}
        want = {"rax": TIMEOUT if deaf else 0}
        step.run("is wrong about whether all have answered", cf=bool(deaf), want=want, **given)
        targets = cpus & (cpus if space is None else space) & ~2
        asked = sorted(int(row[1]) for row in step.asked)
        right = sorted(_APIC_IDS[n] for n in range(64) if targets >> n & 1)
        step.same(asked, right, "asks other CPUs than those that may hold the translations", **given)
        step.same(
            set(step.seen), {(given["rdi"], given["rsi"])} if right else set(), "asks for another range"
        )
        timeouts += bool(deaf)
        step.same(step.get64("tlb_timeouts"), timeouts, "counts other CPUs that do not answer", **given)
        late = sum(1 << n for n in deaf)
        step.same(step.get64("tlb_late"), late, "forgets who did not answer", **given)


@contract(
    "tlb_answer", "tlb_flush_here", "tlb_leave", needs=("tlb_request", "tlb_answers", "tlb_late", "tlb_cpus")
)
def answers(harness: Harness) -> None:
    """A CPU that is asked drops the range, then says so, for itself alone; one that was late drops everything."""
    step = _Cpus(harness, "tlb_answer")
    va, pages, other = 0x12_3400_0000, 3, 4
    harness.set("cr4", harness.get("cr4") | _PGE)
    for number, (targets, late, length, done) in enumerate((
        (0, 0, pages, False), (0b10, 0, pages, False), (0b1111, 0, pages, False), (0b1101, 0, pages, False),
        (0, 0b110, pages, False), (0b11, 0b10, pages, False), (0b10, 0, 512, False), (0b10, 0, pages, True),
    ), start=5):  # fmt: skip
        step.events.clear()
        step.put("tlb_request", _REQUEST.pack(va, length * _PAGE, targets, number))
        step.put(
            "tlb_answers", struct.pack("<64Q", *[number if n == 1 and done else other for n in range(64)])
        )
        step.put64("tlb_late", late)
        given = {"rbx": targets, "rdx": late, "rcx": length}
        step.run("fails", **given)
        asked = bool(targets & 2) and not done
        said = struct.unpack("<64Q", harness.read(step.at("tlb_answers"), 512))
        wanted = tuple(number if n == 1 and (asked or done) else other for n in range(64))
        step.same(said, wanted, "answers for others, or not for itself", **given)
        step.same(step.get64("tlb_late"), late & ~2, "forgets who was late, or is late for ever", **given)
        one = {event.value & -_PAGE for event in step.events if event.kind == "invlpg"}
        everything = any(event.kind == "cr4" and not event.value & _PGE for event in step.events)
        must = {va + n * _PAGE for n in range(length)} if asked else set()
        step.expect(
            everything or must <= one, step.routine, "answers without having dropped the range", **given
        )
        step.expect(everything or not late & 2, step.routine, "drops too little after it was late", **given)
        idle = not asked and not late & 2
        step.expect(not step.events or not idle, step.routine, "drops what nobody asked for", **given)
    step.put("tlb_request", _REQUEST.pack(va, _PAGE, 0b110, 99))
    step.put64("tlb_cpus", 0b111)
    step.call("tlb_leave")
    step.same(step.get64("tlb_cpus"), 0b101, "tlb_leave takes another CPU out, or none")
    last = step.get64("tlb_answers"), harness.read_u64(step.at("tlb_answers", 8))
    step.same(last, (other, 99), "tlb_leave lets the one that asked wait for ever")


@contract("tlb_join", needs=("interrupt_install", "tlb_cpus", "tlb_apic_ids", "tlb_interrupt"))
def joins(harness: Harness) -> None:
    """The handler once, then a bit and an APIC id for each CPU; the translations of before are dropped."""
    step = _Cpus(harness, "tlb_join")
    step.put("tlb_apic_ids", bytes(256))
    step.stand("interrupt_install", "edi", "rsi", answer={"rax": 0, "cf": 0})
    mask = 0
    for cpu in (0, 1, 63):
        harness.write(PERCPU_PAGE + _ID, struct.pack("<2I", cpu, 7 * cpu + 1))
        step.events.clear()
        step.run("refuses a CPU", cf=False, want={"rax": 0}, rbx=cpu)
        mask |= 1 << cpu
        step.same(step.get64("tlb_cpus"), mask, "notes other CPUs", rbx=cpu)
        step.same(
            harness.read_u32(step.at("tlb_apic_ids", 4 * cpu)), 7 * cpu + 1, "notes another APIC id", rbx=cpu
        )
        install = [] if cpu else [("interrupt_install", _VECTOR, step.at("tlb_interrupt"))]
        step.were(install, "installs another handler, or one for each CPU", rbx=cpu)
        dropped = any(event.kind == "cr4" and not event.value & _PGE for event in step.events)
        step.expect(dropped, step.routine, "keeps what changed before it was asked", rbx=cpu)
    harness.write(PERCPU_PAGE + _ID, struct.pack("<2I", 64, 9))
    step.run("takes a CPU that has no bit", cf=True, want={"rax": FULL})


@contract("mm_lock_enter", "mm_lock_leave", needs=("tlb_answer", "page_lock"))
def memory_locks(harness: Harness) -> None:
    """In turn; whoever waits answers shoot-downs; interrupts and CF come back as they were."""
    step = Step(harness, "mm_lock_enter")
    lock = step.at("page_lock")
    turns = [0]

    def waiting() -> dict[str, int]:
        turns[0] += 1
        if turns[0] == 3:  # the holder is done
            harness.write(lock, struct.pack("<2I", 6, 5))
        return {}

    step.stand("tlb_answer", answer=waiting)
    step.run("does not take a lock that is free", want={"rax": 0}, rdi=lock)
    step.same(struct.unpack("<2I", harness.read(lock, 8)), (1, 0), "leaves another ticket")
    for carry in (True, False):
        harness.write(lock, struct.pack("<2I", 4, 3))
        result = step.call("mm_lock_leave", rdi=lock, rsi=0)
        step.expect(not result.flag("if"), "mm_lock_leave", "turns interrupts on that were off", carry=carry)
        step.same(struct.unpack("<2I", harness.read(lock, 8)), (4, 4), "mm_lock_leave keeps the lock")
    result = step.call("mm_lock_leave", rdi=lock, rsi=1 << 9)
    step.expect(result.flag("if"), "mm_lock_leave", "leaves interrupts off that were on")
    harness.write(lock, struct.pack("<2I", 5, 4))
    step.run("takes a lock out of turn", rdi=lock)
    step.expect(turns[0] >= 3, step.routine, "does not answer while it waits")
