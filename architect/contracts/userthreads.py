"""Threads of ring 3, one routine at a time: made, given back, and what the background thread does for them.

kernel/README.md, Ring 3; shaders/MAILBOX.md, section 6 (SYSCALL). What could not be made leaves nothing; a program is
not touched any more once it may be gone.
"""

from __future__ import annotations

import struct

from architect.contracts import contract
from architect.contracts.model import FULL, INVALID, MASK64, NO_MEMORY, NOT_FOUND, TIMEOUT, UNSUPPORTED
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness
from toolchain.mailbox import layout as m

_OVERLOAD = 11
# kernel/include/user.inc, sched.inc, percpu.inc, cpu.inc
_SPACE, _COUNT, _HOME, _SLOTS, _MADE, _NAME = 0x10, 0x20, 0x40, 0x58, 0x78, 0x90
_USER_PROGRAM, _USER_STACK, _USER_SLOT = 0x00, 0x18, 0x20
_ASK_NEXT, _ASK_STATE, _ASK_RESULT, _ASK_STATUS, _ASK_CODE, _ASK_BYTES, _ASK_BODY = range(0x30, 0x68, 8)
_REFUSED, _SPEC, _TEXT, _FPU, _USER_SIZE, _USER_ALIGN = 0x90, 0x98, 0x100, 0x200, 0x400, 64
_ASKED, _DONE = 1, 2
_THREAD_NEXT, _THREAD_STATE, _THREAD_USER = 0x30, 0x18, 0x940
_RUNNING, _ENDED = 2, 3
_ID, _THREADS, _WORK, _LIST = 0x08, 0x2D0, 0x378, 0x380
_ROW, _WAKE = 64, 0xF1
_STACK_AREA, _SLOT_SHIFT, _STACK = 0x7000_0000_0000, 20, 0x10000
_NX, _WRITE = 1 << 63, 1 << 1
_PATIENCE = 1_000_000_000
_TEXT_MAX = 256
_PROGRAM, _USER, _AREA = BUFFER + 0x1000, BUFFER + 0x1800, BUFFER + 0x8000


@contract("user_attend", needs=("forward_ask", "user_reap"))
def attended_threads(harness: Harness) -> None:
    """Each call that waits is asked once, each ended thread of ring 3 given back once; what comes meanwhile too."""
    step = Step(harness, "user_attend")
    percpu = harness.get("gs_base")
    asking = [_USER + n * _USER_SIZE for n in range(4)]
    threads = [_AREA + n * 0x1000 for n in range(4)]
    late = [0]

    def ask(user: int) -> dict[str, int]:
        harness.write_u64(user + _ASK_NEXT, 0xDEAD)  # the record may be gone
        if late[0]:
            harness.write_u64(asking[3] + _ASK_NEXT, 0)
            harness.write_u64(percpu + _LIST, asking[3])
            harness.write_u64(percpu + _WORK, 1)
            late[0] = 0
        return {}

    def reap(thread: int) -> dict[str, int]:
        at = percpu + _THREADS
        while harness.read_u64(at) != thread:
            at = harness.read_u64(at) + _THREAD_NEXT
        harness.write_u64(at, harness.read_u64(thread + _THREAD_NEXT))
        harness.write_u64(thread + _THREAD_NEXT, 0xDEAD)
        return {}

    step.stand("forward_ask", "rdi", answer=ask)
    step.stand("user_reap", "rdi", answer=reap)
    for work in (0, 1, 2):
        late[0] = int(work == 2)
        for n in range(3):
            harness.write_u64(asking[n] + _ASK_NEXT, asking[n + 1] if n < 2 else 0)
        for n, (state, user) in enumerate(((_ENDED, 5), (_ENDED, 0), (_RUNNING, 5), (_ENDED, 5))):
            harness.write(threads[n] + _THREAD_STATE, struct.pack("<I", state))
            harness.write_u64(threads[n] + _THREAD_USER, user)
            harness.write_u64(threads[n] + _THREAD_NEXT, threads[n + 1] if n < 3 else 0)
        for at, value in ((_LIST, asking[0]), (_THREADS, threads[0]), (_WORK, min(work, 1))):
            harness.write_u64(percpu + at, value)
        step.run("fails", r8=work)
        calls = [("forward_ask", at) for at in asking[:3]]
        ended = [("user_reap", threads[0]), ("user_reap", threads[3])]
        more = [("forward_ask", asking[3])] if work == 2 else []
        step.were([*calls, *ended, *more] if work else [], "attends to others", r8=work)
        step.same(harness.read_u64(percpu + _WORK), 0, "leaves work undone", r8=work)
        step.same(
            harness.read_u64(percpu + _LIST), 0 if work else asking[0], "leaves calls in the list", r8=work
        )


