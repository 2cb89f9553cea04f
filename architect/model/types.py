"""What passes between the architect and a language model: messages, replies, the endpoint, and how it may fail.

Owns the values and the ``Model`` Protocol; everything that speaks with a model is written against these. Sends nothing
and imports nothing that costs time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Protocol

from toolchain.errors import PxError

STAGE = "model"

Role = Literal["system", "user", "assistant", "tool"]
Kind = Literal["limit", "provider", "format", "refused", "context", "cancelled"]

# Exit status by kind: a spent budget is 3, an interrupt 130, everything else "cannot be carried out".
_STATUS = {"limit": 3, "cancelled": 130}


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that the model wants called; ``arguments`` is JSON text as the model wrote it, valid or not."""

    id: str
    name: str
    arguments: str

    @classmethod
    def of_text(cls, id: str, block: str) -> ToolCall:
        """The call that a model wrote as JSON in its text; one without a name where it wrote none."""
        try:
            value = json.loads(block)
            return cls(id, str(value["name"]), json.dumps(value.get("arguments", {})))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return cls(id, "", block)


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a conversation; ``tool_call_id`` names the call that a ``tool`` message answers."""

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one request; ``estimated`` when the server did not say and our upper bound stands in."""

    prompt: int
    completion: int
    estimated: bool = False

    @property
    def total(self) -> int:
        """Tokens in both directions."""
        return self.prompt + self.completion


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered.

    Attributes:
        text: the answer, as far as it came.
        tool_calls: what it wants called.
        usage: tokens.
        finish: the server's reason (``stop``, ``length``, ``tool_calls``), or ours: ``cut`` (the stream broke off),
            ``endless`` (more than was asked for came, and it was cut).
        money: what it cost, in the currency of the endpoint's prices; None where no price is known.
        seconds: from sending to the last piece.
        note: one line for the person where something was not as asked, else empty.
    """

    text: str
    tool_calls: tuple[ToolCall, ...]
    usage: Usage
    finish: str
    money: Decimal | None
    seconds: float = 0.0
    note: str = ""

    @property
    def whole(self) -> bool:
        """False where the answer was cut."""
        return self.finish not in ("cut", "endless", "length")


class ModelError(PxError):
    """A request to a model that cannot be answered.

    Args:
        message: one line for the person, with the mend in it; never holds a key.
        kind: ``limit`` (a budget of ours is spent), ``provider`` (the endpoint failed), ``format`` (it answered what
            cannot be read), ``refused`` (the model or the endpoint declined), ``context`` (it does not fit),
            ``cancelled`` (the person stopped it).
        retryable: the same request may do better later.
        code: HTTP status, or None.
        retry_after: seconds that the server asks to wait, or None.
        partial: what had come of the answer before it failed.

    Attributes:
        detail: the server's own words at length, without keys; for programs.
    """

    def __init__(
        self,
        message: str,
        kind: Kind,
        *,
        retryable: bool = False,
        code: int | None = None,
        retry_after: float | None = None,
        partial: str = "",
        log: Path | None = None,
    ) -> None:
        super().__init__(message, stage=STAGE, log=log)
        self.kind: Kind = kind
        self.reason = kind
        self.retryable = retryable
        self.code = code
        self.retry_after = retry_after
        self.partial = partial
        self.detail = ""
        self.status = _STATUS.get(kind, PxError.status)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a model is reached and what is known of it; the key never shows in ``repr``.

    Attributes:
        base_url: of an OpenAI-compatible API, e.g. ``http://localhost:1234/v1``.
        model: the model's id there.
        key: sent as bearer token; empty for servers that want none.
        profile: name of the server's profile (``architect.model.profiles``).
        context: tokens that fit, prompt and answer together; None = the profile's, or what the server says.
        price_in: money per million prompt tokens, or None when unknown.
        price_out: money per million tokens of the answer, or None.
        max_output: tokens that one answer may have.
        temperature: None leaves it to the server.
        deadline: seconds that one ``ask`` may take, retries and waits included.
        first_token: seconds until the first piece of an answer must have come.
        idle: seconds between two pieces after that.
    """

    base_url: str
    model: str
    key: str = field(default="", repr=False)
    profile: str = "generic"
    context: int | None = None
    price_in: Decimal | None = None
    price_out: Decimal | None = None
    max_output: int = 4096
    temperature: float | None = None
    deadline: float = 300.0
    first_token: float = 120.0
    idle: float = 30.0


class Model(Protocol):
    """A language model that answers; implemented by the client and by recordings.

    ``name`` is the model's id at the endpoint, ``context`` the tokens that fit it: prompt and answer together. Both may
    have to be asked for, and the context may turn out to be smaller than it was said to be.
    """

    @property
    def name(self) -> str:
        """The model's id."""

    @property
    def context(self) -> int:
        """Tokens."""

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
        """One answer.

        Args:
            messages: the conversation, system first.
            max_output: tokens that the answer may have at most.
            tools: JSON schemas of callable tools, in OpenAI's form (``{"type": "function", "function": {...}}``).
            on_text: gets each piece of text as it comes.
            cancelled: asked often; the request ends soon after it says True.
            schema: JSON schema of the answer; servers that cannot hold a model to it leave it out.

        Raises:
            ModelError: there is no answer; ``kind`` says why.
        """
