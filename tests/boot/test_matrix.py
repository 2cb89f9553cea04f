"""The kernel's own tests on a sample of the machines of ``tests/boot/matrix.py``, in which each two values meet."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tests.boot import matrix
from toolchain import qemu

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> matrix.Images:
    return matrix.images(tmp_path_factory.mktemp("matrix"))


@pytest.mark.parametrize("point", matrix.sample(matrix.points()), ids=lambda point: point.name)
def test_the_kernel_passes_its_tests(kernel: matrix.Images, point: matrix.Point) -> None:
    result = qemu.boot(point.config(kernel.elf, kernel.iso))
    assert matrix.judge(point, result) == [], result.serial


def test_another_machine_than_was_asked_for_is_told(kernel: matrix.Images) -> None:
    came = matrix.Point("q35", "direct", 1, "64M", "none")
    result = qemu.boot(came.config(kernel.elf, kernel.iso))
    assert matrix.judge(came, result) == []
    for change, said in (
        ({"cpus": 2}, "1 CPUs of 2"),
        ({"memory": "512M"}, "12% of the memory found"),
        ({"display": "std"}, "unit gpu: skip"),
        ({"cpus": 4}, "processors_are_themselves skipped: one CPU"),
    ):
        assert said in matrix.judge(dataclasses.replace(came, **change), result)
    cut = dataclasses.replace(result, outcome="timeout", tests={"a": True, "b": False})
    assert matrix.judge(came, cut) == ["timeout b"]


def test_the_record_of_an_interrupted_run_is_taken_up(tmp_path: Path) -> None:
    record = tmp_path / matrix.VERDICTS
    assert matrix.past(record, "one") == {}
    record.write_text(
        '{"image": "one", "point": "a", "seconds": 1, "problems": []}\n'
        '{"image": "one", "point": "b", "seconds": 1, "problems": ["timeout"]}\n'
        '{"image": "two", "point": "c", "seconds": 1, "problems": []}\n'
        '{"image": "one", "po'
    )
    assert set(matrix.past(record, "one")) == {"a"}
