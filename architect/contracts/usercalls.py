"""Ring 3's ways in and out, one routine at a time: the MSRs of SYSCALL, the look before a return, calls for memory.

Intel SDM vol. 2 (SYSCALL, SYSRET); vol. 3, 5.8.8. What is not canonical must never reach SYSRET (CVE-2012-0217).
"""

from __future__ import annotations

import random
import struct

from architect.contracts import contract
from architect.contracts.model import FULL, INVALID, MASK64, NO_MEMORY, NOT_MAPPED, Session
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import PERCPU_PAGE, Harness

_STAR, _LSTAR, _SFMASK, _EFER, _KERNEL_GS = 0xC000_0081, 0xC000_0082, 0xC000_0084, 0xC000_0080, 0xC000_0102
_MUST_CLEAR = 1 << 8 | 1 << 9 | 1 << 10 | 3 << 12 | 1 << 14 | 1 << 18  # TF IF DF IOPL NT AC
# the per-CPU block, a thread, and what ring 3 has of it (kernel/include/sched.inc, user.inc)
_CURRENT, _OVERHEAD, _THREAD_USER = 0x280, 0x2F8, 0x940
_USER, _PROGRAM = BUFFER + 0x1000, BUFFER + 0x1800
_STOP, _SPACE, _MAP_NEXT, _PAGES = 0x28, 0x10, 0x60, 0x68
_FRAME_RDI, _FRAME_RSI, _FRAME_RDX, _FRAME_RIP = 0x50, 0x58, 0x60, 0x90
_NX, _WRITE = 1 << 63, 1 << 1
_MAP_FIRST, _MAP_END = 0x1000_0000_0000, 0x7000_0000_0000
_PAGE, _PAGES_MAX, _CALL_PAGES = 0x1000, 4096, 256


@contract("syscall_enable", needs=("syscall_enter",))
def call_registers(harness: Harness) -> None:
    """Selectors that SYSRET can use, the entry, and every flag that ring 3 could use against the kernel cleared."""
    session = Session(harness)
    session.call("syscall_enable")
    star = harness.msr(_STAR)
    kernel, user = star >> 32 & 0xFFFF, star >> 48
    session.equal(kernel, 0x08, "syscall_enable", "enters the kernel with other segments")
    session.equal(
        (user + 16, user + 8) == (0x2B, 0x23), True, "syscall_enable", "goes back with other segments"
    )
    entry = harness.address("syscall_enter")
    session.equal(harness.msr(_LSTAR), entry, "syscall_enable", "leads SYSCALL elsewhere")
    mask = harness.msr(_SFMASK)
    session.equal(
        mask & _MUST_CLEAR, _MUST_CLEAR, "syscall_enable", "leaves the kernel flags that ring 3 has chosen"
    )
    session.expect(bool(harness.msr(_EFER) & 1), "syscall_enable", "leaves SYSCALL off")
    session.equal(harness.msr(_KERNEL_GS), 0, "syscall_enable", "gives ring 3 a GS base that is not 0")


def _threads(step: Step, stop: int = 0) -> None:
    """A thread of ring 3 that runs."""
    step.harness.write_u64(PERCPU_PAGE + _CURRENT, BUFFER)
    step.harness.write_u64(BUFFER + _THREAD_USER, _USER)
    step.harness.write_u64(_USER, _PROGRAM)
    step.harness.write_u64(_PROGRAM + _STOP, stop)


@contract("user_return_check", needs=("user_fault", "user_thread_end", "sched_add"))
def checked_returns(harness: Harness) -> None:
    """Only where RIP is in the lower half, and the program goes on."""
    step = Step(harness, "user_return_check")
    for routine in ("user_fault", "user_thread_end"):
        step.stand(routine, "rdi", answer={})
    frame = BUFFER + 0x2000
    for rip, stop in (
        (0x80_0040_0000, 0), (0, 0), ((1 << 47) - 1, 0), (1 << 47, 0), (MASK64, 0), (0xFFFF_8000_0000_0000, 0),
        ((1 << 48) - 1, 0), (1 << 63, 0), (0x80_0040_0000, 1), (1 << 47, 2), (0x80_0040_0000, 3),
    ):  # fmt: skip
        _threads(step, stop)
        harness.write_u64(frame + _FRAME_RIP, rip)
        step.run("fails", rdi=frame)
        asked = [call[0] for call in step.asked]
        want = ["user_thread_end"] if stop else ["user_fault"] if rip >> 47 else []
        step.same(
            asked,
            want,
            "lets a thread back to where it must not go, or stops one that may",
            rip=rip,
            stop=stop,
        )


