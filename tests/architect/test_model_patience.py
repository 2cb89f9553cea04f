"""One retry layer with one deadline: what is asked again and when, what waits, and how it is ended."""

from __future__ import annotations

import threading
import time

import pytest

from architect.model.client import ChatModel
from architect.model.ledger import Ledger
from architect.model.patience import Clock, Patience
from architect.model.types import ModelError
from tests.architect.model_client import ASK, Time, ask, endpoint, fails, failure, model
from tests.architect.model_server import (
    ModelServer,
    Request,
    Step,
    answer,
    empty_choices,
    endless,
    silent,
    status,
    when,
)

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
