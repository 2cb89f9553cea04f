"""Contract tests: routines of the kernel called alone under Unicorn and held to what they promise.

Two sources of promises: every routine's header (``generic``: registers preserved, stack balanced, flags) and a model
in Python for the routines whose effect on memory or devices matters (one module per area of the kernel, listed in
``MODULES``; each registers its checks with ``@contract``). The models know the specifications, not the kernel's
sources. The judge reads both from here, never from the tree under repair.

A check that cannot judge, because the routine ended in hardware that is not there or the tree has no such routine,
says nothing; silence is not success, and the boots that follow decide.
"""

from __future__ import annotations

import importlib
import math
import struct
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache, partial
from typing import NamedTuple

from architect.contracts.model import Broken, Violation
from architect.protocols import GateResult
from toolchain.emulator import machines_closed
from toolchain.errors import InputError
from toolchain.harness import Harness
from toolchain.headers import Routine, parse
from toolchain.types import Image

__all__ = [
    "Asked", "Contract", "Violation", "contract", "first", "registry", "rehearse", "routines", "run",
    "violations",
]  # fmt: skip

AREAS = (
    "acpi",
    "acpisteps",
    "acpitables",
    "archive",
    "barsteps",
    "bootsteps",
    "clock",
    "cmdline",
    "config",
    "console",
    "cpusteps",
    "descriptors",
    "devicesteps",
    "display",
    "earlysteps",
    "elfcheck",
    "entry",
    "faults",
    "features",
    "frames",
    "heap",
    "interrupts",
    "lineedit",
    "linesteps",
    "loaders",
    "mapping",
    "memory",
    "memorysteps",
    "mmiosteps",
    "messages",
    "modesteps",
    "pagesteps",
    "paging",
    "pci",
    "pciplaces",
    "pcirooms",
    "pcisteps",
    "picture",
    "pictureunits",
    "processors",
    "programs",
    "ranges",
    "reports",
    "sched",
    "schedparts",
    "session",
    "shell",
    "signals",
    "space",
    "spaces",
    "starts",
    "text",
    "tlb",
    "traps",
    "units",
    "usercopy",
    "unitsteps",
    "usercalls",
    "userentry",
    "userthreads",
    "vmengine",
    "vmhost",
)
MODULES = tuple(f"architect.contracts.{name}" for name in AREAS)

Check = Callable[[Harness], None]
_SEEDS = 3  # calls per routine and header
_IMAGES_EACH = 200  # images that are put into one machine before it is made anew
_CONCERNED_KEPT = 64  # sets of routines whose models are remembered
_USUAL_SECONDS = 0.002  # a question that was never asked
_RARELY = 0.05  # broken promises taken to have been seen before the first


@dataclass(frozen=True, slots=True)
class Contract:
    """A model check: a function that raises ``Broken`` at the first promise that is not kept.

    ``judges`` are the routines that it answers for, so that a change in any of them calls for it; ``needs`` are the
    symbols without which it does not apply.
    """

    name: str
    judges: tuple[str, ...]
    needs: tuple[str, ...]
    check: Check

    def violations(self, harness: Harness) -> list[Violation]:
        """What the check finds on a machine that is made anew; at most one violation."""
        if not all(harness.has(name) for name in self.needs):
            return []
        harness.renew()
        try:
            with machines_closed():
                if self.check(harness) is not None:  # type: ignore[func-returns-value]
                    raise TypeError(
                        f"the model {self.name} returns something: a generator would check nothing"
                    )
        except Broken as broken:
            return [broken.violation]
        except InputError as error:  # it left a pointer that leads nowhere, or addresses that cannot be used
            return [Violation(self.judges[0], f"leaves what cannot be used: {error.message}", {})]
        except (LookupError, ValueError, ArithmeticError, MemoryError, struct.error) as error:
            # The kernel on trial left something of no form that the model knows: nothing where a call should have
            # been, a count beyond all bounds. On a sound kernel no model does this; its tests say so.
            what = f"{type(error).__name__}: {error}"
            return [Violation(self.judges[0], "leaves what no model can read", {"error": what})]
        return []


_REGISTRY: dict[str, Contract] = {}


