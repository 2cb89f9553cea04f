"""One request on the wire: sent by a thread of its own, read piece by piece, ended at any moment.

Owns the SDK (the ``openai`` package, imported when the first request is made), the headers that leave this machine, and
the sockets. A thread reads, so that a name server that hangs, a peer that sends nothing and Ctrl-C are all the same:
the caller stops waiting and the sockets are shut. Decides nothing: limits and retries are the client's.
"""

from __future__ import annotations

import gc
import ipaddress
import json
import queue
import socket
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

from architect.model import complaints
from architect.model.pieces import Box, Characters, Piece, piece
from architect.model.types import Endpoint, ModelError
from architect.model.unpacking import HEAD_BYTES, UnknownPackingError, readable, unpacked

AGENT = "pxos"
SLACK_SECONDS = 5.0  # by which the socket's own time-outs come after the caller's
# What of a request's headers may leave: nothing about this machine, its user or their environment.
_HEADERS = frozenset(
    ("host", "accept", "accept-encoding", "connection", "content-type", "content-length", "authorization")
)
_JSON = "application/json"
_RESET = struct.pack("ii", 1, 0)  # struct linger: on, no seconds


class End:
    """The answer is over."""


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage collection meanwhile: the SDK makes a thousand classes, and looking through them costs a sixth."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


class Wire:
    """The way to one endpoint; makes an ``Exchange`` for each request."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.answered = False
        self._lock = threading.Lock()
        self._client: Any = None
        self._mine = threading.local()

    def send(self, body: Mapping[str, Any]) -> Exchange:
        """Begin a request."""
        return Exchange(self, body)

    def client(self) -> Any:
        """The SDK's client, made at the first request."""
        with self._lock:
            if self._client is None:
                self._client = self._make()
            return self._client

    def _make(self) -> Any:
        with _uncollected():
            import httpx2
            import openai

        limit = self.endpoint.deadline + SLACK_SECONDS
        local = is_local(self.endpoint.base_url)
        plain = local and self.endpoint.base_url.startswith("http://")
        http = httpx2.Client(
            verify=not plain,  # the authorities' certificates are read only where there is something to verify
            timeout=httpx2.Timeout(limit),
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            follow_redirects=False,  # a key goes where the person sent it, and nowhere else
            trust_env=not local,  # a proxy is not for servers of this machine
            event_hooks={"request": [self._on_request], "response": [self._on_response]},
        )
        return openai.OpenAI(
            api_key=self.endpoint.key or "none",
            base_url=self.endpoint.base_url,
            max_retries=0,
            timeout=httpx2.Timeout(limit),
            http_client=http,
        )

    def _on_request(self, request: Any) -> None:
        """Only what a request needs leaves this machine."""
        for name in {name.lower() for name in request.headers}:
            if name not in _HEADERS or (name == "authorization" and not self.endpoint.key):
                del request.headers[name]
        request.headers["user-agent"] = AGENT
        request.headers["accept-encoding"] = "identity"  # nothing that unpacks to more than it is
        if self.endpoint.key:
            request.headers["authorization"] = f"Bearer {self.endpoint.key}"
        exchange: Exchange | None = getattr(self._mine, "exchange", None)
        if exchange is not None:
            request.extensions = {**request.extensions, "trace": exchange.trace}

    def _on_response(self, response: Any) -> None:
        exchange: Exchange | None = getattr(self._mine, "exchange", None)
        if exchange is not None:
            packing = response.headers.pop("content-encoding", "")  # unpacked here, within bounds
            response.stream = _guarded(response.stream, exchange, packing)

    def enter(self, exchange: Exchange) -> None:
        """This thread works for ``exchange``."""
        self._mine.exchange = exchange


