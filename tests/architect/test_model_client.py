"""The client against a scripted server: every way in which a model's endpoint fails, and what becomes of it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any

import pytest

from architect.model.client import ChatModel
from architect.model.ledger import Ledger
from architect.model.patience import Clock, Patience
from architect.model.types import Endpoint, Message, ModelError, Reply
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
    silent,
    status,
    when,
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


# --- budgets -----------------------------------------------------------------------------------------------------


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


# --- one retry layer ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [429, 500, 502, 503])
def test_what_passes_is_asked_again(code: int) -> None:
    with ModelServer([status(code), status(code), "at last"]) as server:
        assert model(server).ask(ASK, max_output=9).text == "at last"
        assert len(server.requests) == 3


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422])
def test_what_does_not_pass_is_asked_once(code: int) -> None:
    error, server = fails([status(code, "no")])
    assert (error.kind, error.code, error.retryable, len(server.requests)) == ("provider", code, False, 1)
    assert error.status == 2


def test_a_permanent_429_ends_within_the_window() -> None:
    clock = Time()
    error, server = fails([status(429)], clock=clock)
    assert error.kind == "provider" and "asked" in error.message
    assert clock.slept < Patience().window and 4 <= len(server.requests) <= 10
    clock = Time()
    error, server = fails([status(429)], clock=clock, deadline=5.0)
    assert clock.slept <= 5.0 and len(server.requests) <= 5


def test_retry_after_is_kept_but_not_beyond_the_deadline() -> None:
    clock = Time()
    with ModelServer([status(429, retry_after=7), "yes"]) as server:
        model(server, clock=clock).ask(ASK, max_output=9)
    assert clock.slept == pytest.approx(7, abs=0.1)
    clock = Time()
    error, server = fails([status(429, retry_after=3600)], clock=clock)
    assert clock.slept == 0 and len(server.requests) == 1 and "asks to wait 3600 s" in error.message


@pytest.mark.parametrize("soon", [0, 0.001])
def test_a_server_that_asks_for_no_wait_and_refuses_again_is_not_hammered(soon: float) -> None:
    clock = Time()
    _, server = fails([status(429, retry_after=soon)], clock=clock)
    assert clock.slept < Patience().window and 4 <= len(server.requests) <= 10


def test_retry_after_may_be_a_date_by_the_servers_clock() -> None:
    clock = Time()
    headers = {"date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    late = status(503, retry_after="Wed, 21 Oct 2015 07:28:11 GMT", headers=headers)
    with ModelServer([late, "yes"]) as server:
        model(server, clock=clock).ask(ASK, max_output=9)
    assert clock.slept == pytest.approx(11, abs=0.1)


def test_no_quota_is_no_429_that_passes() -> None:
    error, server = fails(
        [status(429, "You exceeded your current quota", error={"code": "insufficient_quota"})]
    )
    assert len(server.requests) == 1 and "no quota" in error.message


def test_the_servers_wish_not_to_be_asked_again_is_kept() -> None:
    _, server = fails([status(500, headers={"x-should-retry": "false"})])
    assert len(server.requests) == 1


def test_a_failing_endpoint_is_let_be() -> None:
    with ModelServer([status(500)]) as server:
        clock = Time()
        client = model(server, clock=clock)
        client.breaker.clock = Clock(clock.now, clock.sleep)
        for _ in range(2):
            with pytest.raises(ModelError):
                client.ask(ASK, max_output=9)
        count = len(server.requests)
        with pytest.raises(ModelError, match="left alone for"):
            client.ask(ASK, max_output=9)
        assert len(server.requests) == count
        clock.sleep(31)
        with pytest.raises(ModelError):
            client.ask(ASK, max_output=9)
        assert len(server.requests) > count


def test_what_an_attempt_took_is_booked_even_where_it_failed() -> None:
    with ModelServer([empty_choices(), "yes"]) as server:
        client = model(server)
        client.ask(ASK, max_output=9)
        assert client.ledger.requests == 2 and client.ledger.estimated > 0
    with ModelServer([status(500), "yes"]) as server:
        client = model(server)
        client.ask(ASK, max_output=9)
        assert client.ledger.requests == 1 and client.ledger.estimated == 0


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


# --- waiting and ending ------------------------------------------------------------------------------------------


def test_silence_before_the_first_word_is_a_failure() -> None:
    for head in (True, False):
        error, _ = fails([silent(head=head)], first_token=0.1, deadline=0.3, clock=None)
        assert error.kind == "provider" and "no answer began" in error.message


def test_silence_in_the_midst_keeps_what_came() -> None:
    reply = ask([silent(after="so far")], idle=0.1)
    assert (reply.text, reply.finish) == ("so far", "cut") and "nothing came for 0.1 s" in reply.note


def test_the_total_deadline_holds_in_a_stream_that_goes_on() -> None:
    reply = ask([answer("word " * 4000, delay=0.01)], max_output=9000, context=20000, deadline=0.4)
    assert reply.finish == "cut" and "time for this answer" in reply.note and reply.text.startswith("word")


def test_no_time_left_is_a_limit() -> None:
    with ModelServer([silent()]) as server:
        error = failure(model(server, Ledger(seconds_left=lambda: 0.0)))
    assert error.kind == "limit" and not server.requests


@pytest.mark.parametrize("step", [silent(head=False), silent(), silent(after="so far"), endless()])
def test_cancelling_ends_at_once_and_closes_the_connection(step: Step) -> None:
    stop = threading.Event()

    def arrived(request: Request) -> Step:
        stop.set()
        return step

    with ModelServer([when(arrived)]) as server:
        client = model(server)
        began = time.monotonic()
        with pytest.raises(ModelError) as caught:
            client.ask(ASK, max_output=7000, cancelled=stop.is_set)
        assert time.monotonic() - began < 5
        assert server.hung_up.wait(10), "the connection stays open"
    assert (caught.value.kind, caught.value.status) == ("cancelled", 130)


def test_cancelling_ends_a_wait_between_attempts() -> None:
    waits: list[float] = []
    with ModelServer([status(429, retry_after=20)]) as server:
        client = ChatModel(endpoint(server), Ledger(), clock=Clock(sleep=waits.append))
        with pytest.raises(ModelError, match="cancelled"):
            client.ask(ASK, max_output=9, cancelled=lambda: len(waits) > 3)
    assert len(waits) == 4


def test_an_interrupt_leaves_no_connection_and_books_what_was_sent() -> None:
    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with ModelServer([silent(after="so far")]) as server:
        client = model(server)
        with pytest.raises(KeyboardInterrupt):
            client.ask(ASK, max_output=9, on_text=interrupt)
        assert server.hung_up.wait(10)
    assert client.ledger.estimated > 0 and client.ledger.left() is None


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
