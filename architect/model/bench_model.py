"""``pxos bench model``: what a model costs before it answers: start to first request, memory, start of a command.

Owns the conditions: a server on loopback that answers at once and notes when each request came, every program started
anew, ours and the bare ``openai`` client in turn. Says nothing of any model: there is none in it.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from architect import corpus
from toolchain import measure
from toolchain.command import Ui
from toolchain.errors import ToolError
from toolchain.scratch import folder as scratch_folder

STAGE = "bench"
ROUNDS = 7
START_ROUNDS = 9
SECONDS_MAX = 60.0
FIX_SECONDS_MAX = 300.0
BUGS = Path(__file__).resolve().parents[2] / "tests/bugs"
BUG = "seed-bar0-unmapped"  # what the repair is asked about
MODEL = "bench"
QUESTION = "Which routine maps BAR0?"
# What is to be reached: the first request against the bare client's, memory, the start of a command.
RATIO_MAX, MEMORY_MAX_MB, START_MAX_S = 1.3, 120.0, 0.3
_MIB = 1 << 10  # ru_maxrss counts KiB (getrusage(2))
BARE = """
import sys
from openai import OpenAI
client = OpenAI(base_url=sys.argv[1], api_key="none", max_retries=0)
messages = [{"role": "user", "content": sys.argv[3]}]
stream = client.chat.completions.create(model=sys.argv[2], messages=messages, max_tokens=64, stream=True)
print("".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices))
"""
_ANSWER = "page_map_mmio maps it."


@dataclass
class _Server:
    """Chat Completions on loopback; ``came`` holds when each question arrived, by ``time.monotonic``.

    ``look`` is called before a question is answered.
    """

    came: list[float] = field(default_factory=list)
    look: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        came = self.came

        def asked() -> None:
            self.look()

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None:
                pass

            def do_POST(self) -> None:
                came.append(time.monotonic())
                self.rfile.read(int(self.headers.get("content-length", 0)))
                asked()
                self.send_response(200)
                self.send_header("content-type", "text/event-stream")
                self.end_headers()
                frame = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": MODEL}
                said = {"index": 0, "delta": {"content": _ANSWER}, "finish_reason": "stop"}
                counted = {"prompt_tokens": 4000, "completion_tokens": 8, "total_tokens": 4008}
                for event in ({**frame, "choices": [said]}, {**frame, "choices": [], "usage": counted}):
                    self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
                self.wfile.write(b"data: [DONE]\n\n")

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}/v1"

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()


@dataclass(frozen=True, slots=True)
class _Run:
    """One program: seconds to its first request (or to its end), CPU seconds, peak memory in MB."""

    seconds: float
    cpu: float
    memory: float


def _ran(command: list[str], environment: Mapping[str, str], server: _Server | None) -> _Run:
    """Start a program and see it through."""
    count = len(server.came) if server else 0
    began = time.monotonic()
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
    ) as process:
        timer = threading.Timer(SECONDS_MAX, process.kill)
        timer.start()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        timer.cancel()
        errors = process.stderr.read().decode("utf-8", "replace") if process.stderr else ""
    ended = time.monotonic()
    if process.returncode != 0 or (server is not None and len(server.came) == count):
        last = (errors.strip().splitlines() or ["it asked nothing"])[-1]
        raise ToolError(
            f"{' '.join(command[:4])}: status {process.returncode}: {last}",
            stage=STAGE,
            command=command,
            returncode=process.returncode,
            output_tail=errors[-2000:],
        )
    seconds = (server.came[count] if server else ended) - began
    return _Run(seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / _MIB)


def run(ui: Ui, kernel: Path) -> dict[str, Any]:
    """Measure; ``machine`` and ``rows`` as ``measure.row`` makes them.

    Raises:
        ToolError: a program failed.
    """
    server = _Server()
    try:
        with scratch_folder("pxos-bench-model-") as scratch:
            return _measured(ui, kernel, server, scratch)
    finally:
        server.close()


def _measured(ui: Ui, kernel: Path, server: _Server, scratch: Path) -> dict[str, Any]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PXOS_", "OPENAI_"))},
        "XDG_DATA_HOME": str(scratch),
        "XDG_CONFIG_HOME": str(scratch),
    }
    pxos = [sys.executable, "-m", "cli"]
    model = ["--model-url", server.url, "--model", MODEL, "--model-context", "16000"]
    chat = [*pxos, "chat", "-q", "--kernel", str(kernel), "--out", str(scratch / "chat"), *model, QUESTION]
    bare = [sys.executable, "-c", BARE, server.url, MODEL, QUESTION]
    first: dict[str, list[_Run]] = {"ours": [], "openai": []}

    def measured(name: str, command: list[str]) -> Callable[[], float]:
        def once() -> float:
            first[name].append(_ran(command, environment, server))
            return first[name][-1].seconds

        return once

    ui.step("start to the first request, ours and the bare openai client in turn")
    runs = {"ours": measured("ours", chat), "openai": measured("openai", bare)}
    times = measure.interleave(runs, ROUNDS, tick=ui.progress)
    memory = {name: [one.memory for one in found[-ROUNDS:]] for name, found in first.items()}
    cpu = {name: _median_cpu(found[-ROUNDS:]) for name, found in first.items()}
    ui.step("start of a command")
    starts: dict[str, list[_Run]] = {name: [] for name in _STARTS}

    def started(name: str) -> Callable[[], float]:
        def once() -> float:
            starts[name].append(_ran([*pxos, *_STARTS[name]], environment, None))
            return starts[name][-1].seconds

        return once

    measure.interleave({name: started(name) for name in _STARTS}, START_ROUNDS)
    rows = [
        measure.row(
            "start to first request",
            times["ours"],
            "openai client",
            times["openai"],
            "s",
            cpu_ratio=round(cpu["ours"] / cpu["openai"], 3),
            reach=RATIO_MAX,
            reach_of="ratio",
        ),
        measure.row(
            "peak memory", memory["ours"], "openai client", memory["openai"], "MB", reach=MEMORY_MAX_MB
        ),
        _fix_row(ui, kernel, server, scratch, environment, model),
        *(_start_row(name, found[-START_ROUNDS:]) for name, found in starts.items()),
    ]
    return {"machine": measure.machine(), "rows": rows}


def _fix_row(
    ui: Ui, kernel: Path, server: _Server, scratch: Path, environment: Mapping[str, str], model: Sequence[str]
) -> dict[str, Any]:
    """Memory of a repair by a model when it asks for the first time: of the process that asks.

    ``diagnosis`` is the most that one of its workers took until then: they run contracts and boots, as without a model.
    """
    ui.step("a repair by a model, to its first request")
    bug = next(bug for bug in corpus.load(BUGS) if bug.id == BUG)
    tree = corpus.plant(bug, kernel, scratch / "broken")
    words = ["fix", "-q", "--engine", "llm", "--kernel", str(tree), "--out", str(scratch / "fix")]
    command = [sys.executable, "-m", "cli", *words, *model]
    peaks: list[tuple[float, float]] = []
    with subprocess.Popen(
        command,
        env=dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
    ) as process:

        def look() -> None:
            if not peaks:
                workers = [_peak(child) for child in _children(process.pid)]
                peaks.append((_peak(process.pid), max(workers, default=0.0)))

        server.look = look
        try:
            process.wait(FIX_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
        server.look = lambda: None
    if not peaks:
        raise ToolError(f"pxos {' '.join(words)}: it asked nothing", stage=STAGE, command=command)
    ours, workers = peaks[0]
    return measure.row(
        "fix: peak memory of who asks", [ours], "", [], "MB", diagnosis=workers, reach=MEMORY_MAX_MB
    )


def _peak(pid: int) -> float:
    """MB that a process has held at most; 0 where it has gone (proc(5), VmHWM in KiB)."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return round(int(line.split()[1]) / _MIB, 2)
    return 0.0


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


_STARTS: Mapping[str, list[str]] = {
    "--help": ["--help"],
    "fix --help": ["fix", "--help"],
    "chat --help": ["chat", "--help"],
    "lessons list": ["lessons", "list"],
}


def _start_row(name: str, runs: Sequence[_Run]) -> dict[str, Any]:
    seconds = [one.seconds for one in runs]
    return measure.row(f"start: pxos {name}", seconds, "", [], "s", cpu=_median_cpu(runs), reach=START_MAX_S)


def _median_cpu(runs: Sequence[_Run]) -> float:
    return round(statistics.median(one.cpu for one in runs), 4)
