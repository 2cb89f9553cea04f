"""The commands about the conversation itself: /save /load /help /quit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from architect.chat import session as sessions
from architect.chat.commands import COMMANDS, find
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.chat.session import Session
    from architect.chat.talk import Talk

STAGE = "chat"
_LISTED = 20
_SHOWN = 6  # turns that are shown of a conversation that goes on
_LINE = 100


def save(talk: Talk, rest: str) -> None:
    """``/save [NAME]``."""
    if rest:
        sessions.path_of(rest)
        talk.session.name = rest
    talk.remember()
    path = sessions.save(talk.session)
    talk.keep = True
    talk.note(f"kept as {talk.session.name} ({path}); /load {talk.session.name} goes on with it")


def load(talk: Talk, rest: str) -> None:
    """``/load [NAME]``."""
    if not rest:
        names = sessions.names()[:_LISTED]
        talk.note("\n".join(names) if names else "no conversation is kept yet; /save keeps this one")
        return
    resume(talk, sessions.load(rest))


def resume(talk: Talk, loaded: Session) -> None:
    """Go on with a conversation that was kept: its tree, its proposal, what it applied.

    Raises:
        InputError: its kernel tree is gone.
    """
    tree = Path(loaded.tree)
    if not tree.is_dir():
        raise InputError(f"session {loaded.name}: its kernel tree {tree} is gone", stage=STAGE)
    talk.desk.move(tree)
    talk.session = loaded
    talk.memory = None  # that of the conversation before; ``remember`` opens this one's
    talk.memory_key = ""
    talk.steps = [None] * len(loaded.applied)
    fits = {name: text for name, text in loaded.changes.items() if loaded.bases.get(name)}
    try:
        talk.desk.propose(fits)
        talk.desk.bases.update({name: loaded.bases[name] for name in talk.desk.changes})
    except InputError as error:
        talk.view.bad(f"the proposal of that conversation cannot be taken up: {error.message}")
        talk.desk.drop()
    said = [turn for turn in loaded.turns if turn.role in ("user", "assistant")]
    talk.view.heading(f"{loaded.name}: {len(said)} messages, kernel tree {tree}")
    for turn in said[-_SHOWN:]:
        first = turn.text.strip().partition("\n")[0]
        talk.view.note(f"{'>' if turn.role == 'user' else ' '} {first[:_LINE]}")
    if talk.desk.changes:
        talk.steps.append({})  # how it came about step by step is not kept
        talk.view.text(
            f"a proposal for {', '.join(sorted(talk.desk.changes))} lies on the desk: /diff shows it, /undo drops it"
        )
    talk.keep = True


def help(talk: Talk, rest: str) -> None:
    """``/help [COMMAND]``."""
    if rest:
        command = find(rest.removeprefix("/"))
        lines = [f"/{command.name} {command.usage}".rstrip(), f"  {command.summary}"]
        lines += ["examples:", *(f"  {example}" for example in command.examples)]
        talk.view.text("\n".join(lines))
        return
    width = max(len(name) for name in COMMANDS) + 1
    lines = [f"/{c.name:<{width}} {c.summary}" for c in COMMANDS.values()]
    lines += [
        "",
        "Anything else is a question, e.g.:",
        "  where is CR3 loaded?",
        "  Fix the map_mmio_page function based on the failure report",
        "  Create comprehensive test suite for paging code",
        "/help COMMAND shows its examples. Tab completes; Alt-Enter or a trailing \\ begins a new line; Ctrl-C ends an",
        "answer or a boot; Ctrl-D leaves.",
    ]
    talk.view.text("\n".join(lines))


def quit(talk: Talk, rest: str) -> None:
    """``/quit``."""
    talk.gone = True
