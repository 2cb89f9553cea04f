"""From the statements of a unit to an object file.

Owns: the passes of one unit (read the statements; encode all instructions in one batch; lay out fragments; relax;
resolve), labels, modes and constants while reading. Directives are ``directives``'s, instructions are parsed and
encoded by ``insn`` and ``encode``. Every error of a unit is collected; nothing is raised half-way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from toolchain.directives import Directives
from toolchain.errors import InputError
from toolchain.expr import Expr, symbol
from toolchain.finish import finish
from toolchain.fragment import Branch, Code, Datum, Fragment, Label, Patch, SectionBuilder
from toolchain.objectfile import ObjectFile
from toolchain.pool import Encodes, Pool
from toolchain.preprocess import Unit
from toolchain.source import Statement, sort_diagnostics
from toolchain.types import Diagnostic, Encoding, Fixup, Mode
from toolchain.unit_state import rename

STAGE = "assemble"
_DOT = re.compile(r"(?<![\w.$])\.(?![\w.$])", re.ASCII)


class Assembler(Directives):
    """Assembles one unit: ``read``, then ``finish``.

    Args:
        unit: the preprocessed unit; its errors are taken over.
        pool: numbers and encodes instructions.
        mode: the mode at the start of the file.
        intel: take instructions before ``.intel_syntax noprefix`` too (a text that is no file of its own).
    """

    def __init__(self, unit: Unit, pool: Pool, mode: Mode = 64, intel: bool = False) -> None:
        super().__init__(unit, mode, intel)
        self.pool = pool
        self._local_names: dict[str, Expr] = {}

    # --- reading -------------------------------------------------------------------------------------------

    def read(self) -> None:
        """First pass: every statement becomes an item of a section. Instructions are parsed, not yet encoded."""
        handlers = self.handlers
        number, constant, distance = self.pool.number, self._constant, self.distance
        by_text = self.pool.by_text
        local_names = self._local_names
        for statement in self.unit.statements:
            op = statement[0]
            if op in handlers:
                handlers[op](statement)
                continue
            args = statement[1]
            text = f"{op} {args}" if args else op
            known = by_text[self.mode].get(text)
            if known is not None and self.intel and not self.equations:
                constants = self.constants
                for name, value in known[1]:
                    if constants.get(name) != value:
                        break
                else:
                    self.items.append(Code(known[0], statement))
                    continue
            if not self.intel or op[0] == ".":
                self.refuse_instruction(statement)
                continue
            if args and (self.equations or ("." in args and "-" in args)):
                text = f"{op} {self._spell_out(args, statement)}"
            try:
                request = number(text, self.mode, constant, distance)
            except InputError as error:
                self.adopt(statement, error.diagnostics)
                local_names.clear()
                continue
            if local_names:
                self.items.append(Code(request, statement, dict(local_names)))
                local_names.clear()
            else:
                self.items.append(Code(request, statement))

    def _spell_out(self, args: str, statement: Statement) -> str:
        """Operands in which names of expressions and ``.`` in a difference are spelt so that they mean this place."""
        if self.equations:
            args = self.spell_out(args)
        if "." in args and "-" in args and _DOT.search(args):
            args = _DOT.sub(self.hidden_label(statement), args)
        return args

    def adopt(self, statement: Statement, diagnostics: Iterable[object]) -> None:
        """Take over errors that know no place."""
        for diagnostic in diagnostics:
            if isinstance(diagnostic, Diagnostic):
                self.fail(statement, diagnostic.message, diagnostic.expected)

    def _constant(self, name: str) -> int | None:
        """What a name in an instruction stands for; numeric labels are noted for the statement."""
        value = self.constants.get(name)
        if value is None and name[0] in "0123456789" and name not in self._local_names:
            self._local_names[name] = symbol(self.numeric(name))
        return value

    def distance(self, left: str, right: str) -> int | None:
        """``left - right`` of two labels above, if nothing between them can still change its size."""
        labels = []
        for name in (left, right):
            if name[0] in "0123456789":
                name = self.numeric(name)
            label = self.labels.get(name)
            if label is None:
                return None
            labels.append(label)
        one, other = labels
        if one.section is not other.section:
            return None
        self.settle(labels)
        return one.offset - other.offset if one.fragment is other.fragment else None

    # --- encoding and layout -------------------------------------------------------------------------------

    def settle(self, labels: Iterable[Label]) -> None:
        """Put everything up to ``labels`` into fragments; encode what is pending only if code stands before them."""
        for label in labels:
            if label.fragment is None:
                self._lay_out(label.section)
            if label.fragment is None:
                self.flush()

    def flush(self) -> None:
        """Encode what is pending and put everything read so far into fragments."""
        self.pool.flush()
        for section in self.sections.values():
            if section.items:
                self._lay_out(section)

    def _lay_out(self, section: SectionBuilder) -> None:
        """Move the items of a section into its fragments, as far as their encodings are known."""
        encodings = self.pool.encodings
        known, done = len(encodings), len(section.items)
        fragment = section.fragments[-1]
        parts, rows, patches, size = fragment.parts, fragment.rows, fragment.patches, fragment.size
        for index, item in enumerate(section.items):
            if isinstance(item, Code):
                if item.request >= known:
                    done = index
                    break
                encoding = encodings[item.request]
                if isinstance(encoding, Diagnostic):
                    self.adopt(item.statement, (encoding,))
                    continue
                if encoding.short is None:
                    data = encoding.data
                    if encoding.fixups:
                        patches += _patches(encoding, item, size)
                    rows.append((size, len(data), item.statement, True))
                    parts.append(data)
                    size += len(data)
                    continue
                operand = _operand(encoding.short.fixups[0], item)
                fragment.variable = Branch(encoding, encoding.short, operand)
                fragment.statement = item.statement
            elif isinstance(item, Label):
                item.fragment = fragment
                item.offset = size
                continue
            elif isinstance(item, Datum):
                length = len(item.data)
                for offset, width, how, named in item.fields:
                    at = size + offset
                    patches.append(Patch(at, width, how, named, item.statement, at, at + width))
                rows.append((size, length, item.statement, False))
                parts.append(item.data)
                size += length
                continue
            else:
                fragment.variable = item
                fragment.statement = item.statement
            fragment.size = size
            fragment = Fragment()
            section.fragments.append(fragment)
            parts, rows, patches, size = fragment.parts, fragment.rows, fragment.patches, 0
        fragment.size = size
        del section.items[:done]

    def finish(self) -> ObjectFile | None:
        """The object file, or None when the unit has errors (they are in ``errors``)."""
        self.flush()
        made = finish(self)
        return None if self.errors else made


def _patches(encoding: Encoding, item: Code, size: int) -> list[Patch]:
    end = size + len(encoding.data)
    return [
        Patch(size + fixup.offset, fixup.size, fixup.kind, _operand(fixup, item), item.statement, size, end)
        for fixup in encoding.fixups
    ]


def _operand(fixup: Fixup, item: Code) -> Expr:
    operand = fixup.operand
    assert isinstance(operand, Expr)
    return operand if item.names is None else rename(operand, item.names)


def assemble_units(
    units: Iterable[Unit], pool: Pool, progress: Callable[[str], None] | None = None
) -> list[ObjectFile]:
    """Assemble several units with one batch of encodings.

    Args:
        units: preprocessed units; each is taken when the one before has been read.
        pool: numbers and encodes instructions; keep it for the next build.
        progress: told each file's name when it has been read.

    Returns:
        One object file per unit.

    Raises:
        InputError: with every error of every unit, in the order of files and lines.
    """
    assemblers = []
    for unit in units:
        assembler = Assembler(unit, pool)
        assembler.read()
        pool.prime()
        assemblers.append(assembler)
        if progress is not None:
            progress(unit.file)
    made = [assembler.finish() for assembler in assemblers]
    raise_errors([error for assembler in assemblers for error in assembler.errors])
    return [item for item in made if item is not None]


def assemble(unit: Unit, encoder: Encodes, mode: Mode = 64, intel: bool = False) -> ObjectFile:
    """Assemble one unit.

    Args:
        unit: what ``preprocess.Preprocessor.run`` made.
        encoder: turns instructions into bytes.
        mode: the mode at the start.
        intel: take instructions before ``.intel_syntax noprefix`` too.

    Raises:
        InputError: with every error of the unit.
    """
    assembler = Assembler(unit, Pool(encoder), mode, intel)
    assembler.read()
    made = assembler.finish()
    raise_errors(assembler.errors)
    assert made is not None
    return made


def raise_errors(errors: Iterable[Diagnostic], stage: str = STAGE) -> None:
    """Raise the ``InputError`` of ``errors`` if there are any."""
    found = sort_diagnostics(errors)
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        first = found[0]
        message = f"{first.place.file}:{first.place.line}: error: {first.message}{more}"
        raise InputError(message, stage=stage, diagnostics=found)
