"""Directives about sections, symbols and modes; and the table of all directives.

Owns ``.section`` and its relatives (names, flags and types as ELF has them), ``.global``, ``.type``, ``.size``,
``.code32`` and what is accepted without effect. Data and gaps are ``data_directives``'s.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

from toolchain.data_directives import INTEGERS, DataDirectives
from toolchain.expr import Expr, number, symbol
from toolchain.fragment import SectionBuilder
from toolchain.preprocess import Unit
from toolchain.source import ASSIGN, CONSTANTS, LABEL, NAME, Statement, nearest
from toolchain.types import Mode
from toolchain.unit_state import split

_SECTION = re.compile(r"(\"[^\"]+\"|[^\s,\"]+)\s*(?:,\s*\"([^\"]*)\"\s*(?:,\s*[@%]([a-z_]+))?)?")
_TYPE = re.compile(r"([A-Za-z_.$][\w.$]*)\s*,?\s*(?:[@%]|STT_|\")?(\w+)\"?", re.ASCII)
_SIZE_HERE = re.compile(r"\.\s*-\s*([A-Za-z_.$][\w.$]*)", re.ASCII)
_KINDS: dict[str, Literal["func", "object", "notype"]] = {
    "function": "func",
    "func": "func",
    "object": "object",
    "notype": "notype",
}

# Flags and type of a section that is named without them (gABI, special sections).
_DEFAULTS: tuple[tuple[str, str, str], ...] = (
    (".text", "ax", ""), (".data", "aw", ""), (".bss", "aw", "nobits"), (".rodata", "a", ""), (".init", "ax", ""),
    (".fini", "ax", ""), (".note", "", "note"),
)  # fmt: skip
_FLAGS = "awx"
_TYPES = ("progbits", "nobits", "note")

# Directives that say nothing about the bytes of the image.
_WITHOUT_EFFECT = frozenset([".file", ".ident", ".loc", ".extern", ".hidden", ".protected", ".internal"])
_CFI = ".cfi_"  # call frame information: what it describes is written by ``dwarf`` from the code itself
_UNSUPPORTED = {
    ".comm": "a label in .bss and .skip",
    ".lcomm": "a label in .bss and .skip",
    ".subsection": "a section of its own",
    ".struct": ".set constants",
    ".altmacro": "plain .macro",
    ".reloc": "an expression with labels",
    ".eqv": ".set",
    ".code16gcc": ".code16",
}


class Directives(DataDirectives):
    """Everything but instructions. ``handlers`` has the handler of each statement that is none."""

    def __init__(self, unit: Unit, mode: Mode, intel: bool) -> None:
        super().__init__(unit, mode, intel)
        self._previous = self.section
        self._stack: list[tuple[SectionBuilder, SectionBuilder]] = []
        self.handlers: dict[str, Callable[[Statement], None]] = {
            LABEL: self.label, CONSTANTS: self.take_constants, ".set": self.equate, ASSIGN: self.equate,
            ".section": self._section, ".pushsection": self._section, ".popsection": self._pop,
            ".previous": self._go_back, ".text": self._plain_section, ".data": self._plain_section,
            ".bss": self._plain_section,
            ".global": self._global, ".globl": self._global, ".weak": self._weak, ".local": self._local,
            ".type": self._type, ".size": self._size,
            ".ascii": self.text, ".asciz": self.text, ".string": self.text,
            ".float": self.floats, ".single": self.floats, ".double": self.floats,
            ".skip": self.skip, ".space": self.skip, ".zero": self.skip, ".fill": self.fill, ".org": self.org,
            ".incbin": self.incbin,
            ".code16": self._mode, ".code32": self._mode, ".code64": self._mode,
            ".intel_syntax": self._syntax, ".att_syntax": self._syntax,
        }  # fmt: skip
        self.handlers.update(dict.fromkeys(INTEGERS, self.integers))
        self.handlers.update(
            dict.fromkeys(
                (f"{name}{width}" for name in (".balign", ".p2align") for width in ("", "w", "l")), self.align
            )
        )
        self.handlers[".align"] = self.align
        self.handlers.update(dict.fromkeys(_WITHOUT_EFFECT, self._nothing))

    # --- sections ------------------------------------------------------------------------------------------

    def _enter(self, section: SectionBuilder) -> None:
        self._previous = self.section
        self.section = section
        self.items = section.items

    def _plain_section(self, statement: Statement) -> None:
        if statement.args not in ("", "0"):
            self.fail(statement, f"subsections are not supported: {statement.text}", "a section of its own")
        self._enter(self.sections[statement.op])

    def _section(self, statement: Statement) -> None:
        match = _SECTION.fullmatch(statement.args)
        if match is None:
            self.fail(
                statement,
                f"bad operands of {statement.op}",
                'a name, flags and type, as in .section .text.boot, "ax"',
            )
            return
        name, flags, kind = match[1].strip('"'), match[2], match[3] or ""
        if statement.op == ".pushsection":
            self._stack.append((self.section, self._previous))
        bad = [flag for flag in flags or "" if flag not in _FLAGS]
        if bad:
            self.fail(statement, f"section flag `{bad[0]}' is not supported", 'letters of "awx"')
            return
        if kind and kind not in _TYPES:
            self.fail(statement, f"section type @{kind} is not supported", "@progbits, @nobits or @note")
            return
        found = self.sections.get(name)
        if found is None:
            usual = next(
                (d for d in _DEFAULTS if name == d[0] or name.startswith(d[0] + ".")), (name, "", "")
            )
            flags = usual[1] if flags is None else "".join(sorted(set(flags)))
            kind = {"progbits": ""}.get(kind, kind) if kind else usual[2]
            found = self.sections[name] = SectionBuilder(name, len(self.sections), flags, kind, statement)
        elif flags is not None and (
            set(flags) != set(found.flags) or (kind and {"progbits": ""}.get(kind, kind) != found.kind)
        ):
            self.fail(statement, f"section {name} was opened with other flags", f'"{found.flags}" as before')
        self._enter(found)

    def _pop(self, statement: Statement) -> None:
        if not self._stack:
            self.fail(statement, ".popsection without .pushsection", ".pushsection above it")
            return
        section, previous = self._stack.pop()
        self._enter(section)
        self._previous = previous

    def _go_back(self, statement: Statement) -> None:
        self._enter(self._previous)

    # --- symbols -------------------------------------------------------------------------------------------

    def _names(self, statement: Statement) -> list[str]:
        names = list(split(statement.args))
        for name in names:
            if not NAME.fullmatch(name):
                self.fail(statement, f"`{name}' is not a symbol name", "names with commas between them")
                return []
        return names

    def _global(self, statement: Statement) -> None:
        for name in self._names(statement):
            self.globals.setdefault(name, statement)

    def _weak(self, statement: Statement) -> None:
        for name in self._names(statement):
            self.globals.setdefault(name, statement)
            self.weak.add(name)

    def _local(self, statement: Statement) -> None:
        for name in self._names(statement):
            self.globals.pop(name, None)

    def _type(self, statement: Statement) -> None:
        match = _TYPE.fullmatch(statement.args)
        kind = _KINDS.get(match[2].lower()) if match is not None else None
        if match is None or kind is None:
            self.fail(
                statement,
                f"bad operands of .type: {statement.args}",
                "a name and @function, @object or @notype",
            )
        else:
            self.kinds[match[1]] = kind

    def _size(self, statement: Statement) -> None:
        name, comma, text = statement.args.partition(",")
        name = name.strip()
        if not comma or not NAME.fullmatch(name):
            self.fail(statement, "bad operands of .size", ".size name, . - name")
            return
        match = _SIZE_HERE.fullmatch(text.strip())
        if match is not None and match[1] in self.labels:
            end = symbol(self.hidden_label(statement))
            self.sizes[name] = (Expr(("-", end.tree, ("s", match[1]))), statement)
            return
        value = self.expression(text.strip(), statement, settle=True)
        if value is not None:
            self.sizes[name] = (number(value) if isinstance(value, int) else value, statement)

    # --- modes ---------------------------------------------------------------------------------------------

    def _mode(self, statement: Statement) -> None:
        modes: dict[str, Mode] = {".code16": 16, ".code32": 32, ".code64": 64}
        self.mode = modes[statement.op]

    def _syntax(self, statement: Statement) -> None:
        self.intel = statement.op == ".intel_syntax"
        if self.intel and statement.args not in ("noprefix", ""):
            self.fail(statement, f".intel_syntax {statement.args} is not supported", ".intel_syntax noprefix")
        elif self.intel and not statement.args:
            self.fail(statement, "registers with % are not supported", ".intel_syntax noprefix")

    def _nothing(self, statement: Statement) -> None:
        """A directive that does not change the image."""

    def refuse_instruction(self, statement: Statement) -> None:
        """The error for a statement that is neither a known directive nor an instruction that can be read."""
        op = statement.op
        if op[0] != ".":
            self.fail(
                statement, f"instruction `{op}' before .intel_syntax", ".intel_syntax noprefix at the top"
            )
        elif op.startswith(_CFI):
            return
        elif op in _UNSUPPORTED:
            self.fail(statement, f"{op} is not supported", _UNSUPPORTED[op])
        else:
            self.fail(
                statement, f"unknown directive {op}", nearest(op, self.handlers, "a directive of GNU as")
            )
