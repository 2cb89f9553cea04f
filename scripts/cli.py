"""The ``pxos`` command: a table of subcommands, exit statuses and ``--json``, and nothing else.

Each subcommand lives in a module named in ``COMMANDS`` and is imported only when it is called: the start of
``pxos`` costs the parser of one command. ``toolchain.command`` says what such a module provides.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from toolchain.command import (
    STATUS_INTERNAL,
    STATUS_INTERRUPTED,
    STATUS_INVALID,
    STATUS_OK,
    Outcome,
    Ui,
    harmless,
)
from toolchain.errors import PxError
from toolchain.interrupts import uninterrupted
from toolchain.process import Ended, Process, leave, say

COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("toolchain.commands.build", "assemble, link, make the ELF and the ISO"),
    "init": ("toolchain.commands.init", "write a pxos.toml for a kernel of any make, by looking at its tree"),
    "boot": ("toolchain.commands.boot", "boot and wait for PXREADY, a fault or the deadline"),
    "run": ("toolchain.commands.run", "boot with the serial line on this terminal"),
    "debug": ("toolchain.commands.debug", "boot halted, with gdb attached and the symbols loaded"),
    "fault": ("toolchain.commands.fault", "a fault report from saved logs"),
    "asm": ("toolchain.commands.asm", "assemble one source and show its bytes"),
    "disasm": ("toolchain.commands.disasm", "disassemble bytes, an ELF or a routine of it"),
    "check": ("architect.commands.check", "static checks of a kernel tree, without a boot"),
    "fix": ("architect.commands.fix", "repair a kernel tree and prove the repair by booting it"),
    "evolve": ("architect.commands.evolve", "better prompts for the model, accepted by measurement"),
    "replay": ("architect.commands.replay", "a recorded run step by step, or again with its answers"),
    "chat": ("architect.commands.chat", "talk with the architect about a kernel"),
    "journal": ("architect.commands.journal", "what was tried, learnt and accepted, from the evidence"),
    "lessons": ("architect.commands.lessons", "what the architect has learnt"),
    "bugs": ("architect.commands.bugs", "the corpus of seeded kernel bugs"),
    "bench": ("architect.commands.bench", "measure, side by side with a peer in the same run"),
    "vm": ("pixelvm.commands.vm", "the Pixel VM: programs that are pictures"),
    "pixel": ("pixelvm.commands.pixel", "God Pixel: one pixel that stands for 16,384"),
    "gpu": ("pixelvm.commands.gpu", "the GPU service behind the mailbox"),
    "demo": ("architect.commands.demo", "the main job on real input: plant bugs, repair them"),
}
INTERACTIVE = ("run", "debug", "chat")  # a person is at the other end: no --json
PIPE_BYTES = 1 << 14  # well below what a pipe holds
_LIBRARIES = ("keystone", "capstone", "unicorn", "elftools")


class _Usage(Exception):
    """A command line that argparse refused."""


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that a bad command line is one line and status 2 like any other error."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})
        self.register("type", Path, _path)
        self._nested = False

    def add_subparsers(self, **options: Any) -> Any:
        self._nested = True
        return super().add_subparsers(**options)

    def parse(self, words: list[str]) -> argparse.Namespace:
        """Options before, between and behind the other arguments, where those are all of this command."""
        whole = self._nested or "--" in words  # the intermixed form forgets what "--" means
        return self.parse_args(words) if whole else self.parse_intermixed_args(words)

    def _print_message(self, message: str, file: object = None) -> None:
        _explain(message.rstrip("\n"))

    def error(self, message: str) -> None:  # type: ignore[override]
        raise _Usage(f"{self.prog}: {message} (see {self.prog} --help)")


def _path(text: str) -> Path:
    """A file or folder; ``Path`` takes no name at all for the folder that one stands in."""
    if not text:
        raise argparse.ArgumentTypeError("'' names no file or folder")
    return Path(text)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Asks the system for the width: argparse loads ``shutil`` for that, two milliseconds in every command."""

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, **{"width": _columns() - 2, **options})


def _columns() -> int:
    """Width of the terminal: ``COLUMNS``, else what it says, else 80."""
    given = os.environ.get("COLUMNS", "")
    if given.isdecimal() and int(given) > 0:
        return int(given)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):  # closed, replaced, or no terminal
        return 80


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    return f"usage: pxos COMMAND [ARG ...]\n\n{rows}\n\npxos COMMAND --help shows a command's options and an example."


def _parse(name: str, argv: list[str]) -> tuple[argparse.Namespace, Any]:
    module = importlib.import_module(COMMANDS[name][0])
    parser = _Parser(
        prog=f"pxos {name}",
        description=module.HELP,
        epilog=f"example: {module.EXAMPLE}",
        formatter_class=_Formatter,
    )
    if name not in INTERACTIVE:
        parser.add_argument(
            "--json", action="store_true", help="one JSON object on stdout, progress on stderr"
        )
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    module.configure(parser)
    return parser.parse(argv), module


def _explain(text: str) -> None:
    """Help, whose reader may have seen enough; raises ``OSError`` where it cannot be written."""
    broken = say(text)
    if broken is not None:
        raise OSError(broken.errno, f"cannot write to standard output: {broken.strerror}")


