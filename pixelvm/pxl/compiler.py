"""The compiler: from ``.pxl`` text to a program with the source line of every pixel.

Owns the order of the stages and which sources belong together; reads files only through what it is given. The language
is PXL.md.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path, PurePosixPath

from pixelvm.assembler import SOURCE_MAX, Assembly
from pixelvm.pxl import tree
from pixelvm.pxl.checker import check
from pixelvm.pxl.faults import STAGE, Errors, TooMany
from pixelvm.pxl.linker import link
from pixelvm.pxl.parser import parse
from toolchain.errors import InputError
from toolchain.files import read_bounded
from toolchain.source import nearest

LIBRARY = Path(__file__).with_name("library")
SUFFIX = ".pxl"
SOURCES_MAX = 64  # files of one program

Read = Callable[[Path], str]


def compile_text(text: str, name: str, read: Read | None = None) -> Assembly:
    """Compile one source and those that it includes.

    Args:
        text: the source.
        name: of its file, for places; what it includes lies beside it.
        read: gives the text of a file that is included; None: nothing can be included.

    Returns:
        The program, the statement of each of its words, the index of each function, the address of each global.

    Raises:
        InputError: with every error of the sources (the first ``ERRORS_MAX``) as ``diagnostics``, or because the
            program is larger than a machine.
    """
    errors = Errors()
    main = None
    try:
        main = check(_gathered(text, name, read, errors), name, errors)
    except TooMany:
        pass
    except RecursionError:
        message = f"{name}: constants are made of constants too deeply; give some of them as numbers"
        raise InputError(message, stage=STAGE) from None
    errors.stop_if_any(name)
    assert main is not None
    return link(main, name)


def read_source(path: Path) -> str:
    """The text of a file.

    Raises:
        InputError: it cannot be read, is too large or is no text.
    """
    try:
        return read_bounded(path, SOURCE_MAX, stage=STAGE).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: no source: it is not UTF-8 text", stage=STAGE) from error


def _gathered(text: str, name: str, read: Read | None, errors: Errors) -> list[tree.Declaration]:
    """The declarations of a source and of all that belongs to it, each file once."""
    found: list[tree.Declaration] = []
    seen = {Path(name)}
    todo = [(text, name)]
    while todo:
        text, name = todo.pop(0)
        declared = parse(text, name, errors)
        found += declared
        for use in declared:
            if not isinstance(use, tree.Use):
                continue
            path = _library(use, errors) if use.library else _beside(use, name, read, errors)
            if path is None or path in seen:
                continue
            seen.add(path)
            if len(seen) > SOURCES_MAX:
                errors.add(use.place, f"more than {SOURCES_MAX} sources", "fewer files")
                return found
            try:
                source = read_source(path) if use.library or read is None else read(path)
                todo.append((source, str(path) if not use.library else f"library/{path.name}"))
            except InputError as error:
                errors.add(use.place, str(error), "a source file")
    return found


def _library(use: tree.Use, errors: Errors) -> Path | None:
    names = sorted(path.stem for path in LIBRARY.glob(f"*{SUFFIX}"))
    if use.name in names:
        return LIBRARY / f"{use.name}{SUFFIX}"
    errors.add(use.place, f"no library `{use.name}'", nearest(use.name, names, ", ".join(names)))
    return None


def _beside(use: tree.Use, name: str, read: Read | None, errors: Errors) -> Path | None:
    relative = PurePosixPath(use.name)
    if read is None:
        errors.add(use.place, "nothing can be included here", "a source in a file")
    elif relative.is_absolute() or ".." in relative.parts or not relative.name.endswith(SUFFIX):
        errors.add(use.place, f"`{use.name}' cannot be included", "a .pxl file beside this one or below it")
    else:
        return Path(name).parent / relative
    return None
