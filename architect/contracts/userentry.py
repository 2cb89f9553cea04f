"""From ring 3 into the kernel, by SYSCALL and through a gate: the kernel's GS base, the kernel's stack, AC clear.

Intel SDM vol. 2 (SYSCALL, SWAPGS); vol. 3, 6.12.1, 6.14.2. The way back is held to its promises by tests in the kernel.
"""

from __future__ import annotations

import struct

from architect.contracts import contract
from architect.contracts.model import FULL, INVALID, Session
from architect.contracts.steps import BUFFER, Step
from architect.contracts.traps import FRAME, NAMES, WITH_ERROR
from toolchain.harness import BUFFER_BASE, STACK_TOP, Harness
from toolchain.headers import GENERAL

_USER_CODE, _USER_DATA, _USER_RIP = 0x2B, 0x23, 0x80_0040_1234
_AC, _IF, _DF, _NT = 1 << 18, 1 << 9, 1 << 10, 1 << 14
_USER_GS = 0x1234_5000
_KERNEL_RSP, _CURRENT, _THREAD_USER = 0x368, 0x280, 0x940
_THREAD_STACK, _THREAD_SPACE, _THREAD_FPU, _OWNER, _RSP0 = 0x20, 0x930, 0x938, 0x370, 0x184
_XMM5 = 160 + 16 * 5  # in an FXSAVE area
_SYSCALL = 0x100  # stands for the vector
_KERNEL_GS = 0xC000_0102
_SWAPGS = bytes.fromhex("0f01f8c3")
_CODE = BUFFER_BASE + 0x8000
_GATE = struct.Struct("<HHBBHII")
_PROGRAM, _USER = BUFFER + 0x1000, BUFFER + 0x1800
_SLOTS, _CALLS, _FORWARDED = 0x58, 0x80, 0x88
_FIRST, _COUNT = 0x1000, 10
_FRAME_RAX, _FRAME_RDX, _FRAME_FLAGS = 0x78, 0x60, 0xA0
_ERROR_UNSUPPORTED = 9


class _Entries(Session):
    """A kernel with its tables loaded, and ring 3's GS base."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.percpu = harness.address("percpu_boot")
        stack = harness.address("boot_stack_top")
        self.call("percpu_init", rdi=self.percpu, rsi=0, rdx=stack - 4096, rcx=stack)
        self.call("descriptors_init", rdi=BUFFER_BASE)
        self.call("syscall_enable")
        _, base, _ = harness.table("idtr")
        gates = _GATE.iter_unpack(harness.read(base, 256 * _GATE.size))
        self.stubs = [low | middle << 16 | high << 32 for low, _, _, _, middle, high, _ in gates]
        self.seen: dict[str, int] = {}
        self.where = (0, 0)
        for name in ("fault_dispatch", "interrupt_dispatch", "syscall_dispatch"):
            harness.substitute(name, self._handler)
        harness.write_code(_CODE, _SWAPGS)

    def leave(self) -> None:
        """What SWAPGS leaves on the way to ring 3."""
        self.harness.set("gs_base", self.percpu)
        self.call_code()
        self.harness.set("gs_base", _USER_GS)

    def call_code(self) -> None:
        """KERNEL_GS_BASE gets the per-CPU block's address."""
        self.harness.enter(_CODE, {"rsp": STACK_TOP - 0x100})

    def _handler(self, harness: Harness) -> None:
        self.seen = {
            "gs": harness.get("gs_base"),
            "flags": harness.get("rflags"),
            "rsp": harness.get("rsp"),
            "frame": harness.get("rdi"),
        }
        harness.stop()

    def judge(self, routine: str, expected: dict[str, int], stack: tuple[int, int], **what: int) -> None:
        """The handler was reached as it must be, with this frame."""
        self.expect(bool(self.seen), routine, "does not come to the handler", **what)
        self.equal(self.seen["gs"], self.percpu, routine, "comes to the handler with another GS base", **what)
        self.equal(self.seen["flags"] & (_AC | _DF), 0, routine, "leaves flags of ring 3 on", **what)
        self.expect(self.seen["rsp"] % 16 == 8, routine, "calls with RSP not on 16 bytes", **what)
        inside = stack[0] <= self.seen["rsp"] < self.seen["frame"] < stack[1]
        self.expect(inside, routine, "uses another stack than the kernel's", **what)
        values = FRAME.unpack(self.read(self.seen["frame"], FRAME.size, routine))
        frame = dict(zip(NAMES, values, strict=True))
        for name, value in expected.items():
            self.equal(frame[name], value, routine, f"hands over another {name}", **what)


