"""What a boot leaves in its folder (``serial.log qemu.log qemu.err boot.json``), written and read back.

Owns: the files' names, the JSON form of a ``BootResult`` with its snapshot (so that a report can be made again from
the folder alone), and the numbers in a PXFAULT block. Never boots and never explains.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from toolchain import files
from toolchain.errors import InputError
from toolchain.types import BootResult, MemoryChunk, OutcomeName, PciBar, Screen, Snapshot, Unit

SERIAL_NAME = "serial.log"
RESULT_NAME = "boot.json"
RESULT_MAX = 256 << 20  # bytes of it
STAGE = "boot"

_LISTS = ("stack", "trace")
_WORDS = ("scope", "name", "unit", "program", "thread")
_MASK = (1 << 64) - 1
_NUMBER = re.compile(r"0[xX]([0-9a-fA-F]{1,16})|([0-9]{1,20})")

T = TypeVar("T")


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
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        return None
    value = int(found[1], 16) if found[1] else int(found[2])
    return value if value <= _MASK else None


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


def from_json(data: Any) -> BootResult:
    """The reverse of ``to_json``. Nothing is taken on trust: the file may be anybody's.

    Raises:
        KeyError, TypeError, ValueError: it is not what ``to_json`` wrote.
    """
    fields = dict(_a(dict, data))
    if fields["outcome"] not in get_args(OutcomeName):
        raise ValueError(f"no outcome {fields['outcome']!r}")
    for name in ("serial", "qemu_log", "stderr_tail"):
        _a(str, fields[name])
    fields["seconds"] = float(fields["seconds"])
    fields["qemu_status"] = None if fields["qemu_status"] is None else _a(int, fields["qemu_status"])
    fields["tests"] = {_a(str, name): _a(bool, passed) for name, passed in _a(dict, fields["tests"]).items()}
    fields["units"] = tuple(map(_unit, _a(list, fields["units"])))
    fields["command"] = tuple(_a(str, word) for word in _a(list, fields["command"]))
    fields["log_dir"] = Path(_a(str, fields["log_dir"])) if fields["log_dir"] else None
    if fields["kernel_fault"] is not None:
        fields["kernel_fault"] = _words(fields["kernel_fault"])
    if fields["panic"] is not None:
        code, words = _a(list, fields["panic"])
        fields["panic"] = (_a(str, code), _a(str, words))
    if fields["snapshot"] is not None:
        fields["snapshot"] = _snapshot(_a(dict, fields["snapshot"]))
    return BootResult(**fields)


def _a(kind: type[T], value: Any) -> T:
    if type(value) is not kind:
        raise TypeError(f"{value!r:.40} is no {kind.__name__}")
    return value


def _words(value: Any) -> dict[str, str]:
    return {_a(str, key): _a(str, text) for key, text in _a(dict, value).items()}


def _unit(value: Any) -> Unit:
    fields = _a(dict, value)
    if fields["state"] not in ("start", "ok", "skip", "fail"):
        raise ValueError(f"no state {fields['state']!r}")
    ticks = _a(int, fields["tsc"]), _a(int, fields["tsc_start"])
    return Unit(_a(str, fields["name"]), fields["state"], *ticks, _words(fields["values"]))


def _snapshot(fields: dict[str, Any]) -> Snapshot:
    registers = {_a(str, name): _a(int, value) for name, value in _a(dict, fields["registers"]).items()}
    memory = tuple(
        MemoryChunk(_a(int, chunk["physical"]), base64.b64decode(_a(str, chunk["data"])))
        for chunk in (_a(dict, item) for item in _a(list, fields["memory"]))
    )
    bars = tuple(map(_bar, _a(list, fields["bars"])))
    screen = None
    if fields["screen"] is not None:
        shown = _a(dict, fields["screen"])
        pixels = base64.b64decode(_a(str, shown["pixels"]))
        screen = Screen(_a(int, shown["width"]), _a(int, shown["height"]), pixels)
    return Snapshot(registers, memory, bars, screen)


def _bar(value: Any) -> PciBar:
    fields = _a(dict, value)
    if fields["kind"] not in ("memory", "io"):
        raise ValueError(f"no kind of BAR {fields['kind']!r}")
    address = None if fields["address"] is None else _a(int, fields["address"])
    vendor, device, class_code, bar, size = (
        _a(int, fields[name]) for name in ("vendor", "device", "class_code", "bar", "size")
    )
    return PciBar(_a(str, fields["slot"]), vendor, device, class_code, bar, address, size, fields["kind"])


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
        return from_json(json.loads(files.read_bounded(path, RESULT_MAX, stage="fault")))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: not a result that pxos boot saved ({error})", stage="fault") from error
