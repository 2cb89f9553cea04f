"""From settings to the engine of one run: ledger, model, recording, what it may look at.

Owns this wiring. The model is opened when it is first asked; the SDK can be imported before, beside other work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from architect.learn.recorded import RecordingModel
from architect.model.client import ChatModel, open_model
from architect.model.engine import SHARE, LlmEngine, Sight
from architect.model.ledger import Ledger
from architect.model.settings import ModelSettings
from architect.model.types import Model
from architect.protocols import LessonStore

if TYPE_CHECKING:
    from architect.journal import Journal
    from architect.learn.memory import Memory
    from architect.model.prompt_files import PromptSet
    from architect.tools.desk import Desk


@dataclass
class Opening:
    """The model of one run.

    Args:
        settings: the endpoint and its budgets.
        journal: of the run: what was spent is kept there, requests and replies go into its trajectory.
        lessons: asked for similar failures.
        say: gets lines for the person.
        tree: what the model may look at.
        out: where the desk may write.
        answers: a model to be asked instead of the endpoint (a recording), or None.
        ledger: budgets that are shared with others, or None for those of the settings.
        prompts: what the model is told, or None for the prompts in use.
        memory: rules that hold for this kernel and anywhere, or None.
    """

    settings: ModelSettings
    journal: Journal
    lessons: LessonStore
    say: Callable[[str], None]
    tree: Path
    out: Path
    answers: Model | None = None
    ledger: Ledger | None = None
    prompts: PromptSet | None = None
    memory: Memory | None = None
    _client: ChatModel | None = None
    _desk: Desk | None = None
    _seconds_left: Callable[[], float] | None = None

    def engine(self, seconds_left: Callable[[], float], *, alone: bool) -> LlmEngine:
        """The engine; ``alone`` when no other follows it.

        Raises:
            InputError: a money budget without prices, or no such profile.
        """
        ledger = self.ledger or self.settings.ledger()
        self._seconds_left = ledger.seconds_left
        endpoint = self.settings.endpoint
        client = self._client = open_model(endpoint, ledger, self.say)
        engine = LlmEngine(
            self._open,
            ledger,
            self.say,
            self.lessons,
            Sight(
                self._desk_of
                if (self.tree / "image.toml").is_file()
                else None,  # the tools are of our kernel
                self._client.profile.tools and self.answers is None,
            ),
            endpoint.max_output,
            seconds_left,
            1.0 if alone else SHARE,
            self.journal.asked,
            lambda kind, data: self.journal.trajectory.write(kind, data),
            schemas=lambda: client.dialect.json_schema,
            prompts=self.prompts,
            memory=self.memory,
            model_name=endpoint.model,
        )
        if self.journal.model_tokens != (0, 0):  # those of the run that was interrupted count too
            ledger.restore(*self.journal.model_tokens)
        return engine

    def preload(self) -> None:
        """Import the SDK, while workers find out what is wrong with the tree."""
        if self._client is not None and self.answers is None:
            self._client.preload()

    def close(self) -> None:
        """End what the model looked at; a ledger that is shared is no longer held to the time of this run."""
        if self._desk is not None:
            self._desk.close()
        if self.ledger is not None and self._seconds_left is not None:
            self.ledger.seconds_left = self._seconds_left

    def _open(self) -> Model:
        assert self._client is not None
        return RecordingModel(self.answers or self._client, self.journal.trajectory)

    def _desk_of(self) -> Desk:
        if self._desk is None:
            from architect.tools.desk import Desk

            self._desk = Desk(self.tree, self.out)
        return self._desk
