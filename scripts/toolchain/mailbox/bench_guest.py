"""The mailbox as the kernel uses it: booted in QEMU beside a service, and asked through its shell.

Owns two figures that only a guest can tell: a polled round trip from its processor, and the instructions of one post,
counted under icount, where a tick of the time-stamp counter is an instruction.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from toolchain import build, qemu_args
from toolchain.command import Ui
from toolchain.errors import Timeout, ToolError
from toolchain.machine import Machine
from toolchain.mailbox import attach
from toolchain.types import BootConfig

STAGE = "bench"
_PROMPT = b"\npx> "
_SECONDS = 120.0
_CHUNK = 4096


def ask(ui: Ui, folder: Path, lines: list[str], icount: bool) -> list[dict[str, Any]]:
    """What the shell of a kernel with a service answers to each line, as JSON.

    Args:
        ui: told of the progress.
        folder: for the build and the logs.
        lines: commands, without ``-j``.
        icount: whether a tick is an instruction.

    Raises:
        Timeout: it does not answer.
        ToolError: QEMU or the service ended, or a command was refused.
    """
    ui.step("booting the kernel beside the service")
    built = build.build(build.kernel_tree(None), folder / "build", iso=False)
    with attach.service(folder) as arguments:
        words = qemu_args.machine_arguments(BootConfig(built.elf, icount=icount, display="none"), "tcg")
        with Machine([*words, *arguments, "-no-reboot"], folder) as machine:
            _hear(machine)
            answers = []
            for line in lines:
                machine.write_serial(f"{line} -j\r".encode())
                said = _hear(machine)
                answer = json.loads(said[said.index(b"{") : said.rindex(b"}") + 1])
                if "error" in answer:
                    raise ToolError(f"the kernel refuses `{line}': {answer['error']}", stage=STAGE)
                answers.append(answer)
            return answers


def _hear(machine: Machine) -> bytes:
    said, end = b"", time.monotonic() + _SECONDS
    while not said.endswith(_PROMPT[1:]) or _PROMPT not in said.replace(b"\r", b""):
        data = machine.read_serial(_CHUNK)
        if data == b"":
            raise ToolError("QEMU ended", stage=STAGE, output_tail=machine.stderr_tail())
        if time.monotonic() > end:
            raise Timeout("the kernel's shell does not answer", stage=STAGE)
        said += data or b""
        if not data:
            time.sleep(0.001)
    return said
