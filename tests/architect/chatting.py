"""A conversation in this process: what the person would see, line by line."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from architect.chat.models import Mind
from architect.chat.session import Session
from architect.chat.talk import Talk
from architect.chat.view import View
from architect.tools.desk import Desk
from toolchain.command import Ui

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "kernel"
BROKEN = ("mm/mmio.s", "    call mmio_check\n", "    # call mmio_check\n")


class Chat:
    """A conversation whose output is kept."""

    def __init__(self, talk: Talk, stream: io.StringIO) -> None:
        self.talk = talk
        self.stream = stream

    def say(self, line: str) -> str:
        """What is answered to a line."""
        start = len(self.stream.getvalue())
        self.talk.handle(line)
        return self.stream.getvalue()[start:]


@contextmanager
def chat(
    folder: Path, tree: Path = KERNEL, *, mind: Mind | None = None, root: Path | None = None
) -> Iterator[Chat]:
    """A conversation about a kernel tree; everything that it leaves lies in ``folder``."""
    stream = io.StringIO()
    with Desk(tree, folder / "out", lessons=folder / "lessons", root=root) as desk:
        ui = Ui(io.StringIO(), quiet=True)
        talk = Talk(desk, View(stream), Session("test", str(tree)), ui, mind=mind)
        try:
            yield Chat(talk, stream)
        finally:
            talk.close()


def copied(folder: Path, *, broken: bool = False) -> Path:
    """A copy of our kernel in ``folder``, with a fault that is found before a boot when ``broken``."""
    tree = folder / "kernel"
    shutil.copytree(KERNEL, tree)
    if broken:
        path = tree / BROKEN[0]
        path.write_text(path.read_text().replace(BROKEN[1], BROKEN[2], 1))
    return tree


def proposed(talk: Talk, file: str = "mm/mmio.s", line: str = "# a remark at the end") -> str:
    """Propose a line more in a file; the new text."""
    text = talk.desk.originals()[file] + f"{line}\n"
    before = talk.before_proposal()
    talk.desk.propose({file: text})
    talk.proposed(before)
    return text
