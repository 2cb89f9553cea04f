"""The last passes over a unit: relax, resolve, and pack it as an object file.

Owns the step from fragments with known encodings to section bytes, relocations and symbols. Reads what
``assemble`` and ``directives`` collected; decides nothing about syntax.
"""

from __future__ import annotations

from typing import Literal

from toolchain import nops
from toolchain.expr import Expr
from toolchain.fragment import SECTION_MAX, Align, Branch, Fragment, Label, Org, Patch, SectionBuilder, Space
from toolchain.objectfile import CodeLine, ObjectFile, ObjectSection, ObjectSymbol, Relocation, Row
from toolchain.relax import RelaxFault, relax
from toolchain.resolve import ResolveFault, Resolver
from toolchain.source import Statement, nearest
from toolchain.types import Diagnostic
from toolchain.unit_state import HIDDEN, UnitState


def finish(unit: UnitState) -> ObjectFile | None:
    """Relax and resolve what ``unit`` collected.

    Returns:
        The object file; None when sizes cannot be settled. Errors go to ``unit.errors``.
    """
    packed = sections(unit)
    if packed is None:
        return None
    warnings = tuple(warning.shown("warning") for warning in unit.unit.warnings)
    return ObjectFile(unit.unit.file, packed, _symbols(unit, _placed(unit)), frozenset(unit.weak), warnings)


def sections(unit: UnitState) -> list[ObjectSection] | None:
    """The sections of ``finish`` alone."""
    found = list(unit.sections.values())
    # A weak symbol may be replaced by another unit's, so fields keep it as a symbol; sizes go by what stands here.
    linked = Resolver(unit.labels, unit.first_constants, unit.first_equations, frozenset(unit.weak))
    for section in found:
        for fragment in section.fragments:
            variable = fragment.variable
            if variable.__class__ is Branch:
                variable.target = _aim(variable.operand, fragment, section, linked)
    try:
        relax(found, _placed(unit))
    except RelaxFault as fault:
        unit.fail(fault.statement, fault.message, fault.expected)
        return None
    overflowing = [section for section in found if _overflows(unit, section)]
    return None if overflowing else [_pack(unit, section, linked) for section in found]


def _placed(unit: UnitState) -> Resolver:
    return Resolver(unit.labels, unit.first_constants, unit.first_equations, frozenset())


def _overflows(unit: UnitState, section: SectionBuilder) -> bool:
    """Whether a section is larger than any kernel's: the statement that makes it so is the error."""
    if section.nobits or section.size() <= SECTION_MAX:
        return False
    for fragment in section.fragments:
        for at, length, statement, _ in fragment.rows:
            if fragment.address + at + length > SECTION_MAX:
                where = statement
                break
        else:
            if fragment.statement is None or fragment.address + fragment.size + fragment.grown <= SECTION_MAX:
                continue
            where = fragment.statement
        unit.fail(where, f"section {section.name} grows beyond {SECTION_MAX:#x} bytes", "less data")
        break
    return True


def _aim(
    operand: Expr, fragment: Fragment, section: SectionBuilder, resolver: Resolver
) -> tuple[Label, int] | None:
    """The label in the same section that a branch goes to, and an addend; None when it must be long."""
    addend = 0
    for _ in range(len(resolver.equations) + 1):
        pair = operand.symbol_offset()
        if pair is None:
            return None
        name = pair[0]
        addend += pair[1]
        if name == ".":
            here = Label(".", section, fragment.statement)  # type: ignore[arg-type]
            here.fragment, here.offset = fragment, fragment.size
            return here, addend
        label = resolver.labels.get(name)
        if label is not None:
            return (label, addend) if label.section is section and name not in resolver.weak else None
        equation = resolver.equations.get(name)
        if equation is None or name in resolver.constants:
            return None
        operand = equation
    return None


# --- bytes -------------------------------------------------------------------------------------------------


def _pack(unit: UnitState, section: SectionBuilder, resolver: Resolver) -> ObjectSection:
    """The bytes of a section with every field filled that needs no addresses."""
    rows: list[Row] = []
    parts: list[bytes] = []
    for fragment in section.fragments:
        base = fragment.address
        rows += [(base + at, length, statement, code) for at, length, statement, code in fragment.rows]
        parts += fragment.parts
        variable = fragment.variable
        if variable is None:
            continue
        if variable.__class__ is Branch:
            assert isinstance(variable, Branch) and fragment.statement is not None
            chosen = variable.encoding if variable.is_long else variable.short
            start, end = fragment.size, fragment.size + len(chosen.data)
            fragment.patches += [
                Patch(
                    start + fixup.offset,
                    fixup.size,
                    fixup.kind,
                    variable.operand,
                    fragment.statement,
                    start,
                    end,
                )
                for fixup in chosen.fixups
            ]
            rows.append((base + start, len(chosen.data), fragment.statement, True))
            parts.append(chosen.data)
        elif fragment.grown:
            assert fragment.statement is not None
            rows.append((base + fragment.size, fragment.grown, fragment.statement, False))
            parts.append(_filling(unit, section, fragment))
    relocations: list[Relocation] = []
    size = section.size()
    if section.nobits and (code := next((row for row in rows if row[3]), None)):
        unit.fail(code[2], f"code in section {section.name}, which holds zeros", "a section of code")
    data = bytearray() if section.nobits else bytearray(b"".join(parts))
    for fragment in section.fragments:
        for patch in fragment.patches:
            result = resolver.patch(patch, fragment, section, data)
            if result is None:
                continue
            if isinstance(result, Diagnostic):
                unit.errors.append(result)
                continue
            target = result.target
            if target.__class__ is str and target[0] in ".$":
                unit.errors.append(_no_label(unit, patch.statement, str(target)))
            relocations.append(result)
    return ObjectSection(
        section.name, section.flags, section.nobits, section.align, size, bytes(data), relocations, rows,
        section.opened, _code_lines(rows),
    )  # fmt: skip


