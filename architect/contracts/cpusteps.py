"""Descriptor tables: each routine alone.

Intel SDM vol. 3: 3.4.5 (segment descriptors), 7.2.3 (TSS descriptor), 7.7 (64-bit TSS), 3.5.1 and 6.10 (a limit is the
last byte), 6.14.1 (gates).
"""

from __future__ import annotations

import struct

from architect.contracts import contract
from architect.contracts.descriptors import segment
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import PERCPU_PAGE, Harness
from toolchain.watch import watch

_BLOCK, _PAGE = 0xFFFF_FE12_3456_7000, 0x1000  # every byte of its address counts
_STACK_TOP_AT, _SELF_AT = 0x38, 0
_TOPS = (0xFFFF_8111_0000_4000, 0xFFFF_8222_0000_8000, 0xFFFF_8333_0000_C000)
_RSP0 = 0xFFFF_8444_0001_0000
_TSS_LAST = 0x67
_GATES = 256
_INTERRUPT_GATE = 0x8E
_OWN_STACK = (1, 2, 8, 18)  # #DB, NMI, #DF, #MC


@contract("gdt_load")
def gdt_load_alone(harness: Harness) -> None:
    """GDT and TSS in the block that GS points at, both loaded, with the stacks that were given."""
    step = Step(harness, "gdt_load")
    harness.memory(_BLOCK, _PAGE)
    harness.write_u64(PERCPU_PAGE + _SELF_AT, _BLOCK)
    harness.write(_BLOCK, struct.pack("<Q", _BLOCK).ljust(_STACK_TOP_AT, b"\0") + struct.pack("<Q", _RSP0))
    step.put(BUFFER, struct.pack("<3Q", *_TOPS))
    events = watch(harness, ("gdt_load",))
    step.run("fails", rdi=BUFFER)
    kinds = [event.kind for event in events]
    step.same(kinds, ["lgdt", "ltr"], "loads other tables, or in another order")
    _, base, last = harness.table("gdtr")
    selector = events[1].value
    step.expect(
        _BLOCK <= base < _BLOCK + _PAGE, step.routine, "loads a GDT that is not the CPU's own", base=base
    )
    step.equal(
        last, selector + 15, step.routine, "loads a GDT whose limit is not its last byte", selector=selector
    )
    low, high = struct.unpack("<QQ", step.read(base + selector, 16, step.routine))
    found = segment(low)
    right = (
        found.system and found.present and found.type in (0x9, 0xB) and not high >> 32 and not found.granular
    )
    step.expect(right, step.routine, "makes a descriptor that is no 64-bit TSS", low=low, high=high)
    step.expect(found.last >= _TSS_LAST, step.routine, "gives the TSS a limit that cuts it", limit=found.last)
    at = found.base | (high & 0xFFFF_FFFF) << 32
    step.expect(
        base + last < at < _BLOCK + _PAGE,
        step.routine,
        "points the descriptor elsewhere than at a TSS",
        base=at,
    )
    tss = step.read(at, _TSS_LAST + 1, step.routine)
    step.same(struct.unpack_from("<3Q", tss, 0x24), _TOPS, "gives the TSS other stacks than it was told")
    step.same(
        struct.unpack_from("<Q", tss, 4)[0], _RSP0, "gives the TSS another stack for ring 0 than the CPU's"
    )
    step.expect(tss[0x66] | tss[0x67] << 8 > _TSS_LAST, step.routine, "points the I/O map into the TSS")
    _template(step, base)


def _template(step: Step, base: int) -> None:
    """The null descriptor, and code and data of both rings."""
    where = {"place": step.source("gdt_template")}
    step.equal(step.harness.read_u64(base), 0, step.routine, "leaves the null descriptor not null", **where)
    for selector, code, dpl in ((0x08, True, 0), (0x10, False, 0), (0x20, False, 3), (0x28, True, 3)):
        found = segment(step.harness.read_u64(base + selector))
        same = found.present and not found.system and found.dpl == dpl and bool(found.type & 8) == code
        usable = bool(found.type & 2) and found.long == code and not (code and found.big)
        promise = "makes a segment that the kernel cannot use"
        step.expect(same and usable, step.routine, promise, selector=selector, **where)
        flat = (found.base, found.last) == (0, 0xFFFF_FFFF)
        step.expect(flat, step.routine, "makes a segment that is not the whole", selector=selector, **where)


@contract("idt_load")
def idt_load_alone(harness: Harness) -> None:
    """256 gates: the limit is the last byte, the table lies in writable memory of the image."""
    step = Step(harness, "idt_load")
    events = watch(harness, ("idt_load",))
    step.run("fails")
    step.same([event.kind for event in events], ["lidt"], "does not load the IDT")
    _, base, last = harness.table("idtr")
    where = {"place": step.source("idt_pointer")}
    step.equal(last, _GATES * 16 - 1, step.routine, "loads an IDT whose limit is not its last byte", **where)
    home = [s for s in harness.image.sections if s.address <= base and base + last < s.address + s.size]
    writable = bool(home) and "w" in home[0].flags and not base & 7
    step.expect(writable, step.routine, "loads an IDT from elsewhere", base=base, **where)


@contract("idt_fill", needs=("idt_load",))
def idt_fill_alone(harness: Harness) -> None:
    """Present interrupt gates in ring 0, each to a stub of its own; three of them change the stack."""
    step = Step(harness, "idt_fill")
    harness.call("idt_load", {}, seed=1)
    base = harness.table("idtr")[1]
    step.run("fails")
    targets, stacks = set(), {}
    for vector, row in enumerate(struct.iter_unpack("<HHBBHII", step.read(base, _GATES * 16, step.routine))):
        low, selector, ist, access, middle, high, reserved = row
        what = {"vector": vector}
        step.equal(access, _INTERRUPT_GATE, step.routine, "makes no interrupt gate of ring 0", **what)
        step.equal(selector, 0x08, step.routine, "gives a gate another code segment", **what)
        step.equal(reserved, 0, step.routine, "sets reserved bits of a gate", **what)
        target = low | middle << 16 | high << 32
        home = next((s for s in harness.image.sections if s.address <= target < s.address + s.size), None)
        step.expect(
            home is not None and "x" in home.flags, step.routine, "leads a gate to what is no code", **what
        )
        targets.add(target)
        stacks.update({vector: ist} if ist else {})
    step.equal(len(targets), _GATES, step.routine, "leads two vectors to one stub")
    step.same(
        sorted(stacks),
        list(_OWN_STACK),
        "gives other vectors than #DF, NMI, #MC and #DB a stack of their own",
    )
    step.same(sorted(stacks.values()), [1, 2, 3, 4], "lets #DF, NMI, #MC and #DB share a stack")
