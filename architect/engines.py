"""Which engines there are, and in which order ``auto`` asks them.

Owns the table of names. A new engine (a language model, say) is one more row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from architect.protocols import Engine, LessonStore

AUTO = ("lessons", "search")
NAMES = ("auto", *AUTO)


def _lessons(store: LessonStore) -> Engine:
    from architect.recall import LessonsEngine
    from architect.search import SearchEngine

    return LessonsEngine(store, wider=lambda case: SearchEngine().propose(case))


def _search(store: LessonStore) -> Engine:
    from architect.search import SearchEngine

    return SearchEngine()


_MAKERS: dict[str, Callable[[LessonStore], Engine]] = {"lessons": _lessons, "search": _search}


def make(name: str, store: LessonStore) -> Sequence[Engine]:
    """The engines that ``--engine name`` means, in the order in which they are asked."""
    return [_MAKERS[each](store) for each in (AUTO if name == "auto" else (name,))]
