"""Reading a TOML file that a person wrote, or somebody sent: the table in it, or one clear line.

Owns: size, encoding and syntax. What the table must hold is the business of whoever asks for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolchain.errors import InputError
from toolchain.files import read_bounded

BYTES_MAX = 1 << 20


def load(path: Path, *, stage: str, missing: str = "") -> dict[str, Any]:
    """The table in the file ``path``.

    Args:
        path: the file.
        stage: for errors.
        missing: what to do about a file that does not exist.

    Raises:
        InputError: it cannot be read, is too large, is no UTF-8 text or no TOML.
    """
    return parse(text(path, stage=stage, missing=missing), path, stage=stage)


def text(path: Path, *, stage: str, missing: str = "") -> str:
    """The text of the file ``path``; arguments and errors as for ``load``."""
    data = read_bounded(path, BYTES_MAX, stage=stage, missing=missing)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        message = f"{path}: not UTF-8 text (byte {error.start}); write it as text"
        raise InputError(message, stage=stage) from error


def parse(text: str, name: Path | str, *, stage: str) -> dict[str, Any]:
    """The table in ``text``; ``name`` stands before the complaint.

    Raises:
        InputError: it is no TOML.
    """
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{name}: not valid TOML: {error}", stage=stage) from error
    except RecursionError as error:
        raise InputError(f"{name}: not valid TOML: nested too deeply", stage=stage) from error
    except ValueError as error:
        raise InputError(f"{name}: a number of thousands of digits", stage=stage) from error
