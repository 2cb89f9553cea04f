"""``pxos evolve prompts``: better prompts for the model, found and accepted by measurement, and the way back."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.corpus import Bug
    from architect.learn.evolve import Tryer
    from architect.model.settings import ModelSettings
    from architect.model.types import Model

HELP = "Improve the model's prompts on a part of the corpus; accept them only on another; --back undoes that."
EXAMPLE = "pxos evolve prompts --model-url http://localhost:1234/v1 --model qwen --calls 60"
STAGE = "prompts"
CALLS = 60
BOOTS_MAX = 60


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    from architect.model.settings import add_model_options

    parser.add_argument("what", choices=("prompts",), help="what is improved")
    parser.add_argument(
        "--of",
        choices=("fix", "chat"),
        default="fix",
        help="whose prompts: those of the engine llm, or those of the chat (bugs of the kernel only)",
    )
    parser.add_argument(
        "--back", action="store_true", help="put the prompts before the last acceptance in use again"
    )
    parser.add_argument(
        "--calls", type=int, default=CALLS, metavar="N", help="trials of the search (default 60)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the search (default 0)")
    parser.add_argument(
        "--budget", type=float, default=120.0, metavar="S", help="seconds of one trial (default 120)"
    )
    parser.add_argument(
        "--max-boots", type=int, default=BOOTS_MAX, metavar="N", help="machines of one trial (default 60)"
    )
    for option, default, what in (
        ("--kernel", "kernel", "the sound kernel tree"),
        ("--shaders", "shaders", "the sound shaders"),
        ("--bugs", "tests/bugs", "the corpus"),
    ):
        parser.add_argument(
            option, type=Path, default=Path(default), metavar="DIR", help=f"{what} (default {default})"
        )
    parser.add_argument("--prompts", type=Path, metavar="DIR", help="the prompts (default: those in use)")
    add_model_options(parser)


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Search, compare, accept or not; or go back."""
    from architect.model import prompt_files
    from architect.model.settings import settings_from

    folder = args.prompts or prompt_files.FOLDER
    if args.back:
        return _back(folder)
    for name, least in (("calls", 1), ("max_boots", 1)):
        if getattr(args, name) < least:
            option = name.replace("_", "-")
            raise InputError(f"--{option} {getattr(args, name)}: give a number above 0", stage=STAGE)
    if not (args.budget > 0 and math.isfinite(args.budget)):
        raise InputError(f"--budget {args.budget:g}: give seconds above 0", stage=STAGE)
    settings = settings_from(args)
    if settings is None:
        message = (
            "prompts are improved with a model, and none is configured: give --model-url, or PXOS_MODEL_URL"
        )
        raise InputError(message, stage=STAGE)
    return _evolve(args, ui, folder, settings)


def _back(folder: Path) -> Outcome:
    from architect.learn import evolve

    now = evolve.back(folder)
    text = "in use again: " + ", ".join(f"{name} {version}" for name, version in now.items())
    return Outcome(STATUS_OK, {"accepted": None, "reason": "the way back", "prompts": now}, text)


def _evolve(args: argparse.Namespace, ui: Ui, folder: Path, settings: ModelSettings) -> Outcome:
    from architect import corpus
    from architect.kernel_tree import check_tools
    from architect.learn import chat_trials
    from architect.learn.trials import Fixer
    from architect.model.client import open_model
    from toolchain import build

    trees = {"kernel": build.kernel_tree(args.kernel), "shaders": args.shaders}
    bugs = corpus.load(args.bugs)
    check_tools()
    ledger = settings.ledger()
    model = open_model(settings.endpoint, ledger, ui.step)
    tryer: Tryer = Fixer(trees, settings, ledger, args.budget, args.max_boots)
    if args.of == "chat":
        tryer = chat_trials.Talker(trees, settings, ledger, args.budget)
        bugs = [bug for bug in bugs if bug.tree == chat_trials.TREE]
    most = settings.endpoint.max_output
    data = evolution(bugs, folder, tryer, model, ui, args.calls, args.seed, most, args.of)
    data["tokens"] = ledger.tokens
    data["money"] = None if ledger.money is None else f"{ledger.money:f}"
    return Outcome(STATUS_OK if data["accepted"] else STATUS_NO, data, text(data))


def evolution(
    bugs: Sequence[Bug],
    folder: Path,
    tryer: Tryer,
    model: Model,
    ui: Ui,
    calls: int,
    seed: int,
    max_output: int,
    of: str = "fix",
) -> dict[str, Any]:
    """One evolution: search on the first part, judge on the second, and on the third when it was accepted.

    Raises:
        ModelError: the model cannot be asked further; nothing has changed then.
        InputError: a part of the corpus is empty, or the prompts cannot be read.
    """
    from architect.learn import evolve
    from architect.model import prompt_files

    base = prompt_files.load_set(folder)
    before = prompt_files.current(folder)
    evolve.log(folder)  # a damaged log is told before the work, not after it
    split = evolve.parts(bugs)
    empty = [part for part in evolve.PARTS if not split[part]]
    if empty:
        raise InputError(f"the corpus is too small: no class is left for the {empty[0]} part", stage=STAGE)
    ui.step("bugs: " + ", ".join(f"{len(split[part])} {part}" for part in evolve.PARTS))
    texts = evolve.candidate(
        base,
        split["training"],
        tryer,
        model,
        calls=calls,
        seed=seed,
        max_output=max_output,
        say=ui.step,
        names=prompt_files.GROUPS[of],
    )
    new = evolve.with_texts(base, texts)
    changed = [name for name in prompt_files.NAMES if new[name].text != base[name].text]
    row: dict[str, Any] = {
        "from": before,
        "to": before,
        "changed": changed,
        "model": model.name,
        "seed": seed,
    }
    row |= {
        "calls": calls,
        "classes": {part: sorted({bug.cls for bug in split[part]}) for part in evolve.PARTS},
    }
    row |= {"validation": None, "test": None}
    if not changed:
        return _rejected(folder, row, "the search found nothing better on the training part")
    row["validation"] = evolve.compare(base, new, split["validation"], tryer, ui.step)
    why = evolve.accepted(row["validation"])
    if why is not None:
        return _rejected(folder, row, why)
    row["test"] = evolve.compare(base, new, split["test"], tryer, ui.step)
    row["to"] = evolve.keep(folder, new)
    evolve.note(folder, {"kind": "accepted", **row})
    return {"accepted": True, "reason": "better on the validation part", "prompts": row["to"], **_told(row)}


def _rejected(folder: Path, row: Mapping[str, Any], why: str) -> dict[str, Any]:
    from architect.learn import evolve

    evolve.note(folder, {"kind": "rejected", "why": why, **row})
    return {"accepted": False, "reason": why, "prompts": dict(row["from"]), **_told(row)}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: row[key] for key in ("changed", "model", "calls", "classes", "validation", "test")}


def text(data: Mapping[str, Any]) -> str:
    """What came of it, for a person."""
    lines = [f"{'accepted' if data['accepted'] else 'not accepted'}: {data['reason']}"]
    for part in ("validation", "test"):
        found = data[part]
        if found is not None:
            lines.append(
                f"{part}: {found['wins']} wins, {found['losses']} losses, {found['ties']} ties (p = {found['p']:g}); "
                f"score {found['score_before']:.3f} before, {found['score']:.3f} now; "
                f"correct {found['correct_before']} before, {found['correct']} now"
            )
    lines.append("in use: " + ", ".join(f"{name} {version}" for name, version in data["prompts"].items()))
    if data["accepted"]:
        lines.append("the way back: pxos evolve prompts --back")
    return "\n".join(lines)
