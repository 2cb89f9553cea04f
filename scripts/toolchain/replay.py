"""What an include file does to a unit, remembered.

Owns the memory that lets a file of constants and macros, which every unit includes, be read once: what it asked
for, and what it left behind. It is done again for a unit that knows the same of what was asked for, as long as the
files that it includes itself have not changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from toolchain.expand import Expander
from toolchain.macro import Macro
from toolchain.source import SourceFile, Statement

# Stand for "equated, value unknown" and "a label" where a value is remembered; no 64-bit value equals them.
_EQUATED = 1 << 128
_LABEL = 1 << 129


class _Effect(NamedTuple):
    """What an include file did to a unit that knew ``reads`` of symbols and ``ops`` of macros beforehand."""

    reads: dict[str, int | None]
    ops: dict[str, Macro | None]
    statements: list[Statement]
    constants: dict[str, int]
    equated: set[str]
    macros: dict[str, Macro]
    sources: list[SourceFile]
    nested: list[SourceFile]


class Memory:
    """Effects of include files, by file."""

    def __init__(self) -> None:
        self._effects: dict[SourceFile, list[_Effect]] = {}

    def forget(self, source: SourceFile) -> None:
        """Drop what ``source`` did, and what others did with it; it will not be included again."""
        self._effects.pop(source, None)
        for effects in self._effects.values():
            if any(source in effect.nested for effect in effects):
                effects[:] = [effect for effect in effects if source not in effect.nested]

    def replay(self, expander: Expander, source: SourceFile, current: Callable[[SourceFile], bool]) -> bool:
        """Do what ``source`` did before; False when this unit knows something else of what it asked for.

        Args:
            expander: of the unit.
            source: the include file.
            current: whether a file that it included has the same content now.
        """
        constants, macros = expander.constants, expander.macros
        for effect in self._effects.get(source, ()):
            if any(_known(expander, name) != value for name, value in effect.reads.items()):
                continue
            if any(macros.get(op) is not known for op, known in effect.ops.items()):
                continue
            if not all(map(current, effect.nested)):
                continue
            if expander.note is not None:
                for name in effect.reads:
                    expander.note(name)
            constants.update(effect.constants)
            expander.equated -= effect.constants.keys()
            for name in effect.equated:
                constants.pop(name, None)
            expander.equated |= effect.equated
            if effect.macros:
                macros.update(effect.macros)
                expander.macros_changed()
            expander.sources.update(dict.fromkeys(effect.sources))
            expander.included += effect.nested
            expander.extend(effect.statements)
            return True
        return False

    def record(self, expander: Expander, source: SourceFile) -> None:
        """Read ``source`` and remember what it did, if that depends on nothing but what it asked for."""
        constants, equated, macros = dict(expander.constants), set(expander.equated), dict(expander.macros)
        start, errors, expansions = len(expander.out), len(expander.errors), expander.expansions
        warnings, sources, included = len(expander.warnings), len(expander.sources), len(expander.included)
        reads: dict[str, int | None] = {}
        asked_for_label = False
        outer = expander.note

        def note(name: str) -> None:
            nonlocal asked_for_label
            reads.setdefault(name, _EQUATED if name in equated else constants.get(name))
            asked_for_label |= expander.is_label(name)
            if outer is not None:
                outer(name)

        expander.close_constants()
        expander.note = note
        expander.run(source.statements)
        expander.note = outer
        expander.close_constants()
        if (
            len(expander.errors) != errors
            or len(expander.warnings) != warnings
            or expander.expansions != expansions
            or asked_for_label
            or macros.keys() - expander.macros.keys()
            or constants.keys() - expander.constants.keys() - expander.equated
        ):
            return
        statements = expander.out[start:]
        written = {
            name for statement in statements if statement.constants for name in statement.constants.values
        }
        equations = {statement.args.partition(",")[0] for statement in statements if statement.op == ".set"}
        changed = {name: made for name, made in expander.macros.items() if macros.get(name) is not made}
        ops = {*changed, *(statement.op for statement in statements)}
        self._effects.setdefault(source, []).append(
            _Effect(
                reads,
                {op: macros.get(op) for op in ops},
                statements,
                {name: expander.constants[name] for name in written - expander.equated},
                equations & expander.equated,
                changed,
                list(expander.sources)[sources:],
                expander.included[included:],
            )
        )


def _known(expander: Expander, name: str) -> int | None:
    if name in expander.equated:
        return _EQUATED
    value = expander.constants.get(name)
    return _LABEL if value is None and expander.is_label(name) else value
