"""One bug put before the model in a conversation, as a trial of the chat's prompts.

Owns the question, the conversation in a folder of its own and the score: what ``trials`` does for the engine, with the
loop of the chat (tools, proposals, gates) in place of the repair's. A model that cannot be asked ends the trial with
its error.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from architect import corpus
from architect.corpus import Bug
from architect.learn.evolve import Trial
from architect.learn.trials import APPLIES, ASSEMBLES, CORRECT, PLAUSIBLE, TEXT_MAX, broken_by
from architect.model.types import ModelError
from toolchain import scratch
from toolchain.command import Ui
from toolchain.errors import PxError

if TYPE_CHECKING:
    from architect.chat.talk import Talk
    from architect.model.ledger import Ledger
    from architect.model.prompt_files import PromptSet
    from architect.model.settings import ModelSettings

TREE = "kernel"  # a conversation is about a kernel; bugs of shaders are the engine's
QUESTION = "This kernel fails: {report} Find the cause from the evidence and propose the smallest repair."
_UNREACHABLE = frozenset(("limit", "provider", "refused", "cancelled"))


@dataclass
class Talker:
    """A ``Tryer`` that asks in a conversation for the repair of a planted bug.

    Args:
        trees: the sound trees by name; that of the kernel is used.
        model: the endpoint.
        ledger: budgets of all trials together.
        seconds: of one trial: what the model's answers may take together.
    """

    trees: Mapping[str, Path]
    model: ModelSettings
    ledger: Ledger
    seconds: float

    def __call__(self, prompts: PromptSet, bug: Bug, seed: int) -> Trial:
        """Plant, ask, judge. The seed counts repetitions: each asks the model anew."""
        from architect.chat import agent
        from architect.chat.models import Mind
        from architect.chat.session import Session
        from architect.chat.talk import Talk
        from architect.chat.view import View
        from architect.tools.desk import Desk

        ui = Ui(io.StringIO(), quiet=True)
        question = QUESTION.format(report=bug.report or "it does not come up.")
        with scratch.folder("pxos-evolve-") as folder:
            planted = corpus.plant(bug, self.trees[TREE], folder / "tree")
            with Desk(planted, folder / "out", lessons=folder / "lessons") as desk:
                mind = Mind(self.model, ledger=self.ledger, prompts=prompts)
                session = Session(f"trial-{bug.id}-{seed}"[:64], str(planted))
                talk = Talk(desk, View(io.StringIO()), session, ui, mind=mind)
                with _timed(self.ledger, self.seconds):
                    try:
                        session.say("user", question)
                        agent.converse(talk, question)
                    except ModelError as error:
                        if error.kind in _UNREACHABLE and self.ledger.seconds_left() > 0:
                            raise
                    finally:
                        talk.close()
                return self._trial(talk, bug, question)

    def _trial(self, talk: Talk, bug: Bug, question: str) -> Trial:
        desk = talk.desk
        verdicts = [turn.text for turn in talk.session.turns if turn.name == "run_gates"]
        wrong: list[str] = []
        if talk.proved and talk.proved == desk.key():
            wrong = broken_by(bug, self.trees[TREE], desk.on_disk())
            score = PLAUSIBLE if wrong else CORRECT
            told = f"It passes every gate but breaks what must hold: {'; '.join(wrong)}" if wrong else ""
            verdicts.append(told or "The repair is right.")
        else:
            score = _short_of(talk)
            verdicts = verdicts or ["Nothing was proposed that could be judged."]
        return Trial(bug.id, score, question, desk.diff()[:TEXT_MAX], "\n".join(verdicts)[-TEXT_MAX:])


@contextmanager
def _timed(ledger: Ledger, seconds: float) -> Iterator[None]:
    """With so many seconds for what is asked of the model."""
    before, end = ledger.seconds_left, time.monotonic() + seconds
    ledger.seconds_left = lambda: min(before(), end - time.monotonic())
    try:
        yield
    finally:
        ledger.seconds_left = before


def _short_of(talk: Talk) -> float:
    """How far a proposal came that no proof was found for."""
    if not talk.desk.changes:
        return 0.0
    try:
        talk.desk.image()
    except PxError:
        return APPLIES
    return ASSEMBLES
