"""The model of a conversation: which one, what it may cost, what it cost; /model and /cost.

Owns the endpoint's life in a chat. Nothing is imported or asked before the first question; the key never leaves the
endpoint.
"""

from __future__ import annotations

import argparse
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from architect.chat.talk import words_of
from toolchain.errors import InputError, PxError

if TYPE_CHECKING:
    from architect.chat.talk import Talk
    from architect.learn.trajectory import Trajectory
    from architect.model.client import ChatModel
    from architect.model.ledger import Ledger
    from architect.model.prompt_files import PromptSet
    from architect.model.settings import ModelSettings
    from architect.model.types import Message, Model

STAGE = "chat"
RECORDS_KEPT = 20  # trajectories of conversations in one folder, the newest
HOW = (
    "No model is configured: free questions are answered by search. To name one: pxos chat --model-url"
    " http://localhost:1234/v1, or PXOS_MODEL_URL, PXOS_MODEL and PXOS_MODEL_KEY, or here /model URL [ID]."
)


class Mind:
    """A model that answers in a chat.

    Args:
        settings: endpoint and budgets.
        say: gets a line when a request is asked again.
        trajectory: the file that requests and replies are written to, or None.
        ledger: budgets that the conversation shares with others, or None for those of the settings.
        prompts: what the model is told, or None for the prompts in use.
    """

    def __init__(
        self,
        settings: ModelSettings,
        say: Any = lambda text: None,
        trajectory: Path | None = None,
        ledger: Ledger | None = None,
        prompts: PromptSet | None = None,
    ) -> None:
        self.settings = settings
        self.ledger = ledger or settings.ledger()
        self._prompts = prompts
        self.used = 0  # tokens of the context that the last request took
        self._say = say
        self._path = trajectory
        self._client: ChatModel | None = None
        self._model: Model | None = None
        self._trajectory: Trajectory | None = None

    @property
    def client(self) -> ChatModel:
        """The client behind the model: its profile and its counts."""
        if self._client is None:
            from architect.model.client import open_model

            self._client = open_model(self.settings.endpoint, self.ledger, self._say)
        return self._client

    @property
    def model(self) -> Model:
        """The model; what is asked of it is recorded.

        Raises:
            ModelError: the server cannot say which model it has.
        """
        if self._model is None:
            self._model = cast("Model", self.client)  # its name and context are found out when asked for
            if self._path is not None:
                from architect.learn.recorded import RecordingModel
                from architect.learn.trajectory import Trajectory

                _prune(self._path.parent)
                with suppress(PxError):  # a conversation goes on where its record cannot be written
                    self._trajectory = Trajectory.open(self._path)
                    self._trajectory.write("run", {"what": "chat"})
                    self._model = RecordingModel(self._model, self._trajectory)
        return self._model

    @property
    def prompts(self) -> PromptSet:
        """What the model is told.

        Raises:
            InputError: a file of the prompts is missing or lacks a placeholder.
        """
        if self._prompts is None:
            from architect.model.prompt_files import load_set

            self._prompts = load_set()
        return self._prompts

    @property
    def tools(self) -> bool:
        """Whether tool calls are offered: the server does them well, and has not refused them."""
        return bool(self.client.profile.tools and self.client.dialect.tools)

    def noted(self, kind: str, data: dict[str, Any]) -> None:
        """Write a step of ours into the trajectory."""
        if self._trajectory is not None:
            with suppress(PxError):
                self._trajectory.write(kind, data)

    def estimate(self, messages: list[Message]) -> int:
        """About how many tokens messages have."""
        return self.client.counter.estimate(messages)

    def for_repair(self) -> dict[str, Any]:
        """What the fix loop needs to ask the same model within the same budgets."""
        return {"model": self.settings, "ledger": self.ledger}

    def close(self) -> None:
        """End the record."""
        if self._trajectory is not None:
            self._trajectory.close()
            self._trajectory = None

    def short(self) -> str:
        """One line for the meter: name, tokens, money, context."""
        ledger = self.ledger
        name = (
            self._client.name
            if self._client is not None and self._client._name
            else self.settings.endpoint.model
        )
        parts = [name or "model", f"{ledger.tokens} tokens"]
        if ledger.money is not None:
            parts.append(f"{money(ledger.money)} spent")
        if self.used and self._client is not None:
            parts.append(f"context {100 * self.used // max(1, self._client.context)} %")
        return " · ".join(parts)


