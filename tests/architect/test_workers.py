"""Worker processes: answers, errors, deaths, deadlines, and no process left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from architect.workers import Workers
from toolchain.errors import InputError, InternalError, ToolError
from toolchain.types import Diagnostic, Place


class Service:
    def __init__(self) -> None:
        self.calls = 0

    def echo(self, value: object) -> object:
        self.calls += 1
        return value, os.getpid()

    def count(self) -> int:
        return self.calls

    def refuse(self) -> None:
        place = Place("a.s", 3, "mov x")
        raise InputError("two errors", stage="assemble", diagnostics=[Diagnostic(place, "bad", "good")])

    def tool(self) -> None:
        raise ToolError("no qemu", stage="boot", command=("qemu", "-x"), returncode=1, log=Path("/log"))

    def stumble(self) -> None:
        raise KeyError("surprise")

    def die(self) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def die_at(self, number: int) -> int:
        if number == 1:
            self.die()
        return number

    def hang(self) -> None:
        signal.pause()


@contextlib.contextmanager
def start() -> Iterator[Service]:
    yield Service()


@pytest.fixture
def workers() -> Iterator[Workers]:
    made = Workers(start, 2)
    yield made
    made.close()


def test_calls_run_in_parallel_and_answer_by_number(workers: Workers) -> None:
    numbers = {workers.submit("echo", n, seconds=10): n for n in range(2)}
    assert (workers.idle, workers.busy) == (0, 2)
    found: dict[int, tuple[object, int]] = {}
    while workers.busy:
        found |= {answer.call: answer.value for answer in workers.answers(10)}
    assert {call: value for call, (value, _) in found.items()} == numbers
    assert len({pid for _, pid in found.values()} - {os.getpid()}) == 2


def test_calls_gathered_come_back_in_their_order(workers: Workers) -> None:
    busy: list[int] = []
    values = workers.gather(
        [("echo", n) for n in range(5)], seconds=10, meanwhile=lambda: busy.append(workers.busy)
    )
    assert [value for value, _ in values] == list(range(5))
    assert busy == [2], "once, while they work"
    with pytest.raises(InputError, match="two errors"):
        workers.gather([("echo", 1), ("refuse",), ("echo", 2)], seconds=10)
    assert workers.idle == 2


def test_the_service_stays_warm() -> None:
    alone = Workers(start, 1)
    alone.call("echo", 1, seconds=10)
    alone.call("echo", 2, seconds=10)
    assert alone.call("count", seconds=10) == 2
    alone.close()


def test_errors_of_ours_cross_whole(workers: Workers) -> None:
    with pytest.raises(InputError, match="two errors") as caught:
        workers.call("refuse", seconds=10)
    assert caught.value.lines()[0].startswith("a.s:3: error: bad")
    assert (caught.value.stage, caught.value.status) == ("assemble", 2)
    with pytest.raises(ToolError) as tool:
        workers.call("tool", seconds=10)
    assert (tool.value.command, tool.value.returncode, tool.value.log) == (("qemu", "-x"), 1, Path("/log"))


def test_a_surprise_is_an_answer_with_details(workers: Workers) -> None:
    call = workers.submit("stumble", seconds=10)
    (answer,) = workers.answers(10)
    assert answer.call == call and isinstance(answer.error, InternalError)
    assert "KeyError" in answer.error.message and "Traceback" in answer.details


def test_a_dead_worker_is_told_and_replaced(workers: Workers) -> None:
    with pytest.raises(InternalError, match="ended by SIGKILL"):
        workers.call("die", seconds=10)
    assert workers.idle == 2
    assert workers.call("echo", 5, seconds=10)[0] == 5


def test_a_missed_deadline_costs_the_worker(workers: Workers) -> None:
    with pytest.raises(InternalError, match="missed its deadline"):
        workers.call("hang", seconds=0.05)
    assert workers.call("echo", 5, seconds=10)[0] == 5


def test_abandoned_calls_never_answer(workers: Workers) -> None:
    number = workers.submit("hang", seconds=60)
    assert workers.abandon() == [number]
    assert workers.call("echo", 6, seconds=10)[0] == 6


def test_a_service_that_cannot_start_says_why() -> None:
    @contextlib.contextmanager
    def broken() -> Iterator[Service]:
        raise ToolError("no keystone", stage="encode")
        yield Service()

    made = Workers(broken, 1)
    for _ in range(2):
        with pytest.raises(ToolError, match="no keystone"):
            made.call("echo", 1, seconds=10)
    made.close()


def test_a_service_that_breaks_at_its_start_says_so(capfd: pytest.CaptureFixture[str]) -> None:
    made = Workers(lambda: contextlib.nullcontext(1 // 0), 1)
    with pytest.raises(InternalError, match="ZeroDivisionError"):
        made.call("echo", 1, seconds=10)
    made.close()
    assert capfd.readouterr().err == ""


def test_workers_die_with_a_killed_parent() -> None:
    """The parent is killed with its calls under way; the pipe that the workers hold open then reads its end."""
    script = textwrap.dedent(
        """
        import sys
        from tests.architect.test_workers import start
        from architect.workers import Workers
        made = Workers(start, 2)
        print(made.call("echo", 1, seconds=10)[1], flush=True)
        made.submit("hang", seconds=60)
        made.submit("hang", seconds=60)
        print("ready", flush=True)
        sys.stdin.read()
        """
    )
    root = Path(__file__).parent.parent.parent
    parent = subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root, text=True
    )
    assert parent.stdin and parent.stdout
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline() == "ready\n"
    os.kill(pid, 0)
    parent.kill()
    assert parent.stdout.read() == ""  # returns only when every holder of the pipe is gone
    parent.wait(10)
    parent.stdin.close()


def test_each_item_is_told_and_comes_back_in_its_place(workers: Workers) -> None:
    told: list[tuple[object, int]] = []
    values = workers.each("echo", range(7), seconds=30, say=told.append)
    assert [value for value, _ in values] == list(range(7))
    assert sorted(told) == sorted(values)


def test_each_ends_with_the_first_error(workers: Workers) -> None:
    told: list[object] = []
    with pytest.raises(InternalError):
        workers.each("die_at", [0, 1, 2, 3], seconds=30, say=told.append)
    assert 1 not in told


def test_what_workers_are_told_comes_before_their_next_call_and_is_not_answered(workers: Workers) -> None:
    for _ in range(3):
        workers.tell("echo", 0)
    workers.tell("stumble")  # nobody sees it
    workers.tell("no_such_method")
    numbers = [workers.submit("count", seconds=10) for _ in range(2)]
    found: dict[int, object] = {}
    while workers.busy:
        found |= {answer.call: answer.value for answer in workers.answers(10)}
    assert found == dict.fromkeys(numbers, 3)


def test_a_worker_that_dies_of_what_it_was_told_is_replaced(workers: Workers) -> None:
    workers.tell("die")
    for _ in range(2):
        workers.submit("count", seconds=10)
    found = []
    while workers.busy:
        found += list(workers.answers(10))
    assert ["SIGKILL" in str(answer.error) for answer in found] == [True, True]
    assert workers.call("count", seconds=10) == 0
