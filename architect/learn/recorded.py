"""A model whose talk is written down, and one that repeats what was written down.

``RecordingModel`` wraps any ``Model`` and writes every request and reply into a ``Trajectory``, the failed ones too.
``RecordedModel`` answers from such a file, in order and without a network, and notes where a request is not the one
that was recorded. Owns the two forms ``request`` and ``reply``; a key never reaches a file: a request holds messages
and names, nothing of the endpoint.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from itertools import takewhile
from typing import TYPE_CHECKING, Any, get_args

from architect.learn.trajectory import STAGE, Step, Trajectory
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.model.types import Message, Model, ModelError, Reply, Usage

_DIFFERENCES_MAX = 64
_SHOWN = 60  # characters of a text in a difference


class RecordingModel:
    """A ``Model`` that passes everything on and writes both sides into a trajectory.

    Args:
        model: who answers.
        trajectory: where it is written.
    """

    def __init__(self, model: Model, trajectory: Trajectory) -> None:
        self.model = model
        self.trajectory = trajectory
        self._last: list[dict[str, Any]] = []
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """The model's id."""
        return self.model.name

    @property
    def context(self) -> int:
        """Tokens that fit, as far as is known by now."""
        return self.model.context

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
        """Ask the model; arguments, answer and errors are the model's."""
        rows = [message_to_json(message) for message in messages]
        with self._lock:
            same = sum(1 for _ in takewhile(bool, map(_equal, rows, self._last)))
            self._last = rows
            number = self.trajectory.requests + 1
            step = {"id": number, "model": self.name, "max_output": max_output, "same": same}
            self.trajectory.write("request", {**step, "messages": rows[same:], "tools": _names(tools)})
        try:
            reply = self.model.ask(
                messages,
                max_output=max_output,
                tools=tools,
                on_text=on_text,
                cancelled=cancelled,
                schema=schema,
            )
        except BaseException as error:
            kind = str(getattr(error, "kind", type(error).__name__))
            told: dict[str, Any] = {"kind": kind, "message": str(getattr(error, "message", error))}
            told["retryable"] = bool(getattr(error, "retryable", False))
            self.trajectory.write("reply", {"to": number, "error": told})
            raise
        self.trajectory.write("reply", {"to": number, **reply_to_json(reply)})
        return reply


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other)


def _names(tools: Sequence[Mapping[str, Any]]) -> list[str]:
    """The names of tools, in either form that servers take."""
    return [str(tool.get("function", tool).get("name", "?")) for tool in tools]


@dataclass(frozen=True, slots=True)
class Exchange:
    """A recorded request and what came of it: a reply, or None where the recording ends before it."""

    id: int
    model: str
    max_output: int
    messages: tuple[dict[str, Any], ...]
    reply: Mapping[str, Any] | None


def exchanges(steps: Sequence[Step]) -> list[Exchange]:
    """The requests of a trajectory with their replies, in the order of the requests.

    Raises:
        InputError: a request shares messages with one that is not there.
    """
    replies = {step.data["to"]: step.data for step in steps if step.kind == "reply"}
    found: list[Exchange] = []
    before: list[dict[str, Any]] = []
    for step in steps:
        if step.kind != "request":
            continue
        same = step.data["same"]
        if same > len(before):
            message = f"step {step.n}: shares {same} messages with a request that has {len(before)}"
            raise InputError(message, stage=STAGE)
        before = [*before[:same], *map(_plain, step.data["messages"])]
        number = step.data["id"]
        name = str(step.data.get("model", ""))
        found.append(Exchange(number, name, step.data["max_output"], tuple(before), replies.get(number)))
    return found


class RecordedModel:
    """A ``Model`` that gives the recorded answers, in order.

    Attributes:
        differences: where what was asked is not what was recorded, times aside; a sentence each.
        asked: how many requests came.

    Args:
        steps: of a trajectory.
        context: tokens that the model is said to take.
    """

    def __init__(self, steps: Sequence[Step], context: int = 1 << 20) -> None:
        self._exchanges = exchanges(steps)
        self.name = self._exchanges[0].model if self._exchanges else "recorded"
        self.context = context
        self.differences: list[str] = []
        self.asked = 0
        self._lock = threading.Lock()

    @property
    def left(self) -> int:
        """Recorded answers that were not asked for."""
        return max(0, len(self._exchanges) - self.asked)

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
        """The next recorded answer.

        Raises:
            ModelError: the recorded one, or that the recording has no further answer.
        """
        from architect.model.types import ModelError

        with self._lock:
            number = self.asked
            self.asked += 1
            known = self._exchanges[number] if number < len(self._exchanges) else None
            if known is not None:
                self._compare(number, known, [message_to_json(message) for message in messages])
        if known is None or known.reply is None:
            raise ModelError(f"the recording holds no answer to request {number + 1}", "provider")
        error = known.reply.get("error")
        if isinstance(error, Mapping):
            raise _error(error)
        reply = reply_from_json(known.reply)
        if on_text is not None and reply.text:
            on_text(reply.text)
        return reply

    def _compare(self, number: int, known: Exchange, rows: Sequence[Mapping[str, Any]]) -> None:
        if len(self.differences) >= _DIFFERENCES_MAX:
            return
        for index, (old, new) in enumerate(
            zip(map(_stable, known.messages), map(_stable, rows), strict=False)
        ):
            if old != new:
                where, was, now = _where(old, new)
                self.differences.append(
                    f"request {number + 1}, message {index + 1} ({new['role']}) differs {where}: "
                    f"was {was!r}, now {now!r}"
                )
                return
        if len(known.messages) != len(rows):
            self.differences.append(
                f"request {number + 1} has {len(rows)} messages, the recorded one {len(known.messages)}"
            )


