"""Serial line, fw_cfg, display and framebuffer, and the reader of dead stacks: each routine alone.

PC16550D, 8.4 (line status), 8.5 (FIFO of 16); QEMU ``docs/specs/fw_cfg.rst`` (selector port 0x510, 16 bits); bochs
``iodev/display/vga.h`` (DISPI index 0x1ce, data 0x1cf); Intel SDM vol. 3, 4.5 (walk).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.pcisteps import row, table
from architect.contracts.steps import BUFFER, Step
from architect.contracts.tables import LARGE, PRESENT, WRITE
from toolchain.harness import PERCPU_PAGE, Harness

_COM1, _FIFO = 0x3F8, 16
_CPU = 0x08  # of the per-CPU block
_BAR0, _PAGE = 0xFD00_0000, 0x1000
_ROOT, _TABLES = 0x2_0000, 0x3_0000
_PREFETCH = 8


# --- the serial line ----------------------------------------------------------------------------------------


@contract("serial_wait_empty", needs=("serial_room",))
def wait_empty_alone(harness: Harness) -> None:
    """The transmit FIFO is empty when bit 5 of line status says so, and takes 16 bytes then."""
    step = Step(harness, "serial_wait_empty")
    for polls in (1, 4):
        left = [polls]

        def status(port: int, size: int, left: list[int] = left) -> int:
            left[0] -= port == _COM1 + 5
            return 0xDF if left[0] > 0 else 0x20  # all but the bit in question

        harness.port_in = status
        step.put32("serial_room", 0)
        step.run("gives a line up that works", cf=False, rbx=polls)
        step.same(left[0], 0, "does not wait until the FIFO is empty", polls=polls)
        room = step.get32("serial_room")
        step.expect(
            0 < room <= _FIFO, step.routine, "takes the FIFO for longer than it is, or for full", got=room
        )


@contract("serial_put_char", needs=("serial_wait_empty", "serial_room", "serial_dead", "serial_mid_line"))
def put_char_alone(harness: Harness) -> None:
    """One byte out where there is room, a wait where there is none, nothing to a dead line."""
    step = Step(harness, "serial_put_char")

    def wait() -> Mapping[str, int]:
        step.put32("serial_room", _FIFO)
        return {"cf": 0}

    step.stand("serial_wait_empty", answer=wait)
    for byte, room, dead in ((0x41, 5, 0), (0x0A, 1, 0), (0x80, 0, 0), (0x0A, 0, 0), (0x41, 5, 1)):
        step.put32("serial_room", room)
        step.put("serial_dead", bytes((dead,)))
        step.put("serial_mid_line", bytes((byte == 10,)))
        given = {"rdi": 0xAB00 | byte, "rbx": room}
        result = step.run("fails", **given)
        step.same(result.ports, () if dead else ((_COM1, 1, byte),), "sends something else", **given)
        waited = [("serial_wait_empty",)] if not room and not dead else []
        step.were(waited, "is wrong about whether it must wait", **given)
        if not dead:
            step.same(step.get32("serial_room"), (room or _FIFO) - 1, "counts another room", **given)
            middle = harness.read(step.at("serial_mid_line"), 1)[0]
            step.same(bool(middle), byte != 10, "is wrong about where a line begins", **given)


@contract("serial_line_end", needs=("serial_put_char", "serial_owner", "serial_depth"))
def line_end_alone(harness: Harness) -> None:
    """The end of a line; the outermost lets the line go."""
    step = Step(harness, "serial_line_end")
    step.stand("serial_put_char", "dil", answer={})
    for depth, owner in ((2, 1), (1, 0), (3, 1)):
        step.put32("serial_owner", 1)
        step.put32("serial_depth", depth)
        step.run("fails", rbx=depth)
        step.were([("serial_put_char", 10)], "does not end the line")
        got = (step.get32("serial_depth"), step.get32("serial_owner"))
        step.same(got, (depth - 1, owner), "lets the line go too early, or not at all", depth=depth)


@contract("serial_line_begin", needs=("serial_put_char", "serial_owner", "serial_depth", "serial_mid_line"))
def line_begin_lock_alone(harness: Harness) -> None:
    """A free line is taken, one's own is entered again, another's is waited for."""
    step = Step(harness, "serial_line_begin")
    step.stand("serial_put_char", "dil", answer={})
    for cpu, owner, depth, middle in ((0, 0, 0, 1), (0, 1, 2, 0), (3, 0, 0, 0), (3, 4, 1, 1)):
        harness.write(PERCPU_PAGE + _CPU, struct.pack("<I", cpu))
        step.put32("serial_owner", owner)
        step.put32("serial_depth", depth)
        step.put("serial_mid_line", bytes((middle,)))
        given = {"rbx": cpu, "rsi": owner}
        step.run("fails", **given)
        got = (step.get32("serial_owner"), step.get32("serial_depth"))
        step.same(got, (cpu + 1, depth + 1), "takes the line in another way", **given)
        step.were([("serial_put_char", 10)] if middle else [], "is wrong about where a line begins", **given)
    step.put32("serial_owner", 9)
    waits = harness.call("serial_line_begin", {}, limit=2000).end == "limit"
    step.expect(waits, step.routine, "does not wait for the CPU that has the line")


# --- fw_cfg, display ----------------------------------------------------------------------------------------


@contract("fw_cfg_select")
def fw_cfg_select_alone(harness: Harness) -> None:
    """The selector, 16 bits, at port 0x510."""
    step = Step(harness, "fw_cfg_select")
    for selector in (0x19, 0x8001):
        ports = step.run("fails", rdi=selector).ports
        step.same(ports, ((0x510, 2, selector),), "selects another item", rdi=selector)


@contract("dispi_read", "dispi_write", needs=("dispi_registers",))
def dispi_read_alone(harness: Harness) -> None:
    """Through the ports: the index, then the value, 16 bits each; through BAR2 at 0x500."""
    step = Step(harness, "dispi_read")
    harness.port_in = lambda port, size: 0x1234 if (port, size) == (0x1CF, 2) else 0xFFFF_FFFF
    for index in (0, 9):
        result = step.run("reads something else", want={"eax": 0x1234}, rdi=index)
        step.same(result.ports, ((0x1CE, 2, index),), "reads another register", rdi=index)
    step.put64("dispi_registers", BUFFER)
    step.put(BUFFER + 0x500, struct.pack("<11H", *range(0x100, 0x10B)))
    for index in (0, 3, 10):
        step.run("reads another register", want={"eax": 0x100 + index}, rdi=index)


@contract("gpu_has_framebuffer")
def has_framebuffer_alone(harness: Harness) -> None:
    """Prefetchable memory of a page at least, with an address."""
    step = Step(harness, "gpu_has_framebuffer")
    for flags, base, size, right in (
        (_PREFETCH, _BAR0, 1 << 24, True), (_PREFETCH | 4, 1 << 33, _PAGE, True), (0, _BAR0, 1 << 24, False),
        (1, 0xC000, 1 << 12, False), (9, _BAR0, 1 << 24, False), (_PREFETCH, 0, 1 << 24, False),
        (_PREFETCH, _BAR0, _PAGE // 2, False), (_PREFETCH, _BAR0, 0, False),
    ):  # fmt: skip
        step.put(BUFFER, row(8, flags={0: flags, 1: _PREFETCH}, slots={0: (base, size), 1: (_BAR0, 1 << 24)}))
        given = {"rdi": BUFFER, "rbx": flags, "rcx": base, "rdx": size}
        step.run("is wrong about a BAR", cf=not right, **given)


@contract("gpu_find", needs=("gpu_has_framebuffer", "pci_find_class", "pci_table"))
def gpu_find_alone(harness: Harness) -> None:
    """The first display with a framebuffer, else the first display."""
    step = Step(harness, "gpu_find")
    at = table(step, *(row(8 * n) for n in range(6)))
    displays: list[int] = []
    good: set[int] = set()

    def search(first: int, klass: int, mask: int) -> Mapping[str, int]:
        step.expect((klass & mask, mask) == (0x03_0000, 0xFF_0000), step.routine, "looks for another class")
        left = [n for n in displays if n >= first]
        if not left:
            return {"rdi": 6, "cf": 1}
        return {"rax": at + 0x80 * left[0], "rdi": left[0] + 1, "cf": 0}

    step.stand("pci_find_class", "edi", "esi", "edx", answer=search)
    answer = {"cf": 0}

    def framebuffer(place: int) -> Mapping[str, int]:
        return {**answer, "cf": int((place - at) // 0x80 not in good)}

    step.stand("gpu_has_framebuffer", "rdi", answer=framebuffer)
    for found, whole, expected in (
        ((), (), None), ((2,), (2,), 2), ((1, 3), (3,), 3), ((1, 3), (), 1), ((0, 2, 5), (2, 5), 2), ((0, 4), (0,),
        0),
    ):  # fmt: skip
        displays[:], good = list(found), set(whole)
        want = {} if expected is None else {"rax": at + 0x80 * expected}
        given = {"r13": len(found), "r14": len(whole)}
        step.run("takes another device, or none", cf=expected is None, want=want, **given)


@contract("framebuffer_skip_mailbox", needs=("gpu_bar0",))
def skip_mailbox_alone(harness: Harness) -> None:
    """Whole lines, as many as lie in the mailbox's page; a picture elsewhere stays."""
    step = Step(harness, "framebuffer_skip_mailbox")
    for bar, address, height, pitch in (
        (_BAR0, _BAR0, 768, 4096), (_BAR0, _BAR0, 600, 3200), (_BAR0, _BAR0, 2, 640), (_BAR0, _BAR0 + 0x1000, 9, 640),
        (_BAR0, 0xE000_0000, 768, 4096), (0, _BAR0, 768, 4096), (_BAR0, _BAR0 + 0x800, 100, 0x400),
    ):  # fmt: skip
        step.put64("gpu_bar0", bar)
        skipped = -(-(bar + _PAGE - address) // pitch) if bar and bar <= address < bar + _PAGE else 0
        want = {"rax": address + skipped * pitch, "ecx": (height - skipped) & 0xFFFF_FFFF}
        step.run("drops other lines", want=want, rax=address, rcx=height, rdx=pitch, rbx=bar)


@contract("picture_sum_row", needs=("framebuffer",))
def sum_row_alone(harness: Harness) -> None:
    """Each pixel's 24 bits, times its place from 1."""
    step = Step(harness, "picture_sum_row")
    for bits, width in ((32, 7), (24, 9), (32, 1)):
        step.put("framebuffer", struct.pack("<QIIII", 0, 4096, width, 1, bits))
        line = bytes((37 * n + 11) & 0xFF for n in range(64))
        step.put(BUFFER, line)
        size = bits // 8
        total = sum((x + 1) * int.from_bytes(line[x * size : x * size + 3], "little") for x in range(width))
        step.run("makes another sum", want={"rax": total}, rdi=BUFFER)


# --- dead stacks --------------------------------------------------------------------------------------------


@contract("fault_probe", needs=("fault_probe_load", "fault_probe_failed"))
def probe_alone(harness: Harness) -> None:
    """The quadword, or that there is none."""
    step = Step(harness, "fault_probe")
    step.put(BUFFER, struct.pack("<QQ", 0x1122_3344_5566_7788, 1 << 63))
    step.run("reads something else", cf=False, want={"rax": 0x1122_3344_5566_7788}, rdi=BUFFER)
    step.run("reads something else", cf=False, want={"rax": 1 << 63}, rdi=BUFFER + 8)
    result = step.harness.call(step.at("fault_probe_failed"), {"rdi": 0}, seed=3)
    step.expect(result.flag("cf"), step.routine, "does not say that a load has failed")


@contract("fault_read", needs=("fault_page_mapped", "fault_probe"))
def read_alone(harness: Harness) -> None:
    """Both ends of the quadword must be mapped; then it is loaded, from where it lies."""
    step = Step(harness, "fault_read")
    gone: set[int] = set()
    step.stand("fault_page_mapped", "rdi", answer=lambda place: {"cf": int(place >> 12 in gone)})
    step.stand("fault_probe", "rdi", answer=lambda place: {"rax": place ^ 0x5555, "cf": 0})
    for place, missing, right in (
        (0x5000, (), True),
        (0x5FFC, (), True),
        (0x5FFC, (6,), False),
        (0x5FFC, (5,), False),
    ):
        gone.clear()
        gone.update(missing)
        want = {"rax": place ^ 0x5555} if right else {}
        step.run("is wrong about what can be read", cf=not right, want=want, rdi=place, rbx=len(missing))
        loads = [call for call in step.asked if call[0] == "fault_probe"]
        step.same(
            loads, [("fault_probe", place)] if right else [], "loads from elsewhere, or what is not mapped"
        )


@contract("fault_page_mapped", needs=("fault_probe",))
def page_mapped_alone(harness: Harness) -> None:
    """The walk of the tables in CR3, through pages of every size; what cannot be read itself may be tried."""
    step = Step(harness, "fault_page_mapped")
    base = harness.direct_base
    unreadable: set[int] = set()

    def load(place: int) -> Mapping[str, int]:
        if place in unreadable or not base <= place < base + harness.ram:
            return {"rax": 0, "cf": 1}
        return {"rax": harness.read_u64(place), "cf": 0}

    step.stand("fault_probe", "rdi", answer=load)
    harness.set("cr3", _ROOT | 0x18)  # its low bits are no address
    va = 0xFFFF_8123_4567_8000
    tables = [_ROOT, *(_TABLES + _PAGE * n for n in range(3))]
    slots = [base + t + (va >> s & 0x1FF) * 8 for t, s in zip(tables, (39, 30, 21, 12), strict=True)]
    for slot, following in zip(slots, [*tables[1:], 0x7000], strict=True):
        harness.write_u64(slot, following | PRESENT | WRITE | 1 << 63)

    def check(right: bool, place: int = va, **given: int) -> None:
        step.run("is wrong about what is mapped", cf=not right, rdi=place, **given)

    check(True)
    check(True, va + 0xFFF)
    check(False, va + 0x1000)
    check(False, va & (1 << 48) - 1)
    check(False, va ^ 1 << 39)
    for level, slot in enumerate(slots):
        entry = harness.read_u64(slot)
        harness.write_u64(slot, entry & ~PRESENT)
        check(False, rbx=level)
        unreadable.add(slot)
        check(True, rbx=level)
        unreadable.clear()
        harness.write_u64(slot, entry)
    for slot in (slots[1], slots[2]):
        entry = harness.read_u64(slot)
        harness.write_u64(slot, 0x4000_0000 | PRESENT | LARGE)
        check(True, rbx=slot)
        harness.write_u64(slot, entry)


@contract("fault_put_stack", needs=("fault_read", "fault_put_item"))
def put_stack_alone(harness: Harness) -> None:
    """Quadwords upwards, as many as asked for, or as can be read."""
    step = Step(harness, "fault_put_stack")
    end = [0]
    step.stand("fault_read", "rdi", answer=lambda place: {"rax": place + 1, "cf": int(place >= end[0])})
    step.stand("fault_put_item", "rdi", "esi", answer={})
    for count, readable in ((8, 100), (8, 3), (1, 1), (0, 9), (5, 0)):
        end[0] = 0x5000 + 8 * readable
        step.run("fails", rdi=0x5000, rsi=count, rbx=readable)
        items = [call for call in step.asked if call[0] == "fault_put_item"]
        expected = [("fault_put_item", 0x5001 + 8 * n, n) for n in range(min(count, readable))]
        step.same(items, expected, "says something else of a stack", rsi=count, readable=readable)


@contract("fault_put_trace_of", needs=("fault_read", "fault_put_item", "__text_start", "__text_end"))
def put_trace_alone(harness: Harness) -> None:
    """Frames that are aligned, rise, and return into the kernel's text."""
    step = Step(harness, "fault_put_trace_of")
    text, end = step.at("__text_start"), step.at("__text_end")
    bounds = {"rdx": text, "rcx": end}
    base = harness.direct_base
    memory: dict[int, int] = {}
    step.stand(
        "fault_read",
        "rdi",
        answer=lambda place: {"rax": memory.get(place, 0), "cf": int(place not in memory)},
    )
    step.stand("fault_put_item", "rdi", "esi", answer={})

    def chain(*frames: tuple[int, int]) -> int:
        """Frames as (where, return address), each leading to the next; the last to 0."""
        memory.clear()
        for number, (place, back) in enumerate(frames):
            memory[place] = frames[number + 1][0] if number + 1 < len(frames) else 0
            memory[place + 8] = back
        return frames[0][0]

    high = base + 0x9_0000
    for frames, shown in (
        (((high, text + 5), (high + 0x40, text), (high + 0x80, end - 1)), 3), (((high, text - 1),), 0),
        (((high, end + 1),), 0),
        (((high, text + 5), (high - 0x40, text + 6)), 1), (((high, text + 5), (high, text + 5)), 1),
        (((high + 4, text + 5),), 0), (((0x9_0000, text + 5),), 0), (((base, text + 5),), 1),
        (((high, text + 5), (high + 0x43, text + 6)), 1), (tuple((high + 16 * n, text + n) for n in range(9)), 6),
    ):  # fmt: skip
        first = chain(*frames)
        step.run("fails", rdi=first, rsi=6, **bounds, rbx=shown)
        items = [call for call in step.asked if call[0] == "fault_put_item"]
        expected = [("fault_put_item", back, n) for n, (_, back) in enumerate(frames[:shown])]
        step.same(items, expected, "says another trace", rdi=first, frames=len(frames))
    memory = {high: high, high + 8: text + 5}
    step.run("goes round and round", rdi=high, rsi=6, **bounds)
    step.same(len([call for call in step.asked if call[0] == "fault_put_item"]), 1, "goes round and round")
    memory.clear()
    step.run("fails", rdi=high, rsi=6, **bounds)
    step.same(
        [call for call in step.asked if call[0] == "fault_put_item"], [], "says a frame that cannot be read"
    )


@contract("fw_cfg_read_next")
def fw_cfg_read_next_alone(harness: Harness) -> None:
    """Bytes of the data port, as many as asked for."""
    step = Step(harness, "fw_cfg_read_next")
    given = iter(range(256))
    harness.port_in = lambda port, size: next(given) if (port, size) == (0x511, 1) else 0xEE
    step.put(BUFFER, b"\x5a" * 16)
    step.run("fails", rdi=BUFFER, rcx=9)
    step.same(harness.read(BUFFER, 16), bytes(range(9)) + b"\x5a" * 7, "reads something else")
