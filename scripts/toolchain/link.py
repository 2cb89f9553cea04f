"""From object files to an image: placing sections, resolving symbols, filling the fields that need addresses.

Owns the addresses of the image. Linking changes no object file, so that after an edit only the edited unit is
assembled again. Errors are collected over all units. What the image looks like as a file is ``elf``'s business.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter, itemgetter
from typing import NamedTuple

from toolchain.layout import CODE_FILL, PAGE, Layout, OutputSection
from toolchain.link_errors import LinkErrors
from toolchain.link_symbols import SymbolRow, UnitSymbols, at_address, unit_symbols
from toolchain.objectfile import ObjectFile, ObjectSection, ObjectSymbol
from toolchain.resolve import BOUNDS
from toolchain.types import Image, Line, Section, Symbol, Symbols

STAGE = "link"
_ADDRESSES = 1 << 64


class Placed(NamedTuple):
    """An input section in its output section."""

    section: ObjectSection
    unit: int
    number: int
    address: int
    offset: int


class Output(NamedTuple):
    """An output section while it is filled."""

    layout: OutputSection
    address: int
    physical: int
    size: int
    align: int
    placed: list[Placed]
    data: bytearray


class Origin(NamedTuple):
    """``length`` bytes at ``address`` came from ``lines``: the statement's own, then those it was expanded at."""

    address: int
    length: int
    lines: tuple[tuple[str, int], ...]


