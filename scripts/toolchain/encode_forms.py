"""Which operand forms of which instruction are accepted: those of GNU as whose encoding here is proven the same.

Owns the reading of ``encode_forms.tsv``. The table is measured, not typed: ``python -m tests.unit.make_forms``
offers every form to GNU as and to the encoder and keeps a form when both give the same bytes; it must be made again
when ``encode_table`` grows. A line is ``mnemonics<tab>forms``; a form is the operands' names (see ``encode_table``)
joined by ``,`` and, after ``@``, the modes that know it (``6`` for 64-bit, ``3`` and ``1``); without ``@``, all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

from toolchain.types import Mode

PATH: Final = Path(__file__).with_name("encode_forms.tsv")
_path = PATH
_LETTER: Final = {64: "6", 32: "3", 16: "1"}
_SIZED: Final = (1, 2, 4, 6, 8, 10, 16, 32, 64)


@lru_cache(maxsize=1)
def _lines() -> dict[str, str]:
    index = {}
    for line in _path.read_text(encoding="ascii").splitlines():
        mnemonics, _, forms = line.partition("\t")
        for mnemonic in mnemonics.split():
            index[mnemonic] = forms
    return index


@lru_cache(maxsize=4096)
def forms(mnemonic: str, mode: Mode) -> frozenset[str]:
    """The forms of ``mnemonic`` in ``mode``; ``""`` is the one without operands."""
    letter = _LETTER[mode]
    found = set()
    for item in _lines().get(mnemonic, "-").split(" "):
        form, _, modes = item.partition("@")
        if (not modes or letter in modes) and form != "-":
            found.add("" if form == "." else form)
    return frozenset(found)


def mnemonics() -> list[str]:
    """Every supported mnemonic, in order."""
    return sorted(_lines())


def use(path: Path) -> None:
    """Take the forms from another file from now on (to make the table anew)."""
    global _path
    _path = path
    _lines.cache_clear()
    forms.cache_clear()


def known_mnemonic(mnemonic: str) -> bool:
    """Whether any form of ``mnemonic`` is supported in any mode."""
    return mnemonic in _lines()


def find(mode: Mode, mnemonic: str, tokens: Sequence[tuple[str, ...]]) -> str | None:
    """The form that operands with these names have, or None when there is none."""
    table = forms(mnemonic, mode)
    form = ",".join([names[0] for names in tokens])
    if form in table:
        return form
    for names in itertools.product(*tokens):
        form = ",".join(names)
        if form in table:
            return form
    return None


def memory_size(mode: Mode, mnemonic: str, form: str) -> int:
    """The size that memory without a named size has in ``form``, when only one can be named; else 0."""
    names = form.split(",")
    if "m" not in names:
        return 0
    at = names.index("m")
    table = forms(mnemonic, mode)
    sizes = [size for size in _SIZED if ",".join((*names[:at], f"m{size}", *names[at + 1 :])) in table]
    return sizes[0] if len(sizes) == 1 else 0
