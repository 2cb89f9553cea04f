"""No repair may write the words that say that a kernel is up: what prints them early has repaired nothing.

Owns the comparison of a patch's texts with the tree's ``ready``. Never runs anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from architect.protocols import Patch
from toolchain.errors import InputError
from toolchain.foreign.config import Foreign

STAGE = "workspace"
LEAST = 4  # letters of a text that say something
_STRING = re.compile(r"\"((?:\\.|[^\"\\])*)\"|'([^']{2,})'|`([^`]*)`")
_PLAIN = re.compile(r"[A-Za-z][A-Za-z ,:]{2,}")


def check(foreign: Foreign, sources: Mapping[str, str], patch: Patch) -> None:
    """Refuse a patch that writes a text of ``ready`` where it did not stand.

    Raises:
        InputError: it does.
    """
    if foreign.ready is None:
        return
    wanted = [w.strip() for w in _PLAIN.findall(foreign.ready) if len(w.strip()) >= LEAST]
    before = {text for edit in patch.edits for line in edit.old for text in _texts(line)}
    moved = {text for source in sources.values() for line in source.split("\n") for text in _texts(line)}
    for edit in patch.edits:
        for line in edit.new:
            for text in _texts(line):
                new = text not in before and (text not in moved or _grown(text, patch))
                if new and (re.search(foreign.ready, text, re.MULTILINE) or any(w in text for w in wanted)):
                    where = f"{edit.file}:{edit.line}"
                    raise InputError(
                        f"{where}: a repair may not write what ready looks for: {text!r}", stage=STAGE
                    )


def _grown(text: str, patch: Patch) -> bool:
    """Whether a patch adds a text more often than it takes it away."""
    added = sum(_texts(line).count(text) for edit in patch.edits for line in edit.new)
    taken = sum(_texts(line).count(text) for edit in patch.edits for line in edit.old)
    return added > taken


def _texts(line: str) -> list[str]:
    return [a or b or c for a, b, c in _STRING.findall(line)]
