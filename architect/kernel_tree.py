"""Our kernel as a kind of tree (``architect.kinds``): its copy, its judge, its gates.

Owns what is checked before a repair of it begins. How it is judged is ``bench`` and ``verify``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from architect import judge
from architect.bench import Bench
from architect.kinds import Opened
from architect.terms import BOOTS, FINAL_BOOTS, REST, STATIC
from architect.workspace import TreeCopy
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.run import Settings

# Contracts take as long as all else, and then as long again where they are broken: one worker has them alone.
OTHERS = (*(name for name in STATIC if name != "contract"), *BOOTS)


def opened(settings: Settings) -> Opened:
    """A kernel tree, ready for a repair.

    Raises:
        InputError: it is no kernel tree, or its layout or the baseline cannot be used.
    """
    workspace = TreeCopy(settings.tree)
    verdicts = judge.load(settings.tree, workspace.files, settings.baseline)
    bench = partial(_on_bench, workspace, verdicts)
    return Opened(
        workspace, bench, ("contract",), OTHERS, REST, FINAL_BOOTS, prepare=partial(_read, workspace)
    )


def check_tools() -> None:
    """What the last proof needs is asked for first: a search without it would be in vain.

    Raises:
        ToolError: QEMU, or a program that makes an ISO, is missing.
    """
    from toolchain import iso, qemu_args

    qemu_args.qemu_path()
    iso.check_tools()


@contextmanager
def _on_bench(
    workspace: TreeCopy, verdicts: judge.Judge, tree: Path, folder: Path, cache: Path
) -> Iterator[Bench]:
    with Bench(workspace, tree, verdicts, folder, cache) as bench:
        yield bench


def _read(workspace: TreeCopy) -> None:
    """What engines make of the sources alone, while the workers find out what is wrong with them."""
    from architect import frontier
    from architect.source import Tree

    with suppress(InputError):  # told when it is asked for
        frontier.prepare(Tree.of(workspace.tree, workspace.sources()), workspace.tree)