@contract("forward_ask", needs=("gpu_request", "session_base"))
def asked_service(harness: Harness) -> None:
    """Text by copy, in the place of this CPU; one request; the answer or why there is none, then the thread goes on."""
    step = Step(harness, "forward_ask")
    percpu, seen = harness.get("gs_base"), []
    base = _AREA - m.DATA_AT

    def request(body: int, header: int, patience: int) -> dict[str, int]:
        seen.append((header & 0xFFFF_FFFF, patience, harness.read(body, 48)))
        waits = harness.read_u64(_USER + _ASK_STATE)
        step.equal(waits, _ASKED, "forward_ask", "lets the thread go before the answer stands")
        return answer

    step.stand("gpu_request", "rdi", "rsi", "rdx", answer=request)
    step.put64("session_base", base)
    header = m.OP_SYSCALL << m.OPCODE_SHIFT
    for cpu, length, answer in (
        (0, 0, {"rax": 0x4242, "rdx": 0, "cf": 0}), (0, 1, {"rax": 7, "rdx": 0, "cf": 0}),
        (3, _TEXT_MAX, {"rax": MASK64, "rdx": 0, "cf": 0}), (1, 16, {"rax": INVALID, "rdx": 0x9040, "cf": 1}),
        (2, 0, {"rax": NOT_FOUND, "rdx": 0, "cf": 1}), (0, 5, {"rax": TIMEOUT, "rdx": 0, "cf": 1}),
    ):  # fmt: skip
        seen.clear()
        harness.write(percpu + _ID, struct.pack("<I", cpu))
        harness.write(_AREA, b"\x5c" * 0x800)
        text, body = bytes(0x41 + n % 50 for n in range(_TEXT_MAX)), bytearray(range(48))
        harness.write(_USER + _TEXT, text)
        harness.write(_USER + _ASK_BODY, bytes(body))
        harness.write_u64(_USER + _ASK_BYTES, length)
        harness.write_u64(_USER + _ASK_STATE, _ASKED)
        given = {"rdi": _USER, "r8": cpu, "r9": length}
        step.run("fails", **given)
        wanted = bytearray(b"\x5c" * 0x800)
        if length:
            place = cpu * _TEXT_MAX
            wanted[place : place + length] = text[:length]
            struct.pack_into("<Q", body, m.SYSCALL_A - m.SLOT_BODY, m.DATA_AT + place)
        step.same(harness.read(_AREA, 0x800), bytes(wanted), "puts the text elsewhere", **given)
        step.same(seen, [(header, _PATIENCE, bytes(body))], "asks for something else", **given)
        error = answer["rax"] if answer["cf"] else 0
        code = UNSUPPORTED if error == NOT_FOUND else error
        got = [harness.read_u64(_USER + at) for at in (_ASK_CODE, _ASK_STATUS, _ASK_STATE)]
        step.same(got, [code, answer["rdx"], _DONE], "gives the thread another answer", **given)
        if not error:
            step.same(harness.read_u64(_USER + _ASK_RESULT), answer["rax"], "gives another result", **given)
    harness.write(percpu + _ID, struct.pack("<I", 0))


