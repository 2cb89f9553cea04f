"""How a request is written for one server: what its profile knows, less what it has refused since.

Owns the body of a request and the give-and-take about its fields: a field that a server names in a refusal is dropped
or renamed, once each, for the rest of the conversation. Sends nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from architect.model.profiles import Profile, TokenField
from architect.model.types import Endpoint, Message, ModelError

_RENAMED: Mapping[str, TokenField] = {
    "max_tokens": "max_completion_tokens",
    "max_completion_tokens": "max_tokens",
}


@dataclass(frozen=True, slots=True)
class Asks:
    """What a request asks for besides text: tools that may be called, a schema that the answer is to keep."""

    tools: Sequence[Mapping[str, Any]] = ()
    schema: Mapping[str, Any] | None = None


@dataclass
class Dialect:
    """What this server understands, as far as is known.

    Attributes:
        stream_usage: ``stream_options.include_usage`` may be asked for.
        tools: tools may be offered.
        system: messages of role ``system`` may be sent.
        temperature: it may be set.
        json_schema: answers can be held to a JSON schema.
        token_field: the field that limits an answer.
    """

    stream_usage: bool
    tools: bool
    system: bool
    token_field: TokenField
    json_schema: bool = False
    temperature: bool = True
    renamed: bool = False

    @classmethod
    def of(cls, profile: Profile) -> Dialect:
        """What a profile knows; tools may be offered to all, whoever asks decides."""
        return cls(profile.stream_usage, True, profile.system_role, profile.token_field, profile.json_schema)

    def offered(self, asks: Asks) -> tuple[Sequence[Mapping[str, Any]], tuple[Mapping[str, Any], ...]]:
        """What of that this server takes: tools, and the schema or nothing."""
        return (
            asks.tools if self.tools else (),
            (asks.schema,) if asks.schema is not None and self.json_schema else (),
        )

    def body(
        self,
        endpoint: Endpoint,
        model: str,
        messages: Sequence[Message],
        max_output: int,
        asks: Asks,
    ) -> dict[str, Any]:
        """The fields of a request."""
        body: dict[str, Any] = {
            "model": model,
            "messages": self._messages(messages),
            "stream": True,
            self.token_field: max_output,
        }
        if self.stream_usage:
            body["stream_options"] = {"include_usage": True}
        if endpoint.temperature is not None and self.temperature:
            body["temperature"] = endpoint.temperature
        if asks.tools and self.tools:
            body["tools"] = [dict(tool) for tool in asks.tools]
        if asks.schema is not None and self.json_schema:
            named = {"name": "answer", "strict": True, "schema": dict(asks.schema)}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        return body

    def _messages(self, messages: Sequence[Message]) -> list[dict[str, Any]]:
        if self.system or not messages or messages[0].role != "system":
            return [_plain(message) for message in messages]
        rules, rest = messages[0].content, [_plain(message) for message in messages[1:]]
        for message in rest:
            if message["role"] == "user":
                message["content"] = f"{rules}\n\n{message['content']}"
                return rest
        return [{"role": "user", "content": rules}, *rest]

    def adapt(self, error: ModelError) -> str | None:
        """Give up the field that a refusal names; what was given up, or None when it names none that we sent.

        The request that follows is another one: this is no retry of a refused request.
        """
        if error.code not in (400, 404, 422, 500, 501):
            return None
        text = error.detail or error.message
        if self.stream_usage and re.search(r"stream_options|include_usage", text):
            self.stream_usage = False
            return "stream_options"
        if not self.renamed and re.search(rf"\b{self.token_field}\b", text):
            self.renamed = True
            old, self.token_field = self.token_field, _RENAMED[self.token_field]
            return old
        if self.temperature and re.search(r"\btemperature\b", text):
            self.temperature = False
            return "temperature"
        if self.json_schema and re.search(r"response_format|json_schema|guided|grammar", text):
            self.json_schema = False
            return "response_format"
        if self.tools and re.search(r"\btools?\b|tool_choice|--jinja|auto-tool-choice", text):
            self.tools = False
            return "tools"
        if self.system and re.search(
            r"\bsystem\b.{0,40}\b(role|message)|\brole.{0,40}\bsystem\b", text, re.I
        ):
            self.system = False
            return "the system role"
        return None


def _plain(message: Message) -> dict[str, Any]:
    row: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.tool_calls:
        row["tool_calls"] = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
    if message.tool_call_id is not None:
        row["tool_call_id"] = message.tool_call_id
    return row
