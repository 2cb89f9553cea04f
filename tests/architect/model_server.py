"""A scripted model: a real HTTP server on loopback that speaks Chat Completions with SSE, well or badly, as told.

``ModelServer`` takes a script: one step for each request, in order (the last one is repeated when the script is over,
unless ``strict``). A step is a text (a good streamed answer), or one of the values below. Every request is kept in
``requests`` with its headers and body, so that a test can look at what was sent.

    with ModelServer(["hello", status(429, retry_after=0), answer("late")]) as server:
        ... Endpoint(server.url, "scripted") ...
"""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "scripted"


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    path: str
    headers: Mapping[str, str]
    body: Mapping[str, Any]
    at: float

    @property
    def prompt(self) -> str:
        """The text of all messages."""
        return "\n".join(str(message.get("content") or "") for message in self.body.get("messages", ()))

    @property
    def last(self) -> str:
        """The text of the last message."""
        return str(self.body["messages"][-1].get("content") or "")


Step = Callable[["Exchange"], None]


@dataclass
class Exchange:
    """One request being answered; steps write to it."""

    handler: BaseHTTPRequestHandler
    request: Request
    server: ModelServer

    def head(
        self, code: int = 200, kind: str = "text/event-stream", headers: Mapping[str, str] | None = None
    ) -> None:
        if "date" in (headers or {}):
            self.handler.send_response_only(code)  # without a date of its own
        else:
            self.handler.send_response(code)
        self.handler.send_header("content-type", kind)
        self.handler.send_header("connection", "close")
        for name, value in (headers or {}).items():
            self.handler.send_header(name, value)
        self.handler.end_headers()

    def write(self, text: str | bytes) -> None:
        self.handler.wfile.write(text.encode() if isinstance(text, str) else text)
        self.handler.wfile.flush()

    def event(self, data: Any) -> None:
        self.write(f"data: {data if isinstance(data, str) else json.dumps(data)}\n\n")

    def delta(self, text: str = "", *, finish: str | None = None, index: int = 0, **fields: Any) -> None:
        said = {**({"content": text} if text else {}), **fields}
        choice = {"index": index, "delta": said, "finish_reason": finish}
        self.event({**self._frame(), "choices": [choice]})

    def usage(self, prompt: int, completion: int) -> None:
        total = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        self.event({**self._frame(), "choices": [], "usage": total})

    def done(self) -> None:
        self.event("[DONE]")

    def json(self, data: Any, code: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self.head(code, "application/json", headers)
        self.write(json.dumps(data))

    def hold(self) -> None:
        """Say nothing until the client goes away or the server ends."""
        connection = self.handler.connection
        connection.settimeout(0.02)
        while not self.server.ending.is_set():
            try:
                if connection.recv(1, socket.MSG_PEEK) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        self.server.hung_up.set()

    def wants_usage(self) -> bool:
        return bool((self.request.body.get("stream_options") or {}).get("include_usage"))

    def tokens(self) -> int:
        """What a tokenizer of three bytes a token would count for the prompt."""
        return 8 + len(self.request.prompt.encode()) // 3

    def _frame(self) -> dict[str, Any]:
        return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}


# --- steps -------------------------------------------------------------------------------------------------------


