"""The client: one question to one endpoint, within every limit, and an answer or a named failure.

Owns the order of things: what may be sent at all (context, budget), one attempt after another (``patience``), what is
read of an answer and when it is cut, and that what was spent is booked whatever happened. Knows no kernel.
"""

from __future__ import annotations

import queue
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from architect.model import complaints, discover
from architect.model.counting import Counter, least
from architect.model.dialect import Asks, Dialect
from architect.model.ledger import Ledger, Reservation
from architect.model.patience import POLL_SECONDS, Breaker, Clock, Patience, persevere
from architect.model.pieces import Calls, Piece
from architect.model.profiles import profile
from architect.model.transport import End, Exchange, Wire
from architect.model.types import Endpoint, Kind, Message, ModelError, Reply, Usage

TOKEN_BYTES_MAX = 16  # more bytes a token, on the average of an answer, no tokenizer makes
PIECES_SLACK = 8  # pieces may be parts of a token at the ends
WIRE_BYTES = 1 << 20  # what may come besides the text ...
WIRE_BYTES_TOKEN = 2048  # ... and for each token: servers wrap one in some hundred bytes
CONTEXT_MIN = 2048  # a server that drops messages has at least so much context
ADAPTATIONS_MAX = 5


@dataclass
class _Draft:
    """An answer as far as it has come."""

    text: list[str] = field(default_factory=list)
    calls: Calls = field(default_factory=Calls)
    refusal: str = ""
    finish: str = ""
    usage: Usage | None = None
    size: int = 0
    pieces: int = 0
    choices: int = 0
    thought: int = 0
    note: str = ""

    def add(self, piece: Piece) -> None:
        self.size += piece.size
        self.pieces += piece.size > 0
        self.choices += piece.choices
        self.thought += len(piece.thought)
        self.refusal += piece.refusal
        self.finish = piece.finish or self.finish
        self.usage = piece.usage or self.usage
        if piece.text:
            self.text.append(piece.text)
        self.calls.add(piece.calls)

    def cut(self, finish: str, note: str) -> None:
        self.finish, self.note = finish, note


