"""``pxos run``: boot with the serial line on this terminal."""

from __future__ import annotations

import argparse
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from toolchain import boot_options
from toolchain.command import STATUS_OK, Outcome, Ui, wants_colour
from toolchain.terminal import keys_at_once

if TYPE_CHECKING:
    from toolchain.types import BootConfig

HELP = "Boot with the serial line on this terminal; Ctrl-] leaves, Ctrl-C interrupts."
EXAMPLE = "pxos run --display std --memory 256M"

_LEAVE = b"\x1d"  # Ctrl-], as in telnet
_FOREVER = 10 * 365 * 86400.0  # seconds; a person is the deadline
_CHUNK = 4096


class _Left(Exception):
    """The person pressed Ctrl-], or stopped reading."""


class _Terminal:
    """Standard input and output as a console of the guest."""

    def handles(self) -> list[int]:
        return [sys.stdin.fileno()]

    def typed(self, handle: int) -> bytes:
        data = os.read(handle, _CHUNK)
        if _LEAVE in data:
            raise _Left
        return data

    def show(self, data: bytes) -> None:
        try:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise _Left from None  # `pxos run | head`: the reader has seen enough


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    boot_options.configure(parser)


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Boot and hand the serial line to the person until the guest ends or they leave."""
    target = boot_options.target(args, ui)
    with boot_options.config(args, target) as config:
        if args.timeout is None:
            config = replace(config, timeout=_FOREVER)
        return _talk(target, config, ui)


def _talk(target: boot_options.Target, config: BootConfig, ui: Ui) -> Outcome:
    from toolchain import qemu

    ui.step(f"booting {target.image}; Ctrl-] leaves")
    try:
        with keys_at_once():
            result = qemu.boot(config, console=_Terminal())
    except _Left:
        ui.note("")
        return Outcome(STATUS_OK, {"outcome": "left"})
    from toolchain import fault, render

    report = fault.analyse(result, boot_options.symbols(target, ui), target.tree)
    text = (
        "the guest ended the machine" if result.outcome == "ready" else f"the machine ended: {result.outcome}"
    )
    if result.outcome == "qemu-died":
        text += f", status {result.qemu_status}: {result.stderr_tail}"
    if report is not None:
        text = render.text(report, wants_colour(sys.stdout))
    return Outcome(boot_options.STATUS[result.outcome], {"outcome": result.outcome}, text)
