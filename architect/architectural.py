"""Bits and numbers that the architecture fixes, by the names that kernels give them: CR4_PAE is bit 5 everywhere.

Owns the table (Intel SDM vol. 3: 2.5 control registers, 4.5 paging-structure entries; vol. 1: 3.4.3 RFLAGS; vol. 4:
MSRs; the Multiboot specifications; the PC's fixed ports; vol. 3: 3.4.5 and 7.2.3 segment descriptors) and the reading
of a name. A name is told only when all of it
is understood: ``CR4_PAE``, ``X86_CR4_PAE`` and ``CR4_PAE_BIT`` are, ``CR4_WANTED`` is not. Never reads a tree.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

_CR0 = {
    "PE": 0,
    "MP": 1,
    "EM": 2,
    "TS": 3,
    "ET": 4,
    "NE": 5,
    "WP": 16,
    "AM": 18,
    "NW": 29,
    "CD": 30,
    "PG": 31,
}
_CR4 = {
    "VME": 0, "PVI": 1, "TSD": 2, "DE": 3, "PSE": 4, "PAE": 5, "MCE": 6, "PGE": 7, "PCE": 8, "OSFXSR": 9,
    "OSXMMEXCPT": 10, "UMIP": 11, "LA57": 12, "VMXE": 13, "SMXE": 14, "FSGSBASE": 16, "PCIDE": 17, "OSXSAVE": 18,
    "SMEP": 20, "SMAP": 21, "PKE": 22, "CET": 23,
}  # fmt: skip
_EFER = {"SCE": 0, "LME": 8, "LMA": 10, "NXE": 11, "NX": 11, "SVME": 12}
_FLAGS = {
    "CF": 0, "PF": 2, "AF": 4, "ZF": 6, "SF": 7, "TF": 8, "IF": 9, "DF": 10, "OF": 11, "NT": 14, "RF": 16, "VM": 17,
    "AC": 18, "VIF": 19, "VIP": 20, "ID": 21,
}  # fmt: skip
_REGISTERS: Mapping[str, Mapping[str, int]] = {
    "CR0": _CR0, "CR4": _CR4, "EFER": _EFER, "RFLAGS": _FLAGS, "EFLAGS": _FLAGS,
}  # fmt: skip
# A large page's name may as well be its size, which is no bit of an entry: such names may be right all the same.
_ENTRY = {
    "PRESENT": 0, "P": 0, "WRITE": 1, "WRITABLE": 1, "WRITEABLE": 1, "RW": 1, "W": 1, "USER": 2, "US": 2, "U": 2,
    "PWT": 3, "PCD": 4, "ACCESSED": 5, "DIRTY": 6, "PS": 7, "LARGE": 7, "HUGE": 7, "GLOBAL": 8, "NX": 63, "XD": 63,
}  # fmt: skip
_ENTRIES = frozenset(("PAGE", "PTE", "PDE", "PDPTE", "PML4E", "PT"))
_MSRS: Mapping[tuple[str, ...], int] = {
    ("EFER",): 0xC0000080, ("STAR",): 0xC0000081, ("LSTAR",): 0xC0000082, ("CSTAR",): 0xC0000083,
    ("FMASK",): 0xC0000084, ("SFMASK",): 0xC0000084, ("FS", "BASE"): 0xC0000100, ("GS", "BASE"): 0xC0000101,
    ("KERNEL", "GS", "BASE"): 0xC0000102, ("TSC", "AUX"): 0xC0000103, ("APIC", "BASE"): 0x1B, ("PAT",): 0x277,
    ("TSC",): 0x10, ("TSC", "DEADLINE"): 0x6E0, ("SYSENTER", "CS"): 0x174, ("SYSENTER", "ESP"): 0x175,
    ("SYSENTER", "EIP"): 0x176, ("MISC", "ENABLE"): 0x1A0, ("MTRR", "DEF", "TYPE"): 0x2FF,
}  # fmt: skip
_NUMBERS: Mapping[tuple[str, ...], tuple[int, ...]] = {
    ("MULTIBOOT", "MAGIC"): (0x1BADB002, 0x2BADB002), ("MULTIBOOT", "HEADER", "MAGIC"): (0x1BADB002,),
    ("MULTIBOOT", "BOOTLOADER", "MAGIC"): (0x2BADB002,), ("MULTIBOOT2", "HEADER", "MAGIC"): (0xE85250D6,),
    ("MULTIBOOT2", "MAGIC"): (0xE85250D6, 0x36D76289), ("MULTIBOOT2", "BOOTLOADER", "MAGIC"): (0x36D76289,),
    ("COM1",): (0x3F8,), ("COM2",): (0x2F8,), ("VGA", "TEXT"): (0xB8000,), ("PIC1", "COMMAND"): (0x20,),
    ("PIC1", "DATA"): (0x21,), ("PIC2", "COMMAND"): (0xA0,), ("PIC2", "DATA"): (0xA1,), ("PIC", "EOI"): (0x20,),
    ("PIT", "CHANNEL0"): (0x40,), ("PIT", "CHANNEL2"): (0x42,), ("PIT", "COMMAND"): (0x43,),
    ("PCI", "CONFIG", "ADDRESS"): (0xCF8,), ("PCI", "CONFIG", "DATA"): (0xCFC,),
}  # fmt: skip
# A segment descriptor's bits (Intel SDM vol. 3, 3.4.5): 64-bit code has L, 32-bit code has D, none has both.
_TYPE_SHIFT, _DPL_SHIFT, _PRESENT, _LONG, _BIG, _GRANULAR = 40, 45, 47, 53, 54, 55
_EXECUTABLE, _CODE_OR_DATA = 1 << 43, 1 << 44
_DESCRIPTOR_FIELDS = 0xFF << _TYPE_SHIFT | 0xF << 52
_FLAT = (0, 0xFFFF, 0xF_0000_0000_FFFF)  # base 0; the limit none, 64 KB or units, or all of them
_MASK64 = (1 << 64) - 1
_BEFORE = frozenset(("X86", "IA32", "MSR", "AMD64"))
_AFTER = frozenset(("BIT", "FLAG", "MASK", "SHIFT", "ENABLE", "PORT", "BASE", "INDEX", "NUMBER"))


@dataclass(frozen=True, slots=True)
class Fixed:
    """What a name must be.

    Attributes:
        what: a clause for a person.
        values: what it may be; for a bit its mask and its number, the mask first.
        bit: the number of the bit, or None for a plain number.
        sure: nothing else bears such a name.
    """

    what: str
    values: tuple[int, ...]
    bit: int | None = None
    sure: bool = True

    def allows(self, value: int) -> bool:
        """Whether a value is what it must be; an expression's bit 63 may have come out as a sign."""
        return value in self.values or value & _MASK64 in self.values


