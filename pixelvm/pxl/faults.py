"""What is wrong with a source: errors with line and column, collected so that one run tells them all.

Owns their form. Knows nothing of the language.
"""

from __future__ import annotations

from toolchain.errors import InputError
from toolchain.source import sort_diagnostics
from toolchain.types import Diagnostic, Place

STAGE = "vm"
ERRORS_MAX = 200  # of one run: behind so many the text is no source


class Error(Diagnostic):
    """A diagnostic that is shown as ``file:line:column: error: …``, columns counted from 1 as editors do."""

    __slots__ = ()

    def shown(self, severity: str) -> str:
        """See ``Diagnostic.shown``."""
        head = f"{self.place.file}:{self.place.line}:"
        return f"{head}{self.place.column + 1}:" + super().shown(severity).removeprefix(head)


class Fault(Exception):
    """An error that ends the reading of the statement it stands in."""

    def __init__(self, place: Place, message: str, expected: str = "") -> None:
        super().__init__(message)
        self.error = Error(place, message, expected)


class TooMany(Exception):
    """``ERRORS_MAX`` is reached."""


class Errors:
    """The errors of a run."""

    def __init__(self) -> None:
        self.found: list[Error] = []

    def add(self, place: Place, message: str, expected: str = "") -> None:
        """One more.

        Raises:
            TooMany: there are enough.
        """
        self.keep(Error(place, message, expected))

    def keep(self, error: Error) -> None:
        """As ``add``."""
        self.found.append(error)
        if len(self.found) >= ERRORS_MAX:
            raise TooMany

    def stop_if_any(self, name: str) -> None:
        """Tell what was found.

        Raises:
            InputError: there is at least one; ``diagnostics`` holds them by file and line.
        """
        if self.found:
            errors = sort_diagnostics(self.found)
            raise InputError(f"{name}: {len(errors)} errors", stage=STAGE, diagnostics=errors)
