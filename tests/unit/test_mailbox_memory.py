"""The mailbox's memory and the allocator of its heap."""

from __future__ import annotations

import os
import random

import pytest

from tests.unit.mailbox_bench import HEAP
from toolchain.errors import InputError
from toolchain.mailbox import layout as m
from toolchain.mailbox.allocator import Heap
from toolchain.mailbox.memory import Memory, create

DATA = m.DATA_AT


class FirstFit:
    """The rule of the specification, plainly: the lowest aligned place where the whole block is free."""

    def __init__(self, size: int) -> None:
        self.granules = [False] * (size // m.HEAP_GRANULE)
        self.used: dict[int, int] = {}

    def allocate(self, size: int) -> tuple[int, int]:
        count = 1
        while count * m.HEAP_GRANULE < size:
            count *= 2
        for at in range(0, len(self.granules) - count + 1, count):
            if not any(self.granules[at : at + count]):
                self.granules[at : at + count] = [True] * count
                self.used[at] = count
                return at * m.HEAP_GRANULE, 0
        return 0, m.ERROR_NO_MEMORY

    def free(self, offset: int) -> tuple[int, int]:
        if offset % m.HEAP_GRANULE:
            return 0, m.ERROR_MISALIGNED
        count = self.used.pop(offset // m.HEAP_GRANULE, 0)
        if not count:
            return 0, m.ERROR_NOT_ALLOCATED
        at = offset // m.HEAP_GRANULE
        self.granules[at : at + count] = [False] * count
        return count * m.HEAP_GRANULE, 0


@pytest.mark.parametrize("seed", range(8))
def test_the_heap_is_aligned_first_fit(seed: int) -> None:
    chance = random.Random(seed)
    heap, plain = Heap(HEAP), FirstFit(HEAP)
    held: list[int] = []
    for _ in range(1500):
        if chance.random() < 0.55:
            size = int(2 ** chance.uniform(0, 14))
            got = heap.allocate(size)
            assert got == plain.allocate(size)
            if not got[1]:
                held.append(got[0])
        else:
            wild = chance.random() < 0.2 or not held
            offset = chance.randrange(0, 2 * HEAP, 128) if wild else held.pop(chance.randrange(len(held)))
            assert heap.free(offset) == plain.free(offset)
            held = [block for block in held if block != offset]
        assert heap.used == len(plain.used)
        assert heap.free_bytes == plain.granules.count(False) * m.HEAP_GRANULE
    for offset in held:
        assert heap.free(offset)[1] == 0
    assert heap.largest() == heap.free_bytes == HEAP


def test_the_memory_cannot_be_cut_off_and_its_size_is_checked() -> None:
    handle = create(m.BYTES_MIN)
    try:
        with pytest.raises(OSError, match="permitted"):
            os.ftruncate(handle, 4096)
        memory = Memory.of(handle)
        assert memory.size == m.BYTES_MIN
        memory.close()
    finally:
        os.close(handle)
    for size in (0, 4096, m.BYTES_MIN + 1, m.BYTES_MAX * 2):
        with pytest.raises(InputError, match="power of two"):
            create(size)
    with pytest.raises(ValueError, match="bytes at"):
        Memory(bytearray(m.BYTES_MIN)).data(m.BYTES_MIN - 4, 8)