@contract(
    "syscall_enter", needs=("syscall_dispatch", "percpu_boot", "percpu_init", "descriptors_init", "fault_dispatch"),
)  # fmt: skip
def system_call_entry(harness: Harness) -> None:
    """Whatever RSP ring 3 has: the frame lies on the thread's kernel stack, and holds all that ring 3 had."""
    here = _Entries(harness)
    top = BUFFER_BASE + 0x6000
    harness.write_u64(here.percpu + _KERNEL_RSP, top)
    for rsp in (0x7000_000F_FFF0, 0, 8, (1 << 64) - 8, harness.direct_base, here.percpu + 0x100):
        here.seen = {}
        here.leave()
        before = {name: 0x5200_0000_0000_0000 | n for n, name in enumerate(GENERAL)}
        before |= {"rcx": _USER_RIP, "r11": 0x202 | _AC, "rsp": rsp}
        harness.enter(
            harness.address("syscall_enter"), {**before, "rflags": 0x2}
        )  # SFMASK has cleared the rest
        expected = {**before, "vector": _SYSCALL, "error": 0, "rip": _USER_RIP, "cs": _USER_CODE}
        expected |= {"rflags": 0x202 | _AC, "ss": _USER_DATA}
        here.judge("syscall_enter", expected, (top - 0x1000, top), rsp=rsp)
        here.expect(
            bool(here.seen["flags"] & _IF), "syscall_enter", "keeps interrupts off during a call", rsp=rsp
        )


@contract(
    "interrupt_enter",
    needs=("syscall_dispatch", "syscall_enable", "percpu_boot", "percpu_init", "descriptors_init", "fault_dispatch"),
)  # fmt: skip
def gates_from_ring_3(harness: Harness) -> None:
    """Exceptions and interrupts of ring 3 find the kernel's GS base, and neither AC nor DF."""
    here = _Entries(harness)
    for vector in (0, 1, 2, 6, 8, 13, 14, 18, 32, 240, 255):
        here.seen = {}
        here.leave()
        error = 7 if vector in WITH_ERROR else None
        top = BUFFER_BASE + 0x6000
        cpu = (_USER_DATA, 0x7000_000F_FF00, 0x202 | _AC | _NT, _USER_CODE, _USER_RIP)
        pushed = (*cpu, error) if error is not None else cpu
        harness.write(top - 8 * len(pushed), struct.pack(f"<{len(pushed)}Q", *reversed(pushed)))
        before = {name: 0x5300_0000_0000_0000 | n for n, name in enumerate(GENERAL)}
        state = {**before, "rsp": top - 8 * len(pushed), "rflags": 0x2 | _AC | _DF}
        harness.enter(here.stubs[vector], state)
        expected = {
            **before,
            "rsp": cpu[1],
            "vector": vector,
            "error": error or 0,
            "rip": _USER_RIP,
            "cs": _USER_CODE,
        }
        here.judge("interrupt_enter", expected, (top - 0x1000, top), vector=vector)


@contract("user_slot_take", needs=("user_thread_create",))
def stack_slots(harness: Harness) -> None:
    """The lowest that is free, until there is none."""
    step = Step(harness, "user_slot_take")
    for slots in (0, 1, 0b1011, (1 << 63) - 1, 1 << 63, ~(1 << 40) & (1 << 64) - 1, (1 << 64) - 1):
        harness.write_u64(_PROGRAM + _SLOTS, slots)
        free = (~slots & slots + 1).bit_length() - 1
        full = slots == (1 << 64) - 1
        step.run("takes another slot", cf=full, want={"rax": FULL if full else free}, rdi=_PROGRAM, r9=slots)
        left = slots if full else slots | 1 << free
        step.equal(
            harness.read_u64(_PROGRAM + _SLOTS), left, "user_slot_take", "marks another slot", slots=slots
        )


