"""``pxos vm fuzz``: random programs on every engine, each judged by the reference."""

from __future__ import annotations

import argparse

from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui

HELP = "run random valid and damaged programs on every engine and compare states and calls with the reference"
EXAMPLE = "fuzz --count 20000 --seed 7 --engines python,wgsl"
INTERACTIVE = False

STAGE = "vm"
COUNT = 10_000
_NUMBER_MAX = (1 << 63) - 1
_DIGITS_MAX = 19
_SHOWN = 3  # differences that are minimised and told; one fault of an engine causes many


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "--count",
        type=_count,
        default=COUNT,
        metavar="N",
        help=f"cases, every second one damaged (default {COUNT})",
    )
    parser.add_argument("--seed", type=_number, default=1, metavar="S", help="of all cases (default 1)")
    parser.add_argument("--first", type=_number, default=0, metavar="N", help="number of the first case")
    parser.add_argument(
        "--engines",
        type=engine_names,
        metavar="A,B",
        help="which to compare with the reference (default all)",
    )


def _number(text: str, low: int = 0) -> int:
    if not text.isdecimal() or len(text) > _DIGITS_MAX or not low <= int(text) <= _NUMBER_MAX:
        raise argparse.ArgumentTypeError(f"'{text}': expected a number from {low} to {_NUMBER_MAX}")
    return int(text)


def _count(text: str) -> int:
    return _number(text, 1)


def engine_names(text: str) -> list[str]:
    """Names of engines, comma-separated."""
    from pixelvm.engines import NAMES

    names = list(dict.fromkeys(text.split(",")))
    for name in names:
        if name not in NAMES:
            raise argparse.ArgumentTypeError(f"no engine is called '{name}' (there are: {', '.join(NAMES)})")
    return names


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Run the cases; the first differences come out minimised, as source."""
    from pixelvm import engines, fuzz, fuzz_minimise

    names = args.engines or list(engines.NAMES)
    for name in names:
        engines.find(name)
    found: list[fuzz.Difference] = []
    done = 0
    for done, differences in fuzz.run(args.seed, args.first, args.count, names):
        found += differences
        ui.progress(f"{done} of {args.count} cases, {len(found)} differences")
        if found:
            break
    ui.step(f"{done} cases on {', '.join(names)}: {len(found)} differences")
    rows = []
    for one in found[:_SHOWN]:
        ui.progress(f"minimising case {one.number}")
        source = fuzz_minimise.told(args.seed, one, names)
        rows.append({"number": one.number, "engine": one.engine, "what": one.what, "source": source})
    data = {
        "action": "fuzz", "seed": args.seed, "first": args.first, "cases": done, "engines": names,
        "different": len(found), "differences": rows,
    }  # fmt: skip
    text = f"{done} cases, {len(found)} differences"
    shown = "\n".join(str(row["source"]) for row in rows)
    return Outcome(STATUS_NO if found else STATUS_OK, data, f"{shown}{text}" if rows else text)
