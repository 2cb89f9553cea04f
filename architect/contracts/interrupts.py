"""External interrupts: ticket locks, the handler table, the dispatcher, the 8259 pair, the command register, COM1.

Intel SDM vol. 3, 8.1.2 (locks), 10.6 (ICR), 10.8 (EOI), 10.9 (spurious); 8259A and PC16550D data sheets.
"""

from __future__ import annotations

import struct

from architect.contracts import contract
from architect.contracts.model import EXISTS, FULL, INVALID, TIMEOUT, UNSUPPORTED
from architect.contracts.steps import BUFFER, Step
from architect.contracts.traps import FRAME, NAMES
from toolchain.harness import PERCPU_PAGE, Harness
from toolchain.watch import watch

_FIRST, _LAST, _SPURIOUS, _PIC_SPURIOUS = 0x30, 0xEF, 0xFF, (0x27, 0x2F)
_CATCH, _DEPTH, _STRAY, _COUNTS = 0x28, 0x1E8, 0x1F0, 0x800  # of the per-CPU block
_EXTERNAL = 0xFED0_0000  # where no kernel has anything


def _percpu(step: Step, at: int) -> int:
    return step.harness.read_u64(PERCPU_PAGE + at)


@contract("lock_acquire", "lock_release", "lock_acquire_irqsave", "lock_release_irqrestore")
def ticket_lock(harness: Harness) -> None:
    """Tickets in the order of coming, also where they wrap; nobody enters before it is served; IF comes back."""
    step = Step(harness, "lock_acquire")
    for taken in (0, 1, 7, 0x7FFF_FFFF, 0xFFFF_FFFF):
        step.put(BUFFER, struct.pack("<3I", taken, taken, 0x5A5A_5A5A))
        step.routine = "lock_acquire"
        step.run("fails", rdi=BUFFER)
        after = (taken + 1 & 0xFFFF_FFFF, taken, 0x5A5A_5A5A)
        step.same(struct.unpack("<3I", step.read(BUFFER, 12, step.routine)), after, "does not take a ticket")
        waits = harness.call("lock_acquire", {"rdi": BUFFER}, seed=taken, limit=5_000)
        step.expect(waits.end == "limit", step.routine, "enters while another holds it", taken=taken)
        harness.write(BUFFER, struct.pack("<3I", *after))
        step.routine = "lock_release"
        step.run("fails", rdi=BUFFER)
        served = struct.unpack("<3I", step.read(BUFFER, 12, step.routine))
        step.same(served, (after[0], after[0], after[2]), "does not serve who comes next", taken=taken)
    for flags in (0x2, 0x202, 0x246):
        step.put(BUFFER, bytes(8))
        step.routine = "lock_acquire_irqsave"
        result = step.run("gives other flags", want={"rax": flags}, rdi=BUFFER, rflags=flags)
        step.same(harness.read_u64(BUFFER), 1, "does not take the lock")
        step.expect(not result.flag("if"), step.routine, "leaves interrupts on")
        step.routine = "lock_release_irqrestore"
        result = step.run("fails", rdi=BUFFER, rsi=flags)
        step.equal(harness.read_u32(BUFFER + 4), 1, step.routine, "does not let the lock go")
        step.equal(
            result.flag("if"), bool(flags & 0x200), step.routine, "gives IF back otherwise", flags=flags
        )


@contract("interrupt_install", "interrupt_allocate", "interrupt_remove", needs=("interrupt_rows",))
def handler_table(harness: Harness) -> None:
    """One handler for a vector, none for exceptions; vectors for devices are handed out until there are no more."""
    step = Step(harness, "interrupt_install")
    rows = step.at("interrupt_rows")
    for vector, handler, error in (
        (0x20, 0x1234, 0), (0x20, 0x5678, EXISTS), (0xFF, 0x1234, 0), (31, 0x1234, INVALID), (0, 1, INVALID),
        (256, 0x1234, INVALID), (2**32 - 1, 1, INVALID), (0x40, 0, INVALID), (0x40, 0x9999_8888_7777, 0),
    ):  # fmt: skip
        before = step.read(rows, 256 * 16, step.routine)
        given = {"rdi": vector, "rsi": handler, "rdx": vector << 40 | 7}
        result = step.run("fails", cf=bool(error), **given)
        if error:
            step.equal(result.registers["rax"], error, step.routine, "gives another reason", **given)
            step.same(step.read(rows, 256 * 16, step.routine), before, "changes what it refuses", **given)
        else:
            row = struct.unpack("<QQ", step.read(rows + 16 * vector, 16, step.routine))
            step.same(row, (handler, given["rdx"]), "keeps something else", **given)
    step.routine = "interrupt_allocate"
    for vector in (v for v in range(_FIRST, _LAST + 1) if v != 0x40):
        given = {"rdi": 0x4000 + vector, "rsi": vector}
        step.run("hands out another vector", cf=0, want={"eax": vector}, **given)
        row = struct.unpack("<QQ", step.read(rows + 16 * vector, 16, step.routine))
        step.same(row, (0x4000 + vector, vector), "keeps something else", **given)
    step.run("hands out what is taken", cf=1, want={"eax": FULL}, rdi=0x4000, rsi=0)
    step.routine = "interrupt_remove"
    step.run("fails", rdi=0x77)
    step.equal(harness.read_u64(rows + 0x77 * 16), 0, step.routine, "leaves the handler")
    step.routine = "interrupt_allocate"
    step.run("does not hand out what came back", cf=0, want={"eax": 0x77}, rdi=0x4000, rsi=0)
    step.run("serves a vector with nothing", cf=1, want={"eax": INVALID}, rdi=0, rsi=0)


