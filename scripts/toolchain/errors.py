"""The exceptions of pxOS and the exit status each one means.

Owns the exception tree and nothing else. Two questions decide where an error belongs: could the person at the
keyboard have done otherwise (``InputError``), or did something outside fail (``ToolError``, ``GuestFault``,
``Timeout``)? What is left is ours (``InternalError``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


class PxError(Exception):
    """Root of every error that pxOS raises on purpose.

    Args:
        message: one line for the person, with the mend in it where there is one.
        stage: the stage that failed, e.g. ``"assemble"``, ``"link"``, ``"boot"``.
        log: where the details lie, or None.
    """

    status = 2
    reason: str | None = None  # what sort of failure, where programs tell several apart

    def __init__(self, message: str, *, stage: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.stage = stage
        self.log = log

    def __reduce__(self) -> tuple[object, ...]:
        """Errors cross process boundaries whole."""
        return _rebuilt, (type(self), self.message, self.__dict__)

    def lines(self) -> list[str]:
        """What to print on stderr: one line per error."""
        return [self.message]


def _rebuilt(kind: type[PxError], message: str, state: dict[str, object]) -> PxError:
    error = kind.__new__(kind)
    Exception.__init__(error, message)
    error.__dict__.update(state)
    return error


DIAGNOSTICS_SHOWN = 100  # more than anybody reads; a source that is no assembly has one for each line


class InputError(PxError):
    """The person can mend it: arguments, a missing file, a source in error (status 2).

    ``diagnostics`` holds, for a source that does not assemble, every error of it (``toolchain.types.Diagnostic``).
    """

    def __init__(
        self, message: str, *, stage: str, log: Path | None = None, diagnostics: Sequence[object] = ()
    ) -> None:
        super().__init__(message, stage=stage, log=log)
        self.diagnostics = tuple(diagnostics)

    def lines(self) -> list[str]:
        """One entry per diagnostic (each may span text and caret), or the message alone."""
        shown = [str(d) for d in self.diagnostics[:DIAGNOSTICS_SHOWN]]
        if len(self.diagnostics) > len(shown):
            shown.append(f"… and {len(self.diagnostics) - len(shown)} more errors")
        return shown or [self.message]


class ToolError(PxError):
    """An external program is missing or failed (status 2)."""

    def __init__(
        self,
        message: str,
        *,
        stage: str,
        command: Sequence[str] = (),
        returncode: int | None = None,
        output_tail: str = "",
        log: Path | None = None,
    ) -> None:
        super().__init__(message, stage=stage, log=log)
        self.command = tuple(command)
        self.returncode = returncode
        self.output_tail = output_tail


class GuestFault(PxError):
    """The guest ran and died (status 1)."""

    status = 1


class Timeout(PxError):
    """Time or budget is spent (status 3)."""

    status = 3


class InternalError(PxError):
    """A fault of ours (status 4)."""

    status = 4
