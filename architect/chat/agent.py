"""A question for the model: its answer as it comes, the tools that it asks for, its edits before the gates.

Owns the loop of one answer: so many steps and no more, every proposal judged, every refusal told to the model. What a
tool reads is not read again while nothing changed. The model gets to nothing but the tools.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

from architect.chat import memory, remember
from architect.model.types import Message, Reply, ToolCall
from architect.tools.base import Answer
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.chat.models import Mind
    from architect.chat.talk import Talk

STEPS_MAX = 16  # requests for one answer
CALLS_MAX = 8  # tools of one request
ROUNDS_MAX = 3  # refused proposals that are told to the model
_BLOCK = re.compile(r"^```tool\s*\n(.*?)\n```\s*$", re.MULTILINE | re.DOTALL)
# Tools whose answer depends on nothing but the sources and the arguments.
_PURE = frozenset(
    ("read_source", "search", "symbols", "disassemble", "explain", "run_routine", "check_contracts")
)
_OUT_OF_STEPS = f"stopped after {STEPS_MAX} requests for one answer; say 'go on' to continue"


def converse(talk: Talk, question: str) -> None:
    """One question, answered.

    Raises:
        ModelError: there is no answer; what came of it is kept.
        KeyboardInterrupt: Ctrl-C; what came of it is kept.
    """
    assert talk.mind is not None
    thread = memory.messages(talk)
    before = judged = talk.before_proposal()
    rounds = 0
    seen: dict[str, int] = {}
    try:
        for step in range(STEPS_MAX):
            reply = _ask(talk, talk.mind, thread)
            calls = list(reply.tool_calls) or _text_calls(reply.text, step)
            thread.append(Message("assistant", reply.text, reply.tool_calls))
            if calls:
                _call_all(talk, calls, thread, seen, native=bool(reply.tool_calls))
                continue
            if not reply.text.strip():
                talk.ok = False
                talk.note("the model answered nothing; ask again, or say /model off for answers by search")
                return
            said = _proposals(talk, reply.text)
            if said is None and talk.desk.changes != judged and rounds < ROUNDS_MAX:
                judged = talk.before_proposal()
                said = _judged(talk)
            if said is None:
                return
            rounds += 1
            if rounds > ROUNDS_MAX:
                talk.note(
                    f"the model's proposal was refused {rounds} times; it stays on the desk to be looked at"
                )
                return
            thread.append(Message("user", said))
        talk.ok = False
        talk.note(_OUT_OF_STEPS)
    finally:
        talk.proposed(before)


def _ask(talk: Talk, mind: Mind, thread: list[Message]) -> Reply:
    """One request: the text is shown as it comes; tokens and money behind it."""
    from architect.tools.table import described

    stream = talk.view.stream_prose()
    pieces: list[str] = []

    def on_text(piece: str) -> None:
        pieces.append(piece)
        stream.feed(piece)

    try:
        reply = mind.model.ask(
            thread, max_output=_room(mind), tools=described() if mind.tools else (), on_text=on_text
        )
    except BaseException as error:
        stream.close()
        if pieces:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else "broken off"
            talk.session.say("assistant", "".join(pieces) + f"\n({why})")
        raise
    if not pieces and reply.text:
        stream.feed(reply.text)
    stream.close()
    if reply.text:
        talk.session.say("assistant", reply.text)
    _count(talk, mind, reply)
    return reply


def _room(mind: Mind) -> int:
    """Tokens that the answer may have: as configured, and never more than half of a small context."""
    return max(64, min(mind.settings.endpoint.max_output, mind.client.context // 2))


def _count(talk: Talk, mind: Mind, reply: Reply) -> None:
    session = talk.session
    session.prompt_tokens += reply.usage.prompt
    session.answer_tokens += reply.usage.completion
    if mind.ledger.money is not None:
        session.money = str(mind.ledger.money)
    mind.used = reply.usage.total
    cut = "" if reply.whole else f"the answer was cut ({reply.finish})"
    if cut or reply.note:
        talk.view.note("; ".join(filter(None, (cut, reply.note))))
    talk.view.note(f"[{mind.short()}]")


def _text_calls(text: str, step: int) -> list[ToolCall]:
    """Tool calls that a model wrote as text."""
    blocks = _BLOCK.findall(text)[:CALLS_MAX]
    return [ToolCall.of_text(f"text-{step}-{number}", block) for number, block in enumerate(blocks)]


def _call_all(
    talk: Talk, calls: list[ToolCall], thread: list[Message], seen: dict[str, int], *, native: bool
) -> None:
    """Call the tools and put their answers into the thread."""
    answers = []
    for number, call in enumerate(calls):
        if number >= CALLS_MAX:
            answer = Answer(f"not called: at most {CALLS_MAX} tools in one step", ok=False)
        else:
            answer = _call(talk, call, seen, len(thread))
        text = remember.read(talk, call.name, call.arguments, answer.text) if answer.ok else answer.text
        text = remember.bounded(text)
        if native:
            thread.append(Message("tool", text, tool_call_id=call.id))
        else:
            answers.append(f"[{call.name or 'tool'}]\n{text}")
    if answers:
        thread.append(Message("user", "\n\n".join(answers)))


def _call(talk: Talk, call: ToolCall, seen: dict[str, int], at: int) -> Answer:
    from architect.tools.table import call as run

    name = remember.named(call.name, call.arguments)
    talk.view.note(f"→ {name}")
    mark = f"{call.name} {call.arguments} {talk.desk.key() if call.name in _PURE else ''}"
    if call.name in _PURE and mark in seen:
        return Answer("unchanged since you read it above in this conversation")
    answer = run(call.name, talk.desk, call.arguments)
    if call.name in _PURE and answer.ok:
        seen[mark] = at
    assert talk.mind is not None
    talk.mind.noted(
        "tool", {"name": call.name, "arguments": call.arguments, "text": answer.text, "ok": answer.ok}
    )
    first = answer.text.partition("\n")[0][:120]
    talk.view.note(f"  {'ok' if answer.ok else 'no'}: {first}")
    talk.session.say("tool", answer.text, name)
    return answer


def _proposals(talk: Talk, text: str) -> str | None:
    """Take the edit blocks of an answer; what to tell the model when they do not apply."""
    from architect.model import edits
    from architect.model.placing import EditError
    from architect.tools.proposing import propose_blocks

    try:
        blocks = edits.parse(text)
        if blocks:
            propose_blocks(talk.desk, blocks)
    except (InputError, EditError) as error:
        talk.view.note("the edits do not apply; the model is told why")
        return f"The edits do not apply: {error}"
    return None


def _judged(talk: Talk) -> str | None:
    """Ask the gates about the proposal; what to tell the model when one refuses."""
    from architect.tools.table import call as run

    kernel = talk.desk.kernel_changes()
    name, arguments = ("run_gates", "{}") if kernel else ("run_shader", "")
    if not kernel:
        arguments = json.dumps({"shader": sorted(talk.desk.changes)[0]})
    if kernel and talk.proved == talk.desk.key():
        return None
    answer = run(name, talk.desk, arguments)
    talk.show(answer, name)
    talk.ok = True  # the conversation goes on; what counts is the last verdict
    if answer.ok:
        talk.proved = talk.desk.key() if kernel else ""
        talk.note("/apply takes it to a branch, /undo drops it")
        return None
    talk.ok = False
    remember.refused(talk, answer.text)
    return f"The proposal was judged and refused:\n{answer.text}\nMend it, or say why it cannot be done."
