"""The QMP client against a scripted server on the other end of a socket pair."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from toolchain.qmp import Event, Qmp, QmpClosed, QmpError

GREETING: dict[str, Any] = {"QMP": {"version": {}, "capabilities": []}}


@contextmanager
def served(*answers: Any, status: str = "running") -> Iterator[Qmp]:
    """A server that negotiates, then answers each command with the next of ``answers``.

    An answer is the value to return, an exception's text as ``("error", text)``, bytes to send as they are, or None
    to hang up.
    """
    ours, theirs = socket.socketpair()

    def serve() -> None:
        lines = theirs.makefile("rb")

        def send(message: Any) -> None:
            theirs.sendall(json.dumps(message).encode() + b"\r\n")

        with theirs, lines:
            send(GREETING)
            send({"return": {}, "id": json.loads(lines.readline())["id"]})
            send({"return": {"status": status}, "id": json.loads(lines.readline())["id"]})
            for answer in answers:
                line = lines.readline()
                if not line or answer is None:
                    return
                ticket = json.loads(line)["id"]
                if isinstance(answer, bytes):
                    theirs.sendall(answer)
                elif isinstance(answer, tuple):
                    send({"error": {"class": "GenericError", "desc": answer[1]}, "id": ticket})
                else:
                    send({"event": "RESUME", "data": {"n": 1}})
                    send({"return": answer, "id": ticket})
            lines.read()

    thread = threading.Thread(target=serve)
    thread.start()
    client = Qmp(ours)
    try:
        yield client
    finally:
        client.close()
        thread.join()


def test_answers_and_events_are_told_apart() -> None:
    with served({"status": "paused"}, "RAX=1") as client:
        assert client.execute("query-status") == {"status": "paused"}
        assert client.monitor("info registers") == "RAX=1"
        assert list(client.events) == [Event("RESUME", {"n": 1})] * 2
        assert client.wait_event("RESUME", 0) and client.wait_event("RESUME", 0)
        assert not client.wait_event("RESUME", 0)


def test_a_refusal_carries_qemus_words() -> None:
    with served(("error", "no such thing")) as client, pytest.raises(QmpError, match="no such thing"):
        client.execute("nonsense")


def test_commands_that_are_handed_over_at_once() -> None:
    with served({"a": 1}, ("error", "no such device"), 3, 4) as client:
        with pytest.raises(QmpError, match="QEMU refused two: no such device"):
            client.batch([("one", {}), ("two", {"node_name": "x"}), ("three", {})])
        assert client.execute("four") == 4, "the answers behind a refusal were taken"
    with served(1, 2, None) as client:
        assert client.batch([("one", {}), ("two", {})]) == [1, 2]
        with pytest.raises(QmpClosed):
            client.batch([("three", {}), ("four", {})])


def test_a_qemu_that_hangs_up() -> None:
    with served(None) as client:
        with pytest.raises(QmpClosed):
            client.execute("query-status")
        assert client.closed
        with pytest.raises(QmpClosed):
            client.execute("query-status")
        assert not client.wait_event("STOP", 5)


def test_a_qemu_that_does_not_answer() -> None:
    with served(b"") as client, pytest.raises(QmpError, match="in time"):
        client.execute("query-status", 0.05)


@pytest.mark.parametrize("junk", [b"not json\n", b"[1]\n", b"\xff\xfe\n"])
def test_junk_is_refused(junk: bytes) -> None:
    with served(junk) as client, pytest.raises(QmpError):
        client.execute("query-status")


@pytest.mark.parametrize(
    ("status", "event"), [("guest-panicked", "GUEST_PANICKED"), ("shutdown", "SHUTDOWN")]
)
def test_a_death_before_the_negotiation_is_not_missed(status: str, event: str) -> None:
    with served({}, status=status) as client:
        client.execute("query-status")
        assert [e.name for e in client.events][:2] == [event, "STOP"]


def test_a_qemu_that_was_through_before_it_was_asked_tells_what_it_had_to_say() -> None:
    """An empty kernel ends within milliseconds: on a busy host nobody has looked by then."""
    ours, theirs = socket.socketpair()
    rows = [GREETING, {"event": "SHUTDOWN", "data": {"guest": True, "reason": "guest-shutdown"}}]
    with theirs:
        theirs.sendall(b"".join(json.dumps(row).encode() + b"\r\n" for row in rows))
    client = Qmp(ours)
    assert not client.closed and client.wait_event("SHUTDOWN", 0)
    with pytest.raises(QmpClosed):
        client.execute("query-status")
    assert client.closed
    client.close()
