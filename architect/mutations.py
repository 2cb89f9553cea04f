"""The classes of mutations of one statement, as mutation testing has them, in the terms of assembly.

Owns the reading of a line as far as they need it, in three syntaxes (GNU as with Intel's and with AT&T's operands,
nasm), and what may take the place of a statement: deletion, and the replacement of operators, operands, constants and
relations (Jia and Harman, "An Analysis and Survey of the Development of Mutation Testing", 2011). Imports nothing of
``architect.operators``: ``mutants`` says why.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolchain.headers import full_register

if TYPE_CHECKING:
    from architect.mutants import Sources

SIMILAR = 3  # names that count as like another

_REGISTER_PARTS = ("b", "w", "d", "q")
_SIZES = ("byte", "word", "dword", "qword")
_CONDITIONS = ("o", "no", "b", "ae", "z", "nz", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g")
_SAME_CONDITION = {"c": "b", "nae": "b", "nc": "ae", "nb": "ae", "e": "z", "ne": "nz", "na": "be", "nbe": "a",
                   "nge": "l", "nl": "ge", "ng": "le", "nle": "g", "pe": "p", "po": "np"}  # fmt: skip
_CONDITIONAL = re.compile(r"(j|set|cmov)([a-z]{1,3})")
_SHAPES = tuple(
    frozenset(group.split())
    for group in (
        "add sub adc sbb and or xor mov cmp test", "shl shr sar rol ror", "inc dec neg not", "mul imul div idiv",
        "movzx movsx", "bsf bsr", "bt bts btr btc", "cli sti", "clc stc cmc", "cld std", "lodsb stosb",
        "lodsw stosw", "lodsd stosd", "lodsq stosq", "push pop", "rep repe repne",
    )
)  # fmt: skip
_DATA_WORDS = (
    ".byte .word .short .long .int .quad .set .equ .skip .space .zero .fill .org .align .balign db dw dd dq equ align"
    " times resb"
)
_NO_CODE_WORDS = (
    "function local_function end_function object end_object bits org section segment global extern default"
)
_DATA, _NO_CODE = frozenset(_DATA_WORDS.split()), frozenset(_NO_CODE_WORDS.split())
_NUMBER = re.compile(r"(?<![\w.])(0x[0-9a-fA-F]+|0b[01]+|\d+)(?![\w.])")
NAME = re.compile(r"(?<![\w.%])[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b")
_WORD = re.compile(r"%?[A-Za-z_.$][\w.$]*")
_LABELS = re.compile(r"\s*(?:[A-Za-z_.$][\w.$\\]*\s*:\s*)*")
LABEL = re.compile(r"\s*([A-Za-z_.$][\w.$]*)\s*:")
ROUTINE = re.compile(r"\s*(?:local_)?function\s+([\w.$]+)")
_CODE = re.compile(r"(\S+)(\s*)(.*)", re.DOTALL)
_ATT_SUFFIXES = {"b": 1, "w": 2, "l": 4, "q": 8}


@dataclass(frozen=True, slots=True)
class Row:
    """A line with a statement: what stands before it, its name, the gap, the operands, blanks and comment."""

    lead: str
    name: str
    gap: str
    rest: str
    tail: str

    @property
    def data(self) -> bool:
        """Whether it is data or a constant: only numbers and names of it are mutated."""
        return self.name.lower() in _DATA or self.rest.split(" ")[0].lower() in (
            "equ",
            "db",
            "dw",
            "dd",
            "dq",
        )

    def line(self, name: str | None = None, rest: str | None = None) -> str:
        """The line with another name or operands."""
        return f"{self.lead}{name or self.name}{self.gap}{self.rest if rest is None else rest}{self.tail}"

    def operands(self) -> list[str]:
        """The operands, blanks around them kept."""
        parts, depth, start = [], 0, 0
        for at, char in enumerate(self.rest):
            depth += (char in "[(") - (char in ")]")
            if char == "," and not depth:
                parts.append(self.rest[start:at])
                start = at + 1
        return [*parts, self.rest[start:]] if self.rest else []


def read(line: str, syntax: str) -> Row | None:
    """The statement of a line; None of a blank line, a comment, a lone label, or what is no code and no number."""
    code = _bare(line, ";" if syntax == "nasm" else "#").rstrip()
    found = _LABELS.match(code)
    lead = found[0] if found else ""
    parts = _CODE.fullmatch(code[len(lead) :])
    if parts is None or '"' in code or "'" in code:
        return None
    row = Row(lead, parts[1], parts[2], parts[3], line[len(code) :])
    if row.name.startswith((".", "%", "[")) and not row.data:
        return None
    return None if row.name.lower() in _NO_CODE else row


def _bare(line: str, mark: str) -> str:
    """A line up to its comment."""
    quote = ""
    for at, char in enumerate(line):
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'":
            quote = char
        elif char == mark or (mark == "#" and line.startswith("//", at)):
            return line[:at]
    return line


# --- the classes: what takes the place of a statement ---------------------------------------------------------


def _delete(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    if not row.data:
        yield (row.lead.rstrip(),) if row.lead.strip() else ()


def _duplicate(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    if not row.data and not row.lead.strip():
        yield (row.line(), row.line())


def _swap(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    after = sources.rows[file].get(line + 1)
    if after and not (row.data or after.data or row.lead.strip() or after.lead.strip()):
        first, second = sources.lines[file][line : line + 2]
        yield (second, first)


def _registers(row: Row) -> Iterator[tuple[re.Match[str], str, str, str]]:
    """Registers among the operands: where, its mark, the whole register, the part of it."""
    for found in _WORD.finditer(row.rest):
        word = found[0].lstrip("%")
        whole = full_register(word.lower())
        part = next((p for p in _REGISTER_PARTS if whole and spelt(whole, p) == word), None)
        if whole and part:
            yield found, "%" if found[0].startswith("%") else "", whole, part


def spelt(whole: str, part: str) -> str:
    """A 64-bit register's name in 8 (``b``, the low one), 16 (``w``), 32 (``d``) or 64 (``q``) bits."""
    if whole[1:].isdigit():
        return whole + {"b": "b", "w": "w", "d": "d", "q": ""}[part]
    core = whole[1:]
    if part == "b":
        return core[0] + "l" if core.endswith("x") else core + "l"
    return {"w": "", "d": "e", "q": "r"}[part] + core


