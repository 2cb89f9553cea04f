"""``pxos chat``: talk with the architect about a kernel, on a terminal or line by line."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui, wants_colour
from toolchain.kerneltree import tree_here

if TYPE_CHECKING:
    from architect.chat.talk import Talk

HELP = "Talk with the architect about a kernel: ask, boot, repair, measure; without a model it answers by search."
EXAMPLE = "pxos chat --kernel kernel '/boot test' 'where is CR3 loaded?'"


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments."""
    from architect.model.settings import add_model_options

    parser.add_argument(
        "lines",
        nargs="*",
        metavar="LINE",
        help="answer these instead of reading the terminal or standard input",
    )
    parser.add_argument(
        "--kernel",
        type=Path,
        default=tree_here(),
        metavar="DIR",
        help="kernel tree (default: this folder if it has a pxos.toml, else ./kernel)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/chat"),
        metavar="DIR",
        help="images, logs, copies (default build/chat)",
    )
    parser.add_argument(
        "--lessons", type=Path, metavar="DIR", help="the lesson store (default: the person's own)"
    )
    parser.add_argument(
        "--unsafe-no-sandbox", action="store_true", help="build and boot a foreign tree without the sandbox"
    )
    parser.add_argument("--load", metavar="NAME", help="go on with a conversation that was kept")
    parser.add_argument(
        "--save",
        metavar="NAME",
        help="keep this conversation under a name, until it is removed (without one: the newest 100, for 90 days)",
    )
    add_model_options(parser)


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Talk until the person leaves or the lines are over."""
    from architect.chat import session as sessions
    from architect.chat.models import mind_from
    from architect.chat.talk import Talk
    from architect.chat.view import ColourView, Progress, View
    from architect.tools.desk import Desk
    from architect.tools.foreign_desk import ForeignDesk
    from toolchain import build, files
    from toolchain.foreign import config

    alone = not args.lines and sys.stdin.isatty() and sys.stdout.isatty()
    foreign = args.kernel is not None and config.is_foreign(args.kernel)
    tree = args.kernel if foreign else build.kernel_tree(args.kernel)
    name = args.save or sessions.fresh_name()
    if args.save:
        sessions.path_of(name)
    progress = Progress(quiet=args.quiet)
    with files.claimed(args.out.absolute(), stage="chat") as out:
        mind = mind_from(args, progress.note, out / f"chat-{name}.jsonl")
        desk = Desk(tree, out, lessons=args.lessons, say=progress.note)
        if foreign:
            desk = ForeignDesk(
                tree, out, lessons=args.lessons, unsafe=args.unsafe_no_sandbox, say=progress.note
            )
        with desk:
            view = ColourView() if wants_colour(sys.stdout) else View()
            session = sessions.Session(name, str(desk.tree))
            talk = Talk(desk, view, session, progress, mind=mind, keep=alone or bool(args.save))
            try:
                return _talk(talk, args, alone=alone)
            finally:
                talk.close()


def _talk(talk: Talk, args: argparse.Namespace, *, alone: bool) -> Outcome:
    from architect.chat import piped

    if args.load:
        from architect.chat import keeping
        from architect.chat import session as sessions

        keeping.resume(talk, sessions.load(args.load))
    if alone:
        from architect.chat import terminal

        terminal.converse(talk)
        return Outcome(STATUS_OK)
    lines = args.lines or piped.lines_of(sys.stdin.buffer)
    return Outcome(STATUS_OK if piped.converse(talk, lines) else STATUS_NO)
