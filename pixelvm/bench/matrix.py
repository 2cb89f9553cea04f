"""The product of two 64x64 matrices, added up 32 times over; the sum of its elements."""

SIDE = 64
TIMES = 32


def run() -> int:
    """The result."""
    a = [i * 7 & 255 for i in range(SIDE * SIDE)]
    b = [i * 13 & 255 for i in range(SIDE * SIDE)]
    c = [0] * (SIDE * SIDE)
    for _ in range(TIMES):
        for i in range(SIDE):
            row = i * SIDE
            for j in range(SIDE):
                total = 0
                for k in range(SIDE):
                    total += a[row + k] * b[k * SIDE + j]
                c[row + j] = c[row + j] + total & 0xFFFFFFFF
    return sum(c) & 0xFFFFFFFF
