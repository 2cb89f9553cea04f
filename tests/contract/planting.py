"""Variants of this checkout's kernel with a bug planted in them, built in memory from one warm session.

A plant names a file, what stands there and what shall stand there instead; within a routine when one is named, so that
it survives whatever else changes around it. A plant whose text no longer stands fails, and says so.
"""

from __future__ import annotations

import atexit
import functools
import re
from dataclasses import dataclass
from pathlib import Path

from toolchain.build import Session
from toolchain.types import Image

TREE = Path(__file__).resolve().parents[2] / "kernel"


@dataclass(frozen=True)
class Plant:
    """One bug: replace ``old`` by ``new`` (statements, blanks between words do not count), once for each pair."""

    file: str
    routine: str
    edits: tuple[tuple[str, str], ...]

    def text(self) -> str:
        """The whole file with the bug in it."""
        text = (TREE / self.file).read_text()
        first, end = 0, len(text)
        if self.routine:
            found = re.search(rf"^(?:local_)?function {self.routine}$", text, re.MULTILINE)
            assert found, f"{self.file}: there is no routine {self.routine} any more"
            first = found.end()
            end = text.index(f"end_function {self.routine}", first)
        body = text[first:end]
        for old, new in self.edits:
            pattern = r"\s+".join(re.escape(word) for word in old.split())
            place = re.search(pattern, body)
            assert place, f"{self.file}: {self.routine} does not hold `{old}` any more"
            body = body[: place.start()] + new + body[place.end() :]
        return text[:first] + body + text[end:]


def plant(file: str, routine: str, *edits: tuple[str, str]) -> Plant:
    """A bug in a routine of a file; anywhere in it when the routine is empty."""
    return Plant(file, routine, edits)


@functools.cache
def session() -> Session:
    """One session for all tests of a process."""
    made = Session(TREE)
    atexit.register(made.close)
    return made


@functools.cache
def kernel() -> Image:
    """The sound kernel."""
    return session().build()


@functools.cache
def sources() -> dict[str, str]:
    """Its sources, which promises are read from."""
    kernel()
    return session().sources()


def build(bug: Plant) -> Image:
    """The kernel with a bug."""
    kernel()
    return session().build({bug.file: bug.text()})
