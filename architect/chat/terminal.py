"""The conversation on a terminal: an editor for the line, history, Tab, a meter, Ctrl-C and Ctrl-D.

Owns what ``prompt_toolkit`` is asked for. Ctrl-C at the prompt clears the line; while an answer or a boot is under way
it ends that, with all that was started; Ctrl-D leaves.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition, has_completions
from prompt_toolkit.formatted_text import ANSI
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent

from architect.chat import complete
from architect.chat import session as sessions
from toolchain.errors import PxError
from toolchain.files import make_folder

if TYPE_CHECKING:
    from architect.chat.talk import Talk

PROMPT = "pxos> "
MORE = "  ... "
HISTORY = "history"
LEAVES = "(Ctrl-D or /quit leaves)"
ENDED = "interrupted; what was started has ended"
_HISTORY_MAX = 4 << 20  # bytes; a longer file is begun anew from its end


def converse(talk: Talk) -> None:
    """Read lines and answer them until the person leaves."""
    if (
        signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    ):  # inherited from a background job that has a terminal now
        signal.signal(signal.SIGINT, signal.default_int_handler)
    prompt = _prompt(talk)
    talk.view.note(_greeting(talk))
    mark = ANSI(f"\x1b[1m{PROMPT}\x1b[0m") if talk.view.colour else PROMPT
    read_lines(talk, lambda: prompt.prompt(mark))


def read_lines(talk: Talk, read: Callable[[], str]) -> None:
    """Answer what ``read`` gives until it raises ``EOFError`` or the person leaves; Ctrl-C ends no conversation."""
    untold = ""  # of an interruption; told where a further one is caught too
    while True:
        try:
            if untold:
                _interrupted(talk, untold)
                untold = ""
            line = read()
        except KeyboardInterrupt:
            untold = untold or LEAVES
            continue
        except EOFError:
            return
        try:
            if not talk.handle(line):
                return
        except KeyboardInterrupt:
            untold = ENDED


def _interrupted(talk: Talk, told: str) -> None:
    talk.view.note(told)
    if told == ENDED:
        talk.session.say("note", "(interrupted by the person)")


def _greeting(talk: Talk) -> str:
    mind = talk.mind.short() if talk.mind is not None else "no model; questions are answered by search"
    return (
        f"pxOS architect: {talk.desk.tree} ({mind}). /help lists the commands, Tab completes, Ctrl-D leaves."
    )


def _prompt(talk: Talk) -> PromptSession[str]:
    return PromptSession(
        history=_history(),
        completer=ThreadedCompleter(_Offers(talk)),
        complete_while_typing=False,
        key_bindings=_keys(),
        multiline=True,
        prompt_continuation=lambda width, number, wrapped: MORE,
        bottom_toolbar=_meter(talk),
        enable_history_search=False,
    )


def _meter(talk: Talk) -> Callable[[], str]:
    def text() -> str:
        parts = [f" {talk.desk.tree.name}"]
        if talk.desk.changes:
            parts.append(f"{len(talk.desk.changes)} proposed")
        if talk.mind is not None:
            parts.append(talk.mind.short())
        else:
            parts.append("no model")
        return " · ".join(parts)

    return text


def _keys() -> KeyBindings:
    """Enter sends, Alt-Enter (or a trailing backslash) begins a new line."""
    keys = KeyBindings()

    @keys.add("enter", filter=~Condition(_continues))
    def send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("enter", filter=Condition(_continues))
    def more(event: KeyPressEvent) -> None:
        event.current_buffer.delete_before_cursor(1)
        event.current_buffer.insert_text("\n")

    @keys.add("escape", "enter")
    def line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("escape", filter=has_completions)
    def close(event: KeyPressEvent) -> None:
        event.current_buffer.cancel_completion()

    return keys


def _continues() -> bool:
    """Whether the text before the cursor ends with a backslash, at the end of the text."""
    from prompt_toolkit.application.current import get_app

    document = get_app().current_buffer.document
    return document.is_cursor_at_the_end and document.text.endswith("\\")


class _Offers(Completer):
    """Tab."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """What the word before the cursor may become."""
        return self._offers(document.text_before_cursor)

    def _offers(self, text: str) -> Iterator[Completion]:
        word, found = complete.offers(self.talk.desk, text.rpartition("\n")[2])
        for name in found:
            yield Completion(name, start_position=-len(word))


def _history() -> History:
    """What was typed before, from run to run; in memory where it cannot be kept."""
    with suppress(PxError, OSError):
        folder = sessions.folder()
        make_folder(folder, stage="chat")
        path = folder / HISTORY
        if path.exists() and path.stat().st_size > _HISTORY_MAX:
            _shorten(path)
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        return _Tolerant(str(path))
    return InMemoryHistory()


class _Tolerant(FileHistory):
    """A history whose file may vanish or fill the disk without harm."""

    def load_history_strings(self) -> Iterable[str]:
        """The lines, newest first."""
        with suppress(OSError):
            return list(super().load_history_strings())
        return []

    def store_string(self, string: str) -> None:
        """Keep a line."""
        with suppress(OSError):
            super().store_string(string)


def _shorten(path: Path) -> None:
    from toolchain.files import write_atomic

    data = path.read_bytes()[-_HISTORY_MAX // 2 :]
    write_atomic(path, data[data.find(b"\n\n") + 1 :], stage="chat")
