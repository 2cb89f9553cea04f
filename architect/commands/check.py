"""``pxos check``: static checks, contract tests and learnt guards of a kernel tree, without a boot."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui, paint, wants_colour
from toolchain.kerneltree import FOREIGN, tree_here

HELP = "Static checks, contract tests and learnt guards of a kernel tree; nothing is booted."
EXAMPLE = "pxos check --kernel kernel"
SEEDS_MAX = 10_000


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "--kernel",
        type=Path,
        default=tree_here() or Path("kernel"),
        metavar="DIR",
        help="kernel tree (default: this folder if it has a pxos.toml, else ./kernel)",
    )
    parser.add_argument(
        "--seeds", type=_seeds, default=3, metavar="N", help="calls of each routine by its header (default 3)"
    )
    parser.add_argument(
        "--unsafe-no-sandbox",
        action="store_true",
        help="build a foreign tree (pxos.toml) without a sandbox: only for a tree that you trust",
    )
    parser.add_argument(
        "--lessons",
        type=Path,
        metavar="DIR",
        help="whose guards are asked (default: the person's own lessons)",
    )


def _seeds(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if not 1 <= value <= SEEDS_MAX:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number from 1 to {SEEDS_MAX}")
    return value


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Build in memory, look, call."""
    import sys
    import time

    if (args.kernel / FOREIGN).is_file():
        from architect.foreign import check

        data = check.findings(args.kernel, _guards(args), ui, unsafe=args.unsafe_no_sandbox)
        status = STATUS_NO if data["findings"] else STATUS_OK
        return Outcome(status, data, _text(data, wants_colour(sys.stdout)))
    from architect import checks, contracts
    from architect.checks import architecture
    from architect.learn import guards
    from architect.workspace import TreeCopy
    from toolchain import build

    began = time.monotonic()
    ui.step(f"assembling {args.kernel}")
    with build.Session(args.kernel) as session:
        image = session.build()
        sources = session.sources()
    for warning in image.warnings:
        ui.note(warning)
    headers = contracts.routines(sources)
    ui.step("looking at the code")
    found = [*checks.findings(image, sources), *architecture.findings(sources)]
    rows = [asdict(finding) for finding in found]
    ui.step("calling every routine that can run alone")
    for violation in contracts.violations(image, headers, seeds=args.seeds):
        header = headers.get(violation.routine)
        place = {"file": header.file, "line": header.line} if header else {"file": None, "line": None}
        rows.append(
            {
                "rule": "contract",
                "message": violation.promise,
                "routine": violation.routine,
                **place,
                "call": dict(violation.call),
            }
        )
    learnt = _guards(args)
    if learnt:
        ui.step(f"asking {len(learnt)} learnt guards")
        rows += guards.run(learnt, args.kernel, TreeCopy(args.kernel).sources())
    data = {
        "findings": rows,
        "guards": len(learnt),
        "routines": len(headers),
        "models": len(contracts.registry()),
        "seconds": round(time.monotonic() - began, 3),
    }
    return Outcome(STATUS_NO if rows else STATUS_OK, data, _text(data, wants_colour(sys.stdout)))


def _guards(args: argparse.Namespace) -> list[Any]:
    """The guards that the person's lessons carry for this project."""
    from architect.learn import guards
    from architect.lessons import SqliteLessons, default_folder

    store = SqliteLessons(args.lessons or default_folder())
    return guards.held(store.all(), guards.project_of(args.kernel))


def _text(data: Mapping[str, Any], colour: bool) -> str:
    from architect.checks import Finding

    lines = []
    for row in data["findings"]:
        call = row.get("call", {})
        lines.append(str(Finding(*(row[name] for name in ("rule", "message", "routine", "file", "line")))))
        if call:
            lines.append("    " + " ".join(f"{name}={_shown(value)}" for name, value in call.items()))
    count = len(data["findings"])
    verdict = f"{count} finding{'s' if count != 1 else ''}" if count else "no findings"
    looked = f"{data['routines']} routines, {data['models']} models, {data['guards']} guards"
    summary = f"{verdict}; {looked}, {data['seconds']:.2f} s"
    return "\n".join([*lines, paint(summary, "red" if count else "green", colour)])


def _shown(value: int | str) -> str:
    return hex(value) if isinstance(value, int) and abs(value) > 9 else str(value)
