"""The models that routines are held to, and which of them a changed routine calls for.

Owns the list of the models' modules, the registration of their checks (``@contract``) and the answer of one check.
Never chooses an order, and judges nothing itself.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache

from architect.contracts.model import Broken, Violation
from toolchain.emulator import machines_closed
from toolchain.errors import InputError
from toolchain.harness import Harness
from toolchain.headers import Routine, parse

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
    "liststeps",
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
    "runsteps",
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
TREES_KEPT = 4  # whose headers are kept

Check = Callable[[Harness], None]


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
    return dict(_routines(tuple((file, sources[file]) for file in sorted(sources) if file.endswith(".s"))))


@lru_cache(maxsize=TREES_KEPT)
def _routines(texts: tuple[tuple[str, str], ...]) -> Mapping[str, Routine]:
    found: dict[str, Routine] = {}
    for file, text in texts:
        for routine in parse(text, file):
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
