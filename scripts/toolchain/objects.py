"""Object files kept between runs, so that a build assembles only what has changed since the last one.

Owns: what is kept of a tree, and which object in it is that of a unit now. An object counts when all that went into it
is the same by content: the unit's text; every file that it included or took with ``.incbin``, generated ones too, and
where each was found; and the toolchain: its sources, the version of Python, Keystone and Capstone (those two by size
and time). Of a whole build it is kept what the
products were, so that a build in which nothing has changed leaves them alone. Whether a file may be believed is
``sealed``'s. Never keeps anything of a build with errors.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolchain import packed
from toolchain.errors import InputError
from toolchain.sealed import DIGEST, Sealed, blake2b, digest
from toolchain.source import SourceFile

if TYPE_CHECKING:
    from toolchain.link_symbols import UnitSymbols
    from toolchain.objectfile import ObjectFile
    from toolchain.preprocess import Preprocessor, Unit

SWITCH = "PXOS_NO_CACHE"  # an environment variable that is not empty: keep nothing, believe nothing
VARIANTS = 2  # objects of one unit: what it is now and what it was before, for an edit that is taken back
ANSWERS_MAX = 1 << 15  # of Keystone's worker; the kernel asks 2,700


def folder() -> Path | None:
    """``$XDG_CACHE_HOME/pxos/objects`` (XDG Base Directory: a relative path is no path); None: unwanted, or no home."""
    if os.environ.get(SWITCH):
        return None
    cache, home = os.environ.get("XDG_CACHE_HOME", ""), os.environ.get("HOME", "")
    if not cache.startswith("/"):
        if not home.startswith("/"):
            return None
        cache = f"{home}/.cache"
    return Path(cache, "pxos", "objects")


class Products(NamedTuple):
    """What a build wrote: (name, size, digest) of each file, and what it said of them."""

    files: tuple[tuple[str, int, bytes], ...]
    bytes: int
    symbols: int
    warnings: tuple[str, ...]

    def stand_in(self, out: Path) -> bool:
        """Whether ``out`` holds these files."""
        for name, size, known in self.files:
            try:
                path = out / name
                if path.stat().st_size != size or not path.is_file() or digest(path.read_bytes()) != known:
                    return False
            except OSError:
                return False
        return True


class Objects:
    """What is kept of one tree.

    Args:
        folder: where the files of all trees lie; it need not exist.
        tree: the kernel tree, resolved.
    """

    def __init__(self, folder: Path, tree: Path) -> None:
        self._tree = tree
        self._mark = _mark()
        self._files = Sealed(folder, self._mark)
        name = digest(os.fsencode(tree)).hex()
        self._objects, self._products = f"{name}.objects", f"{name}.products"
        # By unit, the one that it is now first: what it was made of, and the object, packed or as it was just made.
        self._units: dict[str, list[tuple[Any, bytes | ObjectFile]]] = {}
        self._answers = b""
        self._has_more = False
        self._digests: dict[SourceFile, bytes] = {}
        self._same: dict[Any, bool] = {}

    # --- what there is -------------------------------------------------------------------------------------

    def load(self) -> bool:
        """Read what is kept; False when there is nothing that may be believed."""
        found = self._files.load(self._objects)
        if found is not None:
            self._units, self._answers = found
        return found is not None

    def answers(self) -> packed.Answers:
        """What Keystone's worker said in earlier runs."""
        return packed.unpack_answers(self._answers) if self._answers else {}

    def current(self, names: Sequence[str], reader: Preprocessor) -> list[str]:
        """Those of the units ``names`` of which the object is kept.

        Raises:
            InputError: a unit cannot be read, or is no text.
        """
        found = []
        for name in names:
            variants = self._units.get(name, [])
            text = self._of(reader.source(self._tree / name)) if variants else b""
            for at, ((_, own, asked), _) in enumerate(variants):
                if own == text and all(self._is_same(file, reader) for file in asked):
                    variants.insert(0, variants.pop(at))
                    found.append(name)
                    break
        return found

    def _is_same(self, asked: tuple[str, str, bytes, bool], reader: Preprocessor) -> bool:
        """Whether a file that was asked for is still found in the same place with the same content."""
        known = self._same.get(asked)
        if known is None:
            name, where, before, is_text = asked
            path = reader.find(name)
            known = path is not None and reader.name_of(path) == where
            if known and path is not None:
                try:
                    now = self._of(reader.source(path)) if is_text else digest(path.read_bytes())
                    known = now == before
                except (InputError, OSError):
                    known = False
            self._same[asked] = known
        return known

    def take(
        self, names: Sequence[str], reader: Preprocessor
    ) -> tuple[dict[str, UnitSymbols], dict[str, str]]:
        """The objects of units that are ``current``, with their symbols, and the texts of their sources by name."""
        objects: dict[str, UnitSymbols] = {}
        texts: dict[str, str] = {}
        sources: dict[str, SourceFile] = {}
        for name in names:
            (_, _, asked), data = self._units[name][0]
            assert isinstance(data, bytes)
            objects[name] = packed.unpack(data, sources)
            paths = [reader.find(file) for file, _, _, is_text in asked if is_text]
            for path in (self._tree / name, *paths):
                if path is not None:
                    source = reader.source(path)
                    texts[source.name] = source.text
        return objects, texts

    def products(self, names: Sequence[str], layout: str) -> Products | None:
        """What the build of the units ``names``, all of them ``current``, made; None when that is not kept."""
        found = self._files.load(self._products)
        if found is None or found[0] != self._key(names, layout):
            return None
        self._files.used(self._objects)
        self._files.used(self._products)
        return Products(*found[1])

    def _key(self, names: Sequence[str], layout: str) -> bytes | None:
        """What decides the products: the units in their order, each as it is, and the text of the layout."""
        made = blake2b(layout.encode(), digest_size=DIGEST)
        for name in names:
            if not self._units.get(name):
                return None
            made.update(name.encode() + b"\0" + self._units[name][0][0][0])
        return made.digest()

    # --- what is added -------------------------------------------------------------------------------------

    def trace(self, unit: Unit) -> packed.Trace | None:
        """What ``unit`` was made of: a digest of it all, that of its text, and what it asked for.

        Returns:
            None when that cannot be told.
        """
        reader = unit.reader
        texts = {source.path: source for source in unit.sources[1:]}
        asked: list[tuple[str, str, bytes, bool]] = []
        for name, path in reader.asked(unit):
            source = texts.get(path)
            content = self._of(source) if source is not None else _of_binary(path, unit)
            if content is None:
                return None
            asked.append((name, reader.name_of(path), content, source is not None))
        taken = {reader.name_of(path) for path in (*texts, *unit.binaries) if path is not None}
        if {where for _, where, _, _ in asked} != taken:
            return None
        own = self._of(unit.sources[0])
        return digest(repr((own, asked)).encode()), own, tuple(asked)

    def add(self, names: Sequence[str], new: packed.Assembly) -> None:
        """Take over the units ``names`` of a build without errors, of which ``new`` were not kept."""
        self._units = {name: self._units.get(name, [])[:VARIANTS] for name in names}
        for name, item in new.made.items():
            before = self._units[name]
            self._units[name] = []  # an older object is not this unit's: without a trace nothing is
            if item.trace is not None:
                self._units[name] = [(item.trace, item.packed or item.object), *before][:VARIANTS]
        said = {request: reply for request, reply in new.answers.items() if reply}
        self._has_more = True
        self._answers = packed.pack_answers(said if len(said) <= ANSWERS_MAX else {})

    def keep(self) -> bool:
        """Write what was added, if anything was; False when somebody has edited the toolchain meanwhile."""
        is_same = self._mark == _mark()
        if is_same and self._has_more:
            units = {
                name: [
                    (trace, data if isinstance(data, bytes) else packed.pack(data))
                    for trace, data in variants
                ]
                for name, variants in self._units.items()
            }
            self._files.store(self._objects, (units, self._answers))
        return is_same

    def keep_products(self, names: Sequence[str], layout: str, products: Products) -> None:
        """Write what the products of the units ``names`` are, all of which are kept or added; after ``keep``."""
        key = self._key(names, layout)
        if key is not None:
            self._files.store(self._products, (key, tuple(products)))

    def _of(self, source: SourceFile) -> bytes:
        known = self._digests.get(source)
        if known is None:
            known = self._digests[source] = digest(source.text.encode())
        return known


def _of_binary(path: Path, unit: Unit) -> bytes | None:
    """The digest of what ``.incbin`` took from ``path``; None when that has changed since."""
    from toolchain.preprocess import stamp_of

    before = unit.binaries.get(path)
    try:
        data = path.read_bytes()
    except OSError:
        return None
    return digest(data) if before is not None and stamp_of(path) == before else None


def _mark() -> bytes:
    """What made the objects besides the sources: the toolchain by content, libraries by size and time, Python."""
    from toolchain.encode_cache import libraries

    made = blake2b(digest_size=DIGEST)
    made.update(f"{sys.version}\n{sys.implementation.cache_tag}\n{libraries()}\n".encode())
    here = Path(__file__).parent
    for name in sorted(os.listdir(here)):  # noqa: PTH208 - names, not paths
        if name.endswith((".py", ".tsv")):
            data = b""
            # An editor may have left a link to nowhere, or take a file away just now.
            with (
                contextlib.suppress(OSError),
                open(f"{here}/{name}", "rb") as file,  # noqa: PTH123 - a third of the time of Path.open
            ):
                data = file.read()
            made.update(f"{name} {len(data)}\n".encode())
            made.update(data)
    return made.digest()
