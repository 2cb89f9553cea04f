"""A program in memory, and the bytes that carry it: what assembler, engines and cartridges hand to one another.

Owns the program's bounds, its serial form and its digest. Knows no picture and runs nothing.

Serial form, all numbers 32 bits little-endian: ``PXVM``, version, instructions, bytes of data, bytes of memory,
entry, SHA-256 (32 bytes; over everything else in this order), the words, the data padded with zeros to a word.
"""

from __future__ import annotations

import hashlib
import struct
from typing import NamedTuple

from pixelvm import isa
from toolchain.errors import InputError

STAGE = "vm"
MAGIC = b"PXVM"
SUFFIX = ".pxvm"  # of a file that holds the serial form: a boot module for the kernel
_HEAD = struct.Struct("<4s5I")
HEADER = _HEAD.size + hashlib.sha256().digest_size  # bytes before the first word
SERIAL_MAX = HEADER + 4 * isa.CODE_MAX + isa.MEMORY_MAX


class Program(NamedTuple):
    """Code and data. What is not yet known to be in bounds goes through ``checked``.

    Attributes:
        code: words (``isa.word``), 1 to ``isa.CODE_MAX`` of them; a word need not be legal.
        data: what memory begins with; the rest of it is zero.
        memory: bytes of memory, a multiple of ``isa.MEMORY_STEP``, 0 to ``isa.MEMORY_MAX``.
        entry: index of the first instruction.
    """

    code: tuple[int, ...]
    data: bytes = b""
    memory: int = isa.MEMORY_DEFAULT
    entry: int = 0


def checked(program: Program, name: str = "program") -> Program:
    """``program`` when it is within the machine's bounds.

    Raises:
        InputError: it is not; ``name`` begins the message.
    """
    if not 1 <= len(program.code) <= isa.CODE_MAX:
        raise _refuse(name, f"{len(program.code)} instructions; expected 1 to {isa.CODE_MAX}")
    if not all(0 <= word <= isa.MASK for word in program.code):
        raise _refuse(name, "a word of it has more than 32 bits")
    if not 0 <= program.memory <= isa.MEMORY_MAX or program.memory % isa.MEMORY_STEP:
        expected = f"a multiple of {isa.MEMORY_STEP} up to {isa.MEMORY_MAX}"
        raise _refuse(name, f"{program.memory} bytes of memory; expected {expected}")
    if len(program.data) > program.memory:
        raise _refuse(name, f"{len(program.data)} bytes of data in {program.memory} bytes of memory")
    if not 0 <= program.entry < len(program.code):
        raise _refuse(name, f"its entry {program.entry} is none of its {len(program.code)} instructions")
    return program


def _refuse(name: str, message: str) -> InputError:
    return InputError(f"{name}: {message}", stage=STAGE)


def digest(program: Program) -> bytes:
    """SHA-256 of the serial form without the digest itself: names the program in states."""
    return hashlib.sha256(_head(program) + _body(program)).digest()


def to_bytes(program: Program) -> bytes:
    """The serial form; its length is a multiple of 4."""
    return _head(program) + digest(program) + _body(program)


def _head(program: Program) -> bytes:
    return _HEAD.pack(MAGIC, isa.VERSION, len(program.code), len(program.data), program.memory, program.entry)


def _body(program: Program) -> bytes:
    words = struct.pack(f"<{len(program.code)}I", *program.code)
    return words + program.data + bytes(-len(program.data) % 4)


def from_bytes(data: bytes, name: str) -> Program:
    """The program whose serial form ``data`` begins with; behind it there may be nothing but zeros.

    Args:
        data: anybody's bytes.
        name: begins the message of an error.

    Raises:
        InputError: it is none, is of another version, is out of bounds or was changed.
    """
    if len(data) < HEADER or not data.startswith(MAGIC):
        raise _refuse(name, f"no program begins here; expected {MAGIC.decode()}")
    _, version, count, size, memory, entry = _HEAD.unpack_from(data)
    if version != isa.VERSION:
        raise _refuse(name, f"a program of version {version}; this machine runs version {isa.VERSION}")
    if count > isa.CODE_MAX or size > isa.MEMORY_MAX:
        raise _refuse(name, f"{count} instructions and {size} bytes of data are more than a machine holds")
    end = HEADER + 4 * count + size + -size % 4
    if len(data) < end:
        raise _refuse(name, f"cut off: {len(data)} of {end} bytes")
    code = struct.unpack_from(f"<{count}I", data, HEADER)
    start = HEADER + 4 * count
    program = Program(code, data[start : start + size], memory, entry)
    if to_bytes(program) != data[:end] or any(data[end:]):
        raise _refuse(name, "its SHA-256 does not fit; it was changed or damaged")
    return checked(program, name)