def contract(*judges: str, needs: Collection[str] = ()) -> Callable[[Check], Check]:
    """Register a check: ``@contract("page_map", "page_walk", needs=("page_root",))``.

    The first of ``judges`` must be in the image; the others need not be: a helper may come and go.
    """

    def register(check: Check) -> Check:
        _REGISTRY[check.__name__] = Contract(check.__name__, judges, (judges[0], *needs), check)
        return check

    return register


def registry() -> Mapping[str, Contract]:
    """Every model check by name."""
    _import_all()
    return _REGISTRY


@cache
def _import_all() -> None:
    for module in MODULES:
        importlib.import_module(module)


def routines(sources: Mapping[str, str]) -> dict[str, Routine]:
    """Name -> header over a tree's sources (file -> text)."""
    found: dict[str, Routine] = {}
    for file in sorted(sources):
        if file.endswith(".s"):
            for routine in parse(sources[file], file):
                found.setdefault(routine.name, routine)
    return found


def concerned(
    headers: Mapping[str, Routine], names: Collection[str] | None, files: Collection[str] = ()
) -> Iterator[Contract]:
    """The model checks that changed routines call for.

    A routine that no check answers for calls for those of its source file; so does a file itself.
    """
    known = registry()
    if names is None:
        yield from known.values()
        return
    answered = {routine for item in known.values() for routine in item.judges}
    homes = {headers[name].file for name in names if name in headers and name not in answered} | set(files)
    neighbours = (
        {name for name in answered if name in headers and headers[name].file in homes} if homes else set()
    )
    wanted = neighbours | set(names)
    yield from (item for item in known.values() if wanted.intersection(item.judges))


def violations(
    image: Image,
    headers: Mapping[str, Routine],
    names: Collection[str] | None = None,
    *,
    seeds: int = _SEEDS,
    files: Collection[str] = (),
) -> list[Violation]:
    """What the named routines (all when None) break, headers first, then models.

    Args:
        image: the linked kernel.
        headers: the promises: ``routines(sources)``, from the original tree when a candidate is judged.
        names: routines whose code changed.
        seeds: calls per routine and header.
        files: sources whose data changed: the models of all routines in them are asked.

    Raises:
        InputError: the image cannot be put into an emulated machine.
    """
    with closing(Harness(image)) as harness:
        return [
            row for question in _questions(harness, headers, names, seeds, files) for row in question.ask()
        ]


class Asked:
    """What came of earlier questions, so that of further variants of a kernel the most telling are asked first.

    Attributes:
        broken: the questions that the unpatched kernel answered wrongly.
    """

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self._known: dict[str, tuple[int, int, float]] = {}
        self._harness: Harness | None = None
        self._left = 0  # images until the machine is made anew
        self._concerned: dict[tuple[object, ...], tuple[Mapping[str, Routine], tuple[Contract, ...]]] = {}

    @contextmanager
    def machine(self, image: Image) -> Iterator[Harness]:
        """A machine with an image in it: that of the image before, unless a question went wrong in it."""
        harness, self._harness = self._harness, None
        if harness is None or not self._left or not harness.load(image):
            if harness is not None:
                harness.close()
            harness, self._left = Harness(image), _IMAGES_EACH
        self._left -= 1
        yield harness
        self._harness = harness

    def concerned(
        self, headers: Mapping[str, Routine], names: Collection[str] | None, files: Collection[str]
    ) -> tuple[Contract, ...]:
        """As the function of this name, found once: candidate after candidate is held to the same promises."""
        key = (id(headers), None if names is None else tuple(names), tuple(files))
        known = self._concerned.get(key)
        if known is None:
            if len(self._concerned) >= _CONCERNED_KEPT:
                del self._concerned[next(iter(self._concerned))]
            known = self._concerned[key] = (headers, tuple(concerned(headers, names, files)))
        return known[1]

    def close(self) -> None:
        """Let the machine go."""
        if self._harness is not None:
            self._harness.close()
            self._harness = None

    def order(self, name: str) -> float:
        """The seconds that a broken promise is expected to take to show; smaller is sooner."""
        times, broken, seconds = self._known.get(name, (1, 0, _USUAL_SECONDS))
        return seconds / ((broken + _RARELY) / (times + 1))

    def ask(self, question: _Question) -> list[Violation]:
        """The answer, noted; of what it took the least, which the machine's other work does not stretch."""
        began = time.process_time()
        found = question.ask()
        times, broken, seconds = self._known.get(question.name, (0, 0, math.inf))
        seconds = min(seconds, time.process_time() - began)
        self._known[question.name] = (times + 1, broken + bool(found), seconds)
        return found


