"""A question about every bug of a corpus, put to workers side by side."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from architect.corpus import Bug
from architect.workers import Workers
from toolchain import scratch


def ask(
    name: str,
    service: Callable[[Path], Any],
    method: str,
    bugs: Sequence[Bug],
    *,
    seconds: float,
    say: Callable[[Any], None],
) -> list[Any]:
    """What a method of the service answers for each bug, in their order.

    Args:
        name: of the question, for the scratch folder and the log.
        service: made of a scratch folder, which outlives a worker that is killed.
        method: its name.
        bugs: which.
        seconds: after which a worker is taken for dead.
        say: told of each answer as it comes.

    Raises:
        PxError: a question could not be carried out, e.g. a tool is missing.
    """
    log = Path(tempfile.gettempdir()) / f"pxos-{name}-{os.getpid()}.log"  # written only for errors of ours
    with ExitStack() as stack:
        folder = stack.enter_context(scratch.folder(f"pxos-{name}-"))
        workers = Workers(partial(nullcontext, service(folder)), os.cpu_count() or 1, log=log)
        stack.callback(workers.close)
        return workers.each(method, bugs, seconds=seconds, say=say)
