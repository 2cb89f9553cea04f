"""Static checks of a linked kernel: what can be known to be wrong without a boot.

A check looks at the whole image (``CHECKS``) or at one routine (``ROUTINE_CHECKS``); each is a function in a module of
its own. A check reports only what it can show; where it loses track it says nothing. No finding on a healthy kernel is
part of each check's test. What was found in a routine is kept: a variant of a kernel differs in few of them.
"""

from __future__ import annotations

import re
import struct
import time
from bisect import bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import NamedTuple

from architect.contracts import routines
from architect.protocols import GateResult
from toolchain.flow import RoutineFlow, flows
from toolchain.headers import Routine
from toolchain.types import Image, Line, Section, Symbols

_NEVER_RETURNS = re.compile(r"does not return(?! (?:on|when|if|unless))")
VARIANTS_KEPT = 4  # verdicts kept of one routine


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, with its place. ``file`` and ``line`` are None where no source line is to blame.

    ``places`` are further lines that it may come from, each as ``file:line``: those of the data that it is about.
    """

    rule: str
    message: str
    routine: str | None = None
    file: str | None = None
    line: int | None = None
    places: tuple[str, ...] = ()

    def about(self, places: tuple[str, ...]) -> Finding:
        """The same with places; the first is its own when it has none."""
        places = tuple(place for place in places if place)
        if not places or self.file:
            return replace(self, places=places)
        file, line = places[0].rsplit(":", 1)
        return replace(self, file=file, line=int(line), places=places)

    def __str__(self) -> str:
        """``file:line: rule: message (routine)``."""
        place = f"{self.file}:{self.line}: " if self.file else ""
        return f"{place}{self.rule}: {self.message}" + (f" (in {self.routine})" if self.routine else "")


class Found(NamedTuple):
    """What a check of one routine found, at the address of an instruction."""

    rule: str
    message: str
    address: int


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
    def names(self) -> dict[int, str]:
        """Where each routine of ``.text`` begins -> its name; all of them, looked at or not."""
        return {s.address: s.name for s in Symbols.of(self.image).routines.get(".text", ())}

    @cached_property
    def code_pointers(self) -> frozenset[int]:
        """Quadwords of data that are addresses of code: jump tables."""
        found: set[int] = set()
        texts = [(s.address, s.address + s.size) for s in self.image.sections if "x" in s.flags]
        for section in self.image.sections:
            if "x" not in section.flags:
                values = struct.unpack(f"<{len(section.data) // 8}Q", section.data[: len(section.data) & ~7])
                for first, end in texts:
                    found.update(value for value in values if first <= value < end)
        return frozenset(found)

    @cached_property
    def _lines(self) -> dict[int, Line]:
        return {line.address: line for line in self.image.lines}

    @cached_property
    def _symbols(self) -> tuple[dict[int, str], list[int]]:
        named = {s.address: s.name for s in self.image.symbols if s.section}
        return named, sorted(named)

    def context(self, name: str) -> str:
        """Where a routine may be called, as its header says, in lower case; empty without a header."""
        header = self.headers.get(name)
        return header.context.lower() if header else ""

    def never_returns(self, address: int | None) -> bool:
        """Whether a routine begins at an address whose header says that it does not return, whatever happens."""
        name = self.names.get(address) if address is not None else None
        return name is not None and _NEVER_RETURNS.search(self.context(name)) is not None

    def section(self, address: int) -> Section | None:
        """The section that an address lies in."""
        for section in self.image.sections:
            if section.address <= address < section.address + section.size:
                return section
        return None

    def place(self, address: int) -> tuple[str, int]:
        """The symbol at or before an address, and the bytes from there."""
        named, ordered = self._symbols
        if address in named:
            return named[address], 0
        index = bisect_right(ordered, address) - 1
        return (named[ordered[index]], address - ordered[index]) if index >= 0 else ("", address)

    def at(self, address: int) -> str:
        """``file:line`` of an instruction; empty when the image does not say."""
        line = self._lines.get(address)
        return f"{line.file}:{line.line}" if line else ""

    def finding(self, rule: str, message: str, address: int | None, routine: str | None) -> Finding:
        """A finding, at an instruction when there is one."""
        line = self._lines.get(address) if address is not None else None
        return Finding(rule, message, routine, line.file if line else None, line.line if line else None)


RoutineCheck = Callable[[Subject, RoutineFlow], Iterable[Found]]
Check = Callable[[Subject], Iterable[Finding]]


def checks() -> dict[str, Check]:
    """Every check of whole images by name."""
    from architect.checks import boot, loader, sections, tables

    return {"loader": loader.check, "sections": sections.check, "boot": boot.check, "tables": tables.check}


def routine_checks() -> dict[str, RoutineCheck]:
    """Every check of single routines by name."""
    from architect.checks import control, ends, forms, saves, stack

    return {
        "stack": stack.check,
        "saves": saves.check,
        "ends": ends.check,
        "forms": forms.check,
        "control": control.check,
    }


def findings(
    image: Image, sources: Mapping[str, str], routines: Collection[str] | None = None
) -> list[Finding]:
    """What all checks find, in these routines alone where they are given; the whole image is looked at always."""
    subject = Subject(image, sources, routines)
    found = [finding for check in checks().values() for finding in check(subject)]
    for flow in subject.flows:
        base, name = flow.symbol.address, flow.symbol.name
        found += [subject.finding(f.rule, f.message, base + f.address, name) for f in _verdict(subject, flow)]
    return found


def run(image: Image, sources: Mapping[str, str], routines: Collection[str] | None = None) -> GateResult:
    """The static gate: passes when nothing is found. The evidence lists each finding's fields."""
    began = time.perf_counter()
    found = findings(image, sources, routines)
    evidence = {"findings": [asdict(f) for f in found]}
    return GateResult(
        "checks", not found, time.perf_counter() - began, str(found[0]) if found else "", evidence
    )


