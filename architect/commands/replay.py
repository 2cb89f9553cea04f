"""``pxos replay``: what a recorded run did, step by step, or the run again with the recorded answers."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui, wants_colour
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.learn.trajectory import Reading

HELP = "Show a recorded run step by step (on a terminal with keys), or run it again offline with its answers."
EXAMPLE = "pxos replay build/fix/KEY/trajectories/1.jsonl (pxos fix --json names it: 'trajectory')"
STAGE = "trajectory"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument("file", type=Path, metavar="FILE", help="a trajectory: JSON lines of a run")
    parser.add_argument("--step", type=int, metavar="N", help="this step in full")
    parser.add_argument("--all", action="store_true", help="every step at once, on a terminal too")
    parser.add_argument(
        "--run", action="store_true", help="repair again with the recorded answers; say where it differs"
    )
    parser.add_argument(
        "--kernel", type=Path, metavar="DIR", help="--run: the tree as it was (default: the run's copy)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/replay"),
        metavar="DIR",
        help="--run: reports (default build/replay)",
    )


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Read it with suspicion, then show it or run it again."""
    from architect.learn import trajectory

    reading = trajectory.read(args.file)
    if args.run:
        return _again(args, ui, reading)
    if args.step is not None and not 0 <= args.step < len(reading.steps):
        last = len(reading.steps) - 1
        raise InputError(f"--step {args.step}: {args.file} has steps 0 to {last}", stage=STAGE)
    return _shown(args, reading)


def _shown(args: argparse.Namespace, reading: Reading) -> Outcome:
    from architect.learn import replay
    from architect.learn.recorded import totals

    steps = reading.steps if args.step is None else reading.steps[args.step : args.step + 1]
    ends = [step.data["outcome"] for step in reading.steps if step.kind == "end"]
    data = {
        "file": str(reading.path),
        "steps": [{"n": s.n, "at": s.at, "kind": s.kind, "data": dict(s.data)} for s in steps],
        "cut": reading.cut,
        "outcome": ends[-1] if ends else None,
        "model": totals(reading.steps),
    }
    colour = wants_colour(sys.stdout)
    if args.step is not None:
        return Outcome(STATUS_OK, data, replay.shown(steps[0], colour))
    if not (args.json or args.all) and sys.stdin.isatty() and sys.stdout.isatty():
        replay.walk(reading, sys.stdout, colour=colour)
        return Outcome(STATUS_OK, data, "\n".join(replay.tail(reading, colour)))
    return Outcome(STATUS_OK, data, replay.listing(reading, colour))


def _again(args: argparse.Namespace, ui: Ui, reading: Reading) -> Outcome:
    from architect.learn import rerun

    done = rerun.again(reading, ui, args.kernel, args.out)
    keys = ("outcome", "reason", "patch", "boots", "candidates", "seconds", "tokens", "report", "trajectory")
    data = {
        "file": str(reading.path),
        "differences": list(done.differences),
        "requests": list(done.requests),
        "alone": list(done.alone),
        **{k: done.data[k] for k in keys},
    }
    lines = [f"{done.data['outcome']}: {done.data['reason']}"]
    lines += done.differences or ["it went as recorded: the same diagnosis, proposals, verdicts and end"]
    lines += [f"asked otherwise: {text}" for text in done.requests]
    if any(done.alone):
        then, now = done.alone
        lines.append(
            f"({then} proposals were tried then alone, {now} now alone: candidates run side by side)"
        )
    lines.append(f"trajectory: {done.data['trajectory']}")
    return Outcome(STATUS_NO if done.differences else STATUS_OK, data, "\n".join(lines))
