"""Boot what a foreign tree built, in the sandbox, to a verdict or the deadline.

Owns the call: arguments from ``command``, limits, the ``watch`` over the machine, what is left in the folder. ``judge``
says what counts. Never explains a death: ``report`` does.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

from toolchain import boot_log, files, qemu_args
from toolchain.errors import ToolError
from toolchain.foreign.build import Built
from toolchain.foreign.command import arguments
from toolchain.foreign.config import Foreign
from toolchain.foreign.judge import Judge
from toolchain.foreign.sandbox import Limits, Sandbox
from toolchain.foreign.watch import Watch
from toolchain.machine import Machine, quick_environment
from toolchain.types import BootResult
from toolchain.vigil import LOG_LIMIT

STAGE = "boot"
STILL_SECONDS = 1.5  # after which a machine that stands still counts as hung: more than a clock's second

# Bytes of address space: TCG's code buffer and guest memory are mapped, hardly touched.
_QEMU_MEMORY = 12 << 30


@dataclass(frozen=True, slots=True)
class Boot:
    """One boot.

    Attributes:
        result: what it left behind.
        judge: what it said.
        message: the verdict in a sentence.
        last_sign: when it last said something new, in seconds.
        stood: the longest, in seconds, that it stood still and went on by itself.
    """

    result: BootResult
    judge: Judge
    message: str
    last_sign: float = 0.0
    stood: float = 0.0

    @property
    def good(self) -> bool:
        """Everything that had to be said was said, and the machine ended as it should."""
        return self.result.outcome == "ready"


def boot(
    foreign: Foreign,
    built: Built,
    folder: Path,
    sandbox: Sandbox,
    timeout: float | None = None,
    items: str = qemu_args.LOG_ITEMS,
    still: float = STILL_SECONDS,
) -> Boot:
    """Boot once.

    Args:
        foreign: the machine and the judge.
        built: what to boot.
        folder: for the logs; becomes the machine's own.
        sandbox: what keeps QEMU apart.
        timeout: seconds; None for the tree's own.
        items: what QEMU logs.
        still: seconds after which a machine that stands still counts as hung.

    Raises:
        ToolError: QEMU or the sandbox is missing.
        InputError: the artifact cannot be booted with these arguments.
    """
    files.make_folder(folder, stage=STAGE)
    command, readable = arguments(foreign, built, folder, items)
    seconds = timeout if timeout is not None else foreign.timeout
    limits = Limits(cpu=int(4 * seconds) + 60, address_space=_QEMU_MEMORY, file=LOG_LIMIT * 4, processes=256)
    words = quick_environment({})
    began = time.monotonic()
    with (
        sandbox.wrapped(command, folder, [folder], readable, limits, words) as (wrapped, handles),
        Machine(wrapped, folder, handles) as machine,
        Watch(machine, foreign, began, seconds, still) as watch,
    ):
        watch.run()
        result = watch.result(folder)
    if result.outcome == "qemu-died":
        said = result.stderr_tail.splitlines()
        if said and said[0].startswith("bwrap: "):
            raise ToolError(f"the sandbox cannot be set up for QEMU: {said[0]}", stage=STAGE)
        qemu_args.check_firmware(result.stderr_tail)
    boot_log.save(result, folder)
    return Boot(result, watch.judge, watch.message, watch.last_sign, watch.stillness.longest)
