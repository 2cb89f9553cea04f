"""The questions of one kernel, in the order that shows a broken promise soonest.

Owns what came of earlier questions (``Asked``), and the machine that variants of a kernel are put into one behind the
other. Never knows what a promise is: models and headers do.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import partial
from typing import NamedTuple

from architect.contracts.model import Violation
from architect.contracts.register import Contract, concerned
from toolchain import blanks
from toolchain.harness import Harness
from toolchain.headers import Routine
from toolchain.types import Image

SEEDS = 3  # calls per routine and header
_IMAGES_EACH = 200  # images that are put into one machine before it is made anew
_CONCERNED_KEPT = 64  # sets of routines whose models are remembered
_USUAL_SECONDS = 0.002  # a question that was never asked
_RARELY = 0.05  # broken promises taken to have been seen before the first


class Question(NamedTuple):
    """What is asked of a kernel at a time: the header of a routine, or a model."""

    name: str
    ask: Callable[[], list[Violation]]


def every_question(
    harness: Harness,
    headers: Mapping[str, Routine],
    names: Collection[str] | None,
    seeds: int,
    files: Collection[str],
    asked: Asked | None = None,
) -> Iterator[Question]:
    """What there is to ask of the kernel in a machine: the arguments of ``contracts.violations``."""
    for name in headers if names is None else names:
        if name in headers and not harness.has(name):
            yield Question(f"{name}()", partial(list, (Violation(name, "is gone", {}),)))
        elif name in headers:
            yield Question(f"{name}()", partial(_header, harness, headers[name], seeds))
    for item in (concerned if asked is None else asked.concerned)(headers, names, files):
        yield Question(item.name, partial(item.violations, harness))


def _header(harness: Harness, routine: Routine, seeds: int) -> list[Violation]:
    from architect.contracts import generic

    harness.forget()  # what a model left
    return generic.check(harness, routine, seeds=seeds)


class Asked:
    """What came of earlier questions, so that of further variants of a kernel the most telling are asked first.

    Attributes:
        broken: the questions that the unpatched kernel answered wrongly.
    """

    def __init__(self) -> None:
        self.broken: set[str] = set()
        self._known: dict[str, tuple[int, int, float]] = {}
        self._harness: Harness | None = None
        self._left = 0  # images until the machine is made anew
        self._concerned: dict[tuple[object, ...], tuple[Mapping[str, Routine], tuple[Contract, ...]]] = {}

    @contextmanager
    def machine(self, image: Image) -> Iterator[Harness]:
        """A machine with an image in it: that of the image before, unless a question went wrong in it."""
        harness, self._harness = self._harness, None
        if harness is None or not self._left or not harness.load(image):
            if harness is not None:
                harness.close()
            harness, self._left = Harness(image), _IMAGES_EACH
        self._left -= 1
        yield harness
        self._harness = harness

    def concerned(
        self, headers: Mapping[str, Routine], names: Collection[str] | None, files: Collection[str]
    ) -> tuple[Contract, ...]:
        """As the function of this name, found once: candidate after candidate is held to the same promises."""
        key = (id(headers), None if names is None else tuple(names), tuple(files))
        known = self._concerned.get(key)
        if known is None:
            if len(self._concerned) >= _CONCERNED_KEPT:
                del self._concerned[next(iter(self._concerned))]
            known = self._concerned[key] = (headers, tuple(concerned(headers, names, files)))
        return known[1]

    def close(self) -> None:
        """Let the machine go."""
        if self._harness is not None:
            self._harness.close()
            self._harness = None

    def order(self, name: str) -> float:
        """The seconds that a broken promise is expected to take to show; smaller is sooner."""
        times, broken, seconds = self._known.get(name, (1, 0, _USUAL_SECONDS))
        return seconds / ((broken + _RARELY) / (times + 1))

    def ask(self, question: Question, image: Image) -> list[Violation]:
        """The answer, noted; of what it took the least, which the machine's other work does not stretch.

        Raises:
            Strayed: code of the image ran that is not in it; the answer would tell nothing.
        """
        began = time.process_time()
        found = question.ask()
        blanks.check(image)
        times, broken, seconds = self._known.get(question.name, (0, 0, math.inf))
        seconds = min(seconds, time.process_time() - began)
        self._known[question.name] = (times + 1, broken + bool(found), seconds)
        return found


def first(
    image: Image,
    headers: Mapping[str, Routine],
    names: Collection[str] | None,
    files: Collection[str] = (),
    asked: Asked | None = None,
) -> Violation | None:
    """One violation of those that ``violations`` finds with the same arguments, or None when there is none.

    Args:
        image: the linked kernel.
        headers: as for ``violations``.
        names: as for ``violations``.
        files: as for ``violations``.
        asked: chooses the order, and learns from this.

    Raises:
        InputError: the image cannot be put into an emulated machine.
    """
    if asked is None:
        with closing(Asked()) as alone:
            return first(image, headers, names, files, alone)
    with asked.machine(image) as harness:
        questions = every_question(harness, headers, names, SEEDS, files, asked)
        for question in sorted(questions, key=lambda item: asked.order(item.name)):
            found = asked.ask(question, image)
            if found:
                break
        else:
            found = []
    return found[0] if found else None


def mended(
    image: Image, headers: Mapping[str, Routine], names: Collection[str] | None, asked: Asked
) -> tuple[list[Violation], list[str]]:
    """Every violation of what the unpatched kernel broke, and the names of the models and headers that are kept now.

    Arguments and errors as for ``first``; ``asked`` has been through ``rehearse``. When all is kept, the rest is asked
    as well, up to its first violation.
    """
    found: list[Violation] = []
    kept: list[str] = []
    with asked.machine(image) as harness:
        questions = list(every_question(harness, headers, names, SEEDS, (), asked))
        for question in questions:
            if question.name in asked.broken:
                violations = asked.ask(question, image)
                found += violations
                if not violations:
                    kept.append(question.name)
        rest = iter([] if found else questions)
        while not found and (other := next(rest, None)) is not None:
            found += asked.ask(other, image) if other.name not in asked.broken else []
    return found, kept


def rehearse(image: Image, headers: Mapping[str, Routine], names: Collection[str], asked: Asked) -> None:
    """Ask everything once of a kernel that is known to break promises, so that ``first`` knows what tells soonest."""
    with asked.machine(image) as harness:
        questions = list(every_question(harness, headers, names, SEEDS, (), asked))
        asked.broken.update([question.name for question in questions if asked.ask(question, image)])
        for question in questions:
            if (
                question.name in asked.broken
            ):  # once more: the first time code is translated and hooks are set
                asked.ask(question, image)