def answer(
    text: str,
    *,
    finish: str = "stop",
    usage: tuple[int, int] | str | None = "auto",
    piece: int = 24,
    delay: float = 0.0,
    thought: str = "",
    calls: Sequence[tuple[str, str]] = (),
    refusal: str = "",
) -> Step:
    """A good streamed answer; ``usage`` None leaves the count out."""

    def step(exchange: Exchange) -> None:
        exchange.head()
        exchange.delta(role="assistant")
        if thought:
            exchange.delta(reasoning_content=thought)
        for start in range(0, len(text), piece):
            exchange.delta(text[start : start + piece])
            if delay:
                exchange.server.ending.wait(delay)
        for number, (name, arguments) in enumerate(calls):
            half = len(arguments) // 2
            first = {"index": number, "id": f"call_{number}", "type": "function",
                     "function": {"name": name, "arguments": arguments[:half]}}  # fmt: skip
            exchange.delta(tool_calls=[first])
            exchange.delta(tool_calls=[{"index": number, "function": {"arguments": arguments[half:]}}])
        if refusal:
            exchange.delta(refusal=refusal)
        exchange.delta(finish="tool_calls" if calls else finish)
        if usage == "auto":
            if exchange.wants_usage():
                exchange.usage(exchange.tokens(), 1 + len(text) // 3)
        elif isinstance(usage, tuple):
            exchange.usage(*usage)
        exchange.done()

    return step


def status(
    code: int,
    message: str = "scripted failure",
    *,
    retry_after: float | str | None = None,
    error: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Step:
    """An HTTP error with OpenAI's body."""
    given = dict(headers or {})
    if retry_after is not None:
        given["retry-after"] = str(retry_after)
    body = {"error": {"message": message, "type": "scripted", **(error or {})}}
    return lambda exchange: exchange.json(body, code, given)


def cut(text: str, *, reset: bool = False) -> Step:
    """A stream that breaks off after ``text``: the connection closes in the midst of an event."""

    def step(exchange: Exchange) -> None:
        exchange.handler.send_response(200)
        exchange.handler.send_header("content-type", "text/event-stream")
        exchange.handler.send_header("transfer-encoding", "chunked")
        exchange.handler.end_headers()

        def chunk(data: str) -> None:
            exchange.write(f"{len(data.encode()):x}\r\n{data}\r\n")

        frame = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        if text:
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
            chunk(f"data: {json.dumps({**frame, 'choices': [choice]})}\n\n")
        exchange.write("40\r\ndata: {")  # an announced chunk that never comes whole
        if reset:
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            exchange.handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        exchange.handler.close_connection = True

    return step


def endless(text: str = "and so on ") -> Step:
    """An answer that never stops, whatever ``max_tokens`` says."""

    def step(exchange: Exchange) -> None:
        exchange.head()
        with suppress(OSError):
            while not exchange.server.ending.is_set():
                exchange.delta(text)
        exchange.server.hung_up.set()

    return step


def endless_line() -> Step:
    """One event without an end."""

    def step(exchange: Exchange) -> None:
        exchange.head()
        with suppress(OSError):
            exchange.write('data: {"choices": [{"index": 0, "delta": {"content": "')
            while not exchange.server.ending.is_set():
                exchange.write("x" * 65536)
        exchange.server.hung_up.set()

    return step


def raw(*events: str, kind: str = "text/event-stream") -> Step:
    """Whatever is said, as it is said."""

    def step(exchange: Exchange) -> None:
        exchange.head(kind=kind)
        for event in events:
            exchange.write(event)

    return step


def empty_choices() -> Step:
    """A stream whose choices are all empty."""

    def step(exchange: Exchange) -> None:
        exchange.head()
        exchange.event({**exchange._frame(), "choices": []})
        exchange.done()

    return step


def silent(*, after: str = "", head: bool = True) -> Step:
    """Says ``after`` and then nothing more, the connection open."""

    def step(exchange: Exchange) -> None:
        if head:
            exchange.head()
        if after:
            exchange.delta(after)
        exchange.hold()

    return step


def plain(text: str) -> Step:
    """A whole answer as one JSON object: a server that does not stream."""

    def step(exchange: Exchange) -> None:
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": exchange.tokens(), "completion_tokens": 1 + len(text) // 3}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        exchange.json({"id": "c", "object": "chat.completion", "choices": [choice], "usage": usage})

    return step


def drop() -> Step:
    """Closes the connection without a word."""

    def step(exchange: Exchange) -> None:
        exchange.handler.close_connection = True

    return step


def when(choose: Callable[[Request], Step | str]) -> Step:
    """A step that depends on the request."""

    def step(exchange: Exchange) -> None:
        chosen = choose(exchange.request)
        (answer(chosen) if isinstance(chosen, str) else chosen)(exchange)

    return step


# --- the server --------------------------------------------------------------------------------------------------


@dataclass
class ModelServer:
    """The server; a context manager.

    Attributes:
        requests: POSTed questions, in order.
        url: the base URL for a client.
        hung_up: set when a client was seen to leave a held or endless answer.
        gets: path -> JSON for GET requests; ``/v1/models`` has one model unless told otherwise.
        problems: exceptions of steps; a test that ends looks at them.
    """

    script: Sequence[Step | str]
    strict: bool = False
    gets: dict[str, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    problems: list[BaseException] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ending = threading.Event()
        self.hung_up = threading.Event()
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: Any) -> None:
                pass

            def do_GET(self) -> None:
                outer._get(self)

            def do_POST(self) -> None:
                outer._post(self)

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass  # a client that goes away is what many tests are about

        self._server = Server(("127.0.0.1", 0), Handler)
        self.gets.setdefault("/v1/models", {"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ModelServer:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ending.set()
        self._server.shutdown()
        self._server.server_close()
        if self.problems:
            raise self.problems[0]

    def _get(self, handler: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.asked.append(Request(handler.path, headers, {}, time.monotonic()))
        found = self.gets.get(handler.path)
        exchange = Exchange(handler, self.asked[-1], self)
        exchange.json(
            found if found is not None else {"error": "no such page"}, 404 if found is None else 200
        )
        handler.close_connection = True

    def _post(self, handler: BaseHTTPRequestHandler) -> None:
        size = int(handler.headers.get("content-length", 0))
        body = json.loads(handler.rfile.read(size) or b"{}")
        headers = {name.lower(): value for name, value in handler.headers.items()}
        with self._lock:
            number = len(self.requests)
            self.requests.append(Request(handler.path, headers, body, time.monotonic()))
            request = self.requests[-1]
        handler.close_connection = True
        if number >= len(self.script) and self.strict:
            step: Step | str = status(500, "the script is over")
        else:
            step = self.script[min(number, len(self.script) - 1)]
        try:
            (answer(step) if isinstance(step, str) else step)(Exchange(handler, request, self))
        except OSError:
            self.hung_up.set()
        except BaseException as error:
            self.problems.append(error)
