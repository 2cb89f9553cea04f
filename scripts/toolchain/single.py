"""One source on its own: every statement with its address and bytes, or with what is wrong with it.

Owns: assembling a text although some of its statements are in error (each is set aside, the rest is assembled again),
and laying it out at an address that the caller names. Never builds a kernel; ``build`` does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from toolchain import link
from toolchain.assemble import Assembler
from toolchain.errors import InputError
from toolchain.layout import Layout, OutputSection
from toolchain.link_errors import LinkErrors
from toolchain.objectfile import ObjectFile
from toolchain.pool import Encodes, Pool
from toolchain.preprocess import Preprocessor, Unit
from toolchain.source import SourceFile, Statement
from toolchain.types import Diagnostic, Image, Mode

_Key = tuple[str, int, int, object]


@dataclass(frozen=True, slots=True)
class Result:
    """One statement of the source that became bytes, or that is in error.

    Attributes:
        file: the file that it stands in, as the source names it.
        line: where, from 1.
        text: the statement as written, without its comment; of a macro's statement as it came out.
        expanded_at: the line of the source whose macro it came from, or None.
        address: of its first byte; None in error.
        data: its bytes.
        error: what is wrong, or None.
    """

    file: str
    line: int
    text: str
    expanded_at: int | None = None
    address: int | None = None
    data: bytes = b""
    error: Diagnostic | None = None


class Surroundings(NamedTuple):
    """Where the files that a source includes are found: ``tree`` and folders, and texts that stand in for files."""

    tree: Path
    include: Sequence[Path] = ()
    overrides: Mapping[str, str] = {}


def assemble(
    source: SourceFile,
    encoder: Encodes,
    around: Surroundings,
    mode: Mode = 64,
    origin: int = 0,
    warn: Callable[[str], None] = lambda text: None,
) -> list[Result]:
    """Assemble one source.

    Args:
        source: the text.
        encoder: turns instructions into bytes.
        around: what it may include.
        mode: CPU mode at its start.
        origin: address of the first byte of ``.text``; each further section begins a multiple of 4096 behind it.
        warn: told what ``.warning`` says, ready to be shown.

    Returns:
        The statements that became bytes or are in error, in the order of the source. A symbol that the source does
        not define is an error of each statement that needs its value.
    """
    preprocessor = Preprocessor(around.tree, around.include)
    preprocessor.overrides = around.overrides
    unit = preprocessor.run(source)
    for warning in unit.warnings:
        warn(warning.shown("warning"))
    errors: dict[_Key, Diagnostic] = {}
    _add(errors, unit.errors)
    kept = unit._replace(errors=())
    pool = Pool(encoder)
    while True:
        assembler = Assembler(kept, pool, mode, intel=True)
        assembler.read()
        made = assembler.finish()
        found: Iterable[object] = assembler.errors
        image = None
        if made is not None:
            found, image = _link(made, origin)
        before = len(errors)
        _add(errors, found)
        if image is not None and made is not None:
            return _results(unit, errors, made, image)
        statements = [s for s in kept.statements if _key(s.problem("")) not in errors]
        if len(statements) == len(kept.statements) or len(errors) == before:
            return _results(unit, errors, None, None)  # an error that no statement is the cause of
        kept = kept._replace(statements=statements)


def _key(diagnostic: Diagnostic) -> _Key:
    place = diagnostic.place
    return place.file, place.line, place.column, place.trail


def _add(errors: dict[_Key, Diagnostic], found: Iterable[object]) -> None:
    for diagnostic in found:
        if isinstance(diagnostic, Diagnostic):
            errors.setdefault(_key(diagnostic), diagnostic)


def _link(made: ObjectFile, origin: int) -> tuple[Sequence[object], Image | None]:
    order = sorted(made.sections, key=lambda s: (s.nobits, s.name != ".text"))
    sections = tuple(OutputSection(s.name, (s.name,), s.flags, False, s.nobits) for s in order)
    sections = sections or (OutputSection(".text", (".text",), "ax"),)
    layout = Layout("the source", sections[0].start_symbol, 0, origin, (), (), sections)
    try:
        return (), link.link([made], layout)
    except InputError as error:
        return (*error.diagnostics, *_undefined(made, layout)), None


def _undefined(made: ObjectFile, layout: Layout) -> list[Diagnostic]:
    """What the linker says once for each symbol, for every statement that needs it."""
    known = {symbol.name for symbol in made.symbols} | set(made.weak)
    known |= {name for s in layout.sections for name in (s.start_symbol, s.end_symbol)}
    known |= {"__image_start_physical", "__image_end_physical"}
    found = []
    for section in made.sections:
        for relocation in section.relocations:
            if isinstance(relocation.target, str) and relocation.target not in known:
                errors = LinkErrors([made], layout)
                errors.undefined(relocation.target, made, relocation.statement)
                found += errors.found
    return found


def _results(
    unit: Unit, errors: Mapping[_Key, Diagnostic], made: ObjectFile | None, image: Image | None
) -> list[Result]:
    rows = _rows(made, image) if made is not None and image is not None else {}
    copies = Counter(map(id, unit.statements))
    share = {key: len(found) // copies[key] for key, found in rows.items() if copies[key]}
    alone = Counter((s.source, s.line) for s in unit.statements)
    results: list[tuple[int, Result]] = []
    told: set[_Key] = set()
    for statement in unit.statements:
        mine = rows.get(id(statement))
        if mine:
            pieces = [mine.popleft() for _ in range(share[id(statement)])]
            text = _text(statement, alone[statement.source, statement.line] == 1)
            results.append((_line(statement), _result(statement, text, pieces)))
        elif errors:
            key = _key(statement.problem(""))
            if key in errors and key not in told:
                told.add(key)
                text = _text(statement, alone[statement.source, statement.line] == 1)
                results.append((_line(statement), _result(statement, text, [], errors[key])))
    for key, diagnostic in errors.items():
        if key not in told:  # of a directive that the preprocessor took away
            place = diagnostic.place
            outer = place.trail[-1].line if place.trail else place.line
            at = next((i for i, (line, _) in enumerate(results) if line > outer), len(results))
            results.insert(at, (outer, Result(place.file, place.line, place.text.strip(), error=diagnostic)))
    return [result for _, result in results]


def _line(statement: Statement) -> int:
    return statement.trail[-1].line if statement.trail else statement.line


def _rows(made: ObjectFile, image: Image) -> dict[int, deque[tuple[int, bytes]]]:
    """Statement (by identity) -> its pieces as (address, bytes)."""
    placed = {section.name: section for section in image.sections}
    found: dict[int, deque[tuple[int, bytes]]] = {}
    for section in made.sections:
        home = placed[section.name]
        base = home.size - section.size  # the section may begin behind padding
        for offset, length, statement, _ in section.rows:
            at = base + offset
            data = bytes(length) if home.nobits else home.data[at : at + length]
            found.setdefault(id(statement), deque()).append((home.address + at, data))
    return found


def _result(
    statement: Statement, text: str, pieces: list[tuple[int, bytes]], error: Diagnostic | None = None
) -> Result:
    outer = statement.trail[-1].line if statement.trail else None
    address = pieces[0][0] if pieces else None
    data = b"".join(piece for _, piece in pieces)
    return Result(statement.source.name, statement.line, text, outer, address, data, error)


def _text(statement: Statement, alone: bool) -> str:
    """The statement as the source has it where that can be told, else in canonical spacing."""
    place = statement.place
    written = place.text[place.column :]
    if alone and not statement.trail and not any(c in written for c in "\"';/"):
        return written.partition("#")[0].strip()
    return statement.text
