"""The ``pxos`` command in this process: a row of a table costs milliseconds, not the start of Python."""

from __future__ import annotations

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple
from unittest import mock

import cli

PXOS = [sys.executable, "-c", "import sys, cli; sys.exit(cli.main())"]  # in a process of its own


class Answer(NamedTuple):
    """Exit status, and what was said."""

    status: int
    output: str
    errors: str

    @property
    def data(self) -> Any:
        """The object of ``--json``: nothing else is on standard output."""
        return json.loads(self.output)


def pxos(*words: str, typed: bytes = b"") -> Answer:
    """Run ``pxos`` with these arguments; ``typed`` is its standard input."""
    output, errors = io.StringIO(), io.StringIO()
    given = io.TextIOWrapper(io.BytesIO(typed))
    with redirect_stdout(output), redirect_stderr(errors), mock.patch("sys.stdin", given):
        status = cli.main(list(words))
    return Answer(status, output.getvalue(), errors.getvalue())
