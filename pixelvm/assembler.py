"""From text to a program: labels, constants, data, and where each pixel came from.

Owns the language (below) and its errors, all of a source at once. Never runs anything and never reads a file.

One statement on a line; ``;`` and ``#`` begin a comment. ``name:`` is a label: in code the index of the next pixel,
in data an address in memory. ``.name:`` belongs to the label before it that has no dot. ``push`` of a number that needs
more than 24 bits becomes ``push`` and ``high``; a number is known when everything in it stands above. Expressions are
those of the toolchain's assembler. The entry is ``.entry``, else the label ``main``, else the first pixel.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple

from pixelvm import isa, program
from pixelvm.isa import INSTRUCTIONS, SYSTEM_CALLS, Instruction, Op, Operand
from pixelvm.labels import Fault, Labels, within
from pixelvm.names import Names
from pixelvm.program import Program
from toolchain import source, strings
from toolchain.errors import InputError
from toolchain.types import Diagnostic, Place

STAGE = "vm"
MNEMONICS = {row.name: row for row in INSTRUCTIONS.values()}
CALLS = {row.name: row for row in SYSTEM_CALLS.values()}
SOURCE_MAX = 4 << 20  # bytes of text
ERRORS_MAX = 1000  # of one source

_LABEL = re.compile(r"([A-Za-z_.][A-Za-z0-9_]*)[ \t]*:")
_COMMENT = re.compile(r"""(?:"(?:[^"\\]|\\.)*"|'(?:\\.|[^\\])'?|[^;#"'])*""")
_PARTS = re.compile(r"""'(?:\\.|[^\\])'?|,|[^,']+""")


class Assembly(NamedTuple):
    """What a source became.

    Attributes:
        program: within the machine's bounds.
        places: for each word the statement that it came from.
        code_labels: full name to index of a word.
        data_labels: full name to address in memory.
        names: of variables, and where they lie.
    """

    program: Program
    places: tuple[Place, ...]
    code_labels: dict[str, int]
    data_labels: dict[str, int]
    names: Names = Names()


class _Late(NamedTuple):
    """A number that is written when every name is known: into a word of code, or into bytes of data."""

    place: Place
    scope: str
    text: str
    write: Callable[[int], None]


def assemble(text: str, name: str) -> Assembly:
    """Assemble one source.

    Args:
        text: the source.
        name: of its file, for places.

    Raises:
        InputError: with every error of the source (the first ``ERRORS_MAX``) as ``diagnostics``.
    """
    unit = _Unit(name)
    for number, line in enumerate(text.split("\n"), 1):
        if len(unit.errors) >= ERRORS_MAX:
            break  # this is no source
        unit.line(number, line.rstrip("\r"))
    unit.finish()
    if unit.errors:
        errors = source.sort_diagnostics(unit.errors)
        raise InputError(f"{name}: {len(errors)} errors", stage=STAGE, diagnostics=errors)
    made = Program(tuple(unit.code), bytes(unit.data), unit.memory, unit.entry)
    code, data = unit.labels.of("code"), unit.labels.of("data")
    return Assembly(program.checked(made, name), tuple(unit.places), code, data)


