"""Every way a boot can end is told from every other, and none leaves a QEMU behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.boot import kernels
from tests.processes import having
from toolchain import accel, files, hopeless, machine, qemu, qemu_args, snapshot, vigil, walk
from toolchain.errors import InputError, ToolError
from toolchain.qmp import Qmp, QmpClosed
from toolchain.serial import SerialLog
from toolchain.types import BootConfig, BootResult, OutcomeName

pytestmark = pytest.mark.qemu

SCHEMAS = Path(qemu.__file__).parent / "schemas"
PXOS = [sys.executable, "-m", "cli"]
DEADLINE = 60.0  # for what must happen on a loaded machine


def config(folder: Path, kind: str, **more: Any) -> BootConfig:
    return BootConfig(kernels.outcome_kernel(folder, kind), timeout=DEADLINE, log_dir=folder / "log", **more)


def boot(folder: Path, kind: str, **more: Any) -> BootResult:
    return qemu.boot(replace(config(folder, kind), **more))


@pytest.mark.parametrize(
    ("kind", "outcome", "status"),
    [
        ("ready", "ready", None),
        ("reset", "reset", None),
        ("shutdown", "shutdown", None),
        ("triple", "fault", None),
        ("panic", "panic", 37),
        ("tests-failed", "tests-failed", 35),
        ("tests-cut", "tests-failed", 33),
        ("wordless", "shutdown", 33),
        ("cut-report", "fault", 37),
    ],
)
def test_how_it_ended(tmp_path: Path, kind: str, outcome: str, status: int | None) -> None:
    result = boot(tmp_path, kind)
    assert (result.outcome, result.qemu_status) == (outcome, status)
    assert (tmp_path / "log/serial.log").read_bytes().decode("latin-1") == result.serial


@pytest.mark.parametrize(
    ("kind", "outcome"), [("silent", "silent"), ("hang", "timeout"), ("serial-flood", "timeout")]
)
def test_the_deadline(tmp_path: Path, kind: str, outcome: str) -> None:
    result = boot(tmp_path, kind, timeout=1.0)
    assert (result.outcome, result.qemu_status) == (outcome, None)
    assert result.snapshot is not None and result.snapshot.registers["rip"] >> 20 == 1


def test_a_kernel_that_says_nothing_more_is_not_waited_for(tmp_path: Path) -> None:
    result = boot(tmp_path, "hang", stall=0.5)
    assert result.outcome == "timeout" and result.seconds < DEADLINE
    assert boot(tmp_path, "serial-flood", stall=0.5).outcome == "timeout", "bytes alone are no progress"


def test_a_host_without_a_free_core_is_no_silence_of_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine.Machine, "starved_seconds", lambda self: 2.0)
    monkeypatch.setattr(hopeless, "reason", lambda dump, *, spoken: None)
    assert boot(tmp_path, "hang", stall=0.5).seconds >= 2.5
    assert boot(tmp_path, "hang", stall=0.5, timeout=1.0).seconds < 2.5, "the whole is bounded all the same"


@pytest.mark.parametrize(("kind", "outcome"), [("hang", "timeout"), ("silent", "silent")])
def test_a_kernel_that_can_never_speak_again_is_told_by_its_registers(
    tmp_path: Path, kind: str, outcome: str
) -> None:
    """One loops in 32-bit code behind its first boot unit, the other halts with interrupts off."""
    result = boot(tmp_path, kind, stall=DEADLINE)
    assert result.outcome == outcome and result.seconds < DEADLINE and result.snapshot is not None
    two = boot(tmp_path, kind, stall=1.0, smp=2)
    assert two.outcome == outcome and two.seconds >= 1.0, "another processor may wake it"


def test_who_has_heard_enough_ends_the_boot(tmp_path: Path) -> None:
    asked = []

    def enough(log: SerialLog) -> OutcomeName | None:
        asked.append(len(log.units))
        return "tests-failed" if log.units else None

    result = qemu.boot(config(tmp_path, "serial-flood"), enough=enough)
    assert (result.outcome, result.qemu_status, result.snapshot) == ("tests-failed", None, None)
    assert asked[-1] == 1 and set(asked[:-1]) <= {0}


def test_how_long_threads_ran_and_waited_for_a_core(tmp_path: Path) -> None:
    for number, text in enumerate(("5 1500000000 7\n", "9000000000 20 1\n", "", "no numbers\n")):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "schedstat").write_text(text)
    (tmp_path / "gone").mkdir()
    assert machine.scheduled(tmp_path) == (9.0, 1.5)
    assert machine.scheduled(tmp_path / "nothing") == (0.0, 0.0)


def test_units_and_their_values(tmp_path: Path) -> None:
    result = boot(tmp_path, "ready")
    assert [(u.name, u.state, u.tsc_start, u.tsc, u.values) for u in result.units] == [
        ("serial", "ok", 10, 20, {"port": "0x3f8"}),
        ("gpu", "skip", 30, 40, {"reason": "absent"}),
    ]


def test_with_the_word_test_the_kernel_ends_itself(tmp_path: Path) -> None:
    result = boot(tmp_path, "tests-passed", cmdline="test")
    assert (result.outcome, result.qemu_status) == ("tests-passed", 33)
    assert result.tests == {"frame.alloc": True, "page.map": True}
    assert boot(tmp_path, "ready-exit", cmdline="exit").qemu_status == 33
    assert boot(tmp_path, "ready", cmdline="exit", timeout=1.0).outcome == "timeout"


def test_a_qemu_that_refuses_is_no_verdict_on_the_kernel(tmp_path: Path) -> None:
    result = boot(tmp_path, "ready", cpu="no-such-cpu")
    assert result.outcome == "qemu-died" and result.qemu_status == 1
    assert "no-such-cpu" in result.stderr_tail


def test_an_image_that_qemu_cannot_load(tmp_path: Path) -> None:
    image = tmp_path / "bare.elf"
    image.write_bytes(accel.pvh_elf(b"\xf4").replace(b"\x12\0\0\0Xen\0", b"\x13\0\0\0Xen\0"))
    result = qemu.boot(BootConfig(image, timeout=DEADLINE))
    assert result.outcome == "qemu-died" and "PVH" in result.stderr_tail


def test_an_exception_flood_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "LOG_LIMIT", 1 << 20)
    result = boot(tmp_path, "exception-flood", timeout=3.0)
    assert result.outcome == "silent"
    first = (tmp_path / "log/qemu.log").stat().st_size
    assert first < 256 << 20 and len(result.qemu_log) <= qemu.LOG_TEXT


def test_a_death_before_the_monitor_is_negotiated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "log/qemu.log"

    def late(connection: Any) -> Qmp:
        wait_for(lambda: log.is_file() and b"Triple fault" in log.read_bytes())
        return Qmp(connection)

    monkeypatch.setattr(machine, "Qmp", late)
    assert boot(tmp_path, "triple").outcome == "fault"


def test_an_exit_that_is_quicker_than_its_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let go on after its report, the kernel ends QEMU; the line may close before ``cont`` is answered."""

    def resume(self: machine.Machine) -> None:
        self.qmp.execute("cont")
        raise QmpClosed("QEMU has gone before it answered cont")

    monkeypatch.setattr(machine.Machine, "resume", resume)
    assert boot(tmp_path, "panic").qemu_status == 37


