"""A kernel tree on disk: whether a folder is one, which units it has, where its includes lie.

Owns: the rules by which files become units (``image.toml``, ``image.sources``) and includes (``image.include``, and
the generated ones, which are never read from disk). Never looks into a source.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.errors import InputError

if TYPE_CHECKING:
    from toolchain.layout import Layout
    from toolchain.preprocess import Preprocessor

STAGE = "build"
SOURCE_SUFFIXES = (".s", ".inc")
FOREIGN = "pxos.toml"  # says how somebody else's tree is built, booted and judged
GENERATED = Path("gen")  # where the generated includes seem to lie


def tree_here() -> Path | None:
    """This folder, when it is a foreign tree: what a command takes that is given no tree."""
    here = Path()
    return here if (here / FOREIGN).is_file() else None


def kernel_tree(path: Path | None) -> Path:
    """``path``, when it is a folder with an ``image.toml``; None for ``./kernel``, else for this checkout's kernel.

    Raises:
        InputError: it is none; the message says how to name one.
    """
    if path is None:
        here = Path("kernel")
        path = here if here.is_dir() else Path(__file__).resolve().parents[2] / "kernel"
    if not path.is_dir():
        raise InputError(f"{path}: no such folder; name a kernel tree (--kernel DIR)", stage=STAGE)
    if not (path / "image.toml").is_file():
        if (path / FOREIGN).is_file():
            takers = "pxos build, boot, check, fix and chat take it, this command takes pxOS's own trees"
            raise InputError(f"{path}: another's kernel tree, by its {FOREIGN}: {takers}", stage=STAGE)
        message = f"{path}: no kernel tree: it has no image.toml; name one (--kernel DIR)"
        raise InputError(message, stage=STAGE)
    return path


def sources(tree: Path) -> dict[str, str]:
    """The units and include files of ``tree``: name relative to it -> text (bytes that are no UTF-8 replaced)."""
    found = (p for p in sorted(tree.rglob("*")) if p.suffix in SOURCE_SUFFIXES and p.is_file())
    return {path.relative_to(tree).as_posix(): path.read_text(errors="replace") for path in found}


def source_names(tree: Path, patterns: Sequence[str], overrides: Mapping[str, str]) -> list[str]:
    """Names of the units of ``tree``, sorted: files on disk and in ``overrides`` that fit one of ``patterns``.

    Raises:
        InputError: there is none.
    """
    names = {path.relative_to(tree).as_posix() for p in patterns for path in tree.glob(p) if path.is_file()}
    names |= {name for name in overrides if fits(name, patterns)}
    if not names:
        what = ", ".join(patterns)
        raise InputError(f"{tree}: no source fits {what} (image.toml: image.sources)", stage=STAGE)
    return sorted(names)


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether ``name`` (relative to the tree) fits one of ``patterns``."""
    from fnmatch import fnmatch

    return any(fnmatch(name, p) or fnmatch(name, p.removeprefix("**/")) for p in patterns)


def reader(tree: Path, layout: Layout, generated: Mapping[str, str]) -> Preprocessor:
    """What reads the units of ``tree``; ``generated`` are the texts of ``generate.texts``."""
    from toolchain.preprocess import Preprocessor

    made = Preprocessor(tree, [GENERATED, *(tree / folder for folder in layout.include)])
    made.overrides = {f"{GENERATED}/{name}": text for name, text in generated.items()}
    return made
