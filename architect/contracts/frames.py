"""The frame allocator, driven as a black box: free ranges in, frames out.

No frame twice, none outside the ranges, all of them in the end; what is given back comes again; a double free, a
misaligned one and one of a frame that was never handed out are refused, and running out is an answer.
"""

from __future__ import annotations

import random

from architect.contracts import contract
from architect.contracts.model import MALFORMED, NO_MEMORY, Session
from toolchain.harness import Harness

_PAGE = 4096
_RANGES = ((0x20000, 0x62000), (0x70000, 0x71000), (0x80000, 0x84000))  # more frames than a quadword has bits
_STEPS = 36
_DIRT = b"\xc3" * _PAGE


class _Frames(Session):
    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.held: set[int] = set()
        free = harness.address("memory_free")
        for first, end in _RANGES:
            # Memory holds whatever it held; the allocator's own records must be made.
            harness.write(harness.direct_base + first, b"\xff" * (end - first))
            self.call("ranges_add", rdi=free, rsi=first, rdx=end)
        self.call("memory_make_regions")

    def allocate(self) -> bool:
        """Take a frame; False when there is none."""
        result = self.call("frame_alloc")
        if result.flag("cf"):
            self.equal(result.registers["rax"], NO_MEMORY, "frame_alloc", "gives another reason to refuse")
            return False
        frame = result.registers["rax"]
        self.expect(frame % _PAGE == 0, "frame_alloc", "hands out an address that is not page-aligned")
        inside = any(first <= frame < end for first, end in _RANGES)
        self.expect(inside, "frame_alloc", "hands out memory that is not free")
        self.expect(frame not in self.held, "frame_alloc", "hands out a frame that is in use")
        self.held.add(frame)
        # The owner writes all of its frame; an allocator that keeps state there while it is in use loses it.
        self.harness.write(self.harness.direct_base + frame, _DIRT)
        return True

    def free(self, frame: int, *, valid: bool) -> None:
        """Give a frame back; a wrong one must be refused."""
        result = self.call("frame_free", rdi=frame)
        promise = "refuses a frame that is in use" if valid else "takes back a frame that is not in use"
        self.expect(result.flag("cf") != valid, "frame_free", promise, rdi=frame)
        if valid:
            self.held.discard(frame)
        self.counted()

    def counted(self) -> None:
        """The allocator's own count, which the boot reports."""
        used = self.harness.read_u64(self.harness.address("frame_used"))
        self.equal(used, len(self.held), "frame_alloc", "counts other frames as used")

    def damage(self) -> None:
        """A free frame is written by somebody who does not own it: its link leads nowhere, or to a frame in use."""
        held = sorted(self.held)
        for link in (0x1234_5678_9ABC_D000, held[0], held[0] + 8, _RANGES[-1][1]):
            frame = held[-1]
            self.free(frame, valid=True)
            self.harness.write_u64(self.harness.direct_base + frame, link)
            first = self.call("frame_alloc")
            self.expect(not first.flag("cf"), "frame_alloc", "loses the frame whose link is damaged")
            self.held.add(first.registers["rax"])
            second = self.call("frame_alloc")
            refused = second.flag("cf") and second.registers["rax"] == MALFORMED
            self.expect(refused, "frame_alloc", "follows a damaged list", link=link)
            self.counted()
            self.expect(
                not self.allocate(), "frame_alloc", "hands out a frame from a damaged list", link=link
            )


@contract(
    "frame_alloc", "frame_free", "frame_take_fresh", "frame_bit_find", "frame_region_find", "memory_make_regions",
    needs=("memory_free", "ranges_add", "frame_free", "memory_make_regions", "frame_used", "frame_total"),
)  # fmt: skip
def frame_allocator(harness: Harness) -> None:
    """Random takes and returns, then all frames, then some of them back and out again."""
    noise = random.Random(3)
    frames = _Frames(harness)
    for _ in range(_STEPS):
        held = sorted(frames.held)
        choice = noise.random()
        if choice < 0.5 or not held:
            frames.allocate()
        elif choice < 0.8:
            frame = noise.choice(held)
            frames.free(frame, valid=True)
            if choice < 0.6:
                frames.free(frame, valid=False)
        else:
            wrong = noise.choice(
                (held[0] + 8, _RANGES[-1][1], _RANGES[-1][1] - _PAGE, _RANGES[0][0] - _PAGE, 0)
            )
            frames.free(wrong, valid=False)
    while frames.allocate():
        pass
    total = sum(end - first for first, end in _RANGES) // _PAGE
    # An allocator may keep its own records in the ranges it was given: a page for each of them.
    enough = total - len(_RANGES) <= len(frames.held) <= total
    frames.expect(enough, "frame_alloc", "is out of memory before the memory is", got=len(frames.held))
    told = harness.read_u64(harness.address("frame_total"))
    frames.equal(told, len(frames.held), "memory_make_regions", "counts another number of frames")
    before = len(frames.held)
    for frame in noise.sample(sorted(frames.held), 12):
        frames.free(frame, valid=True)
    while frames.allocate():
        pass
    frames.equal(len(frames.held), before, "frame_free", "loses frames that were given back")
    frames.damage()
