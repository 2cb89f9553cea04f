"""The conversation without a terminal: one answer for each line of input, in plain text.

Owns reading lines with a bound, and the status: whether every line was answered well. Ctrl-C ends it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import BinaryIO

from architect.chat.talk import LINE_MAX, Talk
from toolchain.process import nobody_reads


def converse(talk: Talk, lines: Iterable[str]) -> bool:
    """Answer line by line; False when an answer was no, or could not be given."""
    good = True
    for line in lines:
        try:
            going = talk.handle(line)
        except BrokenPipeError:  # who read the answers has what it wanted
            nobody_reads()
            break
        good = good and talk.ok
        if not going:
            break
    return good


def lines_of(stream: BinaryIO) -> Iterator[str]:
    """The lines of a stream; one that is too long comes as far as it shows that it is."""
    while line := stream.readline(LINE_MAX + 2):
        if len(line) > LINE_MAX and not line.endswith(b"\n"):
            while (rest := stream.readline(1 << 20)) and not rest.endswith(b"\n"):
                pass
        yield line.decode("utf-8", "replace").rstrip("\r\n")