def _json(data: object) -> str:
    """One line of JSON, in which no CI service finds a command: GitHub's runner looks for ``##[`` anywhere."""
    import json  # loaded here: most runs of a command print text, and the start of `pxos` counts

    return json.dumps(data, default=str).replace("##[", "#\\u0023[")


def _complain(line: str) -> None:
    try:
        print(harmless(line), file=sys.stderr, flush=True)
    except OSError:
        return  # nobody listens there; the exit status still tells


def _refuse(lines: Sequence[str], error: Mapping[str, str | None], status: int, as_json: bool) -> int:
    """The end of a command that cannot answer: a line per error for the person, one object for a program."""
    for line in lines:
        _complain(line)
    if as_json:
        say(_json({"error": error}))
    return status


def _one_line(message: str) -> str:
    """A message as one line: a name in it may hold line ends."""
    return message.replace("\n", "\\n")


def _fail(error: PxError, as_json: bool) -> int:
    log = str(error.log) if error.log else None
    told = {"stage": error.stage, "message": error.message, "log": log}
    if error.reason is not None:
        told["reason"] = error.reason
    lines = error.lines()
    return _refuse(
        [_one_line(error.message)] if lines == [error.message] else lines, told, error.status, as_json
    )


def _internal(exc: BaseException, as_json: bool) -> int:
    import tempfile
    import traceback

    summary = f"pxos: internal error: {type(exc).__name__}: {exc}".splitlines()[0]
    name = None
    try:
        fd, name = tempfile.mkstemp(prefix="pxos-internal-", suffix=".log")
        with os.fdopen(fd, "w") as log:
            traceback.print_exception(exc, file=log)
        details = f"details in {name}"
    except OSError as error:
        details = f"its details could not be written: {error.strerror}"
    told = {"stage": "internal", "message": summary, "log": name}
    return _refuse([f"{summary} ({details})"], told, STATUS_INTERNAL, as_json)


def _ended(wish: BaseException, as_json: bool) -> int:
    text, status = "interrupted", STATUS_INTERRUPTED
    if isinstance(wish, Ended):
        text, status = f"ended by {wish.name}", wish.status
    return _refuse([f"pxos: {text}"], {"stage": "interrupted", "message": text, "log": None}, status, as_json)


def _answer(outcome: Outcome, as_json: bool) -> int:
    """Print what a command has to say; its status, or that of an output that cannot be written."""
    text = _json(outcome.data) if as_json else harmless(outcome.text)
    broken = None
    try:
        # A pipe takes so much at once; what is longer may wait for its reader, and Ctrl-C must end that.
        with uninterrupted() if len(text) < PIPE_BYTES else nullcontext():
            broken = say(text) if text else None
    except (KeyboardInterrupt, Ended) as wish:
        return _ended(
            wish, as_json=False
        )  # the answer is out, or half of it: an object behind it would be no JSON
    if broken is None:
        return outcome.status
    _complain(f"pxos: cannot write to standard output: {broken.strerror}")
    return STATUS_INVALID


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status of the contract.

    Args:
        argv: the arguments; None for those of this process, which is then the command's alone.
    """
    if argv is not None:
        return _main(argv)
    process = Process()
    try:
        with process:
            status = _main(sys.argv[1:], process)
    except (KeyboardInterrupt, Ended) as wish:
        status = _ended(wish, as_json=False)  # it came while an error was being told
    if status == STATUS_INTERRUPTED or process.spared is not None:
        leave(status)
    return status


def _main(arguments: list[str], process: Process | None = None) -> int:
    name, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    as_json = "--json" in rest
    try:
        if process is not None:
            process.listen()
        if name in ("", "-h", "--help", "help"):
            _explain(_overview())
            return STATUS_OK if name else STATUS_INVALID
        if name not in COMMANDS:
            raise _Usage(f"pxos: no command '{name}' (there are: {', '.join(COMMANDS)})")
        args, module = _parse(name, rest)
        outcome = module.run(args, Ui(quiet=args.quiet))
        if process is not None:
            process.spared = outcome.spared
        return _answer(outcome, as_json)
    except _Usage as usage:
        told = {"stage": "arguments", "message": str(usage), "log": None}
        return _refuse([_one_line(str(usage))], told, STATUS_INVALID, as_json)
    except PxError as error:
        return _fail(error, as_json)
    except (KeyboardInterrupt, Ended) as wish:
        return _ended(wish, as_json)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        message = f"pxos {name}: {place}{error.strerror or error}"
        return _fail(PxError(message, stage=name), as_json)
    except MemoryError:
        return _fail(PxError(f"pxos {name}: not enough memory for this input", stage=name), as_json)
    except ImportError as error:
        if error.name in _LIBRARIES:
            mend = "set the environment up again: remove .venv, then make setup"
            return _fail(
                PxError(f"the Python package {error.name} is not installed; {mend}", stage=name), as_json
            )
        return _internal(error, as_json)
    except Exception as error:
        cause = error.__cause__  # where a class is made, Python 3.11 wraps what a signal raised
        if isinstance(cause, KeyboardInterrupt | Ended):
            return _ended(cause, as_json)
        return _internal(error, as_json)


def repository() -> Path:
    """The checkout that this command runs from."""
    return Path(__file__).resolve().parent.parent


if __name__ == "__main__":
    sys.exit(main())
