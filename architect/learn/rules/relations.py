"""Constants that are bound to each other by arithmetic, and one that is not where its relatives say.

Three relations of a table's constants: the shifts of the levels of a tree are evenly spaced; a mask of an index is
the number of entries less one; fields that are packed by shifts do not overlap the ones above them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import pairwise

from architect.learn.rules.view import Suspicion, View
from architect.source import Constant

NAME = "constants-disagree"
_LEVELS = 4  # shifts of one tree


def rule(view: View) -> Iterator[Suspicion]:
    """Constants that break a relation which their names claim."""
    values = view.values()
    by_file: dict[str, list[Constant]] = defaultdict(list)
    for constant in view.tree.constants.values():
        if constant.name in values and constant.file in view.tree.editable:
            by_file[constant.file].append(constant)
    for constants in by_file.values():
        yield from _spaced(view, constants)
        yield from _masks(view, constants)


def _spaced(view: View, constants: list[Constant]) -> Iterator[Suspicion]:
    """Runs of shifts on neighbouring lines: three even steps, and one that is not."""
    values = view.values()
    run: list[Constant] = []
    for constant in [*sorted(constants, key=lambda c: c.line), None]:
        if (
            constant is not None
            and constant.name.endswith("_SHIFT")
            and (not run or constant.line - run[-1].line <= 1)
        ):
            run.append(constant)
            continue
        if len(run) == _LEVELS:
            yield from _uneven(run, [values[c.name] for c in run])
        run = [constant] if constant is not None and constant.name.endswith("_SHIFT") else []


def _uneven(run: list[Constant], shifts: list[int]) -> Iterator[Suspicion]:
    steps = [b - a for a, b in pairwise(shifts)]
    usual = max(set(steps), key=steps.count)
    odd = [n for n, step in enumerate(steps) if step != usual]
    if steps.count(usual) == len(steps) - 1 and len(odd) == 1:
        at = run[odd[0] + 1] if odd[0] == len(steps) - 1 else run[odd[0]]
        message = f"{at.name} breaks the even steps of {abs(usual)} bits of the shifts beside it"
        yield Suspicion(NAME, "uneven shifts", message, at.file, at.line)


def _masks(view: View, constants: list[Constant]) -> Iterator[Suspicion]:
    """``X_INDEX_MASK`` (or ``X_MASK``) beside ``X_ENTRIES``, ``X_COUNT`` or ``X_SIZE``."""
    values = view.values()
    for constant in constants:
        stem = constant.name.removesuffix("_MASK").removesuffix("_INDEX")
        if stem == constant.name or not constant.name.endswith("_MASK"):
            continue
        for word in ("ENTRIES", "COUNT", "SIZE"):
            total = values.get(f"{stem}_{word}")
            if (
                total is not None
                and total > 1
                and total & (total - 1) == 0
                and values[constant.name] != total - 1
            ):
                message = f"{constant.name} is not {stem}_{word} - 1"
                yield Suspicion(NAME, f"mask of {word}", message, constant.file, constant.line)