def test_without_a_log_folder_nothing_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    result = qemu.boot(replace(config(tmp_path, "ready"), log_dir=None))
    assert result.outcome == "ready" and result.log_dir is None
    assert list(scratch.iterdir()) == []


def test_a_log_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write"):
        boot(tmp_path, "ready", log_dir=tmp_path / "file")


def test_a_missing_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = config(tmp_path, "ready")
    qemu_args.qemu_path.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(ToolError, match="qemu-system-x86"):
        qemu.boot(asked)
    qemu_args.qemu_path.cache_clear()


def test_a_look_at_the_machine_that_is_ready(tmp_path: Path) -> None:
    result = boot(tmp_path, "ready", inspect_ready=True)
    seen = result.snapshot
    assert seen is not None and seen.screen is not None
    bar = snapshot.display_bar(seen.bars)
    assert bar is not None and (bar.vendor, bar.size) == (0x1234, 16 << 20)
    assert len(seen.screen.pixels) == seen.screen.width * seen.screen.height * 3
    assert boot(tmp_path, "ready", inspect_ready=True, display="none").outcome == "ready"


def test_the_memory_that_is_read_is_the_guests(tmp_path: Path) -> None:
    """The image's bytes as QEMU loaded them, through the snapshot of a hang."""
    result = boot(tmp_path, "hang", timeout=1.0)
    assert result.snapshot is not None
    read = walk.reader(result.snapshot.memory)
    assert read(result.snapshot.registers["rip"], 2) == b"\xeb\xfe"


def test_icount_gives_the_same_boot_twice(tmp_path: Path) -> None:
    image = tmp_path / "count.elf"
    image.write_bytes(accel.counting_kernel())
    command = [*qemu_args.machine_arguments(BootConfig(image, icount=True), "tcg"), "-serial", "stdio"]
    runs = {
        subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False).stdout for _ in range(3)
    }
    assert len(runs) == 1 and len(runs.pop()) == 8


def test_what_a_progress_watcher_is_told(tmp_path: Path) -> None:
    told: list[Any] = []
    qemu.boot(config(tmp_path, "ready"), told.append)
    assert [type(item).__name__ for item in told] == ["Unit"] * 4 + ["Ready"]


# --- nothing is left behind --------------------------------------------------------------------------------


