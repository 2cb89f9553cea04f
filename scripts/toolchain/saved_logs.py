"""A ``BootResult`` from logs that somebody saved: told apart by content, cut, joined, or damaged.

Owns: which file is a serial log, which is QEMU's, which is ``boot.json``; bounds on what is read; the outcome that
logs alone can prove. Never boots, and takes nothing on trust.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from toolchain import boot_log, qemu_args, qemulog, serial
from toolchain.errors import InputError
from toolchain.files import open_regular
from toolchain.types import BootResult, FaultReport, OutcomeName

STAGE = "fault"
READ_MAX = 32 << 20  # bytes of one file: its start and its end, half each
_PX = (b"PXBOOT v1 ", b"PXREADY v1 ", b"PXFAULT v1 ", b"PXPANIC v1 ", b"KTAP version 1")
_RESET = b"CPU Reset (CPU "


def read(paths: Sequence[Path]) -> BootResult:
    """Read logs in any order; a folder stands for the logs in it.

    Raises:
        InputError: a file cannot be read, is empty, or is no log of a boot.
    """
    files = [file for path in paths for file in _expand(path)]
    serial_parts, log_parts = [], []
    for file in files:
        if file.suffix == ".json":
            if len(files) > 1:
                raise InputError(f"{file}: holds a whole boot; give it alone", stage=STAGE)
            _size(file, boot_log.RESULT_MAX)
            return boot_log.load(file)
        data = _bytes(file)
        if any(mark in data for mark in _PX):
            serial_parts.append(data)
        elif _RESET in data or qemulog.parse(data).records:
            log_parts.append(data)
        else:
            raise InputError(
                f"{file}: no log of a boot: neither a PX line nor a record of QEMU's -d {qemu_args.LOG_ITEMS}",
                stage=STAGE,
            )
    return _result(b"\n".join(serial_parts), b"\n".join(log_parts))


def nothing_found(result: BootResult) -> FaultReport:
    """The report on logs that show no death."""
    return FaultReport(
        outcome=result.outcome,
        scope="kernel",
        cause="these logs show no fault",
        chain=(),
        registers={},
        place=None,
        instruction="",
        source=(),
        trace=(),
        stack=(),
        walk=None,
        unit=None,
        units=result.units,
        diagnosis=(),
        serial_tail=(),
        panic=None,
    )


def _expand(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    whole = path / boot_log.RESULT_NAME
    if whole.is_file():
        return [whole]
    found = [path / name for name in (boot_log.SERIAL_NAME, qemu_args.LOG_NAME) if (path / name).is_file()]
    found = [file for file in found if file.stat().st_size]
    if not found:
        names = f"{boot_log.RESULT_NAME}, {boot_log.SERIAL_NAME} or {qemu_args.LOG_NAME}"
        raise InputError(f"{path}: holds no log of a boot ({names})", stage=STAGE)
    return found


def _size(path: Path, limit: int) -> int:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise InputError(f"{path}: cannot read: {error.strerror}", stage=STAGE) from error
    if size == 0:
        raise InputError(f"{path}: is empty", stage=STAGE)
    if size > limit:
        raise InputError(f"{path}: {size >> 20} MB is no saved boot (limit {limit >> 20} MB)", stage=STAGE)
    return size


def _bytes(path: Path) -> bytes:
    """A file, or its two ends when it is long: the first chain and the last are what matters."""
    with open_regular(path, stage=STAGE) as file:
        try:
            size = _size(path, 1 << 62)
            if size <= READ_MAX:
                return file.read(READ_MAX)
            start = file.read(READ_MAX // 2)
            file.seek(size - READ_MAX // 2)
            end = file.read(READ_MAX // 2)
        except OSError as error:
            raise InputError(f"{path}: cannot read: {error.strerror}", stage=STAGE) from error
    return start[: start.rfind(b"\n") + 1] + end[end.find(b"\n") + 1 :]


def _result(said: bytes, logged: bytes) -> BootResult:
    log = serial.parse(said)
    block, panic = log.kernel_fault, log.panic
    return BootResult(
        outcome=_outcome(log, logged),
        seconds=0.0,
        qemu_status=None,
        serial=log.text,
        units=tuple(log.units.values()),
        tests=log.tap.tests,
        kernel_fault=block.values if block else None,
        panic=(panic.code, panic.text) if panic else None,
        qemu_log=logged.decode("latin-1"),
        snapshot=None,
        command=(),
        log_dir=None,
    )


def _outcome(log: serial.SerialLog, logged: bytes) -> OutcomeName:
    """What the logs prove; a serial log that simply ends counts as a boot that did not finish."""
    parsed = qemulog.parse(logged)
    if log.kernel_fault or parsed.triple_fault:
        return "fault"
    if log.panic:
        return "panic"
    if log.tap.started:
        return "tests-passed" if log.tap.passed else "tests-failed"
    if log.ready is not None:
        return "ready"
    if log.received == 0:
        # QEMU's log alone: an exception that was not survived is its last word.
        return "fault" if parsed.records else "silent"
    return "timeout"
