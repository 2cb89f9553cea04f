"""GitHub's annotations, and the guard that keeps a run's own output from being read as workflow commands.

Owns the form of ``::error file=...::``. Never prints a foreign text that was not escaped.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TextIO

from architect.ci import diffs, escape

MOST = 10  # annotations of one level that GitHub shows of a step
MESSAGE_MAX = 4000
TOKEN_BYTES = 16
LEVELS: Mapping[str, str] = {"fixed": "warning", "not-fixed": "error", "budget": "error"}


def command(name: str, message: str, **properties: object) -> str:
    """One workflow command."""
    given = ",".join(f"{k}={escape.attribute(str(v))}" for k, v in properties.items() if v is not None)
    return f"::{name}{' ' if given else ''}{given}::{escape.data(escape.printable(message)[:MESSAGE_MAX])}"


def lines(data: Mapping[str, Any], prefix: str | None) -> list[str]:
    """The annotations of a finished run.

    Args:
        data: the JSON of ``pxos fix``.
        prefix: the kernel tree relative to the repository, None when it lies outside: then no file is named.
    """
    outcome = str(data["outcome"])
    level = LEVELS.get(outcome)
    if level is None:
        return []
    found = [
        command(
            level, row["message"], title=f"pxOS: {row['gate']}", **_where(row["file"], row["line"], prefix)
        )
        for row in data["diagnosis"]["failing"][: MOST - 1]
    ]
    if outcome == "fixed":
        first = next(iter(diffs.changes(str(data["patch"]))), None)
        place = _where(first.file, first.line, prefix) if first else {}
        found.append(command("notice", str(data["reason"]), title="pxOS: repair proved", **place))
    else:
        found.append(command(level, data["reason"], title=f"pxOS: {outcome}"))
    return found


def _where(file: str | None, line: int | None, prefix: str | None) -> dict[str, object]:
    if file is None or prefix is None:
        return {}
    return {"file": f"{prefix}/{file}" if prefix else file, "line": line}


@contextmanager
def commands_stopped(stream: TextIO) -> Iterator[None]:
    """What is printed inside is no command to GitHub's runner, whatever a kernel or a model wrote into it.

    The token that ends this is drawn anew, so that no log can hold it.
    """
    stop = stopped()
    print(stop, file=stream, flush=True)
    try:
        yield
    finally:
        print(f"\n::{stop.rpartition(':')[2]}::", file=stream, flush=True)


def stopped() -> str:
    """The command after which nothing is one until the end of the step, or until its own word comes again."""
    return f"::stop-commands::{secrets.token_hex(TOKEN_BYTES)}"
