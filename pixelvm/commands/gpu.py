"""``pxos gpu``: the service behind the mailbox, and what it would run on."""

from __future__ import annotations

import argparse
import errno
import os
import re
import stat
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.command import STATUS_OK, Outcome, Ui

if TYPE_CHECKING:
    from toolchain.mailbox.supervisor import Supervisor

HELP = "The GPU service behind the mailbox (shaders/MAILBOX.md): serve a kernel, or say what is there."
EXAMPLE = "pxos gpu info"
STAGE = "gpu"
DEVICES = ("auto", "gpu", "model")
_MILLISECONDS = 1000
_HEAP_MAX = 1 << 30
_ANSWER_MIN, _ANSWER_MAX = 0.01, 3600.0  # seconds; a dispatch alone takes a part of a millisecond
_SIZE = re.compile(r"([0-9]{1,12})([KMGkmg]?)")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments: one subcommand each."""
    both = argparse.ArgumentParser(add_help=False)
    for options, what in (
        (("--json",), "one JSON object on stdout"),
        (("-q", "--quiet"), "no progress on stderr"),
    ):
        both.add_argument(*options, action="store_true", default=argparse.SUPPRESS, help=what)
    both.add_argument("--adapter", metavar="NAME", help="a part of the adapter's name (see gpu info)")
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, what: str, example: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, parents=[both], help=what, description=what, epilog=f"example: pxos gpu {example}"
        )
        return made

    action("info", "the adapters, and the features and limits of the one in use", "info --json")
    _configure_serve(
        action(
            "serve",
            "serve the mailbox until the client halts it, or Ctrl-C",
            "serve --socket /tmp/mailbox --metrics 9100",
        )
    )


def _configure_serve(serve: argparse.ArgumentParser) -> None:
    serve.add_argument(
        "--socket", type=Path, metavar="PATH", help="where QEMU connects (default: in $XDG_RUNTIME_DIR)"
    )
    serve.add_argument(
        "--size", type=_size, default="4M", metavar="SIZE", help="shared memory (default 4M, a power of two)"
    )
    serve.add_argument(
        "--heap",
        type=_size,
        default="16M",
        metavar="SIZE",
        help="device heap (default 16M, a power of two)",
    )
    serve.add_argument(
        "--device",
        choices=DEVICES,
        default="auto",
        help="where commands run: a GPU, the model on the CPU, or whichever there is",
    )
    serve.add_argument("--metrics", type=int, metavar="PORT", help="Prometheus metrics on 127.0.0.1:PORT")
    serve.add_argument(
        "--spin", type=float, default=0.0002, metavar="S", help="look at most so long before sleeping"
    )
    serve.add_argument(
        "--answer", type=float, default=5.0, metavar="S", help="a command takes at most this (default 5)"
    )
    serve.add_argument("--uart", type=Path, metavar="FILE", help="what the kernel writes to the UART")
    serve.add_argument(
        "--uart-input",
        metavar="FILE",
        help="what the kernel reads from the UART: a file, a FIFO, or - for stdin",
    )
    serve.add_argument("--tell-ready", action="store_true", help="a line 'ready' on stdout when it is")


def _size(text: str) -> int:
    """``"4M"`` -> bytes; a power of two."""
    found = _SIZE.fullmatch(text)
    value = int(found[1]) * _UNITS[found[2].upper()] if found else 0
    if value <= 0 or value & (value - 1):
        raise argparse.ArgumentTypeError(f"'{text}': expected a power of two, e.g. 4M or 65536")
    return value


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """One action."""
    return _info(args) if args.action == "info" else _serve(args, ui)


# --- info ----------------------------------------------------------------------------------------------------


def _info(args: argparse.Namespace) -> Outcome:
    from toolchain.gpu import adapter
    from toolchain.mailbox import layers

    used = adapter.choose(args.adapter)
    there = adapter.adapters()
    data = {
        "action": "info",
        "adapter": _about(used),
        "adapters": [_about(each) for each in there],
        "features": sorted(used.features),
        "limits": dict(sorted(used.limits.items())),
        "shaders": list(layers.names()),
    }
    lines = [f"{used}", f"  driver: {used.driver}", f"  features: {', '.join(sorted(used.features))}"]
    lines += [f"  {name}: {value}" for name, value in sorted(used.limits.items())]
    lines += [f"also there: {other}" for other in there if str(other) != str(used)]
    return Outcome(STATUS_OK, data, "\n".join(lines))


def _about(adapter: Any) -> dict[str, Any]:
    return {
        "name": adapter.name,
        "driver": adapter.driver,
        "backend": adapter.backend,
        "kind": adapter.kind,
        "software": adapter.software,
    }


# --- serve ---------------------------------------------------------------------------------------------------


def _serve(args: argparse.Namespace, ui: Ui) -> Outcome:
    from toolchain.errors import InputError
    from toolchain.mailbox import metrics
    from toolchain.mailbox.attach import READY, qemu_arguments
    from toolchain.mailbox.supervisor import Supervisor

    if not 0 <= args.spin <= 1:
        raise InputError(f"--spin {args.spin:g}: 0 to 1 seconds", stage=STAGE)
    if not _ANSWER_MIN <= args.answer <= _ANSWER_MAX:
        raise InputError(f"--answer {args.answer:g}: {_ANSWER_MIN:g} to {_ANSWER_MAX:g} seconds", stage=STAGE)
    if args.adapter is not None and args.device == "model":
        raise InputError("--adapter: the model on the CPU has none; leave out one of the two", stage=STAGE)
    with ExitStack() as stack:
        options = _options(args, stack)
        supervisor = stack.enter_context(Supervisor(options, ui.step))
        if args.metrics is not None:
            port = stack.enter_context(metrics.served(args.metrics, lambda: _figures(supervisor)))
            ui.step(f"metrics: http://{metrics.ADDRESS}:{port}/metrics")
        supervisor.wait_ready()
        ui.note(f"QEMU: {' '.join(qemu_arguments(options.path))}")
        if args.tell_ready:
            sys.stdout.flush()
            os.write(1, READY)
        supervisor.run()
        counters = _counters(supervisor)
        data = {
            "action": "serve",
            "outcome": "halted",
            "socket": str(options.path),
            "restarts": supervisor.restarts,
            "epoch": supervisor.epoch,
            "counters": counters,
        }
    answered, failed = counters["commands"], counters["errors"]
    return Outcome(STATUS_OK, data, f"halted: {answered} commands answered, {failed} of them with an error")


def _options(args: argparse.Namespace, stack: ExitStack) -> Any:
    from toolchain import files, scratch
    from toolchain.errors import InputError
    from toolchain.mailbox import layout as m
    from toolchain.mailbox.attach import SOCKET_NAME
    from toolchain.mailbox.supervisor import Options

    if not m.HEAP_GRANULE <= args.heap <= _HEAP_MAX:
        raise InputError(f"--heap {args.heap} bytes: from {m.HEAP_GRANULE} to 1G", stage=STAGE)
    path = args.socket
    if path is None:
        parent = os.environ.get("XDG_RUNTIME_DIR")
        place = stack.enter_context(scratch.folder("pxos-gpu-", Path(parent) if parent else None))
        path = place / SOCKET_NAME
    written = 2
    if args.uart is not None:
        try:
            written = os.open(args.uart, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise files.unwritable(args.uart, error, stage=STAGE) from error
        stack.callback(os.close, written)
    typed = None if args.uart_input is None else _typed(args.uart_input, stack)
    return Options(
        path=path,
        size=args.size,
        device=args.device,
        adapter=args.adapter,
        heap=args.heap,
        answer_ms=round(args.answer * _MILLISECONDS),
        spin=args.spin,
        worker=(sys.executable, "-m", "pixelvm.mailbox"),
        console=(typed, written),
    )


def _typed(name: str, stack: ExitStack) -> int:
    """The descriptor of what is typed; a FIFO is open for writing too, so that it does not end with its writer."""
    from toolchain.errors import InputError

    if name == "-":
        return 0
    path = Path(name)
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        handle = os.open(path, (os.O_RDWR if stat.S_ISFIFO(mode) else os.O_RDONLY) | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(
            f"--uart-input {path}: cannot read: {error.strerror}; give a file, a FIFO or -", stage=STAGE
        ) from error
    stack.callback(os.close, handle)
    return handle


def _counters(supervisor: Supervisor) -> dict[str, int]:
    from toolchain.mailbox import layout as m

    return {row["name"].lower(): supervisor.counters[row["value"]] for row in m.rows()["counter"]}


def _figures(supervisor: Supervisor) -> dict[str, tuple[str, str, float]]:
    """For Prometheus: counters start at 0 with each epoch, which is a gauge of its own."""
    from toolchain.mailbox import layout as m

    found: dict[str, tuple[str, str, float]] = {
        "pxos_mailbox_up": ("gauge", "1 while the worker takes clients", float(supervisor.ready)),
        "pxos_mailbox_epoch": ("gauge", "starts of the worker", supervisor.epoch),
        "pxos_mailbox_restarts_total": ("counter", "workers started again", supervisor.restarts),
    }
    for row in m.rows()["counter"]:
        name, value = row["name"].lower(), supervisor.counters[row["value"]]
        if name.endswith("_max"):
            found[f"pxos_mailbox_{name}"] = ("gauge", row["is"], value)
        else:
            found[f"pxos_mailbox_{name}_total"] = ("counter", row["is"], value)
    return found
