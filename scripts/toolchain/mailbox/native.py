"""The hot path as machine code: serve.s and client.s, assembled by this toolchain, in pages that obey W^X.

Owns: the context that the code works on (its layout goes into ``native.inc``), the pages, the calls. Python's ``Rings``
stays the definition: it does what is rare (resets, overflow, refusals) and what other machines than x86-64 do.
"""

from __future__ import annotations

import ctypes
import mmap
import platform
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.errors import ToolError
from toolchain.mailbox import layout as m
from toolchain.mailbox.memory import Memory
from toolchain.mailbox.rings import ROW_ERROR, ROW_INDEX, ROW_QUEUE, Rings

if TYPE_CHECKING:
    from toolchain.mailbox.rings import Rows

STAGE = "mailbox"
FOLDER = Path(__file__).parent
SOURCES = ("serve.s", "client.s")
ROUNDS = 4096  # looks at all rings in one call: a fraction of a millisecond
ROUNDS_BRIEF = 128  # a few microseconds
WRONG = (1 << 64) - 1  # what ``burst`` answers when a command was answered wrongly
_SCALARS = (
    "BASE", "BATCH", "ROUNDS", "CHECKSUM", "STATUS", "BROKEN", "ATTENTION", "WANTED", "ANSWERED", "FAILED", "BEFORE",
)  # fmt: skip
_TABLES = ("FETCHED", "COMPLETED", "CONSUMED")  # a quadword for each queue
_QUAD = 8
_BASE = 0x1000  # where the code is linked; it does not matter


def offsets() -> dict[str, int]:
    """Field of the context -> offset in bytes."""
    found = {name: _QUAD * n for n, name in enumerate(_SCALARS)}
    found |= {name: _QUAD * (len(_SCALARS) + n * m.QUEUES) for n, name in enumerate(_TABLES)}
    return found


def include() -> str:
    """``native.inc``."""
    rows = {"ROW_INDEX": ROW_INDEX, "ROW_QUEUE": ROW_QUEUE, "ROW_ERROR": ROW_ERROR}
    strides = {
        "RING": m.RING_STRIDE, "ANSWER": m.ANSWER_STRIDE, "BLOCK": m.QUEUE_STRIDE, "SLOT": m.SLOT_SIZE,
        "COMPLETION": m.COMPLETION_SIZE,
    }  # fmt: skip
    values = offsets() | {name: 4 * word for name, word in rows.items()} | {"INDEX_MASK": m.DEPTH - 1}
    values |= {f"{name}_SHIFT": stride.bit_length() - 1 for name, stride in strides.items()}
    return "".join(f".set NATIVE_{name}, {value:#x}\n" for name, value in values.items())


def available() -> bool:
    """Whether this machine runs the code."""
    return platform.machine() == "x86_64" and platform.system() == "Linux"


def assemble() -> tuple[bytes, dict[str, int]]:
    """The code, and the offset of each routine.

    Raises:
        InputError: the source is in error.
    """
    from toolchain import link
    from toolchain.assemble import assemble_units
    from toolchain.encode import Encoder
    from toolchain.layout import Layout, OutputSection
    from toolchain.pool import Pool
    from toolchain.preprocess import Preprocessor

    preprocessor = Preprocessor(FOLDER, [Path()])
    preprocessor.overrides = {"mailbox.inc": m.assembly(), "native.inc": include()}
    objects = assemble_units([preprocessor.run(Path(name)) for name in SOURCES], Pool(Encoder()))
    text = OutputSection(".text", (".text",), "ax", identity=True)
    image = link.link(list(objects), Layout(SOURCES[0], "mailbox_fetch", _BASE, 0, (), (), (text,)))
    section = next(s for s in image.sections if s.name == ".text")
    places = {s.name: s.address - section.address for s in image.symbols if s.name.startswith("mailbox_")}
    return bytes(section.data), places


