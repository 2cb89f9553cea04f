"""``pxos bench``: the measurements, each beside its peer from the same run."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolchain.command import STATUS_OK, Outcome, Ui
from toolchain.errors import InputError

HELP = (
    "Measure repairs (fix), what is found before a boot (prevention), build, boot, mailbox, model, shaders, "
    "Pixel VM (vm), God Pixel (pixel), beside peers."
)
EXAMPLE = "pxos bench fix seed-bar0-unmapped --budget 60"
STAGE = "bench"
NEED_KERNEL = ("fix", "prevention", "build", "boot", "pixel", "model")
_COUNT = 100_000  # from here on a number is written with commas, not with an exponent


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    from architect import engines
    from architect.model.settings import add_model_options

    parser.add_argument("name", metavar="NAME", help=f"one of {', '.join(BENCHES)}")
    parser.add_argument("ids", nargs="*", metavar="ID", help="fix, prevention: these bugs only")
    parser.add_argument(
        "--kernel", type=Path, default=Path("kernel"), metavar="DIR", help="the sound kernel tree"
    )
    parser.add_argument(
        "--bugs", type=Path, default=Path("tests/bugs"), metavar="DIR", help="fix, prevention: the corpus"
    )
    names = ", ".join(engines.NAMES)
    parser.add_argument(
        "--engine",
        default="search",
        metavar="NAME[,NAME]",
        help=f"fix: who proposes, or several to be compared ({names}; default search)",
    )
    parser.add_argument(
        "--shaders",
        type=Path,
        default=Path("shaders"),
        metavar="DIR",
        help="fix, prevention: the sound shaders",
    )
    parser.add_argument(
        "--keep", type=Path, metavar="FILE",
        help="fix: write each result down as it comes; the same command goes on from there when it was interrupted",
    )  # fmt: skip
    parser.add_argument(
        "--drawn", type=int, metavar="N",
        help="fix: not the corpus, but N mutants of --kernel (ours or a foreign one) that its own tests notice",
    )  # fmt: skip
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        metavar="S",
        help="fix --drawn: which ones: the same on every host (default 1)",
    )
    parser.add_argument("--markdown", action="store_true", help="fix: a Markdown table of the engines")
    parser.add_argument(
        "--adapter", metavar="NAME", help="shaders: a part of the name of the GPU that is used"
    )
    parser.add_argument(
        "--peer-image",
        type=Path,
        metavar="FILE",
        help="boot: a raw disk image to compare with, as Pure64 + BareMetal",
    )
    parser.add_argument(
        "--peer-ready", default="system ready", metavar="TEXT",
        help="boot: what that image writes to COM1 when it is ready (default 'system ready')",
    )  # fmt: skip
    parser.add_argument(
        "--peer-entry", type=int, default=8192, metavar="BYTE",
        help="boot: where in that image begins what its boot sector loads and enters (default 8192, Pure64's)",
    )  # fmt: skip
    add_model_options(parser)
    parser.add_argument("--budget", type=float, default=120.0, metavar="S", help="fix: seconds for each bug")


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Run one bench."""
    if args.name not in BENCHES:
        raise InputError(f"no bench is called '{args.name}' (there are: {', '.join(BENCHES)})", stage=STAGE)
    if args.peer_image and args.name != "boot":
        raise InputError(f"bench {args.name} takes no --peer-image", stage=STAGE)
    if args.ids and args.name not in ("fix", "prevention"):
        raise InputError(f"bench {args.name} takes no bugs: '{args.ids[0]}'", stage=STAGE)
    if not (args.budget > 0 and math.isfinite(args.budget)):
        raise InputError(f"--budget {args.budget:g}: give seconds above 0", stage=STAGE)
    if args.drawn is not None and (args.name != "fix" or args.ids or args.drawn < 1):
        raise InputError("--drawn N is for bench fix without IDs, and N is 1 or more", stage=STAGE)
    if args.name in NEED_KERNEL and args.drawn is None:
        from toolchain import build

        build.kernel_tree(args.kernel)
    return BENCHES[args.name](args, ui)


def _fix(args: argparse.Namespace, ui: Ui) -> Outcome:
    from architect import bench_fix, bench_result, bench_told, engines
    from architect.kernel_tree import check_tools
    from architect.model.settings import settings_from

    names = args.engine.split(",")
    unknown = [name for name in names if name not in engines.NAMES]
    if unknown:
        known = ", ".join(engines.NAMES)
        raise InputError(f"--engine: no engine is called '{unknown[0]}' (there are: {known})", stage=STAGE)
    check_tools()
    model = settings_from(args) if {"auto", "llm"} & set(names) else None
    if "llm" in names and model is None:
        raise InputError("--engine llm needs a model: give --model-url, or PXOS_MODEL_URL", stage=STAGE)
    ledger = model.ledger() if model else None  # one budget for all bugs
    terms = bench_result.Terms(seconds=args.budget, model=model, ledger=ledger)
    if args.drawn is not None:
        from architect import bench_drawn, bench_drawn_told

        data = bench_drawn.run(ui, args.kernel, args.drawn, args.seed, terms, names, args.keep)
        return Outcome(
            STATUS_OK, data, (bench_drawn_told.markdown if args.markdown else bench_drawn_told.text)(data)
        )
    data = bench_fix.each(ui, (args.kernel, args.shaders), args.bugs, args.ids, terms, names, args.keep)
    if not args.ids:  # guards learnt from other classes count too, and all of the corpus teaches them
        found = _prevented(args, ui)
        data = {**data, "prevention_rate": found["prevention_rate"], "prevention": found}
    return Outcome(STATUS_OK, data, (bench_told.markdown if args.markdown else bench_told.text)(data))


