"""Further processors: rows and stacks, the page that they begin at, who is told and waited for, calls, the end.

Intel SDM vol. 3, 8.4.4.1 (INIT, SIPI, SIPI), 9.8.5 (IA-32e mode), vol. 2 (far jump: EA iw iw).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import FULL, INVALID, NO_MEMORY, TIMEOUT
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import PERCPU_PAGE, Harness

_ROW = struct.Struct("<II7Q")  # APIC id, state, block, stack bottom and top, four stacks of the IST
_ABSENT, _STARTING, _ONLINE, _PARKED = range(4)
_ROWS_MAX = 64
_ID, _APIC_ID, _CALL = 0x08, 0x0C, 0x218  # of the per-CPU block; routine, argument and result of a call
_IF = 1 << 9


def _rows(step: Step, *states: int) -> None:
    rows = (
        _ROW.pack(0x10 + n, state, BUFFER + 0x1000 * n, 0, 0, 0, 0, 0, 0) for n, state in enumerate(states)
    )
    step.put("cpu_rows", b"".join(rows))
    step.put32("cpu_count", len(states))


def _states(step: Step, count: int) -> list[int]:
    data = step.read(step.at("cpu_rows"), _ROW.size * count, step.routine)
    return [row[1] for row in _ROW.iter_unpack(data)]


@contract("cpu_prepare", needs=("cpu_rows", "cpu_count", "frame_alloc_zeroed", "stack_alloc"))
def prepared_rows(harness: Harness) -> None:
    """A block and four stacks, or no row at all."""
    step = Step(harness, "cpu_prepare")
    tops = iter(range(0xFFFF_C000_0001_0000, 0xFFFF_C000_0100_0000, 0x10000))
    stacks: list[tuple[int, int]] = []

    def stack(size: int) -> Mapping[str, int]:
        stacks.append((size, next(tops)))
        return {"rax": stacks[-1][1], "cf": 0}

    step.stand("frame_alloc_zeroed", answer={"rax": 0x7000, "cf": 0})
    step.stand("stack_alloc", "rdi", answer=stack)
    for number, apic in ((1, 5), (2, 0x1_0000), (_ROWS_MAX - 1, 7)):
        stacks.clear()
        step.put32("cpu_count", number)
        step.run("fails", cf=0, want={"rax": 0}, rdi=apic)
        got = _ROW.unpack(step.read(step.at("cpu_rows", _ROW.size * number), _ROW.size, step.routine))
        top = stacks[0][1]
        want = (
            apic,
            _ABSENT,
            harness.direct_base + 0x7000,
            top - stacks[0][0],
            top,
            *(at for _, at in stacks[1:]),
        )
        step.same(got, want, "fills the row otherwise", number=number)
        step.equal(step.get32("cpu_count"), number + 1, step.routine, "does not count the row", number=number)
    step.run("goes beyond the table", cf=1, want={"rax": FULL}, rdi=9)
    step.put32("cpu_count", 1)
    for routine in ("frame_alloc_zeroed", "stack_alloc"):
        step.stand_fails(routine, NO_MEMORY)
        step.run("starts a CPU without its memory", cf=1, want={"rax": NO_MEMORY}, rdi=9)
        step.equal(step.get32("cpu_count"), 1, step.routine, "counts a row that is not whole")
        step.stand_says("frame_alloc_zeroed", {"rax": 0x7000, "cf": 0})


@contract("trampoline_find", needs=("memory_ram", "bootinfo_modules", "bootinfo_module_count"))
def low_pages(harness: Harness) -> None:
    """The first page below 64 KB that is RAM whole and holds no module."""
    step = Step(harness, "trampoline_find")
    for ranges, modules, page in (
        (((0, 0x9F000),), (), 0x8000), (((0x1000, 0x8800), (0xA000, 0x9F000)), (), 0xA000), ((), (), None),
        (((0, 0x8000), (0x10000, 0x9F000)), (), None), (((0x8001, 0x9F000),), (), 0x9000),
        (((0, 0x9F000),), ((0x8FFF, 1),), 0x9000), (((0, 0x9F000),), ((0x7000, 0x1000),), 0x8000),
        (((0, 0x9F000),), ((0x9000, 0x1000), (0x7FFF, 2)), 0xA000), (((0, 0x9F000),), ((0, 0x10000),), None),
    ):  # fmt: skip
        body = b"".join(struct.pack("<QQ", *row) for row in ranges)
        step.put("memory_ram", struct.pack("<QQQ", len(ranges), 64, 0) + body)
        step.put("bootinfo_modules", b"".join(struct.pack("<QQ48x", *row) for row in modules))
        step.put64("bootinfo_module_count", len(modules))
        want = {} if page is None else {"rax": page}
        step.run("finds another page, or none", cf=page is None, want=want, rbx=len(ranges), r12=len(modules))


@contract("trampoline_place", needs=("trampoline_start", "boot_pml4"))
def placed_trampoline(harness: Harness) -> None:
    """In its page, with the far jump, the descriptor table and CR3 where a CPU of that page finds them."""
    step = Step(harness, "trampoline_place")
    for page in (0x8000, 0xF000):
        step.run("fails", rdi=page)
        code = harness.read(harness.direct_base + page, 0x1000)
        at = code.find(b"\x0f\x22\xc0\xea")  # mov cr0, eax; jmp far
        step.expect(at > 0, step.routine, "has no far jump behind the switch", page=page)
        offset, selector = struct.unpack_from("<HH", code, at + 4)
        long = code[offset - page : offset - page + 2] if page <= offset < page + 0x1000 else b""
        right = selector == 8 and long == b"\xb8\x10"  # mov eax, SELECTOR_KERNEL_DATA
        step.expect(right, step.routine, "jumps elsewhere", page=page, offset=offset)
        root = step.at("boot_pml4") & 0x7FFF_FFFF
        step.expect(
            struct.pack("<I", root) in code, step.routine, "does not name the tables of the boot", page=page
        )
        table = code.find(struct.pack("<QQ", 0, 0x00AF_9A00_0000_FFFF))
        pointer = struct.pack("<HI", 23, page + table)
        step.expect(
            table > 0 and pointer in code, step.routine, "points to another descriptor table", page=page
        )


@contract(
    "processors_tell",
    "processors_await",
    "processors_park",
    needs=("cpu_rows", "cpu_count", "cpu_online", "ipi_send_to"),
)
def told_and_awaited(harness: Harness) -> None:
    """Who is in the state is told, the boot CPU never; all are waited for while some come; the rest is given up."""
    step = Step(harness, "processors_tell")
    step.stand("ipi_send_to", "edi", "esi", answer={})
    _rows(step, _ONLINE, _ABSENT, _STARTING, _ABSENT, _ONLINE)
    step.run("fails", rdi=0x4500, rsi=_ABSENT, rdx=_STARTING)
    step.were([("ipi_send_to", 0x11, 0x4500), ("ipi_send_to", 0x13, 0x4500)], "tells others")
    step.same(_states(step, 5), [_ONLINE, _STARTING, _STARTING, _STARTING, _ONLINE], "leaves other states")
    step.run("fails", rdi=0x4608, rsi=_STARTING, rdx=_STARTING)
    step.same([call[1] for call in step.asked], [0x11, 0x12, 0x13], "tells others")
    step.routine = "processors_park"
    step.run("fails")
    step.same(_states(step, 5), [_ONLINE, _PARKED, _PARKED, _PARKED, _ONLINE], "gives up others")
    step = Step(harness, "processors_await")
    moment = [0]
    arrivals: list[int] = []

    def clock() -> Mapping[str, int]:
        moment[0] += 10
        while arrivals and moment[0] >= arrivals[0]:
            arrivals.pop(0)
            step.put32("cpu_online", step.get32("cpu_online") + 1)
        return {"rax": moment[0]}

    step.stand("clock_ns", answer=clock)
    for count, times, late, longest in (
        (1, (), False, 20), (3, (50, 60), False, 100), (3, (90, 180), False, 220), (3, (90,), True, 240),
        (2, (), True, 140), (2, (5000,), True, 140),
    ):  # fmt: skip
        moment[0], arrivals[:] = 0, times
        step.put32("cpu_count", count)
        step.put32("cpu_online", 1)
        step.run("is wrong about whether all have come", cf=late, rdi=100, rbx=count)
        step.expect(moment[0] <= longest, step.routine, "waits too long", count=count, waited=moment[0])


@contract("cpu_call", "cpu_called", needs=("cpu_rows", "cpu_count", "cpu_call_lock", "ipi_send", "clock_ns"))
def calls(harness: Harness) -> None:
    """Routine and argument stand there before the interrupt; the result comes back; who does not answer is given up."""
    step = Step(harness, "cpu_call")
    moment, answers, seen = [0], [True], []
    block = BUFFER + 0x2000

    def interrupt(apic: int, vector: int) -> Mapping[str, int]:
        seen.append((apic, vector, *struct.unpack("<2Q", step.read(block + _CALL, 16, step.routine))))
        if answers[0]:
            step.put(block + _CALL, struct.pack("<3Q", 0, 0, 0x600D))
        return {"rax": 0, "cf": 0}

    def clock() -> Mapping[str, int]:
        moment[0] += 100_000_000
        if moment[0] == ends[0]:
            step.put(block + _CALL, struct.pack("<3Q", 0, 0, 0x1A7E))
        return {"rax": moment[0]}

    ends = [0]
    step.stand("ipi_send", "edi", "esi", answer=interrupt)
    step.stand("clock_ns", answer=clock)
    _rows(step, _ONLINE, _PARKED, _ONLINE)
    harness.write(PERCPU_PAGE + _ID, struct.pack("<I", 0))
    for cpu in (0, 1, 3, 2**32 - 1):
        step.run("calls a CPU that is not there", cf=1, want={"rax": INVALID}, rdi=cpu, rsi=0x1234, rdx=7)
    step.run("loses the result", cf=0, want={"rax": 0x600D}, rdi=2, rsi=0x1234, rdx=7)
    step.same(seen, [(0x12, 0xF3, 0x1234, 7)], "asks for something else")
    answers[0] = False
    step.run("waits for ever", cf=1, want={"rax": TIMEOUT}, rdi=2, rsi=0x1234, rdx=7)
    step.equal(
        harness.read_u64(block + _CALL), 0, step.routine, "leaves the request of a call that it gave up"
    )
    began = {
        "rdi": 2,
        "rsi": 1,
        "rdx": 7,
    }  # as if it were taken at once: that is what stands there while it runs
    ends[0] = moment[0] + 5_000_000_000
    step.run("gives up a call that has begun", cf=0, want={"rax": 0x1A7E}, **began)
    lock = struct.unpack("<II", step.read(step.at("cpu_call_lock"), 8, step.routine))
    step.expect(lock[0] == lock[1] == 3, step.routine, "keeps the lock, or takes none")
    step = Step(harness, "cpu_called")
    # mov rax, gs:[PERCPU_CALL_ROUTINE]; lea rax, [rax + rdi + 4]; ret
    harness.write_code(BUFFER + 0x8000, bytes.fromhex("65488b042518020000488d443804c3"))
    for routine, result in ((BUFFER + 0x8000, 45), (0, 0)):
        step.put(PERCPU_PAGE + _CALL, struct.pack("<3Q", routine, 40, 0))
        step.run("fails")
        left = struct.unpack("<3Q", step.read(PERCPU_PAGE + _CALL, 24, step.routine))
        step.same(left, (0, 40, result), "does not run what stands there, or says it otherwise", rbx=routine)


@contract("cpu_claim_end", "cpu_stop_others", needs=("cpu_end_owner", "cpu_online", "ipi_send_to"))
def one_end(harness: Harness) -> None:
    """The first CPU that wants to ends the machine; another one halts; NMIs go out only where there are others."""
    step = Step(harness, "cpu_claim_end")
    for cpu, owner, goes_on in ((0, 0, True), (3, 0, True), (3, 4, True), (2, 4, False), (0, 4, False)):
        harness.write(PERCPU_PAGE + _ID, struct.pack("<I", cpu))
        step.put32("cpu_end_owner", owner)
        result = harness.call("cpu_claim_end", {}, seed=cpu, limit=100)
        what = {"cpu": cpu, "owner": owner}
        step.expect(
            (result.end == "returned") == goes_on, step.routine, "lets two CPUs end the machine", **what
        )
        step.equal(step.get32("cpu_end_owner"), owner or cpu + 1, step.routine, "notes another CPU", **what)
    step = Step(harness, "cpu_stop_others")
    step.stand("ipi_send_to", "edi", "esi", answer={})
    for online, sent in ((1, []), (2, [("ipi_send_to", 0, 0xC4400)]), (16, [("ipi_send_to", 0, 0xC4400)])):
        step.put32("cpu_online", online)
        step.run("fails", rbx=online)
        step.were(sent, "stops others otherwise", online=online)


@contract("serial_line_begin", "serial_line_end", needs=("serial_owner", "serial_depth", "serial_flags"))
def line_and_interrupts(harness: Harness) -> None:
    """Interrupts stay off from the outermost begin to its end, and come back as they were; also while it waits."""
    step = Step(harness, "serial_line_begin")
    step.stand("serial_put_char", "dil", answer={})
    harness.write(PERCPU_PAGE + _ID, struct.pack("<I", 1))
    for flags in (0x2, 0x2 | _IF):
        step.put32("serial_owner", 0)
        step.put32("serial_depth", 0)
        inner = 0x2
        for routine, rflags, on in (
            ("serial_line_begin", flags, False), ("serial_line_begin", inner, False),
            ("serial_line_end", inner, False), ("serial_line_end", inner, bool(flags & _IF)),
        ):  # fmt: skip
            step.routine = routine
            result = step.run("fails", rflags=rflags)
            step.equal(result.flag("if"), on, routine, "leaves interrupts otherwise", flags=flags)
    step.put32("serial_owner", 9)
    waits = harness.call("serial_line_begin", {"rflags": 0x2 | _IF}, limit=3000)
    step.expect(waits.end == "limit", "serial_line_begin", "does not wait for the CPU that has the line")
