"""The ``pxos`` command: a table of subcommands, exit statuses and ``--json``, and nothing else.

Each subcommand lives in a module named in ``COMMANDS`` and is imported only when it is called: the start of
``pxos`` costs the parser of one command. ``toolchain.command`` says what such a module provides.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from toolchain.command import STATUS_INTERNAL, STATUS_INTERRUPTED, STATUS_INVALID, Ui
from toolchain.errors import PxError

COMMANDS: dict[str, tuple[str, str]] = {
    "build": ("toolchain.commands.build", "assemble, link, make the ELF and the ISO"),
    "boot": ("toolchain.commands.boot", "boot and wait for PXREADY, a fault or the deadline"),
    "run": ("toolchain.commands.run", "boot with the serial line on this terminal"),
    "debug": ("toolchain.commands.debug", "boot halted, with gdb attached and the symbols loaded"),
    "fault": ("toolchain.commands.fault", "a fault report from saved logs"),
    "asm": ("toolchain.commands.asm", "assemble one source and show its bytes"),
    "disasm": ("toolchain.commands.disasm", "disassemble bytes, an ELF or a routine of it"),
    "check": ("architect.commands.check", "static checks of a kernel tree, without a boot"),
    "fix": ("architect.commands.fix", "repair a kernel tree and prove the repair by booting it"),
    "lessons": ("architect.commands.lessons", "what the architect has learnt"),
    "bugs": ("architect.commands.bugs", "the corpus of seeded kernel bugs"),
    "bench": ("architect.commands.bench", "measure, side by side with a peer in the same run"),
    "demo": ("architect.commands.demo", "the main job on real input: plant bugs, repair them"),
}


class _Usage(Exception):
    """A command line that argparse refused."""


class _Parser(argparse.ArgumentParser):
    """Raises instead of exiting, so that a bad command line is one line and status 2 like any other error."""

    def error(self, message: str) -> None:  # type: ignore[override]
        raise _Usage(f"{self.prog}: {message} (see {self.prog} --help)")


def _overview() -> str:
    width = max(map(len, COMMANDS))
    rows = "\n".join(f"  {name:<{width}}  {text}" for name, (_, text) in COMMANDS.items())
    return f"usage: pxos COMMAND [ARG ...]\n\n{rows}\n\npxos COMMAND --help shows a command's options and an example."


def _parse(name: str, argv: list[str]) -> tuple[argparse.Namespace, object]:
    module = importlib.import_module(COMMANDS[name][0])
    parser = _Parser(
        prog=f"pxos {name}",
        description=module.HELP,
        epilog=f"example: {module.EXAMPLE}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, progress on stderr")
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress on stderr")
    module.configure(parser)
    return parser.parse_args(argv), module


def _print_json(data: object) -> None:
    import json  # loaded here: most runs of a command print text, and the start of `pxos` counts

    print(json.dumps(data, default=str))


def _fail(error: PxError, as_json: bool) -> int:
    for line in error.lines():
        print(line, file=sys.stderr)
    if as_json:
        log = str(error.log) if error.log else None
        _print_json({"error": {"stage": error.stage, "message": error.message, "log": log}})
    return error.status


def _internal(exc: BaseException, as_json: bool) -> int:
    import tempfile
    import traceback

    fd, name = tempfile.mkstemp(prefix="pxos-internal-", suffix=".log")
    with os.fdopen(fd, "w") as log:
        traceback.print_exception(exc, file=log)
    summary = f"pxos: internal error: {type(exc).__name__}: {exc}".splitlines()[0]
    print(f"{summary} (details in {name})", file=sys.stderr)
    if as_json:
        _print_json({"error": {"stage": "internal", "message": summary, "log": name}})
    return STATUS_INTERNAL


def main(argv: list[str] | None = None) -> int:
    """Run one subcommand; returns the exit status of the contract."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if arguments else STATUS_INVALID
    name, rest = arguments[0], arguments[1:]
    as_json = "--json" in rest
    try:
        if name not in COMMANDS:
            raise _Usage(f"pxos: no command '{name}' (there are: {', '.join(COMMANDS)})")
        args, module = _parse(name, rest)
        outcome = module.run(args, Ui(quiet=args.quiet))  # type: ignore[attr-defined]
        if args.json:
            _print_json(dict(outcome.data))
        elif outcome.text:
            print(outcome.text)
        sys.stdout.flush()
        return int(outcome.status)
    except _Usage as usage:
        print(usage, file=sys.stderr)
        if as_json:
            _print_json({"error": {"stage": "arguments", "message": str(usage), "log": None}})
        return STATUS_INVALID
    except PxError as error:
        return _fail(error, as_json)
    except KeyboardInterrupt:
        print("pxos: interrupted", file=sys.stderr)
        return STATUS_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        message = f"pxos {name}: {place}{error.strerror or error}"
        return _fail(PxError(message, stage=name), as_json)
    except Exception as error:
        return _internal(error, as_json)


def repository() -> Path:
    """The checkout that this command runs from."""
    return Path(__file__).resolve().parent.parent


if __name__ == "__main__":
    sys.exit(main())
