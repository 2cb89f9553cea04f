"""The engine that asks a language model: one question, one edit, one verdict, and the next question knows of it.

Owns the conversation of a repair: what is asked again and how often, when the model is given up, what it may look at.
Whatever the model says can become nothing but edits of the case's sources, which every gate must pass; a model that
fails ends this engine and not the run. Never judges, never boots.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from architect.journal import edits_digest
from architect.model import edits, prompt
from architect.model.counting import MESSAGE_TOKENS, TEMPLATE_TOKENS, Counter
from architect.model.fence import fenced
from architect.model.ledger import Ledger
from architect.model.near import Near
from architect.model.placing import EditError
from architect.model.prompt_files import PromptSet, load_set
from architect.model.types import Message, Model, ModelError, Reply, ToolCall
from architect.protocols import NO_BOOTS, Case, Evaluation, LessonStore, Patch
from architect.signature import of_case

if TYPE_CHECKING:
    from architect.tools.desk import Desk

NAME = "llm"
OPERATOR = "edit-blocks"
ASKS_MAX = 40  # questions for one case
MALFORMED_MAX = 4  # answers in a row without an edit that applies
SAME_MAX = 3  # answers in a row with an edit that was tried before
LOOKS_MAX = 8  # answers in a row that only call tools
CALLS_MAX = 4  # tools of one answer
SHRINKS_MAX = 4
PROMPT_TOKENS_MAX = 16_000  # more does not help, and costs
TURNS_SHARE = 0.35  # of the prompt's room, for the last questions and answers
ANSWER_BYTES_MAX = 4000  # of an answer that stays in the conversation
LOOK_BYTES_MAX = 6000  # of what a tool shows
LESSONS_MAX = 5
SHARE = 0.6  # of the run's time, where another engine follows
_LOOKS = ("read_source", "search", "symbols", "disassemble", "explain", "recall_lessons")
_TOOL = re.compile(r"^```tool\s*\n(.*?)\n```", re.MULTILINE | re.DOTALL)

_ROOM_STEP = 1024  # bytes
Turn = tuple[Message, ...]


@dataclass
class Sight:
    """What a model may look at: a desk, made when it is first asked for, and whether tool calls are native."""

    desk: Callable[[], Desk] | None = None
    native: bool = False

    def described(self) -> list[dict[str, Any]]:
        """The tools that show and change nothing, as the Chat Completions interface wants them."""
        if self.desk is None:
            return []
        from architect.tools.table import described

        return [tool for tool in described() if tool["function"]["name"] in _LOOKS]

    def look(self, call: ToolCall) -> tuple[str, bool]:
        """What one of those tools shows, and whether it could."""
        from architect.tools.table import call as run

        if self.desk is None or call.name not in _LOOKS:
            return f"no tool '{call.name[:64]}' here; there are: {', '.join(_LOOKS)}", False
        answer = run(call.name, self.desk(), call.arguments)
        return answer.text, answer.ok


@dataclass
class LlmEngine:
    """An ``Engine`` that asks a model.

    Args:
        open_model: makes the model; raises ``ModelError`` where it cannot be reached.
        ledger: its budgets.
        say: gets a line for the person.
        lessons: asked for similar failures, or None.
        sight: what the model may look at.
        max_output: tokens of one answer.
        seconds_left: of the run.
        share: of that, which this engine may take.
        booked: gets what each question took: prompt and answer tokens.
        note: gets steps for the trajectory: kind and data.
        prompts: None for those in use.

    Attributes:
        failure: why the model was given up, or None.
        single: the next proposal depends on the verdict on this one.
        requests: questions asked.
    """

    open_model: Callable[[], Model]
    ledger: Ledger
    say: Callable[[str], None] = lambda text: None
    lessons: LessonStore | None = None
    sight: Sight = field(default_factory=Sight)
    max_output: int = 4096
    seconds_left: Callable[[], float] = lambda: float("inf")
    share: float = 1.0
    booked: Callable[[int, int], None] = lambda prompt, completion: None
    note: Callable[[str, Mapping[str, Any]], object] = lambda kind, data: None
    prompts: PromptSet | None = None
    failure: ModelError | None = None
    single: bool = True
    requests: int = 0
    counter: Counter = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)
    name: str = NAME
    model_name: str = ""
    _seen: dict[str, Evaluation] = field(default_factory=dict)

    def __post_init__(self) -> None:
        book = self.ledger
        self._before = (book.prompt, book.completion, book.estimated, book.requests, book.money or Decimal(0))

    @property
    def tokens(self) -> int:
        """Tokens spent in this run, both directions; the ledger may be shared with others."""
        return self.ledger.tokens - self._before[0] - self._before[1]

    @property
    def money(self) -> Decimal | None:
        """Money spent in this run; None where no price is known."""
        return None if self.ledger.money is None else self.ledger.money - self._before[4]

    def observe(self, evaluation: Evaluation) -> None:
        """Remembers every verdict, whoever proposed it."""
        self._seen[edits_digest(evaluation.patch)] = evaluation

    def propose(self, case: Case) -> Iterator[Patch]:
        """An edit for each answer that holds one; ends when the model fails, a budget is spent or it only repeats."""
        self._limit_time()
        try:
            yield from self._converse(case)
        except ModelError as error:
            self.failure = error
            self.say(f"the model is not asked further: {error.message}")
            self.notes.append(error.message)

    def _limit_time(self) -> None:
        end = time.monotonic() + self.share * self.seconds_left()
        left = self.seconds_left
        self.ledger.seconds_left = lambda: min(left(), end - time.monotonic())

    def _converse(self, case: Case) -> Iterator[Patch]:
        model = self.open_model()
        self.model_name = model.name
        talk = _Talk(self, model, case)
        same = 0
        for asked in range(ASKS_MAX):
            patch = talk.next_patch(asked)
            if patch is None:
                continue
            known = self._seen.get(edits_digest(patch))
            same = same + 1 if known is not None else 0
            if same > SAME_MAX:
                raise ModelError(f"it proposed what was refused before, {same} times in a row", "format")
            if known is None:
                yield patch
                known = self._seen.get(edits_digest(patch))
                if known is not None and _undecided(known):  # boots ran out before a verdict: once more
                    yield patch
                    known = self._seen.get(edits_digest(patch))
            if known is None:
                return  # the run's budget ended before a verdict
            talk.told(prompt.refusal(known, talk.prompts))

    def summary(self) -> dict[str, Any]:
        """What the model took and how it ended, for the report."""
        failure = self.failure
        return {
            "name": self.model_name or None,
            "requests": self.ledger.requests - self._before[3],
            "prompt_tokens": self.ledger.prompt - self._before[0],
            "completion_tokens": self.ledger.completion - self._before[1],
            "estimated_tokens": self.ledger.estimated - self._before[2],
            "money": None if self.money is None else f"{self.money:f}",
            "prompts": self.prompts.sha256 if self.prompts else None,
            "failure": {"kind": failure.kind, "message": failure.message} if failure else None,
            "notes": list(self.notes),
        }


class _Talk:
    """The conversation about one case."""

    def __init__(self, engine: LlmEngine, model: Model, case: Case) -> None:
        self.engine = engine
        self.model = model
        self.case = case
        engine.prompts = engine.prompts or load_set()
        self.prompts = engine.prompts
        self.turns: list[Turn] = []
        self.malformed = self.looks = self.shrinks = 0
        self.room_factor = 1.0
        self.near = Near(case)
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
            self._refused(reply, str(error))
            return None
        self._answer = reply
        if not found:
            self._look(reply, calls)
            return None
        self.malformed = self.looks = 0
        said = prompt.sentence(reply.text) or "the model gives no reason"
        where = f"{made[0].file}:{made[0].line}"
        return Patch(made, NAME, OPERATOR, f"{where}: {said}", float(number))

    def told(self, text: str) -> None:
        """The verdict on the last answer."""
        assert self._answer is not None
        self.turns.append((Message("assistant", _kept(self._answer.text)), Message("user", text)))

    def _ask(self) -> Reply | None:
        engine = self.engine
        messages = self._messages()
        max_output = self._max_output()
        tools = self._tools if engine.sight.native else ()
        engine.say(f"asking {engine.model_name} (about {engine.counter.estimate(messages)} tokens)")
        engine.requests += 1
        ledger = engine.ledger
        before, requests = (ledger.prompt, ledger.completion), ledger.requests
        try:
            reply = self.model.ask(messages, max_output=max_output, tools=tools)
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
        return reply

    def _max_output(self) -> int:
        return max(64, min(self.engine.max_output, self.model.context // 3))

    def _messages(self) -> list[Message]:
        """System, case, and as many of the last turns as fit."""
        rules = self.prompts["system"].text
        room = self._room() - len(rules.encode())
        turns: list[Turn] = []
        left = int(TURNS_SHARE * room)
        first = self._first(room - left)
        for turn in reversed(self.turns):
            size = sum(len(message.content.encode("utf-8", "replace")) + MESSAGE_TOKENS for message in turn)
            if size > left and turns:
                break
            left -= size
            turns.insert(0, turn)
        return [Message("system", rules), Message("user", first), *(m for turn in turns for m in turn)]

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
        if room < prompt.ROOM_MIN + len(self.prompts["system"].text):
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
        self.turns.append((Message("assistant", _kept(reply.text)), Message("user", text)))

    def _look(self, reply: Reply, calls: Sequence[ToolCall]) -> None:
        """Call the tools that the model asked for; what they show is data."""
        self.looks += 1
        if self.looks > LOOKS_MAX:
            raise ModelError(f"it looked {self.looks} times in a row and proposed nothing", "format")
        native = bool(reply.tool_calls)
        shown: list[Message] = []
        for position, call in enumerate(calls):
            text, ok = ("not called: too many at once", False)
            if position < CALLS_MAX:
                text, ok = self.engine.sight.look(call)
                self.engine.note(
                    "tool", {"name": call.name, "arguments": call.arguments, "text": text, "ok": ok}
                )
            data = fenced(f"{call.name} shows", text, LOOK_BYTES_MAX)
            shown.append(Message("tool", data, tool_call_id=call.id) if native else Message("user", data))
        if not native:
            shown = [Message("user", "\n\n".join(message.content for message in shown))]
        self.turns.append(
            (Message("assistant", _kept(reply.text), reply.tool_calls if native else ()), *shown)
        )


def _undecided(evaluation: Evaluation) -> bool:
    return any(gate.message == NO_BOOTS for gate in evaluation.gates)


def _kept(text: str) -> str:
    """An answer as it stays in the conversation; an empty one would be refused by some servers."""
    return text[:ANSWER_BYTES_MAX] if text.strip() else "(nothing)"


def _text_calls(text: str) -> list[ToolCall]:
    """Tool calls that a model wrote as text."""
    calls = []
    for number, block in enumerate(_TOOL.findall(text)):
        try:
            value = json.loads(block)
            name, arguments = str(value["name"]), json.dumps(value.get("arguments", {}))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            name, arguments = "", block
        calls.append(ToolCall(f"text-{number}", name, arguments))
    return calls