def _error(told: Mapping[str, Any]) -> ModelError:
    """The error that was recorded; one of no known kind is the provider's."""
    from architect.model.types import Kind, ModelError

    kind: Kind = next((k for k in get_args(Kind) if k == told.get("kind")), "provider")
    return ModelError(str(told.get("message", "")), kind, retryable=told.get("retryable") is True)


# What is another number in every boot, and the name of a piece of evidence, which is a hash of it.
_MEASURED = re.compile(r"(?<=<<data )[0-9a-f]{16}|(?<=<<end )[0-9a-f]{16}|(?<=\btsc=)\d+|\b\d+\.\d+\b")


def _stable(row: Mapping[str, Any]) -> dict[str, Any]:
    """A message without what two equal runs measure differently: times, and hashes of texts that hold times."""
    return {**row, "content": _MEASURED.sub("N", str(row["content"]))}


def _where(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[str, str, str]:
    """Where two messages part, and a little of both from there."""
    one, other = str(old["content"]), str(new["content"])
    if one == other:
        return "in its role or calls", str(old["role"]), str(new["role"])
    shared = sum(1 for _ in takewhile(bool, map(_equal, one, other)))
    line = one[:shared].count("\n") + 1
    return f"from line {line}", one[shared : shared + _SHOWN], other[shared : shared + _SHOWN]


# --- plain JSON --------------------------------------------------------------------------------------------


def message_to_json(message: Message) -> dict[str, Any]:
    """A message as plain JSON values; keys without a value are left out."""
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        row["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        row["tool_call_id"] = message.tool_call_id
    return row


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A recorded message with the keys that ``message_to_json`` writes and no others."""
    kept = {"role": row["role"], "content": row["content"]}
    return {**kept, **{key: row[key] for key in ("tool_calls", "tool_call_id") if row.get(key)}}


def _call(call: Any) -> dict[str, str]:
    return {"id": call.id, "name": call.name, "arguments": call.arguments}


def reply_to_json(reply: Reply) -> dict[str, Any]:
    """A reply as plain JSON values; money as the text of a decimal number."""
    usage = {"prompt": reply.usage.prompt, "completion": reply.usage.completion}
    return {
        "text": reply.text,
        "tool_calls": [_call(call) for call in reply.tool_calls],
        "usage": {**usage, "estimated": reply.usage.estimated},
        "finish": reply.finish,
        "money": None if reply.money is None else str(reply.money),
        "seconds": round(reply.seconds, 3),
        "note": reply.note,
    }


def reply_from_json(data: Mapping[str, Any]) -> Reply:
    """The inverse of ``reply_to_json``; what is missing or of no form is empty."""
    from architect.model.types import Reply, ToolCall

    calls = data.get("tool_calls") or ()
    try:
        money = None if data.get("money") is None else Decimal(str(data["money"]))
    except InvalidOperation:
        money = None
    return Reply(
        text=str(data.get("text", "")),
        tool_calls=tuple(ToolCall(call["id"], call["name"], call["arguments"]) for call in calls),
        usage=_usage(data.get("usage")),
        finish=str(data.get("finish", "")),
        money=money,
        note=str(data.get("note", "")),
    )


def _usage(data: Any) -> Usage:
    from architect.model.types import Usage

    row = data if isinstance(data, Mapping) else {}
    counts = [
        value if type(value := row.get(key)) is int and value >= 0 else 0 for key in ("prompt", "completion")
    ]
    return Usage(counts[0], counts[1], bool(row.get("estimated", True)))


def totals(steps: Sequence[Step]) -> dict[str, Any]:
    """What the models of a trajectory cost: requests, answers that failed, tokens, money where it is known."""
    replies = [step.data for step in steps if step.kind == "reply"]
    usages = [_usage(data.get("usage")) for data in replies if "error" not in data]
    sums: Iterator[Decimal] = (
        money for data in replies if (money := reply_from_json(data).money) is not None
    )
    return {
        "requests": sum(step.kind == "request" for step in steps),
        "failed": sum("error" in data for data in replies),
        "tokens": sum(usage.prompt + usage.completion for usage in usages),
        "money": str(total) if (total := sum(sums, Decimal(0))) else None,
    }
