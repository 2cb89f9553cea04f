"""Contract tests: routines of the kernel called alone under Unicorn and held to what they promise.

Two sources of promises: every routine's header (``generic``: registers preserved, stack balanced, flags) and a model
in Python for the routines whose effect on memory matters (one module per area of the kernel, listed in ``MODULES``;
each registers its checks with ``@contract``). The judge reads them from here, never from the tree under repair.

A check that cannot judge, because the routine ended in hardware that is not there or the tree has no such routine,
says nothing; silence is not success, and the boots that follow decide.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass

from architect.protocols import GateResult
from toolchain.harness import Harness
from toolchain.headers import Routine, parse
from toolchain.types import Image

MODULES = tuple(f"architect.contracts.{name}" for name in ("frames", "paging", "ranges", "text"))


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept. ``call`` is what reproduces it: registers and seed."""

    routine: str
    promise: str
    call: Mapping[str, int | str]


Check = Callable[[Harness], Iterable[Violation]]


@dataclass(frozen=True, slots=True)
class Contract:
    """A model check.

    ``needs`` are the symbols without which it does not apply; ``judges`` are the routines that it runs for real, so
    that a change in any of them calls for it.
    """

    name: str
    judges: tuple[str, ...]
    needs: tuple[str, ...]
    check: Check


_REGISTRY: dict[str, Contract] = {}


def contract(*judges: str, needs: Collection[str] = ()) -> Callable[[Check], Check]:
    """Register a check of the named routines: ``@contract("page_map", needs=("kernel_pml4",))``."""

    def register(check: Check) -> Check:
        _REGISTRY[check.__name__] = Contract(check.__name__, judges, (*judges, *needs), check)
        return check

    return register


def registry() -> Mapping[str, Contract]:
    """Every model check by name."""
    for module in MODULES:
        importlib.import_module(module)
    return _REGISTRY


def routines(sources: Mapping[str, str]) -> dict[str, Routine]:
    """Name -> header over a tree's sources (file -> text)."""
    found: dict[str, Routine] = {}
    for file in sorted(sources):
        if file.endswith(".s"):
            for routine in parse(sources[file], file):
                found.setdefault(routine.name, routine)
    return found


def violations(
    image: Image, headers: Mapping[str, Routine], names: Collection[str] | None = None, *, seeds: int = 3
) -> list[Violation]:
    """What the named routines (all when None) break, headers first, then models.

    Args:
        image: the linked kernel.
        headers: the promises: ``routines(sources)``, from the original tree when a candidate is judged.
        names: routines whose code changed.
        seeds: calls per routine and header.
    """
    from architect.contracts import generic

    harness = Harness(image)
    found: list[Violation] = []
    for name in headers if names is None else names:
        if name in headers:
            found += generic.check(harness, headers[name], seeds=seeds)
    for item in registry().values():
        if (names is None or set(item.judges) & set(names)) and all(harness.has(n) for n in item.needs):
            fresh = Harness(image)
            found += item.check(fresh)
    return found


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