@contract("user_reap", needs=("sched_free", "user_thread_release"))
def reaped_threads(harness: Harness) -> None:
    """The scheduler's part first, then ring 3's, whatever the first said."""
    step = Step(harness, "user_reap")
    step.stand("sched_free", "rdi")
    step.stand("user_thread_release", "rdi")
    for refused in (0, 1):
        step.stand_says("sched_free", {"rax": TIMEOUT, "cf": refused})
        harness.write_u64(_AREA + _THREAD_USER, _USER)
        step.run("fails", rdi=_AREA)
        step.were(
            [("sched_free", _AREA), ("user_thread_release", _USER)], "gives back something else", r8=refused
        )


@contract("user_thread_release", needs=("space_unmap", "heap_free", "ipi_send", "cpu_rows"))
def released_threads(harness: Harness) -> None:
    """Stack, slot, record, and the count last; the CPU that collects the program is woken by the last one only."""
    step = Step(harness, "user_thread_release")
    percpu = harness.get("gs_base")
    here = harness.read_u32(percpu + _ID)
    counted: list[int] = []

    def free(_record: int) -> dict[str, int]:
        counted.append(harness.read_u64(_PROGRAM + _COUNT))
        return {"rax": 0, "cf": 0}

    step.stand("space_unmap", "rdi", "rsi", "rcx")
    step.stand("heap_free", "rdi", answer=free)
    step.stand("ipi_send", "rdi", "rsi")
    step.put(harness.address("cpu_rows") + 2 * _ROW, struct.pack("<I", 0x99))
    top = _STACK_AREA + (6 << _SLOT_SHIFT)
    for count, home, kept in ((2, here, 0), (1, here, 0), (2, 2, 0), (1, 2, 0), (1, 2, 1)):
        counted.clear()
        step.stand_says("space_unmap", {"rax": TIMEOUT, "cf": kept})
        for at, value in ((_SPACE, 0x77), (_COUNT, count), (_HOME, home), (_SLOTS, 0b110_0001)):
            harness.write_u64(_PROGRAM + at, value)
        for at, value in ((_USER_PROGRAM, _PROGRAM), (_USER_STACK, top), (_USER_SLOT, 5)):
            harness.write_u64(_USER + at, value)
        given = {"rdi": _USER, "r8": count, "r9": home}
        step.run("fails", **given)
        woken = [("ipi_send", 0x99, _WAKE)] if count == 1 and home != here else []
        unmapped = ("space_unmap", 0x77, top - _STACK, _STACK)
        step.were([unmapped, ("heap_free", _USER), *woken], "gives back something else", **given)
        slots = 0b110_0001 if kept else 0b100_0001
        step.same(harness.read_u64(_PROGRAM + _SLOTS), slots, "marks another slot as free", **given)
        step.same(harness.read_u64(_PROGRAM + _COUNT), count - 1, "counts other threads", **given)
        step.same(counted, [count], "lets the program go before its record is given back", **given)


@contract("user_thread_create", needs=("user_thread_prepare", "user_place", "user_thread_release"))
def made_threads(harness: Harness) -> None:
    """Counted before it can run; what its CPU refuses is given back, with the reason and the figure."""
    step = Step(harness, "user_thread_create")

    def place(_user: int) -> dict[str, int]:
        step.equal(harness.read_u64(_PROGRAM + _COUNT), 4, step.routine, "does not count it before it runs")
        return placed

    step.stand("user_thread_prepare", "rdi", "rsi", answer={"rax": _USER, "cf": 0})
    step.stand("user_place", "rdi", answer=place)
    step.stand("user_thread_release", "rdi", answer={"rax": 0x4E, "rdx": 0x4E})
    given = {"rdi": _PROGRAM, "rsi": _AREA}
    prepared = ("user_thread_prepare", _PROGRAM, _AREA)
    for placed in ({"rax": 9, "rdx": 0, "cf": 0}, {"rax": _OVERLOAD, "rdx": 1_100_000, "cf": 1}):
        harness.write_u64(_PROGRAM + _COUNT, 3)
        harness.write_u64(_PROGRAM + _MADE, 3)
        step.run(
            "changes the answer", cf=placed["cf"], want={"rax": placed["rax"], "rdx": placed["rdx"]}, **given
        )
        back = [("user_thread_release", _USER)] if placed["cf"] else []
        step.were([prepared, ("user_place", _USER), *back], "does something else", **given)
        step.same(harness.read_u64(_PROGRAM + _MADE), 4 - placed["cf"], "counts other threads", **given)
    harness.write_u64(_PROGRAM + _COUNT, 3)
    step.stand_fails("user_thread_prepare", FULL)
    step.run("changes the reason", cf=1, want={"rax": FULL}, **given)
    step.were([prepared], "goes on without a record", **given)
    step.same(harness.read_u64(_PROGRAM + _COUNT), 3, "counts a thread that there is not", **given)


