"""Which operand forms GNU as knows, by mnemonic and mode."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from toolchain.types import Mode

OPEN = False
_FORMS: dict[str, dict[int, frozenset[str]]] = {}


def known_mnemonic(mnemonic: str) -> bool:
    """Whether any form of ``mnemonic`` is supported."""
    return True


def known(mode: Mode, mnemonic: str, tokens: Sequence[tuple[str, ...]]) -> bool:
    """Whether the form is one of GNU as's."""
    return True
