"""A cold build in two processes: the same result, the same errors, nothing left running."""

from __future__ import annotations

import io
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from toolchain import bench_kernel, build, forked, packed, parallel
from toolchain.build import Session
from toolchain.command import Ui
from toolchain.errors import InputError
from toolchain.forked import Forked

pytestmark = pytest.mark.skipif(not forked.available(), reason="one core, or a process with threads")


class Halves(parallel.Queue):
    """Gives every second unit to the process that made it, the others to its fork: whoever is free when."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(names)
        self._maker = os.getpid()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names[0 if os.getpid() == self._maker else 1 :: 2])


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    bench_kernel.write(tmp_path / "tree", 900)
    monkeypatch.setattr(parallel, "SMALL", 0)
    monkeypatch.setattr(parallel, "Queue", Halves)
    assert len(units(tmp_path / "tree")) > 1
    return tmp_path / "tree"


def units(tree: Path) -> list[str]:
    return sorted(path.name for path in tree.glob("*.s"))


def halves(tree: Path) -> tuple[str, str]:
    """A unit of the first process and one of the second."""
    names = sorted(units(tree), key=lambda name: (-(tree / name).stat().st_size, name))
    return names[0], names[1]


def children() -> list[str]:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()


def test_same_image_and_nothing_left(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = children()
    found = build.once(tree)
    assert children() == before
    with Session(tree) as session:
        assert found == (session.build(), session.sources())
    monkeypatch.setattr(forked, "available", lambda: False)
    monkeypatch.setattr(parallel, "Queue", Halves.__base__)
    assert build.once(tree) == found


def test_errors_in_both_parts_are_told_whole_and_in_order(tree: Path) -> None:
    for name in halves(tree):
        path = tree / name
        path.write_text(path.read_text() + "    bogus eax\n")
    with pytest.raises(InputError) as caught:
        build.once(tree)
    lines = caught.value.lines()
    assert len(lines) == 2
    assert lines == sorted(lines)
    assert all("    bogus eax\n        ^" in line for line in lines)


def test_warnings_of_both_parts_are_told(tree: Path) -> None:
    for name in halves(tree):
        path = tree / name
        path.write_text(path.read_text() + '    .warning "look here"\n')
    told = io.StringIO()
    result = build.build(tree, tree / "out", iso=False, ui=Ui(told))
    assert len(result.warnings) == 2
    for warning in result.warnings:
        assert "warning: look here\n        .warning" in warning
        assert f"{warning}\n" in told.getvalue()
    with Session(tree) as session:
        assert session.build().warnings == session.build().warnings == result.warnings


def test_errors_of_the_link_are_told_with_their_source(tree: Path) -> None:
    _, second = halves(tree)
    path = tree / second
    path.write_text(path.read_text() + ".text\n    call nowhere\n")
    with pytest.raises(InputError) as caught:
        build.once(tree)
    (line,) = caught.value.lines()
    assert line.startswith(f"{second}:")
    assert "undefined symbol `nowhere'\n    " in line
    assert "call nowhere" in line


def test_a_second_process_that_dies_costs_nothing_but_time(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = build.once(tree)
    monkeypatch.setattr(packed, "pack", lambda made: os.kill(os.getpid(), signal.SIGKILL))
    assert build.once(tree) == expected


def test_small_trees_stay_in_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench_kernel.write(tmp_path / "tree", 300)
    with Session(tmp_path / "tree") as session:
        expected = session.build(), session.sources()
    monkeypatch.setattr(forked, "Forked", None)  # calling it would raise
    assert build.once(tmp_path / "tree") == expected


@pytest.mark.parametrize("count", [1, 2000, 5000])
def test_two_processes_take_every_unit_once(count: int) -> None:
    names = [f"unit{number}" for number in range(count)]
    queue = parallel.Queue(names)
    child = Forked(lambda: list(queue))
    try:
        own = list(queue)
        others = child.result()
    finally:
        child.cancel()
        queue.close()
    assert isinstance(others, list)
    assert sorted([*own, *others]) == sorted(names)


def test_results_come_back() -> None:
    data = {"a": [1, (2, b"x")], "b": "t" * 200_000}
    before, open_files = children(), os.listdir("/proc/self/fd")  # noqa: PTH208 - names, not paths
    functions: list[tuple[Callable[[], object], object]] = [
        (lambda: data, data),
        (lambda: 1 // 0, None),
        (lambda: object(), None),
        (lambda: os._exit(3), None),
        (lambda: os.kill(os.getpid(), signal.SIGKILL), None),
    ]
    for function, expected in functions:
        child = Forked(function)
        assert child.result() == expected
        child.cancel()
    assert children() == before
    assert os.listdir("/proc/self/fd") == open_files  # noqa: PTH208


def test_cancel_ends_the_child() -> None:
    before = children()
    child = Forked(signal.pause)
    assert len(children()) == len(before) + 1
    child.cancel()
    assert children() == before
    child.cancel()
