"""The kernel heap against a model: blocks that never overlap, and every wrong free noticed.

A block keeps what its owner wrote while others come and go; a byte written behind it is noticed when it is freed, and
the block is never handed out again. Double frees and frees of what is no block are told apart and counted.
"""

from __future__ import annotations

import random

from architect.contracts import contract
from architect.contracts.frames import Blocks
from architect.contracts.model import INVALID, MALFORMED, NO_MEMORY, NOT_FOUND, Session
from toolchain.harness import Harness

_RANGES = ((0x20000, 0xA0000),)
_CLASSES = (
    1,
    8,
    16,
    24,
    25,
    56,
    57,
    120,
    248,
    249,
    504,
    1000,
    1016,
    2040,
    2041,
    4088,
    4089,
    8192,
    12000,
    20000,
)
_ALIGNS = (0, 1, 8, 16, 32, 64, 256, 1024, 4096)
_COUNTS = ("heap_double_frees", "heap_bad_frees", "heap_overruns", "heap_exhausted")
_STEPS = 160


class Heap(Session):
    """The heap over real frames, and what is in use of it: address -> size and contents."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.frames = Blocks(harness, _RANGES, 0xFF)
        self.held: dict[int, bytes] = {}
        self.wrong = dict.fromkeys(_COUNTS, 0)

    def counter(self, name: str) -> int:
        """One of the heap's own counts."""
        return self.harness.read_u64(self.harness.address(name))

    def counted(self, routine: str) -> None:
        """What is in use, and what was refused."""
        self.equal(self.counter("heap_blocks"), len(self.held), routine, "counts other blocks")
        total = sum(map(len, self.held.values()))
        self.equal(self.counter("heap_bytes"), total, routine, "counts other bytes")
        for name, number in self.wrong.items():
            self.equal(self.counter(name), number, routine, f"counts {name} otherwise")

    def take(self, size: int, align: int, noise: random.Random, *, zeroed: bool = False) -> int:
        """Ask for a block; 0 when there is no memory."""
        routine = "heap_alloc_zeroed" if zeroed else "heap_alloc"
        what = {"rdi": size, "rsi": align}
        result = self.call(routine, limit=400_000, **what)
        block = result.registers["rax"]
        if result.flag("cf"):
            self.equal(block, NO_MEMORY, routine, "gives another reason to refuse", **what)
            self.wrong["heap_exhausted"] += 1
            self.counted(routine)
            return 0
        self.equal(block % (align or 16), 0, routine, "hands out a block that is not aligned", **what)
        inside = 0x20000 <= block - self.harness.direct_base <= 0xA0000 - size
        self.expect(inside, routine, "hands out memory that is not its own", **what)
        apart = all(block + size <= at or at + len(data) <= block for at, data in self.held.items())
        self.expect(apart, routine, "hands out memory that is in use", **what)
        if zeroed:
            clear = not any(self.harness.read(block, size))
            self.expect(clear, routine, "leaves bytes of a block as they were", **what)
        self.held[block] = noise.randbytes(size)
        self.harness.write(block, self.held[block])
        self.counted(routine)
        return block

    def give(self, block: int) -> None:
        """Give a block back; nobody has changed it meanwhile."""
        data = self.held.pop(block)
        kept = self.harness.read(block, len(data)) == data
        self.expect(kept, "heap_alloc", "changes what lies in a block in use", rdi=block)
        result = self.call("heap_free", rdi=block)
        self.expect(not result.flag("cf"), "heap_free", "refuses a block in use", rdi=block)
        self.equal(result.registers["rax"], 0, "heap_free", "succeeds with an error code", rdi=block)
        self.counted("heap_free")

    def refuse(self, block: int, code: int, name: str) -> None:
        """A wrong free: why, and counted."""
        result = self.call("heap_free", rdi=block)
        self.wrong[name] += 1
        self.expect(result.flag("cf"), "heap_free", "takes back what it must refuse", rdi=block)
        self.equal(result.registers["rax"], code, "heap_free", "gives another reason to refuse", rdi=block)
        self.counted("heap_free")

    def overrun(self, block: int, noise: random.Random) -> None:
        """A byte behind a block is written; it is noticed, and nothing is lost when it is put right."""
        at = block + len(self.held[block]) + noise.randrange(8)
        before = self.harness.read(at, 1)
        self.harness.write(at, bytes((before[0] ^ 1 << noise.randrange(8),)))
        self.refuse(block, MALFORMED, "heap_overruns")
        self.harness.write(at, before)

    def step(self, noise: random.Random) -> None:
        """One random operation, right or wrong."""
        choice, held = noise.random(), sorted(self.held)
        if choice < 0.45 or not held:
            self.take(noise.choice(_CLASSES), noise.choice(_ALIGNS), noise, zeroed=noise.random() < 0.2)
            return
        block = noise.choice(held)
        if choice < 0.8:
            small = len(self.held[block]) <= 1000
            self.give(block)
            others = [at for at in self.held if at >> 14 == block >> 14]
            if small and others:  # the slab is still there
                self.refuse(block, NOT_FOUND, "heap_double_frees")
        elif choice < 0.9:
            self.overrun(block, noise)
        else:
            wrong = noise.choice(
                (block + 8, block + 1, block - 1, 0, 1 << 63, self.harness.direct_base, 0x5000)
            )
            self.refuse(wrong, INVALID, "heap_bad_frees")


@contract(
    "heap_alloc", "heap_free", "heap_alloc_zeroed", "heap_take_large", "heap_give_large", "heap_base_find",
    "heap_canary_check", "heap_take_slot", "heap_give_slot", "slab_make", "slab_take_bit", "slab_unlink",
    "slab_drop_empty",
    needs=("heap_free", "heap_blocks", "heap_bytes", "frame_alloc_order", *_COUNTS),
)  # fmt: skip
def kernel_heap(harness: Harness) -> None:
    """What must be refused, random blocks, slabs filled and emptied; in the end a slab for each class at most."""
    heap, noise = Heap(harness), random.Random(8)
    for size, align in ((0, 0), (1 << 30, 0), (1 << 63, 16), (16, 3), (16, 8192), (16, 1 << 63), (16, 48)):
        result = heap.call("heap_alloc", rdi=size, rsi=align)
        refused = result.flag("cf") and result.registers["rax"] == INVALID
        promise = "accepts a size or an alignment that there is not"
        heap.expect(refused, "heap_alloc", promise, rdi=size, rsi=align)
    for _ in range(_STEPS):
        heap.step(noise)
    for size, most in ((100, 300), (1000, 1000), (1000, 60)):
        while most and heap.take(size, 0, noise):
            most -= 1
        for block in noise.sample(sorted(heap.held), len(heap.held)):
            heap.give(block)
    slabs = 4 * 8  # frames of a slab, classes
    heap.expect(heap.counter("heap_frames") <= slabs, "heap_free", "keeps frames that nobody uses")
    held = heap.frames.counter("frame_used")
    heap.equal(held, heap.counter("heap_frames"), "heap_free", "counts other frames than it holds")


def sequence(harness: Harness, seed: int, steps: int) -> None:
    """One random sequence of operations; raises ``Broken`` at the first violation."""
    heap, noise = Heap(harness), random.Random(seed)
    for _ in range(steps):
        heap.step(noise)
    for block in sorted(heap.held):
        heap.give(block)
