"""Reading a TOML file that a person wrote, or somebody sent: the table in it, or one clear line.

Owns: size, encoding and syntax. What the table must hold is the business of whoever asks for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from toolchain.errors import InputError

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
    try:
        with path.open("rb") as file:
            data = file.read(BYTES_MAX + 1)
    except FileNotFoundError as error:
        mend = f"; {missing}" if missing else ""
        raise InputError(f"{path}: no such file{mend}", stage=stage) from error
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}", stage=stage) from error
    if len(data) > BYTES_MAX:
        raise InputError(f"{path}: more than {BYTES_MAX >> 20} MiB; expected a small TOML file", stage=stage)
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
