"""The headers of assembly routines, parsed: what a routine takes, gives, destroys, and where it may be called.

Owns the header's grammar (ARCHITECTURE.md, "The assembly dialect") and the names of the x86-64 registers. Never
looks at the instructions: holding the code to its header is the business of ``harness`` and the static checks.

    # ecam_read32 -- read one dword of PCIe configuration space
    # In:       rdi = bdf:u16, esi = offset:u32[0..4092]
    # Out:      eax = value:u32, cf = absent
    # Clobbers: rdx
    # Context:  long mode, any IF
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

_LEGACY = ("ax", "bx", "cx", "dx", "si", "di", "bp", "sp")
GENERAL = tuple(f"r{n}" for n in _LEGACY) + tuple(f"r{n}" for n in range(8, 16))
FLAGS = ("cf", "pf", "af", "zf", "sf", "of", "if", "df")


@cache
def _widths() -> dict[str, tuple[str, int]]:
    """Every name of a general register -> (its 64-bit name, width in bits)."""
    table: dict[str, tuple[str, int]] = {}
    for name in _LEGACY:
        table[f"r{name}"] = (f"r{name}", 64)
        table[f"e{name}"] = (f"r{name}", 32)
        table[name] = (f"r{name}", 16)
        low = name[0] + "l" if name[1] == "x" else name + "l"
        table[low] = (f"r{name}", 8)
        if name[1] == "x":
            table[name[0] + "h"] = (f"r{name}", 8)
    for number in range(8, 16):
        for suffix, bits in (("", 64), ("d", 32), ("w", 16), ("b", 8)):
            table[f"r{number}{suffix}"] = (f"r{number}", bits)
    return table


@lru_cache(maxsize=1 << 13)
def full_register(name: str) -> str | None:
    """The 64-bit register that ``name`` is (part of), or None: ``full_register("eax") == "rax"``."""
    entry = _widths().get(name.lower())
    return entry[0] if entry else None


@lru_cache(maxsize=1 << 13)
def register_bits(name: str) -> int | None:
    """The width of a general register in bits, or None."""
    entry = _widths().get(name.lower())
    return entry[1] if entry else None


@dataclass(frozen=True, slots=True)
class Slot:
    """One value of a header: ``esi = offset:u32[0..4092]``.

    ``type`` is the word after the colon (``u8 u16 u32 u64 ptr asciz ...``), empty when none is given; ``low`` and
    ``high`` are the inclusive range, None when open.
    """

    register: str
    name: str
    type: str = ""
    low: int | None = None
    high: int | None = None


@dataclass(frozen=True, slots=True)
class Routine:
    """A routine as its header promises it. ``line`` is the first line of the header, 1-based."""

    name: str
    summary: str
    inputs: tuple[Slot, ...]
    outputs: tuple[Slot, ...]
    clobbers: tuple[str, ...]
    context: str
    file: str
    line: int

    def may_change(self) -> frozenset[str]:
        """The 64-bit registers that a call may leave changed (Out and Clobbers; RSP never)."""
        names = (full_register(n) for n in (*self.clobbers, *(slot.register for slot in self.outputs)))
        return frozenset(n for n in names if n)


_TITLE = re.compile(r"^#\s?([A-Za-z_.$][\w.$]*)\s+--\s+(.*)$")
_FIELD = re.compile(r"^#\s*(In|Out|Clobbers|Context):\s*(.*)$")
_MORE = re.compile(r"^#\s{2,}(\S.*)$")
_SLOT = re.compile(
    r"^(?P<reg>\w+)\s*=\s*(?P<name>[^:\[\]]+?)\s*(?::\s*(?P<type>\w+)\s*(?:\[(?P<low>[^.\]]+)\.\.(?P<high>[^\]]+)\])?)?"
    r"(?:[^\w.].*)?$"
)
_NOTHING = {"", "none", "-", "nothing"}


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses and brackets."""
    parts, depth, start = [], 0, 0
    for position, char in enumerate(text):
        if char in "([":
            depth += 1
        elif char in ")]":
            depth = max(0, depth - 1)
        elif char == "," and depth == 0:
            parts.append(text[start:position])
            start = position + 1
    parts.append(text[start:])
    return [part.strip() for part in parts if part.strip()]


def _integer(text: str | None) -> int | None:
    try:
        return int(text.strip(), 0) if text else None
    except ValueError:
        return None


def _slots(text: str) -> tuple[Slot, ...]:
    slots = []
    for part in _split(text):
        match = _SLOT.match(part)
        register = match["reg"].lower() if match else ""
        if match and (register in FLAGS or full_register(register)):
            low, high = _integer(match["low"]), _integer(match["high"])
            slots.append(Slot(register, match["name"].strip(), match["type"] or "", low, high))
    return tuple(slots)


def _registers(text: str) -> tuple[str, ...]:
    names = []
    for part in _split(text):
        word = part.split()[0].lower()
        if full_register(word) or re.fullmatch(r"xmm\d+|flags|cr\d|mxcsr", word):
            names.append(word)
    return tuple(names)


def parse(text: str, file: str = "") -> list[Routine]:
    """Every routine header of a source text, in order. Text that is no header is passed over."""
    return list(_parsed(text, file))


@lru_cache(maxsize=512)
def _parsed(text: str, file: str) -> tuple[Routine, ...]:
    return tuple(_parse(text.splitlines(), file))


def _parse(lines: list[str], file: str) -> Iterator[Routine]:
    number = 0
    while number < len(lines):
        title = _TITLE.match(lines[number])
        first = number
        number += 1
        if not title:
            continue
        fields: dict[str, str] = {}
        current = "summary"
        fields[current] = title[2].strip()
        while number < len(lines) and lines[number].startswith("#") and not _TITLE.match(lines[number]):
            field, more = _FIELD.match(lines[number]), _MORE.match(lines[number])
            if field:
                current = field[1]
                fields[current] = field[2].strip()
            elif more and current in fields:
                fields[current] += " " + more[1].strip()
            else:
                current = ""  # prose between or after the fields
            number += 1
        if not {"In", "Out", "Clobbers"} & fields.keys():
            continue

        def value(key: str, fields: dict[str, str] = fields) -> str:
            text = fields.get(key, "")
            return "" if text.lower().rstrip(".") in _NOTHING else text

        yield Routine(
            name=title[1],
            summary=fields["summary"],
            inputs=_slots(value("In")),
            outputs=_slots(value("Out")),
            clobbers=_registers(value("Clobbers")),
            context=value("Context"),
            file=file,
            line=first + 1,
        )


def parse_tree(tree: Path, files: Iterable[str] | None = None) -> dict[str, Routine]:
    """Name -> routine for every ``*.s`` of a kernel tree (or for the given files of it)."""
    names = sorted(str(p.relative_to(tree)) for p in tree.rglob("*.s")) if files is None else files
    found: dict[str, Routine] = {}
    for name in names:
        for routine in parse((tree / name).read_text(encoding="utf-8", errors="replace"), name):
            found.setdefault(routine.name, routine)
    return found
