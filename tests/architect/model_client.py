"""A client of the scripted server, with a clock that waiting moves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest

from architect.model.client import ChatModel
from architect.model.ledger import Ledger
from architect.model.patience import Clock, Patience
from architect.model.types import Endpoint, Message, ModelError, Reply
from tests.architect.model_server import (
    MODEL,
    ModelServer,
    Step,
)

KEY = "mine.0123456789abcdef"  # of no known form: it is the key itself that is hidden
ASK = (Message("system", "Repair kernels."), Message("user", "What is wrong? " * 20))


class Time:
    """A clock that waiting moves, so that no test waits."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.slept = 0.0

    def now(self) -> float:
        return time.monotonic() + self.slept

    def sleep(self, seconds: float) -> None:
        self.slept += seconds


def endpoint(server: ModelServer | None = None, **fields: Any) -> Endpoint:
    url = server.url if server else "http://127.0.0.1:9/v1"
    return Endpoint(**{"base_url": url, "model": MODEL, "key": KEY, "context": 8000, **fields})


def model(
    server: ModelServer, ledger: Ledger | None = None, clock: Time | None = None, **fields: Any
) -> ChatModel:
    used = clock or Time()
    return ChatModel(
        endpoint(server, **fields),
        ledger or Ledger(),
        patience=Patience(jitter=0),
        clock=Clock(used.now, used.sleep),
    )


def ask(script: Sequence[Step | str], max_output: int = 200, **fields: Any) -> Reply:
    with ModelServer(script) as server:
        return model(server, **fields).ask(ASK, max_output=max_output)


def failure(client: ChatModel, max_output: int = 9) -> ModelError:
    with pytest.raises(ModelError) as caught:
        client.ask(ASK, max_output=max_output)
    return caught.value


def fails(
    script: Sequence[Step | str], max_output: int = 200, **fields: Any
) -> tuple[ModelError, ModelServer]:
    with ModelServer(script) as server:
        return failure(model(server, **fields), max_output), server
