"""The numbers of the mailbox, for Python, the assembler and WGSL, from ``mailbox.toml`` alone.

Owns: reading that file (at first use, not at import), the names (``layout.CONTROL_EPOCH`` is ``MAILBOX_CONTROL_EPOCH``
in assembly and WGSL) and the two texts made from it. Never: a number of its own, or an access to shared memory.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from toolchain.errors import InternalError

SOURCE = Path(__file__).with_name("mailbox.toml")
PREFIX = "MAILBOX_"
STAGE = "mailbox"
_NAME = re.compile(r"[A-Z][A-Z0-9_]*")
_SHIFT_RETRY, _SHIFT_TYPE, _SHIFT_CODE = 15, 12, 4  # in a completion's STATUS
_TYPE_MAX, _CODE_MAX = 7, 255
_WORD_BITS = 32
_OPERATION_FIELD = re.compile(r"([A-Z_]+) (0x[0-9a-f]+) ([0-9]+) (.+)")

# group of the file -> (prefix of its names, the key that holds the number)
_GROUPS = {
    "constant": ("", "value"),
    "register": ("IVSHMEM_", "offset"),
    "compatible": ("", "offset"),
    "compatible_status": ("STATUS_", "value"),
    "control": ("CONTROL_", "offset"),
    "service_status": ("SERVICE_", "value"),
    "client_status": ("CLIENT_", "value"),
    "feature": ("FEATURE_", "value"),
    "queue": ("QUEUE_", "offset"),
    "queue_flag": ("QUEUE_FLAG_", "value"),
    "slot": ("SLOT_", "offset"),
    "completion": ("COMPLETION_", "offset"),
    "status_bit": ("COMPLETION_", "value"),
    "flag": ("FLAG_", "value"),
    "operation": ("OP_", "value"),
    "buffer": ("BUFFER_", "offset"),
    "buffer_access": ("ACCESS_", "value"),
    "call": ("CALL_", "value"),
    "window": ("WINDOW_", "value"),
    "counter": ("COUNTER_", "value"),
    "error": ("ERROR_", "value"),
}


class Field(NamedTuple):
    """A field in the body of an operation's slot."""

    name: str
    offset: int
    size: int
    text: str


class Operation(NamedTuple):
    """One row of ``[[operation]]``."""

    name: str
    opcode: int
    flags: int
    fields: tuple[Field, ...]


@cache
def rows() -> dict[str, list[dict[str, Any]]]:
    """The tables of ``mailbox.toml``, with the numbers of errors and counters worked out.

    Raises:
        InternalError: the file is damaged (it belongs to the toolchain, not to a kernel tree).
    """
    import tomllib

    try:
        found: dict[str, list[dict[str, Any]]] = tomllib.loads(SOURCE.read_text(encoding="utf-8"))
        for number, row in enumerate(found["counter"]):
            row["value"] = number
        for row in found["error"]:
            if not (0 < row["type"] <= _TYPE_MAX and 0 < row["code"] <= _CODE_MAX):
                raise InternalError(f"{SOURCE}: error {row['name']}: type or code", stage=STAGE)
            again = 0 if row["retry"] else 1
            row["value"] = again << _SHIFT_RETRY | row["type"] << _SHIFT_TYPE | row["code"] << _SHIFT_CODE
    except (OSError, tomllib.TOMLDecodeError, KeyError) as error:
        raise InternalError(f"{SOURCE}: {error!r}", stage=STAGE) from error
    if found.keys() != _GROUPS.keys():
        raise InternalError(f"{SOURCE}: tables {sorted(found.keys() ^ _GROUPS.keys())}", stage=STAGE)
    return found


def fields(row: dict[str, Any]) -> tuple[Field, ...]:
    """The body of an operation: its ``fields``, each ``NAME offset size text``."""
    out = []
    for text in row["fields"]:
        match = _OPERATION_FIELD.fullmatch(text)
        if match is None:
            raise InternalError(f"{SOURCE}: {row['name']}: {text!r}", stage=STAGE)
        out.append(Field(match[1], int(match[2], 16), int(match[3]), match[4]))
    return tuple(out)


@cache
def constants() -> dict[str, int]:
    """Every number by its name without ``MAILBOX_``.

    Raises:
        InternalError: a name stands twice, or is none.
    """
    out: dict[str, int] = {}

    def add(name: str, value: object) -> None:
        if not _NAME.fullmatch(name) or name in out or type(value) is not int or not 0 <= value < 1 << 64:
            raise InternalError(f"{SOURCE}: {name} = {value!r}", stage=STAGE)
        out[name] = value

    for group, table in rows().items():
        prefix, key = _GROUPS[group]
        for row in table:
            add(prefix + row["name"], row[key])
    for row in rows()["operation"]:
        for field in fields(row):
            add(f"{row['name']}_{field.name}", field.offset)
    add("CMD_NONE", out["INVALID"])
    add("BUFFER_SIZE", sum(row["size"] for row in rows()["buffer"]))
    add("COUNTER_COUNT", len(rows()["counter"]))
    add("VERSION", out["VERSION_MAJOR"] << 16 | out["VERSION_MINOR"])
    return out


@cache
def operations() -> dict[int, Operation]:
    """Opcode -> operation: what flags it takes (besides BARRIER, which all take) and the fields of its body."""
    value = constants()
    out = {}
    for row in rows()["operation"]:
        flags = value["FLAG_BARRIER"]
        for name in row.get("flags", ()):
            flags |= value[f"FLAG_{name}"]
        out[row["value"]] = Operation(row["name"], row["value"], flags, fields(row))
    return out


@cache
def error_names() -> dict[int, str]:
    """The error bits of a completion's STATUS -> name."""
    return {row["value"]: row["name"] for row in rows()["error"]}


def error_name(status: int) -> str:
    """The name of the error in a completion's STATUS; ``OK`` for success."""
    bits = status & constants()["COMPLETION_ERROR"]
    return error_names().get(bits, f"error {bits:#06x}") if bits else "OK"


def assembly() -> str:
    """``mailbox.inc``: only ``.set``, so that any number of units may include it."""
    out = ["# The mailbox. Generated from scripts/toolchain/mailbox/mailbox.toml: edit that, not this.", ""]
    out += [f".set {PREFIX}{name}, {value:#x}" for name, value in constants().items()]
    return "\n".join([*out, ""])


def wgsl() -> str:
    """The same as WGSL constants; what does not fit 32 bits is left out."""
    out = ["// The mailbox. Generated from scripts/toolchain/mailbox/mailbox.toml: edit that, not this."]
    out += [
        f"const {PREFIX}{name}: u32 = {value:#x}u;"
        for name, value in constants().items()
        if value < 1 << _WORD_BITS
    ]
    return "\n".join([*out, ""])


def __getattr__(name: str) -> int:
    if not _NAME.fullmatch(name):
        raise AttributeError(f"module 'toolchain.mailbox.layout' has no attribute '{name}'")
    found = constants().get(name)
    if found is None:
        raise AttributeError(f"mailbox.toml declares no '{name}'")
    globals()[name] = found  # the next look finds it without a call
    return found