def _replaced(row: Row, found: re.Match[str], new: str) -> str:
    return row.line(rest=row.rest[: found.start()] + new + row.rest[found.end() :])


_WHOLE = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", *(f"r{n}" for n in range(8, 16)))


def _register(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    wide = any(part == "q" or whole[1:].isdigit() for _, _, whole, part in _registers(row))
    for found, mark, whole, part in _registers(row):
        for other in _WHOLE:
            if other != whole and (wide or sources.syntax != "gas-att" or not other[1:].isdigit()):
                yield (_replaced(row, found, mark + spelt(other, part)),)


def _constant(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    for found in _NUMBER.finditer(row.rest):
        if not _inside(row.rest, found.start()):
            for number in _other_numbers(int(found[0], 0)):
                yield (_replaced(row, found, _written(number, found[0])),)


def _other_numbers(number: int) -> Iterator[int]:
    yield number + 1
    if number:
        yield number - 1
        yield 0
    for bit in range(max(8, number.bit_length())):
        yield number ^ (1 << bit)
    if number and not number & (number - 1):
        yield from (number << 1, number >> 1)


def _written(number: int, like: str) -> str:
    return hex(number) if like.startswith("0x") else bin(number) if like.startswith("0b") else str(number)


def _name(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    for found in NAME.finditer(row.rest):
        if row.data and not row.rest[: found.start()].strip() and row.name.startswith("."):
            continue  # the constant that is defined
        family = found[0].split("_")[0] + "_"
        like = [name for name in sources.names if name.startswith(family) and name != found[0]]
        for other in difflib.get_close_matches(found[0], like, SIMILAR, 0.0):
            yield (_replaced(row, found, other),)


def _condition(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    found = _CONDITIONAL.fullmatch(row.name.lower())
    code = _SAME_CONDITION.get(found[2], found[2]) if found else ""
    if found and code in _CONDITIONS:
        yield from ((row.line(found[1] + other),) for other in _CONDITIONS if other != code)


def _mnemonic(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    name, suffix = row.name.lower(), ""
    if (
        sources.syntax == "gas-att"
        and not any(name in group for group in _SHAPES)
        and name[-1] in _ATT_SUFFIXES
    ):
        name, suffix = name[:-1], name[-1]
    for group in _SHAPES:
        if name in group:
            yield from ((row.line(other + suffix),) for other in sorted(group) if other != name)


def _size(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    for found in re.finditer(r"\b(byte|word|dword|qword)\b", row.rest):
        yield from ((_replaced(row, found, size),) for size in _SIZES if size != found[0])
    if sources.syntax == "gas-att":
        if row.name[-1] in _ATT_SUFFIXES and "(" in row.rest:
            yield from ((row.line(row.name[:-1] + end),) for end in _ATT_SUFFIXES if end != row.name[-1])
    elif "[" in row.rest:
        for found, _, whole, part in _registers(row):
            if not _inside(row.rest, found.start()):
                yield from ((_replaced(row, found, spelt(whole, p)),) for p in _REGISTER_PARTS if p != part)


def _inside(text: str, at: int) -> bool:
    """Whether a column lies in a memory operand's brackets."""
    before = text[:at]
    return before.count("[") > before.count("]")


def _displacement(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    for found in _NUMBER.finditer(row.rest):
        memory = re.match(r"\(", row.rest[found.end() :]) if sources.syntax == "gas-att" else True
        if memory and (sources.syntax == "gas-att" or _inside(row.rest, found.start())):
            scale = row.rest[: found.start()].rstrip().endswith("*")
            number = int(found[0], 0)
            others = (
                [1, 2, 4, 8]
                if scale
                else [number + d for d in (1, -1, 2, -2, 4, -4, 8, -8) if number + d >= 0]
            )
            yield from (
                (_replaced(row, found, _written(other, found[0])),) for other in others if other != number
            )


def _branch(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    if row.name.lower().startswith(("j", "loop")) and is_label(row.rest):
        yield from ((row.line(rest=other),) for other in sources.labels(file, line, row.rest))


def _exchange(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    parts = row.operands()
    if len(parts) == 2 and not row.data:
        yield (row.line(rest=f"{parts[1].strip()}, {parts[0].strip()}"),)


def _call(sources: Sources, file: str, line: int, row: Row) -> Iterator[tuple[str, ...]]:
    if row.name.lower() == "call" and is_label(row.rest):
        like = [name for name in sources.called if name != row.rest]
        yield from (
            (row.line(rest=name),) for name in difflib.get_close_matches(row.rest, like, SIMILAR, 0.4)
        )


def is_label(text: str) -> bool:
    """Whether an operand is the name of a place."""
    return (
        _WORD.fullmatch(text) is not None and not text.startswith("%") and full_register(text.lower()) is None
    )


CLASSES: Mapping[str, Callable[[Sources, str, int, Row], Iterator[tuple[str, ...]]]] = {
    "delete": _delete,  # a statement
    "duplicate": _duplicate,  # a statement
    "swap": _swap,  # two statements that stand below each other
    "register": _register,  # another of the same size
    "constant": _constant,  # off by one, zero, a bit flipped, another power of two
    "name": _name,  # another named constant of the same family
    "condition": _condition,  # of a jump, set or move
    "mnemonic": _mnemonic,  # another of the same shape
    "size": _size,  # of a memory operand, or of the register that gives it
    "displacement": _displacement,  # or scale
    "branch": _branch,  # to another label near it
    "exchange": _exchange,  # source and destination
    "call": _call,  # of a routine with a name like it
}
