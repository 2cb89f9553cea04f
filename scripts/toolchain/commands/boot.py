"""``pxos boot``: one boot to an outcome, with the fault report where it died."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain import boot_options
from toolchain.command import Outcome, Ui, paint, wants_colour
from toolchain.kerneltree import FOREIGN

if TYPE_CHECKING:
    from toolchain.serial import Happening
    from toolchain.types import BootConfig, BootResult, FaultReport

HELP = "Boot a kernel in QEMU and wait for PXREADY, a fault or the deadline; say how it ended, and why."
EXAMPLE = "pxos boot --display none --memory 64M --cmdline test"

_GOOD = ("ready", "tests-passed")
_UNEXPLAINED = (*_GOOD, "tests-failed", "qemu-died")  # they need no fault report


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    boot_options.configure(parser)
    parser.add_argument(
        "--unsafe-no-sandbox",
        action="store_true",
        help="build and boot a foreign tree (pxos.toml) without a sandbox: only for a tree that you trust",
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.svg", help="draw the boot chart: when each boot unit ran"
    )


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Boot once."""
    if (args.kernel / FOREIGN).is_file():
        from toolchain.foreign import commands as foreign

        return foreign.boot(args, ui)
    target = boot_options.target(args, ui)
    with boot_options.config(args, target) as config:
        return _boot(target, config, ui, args.plot)


def _boot(target: boot_options.Target, config: BootConfig, ui: Ui, plot: Path | None) -> Outcome:
    from toolchain import qemu

    def progress(happening: Happening) -> None:
        name, state = getattr(happening, "name", None), getattr(happening, "state", None)
        if name and state:
            ui.progress(f"  {name} {state}")

    ui.step(f"booting {target.image}")
    result = qemu.boot(config, progress)
    ui.step(f"{result.outcome} after {result.seconds:.2f} s; logs in {config.log_dir}")
    report = None
    if result.outcome not in _UNEXPLAINED:
        from toolchain import fault

        report = fault.analyse(result, boot_options.symbols(target, ui), target.tree)
    if plot is not None:
        _draw(result, config, plot)
        ui.step(f"boot chart: {plot}")
    status = boot_options.STATUS[result.outcome]
    return Outcome(status, as_json(result, report), _text(result, report))


def _draw(result: BootResult, config: BootConfig, plot: Path) -> None:
    """The boot chart, also of a boot that died: it shows how far it came."""
    from toolchain import boot_plot, files

    title = f"{result.outcome}: {config.image.name}, {config.machine}, {config.smp} CPU, {config.memory}"
    title += ", instructions (icount)" if config.icount else ", TSC ticks"
    files.write_atomic(plot, boot_plot.svg(result.units, result.ready_tsc, title), stage=boot_options.STAGE)


def as_json(result: BootResult, report: FaultReport | None) -> dict[str, Any]:
    """A boot as JSON values, see ``schemas/boot.json``."""
    from toolchain import render

    return {
        "outcome": result.outcome,
        "seconds": result.seconds,
        "qemu_status": result.qemu_status,
        "serial": result.serial,
        "ready_tsc": result.ready_tsc,
        "units": render.units_json(result.units),
        "tests": result.tests,
        "panic": list(result.panic) if result.panic else None,
        "fault": render.as_json(report) if report else None,
        "command": list(result.command),
        "log_dir": str(result.log_dir) if result.log_dir else None,
        "stderr": result.stderr_tail,
    }


def _text(result: BootResult, report: FaultReport | None) -> str:
    from toolchain import render

    colour = wants_colour(sys.stdout)
    if report is not None:
        return render.text(report, colour)
    style = "green" if result.outcome in _GOOD else "red"
    lines = [paint(f"{result.outcome.upper()} after {result.seconds:.2f} s", style, colour)]
    lines += [f"  {unit.state:<5} {unit.name}{_notes(unit.values)}" for unit in result.units]
    failed = [name for name, passed in result.tests.items() if not passed]
    if result.tests:
        lines.append(f"  tests: {len(result.tests) - len(failed)} passed, {len(failed)} failed")
        lines += [paint(f"  not ok {name}", "red", colour) for name in failed]
    if result.outcome == "tests-failed" and not failed:
        lines.append("  the tests did not finish, or the plan was not fulfilled")
    if result.outcome == "qemu-died":
        lines.append(
            f"  QEMU ended with status {result.qemu_status}: {result.stderr_tail or 'it said nothing'}"
        )
    return "\n".join(lines)


def _notes(values: dict[str, str]) -> str:
    return "".join(f"  {key}={value}" for key, value in values.items())
