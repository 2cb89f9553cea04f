"""Everything that can be wrong when units are linked, as diagnostics.

Owns the words of the linker's errors and the search for the name that was meant. Collects; raises once at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolchain import resolve
from toolchain.errors import InputError
from toolchain.layout import Layout, OutputSection
from toolchain.objectfile import ObjectFile, ObjectSection, ObjectSymbol
from toolchain.source import Statement, nearest, sort_diagnostics
from toolchain.types import Diagnostic, Place

STAGE = "link"


class LinkErrors:
    """Errors of one link."""

    def __init__(self, objects: Sequence[ObjectFile], layout: Layout) -> None:
        self.objects = objects
        self.layout = layout
        self.found: list[Diagnostic] = []
        self._undefined: dict[tuple[str, str], int] = {}

    def raise_all(self) -> None:
        """Raise what was found, if anything."""
        found = sort_diagnostics(self.found)
        if found:
            more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
            place = found[0].place
            message = f"{place.file}:{place.line}: error: {found[0].message}{more}"
            raise InputError(message, stage=STAGE, diagnostics=found)

    def no_entry(self) -> None:
        """The layout's entry symbol is not there."""
        place = Place(self.layout.file, 1)
        near = self._nearest(self.layout.entry, None)
        self.found.append(Diagnostic(place, f"entry symbol `{self.layout.entry}' is not defined", near))

    def no_home(self, section: ObjectSection) -> None:
        """An input section fits no pattern of the layout."""
        patterns = ", ".join(pattern for output in self.layout.sections for pattern in output.inputs)
        message = f"section {section.name} fits no section of {self.layout.file}"
        self._at(section, message, f"a name that fits one of: {patterns}")

    def check_flags(self, section: ObjectSection, output: OutputSection) -> None:
        """An input section must not need rights that its output section lacks, nor bring data into .bss."""
        name, home = section.name, output.name
        if "a" not in section.flags:
            flags = "".join(sorted(set(output.flags)))
            self._at(
                section, f"section {name} is not loaded: it has no flag a", f'.section {name}, "{flags}"'
            )
        elif "x" in section.flags and "x" not in output.flags:
            self._at(section, f"section {name} holds code, but {home} is not executable", "a section of code")
        elif "w" in section.flags and "w" not in output.flags:
            self._at(section, f"section {name} is writable, but {home} is not", "a section of data")
        elif output.nobits and not section.nobits and section.data.strip(b"\0"):
            self._at(section, f"section {name} has data, but {home} has none", "a section of data")

    def _at(self, section: ObjectSection, message: str, expected: str) -> None:
        statement = section.opened or (section.rows[0][2] if section.rows else None)
        if statement is not None:
            self.found.append(statement.problem(message, expected))
        else:
            self.found.append(Diagnostic(Place(self.layout.file, 1), message, expected))

    def reserved(self, symbol: ObjectSymbol) -> None:
        """A unit defines a symbol of the layout."""
        message = f"symbol `{symbol.name}' is defined by {self.layout.file}"
        self.found.append(symbol.statement.problem(message, "another name"))

    def doubled(self, symbol: ObjectSymbol, earlier: ObjectSymbol) -> None:
        """Two units define the same global symbol."""
        file, line = earlier.statement.origin
        message = f"symbol `{symbol.name}' is already defined at {file}:{line}"
        self.found.append(symbol.statement.problem(message, "one definition, or names that differ"))

    def undefined(self, name: str, unit: ObjectFile, statement: Statement) -> None:
        """A symbol that no unit defines; told once per unit."""
        if (unit.file, name) in self._undefined:
            return
        self._undefined[unit.file, name] = len(self.found)
        for other in self.objects:
            for symbol in other.symbols:
                if symbol.name == name and symbol.binding == "local" and other is not unit:
                    message = "symbol `{}' of {}:{} is not global".format(name, *symbol.statement.origin)
                    self.found.append(statement.problem(message, f".global {name} there"))
                    return
        self.found.append(statement.problem(f"undefined symbol `{name}'", self._nearest(name, unit)))

    def _nearest(self, name: str, unit: ObjectFile | None) -> str:
        known = {
            symbol.name
            for other in self.objects
            for symbol in other.symbols
            if symbol.binding != "local" or other is unit
        }
        return nearest(name, known, "a symbol that some unit defines and declares .global")

    def out_of_range(
        self,
        statement: Statement,
        target: int | str | None,
        unit: ObjectFile,
        kind: str,
        size: int,
        value: int,
    ) -> None:
        """A value that its field cannot hold."""
        what = statement.args if target is None or isinstance(target, int) else target
        self.found.append(resolve.out_of_range(statement, what, kind, size, value))


class Refused(LinkErrors):
    """That something is wrong, not what."""

    any = False

    def undefined(self, *_: object) -> None:
        """A symbol that nobody defines."""
        self.any = True

    def out_of_range(self, *_: object) -> None:
        """A value that its field cannot hold."""
        self.any = True
