"""A machine that is put back for the next kernel: boots end as in a new one, and find nothing of another kernel."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.boot import kernels
from tests.processes import having
from toolchain import qemu, qmp, rewind
from toolchain.rewind import Rewinder
from toolchain.serial import SerialLog
from toolchain.types import BootConfig, BootResult, OutcomeName

pytestmark = pytest.mark.qemu

DEADLINE = 60.0  # for what must happen on a loaded machine


def config(image: Path, **more: Any) -> BootConfig:
    return replace(BootConfig(image, timeout=DEADLINE, log_dir=image.parent / "log", memory="32M"), **more)


def told(result: BootResult) -> dict[str, Any]:
    """All that a boot tells, but for times, places, and what QEMU logs of its own start.

    A power-off is carried out by another thread than the processor's: whether that has come to the next instruction,
    a `hlt`, is chance in any machine.
    """
    snapshot = result.snapshot
    chance = ("rip",) if result.outcome == "shutdown" else ()
    return {
        "outcome": result.outcome,
        "status": result.qemu_status,
        "serial": result.serial,
        "units": result.units,
        "tests": result.tests,
        "fault": result.kernel_fault,
        "panic": result.panic,
        "command": list(result.command[: (*result.command, "-chardev").index("-chardev")]),
        "registers": snapshot and {k: v for k, v in snapshot.registers.items() if k not in chance},
        "bars": snapshot and snapshot.bars,
        "screen": snapshot and snapshot.screen,
        "memory": snapshot and [c for c in snapshot.memory if c.physical >= rewind.HEADERS_END],
    }


def ended(log: SerialLog) -> OutcomeName | None:
    """As a repair does, so that a kernel that has died does not end its machine."""
    return "panic" if log.panic is not None else None


@pytest.mark.parametrize(
    ("kind", "outcome", "rewound"),
    [
        ("ready", "ready", True),
        ("reset", "reset", True),
        ("shutdown", "shutdown", True),
        ("triple", "fault", True),
        ("panic", "panic", True),
        ("silent", "silent", True),
        ("hang", "timeout", True),
        ("tests-failed", "tests-failed", False),
        ("cut-report", "fault", False),
    ],
)
def test_it_ends_as_in_a_new_machine(tmp_path: Path, kind: str, outcome: str, rewound: bool) -> None:
    """With instructions counted, so that time passes alike. A kernel that ends QEMU by itself ends the machine too."""
    boots = config(kernels.outcome_kernel(tmp_path, kind), icount=True, inspect_ready=True, stall=DEADLINE)
    new = qemu.boot(boots, enough=ended)
    assert new.outcome == outcome
    with Rewinder() as rewinder:
        for _ in range(4):
            result = qemu.boot(boots, enough=ended, rewinder=rewinder)
            assert told(result) == told(new)
            assert (boots.log_dir / "serial.log").read_bytes().decode("latin-1") == new.serial  # type: ignore[operator]
        assert (rewinder.turns > 1) == rewound


def test_nothing_is_left_of_the_kernel_before(tmp_path: Path) -> None:
    leaves = config(kernels.build("traces.s", tmp_path / "leaves.elf", KIND=0))
    looks = config(kernels.build("traces.s", tmp_path / "looks.elf", KIND=1))
    new = qemu.boot(looks)
    assert [line.split()[1] for line in new.serial.splitlines() if "clean" in line] == [
        "memory", "display", "cmos", "palette", "uart",
    ]  # fmt: skip
    with Rewinder() as rewinder:
        for _ in range(3):
            assert qemu.boot(leaves, rewinder=rewinder).outcome == "ready"
            assert qemu.boot(looks, rewinder=rewinder).serial == new.serial
        assert rewinder.turns == 5


def test_a_machine_that_somebody_ends_is_replaced(tmp_path: Path) -> None:
    boots = config(kernels.outcome_kernel(tmp_path, "ready"))
    with Rewinder() as rewinder:
        outcomes = [qemu.boot(boots, rewinder=rewinder).outcome for _ in range(3)]
        assert rewinder.process is not None
        os.kill(rewinder.process, signal.SIGKILL)
        outcomes += [qemu.boot(boots, rewinder=rewinder).outcome for _ in range(3)]
        assert outcomes == ["ready"] * 6 and rewinder.turns


def test_a_machine_that_does_not_stand_still_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: object) -> None:
        raise qmp.QmpError("no answer")

    boots = config(kernels.outcome_kernel(tmp_path, "ready"))
    monkeypatch.setattr(rewind._Base, "halt", refuse)
    with Rewinder() as rewinder:
        for _ in range(3):
            assert qemu.boot(boots, rewinder=rewinder).outcome == "ready"
            assert rewinder.turns == 0 and not having(str(tmp_path))


def test_a_qemu_that_cannot_be_rewound_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def refuse(self: object, *lines: str) -> None:
        asked.append(lines)
        raise qmp.QmpError("no such command")

    monkeypatch.setattr(rewind._Base, "_say", refuse)
    boots = config(kernels.outcome_kernel(tmp_path, "ready"))
    with Rewinder() as rewinder:
        assert [qemu.boot(boots, rewinder=rewinder).outcome for _ in range(4)] == ["ready"] * 4
    assert len(asked) == 1


def test_what_cannot_be_rewound_is_booted_by_itself(tmp_path: Path) -> None:
    image = kernels.outcome_kernel(tmp_path, "ready")
    bare = tmp_path / "bare.elf"
    bare.write_bytes(b"\x7fELF and nothing else")
    with Rewinder() as rewinder:
        for boots, outcome in (
            (config(image, smp=2), "ready"),
            (config(bare), "qemu-died"),
            (config(image, cpu="no-such-cpu"), "qemu-died"),
        ):
            assert [qemu.boot(boots, rewinder=rewinder).outcome for _ in range(3)] == [outcome] * 3
            assert rewinder.turns == 0


def test_it_dies_with_who_boots(tmp_path: Path) -> None:
    image = kernels.outcome_kernel(tmp_path, "ready")
    code = (
        "import sys, pathlib; from toolchain import qemu; from toolchain.types import BootConfig\n"
        "from toolchain.rewind import Rewinder\n"
        f"rewinder = Rewinder(); image = pathlib.Path({str(image)!r})\n"
        "for _ in range(3): qemu.boot(BootConfig(image), rewinder=rewinder)\n"
        "print(rewinder.process, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        handle = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended = select.poll()
    ended.register(handle, select.POLLIN)
    assert ended.poll(DEADLINE * 1000)
    os.close(handle)
