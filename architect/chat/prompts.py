"""What a model is told before a conversation: who it is, what it has, the rules that it cannot talk its way out of.

Owns how the system message is put together; its words are the prompts ``chat`` and ``chat_tools``
(``architect.model.prompt_files``). Facts about the kernel in it are taken from the desk at that moment.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from architect.chat import remember
from architect.tools.foreign_desk import ForeignDesk

if TYPE_CHECKING:
    from architect.chat.talk import Talk


def system(talk: Talk) -> str:
    """The system message of a conversation."""
    assert talk.mind is not None
    prompts = talk.mind.prompts
    parts = [prompts["chat"].text.rstrip()]
    if not talk.mind.tools:
        parts.append(prompts["chat_tools"].filled(tools="\n".join(_tool_lines())).rstrip())
    parts += [remember.rules(talk), _state(talk)]
    return "\n\n".join(part for part in parts if part)


def _tool_lines() -> list[str]:
    from architect.tools.table import TOOLS

    return [
        f"- {name}({', '.join(TOOLS[name].parameters['properties'])}): {TOOLS[name].summary}"
        for name in TOOLS
    ]


def _state(talk: Talk) -> str:
    """What lies on the desk."""
    desk = talk.desk
    folders = sorted({name.partition("/")[0] for name in desk.copy().sources() if "/" in name})
    lines = [f"The kernel tree: {', '.join(folders)}; the shaders: shaders/*.wgsl."]
    if isinstance(desk, ForeignDesk):
        about = desk.foreign
        lines = [
            f"The tree at hand is not pxOS but {about.name}, another's kernel, written in {about.syntax} and built and "
            "booted by its pxos.toml: write in its syntax. It has no headers, contracts or shell of pxOS.",
            f"What may be edited: {', '.join(sorted(desk.originals()))}.",
        ]
    if desk.boot_result is not None:
        lines.append(f"The last boot ended as {desk.boot_result.outcome}.")
    if desk.report is not None:
        lines.append(f"The fault report says: {desk.report.cause} (fault_report shows all of it).")
    if desk.changes:
        lines.append(f"Proposed, not applied: changes in {', '.join(sorted(desk.changes))} (show_proposal).")
    return "\n".join(lines)
