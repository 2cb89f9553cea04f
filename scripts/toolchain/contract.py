"""The constants and strings that the kernel and the host share, for Python.

Owns: reading ``contract.toml``, the one source of them (``toolchain.generate`` writes the same for the
assembler). Read at first use, not at import. ``contract.DEBUG_EXIT_PORT`` reads as an attribute, like a declared
constant. Never: a value of its own.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import NamedTuple

from toolchain.errors import InternalError

SOURCE = Path(__file__).with_name("contract.toml")

_NAME = re.compile(r"[A-Z][A-Z0-9_]*")


class Contract(NamedTuple):
    """What ``contract.toml`` declares.

    Attributes:
        constants: name -> value, unsigned 64 bits.
        strings: name -> printable ASCII text.
        fault_keys: keys of a PXFAULT block in the order the kernel prints them.
    """

    constants: dict[str, int]
    strings: dict[str, str]
    fault_keys: tuple[str, ...]


@cache
def load() -> Contract:
    """The contract, read once per process.

    Raises:
        InternalError: ``contract.toml`` is damaged (it belongs to the toolchain, not to a kernel tree).
    """
    import tomllib

    try:
        data = tomllib.loads(SOURCE.read_text())
        found = Contract(dict(data["constants"]), dict(data["strings"]), tuple(data["fault"]["keys"]))
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise InternalError(f"{SOURCE}: {error}", stage="contract") from error
    for name, value in found.constants.items():
        if not _NAME.fullmatch(name) or type(value) is not int or not 0 <= value < 1 << 64:
            raise InternalError(f"{SOURCE}: {name} = {value!r} is no 64-bit constant", stage="contract")
    for name, text in found.strings.items():
        if not (_NAME.fullmatch(name) and isinstance(text, str) and text.isascii() and text.isprintable()):
            raise InternalError(f"{SOURCE}: {name} = {text!r} is no printable ASCII", stage="contract")
    doubled = found.constants.keys() & found.strings.keys()
    if doubled:
        raise InternalError(f"{SOURCE}: declared twice: {', '.join(sorted(doubled))}", stage="contract")
    return found


def constant(name: str) -> int:
    """The value of a constant, e.g. ``constant("DEBUG_EXIT_PORT")``."""
    return load().constants[name]


def string(name: str) -> str:
    """The text of a string, e.g. ``string("READY_PREFIX")``."""
    return load().strings[name]


def __getattr__(name: str) -> int | str:
    if not _NAME.fullmatch(name):
        raise AttributeError(f"module 'toolchain.contract' has no attribute '{name}'")
    found = load()
    if name in found.constants:
        return found.constants[name]
    if name in found.strings:
        return found.strings[name]
    raise AttributeError(f"contract.toml declares no '{name}'")
