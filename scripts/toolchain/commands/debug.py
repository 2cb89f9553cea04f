"""``pxos debug``: a machine halted before its first instruction, with gdb attached and the symbols loaded."""

from __future__ import annotations

import argparse
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain import boot_options
from toolchain.command import STATUS_OK, Outcome, Ui
from toolchain.errors import ToolError

if TYPE_CHECKING:
    from io import FileIO

    from toolchain.machine import Machine
    from toolchain.types import BootConfig

HELP = "Boot halted and attach gdb with the kernel's symbols; the serial line goes to serial.log."
EXAMPLE = "pxos debug --execute 'break mailbox_init' --execute continue"

STAGE = "debug"
FOLDER = "debug"  # under the build folder
SERIAL_NAME = "serial.log"
_SERIAL_LIMIT = 16 << 20  # bytes
_CHUNK = 1 << 16
_LOOPBACK = "127.0.0.1"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    boot_options.configure(parser)
    parser.add_argument(
        "--execute", action="append", default=[], metavar="CMD", help="gdb command to begin with"
    )
    parser.add_argument("--batch", action="store_true", help="leave after the --execute commands")
    parser.add_argument(
        "--no-gdb", action="store_true", help="only serve the stub, for a debugger of your own"
    )


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Start the machine, then the debugger; both end together."""
    import shutil
    import threading

    from toolchain import tools
    from toolchain.machine import Machine

    if not args.no_gdb and shutil.which("gdb") is None:
        raise tools.missing("gdb", "gdb", STAGE)
    target = boot_options.target(args, ui)
    with ExitStack() as ends:
        config = ends.enter_context(boot_options.config(args, target, FOLDER))
        folder = config.log_dir
        assert folder is not None
        port = _free_port()
        machine = ends.enter_context(Machine(_arguments(config, port), folder))
        file = ends.enter_context(_opened(folder / SERIAL_NAME))
        log = threading.Thread(target=_keep_serial, args=(machine, file, ui), daemon=True)
        log.start()
        ends.callback(log.join)
        ends.callback(machine.kill)  # first: the thread reads to the end of the line
        _await_stub(machine)
        ui.step(f"halted at reset; gdb stub at {_LOOPBACK}:{port}, serial line in {folder / SERIAL_NAME}")
        if args.no_gdb:
            ui.note("Ctrl-C ends the machine")
            machine.process.wait()
            return Outcome(STATUS_OK, {"outcome": "ended"})
        status = _gdb(args, target.elf, target.tree, port)
    if status:
        raise ToolError(f"gdb ended with status {status}", stage=STAGE, returncode=status)
    return Outcome(STATUS_OK, {"outcome": "left"})


def _arguments(config: BootConfig, port: int) -> list[str]:
    from toolchain import accel, qemu_args

    arguments = qemu_args.machine_arguments(config, accel.resolve(config)) + qemu_args.watch_arguments()
    arguments += config.extra_args
    return [*arguments, "-S", "-gdb", f"tcp:{_LOOPBACK}:{port}"]


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _await_stub(machine: Machine) -> None:
    """The stub listens before QMP answers; a QEMU that refused its arguments is gone by then.

    Raises:
        ToolError: QEMU did not start, with its own words.
    """
    from toolchain.qmp import QmpClosed

    try:
        machine.qmp.execute("query-status")
    except QmpClosed:
        status = machine.process.wait()
        text = f"QEMU ended with status {status}: {machine.stderr_tail() or 'it said nothing'}"
        raise ToolError(text, stage=STAGE, command=machine.command, returncode=status) from None


def _opened(path: Path) -> FileIO:
    from toolchain import files

    try:
        return path.open("wb", buffering=0)
    except OSError as error:
        raise files.unwritable(path, error, stage=STAGE) from error


def _keep_serial(machine: Machine, file: FileIO, ui: Ui) -> None:
    """The body of a thread. The guest must be able to go on speaking, so what cannot be kept is read all the same."""
    import select

    written = 0
    poller = select.poll()
    poller.register(machine.serial_handle, select.POLLIN)
    while True:
        poller.poll()
        data = machine.read_serial(_CHUNK)
        if data == b"":
            return
        while data and written < _SERIAL_LIMIT:
            try:
                taken = file.write(data) or 0
            except OSError as error:
                ui.note(f"{file.name}: cannot write: {error.strerror}; the serial line is kept no longer")
                written = _SERIAL_LIMIT
            else:
                written, data = written + taken, data[taken:]


def _gdb(args: argparse.Namespace, elf: Path | None, tree: Path | None, port: int) -> int:
    """Run gdb on this terminal; Ctrl-C is its own."""
    import subprocess

    command = ["gdb", "-q", "-nx" if args.batch else "-q"]
    for line in ("set pagination off", "set confirm off", "set disassembly-flavor intel"):
        command += ["-iex", line]
    if tree is not None:
        command += ["-iex", f"directory {tree.resolve()}"]
    if elf is not None:
        command += [str(elf)]
    command += ["-ex", f"target remote {_LOOPBACK}:{port}"]
    for line in args.execute:
        command += ["-ex", line]
    if args.batch:
        command.insert(1, "--batch")
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL if args.batch else None)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # only now: a child inherits an ignored signal
    try:
        return process.wait()
    finally:
        signal.signal(signal.SIGINT, before)
        if process.poll() is None:
            process.kill()
            process.wait()