def _code_lines(rows: list[Row]) -> list[CodeLine]:
    """The instructions among ``rows``, with the line that a person edits: of a macro's, its outermost call."""
    found: list[CodeLine] = []
    append = found.append
    for offset, length, statement, is_code in rows:
        if is_code:
            trail = statement[5]
            if trail:
                outermost = trail[-1]
                append((offset, length, outermost[1], outermost[2]))
            else:
                append((offset, length, statement[4].name, statement[2]))
    return found


def _filling(unit: UnitState, section: SectionBuilder, fragment: Fragment) -> bytes:
    """The bytes of a gap."""
    variable, count = fragment.variable, fragment.grown
    if isinstance(variable, Org):
        return bytes([variable.fill]) * count
    if isinstance(variable, Space):
        return variable.pattern * (count // len(variable.pattern)) if variable.pattern else b""
    assert isinstance(variable, Align)
    if variable.fill is None:
        # gas fills every gap of a file as the mode at the file's end demands.
        if not nops.agree(variable.mode, unit.mode):
            unit.fail(
                variable.statement,
                f"this gap is {variable.mode}-bit code, but the file ends in {unit.mode}-bit mode",
                f"a file that ends with .code{variable.mode}, as gas fills gaps for the last mode; or a fill value",
            )
        return nops.fill(count, variable.mode)
    whole, rest = divmod(count, len(variable.fill))
    if rest:
        unit.fail(variable.statement, f"a gap of {count} bytes", f"a multiple of {len(variable.fill)} bytes")
    return variable.fill * whole + bytes(rest)


def _no_label(unit: UnitState, statement: Statement, name: str) -> Diagnostic:
    """The error for a local label that does not exist."""
    if name.startswith(HIDDEN):
        digits, _, count = name[len(HIDDEN) :].partition("$")
        where = "above" if count == "0" else "below"
        return statement.problem(f"there is no label {digits}: {where}", f"a line with {digits}:")
    known = [label for label in unit.labels if not label.startswith(HIDDEN)]
    return statement.problem(f"undefined label `{name}'", nearest(name, known, "a label of this file"))


# --- symbols -----------------------------------------------------------------------------------------------


def _symbols(unit: UnitState, resolver: Resolver) -> list[ObjectSymbol]:
    found = []
    for name, label in unit.labels.items():
        if name.startswith((".L", HIDDEN)):
            continue
        found.append(_symbol(unit, resolver, name, label.section.index, label.address, label.statement))
    for name, statement in unit.globals.items():
        if name in unit.labels:
            continue
        value: int | None = unit.constants.get(name)
        if value is not None:
            found.append(_symbol(unit, resolver, name, None, value, statement))
        elif name in unit.equations:
            try:
                value, terms = resolver.linear(unit.equations[name].tree, unit.section, 0)
            except ResolveFault as fault:
                unit.fail(statement, f"`{name}': {fault}")
                continue
            home = next(iter(terms), None)
            if len(terms) > 1 or isinstance(home, str) or any(count != 1 for count in terms.values()):
                unit.fail(
                    statement, f"`{name}' is no number and no address of this file", "a label plus a number"
                )
                continue
            found.append(_symbol(unit, resolver, name, home, value, statement))
    return found


def _symbol(
    unit: UnitState, resolver: Resolver, name: str, section: int | None, value: int, statement: Statement
) -> ObjectSymbol:
    size = None
    sized = unit.sizes.get(name)
    if sized is not None:
        size = resolver.number(sized[0], unit.section, 0)
        if size is None:
            unit.fail(sized[1], f".size of `{name}' is no number", f".size {name}, . - {name}")
    binding: Literal["local", "global", "weak"] = "local"
    if name in unit.weak:
        binding = "weak"
    elif name in unit.globals:
        binding = "global"
    return ObjectSymbol(name, section, value, size, unit.kinds.get(name), binding, statement)
