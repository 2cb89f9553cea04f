"""The descriptor tables as they are loaded: decoded as the CPU does, every bit that it looks at.

Intel SDM vol. 3: 3.4.5 (segment descriptors), 5.2.1 (64-bit code), 7.2.3 and 7.7 (64-bit TSS), 6.14.1 (gates), 6.14.5
(interrupt stack table). Limits are last bytes, not sizes; an emulator does not always mind.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from architect.contracts import contract
from architect.contracts.model import Session
from toolchain.harness import BUFFER_BASE, PERCPU_PAGE, Harness
from toolchain.watch import watch

_DB, _NMI, _DF, _MC = 1, 2, 8, 18
_OWN_STACK = (_NMI, _DF, _MC, _DB)  # they can come while RSP is ring 3's
_VECTORS = 256
_GATE = struct.Struct("<HHBBHII")
_INTERRUPT_GATE = 0xE
_TSS_AVAILABLE, _TSS_BUSY = 0x9, 0xB
_TSS_LAST = 0x67
_TSS_IST1 = 0x24
_KERNEL_CODE, _KERNEL_DATA = 0x08, 0x10


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment descriptor, decoded."""

    base: int
    limit: int
    type: int
    system: bool
    dpl: int
    present: bool
    long: bool
    big: bool
    granular: bool

    @property
    def last(self) -> int:
        """The last byte that the limit allows."""
        return self.limit << 12 | 0xFFF if self.granular else self.limit


def segment(value: int) -> Segment:
    """Decode the eight bytes of a segment descriptor, or the first eight of a system one."""
    access, flags = value >> 40 & 0xFF, value >> 52 & 0xF
    return Segment(
        base=value >> 16 & 0xFFFFFF | value >> 32 & 0xFF000000,
        limit=value & 0xFFFF | value >> 32 & 0xF0000,
        type=access & 0xF,
        system=not access & 0x10,
        dpl=access >> 5 & 3,
        present=bool(access & 0x80),
        long=bool(flags & 2),
        big=bool(flags & 4),
        granular=bool(flags & 8),
    )


