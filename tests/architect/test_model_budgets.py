"""No request leaves that could overrun tokens, money or context."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from architect.model.ledger import Ledger
from architect.model.types import Message, ModelError
from tests.architect.model_client import ASK, ask, fails, model
from tests.architect.model_server import (
    MODEL,
    ModelServer,
    answer,
)


@pytest.mark.long
def test_no_request_leaves_that_could_overrun_the_tokens() -> None:
    with ModelServer(["yes"]) as server:
        client = model(server, Ledger(tokens_max=600))
        with pytest.raises(ModelError, match="budget of 600 tokens") as caught:
            client.ask(ASK, max_output=300)
        assert (caught.value.kind, caught.value.status, server.requests) == ("limit", 3, [])
        client.ask(ASK, max_output=20)
        assert len(server.requests) == 1 and client.ledger.tokens < 600


def test_a_budget_of_tokens_holds_over_many_requests() -> None:
    with ModelServer([answer("x" * 90)]) as server:
        client = model(server, Ledger(tokens_max=3000))
        with pytest.raises(ModelError) as caught:
            for _ in range(100):
                client.ask(ASK, max_output=40)
    assert caught.value.kind == "limit" and 3 < len(server.requests) < 100 and client.ledger.tokens <= 3000


def test_a_budget_of_money_is_kept_to_the_cent() -> None:
    prices: dict[str, Any] = {"price_in": Decimal(1000), "price_out": Decimal(2000)}
    with ModelServer([answer("x" * 90)]) as server:
        ledger = Ledger(money_max=Decimal("2"), **prices)
        client = model(server, ledger, **prices)
        reply = client.ask(ASK, max_output=40)
        assert reply.money == (reply.usage.prompt * 1000 + reply.usage.completion * 2000) / Decimal(1_000_000)
        with pytest.raises(ModelError, match="money"):
            for _ in range(100):
                client.ask(ASK, max_output=40)
    assert ledger.money is not None and Decimal("0.5") < ledger.money <= 2


def test_missing_usage_is_bounded_from_above_and_said() -> None:
    with ModelServer([answer("short", usage=None)]) as server:
        client = model(server)
        reply = client.ask(ASK, max_output=50)
    assert reply.usage.estimated and "no usage" in reply.note and client.ledger.estimated == reply.usage.total
    assert reply.usage.prompt >= len(server.requests[0].prompt.encode())


def test_nonsense_usage_counts_as_none() -> None:
    assert ask([answer("short", usage=(0, 3))]).usage.estimated
    assert ask([answer("short", usage=(-5, 3))]).usage.estimated


def test_a_server_that_drops_messages_is_found_out() -> None:
    """Ollama drops the oldest messages beyond its context and answers as if nothing were."""
    long = (Message("system", "rules"), Message("user", "mov rax, rbx ; copy it over\n" * 400))
    with ModelServer([answer("yes", usage=(1024, 2))]) as server:
        client = model(server, profile="ollama", context=32768)
        with pytest.raises(ModelError, match="truncated context") as caught:
            client.ask(long, max_output=50)
        assert caught.value.kind == "context" and client.context == 2048
        assert "OLLAMA_CONTEXT_LENGTH" in caught.value.message
        assert client.ledger.tokens == 1026, "what it took is booked all the same"


def test_the_count_is_calibrated_and_then_finds_smaller_losses() -> None:
    text = "mov rax, rbx ; copy it over\n" * 60
    with ModelServer(["yes", answer("yes", usage=(450, 2))]) as server:
        client = model(server)
        client.ask((Message("user", text),), max_output=50)
        assert client.counter.calibrated and 0.3 < client.counter.ratio < 0.4
        with pytest.raises(ModelError, match="truncated context"):
            client.ask((Message("user", text + text),), max_output=50)


def test_a_prompt_beyond_the_context_is_not_sent() -> None:
    error, server = fails(["yes"], max_output=300, context=320)
    assert error.kind == "context" and not server.requests


def test_the_context_is_asked_for_where_a_server_tells_it() -> None:
    told = {
        "lmstudio": ("/api/v0/models", {"data": [{"id": MODEL, "loaded_context_length": 6144}]}),
        "ollama": ("/api/ps", {"models": [{"name": MODEL, "context_length": 6144}]}),
        "vllm": ("/v1/models", {"data": [{"id": MODEL, "max_model_len": 6144}]}),
        "llamacpp": ("/props", {"default_generation_settings": {"n_ctx": 6144}}),
    }
    for profile, (path, data) in told.items():
        with ModelServer(["yes"], gets={path: data}) as server:
            assert model(server, profile=profile, context=None).context == 6144, profile
        with ModelServer(["yes"], gets={path: ["nonsense"]}) as server:
            assert model(server, profile=profile, context=None).context in (4096, 8192)


def test_the_only_model_is_found_and_several_are_named() -> None:
    with ModelServer(["yes"]) as server:
        assert model(server, model="").ask(ASK, max_output=9).text == "yes"
        assert server.requests[0].body["model"] == MODEL
    rows = {"/v1/models": {"data": [{"id": "one"}, {"id": "two"}]}}
    with ModelServer(["yes"], gets=rows) as server, pytest.raises(ModelError, match=r"--model \(one, two\)"):
        model(server, model="").ask(ASK, max_output=9)
