"""A batch of gdb commands on a machine halted at reset.

Owns the whitelist of commands: gdb can run shells, programs and scripts and write files, so only commands that look at
the guest or move it are passed on, and their operands hold no quote, no slash behind the format, no convenience
function. QEMU's stub is a socket in a folder of our own: no port is opened.
"""

from __future__ import annotations

import re
import shutil
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect.tools.base import Answer, schema
from architect.tools.machines import printable_lines
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.tools.desk import Desk

STAGE = "gdb"
SECONDS, SECONDS_MAX = 20.0, 60.0
OUTPUT_MAX = 1 << 18  # bytes
COMMANDS_MAX = 40

_OPERAND = r"[\w$+\-*&()\[\].:, ]*"  # no quotes, no slash, no bang, no pipe, no assignment
_FORMAT = r"(?:/[0-9]{0,4}[a-z]{0,3})?"
_ALLOWED = (
    rf"(?:x|print|p|output|disassemble|display){_FORMAT}(?: +{_OPERAND})?",
    rf"(?:break|tbreak|hbreak|thbreak|watch|rwatch|awatch|until|advance|list|delete) *{_OPERAND}",
    r"info (?:registers|all-registers|breakpoints|watchpoints|frame|stack|threads|display)",
    rf"info (?:registers|symbol|line|address|scope) +{_OPERAND}",
    r"(?:continue|c|stepi|si|nexti|ni|step|s|next|n|finish|backtrace|bt|where|frame|up|down)(?: +[0-9]{1,6})?",
)
_COMMAND = re.compile("|".join(f"(?:{one})" for one in _ALLOWED))
_SETTINGS = (
    "set auto-load no",
    "set debuginfod enabled off",
    "set pagination off",
    "set confirm off",
    "set disassembly-flavor intel",
    "set print address on",
    "set width 120",
)


class Gdb:
    """``gdb``."""

    name = "gdb"
    summary = (
        "Run gdb commands in a batch on a machine halted at reset: break SYMBOL, continue, stepi N, bt, info registers,"
        " x/8gx ADDR, print EXPR, disassemble, finish, watch. Ends with the last command."
    )
    parameters = schema(
        ("commands",),
        commands={
            "type": "array",
            "minItems": 1,
            "maxItems": COMMANDS_MAX,
            "items": {"type": "string", "minLength": 1, "maxLength": 200},
        },
        cmdline={"type": "string", "maxLength": 200, "description": "the kernel's command line"},
        seconds={"type": "number", "minimum": 1, "maximum": SECONDS_MAX},
    )

    def call(self, desk: Desk, commands: list[str], cmdline: str = "", seconds: float = SECONDS) -> Answer:
        """What gdb printed; whatever stood when the time was up."""
        desk.need_native(self.name)
        for command in commands:
            check(command)
        said, ended = _batch(desk, commands, cmdline, seconds)
        text = printable_lines(said)
        if not ended:
            text += f"\n… ended after {seconds:g} s: the guest did not come to the next command"
        return Answer(text or "gdb said nothing", {"commands": commands, "ended": ended}, ok=ended)


def check(command: str) -> None:
    """Refuse what does more than look at the guest and move it.

    Raises:
        InputError: the command is not on the list.
    """
    if not _COMMAND.fullmatch(command) or "$_" in command or not command.isascii():
        raise InputError(
            f"gdb: {command[:80]!r} is not among the commands that are passed on: break, continue, stepi, nexti,"
            " finish, bt, info registers, x, print, disassemble, watch, list",
            stage=STAGE,
        )


def _batch(desk: Desk, commands: list[str], cmdline: str, seconds: float) -> tuple[str, bool]:
    from toolchain import launch, qemu_args, scratch, tools
    from toolchain.machine import Machine
    from toolchain.types import BootConfig

    gdb = shutil.which("gdb")
    if gdb is None:
        raise tools.missing("gdb", "gdb", STAGE)
    config = BootConfig(desk.elf(), cmdline=cmdline)
    qemu_args.check(config)
    tree = desk.on_disk()
    desk.say(f"gdb: {len(commands)} commands, at most {seconds:g} s")
    with ExitStack() as stack:
        folder = stack.enter_context(scratch.folder("pxos-gdb-"))
        stub = folder / "stub"
        arguments = qemu_args.machine_arguments(config, "tcg") + qemu_args.watch_arguments()
        arguments += [
            "-chardev",
            f"socket,id=stub,path={stub},server=on,wait=off",
            "-gdb",
            "chardev:stub",
            "-S",
        ]
        machine = stack.enter_context(Machine(arguments, folder))
        machine.qmp.execute("query-status")  # the stub listens before the monitor answers
        log = stack.enter_context((folder / "gdb.log").open("w+b"))
        process = launch.spawn(
            _command(gdb, desk.elf(), tree, stub, commands),
            stdout=log,
            stderr=log,
            folder=folder,
            environment={},
        )
        stack.callback(launch.kill, process)
        ended = _wait(process, machine, folder / "gdb.log", seconds)
        launch.kill(process)
        log.seek(0)
        return log.read(OUTPUT_MAX).decode("utf-8", "replace"), ended


def _command(gdb: str, elf: Path, tree: Path, stub: Path, commands: list[str]) -> list[str]:
    words = [gdb, "--batch", "-q", "-nx"]
    for line in (*_SETTINGS, f"directory {tree}"):
        words += ["-iex", line]
    words += [str(elf), "-ex", f"target remote {stub}"]
    for line in commands:
        words += ["-ex", line]
    return words


def _wait(process: Any, machine: Any, log: Path, seconds: float) -> bool:
    """Until gdb ends by itself; the serial line is emptied meanwhile, so that the guest can go on speaking."""
    import os
    import select
    import time

    until = time.monotonic() + seconds
    handle = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(handle, select.POLLIN)
        poller.register(machine.serial_handle, select.POLLIN)
        while time.monotonic() < until:
            ready = poller.poll(min(0.5, max(0.0, until - time.monotonic())) * 1000)
            if any(number == handle for number, _ in ready):
                return True
            if machine.read_serial(1 << 16) == b"":
                poller.unregister(machine.serial_handle)
                poller.poll(max(0.0, min(2.0, until - time.monotonic())) * 1000)
                return process.poll() is not None
            if log.stat().st_size > OUTPUT_MAX:
                return False
        return False
    finally:
        os.close(handle)