@contract("syscall_dispatch", needs=("call_forward", "call_clock", "call_cpus"))
def dispatched_calls(harness: Harness) -> None:
    """Ten numbers are the kernel's, all others go to the service; rax, rdx and cf of the frame get the answer."""
    step = Step(harness, "syscall_dispatch")
    names = (
        "exit",
        "thread_exit",
        "thread_create",
        "yield",
        "sleep",
        "clock",
        "map",
        "unmap",
        "protect",
        "cpus",
    )
    answers = {f"call_{name}": (0x100 + n, 0x200 + n, n & 1) for n, name in enumerate(names)}
    answers["call_forward"] = (0x77, 0x88, 1)
    for routine, (rax, rdx, cf) in answers.items():
        step.stand(routine, "rdi", "rbx", "r12", answer={"rax": rax, "rdx": rdx, "cf": cf})
    percpu, frame = harness.get("gs_base"), BUFFER + 0x2000
    harness.write_u64(percpu + _CURRENT, BUFFER)
    harness.write_u64(BUFFER + _THREAD_USER, _USER)
    harness.write_u64(_USER, _PROGRAM)
    numbers = (
        *range(_FIRST, _FIRST + _COUNT),
        _FIRST - 1,
        _FIRST + _COUNT,
        0,
        5,
        1 << 32 | _FIRST,
        (1 << 64) - 1,
    )
    for count, number in enumerate(numbers, 1):
        for flags in (0x202, 0xAD7):
            values = [0x9100 + n for n in range(len(NAMES))]
            data = bytearray(FRAME.pack(*values))
            struct.pack_into("<Q", data, _FRAME_RAX, number)
            struct.pack_into("<Q", data, _FRAME_FLAGS, flags)
            harness.write(frame, bytes(data))
            own = number - _FIRST if _FIRST <= number < _FIRST + _COUNT else None
            called = "call_forward" if own is None else f"call_{names[own]}"
            rax, rdx, cf = answers[called]
            given = {"rdi": frame, "r8": number}
            step.run("fails", **given)
            step.were([(called, frame, _USER, _PROGRAM)], "does another call", **given)
            struct.pack_into("<Q", data, _FRAME_RAX, rax)
            struct.pack_into("<Q", data, _FRAME_RDX, rdx)
            struct.pack_into("<Q", data, _FRAME_FLAGS, flags & ~1 | cf)
            step.same(
                harness.read(frame, FRAME.size), bytes(data), "leaves something else in the frame", **given
            )
        step.equal(harness.read_u64(_PROGRAM + _CALLS), 2 * count, "syscall_dispatch", "counts other calls")
    forwarded = 2 * (len(numbers) - _COUNT)
    step.equal(harness.read_u64(_PROGRAM + _FORWARDED), forwarded, "syscall_dispatch", "counts other calls")


@contract("call_forward", needs=("forward_wait", "copy_from_user", "session_control"))
def forwarded_calls(harness: Harness) -> None:
    """Numbers of 32 bits, texts up to 256 bytes by copy, A and B as they are; no service, no question."""
    step = Step(harness, "call_forward")
    frame, text = BUFFER + 0x2000, 0x80_0040_0000
    body, size, result, status, code = 0x60, 0x58, 0x40, 0x48, 0x50
    step.stand("copy_from_user", "rdi", "rsi", "rdx", answer={"rax": 0, "cf": 0})
    step.stand("forward_wait", answer={})
    for device in (0, BUFFER + 0x3000):
        step.put64("session_control", device)
        for number, b, answered in (
            (0, 5, 0), (5, 1, 0), (5, 256, 0), (5, 257, 0), (5, 0, 0), (5, (1 << 64) - 1, 0), (1, 16, 0), (3, 0, 0),
            (4, 0, 8), (64, 0, 0), (69, 300, 0), (0xFFFF_FFFF, 0, 2), (1 << 32, 0, 0), ((1 << 64) - 1, 0, 0),
        ):  # fmt: skip
            harness.write(frame, bytes(FRAME.size))
            for at, value in ((_FRAME_RAX, number), (0x50, text), (0x58, b)):
                harness.write_u64(frame + at, value)
            for at, value in ((result, 0x4242), (status, 0x9040), (code, answered)):
                harness.write_u64(_USER + at, value)
            texts = number in (1, 5)
            wide = number >> 32
            error = INVALID if wide else _ERROR_UNSUPPORTED if not device else 0
            if not error and texts and not 0 < b <= 256:
                error = INVALID
            asked = not error
            error = error or answered
            want = {"rax": error or 0x4242, "rdx": 0x9040 if asked else 0}
            given = {"rdi": frame, "rbx": _USER, "r8": number, "r9": b}
            step.run("answers otherwise", cf=bool(error), want=want, **given)
            copied = [("copy_from_user", _USER + 0x100, text, b)] if asked and texts else []
            step.were([*copied, *([("forward_wait",)] if asked else [])], "asks something else", **given)
            if asked:
                got = struct.unpack("<IIQQ", step.read(_USER + body, 24, "call_forward"))
                step.same(got, (number, 0, text, b), "asks with other fields", **given)
                length = harness.read_u64(_USER + size)
                step.equal(length, b if texts else 0, "call_forward", "sends another length of text", **given)


