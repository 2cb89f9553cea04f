"""``pxos vm conformance``: the suite of cartridges with their expected states, on any engine."""

from __future__ import annotations

import argparse

from pixelvm.commands.vm_fuzz import engine_names
from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui

HELP = "run the conformance suite (pixelvm/conformance) on engines"
EXAMPLE = "conformance --engines python,wgsl"
INTERACTIVE = False


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("--engines", type=engine_names, metavar="A,B", help="which (default all)")


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Run every cartridge on every engine, in one go and in slices."""
    from pixelvm import conform, engines
    from pixelvm.conform_cases import CASES

    names = args.engines or list(engines.NAMES)
    for name in names:
        engines.find(name)
    failures: list[conform.Failure] = []
    count = 0
    for case, failed in conform.run(names):
        count += 1
        failures += failed
        ui.progress(f"{count} of {len(CASES)}: {case.name}")
    ui.step(f"{count} cartridges on {', '.join(names)}: {len(failures)} failures")
    lines = [f"{one.name}: {one.engine}: {one.what}" for one in failures]
    rows = [one._asdict() for one in failures]
    data = {"action": "conformance", "engines": names, "cases": count, "failures": rows}
    text = "\n".join([*lines, f"{count} cartridges, {len(failures)} failures"])
    return Outcome(STATUS_NO if failures else STATUS_OK, data, text)