class ChatModel:
    """A ``Model`` behind an OpenAI-compatible endpoint. One ``ask`` at a time each.

    Args:
        endpoint: where.
        ledger: what it may cost; several models may share one.
        say: gets a line when a request is asked again or a field is given up.
        patience: of the retries.
        clock: time, for tests.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        ledger: Ledger,
        say: Callable[[str], None] = lambda text: None,
        patience: Patience | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.endpoint = endpoint
        self.ledger = ledger
        self.profile = profile(endpoint.profile)
        self.dialect = Dialect.of(self.profile)
        self.counter = Counter()
        self.breaker = Breaker()
        self.notes: list[str] = []
        self._say = say
        self._patience = patience or Patience()
        self._clock = clock or Clock()
        self._wire = Wire(endpoint)
        self._name = endpoint.model
        self._context = endpoint.context

    @property
    def name(self) -> str:
        """The model's id; where the person named none, the only one that the server has.

        Raises:
            ModelError: the server cannot be asked, or has several.
        """
        if not self._name:
            self._name = discover.only_model(self.endpoint)
        return self._name

    @property
    def context(self) -> int:
        """Tokens that fit, prompt and answer: as told, as the server says, else as its profile assumes."""
        if self._context is None:
            self._context = discover.context(self.endpoint, self.profile, self.name) or self.profile.context
        return self._context

    def preload(self) -> None:
        """Import the SDK now: it takes a third of a second, which other work can hide."""
        self._wire.client()

    def ask(
        self,
        messages: Sequence[Message],
        *,
        max_output: int,
        tools: Sequence[Mapping[str, Any]] = (),
        on_text: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        """One answer; see ``Model``."""
        stop = cancelled or (lambda: False)
        asks = Asks(tools, schema)
        began = self._clock.now()
        deadline = began + min(self.endpoint.deadline, max(0.0, self.ledger.seconds_left()))
        self.breaker.check()
        self._check_fits(messages, max_output)
        once = partial(self._adapted, list(messages), max_output, asks, on_text, stop, deadline)
        try:
            reply = persevere(once, self._patience, deadline, stop, self._clock, self._note)
        except ModelError as error:
            if error.kind == "provider":
                self.breaker.failed(error)
            raise
        self.breaker.worked()
        return replace(reply, seconds=self._clock.now() - began)

    def _check_fits(self, messages: Sequence[Message], max_output: int) -> None:
        if least(messages) + max_output > self.context:
            raise ModelError(
                f"the prompt (about {self.counter.estimate(messages)} tokens) and an answer of {max_output} do not "
                f"fit the context of {self.context} tokens",
                "context",
            )

    def _note(self, text: str) -> None:
        self.notes.append(text)
        self._say(text)

    def _adapted(
        self,
        messages: list[Message],
        max_output: int,
        asks: Asks,
        on_text: Callable[[str], None] | None,
        stop: Callable[[], bool],
        deadline: float,
    ) -> Reply:
        """One attempt, written anew where the server refuses a field of it."""
        for _ in range(ADAPTATIONS_MAX):
            try:
                return self._attempt(messages, max_output, asks, on_text, stop, deadline)
            except ModelError as error:
                given_up = self.dialect.adapt(error)
                if given_up is None:
                    raise
                self._note(f"{complaints.place(self.endpoint)} refuses {given_up}; asking without")
        return self._attempt(messages, max_output, asks, on_text, stop, deadline)

    def _attempt(
        self,
        messages: list[Message],
        max_output: int,
        asks: Asks,
        on_text: Callable[[str], None] | None,
        stop: Callable[[], bool],
        deadline: float,
    ) -> Reply:
        offered, schema = self.dialect.offered(asks)
        bound = self.counter.bound(messages, [*offered, *schema])
        body = self.dialect.body(self.endpoint, self.name, messages, max_output, Asks(offered, *schema))
        held = self.ledger.reserve(bound, max_output)
        draft = _Draft()
        exchange: Exchange | None = None
        booked = False
        try:
            exchange = self._wire.send(body)
            self._read(exchange, draft, max_output, on_text, stop, deadline)
            usage, money = self._book(held, draft, bound, max_output)
            booked = True
        finally:
            if exchange is not None:
                exchange.abort()
            if not booked:
                charged = exchange is not None and exchange.accepted
                self.ledger.settle(held, self._usage(draft, bound, max_output) if charged else None)
        self._check_whole(messages, draft, usage, [*offered, *schema])
        return self._reply(draft, usage, money)

    def _read(
        self,
        exchange: Exchange,
        draft: _Draft,
        max_output: int,
        on_text: Callable[[str], None] | None,
        stop: Callable[[], bool],
        deadline: float,
    ) -> None:
        """Pieces until the end, a limit, or the person's wish."""
        heard = self._clock.now()
        wire_max = WIRE_BYTES + max_output * WIRE_BYTES_TOKEN
        while True:
            if stop():
                raise ModelError("cancelled", "cancelled", partial="".join(draft.text))
            try:
                item = exchange.queue.get(timeout=POLL_SECONDS)
            except queue.Empty:
                item = None
            now = self._clock.now()
            if isinstance(item, End):
                return
            if isinstance(item, ModelError):
                self._broke(draft, item)
                return
            if item is not None:
                heard = now
                draft.add(item)
                if on_text is not None and item.text:
                    on_text(item.text)
            if (
                draft.pieces > max_output + PIECES_SLACK
                or draft.size > max_output * TOKEN_BYTES_MAX
                or exchange.received > wire_max
            ):
                self._cut(draft, "endless", f"more than {max_output} tokens came; the rest was cut")
                return
            late = self._late(draft, now, heard, deadline)
            if late:
                self._cut(draft, "cut", late)
                return

    def _late(self, draft: _Draft, now: float, heard: float, deadline: float) -> str | None:
        idle = self.endpoint.idle if draft.size else self.endpoint.first_token
        if now >= deadline:
            return "the time for this answer is spent"
        if now - heard > idle:
            return f"nothing came for {idle:g} s" if draft.size else f"no answer began within {idle:g} s"
        return None

    def _cut(self, draft: _Draft, finish: str, why: str) -> None:
        """What has come is kept; where that is nothing, the attempt has failed."""
        if not draft.size and finish == "cut":
            kind: Kind = "limit" if self.ledger.seconds_left() <= 0 else "provider"
            raise ModelError(f"{complaints.place(self.endpoint)}: {why}", kind, retryable=True)
        if not draft.size:
            raise ModelError(f"{complaints.place(self.endpoint)}: it sends without end", "format")
        draft.cut(finish, why)

    def _broke(self, draft: _Draft, error: ModelError) -> None:
        if not draft.size or error.kind in ("context", "refused"):
            error.partial = "".join(draft.text)
            raise error
        draft.cut("cut", f"the answer broke off: {error.message}")

    def _usage(self, draft: _Draft, bound: int, max_output: int) -> Usage:
        """The server's count; where it gives none, the most that it can have been."""
        if draft.usage is not None:
            return draft.usage
        return Usage(bound, min(draft.size, max_output), estimated=True)

    def _book(self, held: Reservation, draft: _Draft, bound: int, max_output: int) -> tuple[Usage, Any]:
        usage = self._usage(draft, bound, max_output)
        return usage, self.ledger.settle(held, usage)

    def _check_whole(
        self,
        messages: list[Message],
        draft: _Draft,
        usage: Usage,
        offered: Sequence[Mapping[str, Any]],
    ) -> None:
        """Whether it is an answer, and an answer to the whole question."""
        where = complaints.place(self.endpoint)
        if not draft.choices:
            raise ModelError(f"{where}: an answer without choices", "format", retryable=True)
        if not usage.estimated:
            must = self.counter.dropped(messages, usage.prompt, silent=self.profile.drops)
            if must is not None:
                assumed = self.context
                self._context = min(max(usage.prompt, CONTEXT_MIN), assumed - 1)
                raise ModelError(
                    f"{where}: truncated context: the server counted {usage.prompt} tokens of a prompt that has at "
                    f"least {must}, so it dropped messages; {self._context} tokens are assumed from here on "
                    f"({self.profile.context_mend}, or say --model-context)",
                    "context",
                    partial="".join(draft.text),
                )
            self.counter.learn(messages, usage.prompt, tools=bool(offered))
        if draft.refusal or draft.finish == "content_filter":
            said = draft.refusal or "".join(draft.text)
            told = complaints.printable(complaints.redact(said, self.endpoint.key), 160)
            raise ModelError(
                f"{where}: the model declines: {told or 'content filter'}", "refused", partial=said
            )

    def _reply(self, draft: _Draft, usage: Usage, money: Any) -> Reply:
        calls = draft.calls.whole()
        note = draft.note
        if not note and not draft.finish:
            draft.finish = "cut"
            note = "the stream ended without a reason"
        if not note and usage.estimated:
            note = f"the server gave no usage; counted as at most {usage.total} tokens"
        if not note and not draft.text and not calls and draft.thought:
            note = "the whole answer went into reasoning"
        if note:  # whoever asked tells it
            self.notes.append(note)
        return Reply("".join(draft.text), calls, usage, draft.finish, money, 0.0, note)


def open_model(
    endpoint: Endpoint, ledger: Ledger, say: Callable[[str], None] = lambda text: None
) -> ChatModel:
    """The model at an endpoint; nothing is asked yet.

    Raises:
        InputError: no such profile.
    """
    return ChatModel(endpoint, ledger, say)
