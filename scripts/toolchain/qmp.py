"""A synchronous client of the QEMU Machine Protocol over a connected socket.

Owns the wire: JSON messages, replies matched to commands, events kept in order, a deadline on every wait. Never
starts or ends QEMU, and never blocks without a deadline. ``asyncio`` (and with it the ``qemu.qmp`` package) costs
40 ms to import, more than a whole direct boot; this costs nothing.
"""

from __future__ import annotations

import json
import select
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from toolchain.errors import ToolError

_MAX_MESSAGE = 64 << 20  # bytes of one message; a `tlb` dump is the longest that is asked for
_MAX_EVENTS = 1024
_CHUNK = 1 << 16
_FIRST_STATUS = 1  # ticket of the first query-status; 0 is the negotiation, whose answer nobody waits for
_MISSED = {"guest-panicked": "GUEST_PANICKED", "shutdown": "SHUTDOWN"}
ANSWER_SECONDS = 10.0  # a loaded machine answers within milliseconds; beyond this QEMU hangs


class QmpError(ToolError):
    """QEMU refused a command, closed the line, or did not answer in time."""

    def __init__(self, message: str) -> None:
        super().__init__(message, stage="qmp")


class QmpClosed(QmpError):
    """QEMU has gone: it exited, or was killed, before it answered."""


@dataclass(frozen=True, slots=True)
class Event:
    """An asynchronous event, e.g. ``GUEST_PANICKED`` or ``SHUTDOWN`` with ``data["reason"]``."""

    name: str
    data: dict[str, Any] = field(default_factory=dict)


class Qmp:
    """One QMP session. The capabilities are negotiated with the first command, without waiting for the greeting.

    Args:
        connection: a connected stream socket; it is owned from now on and made non-blocking.
    """

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self._socket = connection
        self._buffer = bytearray()
        self._replies: dict[int, dict[str, Any]] = {}
        self._next = 0
        self.events: deque[Event] = deque(maxlen=_MAX_EVENTS)
        self.closed = False
        with suppress(QmpClosed):
            self._send("qmp_capabilities", None)
            self._send("query-status", None)
        self.closed = (
            False  # a guest may be through before we come to this: what QEMU has sent still waits here
        )

    def fileno(self) -> int:
        """For ``select.poll``."""
        return self._socket.fileno()

    def close(self) -> None:
        """Close the socket; QEMU goes on without it."""
        self.closed = True
        self._socket.close()

    def pump(self) -> None:
        """Read whatever has arrived, without waiting; replies and events are kept for their takers."""
        while not self.closed:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.closed = True
                return
            self._buffer += data
            self._split()

    def execute(self, command: str, seconds: float = ANSWER_SECONDS, **arguments: Any) -> Any:
        """Run a command and wait for its answer.

        Args:
            command: e.g. ``"query-status"``.
            seconds: how long to wait for the answer.
            arguments: of the command; ``_`` in a name stands for ``-``.

        Returns:
            What QEMU returned (the value of ``return``).

        Raises:
            QmpError: QEMU refused, or did not answer in time.
            QmpClosed: QEMU has gone.
        """
        return self.batch([(command, arguments)], seconds)[0]

    def batch(
        self, commands: Sequence[tuple[str, Mapping[str, Any]]], seconds: float = ANSWER_SECONDS
    ) -> list[Any]:
        """Run commands, handed over at once, and wait for their answers; arguments and errors as for ``execute``.

        QEMU goes on to the next after one that it refused.
        """
        sent = []
        for command, arguments in commands:
            named = {name.replace("_", "-"): value for name, value in arguments.items()}
            sent.append((self._send(command, named or None), command))
        deadline = time.monotonic() + seconds
        replies = [(self._await(ticket, command, deadline), command) for ticket, command in sent]
        for reply, command in replies:
            if "error" in reply:
                raise QmpError(f"QEMU refused {command}: {reply['error'].get('desc', 'no reason given')}")
        return [reply.get("return") for reply, _ in replies]

    def wait_event(self, name: str, seconds: float) -> bool:
        """Wait for an event, which is taken; False when it does not come in time or QEMU has gone."""
        deadline = time.monotonic() + seconds
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while True:
            self.pump()
            for event in self.events:
                if event.name == name:
                    self.events.remove(event)
                    return True
            left = deadline - time.monotonic()
            if self.closed or left <= 0:
                return False
            poller.poll(left * 1000)

    def monitor(self, line: str, seconds: float = ANSWER_SECONDS) -> str:
        """Run a line of the human monitor (``info registers``, ``xp``...) and return its text."""
        return str(self.execute("human-monitor-command", seconds, command_line=line))

    def _send(self, command: str, arguments: dict[str, Any] | None) -> int:
        ticket = self._next
        self._next += 1
        message: dict[str, Any] = {"execute": command, "id": ticket}
        if arguments:
            message["arguments"] = arguments
        try:
            # A command is shorter than any socket buffer, so this is written at once or not at all.
            self._socket.sendall(json.dumps(message).encode() + b"\n")
        except OSError as error:
            self.closed = True
            raise QmpClosed(f"QEMU has gone before {command}: {error.strerror}") from error
        return ticket

    def _await(self, ticket: int, command: str, deadline: float) -> dict[str, Any]:
        poller = select.poll()
        poller.register(self._socket, select.POLLIN)
        while True:
            self.pump()
            if ticket in self._replies:
                return self._replies.pop(ticket)
            if self.closed:
                raise QmpClosed(f"QEMU has gone before it answered {command}")
            left = deadline - time.monotonic()
            if left <= 0:
                raise QmpError(f"QEMU did not answer {command} in time")
            poller.poll(left * 1000)

    def _split(self) -> None:
        *lines, rest = self._buffer.split(b"\n")
        if len(rest) > _MAX_MESSAGE:
            raise QmpError("QEMU sent a message without an end")
        self._buffer = bytearray(rest)
        for line in lines:
            if line.strip():
                self._take(bytes(line))

    def _take(self, line: bytes) -> None:
        try:
            message = json.loads(line)
        except ValueError as error:
            raise QmpError(f"QEMU sent what is no JSON: {line[:80]!r}") from error
        if not isinstance(message, dict):
            raise QmpError(f"QEMU sent no object: {line[:80]!r}")
        if "event" in message:
            self.events.append(Event(str(message["event"]), message.get("data") or {}))
        ticket = message.get("id")
        if ticket == _FIRST_STATUS:
            self._missed(message.get("return"))
        elif (
            isinstance(ticket, int) and ticket > _FIRST_STATUS and ("return" in message or "error" in message)
        ):
            self._replies[ticket] = message

    def _missed(self, status: Any) -> None:
        """Events before the negotiation are lost: a guest that died by then shows in the first status."""
        name = _MISSED.get(str(status.get("status"))) if isinstance(status, dict) else None
        if name and not any(event.name == name for event in self.events):
            self.events += [Event(name), Event("STOP")]
