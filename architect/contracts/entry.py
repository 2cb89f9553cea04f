"""From a loader's entry to the higher half: what is saved, checked, switched on, and in which order.

Multiboot2 Specification 2.0, 3.3 and Xen ``docs/misc/pvh.pandoc`` say what the loader leaves (and that all else is
undefined: the stack, most flags, most registers); Intel SDM vol. 3, 9.8.5 says in which order long mode is entered. An
emulator lets orders pass that a CPU refuses.
"""

from __future__ import annotations

import struct

from architect.contracts import contract
from architect.contracts.descriptors import segment
from architect.contracts.model import Session
from architect.contracts.tables import ADDRESS, LARGE, NX, PRESENT, SHIFTS, USER, WRITE
from architect.contracts.text import COM1, Uart
from toolchain import contract as shared
from toolchain.harness import DIRECT_BASE, Harness
from toolchain.harness32 import LoaderMachine
from toolchain.watch import Event, answer_rdmsr, watch

_MULTIBOOT2, _PVH = 1, 2
_MULTIBOOT2_MAGIC, _PVH_MAGIC = 0x36D76289, 0x336EC578
_INFORMATION = 0x9000
_CR0_PE, _CR0_EM, _CR0_TS, _CR0_WP, _CR0_NW_CD, _CR0_PG = 1, 1 << 2, 1 << 3, 1 << 16, 3 << 29, 1 << 31
_CR4_PAE = 1 << 5
_EFER, _LME, _NXE = 0xC000_0080, 1 << 8, 1 << 11
_EDX_LM, _EDX_NX = 1 << 29, 1 << 20
_IF, _DF = 1 << 9, 1 << 10
_CODE, _DATA = 0x08, 0x10
_EARLY = 4 << 30
_NOISE = {"rcx": 0xCCCC_1111, "rdx": 0xDDDD_2222, "rsi": 0x5151_3333, "rdi": 0xD1D1_4444, "rbp": 0xB9B9_5555}


class Walk:
    """The early page tables in physical memory, read as the CPU reads them; ``session`` is told what is wrong."""

    def __init__(self, machine: LoaderMachine, session: Session) -> None:
        self.machine = machine
        self.session = session

    def walk(self, root: int, address: int) -> tuple[int, int, bool] | None:
        """Physical address, rights taken together, and whether a large page maps it."""
        table, rights, denied = root, WRITE | USER, 0
        for level, shift in enumerate(SHIFTS):
            at = table + (address >> shift & 0x1FF) * 8
            if at + 8 > 16 << 20:
                return None
            entry = self.machine.read_u64(at)
            if not entry & PRESENT:
                return None
            rights, denied = rights & entry, denied | entry & NX
            if level == 3 or (level and entry & LARGE):
                size = 1 << shift
                return (entry & ADDRESS & -size) + (address & size - 1), rights | denied, level < 3
            table = entry & ADDRESS
        return None

    def tables(self, root: int) -> None:
        """The early tables: the first 4 GB at their own addresses and in the direct map, the image at its own."""
        offset = max(s.address - s.physical for s in self.machine.image.sections)
        probes = (0, 0x1000, 0x9F000, 0x10_0000, 0x3FFF_F000, 0x4000_0000, 0x8765_4000, _EARLY - 0x1000)
        maps = ((0, probes), (DIRECT_BASE, probes), (offset, probes[:5]))
        for base, places in maps:
            for place in places:
                found = self.walk(root, base + place & (1 << 48) - 1)
                what = {"va": base + place}
                self.session.expect(
                    found is not None, "boot_make_tables", "leaves a part of memory unmapped", **what
                )
                assert found is not None
                self.session.equal(
                    found[0], place, "boot_make_tables", "maps the wrong physical address", **what
                )
                self.session.equal(found[1], WRITE, "boot_make_tables", "gives the wrong rights", **what)
        beyond = (_EARLY, 512 << 30, DIRECT_BASE + _EARLY, DIRECT_BASE - 0x1000)
        for address in beyond:
            mapped = self.walk(root, address & (1 << 48) - 1)
            self.session.expect(
                mapped is None, "boot_make_tables", "maps more than the first 4 GB", va=address
            )