@contract("user_switch", needs=("space_switch", "syscall_enter"))
def switched_state(harness: Harness) -> None:
    """Space and kernel stack of the thread that comes; x87 and SSE state of whoever uses it, kept for each owner."""
    step = Step(harness, "user_switch")
    step.stand("space_switch", "rdi", answer={"rax": 0, "cf": 0})
    percpu = harness.get("gs_base")
    threads = [BUFFER + 0x1000 * n for n in range(4)]  # kernel, ring 3, ring 3, background
    areas = [0, *(at + 0xA00 for at in threads[1:])]
    for number, (at, area) in enumerate(zip(threads, areas, strict=True)):
        fields = ((_THREAD_SPACE, 0x5000 + number), (_THREAD_STACK, 0x6000 + number), (_THREAD_FPU, area))
        for offset, value in (*fields, (_THREAD_USER, number if number in (1, 2) else 0)):
            harness.write_u64(at + offset, value)
        if area:
            state = bytearray(512)
            struct.pack_into("<H", state, 0, 0x37F)
            struct.pack_into("<I", state, 24, 0x1F80)
            struct.pack_into("<Q", state, _XMM5, 0x1111 * number)
            harness.write(area, bytes(state))
    harness.write_u64(percpu + _OWNER, threads[3])
    holds, kept = 0x9999, {n: 0x1111 * n for n in (1, 2, 3)}
    harness.set("xmm5", holds)
    owner, rsp = 3, 0
    harness.write_u64(percpu + _KERNEL_RSP, rsp)
    for to in (1, 2, 0, 2, 3, 1, 0, 3, 3, 2, 1):
        given = {"rdi": threads[0], "rsi": threads[to], "r8": to}
        step.run("fails", **given)
        step.were([("space_switch", 0x5000 + to)], "loads another space", **given)
        if to in (1, 2):
            rsp = 0x6000 + to
        got = harness.read_u64(percpu + _KERNEL_RSP)
        step.equal(got, rsp, "user_switch", "leads calls to another stack", **given)
        got = harness.read_u64(percpu + _RSP0)
        step.expect(
            to not in (1, 2) or got == rsp, "user_switch", "leads interrupts to another stack", **given
        )
        if to and to != owner:
            kept[owner], holds, owner = holds, kept[to], to
        step.equal(
            harness.get("xmm5"), holds, "user_switch", "lets one thread see registers of another", **given
        )
        for number, value in kept.items():
            if number != owner:
                got = harness.read_u64(areas[number] + _XMM5)
                step.equal(
                    got, value, "user_switch", "loses the registers of a thread", **given, thread=number
                )
        holds = holds + 1  # what the thread computes meanwhile
        harness.set("xmm5", holds)


@contract("fault_stepped", needs=("syscall_enter",))
def stepped_calls(harness: Harness) -> None:
    """The frame of a single step over SYSCALL as it was in ring 3; nothing of the kernel's is left in its GS base."""
    step = Step(harness, "fault_stepped")
    values = dict.fromkeys(NAMES, 0) | {name: 0x9100 + n for n, name in enumerate(NAMES)}
    values |= {
        "rcx": _USER_RIP,
        "r11": 0x302,
        "rip": harness.address("syscall_enter"),
        "cs": 8,
        "ss": 0x10,
        "vector": 1,
    }
    harness.write(BUFFER, FRAME.pack(*values.values()))
    percpu = harness.get("gs_base")
    harness.write_code(_CODE, _SWAPGS)
    harness.enter(_CODE, {"rsp": STACK_TOP - 0x100})
    harness.set("gs_base", percpu)
    step.same(harness.msr(_KERNEL_GS), percpu, "is not tried as it is meant")
    step.run("fails", rdi=BUFFER)
    got = dict(zip(NAMES, FRAME.unpack(harness.read(BUFFER, FRAME.size)), strict=True))
    user = {"rip": _USER_RIP, "rflags": 0x302, "cs": _USER_CODE, "ss": _USER_DATA}
    step.same(got, values | user, "does not make it ring 3's")
    step.same(harness.msr(_KERNEL_GS), 0, "leaves the kernel's GS base to ring 3")