class Kept:
    """What one link leaves to the next: the fields and symbols of sections that neither changed nor moved."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.fields: dict[tuple[int, int], _Fields] = {}
        self.symbols: dict[int, UnitSymbols] = {}
        self.placed_symbols: dict[tuple[int, int], tuple[list[SymbolRow], int, list[Symbol]]] = {}


class _Fields(NamedTuple):
    """A section with its fields filled, at an address, with the other sections of its unit at ``homes``."""

    section: ObjectSection
    address: int
    homes: list[int]
    names: frozenset[str]
    data: bytes


def link(
    objects: Sequence[ObjectFile], layout: Layout, kept: Kept | None = None, *, lines: bool = True
) -> Image:
    """Link ``objects`` as ``layout`` says.

    Args:
        objects: the units in the order of the image.
        layout: from ``layout.load``.
        kept: from the link of a variant with the same layout, if there was one; it must be that link's last use.
        lines: whether the image gets a line table.

    Returns:
        The image: section bytes at their addresses, symbols, line table.

    Raises:
        InputError: with every undefined or doubled symbol, value out of range and misplaced section of all units.
    """
    errors = LinkErrors(objects, layout)
    outputs = place(objects, layout, errors)
    addresses = addresses_of(objects, outputs)
    globals_ = global_symbols(objects, outputs, layout, addresses, errors)
    kept = Kept() if kept is None else kept
    fields, kept.fields = kept.fields, {}  # nothing is kept of a link that fails
    changed = {name for name, _ in kept.values.items() ^ globals_.items()}
    for output in outputs:
        for placed in output.placed:
            homes, known = addresses[placed.unit], fields.get(placed[1:3])
            begin, end = placed.offset, placed.offset + placed.section.size
            if (
                known is not None
                and known.section is placed.section
                and known.address == placed.address
                and known.homes == homes
                and known.names.isdisjoint(changed)
            ):
                output.data[begin:end] = known.data
                continue
            relocate(objects[placed.unit], placed, output, homes, globals_, errors)
            if placed.section.relocations:
                names = frozenset(r.target for r in placed.section.relocations if r.target.__class__ is str)
                done = bytes(output.data[begin:end])
                fields[placed[1:3]] = _Fields(placed.section, placed.address, homes, names, done)
    entry = globals_.get(layout.entry)
    if entry is None:
        errors.no_entry()
    errors.raise_all()
    assert entry is not None
    kept.values, kept.fields = globals_, fields
    table, files = _lines(outputs) if lines else ((), ())
    warnings = tuple(warning for made in objects for warning in made.warnings)
    symbols = Symbols(_symbols(objects, outputs, layout, kept))
    return Image(entry, tuple(sections_of(outputs)), symbols, table, files, warnings)


def origins(objects: Sequence[ObjectFile], layout: Layout) -> list[Origin]:
    """Which source lines each piece of an image came from, data too, by address; of units that ``link`` has linked."""
    outputs = place(objects, layout, LinkErrors(objects, layout))
    found = []
    for output in outputs:
        for placed in output.placed:
            for offset, length, statement, _ in placed.section.rows:
                lines = [(statement.source.name, statement.line)]
                lines += [(step.file, step.line) for step in statement.trail]
                found.append(Origin(placed.address + offset, length, tuple(lines)))
    found.sort(key=itemgetter(0))
    return found


# --- placing -----------------------------------------------------------------------------------------------


def _home(name: str, layout: Layout) -> tuple[int, int] | None:
    """Output section and pattern that an input section belongs to: the first that fits."""
    for index, output in enumerate(layout.sections):
        for rank, pattern in enumerate(output.inputs):
            if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
                return index, rank
    return None


def place(
    objects: Sequence[ObjectFile],
    layout: Layout,
    errors: LinkErrors,
    room: Callable[[ObjectSection], int] = lambda section: section.size,
) -> list[Output]:
    """Give every input section its address: by output section, then pattern, then unit; ``room`` is what each takes."""
    homes: dict[str, tuple[int, int] | None] = {}
    groups: list[list[list[tuple[int, int, ObjectSection]]]] = [
        [[] for _ in o.inputs] for o in layout.sections
    ]
    for unit, made in enumerate(objects):
        for index, section in enumerate(made.sections):
            if section.name not in homes:
                homes[section.name] = _home(section.name, layout)
            home = homes[section.name]
            if home is None:
                if section.opened is not None or section.size:  # not .text, .data or .bss that nobody uses
                    errors.no_home(section)
                continue
            errors.check_flags(section, layout.sections[home[0]])
            groups[home[0]][home[1]].append((unit, index, section))
    outputs = []
    physical = layout.physical_base
    for output, patterns in zip(layout.sections, groups, strict=True):
        physical += -physical % PAGE
        start = physical if output.identity else physical + layout.virtual_base
        at, align = start, 1
        placed = []
        for group in patterns:
            for unit, index, section in group:
                at += -at % section.align
                align = max(align, section.align)
                placed.append(Placed(section, unit, index, at, at - start))
                at += room(section)
        size = at - start
        data = bytearray()
        if not output.nobits:
            data = bytearray([CODE_FILL if "x" in output.flags else 0]) * size
            for item in placed:
                data[item.offset : item.offset + item.section.size] = item.section.data or bytes(
                    item.section.size
                )
        outputs.append(Output(output, start, physical, size, align, placed, data))
        physical += size
    return outputs


def addresses_of(objects: Sequence[ObjectFile], outputs: Sequence[Output]) -> list[list[int]]:
    """The address of every section of every unit (0 where it has none)."""
    addresses = [[0] * len(made.sections) for made in objects]
    for output in outputs:
        for placed in output.placed:
            addresses[placed.unit][placed.number] = placed.address
    return addresses


def layout_symbols(outputs: Sequence[Output], layout: Layout) -> dict[str, tuple[int, str | None]]:
    """The symbols that the layout itself defines: name -> (value, section)."""
    found: dict[str, tuple[int, str | None]] = {"__image_start_physical": (layout.physical_base, None)}
    for output in outputs:
        found[output.layout.start_symbol] = (output.address, output.layout.name)
        found[output.layout.end_symbol] = (output.address + output.size, output.layout.name)
    last = outputs[-1]
    found["__image_end_physical"] = (last.physical + last.size, None)
    return found


def global_symbols(
    objects: Sequence[ObjectFile],
    outputs: Sequence[Output],
    layout: Layout,
    addresses: list[list[int]],
    errors: LinkErrors,
) -> dict[str, int]:
    """The value of every symbol that all units see."""
    reserved = layout_symbols(outputs, layout)
    values = {name: value for name, (value, _) in reserved.items()}
    defined: dict[str, ObjectSymbol] = {}
    weak: set[str] = set()
    for unit, made in enumerate(objects):
        homes = addresses[unit]
        weak |= made.weak
        for symbol in made.symbols:
            if symbol.binding == "local":
                continue
            name = symbol.name
            earlier = defined.get(name)
            if name in reserved:
                errors.reserved(symbol)
            elif earlier is not None and earlier.binding == symbol.binding == "global":
                errors.doubled(symbol, earlier)
            elif earlier is None or (earlier.binding == "weak" and symbol.binding == "global"):
                defined[name] = symbol
                values[name] = symbol.value + (homes[symbol.section] if symbol.section is not None else 0)
    for name in weak - values.keys():
        values[name] = 0
    return values


# --- fields ------------------------------------------------------------------------------------------------


def relocate(
    unit: ObjectFile,
    placed: Placed,
    output: Output,
    homes: list[int],
    values: dict[str, int],
    errors: LinkErrors,
) -> None:
    """Fill the fields of one section that need addresses."""
    data, base, offset = output.data, placed.address, placed.offset
    for position, size, kind, target, addend, statement in placed.section.relocations:
        if target.__class__ is int:
            value = homes[target] + addend
        elif target is None:
            value = addend
        else:
            known = values.get(target)  # type: ignore[arg-type]
            if known is None:
                errors.undefined(str(target), unit, statement)
                continue
            value = known + addend
        if kind == "pcrel":
            value -= base + position
        # Addresses wrap at 64 bits; where a sign counts, the upper half is negative.
        value &= _ADDRESSES - 1
        if value >> 63 and kind in ("pcrel", "signed"):
            value -= _ADDRESSES
        low, high = BOUNDS[kind, size]
        if not low <= value <= high:
            errors.out_of_range(statement, target, unit, kind, size, value)
            continue
        at = offset + position
        data[at : at + size] = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little")


# --- the image ---------------------------------------------------------------------------------------------


def sections_of(outputs: Sequence[Output]) -> list[Section]:
    """The sections of the image."""
    return [
        Section(
            output.layout.name, output.address, output.physical, output.size, bytes(output.data), output.layout.flags,
            max(output.align, PAGE), output.layout.nobits,
        )
        for output in outputs
    ]  # fmt: skip


def _lines(outputs: Sequence[Output]) -> tuple[tuple[Line, ...], tuple[str, ...]]:
    """The line table in the order of addresses, and the files in it in the order of their first line."""
    lines: list[Line] = []
    files: dict[str, None] = {}
    make = tuple.__new__
    for output in outputs:
        for placed in output.placed:
            base = placed.address
            made = [
                make(Line, (base + offset, length, name, line))
                for offset, length, name, line in placed.section.lines
            ]
            files.update(dict.fromkeys(map(itemgetter(2), made)))
            lines += made
    lines.sort(key=itemgetter(0))  # by address
    return tuple(lines), tuple(files)


def _symbols(
    objects: Sequence[ObjectFile], outputs: Sequence[Output], layout: Layout, kept: Kept
) -> list[Symbol]:
    """Every symbol with its kind and size, by address."""
    found: list[Symbol] = []
    by_unit: dict[tuple[int, int], tuple[Placed, Output]] = {}
    for output in outputs:
        for placed in output.placed:
            by_unit[placed.unit, placed.number] = (placed, output)
    for unit, made in enumerate(objects):
        known = kept.symbols.get(unit)
        if known is None or known.unit is not made:
            known = kept.symbols[unit] = unit_symbols(made)
        found += known.fixed
        for index, rows in known.rows.items():
            if (unit, index) in by_unit:
                placed, output = by_unit[unit, index]
                at = kept.placed_symbols.get((unit, index))
                if at is None or at[0] is not rows or at[1] != placed.address:
                    at = (rows, placed.address, at_address(rows, placed.address, output.layout.name))
                    kept.placed_symbols[unit, index] = at
                found += at[2]
    for name, (value, section) in layout_symbols(outputs, layout).items():
        found.append(Symbol(name, value, 0, "notype", section, "", 0, True))
    found.sort(key=attrgetter("address", "name"))
    return found
