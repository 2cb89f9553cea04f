"""The client against a scripted server: good answers, and every way in which an endpoint's answer is none."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest

from architect.model.client import ChatModel
from architect.model.ledger import Ledger
from architect.model.patience import Clock
from architect.model.types import Endpoint
from tests.architect.model_client import ASK, KEY, Time, ask, fails, failure, model
from tests.architect.model_server import (
    MODEL,
    ModelServer,
    Request,
    Step,
    answer,
    cut,
    drop,
    empty_choices,
    endless,
    endless_line,
    plain,
    raw,
    status,
    when,
)

# --- good answers ------------------------------------------------------------------------------------------------


def test_an_answer_streams_and_is_counted() -> None:
    heard: list[str] = []
    with ModelServer(["The store is missing in page_map."]) as server:
        client = model(server)
        reply = client.ask(ASK, max_output=200, on_text=heard.append)
    assert reply.text == "".join(heard) == "The store is missing in page_map."
    assert len(heard) > 1, "it came in one piece"
    assert (reply.finish, reply.usage.estimated, reply.whole, reply.note) == ("stop", False, True, "")
    assert client.ledger.tokens == reply.usage.total > 0
    body = server.requests[0].body
    assert body["stream"] and body["stream_options"] == {"include_usage": True}
    assert body["max_tokens"] == 200 and body["model"] == MODEL


def test_openai_is_spoken_to_in_its_own_words() -> None:
    with ModelServer(["yes"]) as server:
        model(server, profile="openai", temperature=0.2).ask(ASK, max_output=7)
        body = server.requests[0].body
    assert body["max_completion_tokens"] == 7 and "max_tokens" not in body and body["temperature"] == 0.2


def test_tool_calls_arrive_whole() -> None:
    reply = ask([answer("", calls=[("read_source", '{"file": "mm/page.s"}'), ("boot", "{}")])])
    assert [(call.name, call.arguments) for call in reply.tool_calls] == [
        ("read_source", '{"file": "mm/page.s"}'),
        ("boot", "{}"),
    ]
    assert [call.id for call in reply.tool_calls] == ["call_0", "call_1"] and reply.finish == "tool_calls"


def test_a_server_that_does_not_stream_is_understood() -> None:
    assert ask([plain("all at once")]).text == "all at once"


def test_reasoning_is_not_the_answer() -> None:
    assert ask([answer("yes", thought="hmm " * 10)]).text == "yes"
    assert "went into reasoning" in ask([answer("", thought="hmm " * 10)]).note


def test_nothing_of_this_machine_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_ORG_ID", "org-secret")
    monkeypatch.setenv("OPENAI_PROJECT_ID", "proj-secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment-secret")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Custom: custom-secret")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with ModelServer(["yes"]) as server:
        model(server).ask(ASK, max_output=9)
        model(server, key="").ask(ASK, max_output=9)
    first, second = (request.headers for request in server.requests)
    allowed = {
        "host", "accept", "accept-encoding", "connection", "content-type", "content-length", "authorization",
        "user-agent",
    }  # fmt: skip
    assert (
        set(first) <= allowed and first["authorization"] == f"Bearer {KEY}" and first["user-agent"] == "pxos"
    )
    assert "authorization" not in second
    assert "secret" not in str([(r.headers, r.body) for r in server.requests])


# --- broken answers ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_stream_keeps_what_came_and_says_so(reset: bool) -> None:
    reply = ask([cut("half of the ans", reset=reset)])
    assert reply.text in ("half of the ans", "") or "half of the ans".startswith(reply.text)
    assert reply.finish == "cut" and not reply.whole and "broke off" in reply.note and reply.usage.estimated


def test_a_stream_cut_before_its_first_word_is_asked_again() -> None:
    for broken in (cut(""), drop()):
        with ModelServer([broken, "whole"]) as server:
            assert model(server).ask(ASK, max_output=9).text == "whole"


def test_a_stream_without_an_end_mark_is_cut() -> None:
    event = 'data: {"choices":[{"index":0,"delta":{"content":"so far"},"finish_reason":null}]}\n\n'
    reply = ask([raw(event)])
    assert (reply.text, reply.finish) == ("so far", "cut")


def test_empty_choices_are_no_answer() -> None:
    error, server = fails([empty_choices()], deadline=3.0)
    assert error.kind == "format" and "without choices" in error.message and len(server.requests) > 1


@pytest.mark.parametrize(
    "step",
    [
        raw("data: {not json\n\n"),
        raw("data: 7\n\ndata: [DONE]\n\n"),
        raw('data: {"choices": {"a": 1}}\n\n'),
        raw("<html>a page</html>", kind="text/html"),
        raw("", kind="application/json"),
        raw('{"choices": "none"}', kind="application/json"),
        raw("[1, 2]", kind="application/json"),
    ],
)
def test_what_is_no_answer_is_a_named_failure(step: Step) -> None:
    error, _ = fails([step], deadline=2.0)
    assert error.kind in ("format", "provider") and error.status == 2


def test_an_error_in_the_midst_of_a_stream() -> None:
    good = 'data: {"choices":[{"index":0,"delta":{"content":"so far"}}]}\n\n'
    bad = 'data: {"error":{"message":"CUDA out of memory","code":500}}\n\n'
    reply = ask([raw(good, bad)])
    assert reply.text == "so far" and reply.finish == "cut" and "CUDA out of memory" in reply.note
    error, _ = fails([raw(bad)], deadline=2.0)
    assert error.kind == "provider" and "CUDA" in error.message


def test_an_error_with_status_200_names_the_address() -> None:
    error, server = fails(
        [raw('{"error":"Unexpected endpoint or method. (POST /chat)"}', kind="application/json")]
    )
    assert (
        "--model-url" in error.message
        and "Unexpected endpoint" in error.message
        and len(server.requests) == 1
    )


def test_endless_output_is_cut() -> None:
    with ModelServer([endless()]) as server:
        reply = model(server).ask(ASK, max_output=30)
        assert server.hung_up.wait(10), "the server still sends"
    assert reply.finish == "endless" and "more than 30 tokens" in reply.note and len(reply.text) < 30 * 16
    with ModelServer([endless_line()]) as server:
        error = failure(model(server), 30)
        assert server.hung_up.wait(10)
    assert error.kind == "format" and "without end" in error.message


def test_a_refusal_is_told_as_one() -> None:
    error, server = fails([answer("", refusal="I cannot help with kernels")])
    assert error.kind == "refused" and "I cannot help" in error.message and len(server.requests) == 1
    error, _ = fails([answer("", finish="content_filter")])
    assert error.kind == "refused"
    error, _ = fails([status(400, "blocked", error={"code": "content_filter"})])
    assert error.kind == "refused"


def test_a_context_that_the_server_refuses() -> None:
    error, server = fails([status(400, "This model's maximum context length is 4096 tokens")])
    assert error.kind == "context" and len(server.requests) == 1


# --- quirks ------------------------------------------------------------------------------------------------------


def refusing(field: str, message: str) -> Step:
    def choose(request: Request) -> Step | str:
        sent = field in request.body or any(m["role"] == field for m in request.body["messages"])
        return status(400, message) if sent else "fine"

    return when(choose)


@pytest.mark.parametrize(
    ("field", "message", "fields"),
    [
        ("stream_options", "Unrecognized request argument supplied: stream_options", {}),
        ("max_tokens", "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.", {}),
        ("max_completion_tokens", "unknown field max_completion_tokens", {"profile": "openai"}),
        ("temperature", "Unsupported value: 'temperature' does not support 0.5", {"temperature": 0.5}),
        ("system", "System role not supported", {}),
        ("system", "messages: role 'system' is not allowed", {}),
    ],
)
def test_a_field_that_a_server_refuses_is_given_up(field: str, message: str, fields: dict[str, Any]) -> None:
    with ModelServer([refusing(field, message)]) as server:
        client = model(server, **fields)
        assert client.ask(ASK, max_output=9).text == "fine" and len(server.requests) == 2
        assert client.ask(ASK, max_output=9).text == "fine" and len(server.requests) == 3, "it is remembered"
        assert "Repair kernels." in server.requests[-1].prompt
        assert any("refuses" in note for note in client.notes)


def test_tools_that_a_server_refuses_are_left_out() -> None:
    tool = {"type": "function", "function": {"name": "boot", "parameters": {"type": "object"}}}
    with ModelServer([refusing("tools", "model does not support tools")]) as server:
        assert model(server).ask(ASK, max_output=9, tools=[tool]).text == "fine"
    assert server.requests[0].body["tools"] == [tool] and "tools" not in server.requests[1].body


# --- no key in any error -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda text: status(401, text),
        lambda text: status(500, text),
        lambda text: status(400, text),
        lambda text: raw(f'data: {{"error": {{"message": "{text}"}}}}\n\n'),
        lambda text: status(302, "moved", headers={"location": f"http://example.invalid/{KEY}"}),
        lambda text: answer("", refusal=text),
    ],
)
def test_no_error_holds_the_key(make: Callable[[str], Step]) -> None:
    with ModelServer([make(f"bad key {KEY} in Bearer {KEY}")]) as server:
        client = model(server, deadline=1.0)
        error = failure(client)
    told = f"{error} {error!r} {error.message} {error.detail} {client.notes} {client.endpoint!r}"
    assert KEY not in told and KEY[8:] not in told


def test_a_key_is_not_carried_to_another_address() -> None:
    with ModelServer(["theirs"]) as other:
        error, server = fails([status(307, "moved", headers={"location": other.url})])
        assert "redirects to" in error.message and "--model-url" in error.message
        assert not other.requests and len(server.requests) == 1


# --- addresses ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("http://127.0.0.1:1/v1", "nobody listens there"),
        ("http://no-such-host.invalid/v1", "no host has this name"),
        ("ftp://127.0.0.1/v1", "--model-url"),
    ],
)
def test_a_wrong_address_is_one_line_with_the_mend(url: str, says: str) -> None:
    clock = Time()
    client = ChatModel(Endpoint(url, MODEL, KEY, context=8000), Ledger(), clock=Clock(clock.now, clock.sleep))
    error = failure(client)
    assert error.kind == "provider" and says in error.message and clock.slept == 0


def test_an_endpoint_that_answered_before_may_come_back() -> None:
    clock = Time()
    with ModelServer(["yes"]) as server:
        client = model(server, clock=clock)
        client.ask(ASK, max_output=9)
    error = failure(client)
    assert "asked" in error.message and clock.slept > 5


def test_no_time_is_unlimited() -> None:
    assert Ledger().seconds_left() == math.inf