def _prune(folder: Path) -> None:
    """Drop the oldest records of conversations."""
    with suppress(OSError):
        records = sorted(folder.glob("chat-*.jsonl"), key=lambda path: path.stat().st_mtime)
        for path in records[: -RECORDS_KEPT + 1]:
            path.unlink()


def money(amount: Decimal) -> str:
    """An amount without idle zeros."""
    return f"{amount.quantize(Decimal('0.000001')).normalize():f}"


def mind_from(args: argparse.Namespace, say: Any, trajectory: Path | None) -> Mind | None:
    """The model that flags, environment or settings file name, or None.

    Raises:
        InputError: a value is wrong; a money budget without prices.
    """
    from architect.model.settings import settings_from

    settings = settings_from(args)
    return None if settings is None else Mind(settings, say, trajectory)


def command(talk: Talk, rest: str) -> None:
    """``/model [off|URL [ID]]``."""
    words = words_of(rest)
    if not words:
        talk.note(_described(talk.mind))
        return
    if words == ["off"]:
        if talk.mind is not None:
            talk.mind.close()
        talk.mind = None
        talk.note("questions are answered by search from here on")
        return
    if len(words) > 2:
        raise InputError("/model [off|URL [ID]]", stage=STAGE)
    from architect.model.settings import add_model_options

    parser = argparse.ArgumentParser(add_help=False)
    add_model_options(parser)
    args = parser.parse_args(["--model-url", words[0], *(["--model", words[1]] if len(words) > 1 else [])])
    mind = mind_from(args, talk.desk.say, talk.desk.out / f"chat-{talk.session.name}.jsonl")
    assert mind is not None
    talk.mind = mind
    talk.note(_described(mind))


def _described(mind: Mind | None) -> str:
    if mind is None:
        return HOW
    endpoint = mind.settings.endpoint
    lines = [
        f"model {endpoint.model or '(the only one there)'} at {endpoint.base_url}, profile {endpoint.profile}"
    ]
    limits = []
    if mind.settings.tokens_total is not None:
        limits.append(f"{mind.settings.tokens_total} tokens")
    if mind.settings.money_total is not None:
        limits.append(f"{mind.settings.money_total} of money")
    lines.append(f"budget: {', '.join(limits) or 'none'}; an answer has at most {endpoint.max_output} tokens")
    return "\n".join(lines)


def cost(talk: Talk, rest: str) -> None:
    """``/cost``."""
    if talk.mind is None:
        talk.note("no model is configured, so nothing was spent; this conversation holds"
                  f" {len(talk.session.turns)} turns")  # fmt: skip
        return
    from architect.chat import memory

    mind, ledger = talk.mind, talk.mind.ledger
    lines = [
        f"{ledger.requests} requests, {ledger.prompt} tokens sent, {ledger.completion} answered"
        + (f" ({ledger.estimated} of them estimated)" if ledger.estimated else "")
    ]
    lines.append(
        f"money: {money(ledger.money)}" if ledger.money is not None else "money: the price is not known"
    )
    if ledger.left() is not None:
        lines.append(f"budget: {ledger.left()} tokens are left")
    context = mind.client.context
    tokens = mind.estimate(memory.messages(talk))
    lines.append(f"context: about {tokens} of {context} tokens ({100 * tokens // context} %)")
    talk.note("\n".join(lines))