class Exchange:
    """One request under way.

    Attributes:
        queue: ``Piece`` after ``Piece``, then ``End`` or a ``ModelError``.
        accepted: the server began to answer with success, so it may charge for it.
        received: bytes of the answer so far, unpacked.
        head: the first of them.
        over: nobody waits for more.
    """

    def __init__(self, wire: Wire, body: Mapping[str, Any]) -> None:
        self.queue: queue.SimpleQueue[Piece | End | ModelError] = queue.SimpleQueue()
        self.accepted = False
        self.received = 0
        self.head = b""
        self.over = False
        self._wire = wire
        self._body = dict(body)
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._work, name="model-request", daemon=True).start()

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Remembers the sockets, so that a read that waits can be ended."""
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            found = info["return_value"].get_extra_info("socket")
            if isinstance(found, socket.socket):
                self._sockets.append(found)
                if self.over:
                    self.abort()

    def keep(self, data: bytes) -> None:
        """The first bytes of the answer are kept."""
        self.head += data[: HEAD_BYTES - len(self.head)]

    def abort(self) -> None:
        """End it: whoever reads wakes up, and the server sees the connection go.

        The connection is reset when it is closed: a server that fills a window which nobody reads would not learn of
        its end for a minute.
        """
        self.over = True
        for found in self._sockets:
            with suppress(OSError, ValueError):
                found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                found.shutdown(socket.SHUT_RDWR)

    def _work(self) -> None:
        self._wire.enter(self)
        try:
            self._converse()
        except ModelError as error:
            self.queue.put(error)
        except Exception as error:
            self.queue.put(self._made(error))
        else:
            self.queue.put(End())

    def _converse(self) -> None:
        stream = self._wire.client().chat.completions.create(**self._body)
        self.accepted = self._wire.answered = True
        kind = stream.response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == _JSON:
            self._whole(stream.response)
            return
        characters, choices = Characters(), 0
        for chunk in stream:
            if self.over:
                stream.close()
                return
            found = piece(chunk)
            choices += found.choices
            self.queue.put(replace(found, text=characters.of(found.text)))
        if not choices:
            self._no_stream()

    def _no_stream(self) -> None:
        """What came was no answer in events: an object under another name, an error, a page for browsers."""
        text = self.head.decode("utf-8", "replace").strip()
        with suppress(ValueError, RecursionError):
            self._object(json.loads(text))
            return
        where = complaints.place(self._wire.endpoint)
        if text.startswith("<"):
            raise ModelError(
                f"{where}: a web page, no answer of a model; an OpenAI-compatible address mostly ends in /v1 "
                "(--model-url)",
                "provider",
            )
        told = complaints.redact(complaints.printable(text, 160), self._wire.endpoint.key)
        raise ModelError(
            f"{where}: an answer without choices{f': {told}' if told else ''}", "format", retryable=True
        )

    def _whole(self, response: Any) -> None:
        """A server that does not stream answers with one object."""
        try:
            data = json.loads(response.read())
        except (ValueError, RecursionError) as error:
            where = complaints.place(self._wire.endpoint)
            raise ModelError(f"{where}: its answer is no JSON", "format", retryable=True) from error
        self._object(data)

    def _object(self, data: Any) -> None:
        """A whole answer, or an error with status 200."""
        if isinstance(data, dict) and data.get("error"):
            told = data["error"].get("code") if isinstance(data["error"], dict) else None
            code = told if isinstance(told, int) and 400 <= told < 600 else 404
            raise complaints.of_status(code, {}, data, self._wire.endpoint)
        found = piece(Box(data))
        self.queue.put(replace(found, text=Characters().of(found.text)))

    def _made(self, error: Exception) -> ModelError:
        """The SDK's exceptions as ours."""
        import openai

        endpoint = self._wire.endpoint
        if isinstance(error, openai.APIStatusError):
            self._wire.answered = True
            headers = {name.lower(): value for name, value in error.response.headers.items()}
            body = error.body if error.body is not None else error.response.text
            return complaints.of_status(error.status_code, headers, body, endpoint)
        if isinstance(error, openai.APITimeoutError):
            where = complaints.place(endpoint)
            return ModelError(f"{where}: no answer in time", "provider", retryable=True)
        if isinstance(error, openai.APIConnectionError | OSError):
            return complaints.of_connection(error, endpoint, answered_before=self._wire.answered)
        if isinstance(error, openai.APIError):  # an error in the midst of a stream
            found = complaints.of_status(500, {}, {"error": error.body or str(error)}, endpoint)
            found.code = None
            return found
        if isinstance(error, UnknownPackingError | zlib.error):
            where = complaints.place(endpoint)
            told = complaints.printable(
                f"its answer is packed, though no packing was asked for: {error}", 160
            )
            return ModelError(f"{where}: {told}", "format")
        if type(error).__module__.startswith(("httpx2", "httpcore2", "h11")):
            return complaints.of_connection(error, endpoint, answered_before=self._wire.answered)
        told = complaints.redact(complaints.printable(f"{type(error).__name__}: {error}", 160), endpoint.key)
        where = complaints.place(endpoint)
        return ModelError(f"{where}: its answer cannot be read: {told}", "format", retryable=True)


def _guarded(stream: Any, exchange: Exchange, packing: str) -> Any:
    """The bytes of an answer, unpacked and counted, and no more of them once the exchange is over.

    A socket that was shut still gives what its peer goes on to send; only one that is closed makes it stop.
    """
    import httpx2

    class Guard(httpx2.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            return readable(counted(), exchange.keep)

        def close(self) -> None:
            stream.close()

    def counted() -> Iterator[bytes]:
        for data in unpacked(stream, packing):
            exchange.received += len(data)
            if exchange.over:
                raise httpx2.ReadError("nobody waits for more")
            yield data

    return Guard()


def is_local(base_url: str) -> bool:
    """Whether an address is of this machine."""
    host = urlsplit(base_url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
