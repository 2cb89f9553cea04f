"""The engine ``lessons``: what repaired a failure like this one before, adapted to the code at hand.

Owns the order in which adapted lessons are tried. First the places where a lesson's edit fits with its context;
then, through ``wider`` (the search engine), edits of the same kind wherever the evidence points. Never boots.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import chain, islice

from architect.generalise import Adapter, resembles
from architect.journal import edits_digest
from architect.lessons import likeness
from architect.protocols import Case, Evaluation, Lesson, LessonStore, Patch
from architect.signature import of_case

LESSONS_MAX = 5
FITS_MAX = 24  # candidates of a lesson where its context agrees, for an equal failure
KINDS_MAX = 40  # candidates of a lesson that only make its kind of edit, for an equal failure
LEAST = 4  # of either, for a failure that has little in common
WIDER_MAX = 4_000  # proposals of the search engine looked through for them


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
                    reason = f"the kind of edit of lesson {lesson.id} ({lesson.cause}); {patch.reason}"
                    yield replace(patch, engine=self.name, operator=_operator(lesson), reason=reason)
                    break
            if not any(left.values()):
                return


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
