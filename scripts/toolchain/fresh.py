"""One build in a process that makes just one: what is kept is taken, the rest is assembled, on two cores.

Owns: the order of the steps, and which of them can be left out. It knows no errors: where anything is wrong it makes
nothing, and ``session`` tells all errors at once. Writes nothing but what is kept for later runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain import forked, packed
from toolchain.errors import InputError
from toolchain.kerneltree import reader, source_names

if TYPE_CHECKING:
    from toolchain.layout import Layout
    from toolchain.objects import Objects, Products
    from toolchain.preprocess import Preprocessor
    from toolchain.types import Image

_STAGE = "build"
FEW = 64 << 10  # bytes of sources that are one process's work, while another takes what is kept


class Fresh:
    """A build of ``tree`` (resolved). Use as a context manager: worker processes belong to it.

    Args:
        tree: the kernel tree.
        cache: where object files are kept between runs, or None.

    Attributes:
        names: the units, in the order of the image; empty when the tree is in error.
        current: those of which the object was kept.
        generated: the generated includes by name.
        made: what ``image`` returned last.
    """

    def __init__(self, tree: Path, cache: Path | None) -> None:
        from toolchain.encode_guard import Guard

        self._tree = tree
        self._guard, self._twin = Guard(), Guard()
        self._kept: Objects | None = None
        self._new: packed.Assembly | None = None
        self.made: tuple[Image, dict[str, str]] | None = None
        self.names: list[str] = []
        self.current: list[str] = []
        self.generated: dict[str, str] = {}
        if cache is not None:
            from toolchain.objects import Objects

            self._kept = Objects(cache, tree)
        known = self._kept is not None and self._kept.load()
        if not known:
            # The worker loads its libraries while this process loads the rest.
            self._guard.start_with(self._twin) if forked.available() else self._guard.start()
        try:
            self._look(known)
        except InputError:
            self.names = []
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Fresh:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker processes."""
        self._twin.close()
        self._guard.close()

    def _look(self, known: bool) -> None:
        """Find the units, and those that are kept."""
        from toolchain import generate, layout, tomlfile

        path = self._tree / "image.toml"
        self._layout_text: str = tomlfile.text(path, stage=_STAGE)
        self._layout: Layout = layout.parse(self._layout_text, path)
        self.generated = generate.texts(self._tree)
        self._reader: Preprocessor = reader(self._tree, self._layout, self.generated)
        names = source_names(self._tree, self._layout.sources, {})
        if self._kept is not None and known:
            self.current = self._kept.current(names, self._reader)
        self.names = names

    def products(self) -> Products | None:
        """What an earlier run made of the same tree, when that is kept."""
        if self._kept is None or not self.names or len(self.current) < len(self.names):
            return None
        return self._kept.products(self.names, self._layout_text)

    def image(self) -> tuple[Image, dict[str, str]] | None:
        """The image, and the texts of its sources by name; None when there are errors to be told."""
        if not self.names:
            return None
        try:
            self.made = self._assembled_and_linked()
        except InputError:
            return None
        finally:
            self.close()
        if self.made is not None and self._kept is not None and self._new is not None:
            self._kept.add(self.names, self._new)
        return self.made

    def _assembled_and_linked(self) -> tuple[Image, dict[str, str]] | None:
        kept = self._kept
        current = set(self.current)
        missing = {name: (self._tree / name).stat().st_size for name in self.names if name not in current}
        child = self._begun(missing) if kept is not None and current and missing else None
        try:
            # What a second process can assemble meanwhile, this one need not even load.
            known, texts = kept.take(self.current, self._reader) if kept is not None else ({}, {})
            from toolchain import link

            if child is not None:
                result = child.result()
                self._new = packed.received(result) if result is not None else None
            elif missing:
                self._new = self._assembled(missing)
        finally:
            if child is not None:
                child.cancel()
        if missing and self._new is None:
            return None
        objects = {name: symbols.unit for name, symbols in known.items()}
        if self._new is not None:
            for name, item in self._new.made.items():
                objects[name] = item.object
                if item.symbols is not None:
                    known[name] = item.symbols
            texts |= self._new.texts
        work = link.Kept()
        work.symbols = {unit: known[name] for unit, name in enumerate(self.names) if name in known}
        return link.link([objects[name] for name in self.names], self._layout, work), texts

    def _begun(self, missing: Mapping[str, int]) -> forked.Forked | None:
        """A second process that assembles a few units; None where it does not pay."""
        if sum(missing.values()) >= FEW or not forked.available():
            return None

        def work() -> object:
            try:
                found = self._assembled(missing)
            finally:
                self.close()  # the worker that this process has started, if it had to
            return None if found is None else packed.carried(found, answers=True)

        return forked.Forked(work)

    def _assembled(self, missing: Mapping[str, int]) -> packed.Assembly | None:
        from toolchain.parallel import assemble

        answers = self._kept.answers() if self._kept is not None else {}
        tracer = self._kept.trace if self._kept is not None else None
        return assemble(missing, self._reader, (self._guard, self._twin), answers, tracer)

    def keep(self) -> bool:
        """Keep the objects that ``image`` made for later runs; False where nothing of this build may be kept."""
        return self._kept is not None and self.made is not None and self._kept.keep()

    def keep_products(self, products: Products) -> None:
        """Keep what the products are, if ``keep`` has said that it may be."""
        if self._kept is not None:
            self._kept.keep_products(self.names, self._layout_text, products)
