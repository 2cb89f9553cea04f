"""Which kinds of trees ``pxos fix`` repairs, and what is peculiar to each.

Owns the table ``KINDS``: how a tree of a kind is recognised, opened, diagnosed and searched. ``run`` knows no kind by
name. A new one is a row here and a module with ``opened``. Nothing heavy is imported before a tree is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from architect.rivals import Choice
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.diagnosis import Demands, Diagnosis
    from architect.protocols import Case, Engine, Evaluation, GateResult, Patch
    from architect.run import Settings
    from architect.workspace import TreeCopy

STAGE = "fix"


class Judge(Protocol):
    """The service of a worker: what ``architect.bench.Bench`` does for our kernel."""

    def diagnose(self, gates: tuple[str, ...], boots: int) -> Diagnosis:
        """The unpatched tree through some gates, none left out because another failed."""

    def begin(self, demands: Demands) -> None:
        """What every candidate needs, made while nobody waits for one; ``verify`` sees to it otherwise."""

    def verify(self, patch: Patch, boots: int, demands: Demands) -> Evaluation:
        """The gates on one candidate, until one fails."""

    def finalise(self, patch: Patch, boots: int, demands: Demands) -> tuple[tuple[GateResult, ...], int]:
        """The whole again on a fresh copy; the gates and the boots taken."""


@dataclass(frozen=True)
class Opened:
    """One tree, opened for a repair.

    Attributes:
        workspace: its copy.
        bench: called in each worker with a pristine copy on disk, the run's folder and the cache's; gives the judge.
        static: gates that boot nothing.
        boots: those that do, and what goes with them, asked beside those.
        rest: those that follow when nothing is wrong so far.
        reserve: boots kept for the finalist.
        search: makes the engine that searches; None for the one of assembly.
        lessons: whether lessons are asked and taught: they are of assembly.
        prepare: what engines make of the sources alone, meanwhile.
        choice: how one of several repairs that pass is chosen.
        abreast: candidates that each core takes side by side.
    """

    workspace: TreeCopy
    bench: Callable[[Path, Path, Path], AbstractContextManager[Judge]]
    static: tuple[str, ...]
    boots: tuple[str, ...]
    rest: tuple[str, ...]
    reserve: int
    search: Callable[[], Engine] | None = None
    lessons: bool = True
    prepare: Callable[[], None] = lambda: None
    choice: Choice = field(default_factory=Choice)
    abreast: int = 1

    def engines(self, chosen: Sequence[Engine]) -> list[Engine]:
        """Of the engines that were asked for those that can work on this tree.

        Raises:
            InputError: none can.
        """
        found = []
        for engine in chosen:
            if engine.name == "search" and self.search is not None:
                found.append(self.search())
            elif engine.name != "lessons" or self.lessons:
                found.append(engine)
        if not found:
            raise InputError("no lesson is about such a tree; use --engine search or auto", stage=STAGE)
        return found

    def told(self, sources: Mapping[str, str]) -> Mapping[str, str]:
        """Sources in the words that lessons and guards are kept in."""
        return sources

    def lesson(self, patch: Patch, case: Case) -> tuple[Patch, Case] | None:
        """A proved repair and its case in the words that lessons are kept in; None where none can be kept."""
        return (patch, case) if self.lessons else None


@dataclass(frozen=True)
class Kind:
    """One kind: its name, a cheap look at a folder, and the module that has ``opened`` and ``check_tools``."""

    name: str
    fits: Callable[[Path], bool]
    module: str

    def opened(self, settings: Settings) -> Opened:
        """The tree of ``settings``, ready for a repair."""
        found: Opened = import_module(self.module).opened(settings)
        return found

    def check_tools(self) -> None:
        """Raises ``ToolError`` when a program or a device that the last proof needs is missing."""
        import_module(self.module).check_tools()


def _always(tree: Path) -> bool:
    return True


def _shaders(tree: Path) -> bool:
    return not (tree / "image.toml").exists() and any(tree.glob("*.wgsl"))


def _describes_itself(tree: Path) -> bool:
    return (tree / "pxos.toml").is_file()


KINDS: tuple[Kind, ...] = (
    Kind("foreign", _describes_itself, "architect.foreign.kind"),
    Kind("shaders", _shaders, "architect.shaders.tree"),
    Kind("kernel", _always, "architect.kernel_tree"),  # the last: it says what is missing
)


def of(tree: Path) -> Kind:
    """The first kind that fits."""
    return next(kind for kind in KINDS if kind.fits(tree))
