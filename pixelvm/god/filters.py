"""Bytes made easier to compress, and back: x86 branches, differences, columns.

Owns bijections of byte strings that keep their length. Each is undone from its kind, its parameter and the bytes
alone, whatever those are. What lies where in a file is ``elfcut``'s; pictures are ``predict``'s.
"""

from __future__ import annotations

import re
from enum import IntEnum

import numpy as np

WIDEST = 255  # bytes of a record


class Filter(IntEnum):
    """Kinds; the number stands in containers."""

    NONE = 0
    X86 = 1
    DELTA = 2
    COLUMNS = 3
    COLUMN_DELTA = 4


# Intel SDM volume 2: CALL rel32, JMP rel32, Jcc rel32
_BRANCH = re.compile(b"[\xe8\xe9]|\x0f[\x80-\x8f]", re.DOTALL)
_OPERAND = 4


def apply(kind: Filter, width: int, data: bytes) -> bytes:
    """``data`` filtered.

    Args:
        kind: the filter.
        width: bytes of a record, 1 to ``WIDEST``; of no meaning to ``NONE`` and ``X86``.
        data: any bytes.
    """
    if kind is Filter.X86:
        return _branches(data, to_absolute=True)
    if kind is Filter.DELTA:
        return _delta(data, width)
    if kind is Filter.COLUMNS:
        return _columns(data, width)
    if kind is Filter.COLUMN_DELTA:
        return _columns(_delta(data, width), width)
    return data


def undo(kind: Filter, width: int, data: bytes) -> bytes:
    """What ``apply`` made ``data`` of."""
    if kind is Filter.X86:
        return _branches(data, to_absolute=False)
    if kind is Filter.DELTA:
        return _sum(data, width)
    if kind is Filter.COLUMNS:
        return _rows(data, width)
    if kind is Filter.COLUMN_DELTA:
        return _sum(_rows(data, width), width)
    return data


def _branches(data: bytes, *, to_absolute: bool) -> bytes:
    """Relative targets as absolute ones, or back.

    At place p of n bytes the displacements from -p to n - 1 are exchanged for as many numbers: those that lead into
    the bytes become 0 to n - 1, the others -p to -1. Any other keeps its value. The search goes on behind the operand
    in either case, so that undoing sees the same opcodes.
    """
    out, size, at = bytearray(data), len(data), 0
    while True:
        found = _BRANCH.search(out, at)
        if found is None or found.end() + _OPERAND > size:
            return bytes(out)
        start = found.end()
        end = at = start + _OPERAND
        value = int.from_bytes(out[start:end], "little", signed=True)
        if -end <= value < size:
            if to_absolute:
                value += end if value < size - end else -size
            else:
                value += size if value < 0 else -end
        out[start:end] = value.to_bytes(_OPERAND, "little", signed=True)


def _delta(data: bytes, width: int) -> bytes:
    array = np.frombuffer(data, np.uint8).copy()
    array[width:] -= np.frombuffer(data, np.uint8)[:-width]
    return array.tobytes()


def _sum(data: bytes, width: int) -> bytes:
    rows = -(-len(data) // width)
    array = np.frombuffer(data.ljust(rows * width, b"\0"), np.uint8).reshape(rows, width)
    return np.cumsum(array, axis=0, dtype=np.uint8).tobytes()[: len(data)]


def _columns(data: bytes, width: int) -> bytes:
    whole = len(data) // width * width
    array = np.frombuffer(data[:whole], np.uint8).reshape(-1, width)
    return array.T.tobytes() + data[whole:]


def _rows(data: bytes, width: int) -> bytes:
    whole = len(data) // width * width
    array = np.frombuffer(data[:whole], np.uint8).reshape(width, -1)
    return array.T.tobytes() + data[whole:]
