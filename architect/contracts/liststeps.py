"""The lists of free blocks, each routine alone: doubly linked through the blocks, one list per zone and order.

Layouts are those of ``include/frame.inc``: a block begins with its next and its previous one (physical, 0 = none), a
list has the first block and a count, a zone a mask with a bit for each list that is not empty.
"""

from __future__ import annotations

import random
import struct

from architect.contracts import contract
from architect.contracts.steps import Step
from toolchain.harness import Harness

_PAGE, _ZONE = 0x1000, 1 << 32
_ORDERS = (0, 1, 9, 18)
_LIST, _LISTS = 1 << 4, 1 << 9  # bytes of a list, of a zone's lists
_BEHIND = struct.pack(
    "<2Q", 0x5A5A_5A5A_5A5A_5A5A, 0xC3C3_C3C3_C3C3_C3C3
)  # what lies in a block after its links
_NEEDS = ("frame_lists", "frame_list_masks", "frame_is_free", "frame_damaged")


class Lists(Step):
    """Lists of free blocks and the model beside them: zone, order -> blocks, first one first."""

    def __init__(self, harness: Harness, routine: str) -> None:
        super().__init__(harness, routine)
        self.lists: dict[tuple[int, int], list[int]] = {}
        harness.memory(harness.direct_base + _ZONE, 16 * _PAGE)
        self.put("frame_lists", bytes(2 * _LISTS))
        self.put("frame_list_masks", bytes(8))
        self.stand(
            "frame_is_free", "rdi", "rsi", answer=lambda at, order: {"cf": int(not self.has(at, order))}
        )

    def has(self, block: int, order: int) -> bool:
        """Whether a free block of an order begins at an address."""
        return block in self.lists.get((block // _ZONE, order), ())

    def make(self, zone: int, order: int, blocks: list[int]) -> None:
        """A list as it should be, in memory and in the model."""
        self.lists[zone, order] = blocks
        for n, block in enumerate(blocks):
            following = blocks[n + 1] if n + 1 < len(blocks) else 0
            self.put(self.place(block), struct.pack("<2Q", following, blocks[n - 1] if n else 0) + _BEHIND)
        row = struct.pack("<2Q", blocks[0] if blocks else 0, len(blocks))
        self.put(self.at("frame_lists", zone * _LISTS + order * _LIST), row)
        mask = sum(1 << n for (of, n), found in self.lists.items() if of == zone and found)
        self.put(self.at("frame_list_masks", 4 * zone), mask.to_bytes(4, "little"))

    def place(self, block: int) -> int:
        """Where the kernel sees a block."""
        return self.harness.direct_base + block

    def state(self) -> tuple[bytes, ...]:
        """The lists, the masks, and each block that the model has."""
        read, at = self.harness.read, self.at
        blocks = sorted(block for found in self.lists.values() for block in found)
        heads = read(at("frame_lists"), 2 * _LISTS), read(at("frame_list_masks"), 8)
        return (*heads, *(read(self.place(block), 32) for block in blocks))

    def compared(self, promise: str, **given: int) -> None:
        """What the routine has left is what the model would have made."""
        left = self.state()
        for (zone, order), blocks in self.lists.items():
            self.make(zone, order, blocks)
        self.same(left, self.state(), promise, **given)


def _blocks(zone: int, order: int, count: int) -> list[int]:
    """Addresses of blocks; those of one zone and order are apart from all others."""
    first = zone * _ZONE + (1 + 3 * _ORDERS.index(order)) * _PAGE
    return [first + n * _PAGE for n in range(count)]


@contract("frame_list_push", needs=_NEEDS)
def push_alone(harness: Harness) -> None:
    """The block comes first, whatever its links were; the list is no longer empty."""
    step = Lists(harness, "frame_list_push")
    for zone in (0, 1):
        for order in _ORDERS:
            blocks = _blocks(zone, order, 3)
            for block in blocks:
                step.put(step.place(block), b"\xff" * 16 + _BEHIND)
                step.run("fails", rdi=block, rsi=order)
                step.lists.setdefault((zone, order), []).insert(0, block)
                step.compared("leaves another list", rdi=block, rsi=order)


@contract("frame_list_take", needs=_NEEDS)
def take_alone(harness: Harness) -> None:
    """The first, a middle and the last block, until none is left; where a link is damaged nothing is changed."""
    step = Lists(harness, "frame_list_take")
    noise = random.Random(7)
    for zone in (0, 1):
        for order in _ORDERS:
            step.make(zone, order, _blocks(zone, order, 3))
    for key in step.lists:
        while step.lists[key]:
            block = noise.choice(step.lists[key])
            given = {"rdi": block, "rsi": key[1]}
            step.run("takes a sound block for a damaged one", cf=0, **given)
            step.lists[key].remove(block)
            step.compared("leaves another list", **given)
    first, second, third = _blocks(0, 0, 3)
    foreign = _blocks(0, 1, 1)[0]  # free, of another order
    step.make(0, 1, [foreign])
    for block, owner, field, link in (
        (first, first, 0, foreign), (second, second, 0, 0x7F_F000), (first, second, 8, third), (second, third, 8, 0),
        (third, third, 8, foreign), (second, second, 8, first + 8), (third, second, 0, first),
        (second, first, 0, third), (second, second, 8, 0),
    ):  # fmt: skip
        step.make(0, 0, [first, second, third])
        step.put(step.place(owner) + field, link.to_bytes(8, "little"))
        before, damaged = step.state(), step.get64("frame_damaged")
        given = {"rdi": block, "rsi": 0}
        step.run("does not notice links that were overwritten", cf=1, **given)
        step.same(step.get64("frame_damaged"), damaged + 1, "does not count what was damaged", **given)
        step.same(step.state(), before, "changes a list that is damaged", **given)


@contract("frame_list_cut", needs=_NEEDS)
def cut_alone(harness: Harness) -> None:
    """The list is empty, and no other one."""
    step = Lists(harness, "frame_list_cut")
    for zone in (0, 1):
        for order in _ORDERS:
            step.make(zone, order, _blocks(zone, order, 2))
    for key, blocks in step.lists.items():
        given = {"rdi": blocks[0], "rsi": key[1]}
        step.run("fails", **given)
        step.lists[key] = []
        step.compared("leaves another list", **given)
