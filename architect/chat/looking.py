"""The commands that look things up: /explain /lessons /search /tool."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from architect.chat.view import GAS, language_of
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.chat.talk import Talk

STAGE = "chat"
HITS = 8
_EXCERPT = re.compile(r"^(\S.*\.\w+):\n(?=[> ] *\d+  )", re.MULTILINE)


def explain(talk: Talk, rest: str) -> None:
    """``/explain ADDR|SYMBOL``."""
    if not rest or " " in rest:
        raise InputError("/explain ADDR|SYMBOL: give one, e.g. /explain page_map", stage=STAGE)
    answer = talk.tool("explain", what=rest)
    if not answer.ok:
        talk.show(answer, f"explain {rest}")
        return
    excerpt = _EXCERPT.search(answer.text)  # the sheet's last part
    talk.view.text(answer.text[: excerpt.end()].rstrip("\n") if excerpt else answer.text)
    if excerpt:
        talk.view.code(answer.text[excerpt.end() :], language_of(excerpt[1]) or GAS)
    talk.session.say("tool", answer.text, f"explain {rest}")


def lessons(talk: Talk, rest: str) -> None:
    """``/lessons [NUMBER|WORDS]``."""
    if rest.isdecimal():
        from architect import lesson_text

        lesson = talk.desk.lessons().get(int(rest))
        talk.note(lesson_text.dump([lesson]).rstrip("\n"))
        return
    talk.show(talk.tool("recall_lessons", words=rest, limit=20), f"recall_lessons {rest}".strip())


def search(talk: Talk, rest: str) -> None:
    """``/search WORDS``."""
    from architect.chat import ask

    if not rest:
        raise InputError("/search WORDS: say what to look for", stage=STAGE)
    found = ask.hits(talk, rest, HITS)
    ask.show_hits(talk, found, rest)
    talk.ok = bool(found)


def tool(talk: Talk, rest: str) -> None:
    """``/tool NAME [JSON]``."""
    from architect.tools.table import TOOLS, call

    name, _, text = rest.partition(" ")
    if not name:
        talk.note("\n".join(f"{known:<18} {TOOLS[known].summary}" for known in TOOLS))
        return
    before = talk.before_proposal()
    talk.show(call(name, talk.desk, text), rest)
    talk.proposed(before)
