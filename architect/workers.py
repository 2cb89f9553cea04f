"""Worker processes that keep a warm service each: calls go in, answers come back as they finish.

Owns the processes, their pipes, and their end: a worker dies with its parent, whatever ends that, and is replaced
when it dies alone or misses a call's deadline. Never knows what the service does.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from toolchain.errors import InternalError, PxError
from toolchain.interrupts import uninterrupted

# Objects made before the collector looks for cycles, and how many such looks make one at older ones: what is searched
# and tried makes many objects and few cycles, and looking takes a third of the time with the usual values.
_COLLECT_AFTER = (500_000, 10, 10)
GRACE_SECONDS = 2.0  # for a worker that closed its pipe to be gone
_PR_SET_PDEATHSIG = 1
_TOLD = 0  # the number of a call that wants no answer

Start = Callable[[], contextlib.AbstractContextManager[Any]]


class Overdue(InternalError):
    """A call missed its deadline, and its worker was ended."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one call: ``value``, or the ``error`` that it raised or that ended its worker."""

    call: int
    value: Any = None
    error: PxError | None = None
    details: str = ""


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    call: int | None = None
    deadline: float = 0.0


@contextlib.contextmanager
def seldom_collected() -> Iterator[None]:
    """With few looks for cyclic garbage, none of them at what exists already."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(*_COLLECT_AFTER)
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
        gc.collect()  # or what one repair leaves burdens the next


def give_back() -> None:
    """Let go of cyclic garbage, and of memory that is free: after a long call that others unlike it follow."""
    gc.unfreeze()
    tidy()


def tidy() -> None:
    """The same for what was made since: what is left now stays, and is not looked at again. Often, in long work."""
    gc.collect()
    gc.freeze()
    with contextlib.suppress(AttributeError):  # a C library other than GNU's
        ctypes.CDLL(None).malloc_trim(0)


class Workers:
    """``count`` processes, each with the service that ``start`` makes in it.

    Args:
        start: called in each worker; gives a context manager whose value has the methods to call.
        count: how many.
        forget: called in each worker first: closes what only the parent should hold.
        log: gets the details of errors of ours, or None.
    """

    def __init__(
        self, start: Start, count: int, forget: Callable[[], None] = lambda: None, log: Path | None = None
    ) -> None:
        self._start = start
        self._log = log
        self._forget = forget
        self._context = multiprocessing.get_context("fork")
        self._calls = 0
        self._workers = [self._make() for _ in range(count)]

    def _make(self) -> _Worker:
        ours, theirs = self._context.Pipe()
        arguments = (theirs, ours, self._start, self._forget, os.getpid())
        process = self._context.Process(target=_serve, args=arguments, daemon=True)
        with uninterrupted():  # in the worker too, until it knows what to do about an interruption
            process.start()
        theirs.close()
        return _Worker(process, ours)

    @property
    def count(self) -> int:
        """How many workers there are."""
        return len(self._workers)

    @property
    def idle(self) -> int:
        """How many workers wait for a call."""
        return sum(worker.call is None for worker in self._workers)

    @property
    def busy(self) -> int:
        """How many calls are under way."""
        return len(self._workers) - self.idle

    def submit(self, method: str, *arguments: Any, seconds: float) -> int:
        """Hand a call to an idle worker; its number comes back in the ``Answer``.

        Args:
            method: name of a method of the service.
            arguments: its arguments, picklable.
            seconds: after which the worker is taken for dead and replaced.
        """
        worker = next(w for w in self._workers if w.call is None)
        self._calls += 1
        worker.call, worker.deadline = self._calls, time.monotonic() + seconds
        # A worker that died while idle shows as an answer with its end.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            worker.pipe.send((self._calls, method, arguments))
        return self._calls

    def tell(self, method: str, *arguments: Any) -> None:
        """Have every idle worker call a method before whatever it is asked next; nobody waits for it or sees its error.

        What it prepares must come about without it too: a worker that takes the place of another was not told.
        """
        for worker in self._workers:
            if worker.call is None:
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    worker.pipe.send((_TOLD, method, arguments))

    def answers(self, timeout: float) -> Iterator[Answer]:
        """The calls that finished, waiting up to ``timeout`` seconds for the first."""
        busy = {worker.pipe: worker for worker in self._workers if worker.call is not None}
        if not busy:
            return
        now = time.monotonic()
        first = min(worker.deadline for worker in busy.values()) - now
        ready = wait(list(busy), max(0.0, min(timeout, first)))
        for pipe in ready:
            worker = busy[pipe]  # type: ignore[index]
            number, worker.call = worker.call or 0, None
            try:
                answer: Answer = worker.pipe.recv()
            except (EOFError, OSError):
                answer = Answer(number, error=InternalError(self._end(worker), stage="worker"))
            yield answer
        now = time.monotonic()
        for worker in busy.values():
            if worker.call is not None and worker.deadline <= now:
                number, worker.call = worker.call, None
                self._replace(worker)
                yield Answer(number, error=Overdue("the worker missed its deadline", stage="worker"))

    def call(self, method: str, *arguments: Any, seconds: float) -> Any:
        """One call, waited for; raises what it raised.

        Raises:
            PxError: of the call, or ``InternalError`` when its worker died.
        """
        return self.gather([(method, *arguments)], seconds=seconds)[0]

    def gather(
        self, calls: Sequence[tuple[Any, ...]], *, seconds: float, meanwhile: Callable[[], None] | None = None
    ) -> list[Any]:
        """Several calls side by side, ``(method, *arguments)`` each; their values in the same order.

        ``meanwhile`` is called once while the workers are busy.

        Raises:
            PxError: of the first call that raised, after all have ended.
        """
        done = dict(self._finished(calls, seconds, meanwhile))
        failed = next((done[at] for at in range(len(calls)) if done[at].error is not None), None)
        if failed is not None:
            raise self.logged(failed)
        return [done[at].value for at in range(len(calls))]

    def until(
        self, calls: Sequence[tuple[Any, ...]], *, seconds: float, meanwhile: Callable[[], None] | None = None
    ) -> list[Any]:
        """As ``gather``, but None in the place of each call that did not end within ``seconds``."""
        done = dict(self._finished(calls, seconds, meanwhile))
        for answer in done.values():
            if answer.error is not None and not isinstance(answer.error, Overdue):
                raise self.logged(answer)
        return [done[at].value for at in range(len(calls))]

    def each(
        self, method: str, items: Sequence[Any], *, seconds: float, say: Callable[[Any], None]
    ) -> list[Any]:
        """A call for each item, side by side; ``say`` is told of each value as it comes. In the order of the items.

        Raises:
            PxError: of a call, as soon as it raised; the others go on until the workers are closed.
        """
        values: dict[int, Any] = {}
        for at, answer in self._finished([(method, item) for item in items], seconds):
            if answer.error is not None:
                raise self.logged(answer)
            values[at] = answer.value
            say(answer.value)
        return [values[at] for at in range(len(items))]

    def _finished(
        self, calls: Sequence[tuple[Any, ...]], seconds: float, meanwhile: Callable[[], None] | None = None
    ) -> Iterator[tuple[int, Answer]]:
        """Each call's place and answer, as they finish."""
        waiting, running = list(enumerate(calls)), dict[int, int]()
        while waiting or running:
            while waiting and self.idle:
                at, (method, *arguments) = waiting.pop(0)
                running[self.submit(method, *arguments, seconds=seconds)] = at
            if meanwhile is not None:
                meanwhile()
                meanwhile = None
            for answer in self.answers(seconds):
                yield running.pop(answer.call), answer

    def logged(self, answer: Answer) -> PxError:
        """The error of an answer; its details, if it has any, go to the log first."""
        assert answer.error is not None
        if self._log is not None and answer.details:
            with self._log.open("a") as log:
                log.write(answer.details + "\n")
            answer.error.log = self._log
        return answer.error

    def abandon(self) -> list[int]:
        """Give up the calls under way: their workers are replaced. Returns their numbers."""
        dropped = [worker for worker in self._workers if worker.call is not None]
        numbers = [worker.call or 0 for worker in dropped]
        for worker in dropped:
            worker.call = None
            self._replace(worker)
        return numbers

    def _end(self, worker: _Worker) -> str:
        """Replace a dead worker; how it ended."""
        worker.process.join(GRACE_SECONDS)
        code = worker.process.exitcode
        self._replace(worker)
        if code is not None and code < 0:
            return f"the worker was ended by {signal.Signals(-code).name}"
        return f"the worker ended with status {code}"

    def _replace(self, worker: _Worker) -> None:
        _stop([worker])
        fresh = self._make()
        worker.process, worker.pipe = fresh.process, fresh.pipe

    def close(self) -> None:
        """End every worker, and with it whatever it runs."""
        _stop(self._workers)
        self._workers = []


