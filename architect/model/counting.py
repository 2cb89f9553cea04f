"""How many tokens a text may have, without any vendor's tokenizer: bounds that hold, and an estimate that learns.

Owns three counts. ``bound`` is never less than the truth: a byte-level tokenizer makes at most one token of each byte,
and what a server has counted before is taken from its ``usage``. ``least`` is never more: whatever stands between two
spaces is at least one token. ``estimate`` lies between, and is calibrated by every ``usage``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from architect.model.types import Message

MESSAGE_TOKENS = 16  # what a chat template puts around one message, at most
TEMPLATE_TOKENS = 96  # what it puts around all of them (date, an own system line), at most
START_RATIO = 0.45  # tokens a byte of assembly and English, on the high side
_MARGIN = 1.1  # an estimate is this much above what was seen
_RATIO_MIN, _RATIO_MAX = 0.05, 1.0
_CALIBRATE_BYTES = 512  # shorter prompts are mostly template
_TRUNCATED = 0.6  # of what it must have been: below it the server has dropped messages
_BRIM = 0.97  # of a context: more than that and it is full
_BRIM_ESTIMATE = 1.6  # an estimate that is so far above a count that fills a context was cut there
SPARSE_RATIO = 0.17  # tokens a byte of the sparsest prose, long runs of blanks counted once
SURE_LEAST = 0.9  # of the least count: tokenizers that join words across spaces are rare


@dataclass
class Counter:
    """The counts for one model at one endpoint.

    Attributes:
        ratio: tokens a byte, the highest seen; ``START_RATIO`` until a server said.
        calibrated: whether one did.
    """

    ratio: float = START_RATIO
    calibrated: bool = False
    _known: tuple[Message, ...] = ()
    _known_tokens: int = 0
    _ratios: list[float] = field(default_factory=list)

    def bound(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> int:
        """Never less tokens than the server will count."""
        most = _bytes(messages) + len(messages) * MESSAGE_TOKENS + TEMPLATE_TOKENS + _tools_bytes(tools)
        count = len(self._known)
        if not count or tools or tuple(messages[:count]) != self._known:
            return most
        rest = messages[count:]
        return min(most, self._known_tokens + _bytes(rest) + (len(rest) + 1) * MESSAGE_TOKENS)

    def estimate(self, messages: Sequence[Message], tools: Sequence[Mapping[str, Any]] = ()) -> int:
        """About how many; by what this server counted before."""
        size = _bytes(messages) + _tools_bytes(tools)
        return round(size * self.ratio) + len(messages) * MESSAGE_TOKENS // 2

    def tokens_of(self, text: str) -> int:
        """About how many tokens a text has."""
        return round(len(text.encode("utf-8", "replace")) * self.ratio)

    def bytes_for(self, tokens: int) -> int:
        """About how many bytes of text fit into so many tokens."""
        return int(max(tokens, 0) / self.ratio)

    def learn(self, messages: Sequence[Message], prompt: int, *, tools: bool = False) -> None:
        """What the server counted for these messages (``usage.prompt_tokens``), nothing dropped."""
        size = _bytes(messages)
        if tools or prompt <= 0:
            return
        self._known, self._known_tokens = tuple(messages), prompt
        if size >= _CALIBRATE_BYTES:
            seen = min(_RATIO_MAX, max(_RATIO_MIN, _MARGIN * prompt / size))
            self._ratios.append(seen)
            self.ratio, self.calibrated = max(self._ratios[-8:]), True

    def dropped(self, messages: Sequence[Message], prompt: int, *, silent: bool = True) -> int | None:
        """How many tokens these messages must have had, when the server counted far fewer; else None.

        Ollama drops the oldest messages beyond its context and says nothing; its count tells. Before anything is
        calibrated a count that fills a usual context to the brim, and is well below the estimate, counts as such too.

        Args:
            messages: what was sent.
            prompt: what the server counted.
            silent: the server is of a kind that drops without an error.
        """
        size = _bytes(messages)
        must = max(SURE_LEAST * least(messages), SPARSE_RATIO * _packed(messages))
        if self.calibrated and size >= _CALIBRATE_BYTES:
            must = max(must, _TRUNCATED * size * min(self._ratios) / _MARGIN)
        elif silent and _brimful(prompt) and self.estimate(messages) > _BRIM_ESTIMATE * prompt:
            must = max(must, prompt + 1)
        return round(must) if 0 < prompt < must else None


def least(messages: Sequence[Message]) -> int:
    """Never more tokens than the server will count."""
    return sum(len(message.content.split()) for message in messages)


def _packed(messages: Sequence[Message]) -> int:
    """Bytes with every run of blanks counted once: tokenizers have long ones as a single token."""
    return sum(len(" ".join(message.content.split()).encode("utf-8", "replace")) for message in messages)


def _brimful(tokens: int) -> bool:
    """Whether a count lies just below a power of two from 2048 on, as contexts are."""
    power = 1 << max(11, (tokens - 1).bit_length())
    return _BRIM * power <= tokens <= power


def _bytes(messages: Sequence[Message]) -> int:
    total = 0
    for message in messages:
        total += len(message.content.encode("utf-8", "replace"))
        total += sum(len(call.name.encode()) + len(call.arguments.encode()) for call in message.tool_calls)
    return total


def _tools_bytes(tools: Sequence[Mapping[str, Any]]) -> int:
    """Templates write schemas in a form of their own; JSON with spaces is longer than those we know of."""
    return len(json.dumps(list(tools), indent=1).encode()) if tools else 0
