"""The units of a tree assembled by two processes at once.

Owns: sharing units out, and carrying object files from the second process to the first. They come without their
statements, which only errors need (``packed``): when anything is wrong in a unit, nothing comes, and the caller
assembles everything itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from toolchain import forked, packed
from toolchain.assemble import assemble_units
from toolchain.encode import Encoder
from toolchain.encode_guard import Guard
from toolchain.packed import Answers, Assembly, Made, Trace
from toolchain.pool import Pool
from toolchain.preprocess import Preprocessor, Unit

SMALL = 64 << 10  # bytes of sources below which a second process costs more than it saves
_TURN = 2  # bytes of a turn in a queue
TURNS_MAX = 2048  # what the smallest pipe holds (pipe(7): a page); with more names each turn is several

Tracer = Callable[[Unit], "Trace | None"]


class Queue:
    """Names that two processes take one at a time, so that both end together however fast each of them is.

    Made before the fork. The turns lie in a pipe, whose reads are atomic (a file's are not: a memfd knows no lock on
    its position), and what one process has taken the other does not get.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._turns = min(len(names), TURNS_MAX)
        self._source, sink = os.pipe()
        os.write(sink, b"".join(turn.to_bytes(_TURN, "little") for turn in range(self._turns)))
        os.close(sink)

    def __iter__(self) -> Iterator[str]:
        while turn := os.read(self._source, _TURN):
            yield from self._names[int.from_bytes(turn, "little") :: self._turns]

    def close(self) -> None:
        """Take nothing more."""
        os.close(self._source)


def assemble(
    names: Mapping[str, int],
    preprocessor: Preprocessor,
    workers: tuple[Guard, Guard],
    answers: Answers,
    tracer: Tracer | None = None,
) -> Assembly | None:
    """Assemble units, on two cores where there are two and it pays.

    Args:
        names: the units, relative to the tree, and the bytes of each.
        preprocessor: reads them.
        workers: for this process and for the second one; started already or not.
        answers: the worker's, from an earlier run.
        tracer: asked of each unit, in the process that assembled it.

    Returns:
        What was made, or None when a unit is in error (or the second process was ended).

    Raises:
        InputError: a unit that this process assembled is in error.
        ToolError: Keystone cannot be run.
    """
    guard, twin = workers
    queue = Queue(
        sorted(names, key=lambda name: (-names[name], name))
    )  # the small ones last: both end together
    second = None
    try:
        if sum(names.values()) >= SMALL and len(names) > 1 and forked.available():
            second = _Second(queue, preprocessor, guard, twin, answers, tracer)
        found = _work(queue, preprocessor, Encoder(guard=guard, answers=answers), tracer)
        if second is None:
            return found
        guard.dismiss()
        return second.added_to(found)
    finally:
        queue.close()
        if second is not None:
            second.cancel()


def _work(queue: Queue, preprocessor: Preprocessor, encoder: Encoder, tracer: Tracer | None) -> Assembly:
    """Assemble what the queue gives to this process."""
    units: list[Unit] = []

    def taken() -> Iterator[Unit]:
        for name in queue:
            units.append(preprocessor.run(Path(name)))
            yield units[-1]

    objects = assemble_units(taken(), Pool(encoder))
    made = {
        unit.file: Made(item, None, None, tracer(unit) if tracer is not None else None)
        for unit, item in zip(units, objects, strict=True)
    }
    texts = {source.name: source.text for unit in units for source in unit.sources}
    return Assembly(made, texts, encoder.answers)


class _Second:
    """The second process: assembles what it takes from ``queue``, beginning now."""

    def __init__(
        self,
        queue: Queue,
        preprocessor: Preprocessor,
        first: Guard,
        guard: Guard,
        answers: Answers,
        tracer: Tracer | None,
    ) -> None:
        def work() -> object:
            first.leave()
            guard.claim()
            with Encoder(guard=guard, answers=answers) as encoder:
                return packed.carried(_work(queue, preprocessor, encoder, tracer), answers=tracer is not None)

        self._child = forked.Forked(work)
        guard.close()

    def cancel(self) -> None:
        """End the second process, if its result has not been taken."""
        self._child.cancel()

    def added_to(self, own: Assembly) -> Assembly | None:
        """``own`` and what the second process made; None when a unit there is in error."""
        result: Any = self._child.result()
        if result is None:
            return None
        other = packed.received(result)
        return Assembly(own.made | other.made, own.texts | other.texts, own.answers | other.answers)
