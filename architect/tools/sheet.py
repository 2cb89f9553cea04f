"""The sheet on the desk: the sources of a kernel tree with what is proposed on top.

Owns the proposal: which files it may touch, what it was made for, its diff, the key that names both together. Reads
the tree and writes nowhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from architect.workspace import check_text, hidden
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.workspace import TreeCopy
    from toolchain.headers import Routine

STAGE = "desk"
SHADERS = "shaders/"  # files so named lie beside the kernel tree, in the checkout
SHADER_SUFFIX = ".wgsl"
_FILE_MAX = 1 << 20  # characters of a proposed file


class Sheet:
    """The sources of one tree, and a proposal.

    Args:
        tree: the kernel tree; never written to.
        root: the checkout with manual and shaders; None for the one that this program runs from.

    Attributes:
        changes: proposed texts, by file: of the tree, or ``shaders/NAME.wgsl`` of the checkout.
        bases: SHA-256 of the text that each of them was proposed for.
    """

    def __init__(self, tree: Path, root: Path | None = None) -> None:
        self.tree = tree.resolve()
        self.root = root or Path(__file__).resolve().parents[2]
        self.changes: dict[str, str] = {}
        self.bases: dict[str, str] = {}
        self._copy: tuple[str, TreeCopy] | None = None

    def copy(self) -> TreeCopy:
        """The tree as it lies on disk now.

        Raises:
            InputError: it is no kernel tree.
        """
        from architect.workspace import TreeCopy

        stamp = _stamp(self.tree)
        if self._copy is None or self._copy[0] != stamp:
            self._copy = (stamp, TreeCopy(self.tree))
        return self._copy[1]

    def originals(self) -> dict[str, str]:
        """File -> text of what may be changed, as it lies on disk: the tree's sources and the shaders."""
        shaders = sorted((self.root / "shaders").glob(f"*{SHADER_SUFFIX}"))
        texts = {f"{SHADERS}{path.name}": path.read_text(errors="replace") for path in shaders}
        return {**self.copy().sources(), **texts}

    def sources(self) -> dict[str, str]:
        """As ``originals``, with the proposed changes."""
        return {**self.originals(), **self.changes}

    def texts(self) -> dict[str, str]:
        """File -> text of every source of the kernel, tests and tables among them, with the proposed changes."""
        found = {
            name: data.decode("utf-8", "replace")
            for name, data in self.copy().files.items()
            if name.endswith((".s", ".inc", ".toml", ".md"))
        }
        return {**found, **{n: t for n, t in self.changes.items() if not n.startswith(SHADERS)}}

    def headers(self) -> dict[str, Routine]:
        """Name -> header of every routine, tests' routines left out."""
        from architect.contracts import routines

        return routines({**self.copy().sources(), **self.kernel_changes()})

    def kernel_changes(self) -> dict[str, str]:
        """The proposed changes to the tree, without the shaders."""
        return {name: text for name, text in self.changes.items() if not name.startswith(SHADERS)}

    def propose(self, changed: Mapping[str, str]) -> None:
        """Lay new texts for some files on the desk, over what was proposed before.

        Raises:
            InputError: a file that no repair may touch, or a text that is none; then nothing is taken.
        """
        originals = self.originals()
        for name, text in changed.items():
            self._check_proposal(name, text, originals)
        for name, text in changed.items():
            if originals.get(name) == text:
                self.changes.pop(name, None)
                self.bases.pop(name, None)
            else:
                self.changes[name] = text
                self.bases[name] = digest(originals.get(name, ""))

    def _check_proposal(self, name: str, text: str, originals: Mapping[str, str]) -> None:
        stem = name.removeprefix(SHADERS)
        new_shader = name.startswith(SHADERS) and name.endswith(SHADER_SUFFIX) and _plain(stem)
        if name not in originals and not new_shader:
            raise InputError(
                f"{name}: may not be changed; what may be: *.s and *.inc of the tree (not its tests) and"
                " shaders/NAME.wgsl",
                stage=STAGE,
            )
        if len(text) > _FILE_MAX or "\0" in text:
            raise InputError(f"{name}: a new text of {len(text)} characters is none", stage=STAGE)
        if unseen := hidden(text, originals.get(name, "")):
            raise InputError(f"{name}: a new line holds {unseen}", stage=STAGE)
        if not name.startswith(SHADERS):
            check_text(name, originals[name], text)

    def drop(self) -> list[str]:
        """Take the proposal off the desk; the files it was about."""
        names = sorted(self.changes)
        self.changes.clear()
        self.bases.clear()
        return names

    def check_bases(self) -> None:
        """Hold the proposal to the files that it was made for.

        Raises:
            InputError: one of them has another text by now.
        """
        originals = self.originals()
        for name, base in self.bases.items():
            if digest(originals.get(name, "")) != base:
                raise InputError(
                    f"{name}: was changed since this was proposed; /undo drops the proposal, ask again then",
                    stage=STAGE,
                )

    def diff(self) -> str:
        """The proposal as a unified diff; file names are relative to the tree, shaders' to the checkout."""
        from architect.report import unified

        originals = self.originals()
        return "".join(
            unified(name, originals.get(name, ""), text) for name, text in sorted(self.changes.items())
        )

    def key(self) -> str:
        """Names the sources with the proposal: equal keys, equal images."""
        self.copy()
        assert self._copy is not None
        parts = [self._copy[0], *(f"{n}\0{t}" for n, t in sorted(self.kernel_changes().items()))]
        return hashlib.sha256("\0".join(parts).encode("utf-8", "replace")).hexdigest()


def digest(text: str) -> str:
    """SHA-256 of a text."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _stamp(tree: Path) -> str:
    """Changes when a file of the tree does: names, sizes, times."""
    from architect.workspace import walk

    total = hashlib.sha256(str(tree).encode("utf-8", "surrogateescape"))
    for path in walk(tree):
        seen = path.lstat()
        total.update(f"{path}\0{seen.st_size}\0{seen.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()


def _plain(name: str) -> bool:
    """True for a file name that leads nowhere."""
    return name.replace("_", "").removesuffix(SHADER_SUFFIX).isalnum() and name.isascii()