@contract(
    "user_thread_prepare", "user_thread_fill", needs=("heap_alloc_zeroed", "heap_free", "space_alloc", "user_enter"),
)  # fmt: skip
def prepared_threads(harness: Harness) -> None:
    """A record with what was asked for, a stack at the end of its slot; else neither."""
    step = Step(harness, "user_thread_prepare")
    step.stand("heap_alloc_zeroed", "rdi", "rsi", answer={"rax": _USER, "cf": 0})
    step.stand("heap_free", "rdi", answer={"rax": 0x4E, "cf": 0})
    step.stand("space_alloc", "rdi", "rsi", "rcx", "r8", answer={"rax": 0, "cf": 0})
    given = {"rdi": _PROGRAM, "rsi": _AREA}
    taken, freed = ("heap_alloc_zeroed", _USER_SIZE, _USER_ALIGN), ("heap_free", _USER)
    top = _STACK_AREA + (3 << _SLOT_SHIFT)
    stack = ("space_alloc", 0x77, top - _STACK, _STACK, _NX | _WRITE)
    harness.write_u64(_PROGRAM + _SPACE, 0x77)

    def ask(entry: int, slots: int) -> None:
        harness.write(_USER, bytes(_USER_SIZE))
        harness.write(_AREA, struct.pack("<6Q", entry, 0x1111, 0x2222, 0x3333, 0x4444, 2))
        harness.write_u64(_PROGRAM + _SLOTS, slots)

    ask(0x80_0040_0000, 0b1011)
    step.run("refuses a thread", cf=0, want={"rax": _USER}, **given)
    step.were([taken, stack], "takes something else", **given)
    fields = struct.unpack("<6Q", harness.read(_USER, 48))
    step.same(fields, (_PROGRAM, 0x80_0040_0000, 0x1111, top, 2, 2), "notes something else of it")
    spec = struct.unpack("<7Q", harness.read(_USER + _SPEC, 56))
    enter = harness.address("user_enter")
    step.same(
        spec, (_PROGRAM + _NAME, enter, _USER, 0x2222, 0x3333, 0x4444, 0), "asks the scheduler otherwise"
    )
    fpu = (harness.read(_USER + _FPU, 2), harness.read(_USER + _FPU + 24, 4))
    step.same(fpu, (b"\x7f\x03", b"\x80\x1f\0\0"), "gives it another x87 or SSE state")
    step.same(harness.read_u64(_PROGRAM + _SLOTS), 0b1111, "marks another slot")
    for entry in (1 << 47, MASK64, 1 << 63):
        ask(entry, 0)
        step.run("takes an entry that is not canonical", cf=1, want={"rax": INVALID}, **given)
        step.were([], "takes memory for nothing", **given)
    ask(0, MASK64)
    step.run("finds a slot where all are taken", cf=1, want={"rax": FULL}, **given)
    step.were([taken, freed], "keeps the record of a thread that there is not", **given)
    ask(0, 0b1011)
    step.stand_fails("space_alloc", NO_MEMORY)
    step.run("hides that there is no memory", cf=1, want={"rax": NO_MEMORY}, **given)
    step.were([taken, stack, freed], "keeps the record of a thread that there is not", **given)
    step.same(harness.read_u64(_PROGRAM + _SLOTS), 0b1011, "keeps the slot of a thread that there is not")
    ask(0, 0)
    step.stand_fails("heap_alloc_zeroed", NO_MEMORY)
    step.run("hides that there is no memory", cf=1, want={"rax": NO_MEMORY}, **given)
    step.were([taken], "goes on without a record", **given)