class _Unit:
    """One source while it is read: what is known so far, and what waits for names further down."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.code: list[int] = []
        self.places: list[Place] = []
        self.data = bytearray()
        self.labels = Labels()
        self.memory = isa.MEMORY_DEFAULT
        self.entry = 0
        self.errors: list[Diagnostic] = []
        self._section = "code"
        self._late: list[_Late] = []
        self._place = Place(name, 1)
        self._entry_given = False

    def line(self, number: int, text: str) -> None:
        """One line: labels, then at most one statement."""
        rest = _without_comment(text).rstrip()
        at = len(rest) - len(rest.lstrip(" \t"))
        try:
            while label := _LABEL.match(rest, at):
                self._place = Place(self.name, number, text, at)
                at_label = len(self.code) if self._section == "code" else len(self.data)
                self.labels.define(label[1], self._section, at_label, number)
                at = label.end() + len(rest[label.end() :]) - len(rest[label.end() :].lstrip(" \t"))
            if at < len(rest):
                self._place = Place(self.name, number, text, at)
                op, *arguments = rest[at:].split(None, 1)
                self._statement(op.lower(), arguments[0] if arguments else "")
        except Fault as fault:
            self._report(self._place, fault)

    def _report(self, place: Place, fault: Fault) -> None:
        column = place.text.find(fault.text, place.column) if fault.text else place.column
        self.errors.append(
            Diagnostic(place._replace(column=max(column, place.column)), fault.message, fault.expected)
        )

    def finish(self) -> None:
        """Fill in the numbers that had to wait."""
        for late in self._late:
            try:
                late.write(self.labels.value(late.text, late.scope))
            except Fault as fault:
                self._report(late.place, fault)
        if not self._entry_given and self.labels.kinds.get("main") == "code":
            self.entry = self.labels.values["main"]
        if not self.code and not self.errors:
            self.errors.append(
                Diagnostic(Place(self.name, 1), "no instructions", "at least one, such as halt")
            )

    def _later(self, text: str, write: Callable[[int], None]) -> None:
        self._late.append(_Late(self._place, self.labels.scope, text, write))

    # --- statements ----------------------------------------------------------------------------------------

    def _statement(self, op: str, arguments: str) -> None:
        if op.startswith("."):
            directive = _DIRECTIVES.get(op)
            if directive is None:
                raise Fault(
                    f"no directive `{op}'", source.nearest(op, _DIRECTIVES, "a directive such as .byte")
                )
            directive(self, arguments)
            return
        row = MNEMONICS.get(op)
        if row is None:
            raise Fault(
                f"no instruction `{op}'", source.nearest(op, MNEMONICS, "an instruction such as push")
            )
        if self._section != "code":
            raise Fault("an instruction among data", ".code above it")
        self._instruction(row, arguments)

    def _instruction(self, row: Instruction, text: str) -> None:
        kind = row.operand
        if kind is Operand.NONE:
            if text:
                raise Fault(f"{row.name} has no operand", f"{row.name} alone", text)
            self._emit(isa.word(row.op))
        elif row.op is Op.PUSH:
            self._push(text)
        elif kind is Operand.SYSTEM:
            if text not in CALLS:
                raise Fault(f"no system call `{text}'", source.nearest(text, CALLS, ", ".join(CALLS)), text)
            self._emit(isa.word(row.op, CALLS[text].number))
        elif not text and kind in (Operand.OFFSET, Operand.BYTE) and row.op is not Op.HIGH:
            self._emit(isa.word(row.op))
        else:
            at = len(self.code)
            self._emit(isa.word(row.op))
            scope = self.labels.scope
            self._later(text, lambda value: self._operand(row, at, value, text, scope))

    def _operand(self, row: Instruction, at: int, value: int, text: str, scope: str) -> None:
        if row.operand is Operand.TARGET and self.labels.kind(text, scope) == "data":
            raise Fault(f"`{text}' is a label of data", "a label of code", text)
        self.code[at] = isa.word(
            row.op, within(value, 0, isa.operand_limit(row.operand, len(self.code)) - 1, text)
        )

    def _push(self, text: str) -> None:
        value = self.labels.known(text)
        at = len(self.code)
        if value is None:
            self._emit(isa.word(Op.PUSH))
            self._later(text, lambda number: self._short(at, number, text))
            return
        self._emit(isa.word(Op.PUSH, value))
        if not _is_short(value):
            self._emit(isa.word(Op.HIGH, value >> 24 & 0xFF))

    def _short(self, at: int, value: int, text: str) -> None:
        if not _is_short(value):
            raise Fault(f"{value} has more than 24 bits and stands below", "what it is made of above", text)
        self.code[at] = isa.word(Op.PUSH, value)

    def _emit(self, word: int) -> None:
        if len(self.code) >= isa.CODE_MAX:
            raise Fault("too many instructions", f"at most {isa.CODE_MAX}")
        self.code.append(word)
        self.places.append(self._place)

    # --- directives ----------------------------------------------------------------------------------------

    def _const(self, arguments: str) -> None:
        name, _, text = arguments.partition(",")
        value = self.labels.value(text.strip())
        self.labels.define(name.strip(), "constant", value, self._place.line)

    def _memory(self, text: str) -> None:
        value = self.labels.bounded(text, 0, isa.MEMORY_MAX)
        if value % isa.MEMORY_STEP:
            raise Fault(f"{value} bytes of memory", f"a multiple of {isa.MEMORY_STEP}", text)
        self.memory = value

    def _entry(self, text: str) -> None:
        self._entry_given = True

        def write(value: int) -> None:
            if not 0 <= value < len(self.code):
                raise Fault(f"`{text}' is no instruction", "a label of code", text)
            self.entry = value

        self._later(text, write)

    def _switch(self, section: str, arguments: str) -> None:
        if arguments:
            raise Fault(f".{section} has no arguments", f".{section} alone", arguments)
        self._section = section

    def _pixel(self, text: str) -> None:
        if self._section != "code":
            raise Fault("a pixel among data", ".code above it")
        self._emit(self.labels.bounded(text, 0, isa.MASK))

    def _numbers(self, arguments: str, size: int) -> None:
        for text in _separated(arguments):
            at = len(self.data)
            self._append(bytes(size))
            self._later(text, lambda value, at=at, text=text: self._number(at, size, value, text))  # type: ignore[misc]

    def _number(self, at: int, size: int, value: int, text: str) -> None:
        bits = 8 * size
        within(value, -(1 << (bits - 1)), (1 << bits) - 1, text)
        self.data[at : at + size] = (value & ((1 << bits) - 1)).to_bytes(size, "little")

    def _text(self, arguments: str, end: bytes) -> None:
        try:
            self._append(strings.parse(arguments) + end)
        except strings.StringFault as fault:
            raise Fault(str(fault), "text in double quotes", arguments) from fault

    def _space(self, arguments: str) -> None:
        size, _, fill = arguments.partition(",")
        byte = self.labels.bounded(fill.strip(), 0, 255) if fill else 0
        self._append(bytes((byte,)) * self.labels.bounded(size.strip(), 0, isa.MEMORY_MAX))

    def _align(self, text: str) -> None:
        self._append(bytes(-len(self.data) % self.labels.bounded(text, 1, isa.MEMORY_MAX)))

    def _append(self, data: bytes) -> None:
        if self._section != "data":
            raise Fault("data among instructions", ".data above it")
        if len(self.data) + len(data) > isa.MEMORY_MAX:
            raise Fault("too much data", f"at most {isa.MEMORY_MAX} bytes")
        self.data += data


def _without_comment(text: str) -> str:
    match = _COMMENT.match(text)
    end = match.end() if match else 0
    return text[:end] if text[end : end + 1] in (";", "#") else text  # else a quote is left open


def _separated(text: str) -> list[str]:
    """What stands between commas; a comma in single quotes is none."""
    parts = [""]
    for token in _PARTS.findall(text):
        if token == ",":
            parts.append("")
        else:
            parts[-1] += token
    return [part.strip() for part in parts]


def _is_short(value: int) -> bool:
    """Whether ``push`` alone can give it."""
    return (isa.signed_operand(isa.word(Op.PUSH, value)) - value) & isa.MASK == 0


_DIRECTIVES: dict[str, Callable[[_Unit, str], None]] = {
    ".const": _Unit._const,
    ".memory": _Unit._memory,
    ".entry": _Unit._entry,
    ".code": lambda unit, text: unit._switch("code", text),
    ".data": lambda unit, text: unit._switch("data", text),
    ".pixel": _Unit._pixel,
    ".byte": lambda unit, text: unit._numbers(text, 1),
    ".word": lambda unit, text: unit._numbers(text, 4),
    ".ascii": lambda unit, text: unit._text(text, b""),
    ".asciz": lambda unit, text: unit._text(text, b"\0"),
    ".space": _Unit._space,
    ".align": _Unit._align,
}
