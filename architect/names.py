"""What the names of a tree tell: values, families, and names that nothing uses.

Owns the view of constants, data, routines and macros by name. A family are names of one sort that share words; an
orphan is a name that is defined and never used, the trace that a missing or mistaken statement leaves.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

from architect.source import Tree
from architect.statements import Statement
from toolchain import expr

_ORPHAN = 3.0  # how much nearer an orphan is to its family


class Names:
    """The names of one tree; ``folder`` is where its boot.toml and image.toml lie."""

    def __init__(self, tree: Tree, folder: Path) -> None:
        self.tree = tree
        self.folder = folder
        self._families: dict[tuple[str, str], tuple[str, ...]] = {}
        self._indices: dict[tuple[str, str], _Index] = {}

    @classmethod
    def of(cls, tree: Tree, folder: Path) -> Names:
        """The names of a tree, told apart once."""
        return tree.once(f"names {folder}", lambda: cls(tree, folder))

    @cached_property
    def values(self) -> dict[str, int]:
        """The constants of the tree whose value can be known without assembling it."""
        known: dict[str, int] = {}

        def value(name: str, depth: int = 0) -> int | None:
            if name in known or name not in self.tree.constants or depth > 12:
                return known.get(name)
            try:
                parsed = expr.parse_cached(self.tree.constants[name].expression)
                found = parsed.evaluate(lambda inner: value(inner, depth + 1))
            except ValueError:
                return None
            if found is not None:
                known[name] = found
            return found

        for name in self.tree.constants:
            value(name)
        return known

    @cached_property
    def orphans(self) -> frozenset[str]:
        """Constants that are defined and never used. What should name them may be missing."""
        return frozenset(n for n in self.tree.constants if n not in self._used and "\\" not in n)

    @cached_property
    def _used(self) -> frozenset[str]:
        """Names that the kernel itself uses; what only its tests name may well have lost its use."""
        editable = self.tree.editable
        return frozenset(
            n for n, users in self.tree.references.items() if any(s.file in editable for s in users)
        )

    @cached_property
    def loose(self) -> frozenset[tuple[str, str]]:
        """(file, label) of code, data and local labels that nothing names, where the label can be seen."""
        used = {(s.file, name) for name, users in self.tree.references.items() for s in users}
        named = self._used | self._entries
        found = set()
        for (file, label), s in self.tree.local_labels.items():
            if file not in self.tree.editable:
                continue
            seen = (
                label in named
                if label in self.tree.exported
                else (file, label) in used or label in self._entries
            )
            if not seen and "\\" not in label and s.macro is None:
                found.add((file, label))
        return frozenset(found)

    @cached_property
    def uncalled(self) -> tuple[str, ...]:
        """Routines that nothing names but the macros around them: a call may be missing."""
        tree = self.tree
        return tuple(
            name
            for name, routine in tree.routines.items()
            if routine.file in tree.editable and name not in self._entries
            if not any(self._names(s, name) for s in tree.references.get(name, ()))
        )

    def _names(self, user: Statement, name: str) -> bool:
        """A user that can be edited does more than begin or end what has the name."""
        apart = self.tree.brackets.get(user.name, frozenset())
        bracketed = any(name in o.text.split() for n, o in enumerate(user.operands) if n in apart)
        return user.file in self.tree.editable and not bracketed

    def is_orphan(self, name: str, file: str) -> bool:
        """Nothing uses the name as it is seen from ``file``."""
        return name in self.orphans or (file, name) in self.loose or (self._home(name), name) in self.loose

    def _home(self, name: str) -> str:
        return self.tree.labels[name].file if name in self.tree.exported and name in self.tree.labels else ""

    def earned(self, name: str, file: str) -> float:
        """Bits earned by naming something that nothing names; code and data rarely stand unused, constants may."""
        if name in self.orphans:
            return 3.0
        return 4.0 if self.is_orphan(name, file) else 0.0

    @cached_property
    def _entries(self) -> set[str]:
        """Names that tables outside the sources use: the units of boot.toml, the entries of image.toml."""
        found: set[str] = set()
        for name in ("boot.toml", "image.toml"):
            path = self.folder / name
            if path.is_file():
                found |= set(_strings(tomllib.loads(path.read_text(encoding="utf-8"))))
        return found

    def family(self, name: str, file: str) -> tuple[str, ...]:
        """Names of the same sort, seen from ``file``, that share words with ``name``: nearest first, orphans nearer."""
        if (name, file) not in self._families:
            self._families[name, file] = self._make_family(name, file)
        return self._families[name, file]

    def _make_family(self, name: str, file: str) -> tuple[str, ...]:
        sort = self._sort(name, file)
        own = self.values.get(name)
        ranked = []
        for other in self._kin(name, sort, file) if sort else ():
            if other == name or (own is not None and self.values.get(other) == own):
                continue
            score = self._likeness(name, other, file)
            if score > 0:
                ranked.append((-score - (_ORPHAN if self.is_orphan(other, file) else 0.0), other))
        return tuple(other for _, other in sorted(ranked))

    def _kin(self, name: str, sort: str, file: str) -> Iterator[str]:
        """The members of a sort whose first or last word is that of ``name``: no others are alike."""
        key = (sort, file if sort in ("data", "routine") else "")
        if key not in self._indices:
            members = [*self._members(sort, file)]
            if sort == "data":
                members += self._outside  # labels that macros make
            self._indices[key] = _Index(members)
        return self._indices[key].kin(_words(name))

    def _likeness(self, name: str, other: str, file: str) -> float:
        a, b = _words(name), _words(other)
        front = _common(a, b)
        back = _common(a[::-1], b[::-1])
        if front + back == 0:
            if name not in self.tree.constants or other not in self.tree.constants:
                return 0.0
            alike = (
                other in self.orphans or len(a) == len(b) == 1
            )  # never used, or no words to share: PML4, PDPT, PD
            return self._nearness(name, other, file) if alike else 0.0
        return 2.0 * front + 1.5 * back - 0.3 * abs(len(a) - len(b)) + self._nearness(name, other, file)

    def _nearness(self, name: str, other: str, file: str) -> float:
        here, there = self._defined_at(name, file), self._defined_at(other, file)
        if here is None or there is None or here[0] != there[0]:
            return 0.0
        return 2.0 / (1 + abs(here[1] - there[1]) / 4)

    def _defined_at(self, name: str, file: str) -> tuple[str, int] | None:
        if name in self.tree.constants:
            constant = self.tree.constants[name]
            return constant.file, constant.line
        at = self.tree.local_labels.get((file, name)) or self.tree.labels.get(name)
        return at.key if at else None

    def _sort(self, name: str, file: str) -> str | None:
        if name in self.tree.constants:
            return "constant"
        if name in self.tree.routines:
            return "routine"
        if name in self.tree.labels or (file, name) in self.tree.local_labels:
            return "data"
        if name in self.tree.macros:
            return "macro"
        return "outside" if name in self._outside else None

    def _members(self, sort: str, file: str) -> Iterator[str]:
        if sort == "constant":
            yield from self.tree.constants
        elif sort == "macro":
            yield from self.tree.macros
        elif sort == "outside":
            yield from self._outside
        else:
            for label, s in self.tree.labels.items():
                seen = label in self.tree.exported or s.file == file
                if seen and (label in self.tree.routines) == (sort == "routine"):
                    yield label
            for own, label in self._by_file.get(file, ()) if sort == "data" else ():
                if self.tree.labels[label].file != own:
                    yield label

    @cached_property
    def _outside(self) -> dict[str, None]:
        """Names that the sources use and do not define: generated ones, and those that a macro or the linker makes."""
        known = {*self.tree.constants, *self.tree.labels, *self.tree.macros}
        parameters = {p for macro in self.tree.macros.values() for p in macro.parameters}
        return {
            name: None
            for name, users in self.tree.references.items()
            if name not in known
            and name not in parameters
            and not name.startswith(".")
            and len(name) > 2
            and any((s.file, name) not in self.tree.local_labels for s in users)
        }

    @cached_property
    def _by_file(self) -> dict[str, list[tuple[str, str]]]:
        table: dict[str, list[tuple[str, str]]] = {}
        for file, label in self.tree.local_labels:
            if not label.startswith(".L"):
                table.setdefault(file, []).append((file, label))
        return table


class _Index:
    """Names by their first and by their last word."""

    def __init__(self, names: Iterable[str]) -> None:
        self._first: dict[str, list[str]] = {}
        self._last: dict[str, list[str]] = {}
        for name in names:
            words = _words(name)
            if words:
                self._first.setdefault(words[0], []).append(name)
                self._last.setdefault(words[-1], []).append(name)

    def kin(self, words: Sequence[str]) -> Iterator[str]:
        """The names that share the first or the last of some words."""
        if words:
            yield from self._first.get(words[0], ())
            yield from (n for n in self._last.get(words[-1], ()) if _words(n)[0] != words[0])


@lru_cache(maxsize=1 << 13)
def _words(name: str) -> tuple[str, ...]:
    return tuple(w for w in name.replace(".", "_").upper().split("_") if w)


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    count = 0
    for left, right in zip(a, b, strict=False):
        if left != right:
            break
        count += 1
    return count


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [s for v in value.values() for s in _strings(v)]
    return [s for v in value for s in _strings(v)] if isinstance(value, list) else []
