"""The device heap's allocator in Python: the tree that mailbox_runtime.wgsl keeps on the device.

Owns: which blocks are free. A complete binary tree over the granules: a node holds 1 + the order of the largest free
block below it, 0 when there is none; a block in use is a node that holds 0 over children that say "free". Buddies
join as soon as both are free, so a block can be had wherever its whole aligned range is free. Never holds the bytes.
"""

from __future__ import annotations

from toolchain.mailbox import layout as m


def tree(size: int) -> list[int]:
    """The tree of an empty heap of ``size`` bytes.

    Node n has the children 2n and 2n + 1, the root is 1; entry 0 counts the blocks in use.

    Raises:
        ValueError: ``size`` is not HEAP_GRANULE times a power of two.
    """
    granules = size // m.HEAP_GRANULE
    if size % m.HEAP_GRANULE or granules <= 0 or granules & (granules - 1):
        raise ValueError(f"a heap of {size} bytes")
    levels = granules.bit_length()
    return [0] + [levels - depth for depth in range(levels) for _ in range(1 << depth)]


def levels(size: int) -> int:
    """Levels of the tree: what bounds every loop over it."""
    return (size // m.HEAP_GRANULE).bit_length()


class Heap:
    """A heap of ``size`` bytes: HEAP_GRANULE times a power of two."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.levels = levels(size)
        self.tree = tree(size)
        self.free_bytes = size

    def allocate(self, size: int) -> tuple[int, int]:
        """A block of at least ``size`` bytes: (offset, 0), or (0, error)."""
        if size <= 0:
            return 0, m.ERROR_BAD_FIELD
        if size > self.size:
            return 0, m.ERROR_NO_MEMORY
        wanted = (-(-size // m.HEAP_GRANULE) - 1).bit_length() + 1
        if self.tree[1] < wanted:
            return 0, m.ERROR_NO_MEMORY
        node, here = 1, self.levels
        while here > wanted:
            node *= 2
            if self.tree[node] < wanted:
                node += 1
            here -= 1
        self.tree[node] = 0
        self.tree[0] += 1
        self.free_bytes -= m.HEAP_GRANULE << wanted - 1
        offset = self._offset(node, here)
        while node > 1:
            node //= 2
            self.tree[node] = max(self.tree[2 * node], self.tree[2 * node + 1])
        return offset, 0

    def free(self, offset: int) -> tuple[int, int]:
        """Give a block back: (its bytes, 0), or (0, error)."""
        if offset % m.HEAP_GRANULE:
            return 0, m.ERROR_MISALIGNED
        if offset >= self.size:
            return 0, m.ERROR_NOT_ALLOCATED
        node, here = (1 << self.levels - 1) + offset // m.HEAP_GRANULE, 1
        while node > 1 and self.tree[node]:
            node //= 2
            here += 1
        if self.tree[node] or self._offset(node, here) != offset:
            return 0, m.ERROR_NOT_ALLOCATED
        size = m.HEAP_GRANULE << here - 1
        self.tree[node] = here
        self.tree[0] -= 1
        self.free_bytes += size
        while node > 1:
            node //= 2
            left, right = self.tree[2 * node], self.tree[2 * node + 1]
            self.tree[node] = here + 1 if left == right == here else max(left, right)
            here += 1
        return size, 0

    def largest(self) -> int:
        """Bytes of the largest free block, 0 when there is none."""
        return (m.HEAP_GRANULE << self.tree[1]) >> 1 if self.tree[1] else 0

    @property
    def used(self) -> int:
        """Blocks in use."""
        return self.tree[0]

    def _offset(self, node: int, height: int) -> int:
        """Where the block of a node lies; ``height`` is 1 at the leaves."""
        return (node - (1 << self.levels - height) << height - 1) * m.HEAP_GRANULE
