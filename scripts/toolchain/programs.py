"""User programs: the sources in ``scripts/programs`` made into ELF64 files that the kernel runs in ring 3.

Owns: their layout (``image.toml`` beside them), which names there are, and what ``--module NAME`` stands for. A program
is one source; it includes what the kernel shares with it (``kernel/include``, the mailbox). Never boots one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.errors import InputError

if TYPE_CHECKING:
    from toolchain.types import Image

STAGE = "programs"
FOLDER = Path(__file__).resolve().parents[1] / "programs"
KERNEL = Path(__file__).resolve().parents[2] / "kernel"
OUT = "programs"  # under the build folder
_LAYOUT = "image.toml"


def names() -> tuple[str, ...]:
    """The programs that there are, sorted."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.s")))


def image(source: Path, folder: Path = FOLDER) -> Image:
    """Assemble and link one program.

    Args:
        source: its source, in ``folder``.
        folder: where its layout is.

    Raises:
        InputError: with every error of the source, or of the link.
    """
    from toolchain import generate, layout, link
    from toolchain.assemble import assemble_units
    from toolchain.encode import Encoder
    from toolchain.pool import Pool
    from toolchain.preprocess import Preprocessor

    loaded = layout.load(folder / _LAYOUT)
    preprocessor = Preprocessor(folder, [Path("gen"), *(KERNEL / name for name in loaded.include)])
    preprocessor.overrides = {f"gen/{name}": text for name, text in generate.texts(KERNEL).items()}
    encoder = Encoder()
    try:
        objects = assemble_units([preprocessor.run(Path(source.name))], Pool(encoder))
    finally:
        encoder.close()
    return link.link(list(objects), loaded)


def build(name: str, out: Path) -> Path:
    """Write the ELF file of a program under ``out``.

    Returns:
        The file: ``out/programs/NAME``.

    Raises:
        InputError: there is no such program, its source is in error, or the file cannot be written.
    """
    from toolchain import elf
    from toolchain.files import make_folder, write_atomic

    source = FOLDER / f"{name}.s"
    if name not in names():
        raise InputError(f"{name}: no such program; there are {', '.join(names())}", stage=STAGE)
    folder = out / OUT
    make_folder(folder, stage=STAGE)
    path = folder / name
    write_atomic(path, elf.write(image(source)), stage=STAGE)
    return path


def resolve(modules: Sequence[Path], out: Path) -> list[Path]:
    """The files of ``--module``: where one is no file but the name of a program, that program is built.

    Raises:
        InputError: as ``build``.
    """
    known = names()
    return [build(path.name, out) if str(path) in known and not path.exists() else path for path in modules]
