"""What a conversation keeps in mind: rules of the person, what was read, what was refused; /remember.

Owns the memory of a conversation (``architect.learn.memory``, four levels): which level a rule goes to, how large the
levels are for a model's context, and that what was read is still what the tools show. Rules are pinned: no compaction
takes them out, and a model sees them in every request. What tools showed is evidence and never a rule.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from architect.learn import memory as learnt
from architect.learn.memory import BUDGETS, LEVELS, Level, Memory
from architect.model.fence import fenced
from toolchain.errors import InputError, PxError

if TYPE_CHECKING:
    from architect.chat.talk import Talk

STAGE = "chat"
RULES: tuple[Level, ...] = ("session", "project", "anywhere")
# Of a model's context, what each level may take; the rest is for the conversation and the answer.
SHARES: Mapping[Level, float] = {"case": 0.1, "session": 0.12, "project": 0.05, "anywhere": 0.03}
# Tools whose answer follows from sources and arguments alone: what they showed is kept in mind ...
READERS = frozenset(("read_source", "search", "symbols", "disassemble", "explain"))
# ... and those that are asked again when the sources have changed, for they need no build.
CHEAP = frozenset(("read_source", "search"))
REFUSED_MAX = 400  # characters of a refused proposal and its verdict
ANSWER_MAX = 8000  # characters of a tool's answer that a model gets
_NAMED_MAX = 100  # characters of a call's arguments that its turn shows
_RULE_MAX = 2000  # characters


def command(talk: Talk, rest: str) -> None:
    """``/remember [session|project|anywhere] [TEXT | forget NUMBER]``."""
    level, _, text = rest.partition(" ")
    if level not in RULES:
        level, text = "session", rest
    text = text.strip()
    if not text:
        talk.note(_listed(talk))
        return
    if len(text) > _RULE_MAX:
        raise InputError(f"a rule of {len(text)} characters; at most {_RULE_MAX}", stage=STAGE)
    word, _, number = text.partition(" ")
    if word == "forget" and number.isdecimal():
        _forget(of(talk), level, int(number))
        talk.note("forgotten")
        return
    of(talk).note(level, text, pinned=True)  # type: ignore[arg-type]
    where = {"session": "this conversation", "project": "this kernel", "anywhere": "every kernel"}
    talk.note(f"it holds for {where[level]}")


def of(talk: Talk) -> Memory:
    """The memory of a conversation: opened once, and again for a kernel of another name.

    Raises:
        InputError: a file of it is no memory.
    """
    desk = talk.desk
    if talk.memory is None or talk.memory_of != desk.tree.name:
        if talk.memory is not None:
            keep(talk)
        made = learnt.of(desk.lessons_folder(), desk.tree)
        for level, rows in talk.session.memory.items():
            made.load(level, rows)  # type: ignore[arg-type]
        talk.memory, talk.memory_of = made, desk.tree.name
    return talk.memory


def keep(talk: Talk) -> None:
    """Put what belongs to the conversation into its session."""
    from architect.chat.session import REMEMBERED

    if talk.memory is not None:
        talk.session.memory = {level: talk.memory.dump(level) for level in REMEMBERED}


def fit(talk: Talk, context: int) -> None:
    """Hold every level to its share of a context of so many tokens."""
    of(talk).resize({level: min(BUDGETS[level], int(SHARES[level] * context)) for level in LEVELS})


def rules(talk: Talk) -> str:
    """The person's rules, for a prompt; empty where none is kept or they cannot be read."""
    with suppress(PxError):
        lines = [f"- {item.text}" for item in of(talk).items() if item.pinned]
        return "\n".join(["The person's rules:", *lines]) if lines else ""
    return ""


def evidence(talk: Talk) -> str:
    """What was read and refused before, fenced: as it is now."""
    with suppress(PxError):
        memory = of(talk)
        _refresh(talk, memory)
        rows = [
            f"[{i.id}] {i.source + chr(10) if i.source else ''}{i.text}"
            for i in memory.items()
            if not i.pinned
        ]
        return fenced("kept in mind from earlier in this conversation", "\n".join(rows)) if rows else ""
    return ""


def standing(talk: Talk) -> dict[str, int]:
    """What stands in the evidence -> its item: calls of tools, as turns name them."""
    with suppress(PxError):
        items = of(talk).items()
        return {named(*item.source.split(" ", 1)): item.id for item in items if item.source is not None}
    return {}


def named(tool: str, arguments: str) -> str:
    """A call of a tool as a turn names it."""
    return f"{tool} {arguments if len(arguments) <= _NAMED_MAX else arguments[:_NAMED_MAX] + '…'}"


def bounded(text: str) -> str:
    """What a model gets of a tool's answer."""
    return text if len(text) <= ANSWER_MAX else f"{text[:ANSWER_MAX]}\n… (cut)"


def read(talk: Talk, tool: str, arguments: str, text: str) -> str:
    """What to show of a tool's answer: all of it the first time, then where it stands."""
    text = bounded(text)
    if tool not in READERS:
        return text
    with suppress(PxError):
        return of(talk).read(f"{tool} {arguments}", text).shown
    return text


def refused(talk: Talk, verdict: str) -> None:
    """Keep in mind what was proposed and why it was refused, for as long as the case lasts."""
    changed = [
        line
        for line in talk.desk.diff().splitlines()
        if line[:1] in "+-" and not line.startswith(("+++", "---"))
    ]
    text = " ".join(f"refused: {' | '.join(changed)}: {verdict}".split())[:REFUSED_MAX]
    with suppress(PxError):
        of(talk).note("case", text)


def closed(talk: Talk) -> None:
    """The case is over: what was tried against it is forgotten."""
    with suppress(PxError):
        of(talk).forget("case")


def _refresh(talk: Talk, memory: Memory) -> None:
    """Look again at what was read, once the sources are others."""
    key = talk.desk.key()
    if talk.memory_key == key:
        return
    from architect.tools.table import call

    talk.memory_key = key
    for item in [item for item in memory.items("session") if item.source is not None]:
        name, _, arguments = (item.source or "").partition(" ")
        answer = call(name, talk.desk, arguments) if name in CHEAP else None
        if answer is None or not answer.ok:
            memory.drop(item.id)
        else:
            memory.read(f"{name} {arguments}", bounded(answer.text))


def _listed(talk: Talk) -> str:
    rows = [(item.level, item.id, item.text) for item in of(talk).items() if item.pinned]
    return "\n".join(f"{level:<8} {number:>3}  {text}" for level, number, text in rows) or "no rule is kept"


def _forget(memory: Memory, level: str, number: int) -> None:
    item = memory.get(number)
    if item.level != level or not item.pinned:
        raise InputError(f"no rule {number} of that level", stage=STAGE)
    memory.drop(number)
