"""``pxos journal``: write down what was tried, learnt and accepted, from the evidence."""

from __future__ import annotations

import argparse
from pathlib import Path

from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui

HELP = "Write architect/JOURNAL.md from the evidence: runs, lessons, prevention rate, prompts."
EXAMPLE = "pxos journal --runs build/fix"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    parser.add_argument(
        "--runs", type=Path, default=Path("build/fix"), metavar="DIR",
        help="trajectories below it are folded in, each once (default build/fix)",
    )  # fmt: skip
    parser.add_argument(
        "--lessons", type=Path, metavar="DIR", help="lessons that are folded in (default: the person's)"
    )
    parser.add_argument(
        "--bugs", type=Path, default=Path("tests/bugs"), metavar="DIR", help="the corpus' history"
    )
    parser.add_argument(
        "--evidence", type=Path, metavar="DIR", help="what is kept (default architect/evidence)"
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="the page (default architect/JOURNAL.md)")
    parser.add_argument(
        "--check", action="store_true", help="fold nothing in and write nothing: is the page up to date?"
    )


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Fold in, write, or check."""
    from architect.learn import chronicle
    from architect.lessons import SqliteLessons, default_folder
    from toolchain.files import read_bounded, write_atomic

    folder, out = args.evidence or chronicle.EVIDENCE, args.out or chronicle.PAGE
    added = 0
    bad: list[str] = []
    if not args.check:
        added, bad = chronicle.fold_runs(folder, args.runs)
        chronicle.fold_lessons(folder, SqliteLessons(args.lessons or default_folder()).all())
        for line in bad:
            ui.note(f"left out: {line}")
    evidence = chronicle.gather(folder, args.bugs)
    text = chronicle.page(evidence)
    if args.check:
        current = (
            out.exists()
            and read_bounded(out, chronicle.FILE_BYTES_MAX, stage=chronicle.STAGE) == text.encode()
        )
    else:
        current = True
        write_atomic(out, text, stage=chronicle.STAGE)
    data = {
        "file": str(out),
        "added": added,
        "left_out": bad,
        "current": current,
        **chronicle.figures(evidence),
    }
    said = f"{out}: {data['runs']} repairs ({added} new), {data['lessons']} lessons"
    if not current:
        return Outcome(STATUS_NO, data, f"{out}: not what the evidence says; pxos journal writes it anew")
    return Outcome(STATUS_OK, data, said)
