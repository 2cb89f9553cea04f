"""The stub through which ``harness`` calls a routine: it loads all registers from a block and stores them back.

Setting and reading registers one by one through the emulator's interface costs more than most routines; a stub of
the emulated CPU's own instructions does it within the run. Owns the code of the stub, where it lies, and the form of
the block. Never runs anything.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from toolchain.headers import GENERAL

PAGE = 4096
RETURN_PAGE = 0xFFFF_FE00_0020_0000  # the address that a routine returns to begins it
BASE = RETURN_PAGE - PAGE
SIZE = 3 * PAGE
BLOCK = RETURN_PAGE + PAGE  # a page of its own: stores beside code would flush the emulator's translations

_NAMES = ("rax", "rcx", "rdx", "rbx", "rbp", "rsi", "rdi", *(f"r{n}" for n in range(8, 16)))
_LOAD = struct.Struct("<18Q")  # rflags, the registers, rsp, the routine
_STORE = struct.Struct("<17Q")  # rflags, the registers, rsp
STORED = _STORE.size
_STORED_NAMES = ("rflags", *_NAMES, "rsp")
assert {*_STORED_NAMES} == {*GENERAL, "rflags"}


def _code() -> tuple[bytes, bytes]:
    """The stub up to its call, and what stands at the return address (Intel SDM vol. 2)."""
    pops = bytes.fromhex("58595a5b5d5e5f") + b"".join(bytes((0x41, 0x58 + n)) for n in range(8))
    pushes = b"".join(bytes((0x41, 0x57 - n)) for n in range(8)) + bytes.fromhex("57565553525150")
    enter = (
        b"\x48\xbc" + BLOCK.to_bytes(8, "little") + b"\x9d" + pops
    )  # mov rsp, BLOCK; popfq; pop rax ... r15
    enter += bytes.fromhex("488b2424")  # mov rsp, [rsp]
    routine = BLOCK + _LOAD.size - 8
    enter += b"\xff\x15" + (routine - RETURN_PAGE).to_bytes(4, "little")  # call [rip + ...]
    rsp_at = BLOCK + _STORE.size - 8
    leave = bytes.fromhex("488925") + (rsp_at - RETURN_PAGE - 7).to_bytes(4, "little")  # mov [rip + ...], rsp
    leave += b"\x48\xbc" + rsp_at.to_bytes(8, "little")  # mov rsp, rsp_at
    leave += pushes + b"\x9c\xf4"  # push r15 ... rax; pushfq: MOV and PUSH leave the flags alone; hlt
    return enter, leave


_ENTER_CODE, _LEAVE_CODE = _code()
ENTER = RETURN_PAGE - len(_ENTER_CODE)
HALT = RETURN_PAGE + len(_LEAVE_CODE) - 1  # the hlt that ends a run
CODE = _ENTER_CODE + _LEAVE_CODE
INSTRUCTIONS = 40  # at least as many as the stub itself runs


def load(registers: Mapping[str, int], routine: int) -> bytes:
    """The block for a call: every general register and ``rflags`` by name; RSP is that after the call."""
    rsp = (registers["rsp"] + 8) & ((1 << 64) - 1)
    return _LOAD.pack(registers["rflags"], *[registers[name] for name in _NAMES], rsp, routine)


def stored(block: bytes) -> dict[str, int]:
    """The registers after a call that returned; RSP is that after the return."""
    return dict(zip(_STORED_NAMES, _STORE.unpack(block), strict=True))
