"""``pxos fix``: repair a kernel tree and prove the repair by booting it."""

from __future__ import annotations

import argparse
import math
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.command import STATUS_NO, STATUS_OK, STATUS_SPENT, Outcome, Ui, paint, wants_colour
from toolchain.errors import InputError
from toolchain.kerneltree import tree_here

if TYPE_CHECKING:
    from architect.run import Settings

HELP = "Repair a kernel tree: diagnose, try repairs in a copy, prove one by booting it, remember what worked."
EXAMPLE = "pxos fix --kernel kernel --budget 60"

STATUS = {"healthy": STATUS_OK, "fixed": STATUS_OK, "not-fixed": STATUS_NO, "budget": STATUS_SPENT}
# Ends of a run whose only engine is a model, that it cannot carry out.
ENDPOINT_FAILED = ("provider", "refused", "context")
BUDGET_SECONDS = 120.0
BOOTS_MAX = 1000
CI_SERVICES = ("auto", "github", "files")


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    from architect import engines
    from architect.model.settings import add_model_options

    folder = partial(parser.add_argument, type=Path, metavar="DIR")
    folder(
        "--kernel",
        default=tree_here() or Path("kernel"),
        help="kernel tree (default: this folder if it has a pxos.toml, else ./kernel)",
    )
    parser.add_argument("--engine", choices=engines.NAMES, default="auto", help="who proposes (default auto)")
    parser.add_argument(
        "--budget",
        type=float,
        default=BUDGET_SECONDS,
        metavar="S",
        help="seconds for the whole, diagnosis and last proof included (default 120): time for the proof is kept, and"
        " what is not proved when it ends is no repair but the partial result; runs of one tree that were cut short"
        " count too",
    )
    parser.add_argument(
        "--max-boots", type=int, default=BOOTS_MAX, metavar="N", help="machines it may boot (default 1000)"
    )
    parser.add_argument("--apply", action="store_true", help="write a proved patch into the tree")
    folder(
        "--out", default=Path("build/fix"), help="reports and every candidate's artefacts (default build/fix)"
    )
    parser.add_argument(
        "--baseline", type=Path, metavar="FILE", help="boot units of a good boot: TOML, or pxos boot --json"
    )
    folder("--lessons", help="the lesson store (default: the person's own)")
    parser.add_argument(
        "--ci",
        nargs="?",
        const="auto",
        choices=CI_SERVICES,
        metavar="SERVICE",
        help="leave what a CI service reads in OUT/ci: JUnit, SARIF, a summary, a pull request's text; with github"
        " annotations too (default: ask the environment)",
    )
    add_model_options(parser)
    parser.add_argument(
        "--unsafe-no-sandbox",
        action="store_true",
        help="build and boot a foreign tree (pxos.toml) without a sandbox: only for a tree that you trust",
    )
    parser.add_argument("--good", metavar="REV", help="the last good commit, when the tree is a git checkout")


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Check the arguments, run the loop, say how it ended."""
    from architect import kinds
    from architect import run as runner
    from architect.lessons import default_folder
    from architect.model.settings import settings_from

    if not (args.budget > 0 and math.isfinite(args.budget)):
        raise InputError(f"--budget {args.budget:g}: give seconds above 0", stage="arguments")
    if args.max_boots < 1:
        raise InputError(f"--max-boots {args.max_boots}: give a number above 0", stage="arguments")
    if args.good == "":
        raise InputError("--good '': not a revision", stage="arguments")
    _check_fixed_inputs(args.kernel, args.baseline)
    kinds.of(args.kernel).check_tools()
    settings = runner.Settings(
        tree=args.kernel,
        out=args.out.absolute(),
        lessons=args.lessons or default_folder(),
        engine=args.engine,
        seconds=args.budget,
        max_boots=args.max_boots,
        baseline=args.baseline,
        good=args.good,
        model=settings_from(args) if args.engine in ("auto", "llm") else None,
        unsafe=args.unsafe_no_sandbox,
    )
    if args.ci is None:
        return _repaired(settings, ui, apply=args.apply)
    from architect.ci.escape import inert
    from architect.ci.output import Ci

    ci = Ci(args.ci, args.kernel, args.out)
    with ci.watch():
        outcome = _repaired(settings, ui, apply=args.apply)
    ci.write(outcome.data, outcome.status)
    return outcome._replace(text=inert(outcome.text))


def _repaired(settings: Settings, ui: Ui, *, apply: bool) -> Outcome:
    """Run the loop; with ``apply`` a proved patch is written into the tree.

    Raises:
        ModelError: the only engine was a model, and its endpoint failed; the report is written all the same.
    """
    from architect import run as runner

    done = runner.repair(settings, ui)
    verdict, data = done.verdict, dict(done.data)
    if verdict.ended in ENDPOINT_FAILED and verdict.model is not None:
        from architect.model.types import ModelError

        failure = verdict.model["failure"]
        raise ModelError(failure["message"], failure["kind"], log=Path(data["report"]))
    data["applied"] = []
    if apply and verdict.patch is not None:
        data["applied"] = [str(path) for path in done.workspace.commit(verdict.patch)]
    return Outcome(STATUS[verdict.outcome], data, _text(data))


def _check_fixed_inputs(tree: Path, baseline: Path | None) -> None:
    """What no repair may change must be sound from the start: the layout, and the baseline that was named.

    Raises:
        InputError: the layout cannot be used, or the baseline says nothing.
    """
    from toolchain import layout

    if (tree / "image.toml").is_file():  # where there is none, the copy of the tree says so
        layout.load(tree / "image.toml")
    if baseline is not None and baseline.is_file() and not baseline.stat().st_size:
        raise InputError(f"{baseline}: is empty; expected the boot units of a good boot", stage="arguments")


def _text(data: dict[str, object]) -> str:
    """The end of a run for a person: verdict, diff, what it took, where the report lies."""
    import sys

    from architect.report import coloured

    colour = wants_colour(sys.stdout)
    good = data["outcome"] in ("healthy", "fixed")
    lines = [f"{paint(str(data['outcome']), 'green' if good else 'red', colour)}: {data['reason']}"]
    if data["patch"]:
        lines += ["", coloured(str(data["patch"]), colour), ""]
    lines.append(f"{data['boots']} boots, {data['candidates']} candidates, {data['seconds']:.1f} s")
    if data["model"] is not None:
        money = f", {data['money']} spent" if data["money"] is not None else ""
        lines[-1] += f"; {data['tokens']} tokens of the model{money}"
    if data["lesson"] is not None:
        lines.append(f"lesson {data['lesson']}: pxos lessons show {data['lesson']}")
    if data["applied"]:
        lines.append("applied to " + ", ".join(data["applied"]))  # type: ignore[arg-type]
    lines.append(f"report: {data['report']}")
    return "\n".join(lines)