@contract("interrupt_dispatch", "interrupt_stray", needs=("interrupt_rows", "lapic_end", "lapic_is_serving"))
def dispatched(harness: Harness) -> None:
    """The handler gets argument and frame; the end is sent once, for what the local APIC delivered; all is counted."""
    step = Step(harness, "interrupt_dispatch")
    handler = BUFFER + 0x8000
    seen: list[tuple[int, int, int, int]] = []

    def look(machine: Harness) -> None:
        state = _percpu(step, _CATCH), _percpu(step, _DEPTH)
        seen.append((machine.get("rdi"), machine.get("rsi"), *state))
        step.asked.append(("handler",))
        for name in ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"):
            machine.set(name, 0x4BAD)

    harness.write_code(handler, b"\xc3")
    harness.probe(handler, look)
    serving = {"cf": 0}
    step.stand("lapic_end")
    step.stand("lapic_is_serving", "edi", answer=lambda vector: serving)
    for name in (
        "serial_line_begin",
        "serial_put_string",
        "serial_put_hex",
        "serial_put_dec",
        "serial_line_end",
    ):
        step.stand(name, "rdi", answer={})
    for vector, served, ended, serving["cf"] in (
        (0x30, True, True, 0), (0xEF, True, True, 1), (0xF0, True, True, 0), (0xFE, True, True, 0),
        (_SPURIOUS, True, False, 1), (_PIC_SPURIOUS[0], True, False, 0), (_PIC_SPURIOUS[1], True, False, 1),
        (0x55, False, True, 1), (0x56, False, False, 0), (0x56, False, False, 0),
    ):  # fmt: skip
        frame = {name: 0x1000 + number for number, name in enumerate(NAMES)} | {"vector": vector}
        step.put(BUFFER, FRAME.pack(*(frame[name] for name in NAMES)))
        row = (handler, vector << 32 | 5) if served else (0, 0)
        step.put(step.at("interrupt_rows", 16 * vector), struct.pack("<QQ", *row))
        harness.write_u64(PERCPU_PAGE + _CATCH, 0x7777_0000)
        harness.write_u64(PERCPU_PAGE + _DEPTH, 0)
        told = _percpu(step, _STRAY), _percpu(step, _COUNTS + 8 * vector)
        seen.clear()
        step.run("fails", rdi=BUFFER)
        what = {"vector": vector}
        right = [(vector << 32 | 5, BUFFER, 0, 1)] if served else []
        step.same(seen, right, "calls the handler otherwise, or in another state", **what)
        order = [name for name, *_ in step.asked if name in ("handler", "lapic_end")]
        expected = ["handler"] * served + ["lapic_end"] * ended
        step.same(order, expected, "ends the interrupt otherwise", **what)
        state = _percpu(step, _CATCH), _percpu(step, _DEPTH)
        step.same(state, (0x7777_0000, 0), "does not leave the state as it was", **what)
        counts = _percpu(step, _STRAY), _percpu(step, _COUNTS + 8 * vector)
        step.same(counts, (told[0] + (not served), told[1] + 1), "counts otherwise", **what)
    said = [call for call in step.asked if call[0] == "serial_line_begin"]
    step.same(said, [], "says a stray vector more than once", vector=0x56)