@contract("user_rights")
def page_rights(harness: Harness) -> None:
    """Read, read and write, read and execute: never write and execute, nothing unknown."""
    step = Step(harness, "user_rights")
    for rights in (0, 1, 2, 3, 4, 7, 8, 1 << 32, 1 << 32 | 1, 1 << 63, MASK64):
        flags = {0: _NX, 1: _NX | _WRITE, 2: 0}.get(rights)
        promise = "gives other rights" if flags is not None else "takes rights that there are not"
        step.run(promise, cf=flags is None, want={"rax": INVALID if flags is None else flags}, rdi=rights)


@contract("call_map", "memory_pages", needs=("space_alloc", "user_rights"))
def mapped_memory(harness: Harness) -> None:
    """Whole pages, at an address that was not given before, within the program's share; else nothing is counted."""
    step, noise = Step(harness, "call_map"), random.Random(32)
    frame = BUFFER + 0x2000
    step.stand("space_alloc", "rdi", "rsi", "rcx", "r8", answer={"rax": 0, "cf": 0})
    harness.write_u64(_PROGRAM + _SPACE, 0x77)
    following, used = _MAP_FIRST, 0
    harness.write_u64(_PROGRAM + _MAP_NEXT, following)
    harness.write_u64(_PROGRAM + _PAGES, used)
    whole = _CALL_PAGES * _PAGE
    wrong = (0, whole + 1, MASK64, 1 << 63, -_PAGE & MASK64)
    last = (5 * _PAGE, whole, whole - 9 * _PAGE, _PAGE, 1)
    for length in (1, _PAGE, _PAGE + 1, *wrong, *(whole,) * 15, *last):
        rights = noise.choice((0, 1, 2))
        harness.write(frame + _FRAME_RDI, struct.pack("<2Q", length, rights))
        pages = -(-length // _PAGE)
        error = INVALID if not 0 < length <= whole else NO_MEMORY if used + pages > _PAGES_MAX else 0
        given = {"length": length, "used": used}
        result = step.run("fails", rdi=frame, r12=_PROGRAM)
        step.refused(result, error, "call_map", "so much memory", **given)
        if error:
            step.were([], "maps something all the same", **given)
        else:
            flags = (_NX, _NX | _WRITE, 0)[rights]
            step.were(
                [("space_alloc", 0x77, following, pages * _PAGE, flags)], "maps something else", **given
            )
            step.equal(result.registers["rax"], following, "call_map", "names another address", **given)
            following += (pages + 1) * _PAGE
            used += pages
        step.equal(harness.read_u64(_PROGRAM + _PAGES), used, "call_map", "counts other pages", **given)
    step.stand_fails("space_alloc", NO_MEMORY)
    harness.write_u64(_PROGRAM + _PAGES, 9)
    harness.write(frame + _FRAME_RDI, struct.pack("<2Q", _PAGE, 1))
    result = step.run(
        "hides that there is no memory", cf=True, want={"rax": NO_MEMORY}, rdi=frame, r12=_PROGRAM
    )
    step.equal(harness.read_u64(_PROGRAM + _PAGES), 9, "call_map", "counts pages that there are not")
    step.stand_says("space_alloc", {"rax": 0, "cf": 0})
    harness.write_u64(_PROGRAM + _MAP_NEXT, _MAP_END - _PAGE + 1)
    step.run("goes beyond its addresses", cf=True, want={"rax": FULL}, rdi=frame, r12=_PROGRAM)


@contract("call_unmap", "call_protect", "memory_range", needs=("space_unmap", "space_protect", "user_rights"))
def returned_memory(harness: Harness) -> None:
    """Only what MAP gave: no image, no stack, nothing of the kernel's, no sum that wraps."""
    step = Step(harness, "call_unmap")
    frame, end = BUFFER + 0x2000, _MAP_FIRST + 0x10_0000
    for routine in ("space_unmap", "space_protect"):
        step.stand(routine, "rdi", "rsi", "rcx", answer={"rax": 0, "cf": 0})
    harness.write_u64(_PROGRAM + _SPACE, 0x77)
    for address, length in (
        (_MAP_FIRST, _PAGE), (_MAP_FIRST, 0x10_0000), (_MAP_FIRST, 0x10_0001), (_MAP_FIRST - _PAGE, _PAGE),
        (_MAP_FIRST - _PAGE, 2 * _PAGE), (end, _PAGE), (end - _PAGE, _PAGE), (end - _PAGE, _PAGE + 1), (0, _PAGE),
        (0x80_0040_0000, _PAGE), (_MAP_END, _PAGE), (1 << 63, _PAGE), (MASK64 - _PAGE + 1, _PAGE), (MASK64, 1),
        (_MAP_FIRST, MASK64), (_MAP_FIRST, 0), (_MAP_FIRST, MASK64 - _MAP_FIRST + 1), (_MAP_FIRST + 5, _PAGE),
    ):  # fmt: skip
        whole = -(-length // _PAGE) * _PAGE
        inside = (
            length > 0 and address >= _MAP_FIRST and address + whole <= end and whole <= _CALL_PAGES * _PAGE
        )
        for routine, call in (("call_unmap", "space_unmap"), ("call_protect", "space_protect")):
            harness.write_u64(_PROGRAM + _MAP_NEXT, end)
            harness.write_u64(_PROGRAM + _PAGES, 1000)
            harness.write(frame + _FRAME_RDI, struct.pack("<3Q", address, length, 0))
            step.asked.clear()
            given = {"address": address, "length": length}
            result = step.call(routine, rdi=frame, r12=_PROGRAM)
            step.refused(result, 0 if inside else INVALID, routine, "this range", **given)
            want = [(call, 0x77, address, whole)] if inside else []
            step.expect(step.asked == want, routine, "works on another range", **given)
            left = 1000 - (whole // _PAGE if inside and routine == "call_unmap" else 0)
            step.equal(harness.read_u64(_PROGRAM + _PAGES), left, routine, "counts other pages", **given)
    step.stand_fails("space_unmap", NOT_MAPPED)
    harness.write(frame + _FRAME_RDI, struct.pack("<3Q", _MAP_FIRST, _PAGE, 0))
    step.run("hides that nothing was there", cf=True, want={"rax": NOT_MAPPED}, rdi=frame, r12=_PROGRAM)
    step.equal(
        harness.read_u64(_PROGRAM + _PAGES), 1000, "call_unmap", "gives back pages that were not there"
    )


@contract("user_choose", needs=("user_admit",))
def chosen_periods(harness: Harness) -> None:
    """5 ms, or eight times the overhead, up to 1 s; the budget in per cent of it. Times that are given stay."""
    step = Step(harness, "user_choose")
    for overhead, period, budget in (
        (700, 0, 40), (625_000, 0, 40), (625_001, 0, 10), (3_000_000, 0, 100), (1 << 56, 0, 40), (700, 0, 101),
        (700, 0, MASK64), (700, 9000, 80), (700, 1, 40), (700, 0, 0),
    ):  # fmt: skip
        harness.write_u64(PERCPU_PAGE + _OVERHEAD, overhead)
        step.put(BUFFER, struct.pack("<7Q", 1, 2, 3, period, budget, 5, 6))
        step.run("fails", rdi=BUFFER)
        chosen = min(max(5_000_000, 8 * overhead), 1_000_000_000)
        want = (chosen, chosen * budget // 100) if period == 0 and budget <= 100 else (period, budget)
        got = struct.unpack("<7Q", step.read(BUFFER, 56, step.routine))
        step.same(
            got,
            (1, 2, 3, *want, 5, 6),
            "chooses other times",
            overhead=overhead,
            period=period,
            budget=budget,
        )
