"""What a boot leaves in its folder (``serial.log qemu.log qemu.err boot.json``), written and read back.

Owns: the files' names, the JSON form of a ``BootResult`` with its snapshot (so that a report can be made again from
the folder alone), and the numbers in a PXFAULT block. Never boots and never explains.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolchain import files
from toolchain.errors import InputError
from toolchain.types import BootResult, MemoryChunk, PciBar, Screen, Snapshot, Unit

SERIAL_NAME = "serial.log"
RESULT_NAME = "boot.json"
STAGE = "boot"

_LISTS = ("stack", "trace")
_WORDS = ("scope", "name", "unit", "thread")
_MASK = (1 << 64) - 1


def tail(path: Path, size: int) -> bytes:
    """The last ``size`` bytes of a file, from the start of a line; empty when there is none."""
    try:
        with path.open("rb") as file:
            length = file.seek(0, os.SEEK_END)
            file.seek(max(0, length - size))
            data = file.read()
    except FileNotFoundError:
        return b""
    return data if length <= size else data[data.find(b"\n") + 1 :]


def number(text: str) -> int | None:
    """A number as the kernel prints it (``0x``-prefixed hex, or decimal), or None for anything else."""
    text = text.strip()
    try:
        value = int(text, 16) if text[:2].lower() == "0x" else int(text)
    except ValueError:
        return None
    return value if 0 <= value <= _MASK else None


def numbers(values: Mapping[str, str]) -> dict[str, int]:
    """The single numbers of a PXFAULT block: registers, ``vector``, ``error``, ``cpu``..."""
    found = {}
    for key, text in values.items():
        if key not in _LISTS and key not in _WORDS and (value := number(text)) is not None:
            found[key] = value
    return found


def number_list(text: str) -> tuple[int, ...]:
    """Comma-separated numbers up to the first that is none (a cut line ends in half a number's text)."""
    found = []
    for piece in text.split(","):
        value = number(piece)
        if value is None:
            break
        found.append(value)
    return tuple(found)


def to_json(result: BootResult) -> dict[str, Any]:
    """A ``BootResult`` as JSON values; bytes in base64."""
    data = dataclasses.asdict(result)
    data["log_dir"] = str(result.log_dir) if result.log_dir else None
    if result.snapshot:
        for chunk in data["snapshot"]["memory"]:
            chunk["data"] = base64.b64encode(chunk["data"]).decode()
        if data["snapshot"]["screen"]:
            data["snapshot"]["screen"]["pixels"] = base64.b64encode(result.snapshot.screen.pixels).decode()  # type: ignore[union-attr]
    return data


def from_json(data: Mapping[str, Any]) -> BootResult:
    """The reverse of ``to_json``.

    Raises:
        KeyError, TypeError, ValueError: it is not what ``to_json`` wrote.
    """
    fields = dict(data)
    fields["units"] = tuple(Unit(**unit) for unit in fields["units"])
    fields["command"] = tuple(fields["command"])
    fields["panic"] = tuple(fields["panic"]) if fields["panic"] else None
    fields["log_dir"] = Path(fields["log_dir"]) if fields["log_dir"] else None
    if fields["snapshot"]:
        taken = dict(fields["snapshot"])
        taken["memory"] = tuple(
            MemoryChunk(chunk["physical"], base64.b64decode(chunk["data"])) for chunk in taken["memory"]
        )
        taken["bars"] = tuple(PciBar(**bar) for bar in taken["bars"])
        if screen := taken["screen"]:
            taken["screen"] = Screen(screen["width"], screen["height"], base64.b64decode(screen["pixels"]))
        fields["snapshot"] = Snapshot(**taken)
    return BootResult(**fields)


def save(result: BootResult, folder: Path) -> None:
    """Write ``boot.json`` beside the logs.

    Raises:
        InputError: the folder cannot be written.
    """
    files.write_atomic(folder / RESULT_NAME, json.dumps(to_json(result)), stage=STAGE)


def load(path: Path) -> BootResult:
    """Read ``boot.json`` back.

    Raises:
        InputError: it is not a file that ``save`` wrote.
    """
    try:
        return from_json(json.loads(path.read_text()))
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}", stage="fault") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a result that pxos boot saved ({error})", stage="fault") from error