def wait_for(condition: Callable[[], object]) -> None:
    until = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def pxos(folder: Path, *words: str) -> subprocess.Popen[str]:
    """``pxos`` in a session of its own, as a terminal would start it."""
    return subprocess.Popen(
        [*PXOS, *words],
        cwd=folder,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)]
)
@pytest.mark.parametrize("command", ["boot", "run"])
def test_no_qemu_outlives_a_killed_pxos(tmp_path: Path, number: int, status: int, command: str) -> None:
    image = kernels.outcome_kernel(tmp_path, "hang")
    process = pxos(
        tmp_path, command, "--kernel", str(image), "--timeout", "50", "--out", str(tmp_path / "build")
    )
    log = tmp_path / "build/boot/serial.log"
    wait_for(lambda: log.is_file() and b"pcie start" in log.read_bytes())
    assert any("qemu" in Path(f"/proc/{pid}/comm").read_text() for pid in having(str(image)))
    process.send_signal(number)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == status
    assert "Traceback" not in errors
    wait_for(lambda: not having(str(image)))


def test_no_qemu_outlives_an_exception(tmp_path: Path) -> None:
    asked = config(tmp_path, "ready")

    def fail(happening: object) -> None:
        raise RuntimeError("in the middle")

    with pytest.raises(RuntimeError, match="in the middle"):
        qemu.boot(asked, fail)
    assert having(str(asked.image)) == set()


def test_interrupts_at_any_moment(tmp_path: Path) -> None:
    image = kernels.outcome_kernel(tmp_path, "hang")
    for number, delay in enumerate((0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1)):
        out = tmp_path / str(number)
        process = pxos(tmp_path, "boot", "-q", "--kernel", str(image), "--timeout", "50", "--out", str(out))
        wait_for(out.exists)  # from here on it is pxos that is interrupted, and not the start of Python
        time.sleep(delay)  # a moment, whichever it is; nothing waits for it
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=DEADLINE)
        assert (process.returncode, errors) == (130, "pxos: interrupted\n")
        wait_for(lambda: not having(str(image)))


# --- the command -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status"), [("ready", 0), ("triple", 1), ("panic", 1), ("reset", 1), ("hang", 3), ("silent", 3)]
)
def test_exit_status_and_json(tmp_path: Path, kind: str, status: int) -> None:
    image = kernels.outcome_kernel(tmp_path, kind)
    words = ["boot", "--json", "--kernel", str(image), "--out", str(tmp_path / "build")]
    process = pxos(tmp_path, *words, "--timeout", "1" if status == 3 else str(DEADLINE))
    output, errors = process.communicate(timeout=DEADLINE * 2)
    assert process.returncode == status, errors
    data = json.loads(output)
    schemas = {name: json.loads((SCHEMAS / name).read_text()) for name in ("boot.json", "fault.json")}
    validate(data, schemas)
    assert (data["fault"] is None) == (status == 0)


def validate(data: Any, schemas: dict[str, Any]) -> None:
    from referencing import Registry, Resource

    registry: Any = Registry().with_resources(
        [(name, Resource.from_contents(schema)) for name, schema in schemas.items()]
    )
    jsonschema.Draft202012Validator(schemas["boot.json"], registry=registry).validate(data)


def test_two_boots_keep_their_logs_apart(tmp_path: Path) -> None:
    image = kernels.outcome_kernel(tmp_path, "ready")
    with files.claimed(tmp_path / "build/boot", stage="test") as taken:
        process = pxos(tmp_path, "boot", "--json", "--kernel", str(image))
        output, errors = process.communicate(timeout=DEADLINE)
        assert process.returncode == 0, errors
        assert [entry.name for entry in taken.iterdir()] == [files.LOCK_NAME]
    assert json.loads(output)["log_dir"] == "build/boot-2"
    assert (tmp_path / "build/boot-2/serial.log").stat().st_size


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["boot", "--memory", "lots"], "--memory"),
        (["boot", "--smp", "many"], "--smp"),
        (["boot", "--timeout", "-1"], "--timeout"),
        (["boot", "--firmware", "uefi"], "--iso"),
        (["boot", "--direct", "--iso"], "not allowed"),
        (["boot", "--cpu", "a b"], "--cpu"),
        (["boot", "--kernel", "/etc/passwd"], "nor an ISO"),
        (["boot", "--kernel", "/nowhere"], "no such file or folder"),
        (["boot", "--out", "/proc/nope"], "cannot write"),
        (["fault", "/nowhere/log"], "No such file"),
        (["fault", "/dev/null"], "a pipe or a device"),
    ],
)
def test_bad_arguments_give_one_line_and_status_2(tmp_path: Path, words: list[str], message: str) -> None:
    image = kernels.outcome_kernel(tmp_path, "ready")
    if words[0] == "boot" and "--kernel" not in words:
        words = [*words, "--kernel", str(image)]
    process = pxos(tmp_path, *words, "-q")
    output, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 2, errors
    assert message in errors and len(errors.strip().splitlines()) == 1 and output == ""