class Code:
    """The routines, callable; each call lets other threads run."""

    def __init__(self) -> None:
        code, places = assemble()
        self._pages = mmap.mmap(-1, -(-len(code) // mmap.PAGESIZE) * mmap.PAGESIZE)
        self._pages[: len(code)] = code
        start = ctypes.addressof(ctypes.c_char.from_buffer(self._pages))
        library = ctypes.CDLL(None, use_errno=True)
        library.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        if library.mprotect(start, len(self._pages), mmap.PROT_READ | mmap.PROT_EXEC):
            raise ToolError(
                f"mprotect: error {ctypes.get_errno()}: this system refuses pages for machine code",
                stage=STAGE,
            )

        def routine(name: str, *types: Any) -> Any:
            return ctypes.CFUNCTYPE(ctypes.c_uint64, *types)(start + places[name])

        pointer, quad = ctypes.c_void_p, ctypes.c_uint64
        self.fetch = routine("mailbox_fetch", pointer)
        self.post = routine("mailbox_post", pointer, pointer, pointer, pointer, quad)
        self.ping = routine("mailbox_ping", pointer, quad, quad, pointer, ctypes.c_uint32, quad)
        self.ticks = routine("mailbox_ticks")
        self.burst = routine(
            "mailbox_burst", pointer, pointer, quad, ctypes.c_uint32, quad, quad, ctypes.c_uint32
        )


@cache
def code() -> Code:
    """The routines, assembled once."""
    return Code()


def address(memory: Memory) -> int:
    """Where the shared memory is mapped."""
    return ctypes.addressof(ctypes.c_char.from_buffer(memory.buffer))


class NativeRings(Rings):
    """``Rings`` whose fetching and posting is machine code. Same interface, same words, same answers.

    Attributes:
        rounds: looks at all rings in one ``fetch``, and in a brief one.
    """

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        import numpy as np

        self.rounds = (ROUNDS, ROUNDS_BRIEF)
        self._code = code()
        self._np = np
        size = _QUAD * (len(_SCALARS) + len(_TABLES) * m.QUEUES)
        self._context = bytearray(size)
        self._quads = memoryview(self._context).cast("Q")
        self._at = ctypes.addressof(ctypes.c_char.from_buffer(self._context))
        self._places = {name: offset // _QUAD for name, offset in offsets().items()}
        self.fetched, self.completed, self.consumed = (
            self._quads[self._places[name] : self._places[name] + m.QUEUES] for name in _TABLES
        )
        self._set("BASE", address(memory))
        self._set("BATCH", self.batch.ctypes.data)

    def _set(self, name: str, value: int) -> None:
        self._quads[self._places[name]] = value

    def _get(self, name: str) -> int:
        return self._quads[self._places[name]]

    def fetch(self) -> int:
        """Look at every ring until something is there, for a fraction of a millisecond, or briefly."""
        self._set("ROUNDS", self.rounds[self.brief])
        for queue in tuple(self._full):
            self._room(queue)
        self._set("CHECKSUM", self.checksum)
        self._set("BROKEN", sum(1 << queue for queue in self.broken))
        self._set("STATUS", self.memory.words[(m.CONTROL_AT + m.CONTROL_CLIENT_STATUS) >> 2])
        count: int = self._code.fetch(self._at)
        self._took("ANSWERED", "answered")
        self._took("FAILED", "failed")
        self.wanted = _queues(self._get("WANTED"))
        for queue in _queues(self._get("ATTENTION")):
            self._room(queue)
        return count

    def _took(self, field: str, attribute: str) -> None:
        value = self._get(field)
        if value:
            setattr(self, attribute, getattr(self, attribute) + value)
            self._set(field, 0)

    def post(self, rows: Rows, results: Any, errors: Any) -> set[int]:
        """Complete fetched rows."""
        np = self._np
        rows = np.ascontiguousarray(rows)
        results = np.ascontiguousarray(results, np.uint64)
        errors = np.ascontiguousarray(errors, np.uint32)
        return _queues(
            self._code.post(self._at, rows.ctypes.data, results.ctypes.data, errors.ctypes.data, len(rows))
        )


def _queues(mask: int) -> set[int]:
    return {queue for queue in range(m.QUEUES) if mask >> queue & 1} if mask else set()
