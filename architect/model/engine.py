"""The engine that asks a language model: one question, one edit, one verdict, and the next question knows of it.

Owns when the model is asked again and how often, when it is given up, what it may look at (what it is told is the
``conversation``'s).
Whatever the model says can become nothing but edits of the case's sources, which every gate must pass; a model that
fails ends this engine and not the run. Never judges, never boots.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from architect.journal import edits_digest
from architect.model.conversation import NAME, Conversation
from architect.model.counting import Counter
from architect.model.ledger import Ledger
from architect.model.prompt_files import PromptSet
from architect.model.types import Model, ModelError, ToolCall
from architect.protocols import NO_BOOTS, Case, Evaluation, LessonStore, Patch

if TYPE_CHECKING:
    from architect.learn.memory import Memory
    from architect.tools.desk import Desk

ASKS_MAX = 40  # questions for one case
SAME_MAX = 3  # answers in a row with an edit that was tried before
SHARE = 0.6  # of the run's time, where another engine follows
_LOOKS = ("read_source", "search", "symbols", "disassemble", "explain", "recall_lessons")


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
        schemas: whether the server holds answers to a JSON schema.
        prompts: None for those in use.
        memory: rules that hold for this kernel and anywhere, or None.

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
    schemas: Callable[[], bool] = lambda: False
    prompts: PromptSet | None = None
    memory: Memory | None = None
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
        talk = Conversation(self, model, case)
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
            talk.told(known)

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


def _undecided(evaluation: Evaluation) -> bool:
    return any(gate.message == NO_BOOTS for gate in evaluation.gates)
