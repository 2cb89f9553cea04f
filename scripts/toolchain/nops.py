"""What GNU as puts into the gap of an alignment in code.

Owns the nop patterns of gas 2.40 (``tc-i386.c``, ``i386_generate_nops``): ``alt_patt`` for 32- and 64-bit code,
``f16_patt`` for 16-bit code, and the jump over long gaps.
"""

from __future__ import annotations

from functools import lru_cache

from toolchain.types import Mode

_LONG = tuple(
    bytes.fromhex(text)
    for text in (
        "90", "6690", "0f1f00", "0f1f4000", "0f1f440000", "660f1f440000", "0f1f8000000000", "0f1f840000000000",
        "660f1f840000000000", "662e0f1f840000000000", "66662e0f1f840000000000",
    )
)  # fmt: skip
_WORD = tuple(bytes.fromhex(text) for text in ("90", "6690", "8d7400", "8db40000"))
_SHORT_JUMP_MAX = 127
_LONG_NOPS_MAX = 7
_WORD_NOPS_MAX = 2


@lru_cache(maxsize=1024)
def fill(count: int, mode: Mode) -> bytes:
    """``count`` bytes that do nothing when executed in ``mode``."""
    patterns, most = (_WORD, _WORD_NOPS_MAX) if mode == 16 else (_LONG, _LONG_NOPS_MAX)
    head = b""
    longest = len(patterns)
    if count // longest > most:
        count -= 2
        if count <= _SHORT_JUMP_MAX:
            head = b"\xeb" + bytes([count])
        else:
            prefix = b"\x66\xe9" if mode == 16 else b"\xe9"
            count -= len(prefix) + 4 - 2
            head = prefix + count.to_bytes(4, "little")
    whole, rest = divmod(count, longest)
    return head + patterns[-1] * whole + (patterns[rest - 1] if rest else b"")


def agree(one: Mode, other: Mode) -> bool:
    """Whether gaps are filled alike in both modes."""
    return one == other or 16 not in (one, other)
