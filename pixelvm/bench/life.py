"""Conway's Life, 128 generations on a torus of 128x128 cells; how many are alive."""

SIDE = 128
GENERATIONS = 128


def run() -> int:
    """The result."""
    now = bytearray(((i * i * 31 + i * 7 & 0xFFFFFFFF) >> 4) % 3 == 0 for i in range(SIDE * SIDE))
    then = bytearray(SIDE * SIDE)
    for _ in range(GENERATIONS):
        for y in range(SIDE):
            up = (y - 1 & SIDE - 1) * SIDE
            row = y * SIDE
            down = (y + 1 & SIDE - 1) * SIDE
            for x in range(SIDE):
                left = x - 1 & SIDE - 1
                right = x + 1 & SIDE - 1
                alive = (
                    now[up + left]
                    + now[up + x]
                    + now[up + right]
                    + now[row + left]
                    + now[row + right]
                    + now[down + left]
                    + now[down + x]
                    + now[down + right]
                )
                then[row + x] = (alive | now[row + x]) == 3
        now, then = then, now
    return sum(now)