@contract(
    "user_admit",
    needs=(
        "user_choose",
        "sched_check_times",
        "admit_share",
        "admit_total",
        "sched_make",
        "sched_enlist",
        "clock_ns",
    ),
)
def admitted_threads(harness: Harness) -> None:
    """Its share with the overhead, beside load, longest section and the background's reserve; or nothing."""
    step = Step(harness, "user_admit")
    percpu, thread, space = harness.get("gs_base"), _AREA, 0x77
    answers: dict[str, dict[str, int]] = {
        "user_choose": {},
        "sched_check_times": {"rax": 900, "cf": 0},
        "admit_share": {"rax": 250_000},
        "sched_shortest_window": {"rax": 600},
        "admit_total": {"rax": 800_000, "cf": 0},
        "user_fpu_background": {"rax": 0, "cf": 0},
        "sched_make": {"rax": thread, "cf": 0},
        "sched_enlist": {},
        "clock_ns": {"rax": 4321},
    }
    takes = {"admit_share": ("rdi", "rsi"), "admit_total": ("rdi", "rsi", "rdx", "rcx"), "sched_make": ("rdi", "rsi"),
             "sched_shortest_window": ("rdi",), "sched_enlist": ("rdi",)}  # fmt: skip
    for routine, answer in answers.items():
        step.stand(routine, *takes.get(routine, ()), answer=answer)
    order = [
        ("user_choose",), ("sched_check_times",), ("admit_share", 100 + 40, 900), ("sched_shortest_window", 900),
        ("admit_total", 300_000 + 100_000, 250_000, 55, 600), ("user_fpu_background",),
        ("sched_make", _USER + _SPEC, 250_000), ("sched_enlist", thread), ("clock_ns",),
    ]  # fmt: skip

    def run(
        calls: int, rax: int, promise: str, current: int = 1, overhead: int = 40, period: int = 900
    ) -> None:
        harness.write(_USER, bytes(_USER_SIZE))
        harness.write(thread, bytes(0x1000))
        harness.write_u64(thread + 8, 0x19)  # its number
        for at, value in ((_SPEC + 0x18, period), (_SPEC + 0x20, 100), (_USER_PROGRAM, _PROGRAM)):
            harness.write_u64(_USER + at, value)
        harness.write_u64(_PROGRAM + _SPACE, space)
        for at, value in (
            (0x280, current),
            (0x2F8, overhead),
            (0x2F0, 300_000),
            (0x300, 55),
            (0x288, 0),
            (0x330, 0),
        ):
            harness.write_u64(percpu + at, value)
        step.run(promise, want={"rax": rax}, rdi=_USER)
        step.were(order[:calls], promise)
        step.same(
            harness.read_u64(percpu + 0x288), int(calls == len(order)), "asks for a decision, or does not"
        )

    run(0, UNSUPPORTED, "admits without a scheduler", current=0)
    run(0, UNSUPPORTED, "admits without knowing the overhead", overhead=0)
    run(len(order), 1 << 63 | 0x19, "does not admit what can be served")
    kept = [harness.read_u64(thread + at) for at in (0x930, 0x938, _THREAD_USER)]
    step.same(kept, [space, _USER + _FPU, _USER], "gives the thread another space, state or record")
    step.same(harness.read_u64(percpu + 0x2E8), 4321, "notes another moment")
    run(2, INVALID, "admits a period that is too long", period=1_000_000_001)
    for routine, calls, error in (
        ("sched_check_times", 2, INVALID), ("user_fpu_background", 6, NO_MEMORY), ("sched_make", 7, FULL),
    ):  # fmt: skip
        step.stand_fails(routine, error)
        run(calls, error, f"goes on where {routine} has refused")
        step.stand_says(routine, answers[routine])
    step.stand_says("admit_total", {"rax": 1_200_000, "cf": 1})
    run(5, _OVERLOAD, "admits more than the CPU can do")
    told = (harness.read_u64(percpu + 0x330), harness.read_u64(_USER + _REFUSED))
    step.same(told, (1_200_000, 1_200_000), "says another figure that was too much")
