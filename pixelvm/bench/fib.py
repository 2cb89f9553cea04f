"""fib(32) by calling itself."""


def fib(n: int) -> int:
    """The n-th Fibonacci number."""
    if n < 2:
        return n
    return fib(n - 1) + fib(n - 2)


def run() -> int:
    """The result."""
    return fib(32)