@lru_cache(maxsize=8192)
def fixed(name: str) -> Fixed | None:
    """What the architecture says of a name; None when it says nothing, or not all of the name is understood."""
    words = name.upper().strip("_").split("_")
    if words[0] in ("MSR", "IA32") or words[:2] == ["X86", "MSR"]:
        bare = tuple(_trimmed(words, ("INDEX", "NUMBER")))
        if bare in _MSRS:
            return Fixed(f"MSR {'_'.join(bare)} is {_MSRS[bare]:#x}", (_MSRS[bare],))
    bare = tuple(_trimmed(words, _AFTER))
    if len(bare) == 2 and bare[1] in _REGISTERS.get(bare[0], ()):
        return _bit(f"{bare[0]}.{bare[1]}", _REGISTERS[bare[0]][bare[1]], sure=True)
    if len(bare) == 2 and bare[0] in _ENTRIES and bare[1] in _ENTRY:
        return _bit(f"{bare[1]} of a paging-structure entry", _ENTRY[bare[1]], sure=False)
    if bare in _NUMBERS:
        values = _NUMBERS[bare]
        return Fixed(f"{name} is {' or '.join(f'{v:#x}' for v in values)} by its specification", values)
    return None


def _trimmed(words: list[str], after: frozenset[str] | tuple[str, ...]) -> list[str]:
    """The words without what only says that it is a register of the architecture, or a bit."""
    first = 0
    while first < len(words) - 1 and words[first] in _BEFORE:
        first += 1
    last = len(words)
    while last > first + 1 and words[last - 1] in after:
        last -= 1
    return words[first:last]


def _bit(what: str, number: int, *, sure: bool) -> Fixed:
    return Fixed(f"{what} is bit {number}", (1 << number, number), number, sure)


def descriptors(value: int) -> Iterator[tuple[int, str]]:
    """The segment descriptors that one may have been meant to be, likeliest first; none where it is no flat one.

    Args:
        value: eight bytes; base 0, so that what is set is the limit and the fields alone.
    """
    if value & ~_DESCRIPTOR_FIELDS not in _FLAT or not value & (1 << _PRESENT | _CODE_OR_DATA):
        return
    if value & _CODE_OR_DATA and value & _EXECUTABLE:
        bare = value & ~(1 << _LONG | 1 << _BIG)
        yield bare | 1 << _LONG, "64-bit code"
        yield bare | 1 << _BIG, "32-bit code"
    if not value & _CODE_OR_DATA:
        yield value ^ 2 << _TYPE_SHIFT, "available or busy"
    yield value ^ 1 << _PRESENT, "present or not"
    yield value ^ 3 << _DPL_SHIFT, "ring 0 or 3"
    yield value ^ _EXECUTABLE, "code or data"
    yield value ^ 2 << _TYPE_SHIFT, "readable, writable or not"
    yield value ^ 1 << _GRANULAR, "limit in pages or bytes"
    yield value ^ _CODE_OR_DATA, "system or not"
    yield value ^ 1 << _BIG, "D exchanged"
