"""Page tables in memory, built entry by entry: what the walk and the rules are tested on."""

from __future__ import annotations

import struct

from toolchain.types import MemoryChunk

PAGE = 4096
PRESENT, WRITE, USER, LARGE = 1, 2, 4, 1 << 7
NX = 1 << 63
SHIFTS = {"PML4": 39, "PDPT": 30, "PD": 21, "PT": 12}


class Tables:
    """Four levels of tables from ``base`` upwards; ``pages`` holds them and whatever else is put into memory."""

    def __init__(self, base: int = 0x200000) -> None:
        self.root = base
        self.next = base + PAGE
        self.pages: dict[int, bytearray] = {base: bytearray(PAGE)}

    def map(self, address: int, physical: int, flags: int, size: int = PAGE) -> None:
        table = self.root
        for shift in SHIFTS.values():
            at = 8 * (address >> shift & 0x1FF)
            if 1 << shift == size:
                leaf = physical | flags | PRESENT | (LARGE if size > PAGE else 0)
                struct.pack_into("<Q", self.pages[table], at, leaf)
                return
            (entry,) = struct.unpack_from("<Q", self.pages[table], at)
            if not entry:
                entry = self.next | PRESENT | WRITE | USER
                self.pages[self.next] = bytearray(PAGE)
                struct.pack_into("<Q", self.pages[table], at, entry)
                self.next += PAGE
            table = entry & ~0xFFF

    def place(self, address: int, level: str) -> tuple[int, int]:
        """The table page and the offset in it of the entry that the walk uses."""
        table = self.root
        for name, shift in SHIFTS.items():
            at = 8 * (address >> shift & 0x1FF)
            if name == level:
                return table, at
            (entry,) = struct.unpack_from("<Q", self.pages[table], at)
            table = entry & ~0xFFF & ~NX
        raise AssertionError(level)

    def entry(self, address: int, level: str) -> int:
        table, at = self.place(address, level)
        return int(struct.unpack_from("<Q", self.pages[table], at)[0])

    def edit(self, address: int, level: str, entry: int) -> None:
        table, at = self.place(address, level)
        struct.pack_into("<Q", self.pages[table], at, entry)

    def put(self, physical: int, data: bytes) -> None:
        """Bytes into physical memory, within one page."""
        page = self.pages.setdefault(physical & ~0xFFF, bytearray(PAGE))
        page[physical & 0xFFF : (physical & 0xFFF) + len(data)] = data

    def read(self, physical: int, size: int) -> bytes | None:
        page = self.pages.get(physical & ~0xFFF)
        return bytes(page[physical & 0xFFF : (physical & 0xFFF) + size]) if page is not None else None

    def chunks(self) -> tuple[MemoryChunk, ...]:
        return tuple(MemoryChunk(start, bytes(data)) for start, data in self.pages.items())
