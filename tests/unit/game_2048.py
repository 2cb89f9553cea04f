"""The game of 2048 in Python: the board, the tiles that appear from the seed, and what is printed."""

from __future__ import annotations

from typing import ClassVar

from pixelvm.isa import next_random

WAYS = {"w": 0, "k": 0, "a": 1, "h": 1, "s": 2, "j": 2, "d": 3, "l": 3}


class Game:
    """One game; tiles are powers of two, 0 is none."""

    COLOURS: ClassVar[dict[int, tuple[int, int, int]]] = {
        0: (205, 193, 180), 1: (238, 228, 218), 2: (237, 224, 200), 3: (242, 177, 121), 4: (245, 149, 99),
        5: (246, 124, 95), 6: (246, 94, 59), 7: (237, 207, 114), 8: (237, 204, 97),
    }  # fmt: skip

    def __init__(self, seed: int) -> None:
        self.board = [0] * 16
        self.score = 0
        self.seed = seed
        self.appear()
        self.appear()

    def random(self, below: int) -> int:
        self.seed = next_random(self.seed)
        return (self.seed >> 8) % below

    def appear(self) -> None:
        empty = [cell for cell in range(16) if not self.board[cell]]
        if empty:
            cell = empty[self.random(len(empty))]
            self.board[cell] = 2 if self.random(10) == 0 else 1

    def play(self, key: str) -> str:
        """One key; gives what is printed after it."""
        way = WAYS[key]
        before = list(self.board)
        for number in range(4):
            cells = [4 * i + number if way in (0, 2) else 4 * number + i for i in range(4)]
            cells = cells[::-1] if way in (2, 3) else cells
            for cell, tile in zip(cells, self.joined([self.board[cell] for cell in cells]), strict=True):
                self.board[cell] = tile
        if self.board != before:
            self.appear()
        return self.shown()

    def joined(self, line: list[int]) -> list[int]:
        tiles = [tile for tile in line if tile]
        out: list[int] = []
        while tiles:
            tile = tiles.pop(0)
            if tiles and tiles[0] == tile:
                tiles.pop(0)
                tile += 1
                self.score += 1 << tile
            out.append(tile)
        return out + [0] * (4 - len(out))

    def shown(self) -> str:
        rows = [self.board[at : at + 4] for at in range(0, 16, 4)]
        lines = ["".join(f"{1 << tile if tile else '.':>6}" for tile in row) for row in rows]
        return "\n".join([f"score {self.score}", *lines]) + "\n"
