"""Everything that is known of one death, gathered for the rules of ``diagnose`` and for the report.

Owns: memory and code access by virtual address at the moment of death, the BARs (as QEMU tells them and as the
kernel noted them), the boot units' routines, and which routines say that they map. Draws no conclusion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain import boot_log, snapshot, tomlfile
from toolchain import walk as paging_walk
from toolchain.codeview import Code, CodeView
from toolchain.errors import InputError
from toolchain.types import BootResult, CodePlace, Exception_, Symbol, Walk

if TYPE_CHECKING:
    from toolchain.symbols import SymbolTable

PAGE = 4096
_STATIC_DEPTH = 8
_MAX_ROUTINES = 6
_TITLE = re.compile(r"^#\s?([A-Za-z_.$][\w.$]*)\s+--\s+(\w+)", re.MULTILINE)
_MAX_SOURCE = 4 << 20  # bytes of a source file worth reading
_MAPPING_WORDS = ("map", "maps", "mapping")  # what a routine that makes a mapping says of itself


@dataclass(frozen=True, slots=True)
class Bar:
    """A BAR by its range. ``name`` for a person: ``BAR0 of the display controller at 00:01.0``."""

    address: int
    size: int
    name: str


@dataclass
class Clues:
    """One death.

    Attributes:
        result: the boot.
        chain: its exceptions, the first is the cause; empty for a hang, a panic, a reset.
        registers: at the first exception, or now.
        place: where RIP was.
        trace: return addresses with their names, innermost first.
        stack: quadwords at RSP.
        symbols, tree: of the kernel, or None.
    """

    result: BootResult
    chain: tuple[Exception_, ...]
    registers: dict[str, int]
    symbols: SymbolTable | None = None
    tree: Path | None = None
    place: CodePlace | None = None
    trace: tuple[CodePlace, ...] = ()
    stack: tuple[int, ...] = ()
    unit: str | None = None

    @property
    def first(self) -> Exception_ | None:
        """The cause: the first exception of the chain."""
        return self.chain[0] if self.chain else None

    @property
    def rip(self) -> int:
        """Where the first exception, or the hang, is."""
        return self.registers.get("rip", 0)

    @cached_property
    def read_physical(self) -> paging_walk.Reader:
        """Guest memory as the snapshot holds it."""
        return paging_walk.reader(self.result.snapshot.memory if self.result.snapshot else ())

    @cached_property
    def code(self) -> CodeView:
        """The kernel's code, with guest memory behind it."""
        return CodeView(self.symbols, self.read_virtual, self.registers.get("bits", 64))

    @cached_property
    def instruction(self) -> Code | None:
        """The instruction at RIP."""
        return self.code.at(self.rip)

    @cached_property
    def walk(self) -> Walk | None:
        """The walk of CR2 for a page fault; None where no table was read."""
        first = self.first
        if first is None or first.cr2 is None or "cr3" not in self.registers or self.result.snapshot is None:
            return None
        access: paging_walk.Access = "write" if "write" in first.decoded else "read"
        if "fetch" in first.decoded or first.cr2 == self.rip:
            access = "fetch"
        return paging_walk.translate(
            first.cr2, self.paging(access, "user" in first.decoded), self.read_physical
        )

    def paging(self, access: paging_walk.Access = "read", user: bool = False) -> paging_walk.Paging:
        """The control registers for a walk of this machine."""
        known = self.registers
        long_mode = paging_walk.EFER_LMA if known.get("bits", 64) == 64 else 0
        return paging_walk.Paging(
            known.get("cr3", 0),
            known.get("cr0", paging_walk.CR0_PG | paging_walk.CR0_WP),
            known.get("cr4", paging_walk.CR4_PAE),
            known.get("efer", long_mode),
            known.get("rflags", 0),
            access,
            user,
        )

    @property
    def paging_legacy(self) -> bool:
        """Paging is on outside long mode: no four-level walk says anything."""
        known = self.registers
        return known.get("bits", 64) != 64 and not known.get("efer", 0) & paging_walk.EFER_LMA

    def read_virtual(self, address: int, size: int) -> bytes | None:
        """Guest memory by virtual address, within one page; None where it is not mapped or was not read."""
        found = paging_walk.translate(address, self.paging(), self.read_physical)
        if found.physical is None:
            return None
        return self.read_physical(found.physical, min(size, PAGE - address % PAGE))

    @property
    def word(self) -> int:
        """Bytes of a stack slot of the code that died."""
        return 4 if self.registers.get("bits") == 32 else 8

    def quad(self, address: int) -> int | None:
        """The 8 bytes at a virtual address."""
        return self.slot(address, 8)

    def slot(self, address: int, size: int | None = None) -> int | None:
        """The bytes at a virtual address: a stack slot, or so many."""
        wanted = size or self.word
        data = self.read_virtual(address, wanted)
        return int.from_bytes(data, "little") if data and len(data) == wanted else None

    @cached_property
    def bars(self) -> tuple[Bar, ...]:
        """Memory BARs: QEMU's own knowledge first, then what the kernel noted in its PXBOOT lines."""
        found = []
        taken = self.result.snapshot.bars if self.result.snapshot else ()
        for bar in taken:
            if bar.kind == "memory" and bar.address is not None:
                kind = "the display controller" if bar.class_code >> 8 == 3 else "the PCI function"
                found.append(Bar(bar.address, bar.size, f"BAR{bar.bar} of {kind} at {bar.slot}"))
        for unit in self.result.units:
            for key, text in unit.values.items():
                address = boot_log.number(text)
                if key.startswith("bar") and key[3:].isdigit() and address:
                    told = unit.values.get(f"{key}_size") or unit.values.get("size") or ""
                    size = boot_log.number(told) or PAGE
                    found.append(Bar(address, size, f"{key.upper()} (as unit {unit.name} noted it)"))
        return tuple(found)

    def bar_at(self, address: int) -> Bar | None:
        """The BAR that an address lies in, MMIO being mapped at virtual = physical."""
        return next((bar for bar in self.bars if bar.address <= address < bar.address + bar.size), None)

    @cached_property
    def display(self) -> Bar | None:
        """BAR0 of the display controller, when it is assigned."""
        taken = snapshot.display_bar(self.result.snapshot.bars) if self.result.snapshot else None
        return self.bar_at(taken.address) if taken and taken.address else None

    def section_name(self, address: int) -> str | None:
        """The image's section around an address."""
        section = self.symbols.section_at(address) if self.symbols else None
        return section.name if section else None

    def name(self, address: int) -> str:
        """``symbol+offset (file:line)``, or the bare address."""
        return describe(self.symbols.place(address)) if self.symbols else f"{address:#x}"

    @cached_property
    def verbs(self) -> dict[str, str]:
        """The first word of each routine's header (``# page_map -- map one page``) by name; empty without a tree."""
        found = {}
        for path in sorted(self.tree.rglob("*.s")) if self.tree and self.tree.is_dir() else ():
            if path.is_file() and path.stat().st_size <= _MAX_SOURCE:
                for title in _TITLE.finditer(path.read_text("utf-8", "replace")):
                    found[title[1]] = title[2].lower()
        return found

    def maps(self, name: str) -> bool:
        """True when a routine's name, or the verb that its header begins with, says that it maps something."""
        words = {*name.lower().replace(".", "_").split("_"), self.verbs.get(name, "")}
        return not words.isdisjoint(_MAPPING_WORDS)

    def callers(self) -> Iterator[tuple[int, str]]:
        """(address, routine) from the faulting instruction outwards: RIP, then each return address."""
        for place in (self.place, *self.trace):
            if place is not None and place.symbol is not None:
                yield place.address, place.symbol
        if self.place is not None and self.place.symbol is not None and not self.trace:
            yield from self._static_callers(self.place.symbol)

    def _static_callers(self, name: str) -> Iterator[tuple[int, str]]:
        """Without a trace: outwards over the image's own call sites, while there is exactly one."""
        seen = {name}
        for _ in range(_STATIC_DEPTH):
            sites = self.code.callers_of(name)
            if len(sites) != 1 or sites[0].name in seen:
                return
            name = sites[0].name
            seen.add(name)
            yield sites[0].address, name

    def routines(self) -> tuple[str, ...]:
        """Where to look: the routines from the fault outwards to the boot unit's own, the nearest first.

        What lies beyond the unit (the loop over the units) is left out; a unit whose entry the trace lost (a damaged
        stack) is put in.
        """
        names = [name for address, name in self.callers() if self._is_code(address)]
        entry = boot_units(self.tree).get(self.unit or "")
        if entry in names:
            names = names[: names.index(entry) + 1]
        elif entry:
            names.insert(0 if self.place and not self._is_code(self.place.address) else len(names), entry)
        return tuple(dict.fromkeys(names))[:_MAX_ROUTINES]

    def _is_code(self, address: int) -> bool:
        section = self.symbols.section_at(address) if self.symbols else None
        return section is not None and "x" in section.flags

    def calls_made(self) -> list[str]:
        """Routines called before the fault in the faulting routine and its callers, nearest first, each once.

        A caller's own call into the chain is left out.
        """
        found: list[str] = []
        on_chain = {name for _, name in self.callers()}
        for address, _ in self.callers():
            for call in self.code.calls_before(address):
                if call.name not in on_chain and call.name not in found:
                    found.append(call.name)
        return found

    def unit_entries(self) -> list[str]:
        """Entry routines of the boot units up to the one in progress, latest first, as ``boot.toml`` names them."""
        declared = boot_units(self.tree)
        started = [unit.name for unit in self.result.units if unit.name in declared]
        return [declared[name] for name in reversed(started)]

    def reached_by(self, names: Sequence[str]) -> list[Symbol]:
        """Routines that the named ones call, directly or not, in call order."""
        found: list[Symbol] = []
        for name in names:
            symbol = self.symbols.find(name) if self.symbols else None
            for callee in self.code.reachable(symbol.address) if symbol else ():
                if callee not in found:
                    found.append(callee)
        return found


def boot_units(tree: Path | None) -> dict[str, str]:
    """Boot units of a tree, name -> entry routine; empty where ``boot.toml`` is missing or not readable as such."""
    if tree is None:
        return {}
    try:
        data = tomlfile.load(tree / "boot.toml", stage="fault")
        return {str(unit["name"]): str(unit["entry"]) for unit in data.get("unit", ())}
    except (InputError, KeyError, TypeError):
        return {}


def describe(place: CodePlace) -> str:
    """``symbol+0x12 (file:line)`` with whatever of it is known."""
    if place.symbol is None:
        return f"{place.address:#x}"
    text = f"{place.symbol}+{place.offset:#x}" if place.offset else place.symbol
    return f"{text} ({place.file}:{place.line})" if place.file else text
