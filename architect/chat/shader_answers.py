"""Requests for a shader, without a model: what the tree has, proved at that moment, and how to go on from it.

Owns the choice of shaders for the words of a request. Writes no WGSL: that is for a model, or a person.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from architect.chat.index import telling
from architect.chat.view import WGSL

if TYPE_CHECKING:
    from architect.chat.talk import Talk

_IDLE_WORDS = (
    "wgsl shader shaders gpu generate compute write create make build give show add design implement"
)
_IDLE = frozenset(_IDLE_WORDS.split())
_FUNCTIONS = 3
_LINES = 60


def offer(talk: Talk, question: str) -> None:
    """Show the functions that do it, compile their shader, and hold it to its reference."""
    from architect.chat import ask

    words = " ".join(word for word in telling(question) if word not in _IDLE) or question
    found = [hit for hit in ask.hits(talk, words, 12, ("shader",)) if hit.piece.file.endswith(".wgsl")]
    if not found:
        talk.ok = False
        talk.note(f"no shader of the tree is about {words}; with a model one can be written (/model)")
        return
    file = found[0].piece.file
    for hit in [hit for hit in found if hit.piece.file == file][:_FUNCTIONS]:
        talk.view.heading(f"{hit.piece.file}:{hit.piece.line}  {hit.piece.title}")
        talk.view.code("\n".join(hit.piece.body.split("\n")[:_LINES]), WGSL)
        talk.session.say("tool", hit.piece.body, f"read_source {hit.piece.file}")
    others = sorted({hit.piece.file for hit in found} - {file})
    for name in ("compile_shader", "run_shader"):
        talk.show(talk.tool(name, shader=file), f"{name} {file}")
    talk.note(f"All of it is {file}; the bindings stand at its head, the host side in shaders/README.md.")
    if others:
        talk.note(f"Also about it: {', '.join(others[:4])}")
    talk.note(
        f'To try a change: /tool propose_edit {{"edits": [{{"file": "{file}", "search": "...", "replace": "..."}}]}},'
        f' then /tool run_shader {{"shader": "{file}"}} and /apply. A new shader is written with a model (/model).'
    )
