"""What every watch over a machine shares: deadlines that make up for a busy host, a log with a bound."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest

from toolchain import vigil
from toolchain.machine import Machine
from toolchain.vigil import Vigil


class _Machine:
    """Stands for QEMU: seconds without a core, bytes of log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.seconds = 0.0
        self.bytes = 0
        self.stops = 0

    def starved_seconds(self) -> float:
        return self.seconds

    def log_size(self) -> int:
        return self.bytes

    def stop_log(self) -> None:
        self.stops += 1


@pytest.fixture
def machine(tmp_path: Path) -> _Machine:
    return _Machine(tmp_path)


def test_seconds_without_a_core_count_once(machine: _Machine) -> None:
    watch = Vigil(cast(Machine, machine), 0.0)
    found = []
    for machine.seconds in (0.5, 0.5, 2.0, 900.0):
        found.append(watch.newly_starved())
    assert found == [0.5, 0.0, 1.5, 898.0]


def test_they_are_made_up_for_up_to_a_bound(machine: _Machine) -> None:
    watch = Vigil(cast(Machine, machine), 0.0, most_starved=3.0)
    found = []
    for machine.seconds in (2.0, 5.0, 9.0):
        found.append(watch.newly_starved())
    assert found == [2.0, 1.0, 0.0]


def test_a_log_is_stopped_once_and_not_before_its_bound(
    machine: _Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vigil, "LOG_LIMIT", 100)
    watch = Vigil(cast(Machine, machine), 0.0)
    for machine.bytes in (0, 100):
        watch.limit_log()
    assert machine.stops == 0
    for machine.bytes in (101, 102):
        watch.limit_log()
    assert machine.stops == 1


def test_a_log_is_read_from_its_end(machine: _Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "LOG_TEXT", 12)
    watch = Vigil(cast(Machine, machine), 0.0)
    assert watch.log_tail() == b""
    (machine.folder / "qemu.log").write_bytes(b"first line\nsecond\nthird\n")
    assert watch.log_tail() == b"third\n"
