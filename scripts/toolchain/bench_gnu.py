"""The peer of the build bench: the same kernel tree by GNU as and ld.

Owns: which commands that takes, and which unit an edit goes to. Never measures.
"""

from __future__ import annotations

import itertools
from pathlib import Path

from toolchain.tools import GnuAs, GnuLd

STAGE = "bench"


class Gnu:
    """The same tree by GNU as and ld, in a folder of its own."""

    def __init__(self, tree: Path, folder: Path) -> None:
        from toolchain import generate, layout
        from toolchain.build import source_names

        folder.mkdir(parents=True)
        loaded = layout.load(tree / "image.toml")
        self.tree, self.folder = tree, folder
        self.names = source_names(tree, loaded.sources, {})
        generate.generate(tree, folder)
        self.include = [folder / "gen", *(tree / part for part in loaded.include)]
        self.script = folder / "layout.ld"
        self.script.write_text(layout.ld_script(loaded))
        self.assembler, self.linker = GnuAs(STAGE), GnuLd(STAGE)

    def assemble(self, name: str) -> None:
        """Assemble one unit."""
        self.assembler.assemble(self.tree / name, self.object(name), self.include)

    def link(self) -> None:
        """Link all units."""
        self.linker.link([self.object(name) for name in self.names], self.script, self.folder / "k.elf")

    def build(self) -> None:
        """Assemble every unit, one after the other as make does, and link."""
        for name in self.names:
            self.assemble(name)
        self.link()

    def rebuild(self, name: str, source: Path) -> None:
        """Assemble ``source`` in place of the unit ``name``, and link it with the others as they are."""
        edited = self.folder / "edited.o"
        self.assembler.assemble(source, edited, self.include)
        objects = [edited if n == name else self.object(n) for n in self.names]
        self.linker.link(objects, self.script, self.folder / "k.elf")

    def object(self, name: str) -> Path:
        """Where a unit's object file lies."""
        return self.folder / (name.replace("/", "_") + ".o")


class Edits:
    """Edits of one line in one unit, each another one: an instruction before the first return.

    Args:
        tree: the kernel tree.
        names: its units.

    Attributes:
        name: the unit of middling size that has a routine to edit.
    """

    def __init__(self, tree: Path, names: list[str]) -> None:
        fit = [n for n in names if any(a in (tree / n).read_text() for a in _RETURNS)]
        fit.sort(key=lambda n: ((tree / n).stat().st_size, n))
        self.name = fit[len(fit) // 2]
        self._text = (tree / self.name).read_text()
        self._anchor = next(anchor for anchor in _RETURNS if anchor in self._text)
        self._numbers = itertools.count(1)

    def next(self) -> str:
        """The unit's text with an edit that it has not had."""
        return self._text.replace(self._anchor, f"    mov eax, {next(self._numbers)}\n{self._anchor}", 1)


_RETURNS = ("    ret\n", "    return_frame\n")
