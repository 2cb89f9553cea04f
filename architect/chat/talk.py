"""One conversation: a line of the person in, an answer out, whatever the terminal is.

Owns the order of things: a line that begins with ``/`` is a command, any other is a question, for the model where one
is configured and else for the search. Errors end an answer, never the conversation; Ctrl-C ends an answer as well.
Reads no keyboard.
"""

from __future__ import annotations

import shlex
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect.chat import session as sessions
from architect.chat.session import Session
from architect.chat.view import View
from architect.tools.base import Answer
from toolchain.command import Ui
from toolchain.errors import InputError, PxError

if TYPE_CHECKING:
    from architect.chat.index import Index
    from architect.chat.models import Mind
    from architect.learn.memory import Memory
    from architect.tools.desk import Desk

STAGE = "chat"
_NO_MODEL = ("provider", "limit", "format")  # failures after which the search answers
LINE_MAX = 1 << 16  # characters of one message
LEAVING = ("quit", "exit")  # without a slash too: nobody asks a kernel that


class Talk:
    """A conversation about one kernel.

    Args:
        desk: the kernel at hand.
        view: what the person sees.
        session: what was said so far.
        ui: told of the progress of long work.
        mind: the model, or None.
        keep: whether the session is saved after every answer.

    Attributes:
        ok: False when the last answer was no, or could not be given.
        steps: what ``/undo`` takes back, newest last: a proposal (the one before it), or a change that was applied.
    """

    def __init__(
        self,
        desk: Desk,
        view: View,
        session: Session,
        ui: Ui,
        *,
        mind: Mind | None = None,
        keep: bool = False,
    ) -> None:
        self.desk = desk
        self.view = view
        self.ui = ui
        self.session = session
        self.mind = mind
        self.keep = keep
        self.ok = True
        self.gone = False
        self.root = desk.root
        self.steps: list[dict[str, str] | None] = []
        self.index: Index | None = None
        self.proved = ""  # the key of the sources that every gate passed
        self.memory: Memory | None = None  # ``remember`` opens it
        self.memory_of = ""  # the kernel that it is about
        self.memory_key = ""  # the key of the sources that what was read is of

    def handle(self, line: str) -> bool:
        """Answer one line; False when the person wants to leave.

        Raises:
            KeyboardInterrupt: Ctrl-C came; whatever was started has ended.
        """
        line = line.strip()
        self.ok = True
        if not line:
            return True
        try:
            self._answer(line)
        except PxError as error:
            self.refuse(error)
        except OSError as error:
            place = f"{error.filename}: " if error.filename else ""
            self.refuse(InputError(f"{place}{error.strerror or error}", stage=STAGE))
        except Exception as error:
            self.refuse(_internal(error))
        finally:
            self.view.end()
            self.remember()
        return not self.gone

    def close(self) -> None:
        """Let go of what the conversation holds; the desk belongs to who made it."""
        if self.index is not None:
            self.index.close()
            self.index = None
        if self.mind is not None:
            self.mind.close()

    def _answer(self, line: str) -> None:
        if len(line) > LINE_MAX:
            raise InputError(
                f"a message of {len(line)} characters; at most {LINE_MAX}: put a log into a file and say /fault FILE",
                stage=STAGE,
            )
        self.session.say("user", line)
        if line.startswith("/") or line in LEAVING:
            self._commands(line.split("\n"))
        elif self.mind is not None:
            self._ask_model(line)
        else:
            from architect.chat import ask

            ask.answer(self, line)

    def _ask_model(self, line: str) -> None:
        """Ask the model; where it cannot be reached or its budget is spent, the search answers, and that is said."""
        from architect.chat import agent, ask
        from architect.model.types import ModelError

        try:
            agent.converse(self, line)
        except ModelError as error:
            self.refuse(error)
            if error.kind not in _NO_MODEL or error.partial:
                return
            self.view.note("the model did not answer, so this is by search:")
            ask.show_hits(self, ask.hits(self, line, ask.HITS), line)
            self.ok = False

    def _commands(self, rows: list[str]) -> None:
        """A command; or several that were pasted together, each in its line, until one cannot be carried out."""
        from architect.chat.commands import find

        rows = [row.strip() for row in rows if row.strip()]
        if not all(row.startswith("/") for row in rows[1:]):
            rows = [" ".join(rows)]
        for row in rows:
            if len(rows) > 1:
                self.view.note(row)
            name, _, rest = row.removeprefix("/").partition(" ")
            command = find(name)
            command.run(self, rest.strip())
            if self.gone:
                return

    def refuse(self, error: PxError) -> None:
        """Say why something could not be done."""
        self.ok = False
        lines = error.lines()
        for row in lines:
            self.view.bad(row)
        self.session.say("note", "\n".join(lines))

    def remember(self) -> None:
        """Keep the conversation on disk, if it is kept."""
        from architect.chat import remember

        remember.keep(self)
        self.session.changes = dict(self.desk.changes)
        self.session.bases = dict(self.desk.bases)
        self.session.tree = str(self.desk.tree)
        if self.keep:
            try:
                sessions.save(self.session)
            except PxError as error:
                self.view.bad(error.message)
                self.keep = False  # said once; the conversation goes on

    # --- answers -------------------------------------------------------------------------------------------

    def tool(self, name: str, **arguments: Any) -> Answer:
        """Call a tool with arguments of ours; its answer is not shown yet."""
        import json

        from architect.tools.table import call

        return call(name, self.desk, json.dumps({k: v for k, v in arguments.items() if v is not None}))

    def show(self, answer: Answer, name: str = "", *, language: str = "") -> None:
        """Show a tool's answer and keep it."""
        if language:
            self.view.code(answer.text, language)
        elif answer.ok:
            self.view.text(answer.text)
        else:
            self.view.bad(answer.text)
        self.ok = self.ok and answer.ok
        self.session.say("tool" if name else "note", answer.text, name)

    def note(self, text: str) -> None:
        """A line of ours that belongs to the conversation."""
        self.view.text(text)
        self.session.say("note", text)

    # --- proposals -----------------------------------------------------------------------------------------

    def before_proposal(self) -> dict[str, str]:
        """The proposal as it is, for ``proposed``."""
        return dict(self.desk.changes)

    def proposed(self, before: dict[str, str]) -> None:
        """Show a proposal that changed, and let ``/undo`` take it back."""
        if self.desk.changes == before:
            return
        self.steps.append(before)
        self.show_proposal()

    def show_proposal(self) -> None:
        """The diff, in colour."""
        diff = self.desk.diff()
        if not diff:
            self.note("nothing is proposed")
            return
        self.view.diff(diff)
        self.session.say("note", f"the proposal as it stands:\n{diff}")


def words_of(rest: str) -> list[str]:
    """The words of a command, quotes minded.

    Raises:
        InputError: a quote is not closed.
    """
    try:
        return shlex.split(rest)
    except ValueError as error:
        raise InputError(f"{rest[:80]}: {error}".lower(), stage=STAGE) from error


def _internal(error: Exception) -> PxError:
    """A fault of ours: one line, the details in a file; the conversation goes on."""
    name = "nowhere"
    try:
        with tempfile.NamedTemporaryFile("w", prefix="pxos-internal-", suffix=".log", delete=False) as log:
            traceback.print_exception(error, file=log)
            name = log.name
    except OSError:
        name = "a file that could not be written"
    summary = f"internal error: {type(error).__name__}: {error}".splitlines()[0][:300]
    return PxError(f"{summary} (details in {name})", stage=STAGE, log=Path(name))