def first(
    image: Image,
    headers: Mapping[str, Routine],
    names: Collection[str] | None,
    files: Collection[str] = (),
    asked: Asked | None = None,
) -> Violation | None:
    """One violation of those that ``violations`` finds with the same arguments, or None when there is none.

    Args:
        image: the linked kernel.
        headers: as for ``violations``.
        names: as for ``violations``.
        files: as for ``violations``.
        asked: chooses the order, and learns from this.

    Raises:
        InputError: the image cannot be put into an emulated machine.
    """
    if asked is None:
        with closing(Asked()) as alone:
            return first(image, headers, names, files, alone)
    with asked.machine(image) as harness:
        questions = _questions(harness, headers, names, _SEEDS, files, asked)
        for question in sorted(questions, key=lambda item: asked.order(item.name)):
            found = asked.ask(question)
            if found:
                break
        else:
            found = []
    return found[0] if found else None


def mended(
    image: Image, headers: Mapping[str, Routine], names: Collection[str] | None, asked: Asked
) -> tuple[list[Violation], list[str]]:
    """Every violation of what the unpatched kernel broke, and the names of the models and headers that are kept now.

    Arguments and errors as for ``first``; ``asked`` has been through ``rehearse``. When all is kept, the rest is asked
    as well, up to its first violation.
    """
    found: list[Violation] = []
    kept: list[str] = []
    with asked.machine(image) as harness:
        questions = list(_questions(harness, headers, names, _SEEDS, (), asked))
        for question in questions:
            if question.name in asked.broken:
                violations = asked.ask(question)
                found += violations
                if not violations:
                    kept.append(question.name)
        rest = iter([] if found else questions)
        while not found and (other := next(rest, None)) is not None:
            found += asked.ask(other) if other.name not in asked.broken else []
    return found, kept


def rehearse(image: Image, headers: Mapping[str, Routine], names: Collection[str], asked: Asked) -> None:
    """Ask everything once of a kernel that is known to break promises, so that ``first`` knows what tells soonest."""
    with asked.machine(image) as harness:
        questions = list(_questions(harness, headers, names, _SEEDS, (), asked))
        asked.broken.update([question.name for question in questions if asked.ask(question)])
        for question in questions:
            if (
                question.name in asked.broken
            ):  # once more: the first time code is translated and hooks are set
                asked.ask(question)


class _Question(NamedTuple):
    """What is asked of a kernel at a time: the header of a routine, or a model."""

    name: str
    ask: Callable[[], list[Violation]]


def _questions(
    harness: Harness,
    headers: Mapping[str, Routine],
    names: Collection[str] | None,
    seeds: int,
    files: Collection[str],
    asked: Asked | None = None,
) -> Iterator[_Question]:
    for name in headers if names is None else names:
        if name in headers and not harness.has(name):
            yield _Question(f"{name}()", partial(list, (Violation(name, "is gone", {}),)))
        elif name in headers:
            yield _Question(f"{name}()", partial(_header, harness, headers[name], seeds))
    for item in (concerned if asked is None else asked.concerned)(headers, names, files):
        yield _Question(item.name, partial(item.violations, harness))


def _header(harness: Harness, routine: Routine, seeds: int) -> list[Violation]:
    from architect.contracts import generic

    harness.forget()  # what a model left
    return generic.check(harness, routine, seeds=seeds)


def run(
    image: Image, names: Collection[str] | None, sources: Mapping[str, str], *, seeds: int = 3
) -> list[GateResult]:
    """The contract gate: one result for all routines asked for.

    The evidence lists each violation as ``routine``, ``promise`` and the ``call`` that shows it.
    """
    began = time.perf_counter()
    found = violations(image, routines(sources), names, seeds=seeds)
    evidence = [{"routine": v.routine, "promise": v.promise, "call": dict(v.call)} for v in found]
    message = f"{found[0].routine}: {found[0].promise}" if found else ""
    return [GateResult("contract", not found, time.perf_counter() - began, message, {"violations": evidence})]
