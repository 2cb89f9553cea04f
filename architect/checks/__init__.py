"""Static checks of a linked kernel: what can be known to be wrong without a boot.

Each check is a function ``(Subject) -> findings`` in a module of its own, registered in ``CHECKS``. A check reports
only what it can show; where it loses track it says nothing. No finding on a healthy kernel is part of each check's
test.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Protocol

from architect.contracts import routines
from architect.protocols import GateResult
from toolchain.flow import RoutineFlow, flows
from toolchain.headers import Routine
from toolchain.types import Image, Line


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with its place. ``file`` and ``line`` are None where no source line is to blame."""

    rule: str
    message: str
    routine: str | None = None
    file: str | None = None
    line: int | None = None

    def __str__(self) -> str:
        """``file:line: rule: message (routine)``."""
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}{self.rule}: {self.message}" + (f" (in {self.routine})" if self.routine else "")


class Subject:
    """A linked kernel with its sources, decoded once for all checks.

    Args:
        image: the kernel.
        sources: its sources, for the headers.
        routines: look at these alone, or at all when None.
    """

    def __init__(
        self, image: Image, sources: Mapping[str, str], routines: Collection[str] | None = None
    ) -> None:
        self.image = image
        self.sources = sources
        self.routines = routines

    @cached_property
    def headers(self) -> dict[str, Routine]:
        """Name -> header."""
        return routines(self.sources)

    @cached_property
    def flows(self) -> list[RoutineFlow]:
        """The routines of ``.text`` to look at."""
        return flows(self.image, names=self.routines)

    @cached_property
    def starts(self) -> dict[int, str]:
        """Entry address -> name of every routine of ``.text``, looked at or not."""
        found = (s for s in self.image.symbols if s.kind == "func" and s.section == ".text" and s.size > 0)
        return {s.address: s.name for s in sorted(found, key=lambda s: (s.address, s.name))}

    @cached_property
    def _lines(self) -> dict[int, Line]:
        return {line.address: line for line in self.image.lines}

    def finding(self, rule: str, message: str, address: int, routine: str | None) -> Finding:
        """A finding at an instruction."""
        line = self._lines.get(address)
        return Finding(rule, message, routine, line.file if line else None, line.line if line else None)


class Check(Protocol):
    """One static check."""

    def __call__(self, subject: Subject) -> Iterable[Finding]:
        """The findings, in address order."""


def checks() -> dict[str, Check]:
    """Every check by name."""
    from architect.checks import loader, saves, stack

    return {"loader": loader.check, "stack": stack.check, "saves": saves.check}


def findings(
    image: Image, sources: Mapping[str, str], routines: Collection[str] | None = None
) -> list[Finding]:
    """What all checks find, in these routines alone where they are given."""
    subject = Subject(image, sources, routines)
    return [finding for check in checks().values() for finding in check(subject)]


def run(image: Image, sources: Mapping[str, str], routines: Collection[str] | None = None) -> GateResult:
    """The static gate: passes when nothing is found. The evidence lists each finding's fields."""
    began = time.perf_counter()
    found = findings(image, sources, routines)
    evidence = {"findings": [asdict(f) for f in found]}
    return GateResult(
        "checks", not found, time.perf_counter() - began, str(found[0]) if found else "", evidence
    )