class _Tables(Session):
    """A kernel that has built its tables."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        percpu = harness.address("percpu_boot") if harness.has("percpu_boot") else PERCPU_PAGE
        self.stack_top = harness.address("boot_stack_top")
        self.call(
            "percpu_init", rdi=percpu, rsi=0, rdx=harness.address("boot_stack_bottom"), rcx=self.stack_top
        )
        self.events = watch(harness, ("gdt_load", "descriptors_init", "idt_load"))
        result = self.call("descriptors_init", rdi=BUFFER_BASE)
        self.equal(result.registers["rax"], 0, "descriptors_init", "fails")
        _, self.gdt, self.gdt_last = harness.table("gdtr")
        _, self.idt, self.idt_last = harness.table("idtr")

    def descriptor(self, selector: int, routine: str, size: int = 8) -> int:
        """The descriptor that a selector names."""
        inside = selector & ~7 and (selector | 7) + size - 8 <= self.gdt_last
        self.expect(bool(inside), routine, "uses a selector that its table does not reach", selector=selector)
        return int.from_bytes(self.read(self.gdt + (selector & ~7), size, routine), "little")

    def loaded(self) -> None:
        """The three tables were loaded, each with a limit that ends a descriptor."""
        kinds = [event.kind for event in self.events]
        for kind, routine in (("lgdt", "gdt_load"), ("ltr", "gdt_load"), ("lidt", "idt_load")):
            self.expect(kind in kinds, routine, f"does not load what {kind.upper()} loads")
        self.equal(
            self.gdt_last & 7,
            7,
            "gdt_load",
            "loads a GDT whose limit is not its last byte",
            limit=self.gdt_last,
        )
        self.expect(self.gdt % 8 == 0, "gdt_load", "puts the GDT on an odd address")
        whole = _VECTORS * _GATE.size - 1
        self.equal(self.idt_last, whole, "idt_load", "loads an IDT whose limit is not its last byte")

    def segments(self) -> None:
        """Code is 64-bit code, data is writable data, ring 3's have its level."""
        self.equal(
            self.read(self.gdt, 8, "gdt_load"), bytes(8), "gdt_load", "leaves the null descriptor not null"
        )
        for selector, code, dpl in (
            (_KERNEL_CODE, True, 0), (_KERNEL_DATA, False, 0), (0x20, False, 3), (0x28, True, 3),
        ):  # fmt: skip
            found = segment(self.descriptor(selector, "gdt_load"))
            kind = 0xA if code else 0x2
            what = {"selector": selector}
            self.expect(found.present, "gdt_load", "leaves a segment not present", **what)
            self.equal(found.dpl, dpl, "gdt_load", "gives a segment the wrong privilege level", **what)
            same = not found.system and found.type & kind == kind and bool(found.type & 8) == code
            self.expect(same, "gdt_load", "makes code of data, or data of code", **what)
            self.expect(
                found.long == code and not (code and found.big), "gdt_load", "makes no 64-bit segment", **what
            )
            self.equal(found.base, 0, "gdt_load", "gives a segment a base", **what)
            self.equal(found.last, 0xFFFFFFFF, "gdt_load", "gives a limit in the wrong unit", **what)

    def task(self) -> None:
        """The TSS: 64-bit, long enough, in memory of its own, with stacks that are different."""
        loaded = [event.value for event in self.events if event.kind == "ltr"][-1]
        value = self.descriptor(loaded, "gdt_load", 16)
        found = segment(value & (1 << 64) - 1)
        kind = found.system and found.type in (_TSS_AVAILABLE, _TSS_BUSY) and found.present
        self.expect(kind, "gdt_load", "loads a task register with no 64-bit TSS", selector=loaded)
        self.equal(value >> 96, 0, "gdt_load", "sets reserved bits of the TSS descriptor")
        self.expect(
            found.last >= _TSS_LAST, "gdt_load", "gives the TSS a limit that cuts it", limit=found.last
        )
        base = found.base | (value >> 64 & 0xFFFFFFFF) << 32
        tss = self.read(base, _TSS_LAST + 1, "gdt_load")
        map_at = int.from_bytes(tss[0x66:0x68], "little")
        self.expect(
            map_at > found.last, "gdt_load", "points the I/O map into the TSS", got=map_at, limit=found.last
        )
        tops = struct.unpack_from(f"<{len(_OWN_STACK)}Q", tss, _TSS_IST1)
        rsp0 = int.from_bytes(tss[4:12], "little")
        self.equal(rsp0, self.stack_top, "gdt_load", "gives the TSS another stack for ring 0 than the CPU's")
        for top in tops:
            self.expect(top % 16 == 0 and top != 0, "gdt_load", "gives the TSS a stack that is none", top=top)
            self.read(top - 64, 64, "gdt_load")
        self.equal(
            len({*tops, rsp0}),
            len(tops) + 1,
            "gdt_load",
            "gives two entries of the interrupt stack table one stack",
        )
        self.stacks = tops

    def gates(self) -> None:
        """All 256 gates lead to different code of the kernel; #DF, NMI, #MC and #DB change the stack."""
        texts = [(s.address, s.address + s.size) for s in self.harness.image.sections if "x" in s.flags]
        data = self.read(self.idt, _VECTORS * _GATE.size, "idt_fill")
        targets: set[int] = set()
        stacks: dict[int, int] = {}
        for vector, row in enumerate(_GATE.iter_unpack(data)):
            low, selector, ist, access, middle, high, reserved = row
            target = low | middle << 16 | high << 32
            what = {"vector": vector}
            self.expect(bool(access & 0x80), "idt_fill", "leaves a gate not present", **what)
            self.equal(
                access & 0x1F, _INTERRUPT_GATE, "idt_fill", "makes a gate that lets interrupts in", **what
            )
            self.equal(access >> 5 & 3, 0, "idt_fill", "lets ring 3 call a gate", **what)
            self.equal(selector, _KERNEL_CODE, "idt_fill", "gives a gate another code segment", **what)
            self.equal(reserved, 0, "idt_fill", "sets reserved bits of a gate", **what)
            inside = any(first <= target < end for first, end in texts)
            self.expect(inside, "idt_fill", "leads a gate to what is no code", **what, target=target)
            self.expect(
                ist <= len(_OWN_STACK), "idt_fill", "names a stack that the TSS does not have", **what
            )
            targets.add(target)
            if ist:
                stacks[vector] = ist
        self.equal(len(targets), _VECTORS, "idt_fill", "leads two vectors to one stub")
        for vector in _OWN_STACK:
            self.expect(
                vector in stacks, "idt_fill", "gives #DF, NMI, #MC or #DB no stack of its own", vector=vector
            )
        own = len({stacks[vector] for vector in _OWN_STACK}) == len(_OWN_STACK)
        self.expect(own, "idt_fill", "lets #DF, NMI, #MC and #DB share a stack")


@contract(
    "gdt_load", "descriptors_init", "idt_fill", "idt_load", "percpu_init",
    needs=("descriptors_init", "percpu_init", "boot_stack_top", "boot_stack_bottom"),
)  # fmt: skip
def descriptor_tables(harness: Harness) -> None:
    """GDT, TSS and IDT of the boot CPU."""
    tables = _Tables(harness)
    tables.loaded()
    tables.segments()
    tables.task()
    tables.gates()
