"""The pieces of an answer as plain values, whatever form a server gives them.

Owns what counts as text, reasoning, a part of a tool call, a count of tokens; what is not as promised counts as absent.
Never sends and never decides when enough has come.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from architect.model.types import ToolCall, Usage

_HIGH = ("\ud800", "\udbff")  # the first halves of UTF-16's pairs


@dataclass(frozen=True, slots=True)
class Piece:
    """One piece of an answer; every field may be empty.

    Attributes:
        text: of the answer.
        thought: of a reasoning model's reasoning.
        calls: (index, id, name, arguments) of parts of tool calls; the index is None where the server gives none.
        refusal: what the model says where it declines.
        finish: the server's reason, when it has one.
        usage: its count, when it tells one.
        choices: how many choices the piece held.
    """

    text: str = ""
    thought: str = ""
    calls: tuple[tuple[int | None, str, str, str], ...] = ()
    refusal: str = ""
    finish: str = ""
    usage: Usage | None = None
    choices: int = 0

    @property
    def size(self) -> int:
        """Bytes of what the model wrote."""
        parts = (self.text, self.thought, self.refusal, *(name + args for _, _, name, args in self.calls))
        return sum(len(part.encode("utf-8", "replace")) for part in parts)


class Box:
    """Attribute access to parsed JSON, as the SDK's own objects have it; what is not there is None."""

    def __init__(self, data: object) -> None:
        self._data = data

    def __getattr__(self, name: str) -> Any:
        value = self._data.get(name) if isinstance(self._data, dict) else None
        if isinstance(value, list):
            return [Box(item) if isinstance(item, dict) else item for item in value]
        return Box(value) if isinstance(value, dict) else value

    def plain(self) -> object:
        """The JSON itself."""
        return self._data


class Characters:
    """Text whose characters are whole: a pair of surrogates that two pieces share comes with the second."""

    def __init__(self) -> None:
        self._half = ""

    def of(self, text: str) -> str:
        """The characters that are whole by now; what can never become one is replaced."""
        text, self._half = self._half + text, ""
        if text and _HIGH[0] <= text[-1] <= _HIGH[1]:
            text, self._half = text[:-1], text[-1]
        if not any("\ud800" <= c <= "\udfff" for c in text):
            return text
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def piece(chunk: Any) -> Piece:
    """A chunk of a stream, or a whole answer, as plain values."""
    found = getattr(chunk, "choices", None)
    choices = [c for c in found if c is not None] if isinstance(found, list) else []
    usage = _usage(getattr(chunk, "usage", None))
    # One answer was asked for; what a server adds of another is not a part of it.
    ours = [choice for choice in choices if getattr(choice, "index", None) in (0, None)]
    if not ours:
        return Piece(usage=usage, choices=len(choices))
    choice = ours[0]
    said = getattr(choice, "delta", None) or getattr(choice, "message", None)
    said = (
        Box(said) if isinstance(said, dict) else said
    )  # a field that the SDK does not know stays a dictionary
    thought = _text(said, "reasoning_content") or _text(said, "reasoning")
    calls = getattr(said, "tool_calls", None)
    return Piece(
        _content(getattr(said, "content", None)),
        thought,
        tuple(_call(call) for call in calls) if isinstance(calls, list) else (),
        _text(said, "refusal"),
        _text(choice, "finish_reason"),
        usage,
        len(choices),
    )


def _content(value: Any) -> str:
    """Text, or a list of parts of which some are text."""
    if not isinstance(value, list):
        return value if isinstance(value, str) else ""
    parts = [part if isinstance(part, Mapping) else _plain(part) for part in value]
    return "".join(_content(part.get("text")) for part in parts if isinstance(part, Mapping))


def _plain(value: Any) -> object:
    return value.plain() if isinstance(value, Box) else value


def _text(holder: Any, name: str) -> str:
    value = getattr(holder, name, None)
    return value if isinstance(value, str) else ""


def _call(call: Any) -> tuple[int | None, str, str, str]:
    index = getattr(call, "index", None)
    function = getattr(call, "function", None)
    arguments = _plain(getattr(function, "arguments", None))
    if isinstance(arguments, Mapping):  # the object itself, where its text was promised
        arguments = json.dumps(arguments)
    number = index if isinstance(index, int) else None
    told = arguments if isinstance(arguments, str) else ""
    return number, _text(call, "id"), _text(function, "name"), told


def _usage(found: Any) -> Usage | None:
    prompt, completion = _count(found, "prompt_tokens"), _count(found, "completion_tokens")
    if prompt is None or completion is None or prompt <= 0 or completion < 0:
        return None
    return Usage(prompt, completion)


def _count(holder: Any, name: str) -> int | None:
    value = getattr(holder, name, None)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


@dataclass
class _Row:
    """A tool call as far as it has come."""

    index: int | None
    id: str
    name: str
    arguments: str = ""


@dataclass
class Calls:
    """Tool calls put together from their parts.

    A server numbers them by ``index``; some give none, or the same to all: then another id, or another name behind
    whole arguments, begins another call. Some say id and name again with every part.
    """

    rows: list[_Row] = field(default_factory=list)

    def add(self, parts: Iterable[tuple[int | None, str, str, str]]) -> None:
        """Parts of one piece."""
        for index, number, name, arguments in parts:
            row = self._row(index, number, name)
            row.id = row.id or number
            if name != row.name:
                row.name += name
            row.arguments += arguments

    def _row(self, index: int | None, number: str, name: str) -> _Row:
        near = [row for row in self.rows if index is None or row.index == index]
        last = near[-1] if near else None
        if last is None or self._begins(last, number, name):
            self.rows.append(_Row(index, number, ""))
            return self.rows[-1]
        return last

    def _begins(self, last: _Row, number: str, name: str) -> bool:
        """Whether a part begins a call of its own."""
        if number and last.id:
            return number != last.id
        return bool(name and last.name and last.arguments and _is_json(last.arguments))

    def whole(self) -> tuple[ToolCall, ...]:
        """The calls in order, each with an id of its own."""
        rows = self.rows
        if all(row.index is not None for row in rows):
            rows = sorted(rows, key=lambda row: row.index or 0)
        made: list[ToolCall] = []
        for place, row in enumerate(rows):
            known = {call.id for call in made}
            plain = row.id or f"call-{place}"
            made.append(
                ToolCall(plain if plain not in known else f"{plain}-{place}", row.name, row.arguments)
            )
        return tuple(made)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
