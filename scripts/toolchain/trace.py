"""What the runs of an emulated machine executed and read: the coverage that spectrum-based localisation wants.

Owns the recording. While ``recording`` is in force, every ``Emulator`` that is made notes for each of its runs the
basic blocks, the transfers between them and the reads of the image's data. Never changes a run; knows no source lines.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from toolchain.types import Image


@dataclass(slots=True)
class Coverage:
    """One run.

    Attributes:
        blocks: address -> length in bytes of every basic block that was entered.
        edges: (start of a block, start of the block after it), in pairs that occurred.
        reads: addresses of the image's data that were read.
    """

    blocks: dict[int, int] = field(default_factory=dict)
    edges: set[tuple[int, int]] = field(default_factory=set)
    reads: set[int] = field(default_factory=set)


class Recorder:
    """The runs of every machine made while it was in force, in order."""

    def __init__(self) -> None:
        self.runs: list[Coverage] = []

    def attach(self, uc: Any, constants: Any, image: Image, bits: int) -> None:
        """Listen to a machine of 64 or 32 ``bits`` with ``image`` in it, at its virtual and its physical addresses."""
        for section in image.sections:
            if not section.size:
                continue
            for base in {section.address, section.physical}:
                if "x" in section.flags:
                    uc.hook_add(constants.UC_HOOK_BLOCK, self._tracer(), None, base, base + section.size - 1)
                uc.hook_add(constants.UC_HOOK_MEM_READ, self._read, None, base, base + section.size - 1)

    def begin(self) -> None:
        """A run of some machine begins."""
        self.runs.append(Coverage())

    def _tracer(self) -> Any:
        before, run = 0, None

        def entered(uc: Any, address: int, size: int, data: object) -> None:
            nonlocal before, run
            current = self.runs[-1]
            if current is run:
                current.edges.add((before, address))
            run, before = current, address
            current.blocks[address] = size

        return entered

    def _read(self, uc: Any, access: int, address: int, size: int, value: int, data: object) -> None:
        self.runs[-1].reads.add(address & 0xFFFF_FFFF_FFFF_FFFF)


_RECORDER: ContextVar[Recorder | None] = ContextVar("recorder", default=None)


def recorder() -> Recorder | None:
    """The recorder in force."""
    return _RECORDER.get()


@contextmanager
def recording() -> Iterator[Recorder]:
    """Record the runs of all machines that are made within."""
    made = Recorder()
    with put(made):
        yield made


@contextmanager
def put(made: Recorder) -> Iterator[None]:
    """Have a recorder in force."""
    token = _RECORDER.set(made)
    try:
        yield
    finally:
        _RECORDER.reset(token)