# --- verdicts on routines, kept ----------------------------------------------------------------------------


class _Verdict(NamedTuple):
    """``places`` are what the code's distances lead to, ``headers`` those of the routine and of whom it calls."""

    code: bytes
    places: tuple[tuple[str, int], ...]
    headers: tuple[Routine | None, ...]
    found: tuple[Found, ...]


_VERDICTS: dict[str, list[_Verdict]] = {}


def _verdict(subject: Subject, flow: RoutineFlow) -> tuple[Found, ...]:
    """The findings of one routine, addresses from its beginning."""
    name, base = flow.symbol.name, flow.symbol.address
    end = base + flow.symbol.size
    places = tuple(
        ("", address - base) if base <= address < end else subject.place(address)
        for address, _ in flow.distances.values()
    )
    headers = tuple(_headers(subject, flow, places))
    known = _VERDICTS.setdefault(name, [])
    for number, verdict in enumerate(known):
        if verdict.code == flow.key and verdict.places == places and _same(verdict.headers, headers):
            if number:
                known.insert(0, known.pop(number))
            return verdict.found
    found = tuple(
        row._replace(address=row.address - base)
        for check in routine_checks().values()
        for row in check(subject, flow)
    )
    known.insert(0, _Verdict(flow.key, places, headers, found))
    del known[VARIANTS_KEPT:]
    return found


def _headers(
    subject: Subject, flow: RoutineFlow, places: Iterable[tuple[str, int]]
) -> Iterator[Routine | None]:
    yield subject.headers.get(flow.symbol.name)
    for name, offset in places:
        if name and not offset:
            yield subject.headers.get(name)


def _same(one: tuple[Routine | None, ...], other: tuple[Routine | None, ...]) -> bool:
    return len(one) == len(other) and all(a is b or a == b for a, b in zip(one, other, strict=True))
