"""What repaired a failure like this one before: tried first, and a guide for the search after that.

Owns ``LessonsEngine``, which adapts the edits of lessons to the code at hand, and ``GuidedEngine``, which moves the
kinds of edit that lessons know forward in what the search engine proposes. Never boots.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice

from architect.generalise import Adapter, resembles
from architect.journal import edits_digest
from architect.lessons import likeness
from architect.protocols import Case, Engine, Evaluation, Lesson, LessonStore, Patch
from architect.signature import of_case

LESSONS_MAX = 5
FITS_MAX = 24  # candidates of a lesson where its context agrees, for an equal failure
KINDS_MAX = 40  # candidates of a lesson that only make its kind of edit, for an equal failure
LEAST = 4  # of either, for a failure that has little in common
WIDER_MAX = 400  # proposals of the search engine looked through for them
GUIDE_BITS = 4.0  # how much sooner the search tries an edit of a lesson's kind, for an equal failure
WINDOW = 120  # how far ahead the search is looked through for such edits
GROWTH = 2  # by how many proposals the window grows with each that is given


class LessonsEngine:
    """Tries what worked.

    Args:
        store: the lessons.
        wider: proposals of the search engine for a case, likeliest first.
    """

    name = "lessons"

    def __init__(self, store: LessonStore, wider: Callable[[Case], Iterator[Patch]] | None = None) -> None:
        self.store = store
        self.wider = wider
        self.failed: dict[int, int] = {}

    def propose(self, case: Case) -> Iterator[Patch]:
        """Adapted lessons, the closest fit first, then edits of the same kind."""
        signature = of_case(case)
        lessons = [(likeness(found, signature), found) for found in self.store.recall(signature, LESSONS_MAX)]
        if not lessons:
            return
        seen: set[str] = set()
        for patch in chain(self._fitting(case, lessons), self._alike(case, lessons)):
            digest = edits_digest(patch)
            if digest not in seen:
                seen.add(digest)
                yield patch

    def observe(self, evaluation: Evaluation) -> None:
        """Counts the failures of each lesson."""
        number = lesson_of(evaluation.patch)
        if number is not None and not evaluation.passed:
            self.failed[number] = self.failed.get(number, 0) + 1

    def _fitting(self, case: Case, lessons: list[tuple[float, Lesson]]) -> list[Patch]:
        adapter = Adapter(case, suspicion(case))
        found: list[Patch] = []
        for promise, lesson in lessons:
            ways = sorted(islice(adapter.edits(lesson.edit), 10 * FITS_MAX), key=lambda way: way[0])
            for distance, edits in ways[: _share(promise, FITS_MAX)]:
                where = f"{edits[0].file}:{edits[0].line}"
                reason = f"{where}: what repaired it when {lesson.cause.rstrip('.')} (lesson {lesson.id})"
                found.append(Patch(edits, self.name, _operator(lesson), reason, distance - 4 * promise))
        return sorted(found, key=lambda patch: patch.cost)

    def _alike(self, case: Case, lessons: list[tuple[float, Lesson]]) -> Iterator[Patch]:
        if self.wider is None:
            return
        left = {lesson.id: _share(promise, KINDS_MAX) for promise, lesson in lessons}
        for patch in islice(self.wider(case), WIDER_MAX):
            for _, lesson in lessons:
                if left[lesson.id] and resembles(patch, lesson.edit):
                    left[lesson.id] -= 1
                    yield _credited(patch, lesson)
                    break
            if not any(left.values()):
                return


class GuidedEngine:
    """The search engine, with the kinds of edit that lessons know moved forward.

    Args:
        search: proposes, likeliest first; costs are in bits.
        store: the lessons.
    """

    def __init__(self, search: Engine, store: LessonStore) -> None:
        self.name = search.name
        self.search = search
        self.store = store

    def propose(self, case: Case) -> Iterator[Patch]:
        """What the search proposes, in its order but for those edits; they are the lesson's then."""
        signature = of_case(case)
        lessons = [(likeness(found, signature), found) for found in self.store.recall(signature, LESSONS_MAX)]
        stream = self.search.propose(case)
        if not lessons:
            yield from stream
            return
        ready: list[tuple[float, int, Patch]] = []
        wanted = 1
        for number, patch in enumerate(stream):
            guided = _guided(patch, lessons)
            heapq.heappush(ready, (guided.cost, number, guided))
            if len(ready) >= wanted:
                yield heapq.heappop(ready)[2]
                wanted = min(WINDOW, wanted + GROWTH)
        while ready:
            yield heapq.heappop(ready)[2]

    def observe(self, evaluation: Evaluation) -> None:
        """Passes it on."""
        self.search.observe(evaluation)


def _guided(patch: Patch, lessons: list[tuple[float, Lesson]]) -> Patch:
    for promise, lesson in lessons:
        if resembles(patch, lesson.edit):
            return replace(_credited(patch, lesson), cost=patch.cost - GUIDE_BITS * promise)
    return patch


def _credited(patch: Patch, lesson: Lesson) -> Patch:
    reason = f"the kind of edit of lesson {lesson.id} ({lesson.cause}); {patch.reason}"
    return replace(patch, engine=LessonsEngine.name, operator=_operator(lesson), reason=reason)


def _share(promise: float, most: int) -> int:
    """How many candidates a lesson gets: the more its failure is like this one, the more."""
    return LEAST + round(min(1.0, promise) * (most - LEAST))


def lesson_of(patch: Patch) -> int | None:
    """The lesson that a patch came from, or None."""
    kind, _, rest = patch.operator.partition(":")
    number = rest.partition(":")[0]
    return int(number) if kind == "lesson" and number.isdigit() else None


def _operator(lesson: Lesson) -> str:
    """``lesson:12:insert-store``: which lesson, and the kind of edit that it makes."""
    return f"lesson:{lesson.id}:{lesson.edit['operator']}"


def suspicion(case: Case) -> Mapping[str, int]:
    """Routine -> rank, 0 likeliest: what the diagnosis names, where it died, who called, the unit's own."""
    names: list[str] = []
    report = case.report
    if report is not None:
        names += [name for diagnosis in report.diagnosis for name in diagnosis.suspects]
        names += [report.place.symbol] if report.place and report.place.symbol else []
        names += [place.symbol for place in report.trace if place.symbol]
    for failure in case.failures:
        routine = failure.evidence.get("routine")
        names += [routine] if isinstance(routine, str) else []
    return {name: rank for rank, name in reversed(list(enumerate(dict.fromkeys(names))))}
