"""Foreign trees as a kind of tree (``architect.kinds``): their copy, their judge, their engines.

Owns what ties the parts together. How a tree is built, booted and judged is ``toolchain.foreign``'s.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect.foreign.bench import BOOTS, BUILDS, FINAL_BOOTS, ForeignBench
from architect.foreign.doubts import doubts
from architect.foreign.engine import Search, Together, Translated
from architect.foreign.tongue import Translation, is_assembly
from architect.foreign.workspace import ForeignCopy, others
from architect.kinds import Opened
from architect.protocols import Case, Engine, Patch
from architect.rivals import Choice
from toolchain.errors import InputError
from toolchain.foreign import config, sandbox

if TYPE_CHECKING:
    from architect.run import Settings

STAGE = "fix"
FURTHER = 240  # proposals looked through for a repair that nothing speaks against, once a doubtful one passes
ABREAST = (
    2  # candidates for each core: a boot that is to show nothing waits most of its time; below LIFE_FACTOR
)
EMPTY_NAME = "nothing"  # a folder of the run without any file


def opened(settings: Settings) -> Opened:
    """A foreign tree, ready for a repair.

    Raises:
        InputError: its ``pxos.toml`` is wrong, or no file fits its sources.
        ToolError: no sandbox can be had.
    """
    if settings.baseline is not None:
        raise InputError("--baseline: a foreign tree is judged by its pxos.toml", stage=STAGE)
    if not settings.unsafe:
        sandbox.check()
    workspace = ForeignCopy(config.load(settings.tree))
    bench = partial(_on_bench, workspace, settings.unsafe)
    choice, empty = Choice(FURTHER, doubts), settings.out / EMPTY_NAME
    return ForeignOpened(
        workspace,
        bench,
        (BUILDS,),
        (BUILDS, BOOTS),
        (),
        FINAL_BOOTS,
        choice=choice,
        abreast=ABREAST,
        empty=empty,
    )


def check_tools() -> None:
    """Raises ``ToolError`` where QEMU is missing."""
    from toolchain import qemu_args

    qemu_args.qemu_path()


@dataclass(frozen=True)
class ForeignOpened(Opened):
    """As ``Opened``, with engines that read the tree's syntax.

    Attributes:
        empty: a folder without sources.
    """

    empty: Path = field(default_factory=Path)

    def engines(self, chosen: Sequence[Engine]) -> list[Engine]:
        """Lessons and search in the tree's words; the search of C beside them; a model reads every syntax."""
        from architect.foreign.cplaces import is_c
        from architect.foreign.csearch import CSearch

        found: list[Engine] = []
        for engine in chosen:
            if engine.name in ("search", "lessons"):
                translated = Translated(engine, self.translation, self.empty)
                searches: list[tuple[Search, Callable[[str], bool]]]
                searches = [(translated, is_assembly), (CSearch(), is_c)]
                found.append(Together(searches) if engine.name == "search" else translated)
            else:
                found.append(engine)
        return found

    def translation(self, case: Case) -> Translation:
        """The tree of a case in the words of the search; what may not be edited is read as well."""
        assert isinstance(self.workspace, ForeignCopy)
        texts: Mapping[str, str] = {**others(self.workspace), **case.sources}
        return Translation(self.workspace.foreign.syntax, texts)

    def told(self, sources: Mapping[str, str]) -> Mapping[str, str]:
        """The assembly among some sources in the words of the search."""
        assert isinstance(self.workspace, ForeignCopy)
        return Translation(self.workspace.foreign.syntax, {**others(self.workspace), **sources}).sources

    def lesson(self, patch: Patch, case: Case) -> tuple[Patch, Case] | None:
        """A proved repair in the words that lessons are kept in; None for one of C, of which none is kept."""
        translation = self.translation(case)
        forward = translation.forward(patch)
        return (forward, translation.case(case, self.empty)) if forward is not None else None


@contextmanager
def _on_bench(
    workspace: ForeignCopy, unsafe: bool, tree: Path, folder: Path, cache: Path, **ignored: Any
) -> Iterator[ForeignBench]:
    bench = ForeignBench(workspace, folder, unsafe=unsafe)
    try:
        yield bench
    finally:
        bench.close()
