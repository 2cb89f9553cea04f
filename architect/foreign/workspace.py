"""The copy of a foreign tree that a repair works on: its declared sources may be edited, nothing else.

Owns the fence. A repair cannot touch the makefile, the linker script, ``pxos.toml`` or any file that the tree does
not declare, and cannot bring in files of the system.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from architect.protocols import Patch
from architect.workspace import TreeCopy
from toolchain.errors import InputError
from toolchain.foreign import tree as trees
from toolchain.foreign.config import Foreign

STAGE = "workspace"
_BRINGS = re.compile(
    r"(?:\.?\bincbin\b|[.%]include\s*[\"'<]\s*(?:/|[^\"'>]*\.\.)|#\s*(?:include(?:_next)?|embed)\s*[<\"]\s*(?:/|[^\">]*\.\.)"
    r"|#\s*(?:embed|pragma)\b|__has_embed|\b_Pragma\b)",
    re.IGNORECASE,
)


class ForeignCopy(TreeCopy):
    """A foreign tree as it was when the repair began.

    Attributes:
        foreign: what its ``pxos.toml`` says.
        whole: every file with its mode and time, for copies in which it is built.
    """

    def __init__(self, foreign: Foreign) -> None:
        self.tree = foreign.tree
        self.foreign = foreign
        self.suffixes = ()
        self.whole = trees.read(foreign.tree)
        self.files = {name: file.data for name, file in self.whole.items() if file.target is None}
        self._sources = {}
        for name, data in self.files.items():
            if foreign.may_edit(name):
                try:
                    self._sources[name] = data.decode()
                except UnicodeDecodeError:
                    continue  # not a text that can be edited line by line
        if not self._sources:
            raise InputError(
                f"{foreign.tree}: no file fits [kernel] sources = {list(foreign.sources)}", stage=STAGE
            )

    def apply(self, patch: Patch) -> Mapping[str, str]:
        """The changed files only; as ``TreeCopy.apply``, and no new line may bring in a file."""
        for edit in patch.edits:
            for line in edit.new:
                if _BRINGS.search(line) and line not in edit.old:
                    raise InputError(
                        f"{edit.file}:{edit.line}: a repair may not bring in files: {line.strip()!r}",
                        stage=STAGE,
                    )
        return super().apply(patch)


def others(copy: ForeignCopy) -> dict[str, str]:
    """The assembly that may not be edited, for what it defines."""
    return {
        name: data.decode("utf-8", "replace")
        for name, data in copy.files.items()
        if name not in copy.sources() and name.endswith((".inc", ".s", ".S", ".asm", ".nasm", ".mac"))
    }
