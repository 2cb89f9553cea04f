"""Which engines there are, and in which order ``auto`` asks them.

Owns the names. A new engine (a language model, say) is one more of them, and a place in ``auto``.
"""

from __future__ import annotations

from collections.abc import Sequence

from architect.protocols import Engine, LessonStore

NAMES = ("auto", "lessons", "search")


def make(name: str, store: LessonStore) -> Sequence[Engine]:
    """The engines that ``--engine name`` means, in the order in which they are asked.

    ``auto`` asks the lessons first, and lets them guide the search after that.
    """
    from architect.recall import GuidedEngine, LessonsEngine
    from architect.search import SearchEngine

    search = SearchEngine()
    if name == "search":
        return [search]
    if name == "lessons":
        return [LessonsEngine(store, wider=search.propose)]
    return [LessonsEngine(store), GuidedEngine(search, store)]