class _Entry(Session):
    """A machine at a loader's entry, with nothing else defined than what the loader promises."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.machine = LoaderMachine.of(harness.image, "kernel_enter")
        self.uart = Uart(self.machine)
        self.features = _EDX_LM | _EDX_NX
        self.extended = 0x8000_0008
        self.machine.cpuid = self._cpuid
        answer_rdmsr(self.machine, lambda number: 0)
        self.events: list[Event] = watch(self.machine)

    def _cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        if leaf == 0x8000_0000:
            return self.extended, 0, 0, 0
        return (0, 0, 0, self.features) if leaf == 0x8000_0001 else (1, 0, 0, 0xFFFF_FFFF)

    def run(self, symbol: str, magic: int, information: int) -> tuple[bool, tuple[tuple[int, int, int], ...]]:
        """Enter; whether the higher half was reached, and what went out of the ports."""
        machine = self.machine
        machine.reset()
        self.events.clear()
        self.uart.sent.clear()
        pvh = symbol == "boot_enter_pvh"
        machine.write(_INFORMATION, struct.pack("<I", magic if pvh else 0x1234))
        registers = {**_NOISE, "rax": 0xAAAA_0000 if pvh else magic, "rbx": information, "rsp": 0xFFFF_0000}
        result = machine.enter(symbol, {**registers, "rflags": 0x2 | _DF})
        return result.end == "returned", result.ports

    def number(self, symbol: str) -> int:
        """A dword of the image."""
        return self.machine.read_u32(self.machine.physical(symbol))

    # --- judgement ---

    def handed_over(self, protocol: int, magic: int) -> None:
        """What the loader said is kept."""
        for symbol, expected in (
            ("boot_handover_magic", magic), ("boot_handover_info", _INFORMATION), ("boot_handover_protocol", protocol),
        ):  # fmt: skip
            entry = "boot_enter_pvh" if protocol == _PVH else "boot_enter_multiboot2"
            self.equal(self.number(symbol), expected, entry, f"keeps another value in {symbol}")

    def switched(self) -> None:
        """PAE, CR3 and EFER.LME come before paging; then the features that the kernel counts on are on."""
        paging = next((n for n, e in enumerate(self.events) if e.kind == "cr0" and e.value & _CR0_PG), None)
        self.expect(paging is not None, "boot_start", "never switches paging on")
        assert paging is not None
        before = self.events[:paging]
        value = self.events[paging].value

        def last(kind: str, number: int = 0) -> int:
            found = [event.value for event in before if (event.kind, event.number) == (kind, number)]
            return found[-1] if found else 0

        self.expect(bool(last("cr4") & _CR4_PAE), "boot_start", "switches paging on before CR4.PAE")
        self.expect(bool(last("cr3")), "boot_start", "switches paging on before CR3 is loaded")
        self.expect(bool(last("wrmsr", _EFER) & _LME), "boot_start", "switches paging on before EFER.LME")
        self.expect(bool(last("wrmsr", _EFER) & _NXE), "boot_start", "leaves no-execute pages off")
        self.expect(bool(value & _CR0_PE), "boot_start", "leaves protected mode")
        self.expect(bool(value & _CR0_WP), "boot_start", "lets the kernel write to read-only pages")
        self.expect(not value & (_CR0_EM | _CR0_TS), "boot_start", "leaves SSE to raise an exception")
        self.expect(not value & _CR0_NW_CD, "boot_start", "switches the caches off")
        self.equal(last("cr3") & 0xFFF, 0, "boot_start", "loads CR3 with what is no table")
        flags = self.machine.get("rflags")
        self.expect(not flags & _IF, "boot_start", "lets interrupts in")
        self.expect(not flags & _DF, "boot_start", "leaves DF set")
        Walk(self.machine, self).tables(last("cr3"))

    def segments(self) -> None:
        """The early GDT: 64-bit code and writable data, with a limit that ends a descriptor."""
        _, base, last = self.machine.table("gdtr")
        self.equal(last & 7, 7, "boot_start", "loads a GDT whose limit is not its last byte", limit=last)
        self.expect(last >= _DATA | 7, "boot_start", "loads a GDT that is too short", limit=last)
        self.expect(last <= 0x3F, "boot_start", "loads a GDT whose limit is not its last byte", limit=last)
        for selector, code in ((_CODE, True), (_DATA, False)):
            found = segment(self.machine.read_u64(base + selector))
            right = found.present and not found.system and found.dpl == 0 and bool(found.type & 8) == code
            self.expect(
                right and bool(found.type & 2), "boot_start", "loads the wrong descriptors", selector=selector
            )
            self.expect(
                found.long == code and not (code and found.big), "boot_start", "loads no 64-bit code segment"
            )
            self.equal(
                found.last, 0xFFFFFFFF, "boot_start", "gives a limit in the wrong unit", selector=selector
            )
        for name, expected in (("cs", _CODE), ("ds", _DATA), ("es", _DATA), ("ss", _DATA)):
            self.equal(
                self.machine.get(name), expected, "boot_long_mode", f"leaves another selector in {name}"
            )

    def ended(self, code: str, ports: tuple[tuple[int, int, int], ...], routine: str) -> None:
        """The panic line of a check, then the two writes that end the machine."""
        said = bytes(self.uart.sent).replace(b"\r", b"").split(b"\n")
        wanted = shared.string("PANIC_PREFIX").encode() + code.encode() + b" "
        found = any(line.startswith(wanted) for line in said)
        self.expect(found, routine, f"does not say {code}", got=repr(bytes(self.uart.sent[:60])))
        self.expect(not self.uart.lost, "boot_put_string", "sends more than the FIFO takes")
        setup = (self.uart.divisor, self.uart.registers[3])
        self.expect(
            setup == (1, 0x03), "boot_set_up_serial", "sets another line than 115200 8N1", got=repr(setup)
        )
        pvpanic, debug_exit = shared.constant("PVPANIC_PORT"), shared.constant("DEBUG_EXIT_PORT")
        told = [(port, value) for port, _, value in ports if port in (pvpanic, debug_exit)]
        ends = [(pvpanic, 1), (debug_exit, shared.constant("DEBUG_EXIT_FAULT"))]
        self.expect(told == ends, "boot_fail", "tells the host something else", got=repr(told))


@contract(
    "boot_start", "boot_enter_multiboot2", "boot_enter_pvh", "boot_long_mode", "boot_make_tables",
    needs=("boot_enter_multiboot2", "boot_enter_pvh", "kernel_enter", "boot_handover_magic"),
)  # fmt: skip
def loader_entry(harness: Harness) -> None:
    """Both entries, on a CPU that has what is needed."""
    entry = _Entry(harness)
    for symbol, protocol, magic in (
        ("boot_enter_multiboot2", _MULTIBOOT2, _MULTIBOOT2_MAGIC), ("boot_enter_pvh", _PVH, _PVH_MAGIC),
    ):  # fmt: skip
        arrived, _ = entry.run(symbol, magic, _INFORMATION)
        entry.expect(arrived, "boot_start", "does not come to the higher half", entry=symbol)
        entry.handed_over(protocol, magic)
        entry.switched()
        entry.segments()


@contract(
    "boot_check_handover", "boot_check_cpu", "boot_fail", "boot_set_up_serial", "boot_put_string",
    needs=("boot_enter_multiboot2", "boot_enter_pvh", "kernel_enter"),
)  # fmt: skip
def entry_checks(harness: Harness) -> None:
    """A wrong magic number and CPUs that lack something end with a line that says so."""
    entry = _Entry(harness)
    lacks = "boot_check_cpu"
    for symbol, magic, features, extended, code, routine in (
        ("boot_enter_multiboot2", 0x2BADB002, None, 0x8000_0008, "bad-magic", "boot_check_handover"),
        ("boot_enter_multiboot2", _PVH_MAGIC, None, 0x8000_0008, "bad-magic", "boot_check_handover"),
        ("boot_enter_pvh", _MULTIBOOT2_MAGIC, None, 0x8000_0008, "bad-magic", "boot_check_handover"),
        ("boot_enter_multiboot2", _MULTIBOOT2_MAGIC, _EDX_NX, 0x8000_0008, "no-long-mode", lacks),
        ("boot_enter_pvh", _PVH_MAGIC, _EDX_LM, 0x8000_0001, "no-nx", lacks),
        ("boot_enter_pvh", _PVH_MAGIC, None, 0x8000_0000, "no-long-mode", lacks),
        ("boot_enter_pvh", _PVH_MAGIC, None, 0x0000_0016, "no-long-mode", lacks),
        ("boot_enter_multiboot2", _MULTIBOOT2_MAGIC, None, 0x8000_0001, "", lacks),
    ):
        entry.features = _EDX_LM | _EDX_NX if features is None else features
        entry.extended = extended
        arrived, ports = entry.run(symbol, magic, _INFORMATION)
        promise = "refuses a CPU or a loader that is sound" if not code else "goes on where it must not"
        entry.expect(arrived == (not code), routine, promise, expected=code)
        if code:
            entry.ended(code, ports, routine)
            entry.expect(any(port == COM1 for port, _, _ in ports), "boot_put_string", "says nothing")
