"""How many primes there are below 500,000, by the sieve of Eratosthenes, four times over."""

LIMIT = 500000
TIMES = 4


def run() -> int:
    """The result."""
    flags = bytearray(LIMIT)
    count = 0
    for _ in range(TIMES):
        for i in range(LIMIT):
            flags[i] = 0
        i = 2
        while i * i < LIMIT:
            if not flags[i]:
                j = i * i
                while j < LIMIT:
                    flags[j] = 1
                    j += i
            i += 1
        for i in range(2, LIMIT):
            if not flags[i]:
                count += 1
    return count
