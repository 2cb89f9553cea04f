"""The conversation of a repair with a model: what it is told each time, what it answered, what it has looked at.

Owns the messages within their room. What was said last stands whole; of what no longer fits, the memory of the case
(``architect.learn.memory``) keeps what was looked at and which edits were refused, so that nothing is shown twice and
nothing that was refused is forgotten. Judges nothing and proposes nothing by itself.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from architect.learn.memory import Item, Memory
from architect.model import edits, prompt
from architect.model.counting import MESSAGE_TOKENS, TEMPLATE_TOKENS
from architect.model.fence import fenced
from architect.model.near import Near
from architect.model.placing import EditError
from architect.model.prompt_files import load_set
from architect.model.types import Message, Model, ModelError, Reply, ToolCall
from architect.protocols import Case, Evaluation, Patch
from architect.signature import of_case
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.model.engine import LlmEngine

NAME = "llm"
OPERATOR = "edit-blocks"
MALFORMED_MAX = 4  # answers in a row without an edit that applies
FORMLESS_MAX = 2  # answers in a row without a whole block, after which a schema is asked for
LOOKS_MAX = 8  # answers in a row that only call tools
CALLS_MAX = 4  # tools of one answer
SHRINKS_MAX = 4
PROMPT_TOKENS_MAX = 16_000  # more does not help, and costs
TURNS_SHARE = (
    0.35  # of the prompt's room, for the last questions and answers and what is remembered of older ones
)
MEMORY_SHARE = 0.15  # of the prompt's room, when older ones are left out
ANSWER_BYTES_MAX = 4000  # of an answer that stays in the conversation
LOOK_BYTES_MAX = 6000  # of what a tool shows
LESSONS_MAX = 5
TRIED_MAX = 200  # characters of a refused edit and its verdict that are remembered
_TOOL = re.compile(r"^```tool\s*\n(.*?)\n```", re.MULTILINE | re.DOTALL)
_ROOM_STEP = 1024  # bytes


class Turn:
    """A question and its answer: the messages, and the items of the memory that they show."""

    def __init__(self, messages: Sequence[Message], *items: Item) -> None:
        self.messages = tuple(messages)
        self.shows = {item.id for item in items}
        self.size = sum(len(m.content.encode("utf-8", "replace")) + MESSAGE_TOKENS for m in self.messages)


class Conversation:
    """The conversation about one case."""

    def __init__(self, engine: LlmEngine, model: Model, case: Case) -> None:
        self.engine = engine
        self.model = model
        self.case = case
        engine.prompts = engine.prompts or load_set()
        self.prompts = engine.prompts
        self.turns: list[Turn] = []
        self.malformed = self.formless = self.looks = self.shrinks = 0
        self.room_factor = 1.0
        self.near = Near(case)
        self.rules = _with_rules(self.prompts["system"].text, engine.memory)
        tokens = int(MEMORY_SHARE * min(model.context, PROMPT_TOKENS_MAX))
        self.memory = Memory({"case": tokens}, engine.counter.tokens_of)
        self._firsts: dict[int, str] = {}
        self._answer: Reply | None = None
        self._tools = engine.sight.described()
        lessons = engine.lessons.recall(of_case(case), LESSONS_MAX) if engine.lessons else ()
        tried = sorted(engine._seen.values(), key=lambda e: -e.progress)
        text = prompt.tools_text(self._tools, native=engine.sight.native)
        self.told_first = prompt.Told(tried, lessons, text)

    def next_patch(self, number: int) -> Patch | None:
        """Ask once; the edit of the answer, or None when the model is to be asked again.

        Raises:
            ModelError: it is not to be asked again.
        """
        reply = self._ask()
        if reply is None:
            return None
        calls = list(reply.tool_calls) or _text_calls(reply.text)
        found: list[edits.Block] = []
        try:
            found = edits.parse(reply.text)
            if not (found or calls):
                raise EditError("there is no edit block in it")
            if found:
                made = edits.apply(found, self.case.sources)
        except EditError as error:
            self.formless = 0 if found else self.formless + 1
            self._refused(reply, str(error))
            return None
        self._answer = reply
        if not found:
            self._look(reply, calls)
            return None
        self.malformed = self.formless = self.looks = 0
        said = prompt.sentence(edits.cause(reply.text) or reply.text) or "the model gives no reason"
        where = f"{made[0].file}:{made[0].line}"
        return Patch(made, NAME, OPERATOR, f"{where}: {said}", float(number))

    def told(self, verdict: Evaluation) -> None:
        """The verdict on the last answer."""
        assert self._answer is not None
        said = Message("user", prompt.refusal(verdict, self.prompts))
        items: list[Item] = []
        with suppress(InputError):  # an edit that is longer than the memory stays in this turn alone
            items.append(self.memory.note("case", _one_line(prompt.tried_line(verdict))))
        self.turns.append(Turn((Message("assistant", _kept(self._answer.text)), said), *items))

    def _ask(self) -> Reply | None:
        engine = self.engine
        messages = self._messages()
        max_output = self._max_output()
        schema = edits.SCHEMA if self._by_schema() else None
        tools = self._tools if engine.sight.native and schema is None else ()
        engine.say(f"asking {engine.model_name} (about {engine.counter.estimate(messages)} tokens)")
        engine.requests += 1
        ledger = engine.ledger
        before, requests = (ledger.prompt, ledger.completion), ledger.requests
        try:
            reply = self.model.ask(messages, max_output=max_output, tools=tools, schema=schema)
            if ledger.requests == requests:  # a recording books nothing itself
                ledger.restore(reply.usage.prompt, reply.usage.completion, 1)
        except ModelError as error:
            if error.kind != "context" or self.shrinks >= SHRINKS_MAX:
                raise
            self.shrinks += 1
            self.room_factor /= 2
            engine.notes.append(error.message)
            engine.say(f"{error.message}; asking with a shorter prompt")
            return None
        finally:
            engine.booked(ledger.prompt - before[0], ledger.completion - before[1])
        if not reply.usage.estimated:
            engine.counter.learn(messages, reply.usage.prompt, tools=bool(tools))
        if reply.note:
            engine.notes.append(reply.note)
            engine.say(reply.note)
        return reply

    def _by_schema(self) -> bool:
        """Whether the answer is held to a schema: blocks have failed, and the server does it well."""
        return self.formless >= FORMLESS_MAX and self.engine.schemas()

    def _max_output(self) -> int:
        return max(64, min(self.engine.max_output, self.model.context // 3))

    def _messages(self) -> list[Message]:
        """System, case, what is remembered, and as many of the last turns as fit."""
        room = self._room() - len(self.rules.encode())
        left = int(TURNS_SHARE * room)
        first = self._first(room - left)
        turns = self._last(left)
        if len(turns) < len(self.turns):
            most = int(MEMORY_SHARE * room)
            turns = self._last(left - most)
            first = "\n\n".join(part for part in (first, self._remembered(turns, most)) if part)
        said = [message for turn in turns for message in turn.messages]
        return [Message("system", self.rules), Message("user", first), *said]

    def _last(self, room: int) -> list[Turn]:
        """As many of the last turns as fit, one at least."""
        turns: list[Turn] = []
        for turn in reversed(self.turns):
            if turn.size > room and turns:
                break
            room -= turn.size
            turns.insert(0, turn)
        return turns

    def _remembered(self, turns: Sequence[Turn], most: int) -> str:
        """What older turns showed that these do not, the newest that fits."""
        shown = set().union(*(turn.shows for turn in turns))
        rows: list[str] = []
        for item in reversed(self.memory.items("case")):
            row = "" if item.id in shown else _numbered(item)
            most -= len(row.encode("utf-8", "replace")) + 1
            if most < 0:
                break
            if row:
                rows.insert(0, row)
        return fenced("what you looked at and tried before", "\n".join(rows)) if rows else ""

    def _first(self, room: int) -> str:
        """The case laid out; the same from question to question while the room is, so that servers can reuse it."""
        room -= room % _ROOM_STEP
        if room not in self._firsts:
            self._firsts[room] = prompt.first_message(
                self.case, self.near, self.told_first, self.prompts, room
            )
        return self._firsts[room]

    def _room(self) -> int:
        """Bytes that the whole prompt may have: by the context, by what is left of the budget, by what helps.

        Raises:
            ModelError: too little is left to ask anything.
        """
        tokens = min(self.model.context - self._max_output() - TEMPLATE_TOKENS, PROMPT_TOKENS_MAX)
        room = int(self.engine.counter.bytes_for(tokens) * self.room_factor)
        left = self.engine.ledger.left()
        if left is not None:  # what is reserved for a prompt is a token for each of its bytes
            room = min(room, left - self._max_output() - TEMPLATE_TOKENS - 8 * MESSAGE_TOKENS)
        if room < prompt.ROOM_MIN + len(self.rules):
            if left is not None and left < self._max_output() + 2 * prompt.ROOM_MIN:
                raise ModelError(
                    f"the budget of {self.engine.ledger.tokens_max} tokens is spent: {left} are left, too few to ask",
                    "limit",
                )
            room = max(room, prompt.ROOM_MIN)
        return room

    def _refused(self, reply: Reply, problem: str) -> None:
        """Tell the model why its answer is no edit; give it up when that does not help."""
        self.malformed += 1
        if not reply.whole:
            problem += f" (the answer was cut after {reply.usage.completion} tokens; answer shorter)"
        self.engine.say(f"the answer cannot be applied: {problem.splitlines()[0]}")
        if self.malformed > MALFORMED_MAX:
            raise ModelError(f"{self.malformed} answers in a row hold no edit that applies", "format")
        text = self.prompts["malformed"].filled(
            problem=fenced("what is wrong with it", problem, LOOK_BYTES_MAX)
        )
        if self._by_schema():
            text = f"{text.rstrip()}\n\n{self.prompts['schema'].text}"
        self.turns.append(Turn((Message("assistant", _kept(reply.text)), Message("user", text))))

    def _look(self, reply: Reply, calls: Sequence[ToolCall]) -> None:
        """Call the tools that the model asked for; what they show is data."""
        self.looks += 1
        if self.looks > LOOKS_MAX:
            raise ModelError(f"it looked {self.looks} times in a row and proposed nothing", "format")
        native = bool(reply.tool_calls)
        shown: list[Message] = []
        items: list[Item] = []
        for position, call in enumerate(calls):
            text, ok = ("not called: too many at once", False)
            if position < CALLS_MAX:
                text, ok = self.engine.sight.look(call)
                self.engine.note(
                    "tool", {"name": call.name, "arguments": call.arguments, "text": text, "ok": ok}
                )
                if ok:
                    seen = self.memory.read(f"{call.name} {call.arguments}", text, level="case")
                    items.append(seen.item)
                    text = seen.shown
            data = fenced(f"{call.name} shows", text, LOOK_BYTES_MAX)
            shown.append(Message("tool", data, tool_call_id=call.id) if native else Message("user", data))
        if not native:
            shown = [Message("user", "\n\n".join(message.content for message in shown))]
        said = Message("assistant", _kept(reply.text), reply.tool_calls if native else ())
        self.turns.append(Turn((said, *shown), *items))


def _with_rules(text: str, memory: Memory | None) -> str:
    """The system message with the rules that the person has given; none of them comes from a kernel or a model."""
    items = memory.items() if memory is not None else []
    rules = "\n".join(f"- {item.text}" for item in items if item.pinned)
    return f"{text}\n\nThe person's own rules:\n{rules}" if rules else text


def _one_line(text: str) -> str:
    return " ".join(text.split())[:TRIED_MAX]


def _numbered(item: Item) -> str:
    return f"[{item.id}] {item.source + ': ' if item.source else ''}{item.text}"


def _kept(text: str) -> str:
    """An answer as it stays in the conversation; an empty one would be refused by some servers."""
    return text[:ANSWER_BYTES_MAX] if text.strip() else "(nothing)"


def _text_calls(text: str) -> list[ToolCall]:
    """Tool calls that a model wrote as text."""
    blocks = _TOOL.findall(text)
    return [ToolCall.of_text(f"text-{number}", block) for number, block in enumerate(blocks)]
