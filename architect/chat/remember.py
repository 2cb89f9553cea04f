"""/remember: rules that hold for this conversation, this kernel, or anywhere; a model sees them in every request.

Owns which of the levels of ``architect.learn.memory`` a rule goes to. Rules are pinned: no compaction takes them out.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from architect.chat.session import Turn
from toolchain.errors import InputError, PxError

if TYPE_CHECKING:
    from architect.chat.talk import Talk
    from architect.learn.memory import Level, Memory

STAGE = "chat"
_LEVELS = ("session", "project", "anywhere")
_RULE_MAX = 2000  # characters


def command(talk: Talk, rest: str) -> None:
    """``/remember [session|project|anywhere] [TEXT | forget NUMBER]``."""
    level, _, text = rest.partition(" ")
    if level not in _LEVELS:
        level, text = "session", rest
    text = text.strip()
    if not text:
        talk.note(_listed(talk))
        return
    if len(text) > _RULE_MAX:
        raise InputError(f"a rule of {len(text)} characters; at most {_RULE_MAX}", stage=STAGE)
    word, _, number = text.partition(" ")
    if word == "forget" and number.isdecimal():
        _forget(talk, level, int(number))
    elif level == "session":
        talk.session.turns.append(Turn("user", text, pinned=True))
        talk.note("it holds for this conversation")
    else:
        _memory(talk).note(_level(level), text, pinned=True)
        talk.note(f"it holds for {'every kernel' if level == 'anywhere' else 'this kernel'}")


def rules(talk: Talk) -> str:
    """What holds for this kernel and anywhere, for a prompt; empty where nothing is kept or can be read."""
    with suppress(PxError):
        return _memory(talk).text(("anywhere", "project"))
    return ""


def _listed(talk: Talk) -> str:
    memory = _memory(talk)
    rows = [
        (level, item.id, item.text)
        for level in ("project", "anywhere")
        for item in memory.items(_level(level))
    ]
    pinned = [turn for turn in talk.session.turns if turn.pinned]
    rows += [("session", number, turn.text) for number, turn in enumerate(pinned, 1)]
    return "\n".join(f"{level:<8} {number:>3}  {text}" for level, number, text in rows) or "no rule is kept"


def _forget(talk: Talk, level: str, number: int) -> None:
    if level == "session":
        pinned = [turn for turn in talk.session.turns if turn.pinned]
        if not 1 <= number <= len(pinned):
            raise InputError(f"no rule {number} of this conversation", stage=STAGE)
        talk.session.turns.remove(pinned[number - 1])
    else:
        memory = _memory(talk)
        if memory.get(number).level != level:
            raise InputError(f"no rule {number} of that level", stage=STAGE)
        memory.drop(number)
    talk.note("forgotten")


def _memory(talk: Talk) -> Memory:
    from architect.learn import memory

    return memory.of(talk.desk.lessons_folder(), talk.desk.tree)


def _level(name: str) -> Level:
    return "anywhere" if name == "anywhere" else "project"