def _stop(workers: list[_Worker]) -> None:
    """Kill at once: what a worker started dies with it, and what it writes is written whole or not at all."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.pipe.close()


def _serve(
    pipe: Connection, parents: Connection, start: Start, forget: Callable[[], None], parent: int
) -> None:
    """The body of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends us
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    if not dies_with(parent):
        return
    parents.close()
    forget()
    with contextlib.suppress(EOFError, BrokenPipeError), contextlib.ExitStack() as stack:
        service, failure = None, None
        stack.enter_context(seldom_collected())
        try:
            service = stack.enter_context(start())
        except Exception as error:
            failure = _failure(0, error, "start")
        while True:
            number, method, arguments = pipe.recv()
            if number == _TOLD:
                if failure is None:
                    _answer(number, service, method, arguments)
            elif failure is None:
                pipe.send(_answer(number, service, method, arguments))
            else:
                pipe.send(replace(failure, call=number))


def dies_with(parent: int) -> bool:
    """Let this process be killed when ``parent``, which forked it, ends; False when that has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    return os.getppid() == parent


def _answer(number: int, service: Any, method: str, arguments: tuple[Any, ...]) -> Answer:
    try:
        return Answer(number, getattr(service, method)(*arguments))
    except Exception as error:
        return _failure(number, error, method)


def _failure(number: int, error: Exception, stage: str) -> Answer:
    """The answer to a call that raised: errors of ours cross whole, surprises with their details."""
    if isinstance(error, PxError):
        return Answer(number, error=error)
    text = f"{type(error).__name__}: {error}".splitlines()[0]
    return Answer(number, error=InternalError(text, stage=stage), details=traceback.format_exc())
