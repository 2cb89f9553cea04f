"""The service's figures for Prometheus: text exposition format 0.0.4 over HTTP, on the loopback alone.

Owns: the port and the text. Never changes anything.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from toolchain.errors import InputError

STAGE = "mailbox"
ADDRESS = "127.0.0.1"
_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PORT_MAX = 65535
_SECONDS = 5.0  # for one request

Figures = Callable[[], Mapping[str, tuple[str, str, float]]]


def text(figures: Mapping[str, tuple[str, str, float]]) -> str:
    """Name -> (type, help, value) as exposition text."""
    lines = []
    for name, (kind, help_text, value) in figures.items():
        shown = str(int(value)) if float(value).is_integer() else repr(value)
        lines += [f"# HELP {name} {help_text}", f"# TYPE {name} {kind}", f"{name} {shown}"]
    return "\n".join([*lines, ""])


@contextmanager
def served(port: int, figures: Figures) -> Iterator[int]:
    """Answer ``GET /metrics`` while the block runs; gives the port (asked for 0: a free one).

    Raises:
        InputError: the port is taken or none.
    """
    if not 0 <= port <= _PORT_MAX:
        raise InputError(f"--metrics {port}: a port from 0 to {_PORT_MAX}", stage=STAGE)

    class Handler(BaseHTTPRequestHandler):
        timeout = _SECONDS

        def do_GET(self) -> None:
            if self.path.partition("?")[0] != "/metrics":
                self.send_error(404)
                return
            body = text(figures()).encode()
            self.send_response(200)
            self.send_header("Content-Type", _TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Requests are not worth a line."""

    try:
        server = ThreadingHTTPServer((ADDRESS, port), Handler)
    except OSError as error:
        raise InputError(f"--metrics {port}: {error.strerror}; choose another port", stage=STAGE) from error
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(_SECONDS)
