"""Hand-made deaths: a small image of machine code, tables in memory, and the BootResult that a boot would leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.tables import NX, WRITE, Tables
from toolchain import fault
from toolchain.symbols import SymbolTable
from toolchain.types import BootResult, Diagnosis, Image, Line, PciBar, Section, Snapshot, Symbol, Unit

BASE = 0xFFFF_FFFF_8010_0000
PHYSICAL = 0x100000
RODATA = BASE + 0x1000
STACK = BASE + 0x8000  # top of a page of stack
BAR0 = 0xFD00_0000

STORE = "c70700000000"  # mov dword ptr [rdi], 0
LOAD_RBX = "488b03"  # mov rax, [rbx]
FRAME = "554889e5"  # push rbp; mov rbp, rsp

GOOD_REGISTERS = {
    "rsp": STACK - 0x40, "rbp": STACK - 0x20, "rip": BASE, "rflags": 2, "cs": 8, "ss": 16, "cr0": 0x8001_0033,
    "cr2": 0, "cr3": 0x200000, "cr4": 0x6A0, "efer": 0xD01, "bits": 64, "idt_base": 0, "idt_limit": 0xFFF,
    "gdt_base": 0, "gdt_limit": 0x3F, "tr_base": 0,
}  # fmt: skip


class Death:
    """One death in the making.

    Args:
        routines: name -> machine code; laid out in order from ``BASE``, 64 bytes each.
    """

    def __init__(self, **routines: str) -> None:
        code = bytearray()
        self.at: dict[str, int] = {}
        for name, text in routines.items():
            self.at[name] = BASE + len(code)
            code += bytes.fromhex(text).ljust(64, b"\x90")
        self.code = bytes(code)
        self.tables = Tables()
        self.registers = dict(GOOD_REGISTERS)
        self.tables.map(BASE, PHYSICAL, 0)
        self.tables.map(RODATA, PHYSICAL + 0x1000, NX)
        self.tables.map(STACK - 0x1000, 0x300000, WRITE | NX)
        self.tables.put(0x300000, b"")
        self.bars: tuple[PciBar, ...] = (
            PciBar("00:01.0", 0x1234, 0x1111, 0x0300, 0, BAR0, 1 << 24, "memory"),
        )
        self.block: dict[str, str] | None = None
        self.outcome: Any = "fault"
        self.units: tuple[Unit, ...] = ()
        self.log = ""
        self.serial = ""
        self.panic: tuple[str, str] | None = None

    def call(self, routine: str, target: str, at: int) -> None:
        """Put ``call target`` at offset ``at`` of ``routine``."""
        address = self.at[routine] + at
        start = address - BASE
        relative = (self.at[target] - address - 5) & 0xFFFF_FFFF
        self.code = self.code[:start] + b"\xe8" + relative.to_bytes(4, "little") + self.code[start + 5 :]

    def push(self, *quads: int) -> None:
        """What lies on the stack from RSP upwards."""
        offset = self.registers["rsp"] - (STACK - 0x1000)
        self.tables.put(0x300000 + offset, b"".join(q.to_bytes(8, "little") for q in quads))

    def raises(
        self, vector: int, error: int | None = None, cr2: int | None = None, **registers: int
    ) -> Death:
        """The kernel's own report of an exception."""
        self.registers.update(registers)
        values = {"scope": "kernel", "vector": hex(vector), "rip": hex(self.registers["rip"])}
        if error is not None:
            values["error"] = hex(error)
        if cr2 is not None:
            self.registers["cr2"] = cr2
            values["cr2"] = hex(cr2)
        values |= {n: hex(v) for n, v in self.registers.items() if n in registers or n in ("rsp", "rbp")}
        self.block = values | {"stack": "", "trace": ""}
        return self

    def symbols(self) -> SymbolTable:
        names = [Symbol(n, a, 64, "func", ".text", "a.s", 1, True) for n, a in self.at.items()]
        text = Section(".text", BASE, PHYSICAL, len(self.code), self.code, "ax", 16)
        data = Section(".rodata", RODATA, PHYSICAL + 0x1000, 64, bytes(64), "a", 16)
        label = Symbol("text", RODATA, 8, "object", ".rodata", "a.s", 9, False)
        lines = tuple(
            Line(address, 64, "a.s", 10 * number) for number, address in enumerate(self.at.values(), 1)
        )
        return SymbolTable(Image(BASE, (text, data), (*names, label), lines, ("a.s",)))

    def result(self) -> BootResult:
        return BootResult(
            outcome=self.outcome,
            seconds=1.0,
            qemu_status=37,
            serial=self.serial,
            units=self.units,
            tests={},
            kernel_fault=self.block,
            panic=self.panic,
            qemu_log=self.log,
            snapshot=Snapshot(dict(self.registers), self.tables.chunks(), self.bars),
            command=("qemu", "-accel", "tcg"),
            log_dir=None,
        )


def bar_death() -> Death:
    """Unit -> (select, map_registers, set_up); set_up stores to BAR0, which nothing mapped."""
    death = Death(unit=FRAME, select="c3", map_registers="4889f8c3", set_up=FRAME + STORE)
    death.call("unit", "select", 4)
    death.call("unit", "map_registers", 9)
    death.call("unit", "set_up", 14)
    death.tables.map(BAR0 + 0x5000, 0x5000, WRITE)  # tables exist down to the PT
    death.raises(14, 2, BAR0, rip=death.at["set_up"] + 4, rdi=BAR0, rbp=STACK - 0x40, rsp=STACK - 0x40)
    death.push(STACK - 0x20, death.at["unit"] + 19)
    return death


def diagnosis(death: Death, rule: str, tree: Path | None = None) -> Diagnosis:
    """What ``rule`` says of a death; it must match."""
    report = fault.analyse(death.result(), death.symbols(), tree)
    assert report is not None
    found = {item.rule: item for item in report.diagnosis}
    assert rule in found, found.keys()
    return found[rule]


def rules(death: Death) -> set[str]:
    """The rules that match a death."""
    report = fault.analyse(death.result(), death.symbols())
    assert report is not None
    return {item.rule for item in report.diagnosis}
