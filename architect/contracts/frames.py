"""The frame allocator, driven as a black box: free ranges in, aligned blocks of frames out.

Nothing twice, nothing outside the ranges, each block aligned to its size. A request is refused exactly when no free
block of its size and alignment is left: the property of a buddy system that always joins. What is given back must be
what was handed out; all else is refused, by a code, and counted. Links that somebody wrote over are never followed.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from architect.contracts import contract
from architect.contracts.model import INVALID, NO_MEMORY, NOT_FOUND, Session
from toolchain.harness import Harness

_PAGE, _CHUNK, _FOUR_GB = 1 << 12, 1 << 21, 1 << 32
_ORDER_MAX = 18
_BELOW_4G, _ZEROED = 1, 2
_SMALL = ((0x20000, 0x62000), (0x70000, 0x71000), (0x80000, 0x84000))
_LARGE = ((0x20000, 0x62000), (0x18_3000, 0xE5_8000))  # blocks of 2 and 4 MB, and parts of them at both ends
_FREE, _USED = 0x40, 0x80  # with an order: states of blocks
_DIRT = b"\xc3" * _PAGE
_STEPS = 60
Ranges = Sequence[tuple[int, int]]


def frames_of(first: int, end: int) -> range:
    """The frames that a range of free memory gives: one byte for each frame and each 2 MB lies in its first pages."""
    states = (end - first) // _PAGE + (end - 1) // _CHUNK - first // _CHUNK + 1
    return range(first // _PAGE + -(-states // _PAGE), end // _PAGE)


class Blocks(Session):
    """An allocator over some ranges and the model beside it.

    Attributes:
        held: address of what is in use -> frames; ``orders`` has those taken by order.
        free: the numbers of the frames that are not in use.
    """

    def __init__(self, harness: Harness, ranges: Ranges, stale: int) -> None:
        super().__init__(harness)
        self.held: dict[int, int] = {}
        self.orders: dict[int, int] = {}
        free = harness.address("memory_free")
        beyond = max(end for _, end in ranges) - harness.ram
        if beyond > 0:
            harness.memory(harness.direct_base + harness.ram, beyond)
        for first, end in ranges:
            # Memory holds whatever it held, records of an allocator that ran before too; ours must be made.
            harness.write(harness.direct_base + first, bytes((stale,)) * (end - first))
            self.call("ranges_add", rdi=free, rsi=first, rdx=end)
        self.call("memory_make_regions")
        self.free = {frame for row in ranges for frame in frames_of(*row)}
        self.all = frozenset(self.free)
        told = harness.read_u64(harness.address("frame_total"))
        self.equal(told, len(self.free), "memory_make_regions", "counts another number of frames")

    def counter(self, name: str) -> int:
        """One of the allocator's own counts."""
        return self.harness.read_u64(self.harness.address(name))

    def possible(self, order: int) -> bool:
        """Whether an aligned block of free frames is left."""
        size = 1 << order
        starts = (frame for frame in self.free if not frame % size)
        return any(all(at in self.free for at in range(start, start + size)) for start in starts)

    def take(self, order: int, *, frames: int | None = None, flags: int = 0) -> bool:
        """Ask for a block, or for some frames in a row; False when there is none."""
        routine = "frame_alloc_order" if frames is None else "frame_alloc_span"
        what = {"rdi": order if frames is None else frames, "rsi": flags}
        if routine == "frame_alloc_order" and not order and not flags:
            routine, what = "frame_alloc", {}
        exhausted = self.counter("frame_exhausted")
        result = self.call(routine, limit=900_000, **what)
        block = result.registers["rax"]
        if result.flag("cf"):
            self.equal(block, NO_MEMORY, routine, "gives another reason to refuse", **what)
            self.expect(not self.possible(order), routine, "is out of memory before the memory is", **what)
            self.equal(self.counter("frame_exhausted"), exhausted + 1, routine, "does not count a refusal")
            return False
        size = 1 << order if frames is None else frames
        taken = range(block // _PAGE, block // _PAGE + size)
        self.expect(block % (_PAGE << order) == 0, routine, "hands out a block that is not aligned", **what)
        inside = all(frame in self.all for frame in taken)
        self.expect(inside, routine, "hands out memory that is not free", **what, got=block)
        unused = all(frame in self.free for frame in taken)
        self.expect(unused, routine, "hands out a frame that is in use", **what, got=block)
        self.free.difference_update(taken)
        self.held[block] = size
        if frames is None:
            self.orders[block] = order
        # The owner writes all of it; an allocator that keeps state there while it is in use loses it.
        for frame in {taken[0], taken[len(taken) // 2], taken[-1]}:
            if flags & _ZEROED:
                there = self.harness.read(self.harness.direct_base + frame * _PAGE, _PAGE)
                self.expect(not any(there), routine, "leaves bytes of a block as they were", **what)
            self.harness.write(self.harness.direct_base + frame * _PAGE, _DIRT)
        self.counted(routine)
        return True

    def give(self, block: int) -> None:
        """Give back what was taken."""
        frames, order = self.held.pop(block), self.orders.pop(block, None)
        routine = "frame_free_span" if order is None else "frame_free_order"
        what = {"rdi": block, "rsi": frames if order is None else order}
        if order == 0:
            routine, what = "frame_free", {"rdi": block}
        result = self.call(routine, **what)
        self.expect(not result.flag("cf"), routine, "refuses what was handed out", **what)
        self.equal(result.registers["rax"], 0, routine, "succeeds with an error code", **what)
        self.free.update(range(block // _PAGE, block // _PAGE + frames))
        self.counted(routine)

    def refuse(self, block: int, order: int) -> None:
        """What was not handed out cannot be given back; the code says why, and it is counted."""
        names = ("frame_double_frees", "frame_bad_frees")
        before = [self.counter(name) for name in names]
        what = {"rdi": block, "rsi": order}
        result = self.call("frame_free_order", **what)
        code = result.registers["rax"]
        promise = "takes back what is not in use, or not so"
        self.expect(result.flag("cf"), "frame_free_order", promise, **what)
        free = block // _PAGE in self.free
        codes = (INVALID, NOT_FOUND) if free else (INVALID,)  # memory that was never touched is no block yet
        self.expect(
            code in codes, "frame_free_order", "gives another reason to refuse a free", **what, got=code
        )
        counts = [before[0] + (code == NOT_FOUND), before[1] + (code == INVALID)]
        same = [self.counter(name) for name in names] == counts
        self.expect(same, "frame_free_order", "does not count a free that it refuses", **what)
        self.counted("frame_free_order")

    def twice(self, block: int) -> None:
        """A block that has just been given back is given back again: a double free, whatever it was joined to."""
        result = self.call("frame_free", rdi=block)
        code = result.registers["rax"]
        promise = "does not notice a double free"
        self.expect(result.flag("cf") and code == NOT_FOUND, "frame_free", promise, rdi=block, got=code)

    def counted(self, routine: str) -> None:
        """The allocator's own count, which the boot reports."""
        used = len(self.all) - len(self.free)
        self.equal(self.counter("frame_used"), used, routine, "counts other frames as used")

    def step(self, noise: random.Random, orders: Sequence[int]) -> None:
        """One random operation, right or wrong."""
        choice, held = noise.random(), sorted(self.held)
        if choice < 0.4 or not held:
            self.take(noise.choice(orders), flags=noise.choice((0, 0, _BELOW_4G, _ZEROED)))
        elif choice < 0.5:
            frames = noise.randint(1, 1 << max(orders))
            self.take((frames - 1).bit_length(), frames=frames)
        elif choice < 0.8:
            block = noise.choice(held)
            single = self.orders.get(block) == 0
            self.give(block)
            if single and noise.random() < 0.3:
                self.twice(block)
        else:
            block = noise.choice(held)
            order = self.orders.get(block)
            wrong = [(block + 8, 0), (block, 19), (block, 1 << 40), (0, 0), (_FOUR_GB, 0), (1 << 60, 3)]
            wrong += [(block, n) for n in range(4) if order is not None and n != order]
            wrong += [(block + _PAGE, 0)] if order else []
            wrong += [(noise.choice(sorted(self.free)) * _PAGE, noise.randint(0, 2))] if self.free else []
            anywhere = noise.choice(sorted(self.all)) * _PAGE
            wrong += [(anywhere, 9)] * 3 if self.orders.get(anywhere) != 9 else []
            self.refuse(*noise.choice(wrong))

    def neighbours(self) -> None:
        """A part of a block in use behind a free one: no double free, though the blocks would be buddies."""
        while not (pairs := [at for at in self.orders if at ^ 4 * _PAGE in self.orders]):
            self.take(2)
        low = min(pairs[0], pairs[0] ^ 4 * _PAGE)
        self.give(low)
        self.refuse(low + 5 * _PAGE, 0)

    def skip(self) -> None:
        """A link is overwritten by one that leads to a free block as well, which is another's neighbour."""
        singles = sorted(address for address, order in self.orders.items() if not order)
        apart = [at for at in singles if at ^ _PAGE in self.held][:6:2]
        for block in apart:
            self.give(block)
        self.damaged(apart[-1], apart[0], 0)

    def damage(self, link: int, place: int) -> None:
        """A free block is written by somebody who does not own it."""
        block = max(address for address, order in self.orders.items() if not order)
        self.give(block)
        self.damaged(block, link, place)
        self.expect(not self.take(0), "frame_alloc", "hands out a frame from a damaged list", link=link)

    def damaged(self, block: int, link: int, place: int) -> None:
        """The block that is handed out next has its links overwritten."""
        self.harness.write_u64(self.harness.direct_base + block + place, link)
        before = self.counter("frame_damaged")
        took = self.take(0)
        self.expect(took, "frame_alloc", "loses the frame whose link is damaged", link=link)
        noticed = self.counter("frame_damaged") > before
        self.expect(noticed, "frame_list_take", "does not notice links that were overwritten", link=link)


@contract(
    "frame_alloc", "frame_free", "frame_alloc_order", "frame_free_order", "frame_take_pages", "frame_take",
    "frame_give", "frame_trim", "frame_mark_used", "frame_halve", "frame_carve", "frame_carve_order",
    "frame_carve_states", "frame_region_find", "frame_buddy_free", "frame_is_within_free", "frame_list_take",
    "frame_list_push", "frame_list_cut", "frame_list_of", "frame_is_free", "frame_state_find", "frame_state_at",
    "memory_make_regions", "memory_make_region", "frame_alloc_span", "frame_free_span",
    needs=("memory_free", "ranges_add", "frame_free", "memory_make_regions", "frame_used", "frame_total"),
)  # fmt: skip
def frame_allocator(harness: Harness) -> None:
    """Random takes and returns, then all frames, then some of them back and out again, then damage."""
    noise = random.Random(3)
    blocks = Blocks(harness, _SMALL, _FREE)
    blocks.neighbours()
    for _ in range(_STEPS):
        blocks.step(noise, (0, 0, 0, 1, 2, 3))
    while blocks.take(0):
        pass
    blocks.expect(not blocks.free, "frame_alloc", "keeps frames back", got=len(blocks.free))
    singles = [block for block, order in sorted(blocks.orders.items()) if not order]
    for block in noise.sample(singles, min(12, len(singles))):
        blocks.give(block)
    while blocks.take(0):
        pass
    blocks.expect(not blocks.free, "frame_free", "loses frames that were given back")
    damaged = blocks.counter("frame_damaged")
    blocks.equal(damaged, 0, "frame_list_take", "counts damage where none is")
    held = sorted(blocks.held)
    for link in (0x1234_5678_9ABC_D000, held[0], held[0] + 8, _SMALL[-1][1], 1 << 63):
        for place in (0, 8):
            blocks.damage(link, place)
    blocks.skip()


@contract(
    "frame_alloc_order", "frame_alloc_span", "frame_free_order", "frame_free_span", "frame_open_chunk", "frame_trim",
    "frame_carve_states", "frame_carve", "frame_give", "frame_take", "frame_halve", "frame_take_pages",
    needs=("memory_free", "ranges_add", "memory_make_regions", "frame_used", "frame_total"),
)  # fmt: skip
def frame_blocks(harness: Harness) -> None:
    """Blocks around 2 MB, where the states move from frames to chunks; then each order until there is none."""
    blocks, noise = Blocks(harness, _LARGE, _USED | 9), random.Random(5)
    for frames in (0, (1 << _ORDER_MAX) + 1, 1 << 63):
        result = blocks.call("frame_alloc_span", rdi=frames, rsi=0)
        refused = result.flag("cf") and result.registers["rax"] == INVALID
        blocks.expect(refused, "frame_alloc_span", "accepts what is no number of frames", rdi=frames)
    for order, flags in ((_ORDER_MAX + 1, 0), (1 << 32, 0), (0, 4), (0, 1 << 63)):
        result = blocks.call("frame_alloc_order", rdi=order, rsi=flags)
        refused = result.flag("cf") and result.registers["rax"] == INVALID
        promise = "accepts an order or a flag that there is not"
        blocks.expect(refused, "frame_alloc_order", promise, rdi=order, rsi=flags)
    blocks.refuse(0xC0_0000, 9)  # never touched
    blocks.take(10, frames=(1 << 9) + 3)
    blocks.refuse(
        max(blocks.held) + _CHUNK + _CHUNK // 2 + 3 * _PAGE, 9
    )  # a frame of a chunk that was halved
    blocks.take(10)
    for _ in range(_STEPS // 2):
        blocks.step(noise, (0, 1, 5, 8, 9, 9, 10))
    for block in sorted(blocks.held):
        blocks.give(block)
    for order in range(11, 6, -1):
        while blocks.take(order):
            pass


def sequence(harness: Harness, seed: int, steps: int) -> None:
    """One random sequence of operations; raises ``Broken`` at the first violation."""
    noise = random.Random(seed)
    large = seed % 2
    stale = noise.choice((0, 0xFF, _FREE, _USED, _FREE | 9, _USED | 9, _FREE | 1))
    blocks = Blocks(harness, _LARGE if large else _SMALL, stale)
    for _ in range(steps):
        blocks.step(noise, (0, 0, 1, 4, 8, 9, 10) if large else (0, 0, 0, 1, 2, 3, 4))
    for block in sorted(blocks.held):
        blocks.give(block)
    while blocks.take(4):
        pass