@contract("pic_disable", "pic_spurious")
def pic_ports(harness: Harness) -> None:
    """Moved to 0x20, masked; a spurious line 7 gets no end, but the master one for its line 2."""
    step = Step(harness, "pic_disable")
    result = step.run("fails")
    for base, vector, wiring in ((0x20, 0x20, 4), (0xA0, 0x28, 2)):
        wrote = [(port, value) for port, _, value in result.ports if port in (base, base + 1)]
        right = [(base, 0x11), (base + 1, vector), (base + 1, wiring), (base + 1, 1), (base + 1, 0xFF)]
        step.same(wrote, right, "initialises in another way", base=base)
    step.routine = "pic_spurious"
    served = {"isr": 0}
    harness.port_in = lambda port, size: served["isr"]
    for slave, served["isr"], right in (
        (0, 0, [(0x20, 0x0B)]), (0, 0x80, [(0x20, 0x0B), (0x20, 0x20)]), (1, 0x7F, [(0xA0, 0x0B), (0x20, 0x20)]),
        (1, 0x80, [(0xA0, 0x0B), (0xA0, 0x20), (0x20, 0x20)]),
    ):  # fmt: skip
        result = step.run("fails", rdi=slave)
        wrote = [(port, value) for port, _, value in result.ports]
        step.same(wrote, right, "answers in another way", slave=slave, isr=served["isr"])


@contract("ipi_send_to", "ipi_send", "ipi_send_others", needs=("lapic_base", "lapic_x2apic"))
def interprocessor(harness: Harness) -> None:
    """High half first, the low half sends; never while another is on its way, nor for ever; one MSR in x2APIC mode."""
    step = Step(harness, "ipi_send_to")
    registers: dict[int, int] = {}
    order: list[int] = []

    def write(offset: int, size: int, value: int) -> None:
        order.append(offset)
        registers[offset] = value

    harness.window(_EXTERNAL, 0x1000, lambda offset, size: registers.get(offset, 0), write)
    step.run("sends without a local APIC", cf=1, want={"rax": UNSUPPORTED}, rdi=1, rsi=0x4030)
    step.put64("lapic_base", _EXTERNAL)
    for routine, given, low in (
        ("ipi_send_to", {"rdi": 3, "rsi": 0x4608}, 0x4608), ("ipi_send", {"rdi": 0xFE, "rsi": 0x51}, 0x4051),
        ("ipi_send_others", {"rsi": 0xF2}, 0xC40F2),
    ):  # fmt: skip
        order.clear()
        step.routine = routine
        step.run("fails", cf=0, **given)
        high = registers[0x310] if "rdi" in given else 0
        step.same(
            (order, registers[0x300], high),
            ([0x310, 0x300], low, given.get("rdi", 0) << 24),
            "sends otherwise",
        )
    registers[0x300] = 1 << 12
    order.clear()
    result = harness.call("ipi_send_to", {"rdi": 1, "rsi": 0x4030}, limit=2_000_000)
    step.routine = "ipi_send_to"
    bounded = (
        result.end == "returned" and result.flag("cf") and result.registers["rax"] == TIMEOUT and not order
    )
    step.expect(bounded, step.routine, "waits for ever, or sends while another is on its way")
    step.put("lapic_x2apic", b"\1")
    events = watch(harness, ("ipi_send_to",))
    step.run("fails", cf=0, rdi=0x12345, rsi=0x4030)
    told = [(event.number, event.value) for event in events if event.kind == "wrmsr"]
    step.same(told, [(0x830, 0x12345 << 32 | 0x4030)], "sends otherwise in x2APIC mode")


@contract("serial_get_char", "serial_receive", needs=("serial_ring_in", "serial_ring_out"))
def received_bytes(harness: Harness) -> None:
    """Bytes come out as they went in, across the ring's end and the counters' wrap; the UART keeps what has no room."""
    step = Step(harness, "serial_get_char")
    line: list[int] = []
    state = {"always": 0}

    def port_in(port: int, size: int) -> int:
        if port == 0x3FD:
            return 0x60 | bool(line) | state["always"]
        return line.pop(0) if port == 0x3F8 and line else 0

    harness.port_in = port_in
    for start in (0, 200, 0xFFFF_FFF0):
        step.put32("serial_ring_in", start)
        step.put32("serial_ring_out", start)
        line[:] = [(7 * n + 1) & 0xFF for n in range(300)]
        sent = list(line)
        step.routine = "serial_receive"
        for _ in range(6):
            step.run("fails")
        step.equal(len(line), 300 - 256, step.routine, "drops what has no room", start=start)
        step.routine = "serial_get_char"
        for number, byte in enumerate(sent):
            step.run("gives another byte", cf=0, want={"eax": byte}, rdi=start, rsi=number)
        step.run("gives a byte that never came", cf=1, rdi=start)
    line[:] = [0x41]
    step.run("does not look at the UART where no interrupt comes", cf=0, want={"eax": 0x41})
    state["always"] = 1
    step.routine = "serial_receive"
    result = harness.call("serial_receive", {}, limit=10_000)
    step.expect(result.end == "returned", step.routine, "never ends on a line that never runs dry")