def _prevention(args: argparse.Namespace, ui: Ui) -> Outcome:
    from architect.learn import prevention
    from toolchain import measure

    earlier = prevention.history(args.bugs / prevention.HISTORY)
    found = _prevented(args, ui)
    count = len(found["bugs"])
    rows = [
        {"what": what, "ours": share, "peer": "all bugs", "peer_value": 1, "ratio": share, "unit": "share",
         "spread": None, "runs": 1}
        for what, share in (("found before boot", found["prevention_rate"]), *found["by"].items())
    ]  # fmt: skip
    data = {"machine": measure.machine(), "rows": rows if count else [], "prevention": found}
    data["prevention_rate"] = found["prevention_rate"]
    return Outcome(STATUS_OK, data, prevention.text(found, earlier))


def _prevented(args: argparse.Namespace, ui: Ui) -> dict[str, Any]:
    """The prevention rate; that of the whole corpus is kept in its history."""
    from architect import bench_fix, corpus
    from architect.learn import prevention

    bugs = corpus.load(args.bugs)
    bench_fix.chosen(bugs, args.ids)
    ui.step(f"looking at {len(bugs)} bugs without a boot")

    def say(look: prevention.Look) -> None:
        taught = f", teaches {', '.join(g.rule for g in look.guards)}" if look.guards else ""
        ui.step(f"{look.id:<28} {look.cls:<24} {', '.join(look.found) or 'not found'}{taught}")

    trees = {"kernel": args.kernel, "shaders": args.shaders}
    found = prevention.measure(bugs, trees, say, args.ids)
    if not args.ids:
        prevention.keep(args.bugs / prevention.HISTORY, found)
    return found


def _build(args: argparse.Namespace, ui: Ui) -> Outcome:
    from toolchain import bench_build

    return _table(bench_build.run(ui, args.kernel))


def _boot(args: argparse.Namespace, ui: Ui) -> Outcome:
    from toolchain import bench_boot, bench_peer

    peer = bench_peer.Peer(args.peer_image, args.peer_ready, args.peer_entry) if args.peer_image else None
    return _table(bench_boot.run(ui, args.kernel, peer))


def _shaders(args: argparse.Namespace, ui: Ui) -> Outcome:
    from toolchain import bench_shaders

    return _table(bench_shaders.run(ui, args.adapter))


def _vm(args: argparse.Namespace, ui: Ui) -> Outcome:
    from pixelvm import bench_vm

    data = bench_vm.run(ui)
    return Outcome(STATUS_OK, data, bench_vm.text(data))


def _pixel(args: argparse.Namespace, ui: Ui) -> Outcome:
    from pixelvm.god import bench

    return _table(bench.run(ui, args.kernel))


def _mailbox(args: argparse.Namespace, ui: Ui) -> Outcome:
    from toolchain.mailbox import bench

    return _table(bench.run(ui))


def _model(args: argparse.Namespace, ui: Ui) -> Outcome:
    from architect.model import bench_model

    return _table(bench_model.run(ui, args.kernel))


def _table(data: dict[str, Any]) -> Outcome:
    """Rows side by side for a person."""
    width = max(len(row["what"]) for row in data["rows"])
    lines = []
    for row in data["rows"]:
        own = f"{row['what']:<{width}}  {_figure(row['ours']):>10} {row['unit']}"
        if row["peer_value"] is not None:
            own += f"   {row['peer']}: {_figure(row['peer_value'])} {row['unit']}, ratio {row['ratio']:g}"
        if "cpu_ratio" in row:
            own += f" (by CPU time {row['cpu_ratio']:g})"
        if "cpu" in row:
            own += f" (CPU time {row['cpu']:g} s)"
        if "reach" in row:
            reached = row[row.get("reach_of", "ours")] <= row["reach"]
            own += f"   reach {_figure(row['reach'])}: {'yes' if reached else 'no'}"
        if "of_ceiling" in row:
            own += f"   {100 * row['of_ceiling']:.3g} % of the device's {row['ceiling']}"
        if "note" in row:
            own += f"   {row['peer']}: {row['note']}"
        lines.append(own)
    machine = data["machine"]
    lines.append(
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, Python {machine['python']}"
        + (f", {machine['gpu']}" if "gpu" in machine else "")
    )
    return Outcome(STATUS_OK, data, "\n".join(lines))


def _figure(value: float) -> str:
    """A count as it is, any other number with the digits that it has."""
    return f"{value:,.0f}" if value == int(value) and value >= _COUNT else f"{value:g}"


BENCHES: dict[str, Callable[[argparse.Namespace, Ui], Outcome]] = {
    "fix": _fix,
    "prevention": _prevention,
    "build": _build,
    "boot": _boot,
    "shaders": _shaders,
    "vm": _vm,
    "pixel": _pixel,
    "mailbox": _mailbox,
    "model": _model,
}
