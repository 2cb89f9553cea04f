"""Which engines there are, and in which order ``auto`` asks them.

Owns the names. A new engine is one more of them, and a place in ``auto``.
"""

from __future__ import annotations

from collections.abc import Sequence

from architect.protocols import Engine, LessonStore
from toolchain.errors import InputError

NAMES = ("auto", "lessons", "search", "llm")


def make(name: str, store: LessonStore, llm: Engine | None = None) -> Sequence[Engine]:
    """The engines that ``--engine name`` means, in the order in which they are asked.

    ``auto`` asks the lessons first, then the language model where there is one (``llm``), then searches, guided by the
    lessons.

    Raises:
        InputError: the language model is asked for and none is configured.
    """
    if name == "llm":
        if llm is None:
            raise InputError(
                "--engine llm needs a model: give --model-url, or PXOS_MODEL_URL, or [model] in settings.toml",
                stage="arguments",
            )
        return [llm]
    from architect.recall import GuidedEngine, LessonsEngine
    from architect.search import SearchEngine

    search = SearchEngine()
    if name == "search":
        return [search]
    if name == "lessons":
        return [LessonsEngine(store, wider=search.propose)]
    return [LessonsEngine(store), *([llm] if llm is not None else []), GuidedEngine(search, store)]
