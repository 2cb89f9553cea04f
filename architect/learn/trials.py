"""One bug repaired by the model with some prompts, as a trial of them.

Owns planting, the run of the fix loop with the engine ``llm`` alone, the score, and the words for a reflection: the
evidence that the model was given and what every gate said of its proposals. Never keeps a lesson. A model that cannot
be asked ends the trial with its error: it is no answer to how good a prompt is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from architect import corpus, invariants, run
from architect.corpus import Bug
from architect.learn import trajectory
from architect.learn.evolve import Trial
from architect.learn.trajectory import Step
from architect.model.types import Kind, ModelError
from toolchain import scratch
from toolchain.command import Ui
from toolchain.errors import PxError

if TYPE_CHECKING:
    from architect.model.ledger import Ledger
    from architect.model.prompt_files import PromptSet
    from architect.model.settings import ModelSettings
    from architect.model.types import Model

CORRECT, PLAUSIBLE, ASSEMBLES, APPLIES = 1.0, 0.5, 0.2, 0.1
TEXT_MAX = 2500  # characters of each part of the words
PROPOSALS_SHOWN = 4


@dataclass
class Fixer:
    """A ``Tryer`` that repairs planted bugs.

    Args:
        trees: the sound trees by name.
        model: the endpoint.
        ledger: budgets of all trials together.
        seconds, max_boots: of one trial.
        answers: a model to be asked instead of the endpoint, or None.
    """

    trees: Mapping[str, Path]
    model: ModelSettings
    ledger: Ledger
    seconds: float
    max_boots: int
    answers: Model | None = None

    def __call__(self, prompts: PromptSet, bug: Bug, seed: int) -> Trial:
        """Plant, repair, judge. The seed counts repetitions: each asks the model anew."""
        with scratch.folder("pxos-evolve-") as folder:
            planted = corpus.plant(bug, self.trees[bug.tree], folder / "tree")
            settings = run.Settings(
                planted, folder / "fix", folder / "lessons", "llm", self.seconds, self.max_boots, model=self.model,
                answers=self.answers, ledger=self.ledger, prompts=prompts, guards=False,
            )  # fmt: skip
            done = run.repair(settings, Ui(quiet=True))
            _stop_if_unreachable(done.data)
            steps = trajectory.read(Path(done.data["trajectory"])).steps
            verdict = done.verdict
            broken: list[str] = []
            if verdict.patch is not None:
                patched = done.workspace.materialise(folder / "patched", verdict.patch)
                broken = broken_by(bug, self.trees[bug.tree], patched)
            return trial(bug, steps, verdict.outcome == "fixed", broken)


def _stop_if_unreachable(data: Mapping[str, object]) -> None:
    """Raise the model's own error where it could not be asked: a limit, a provider, a key."""
    told = data.get("model")
    failure = told.get("failure") if isinstance(told, Mapping) else None
    if isinstance(failure, Mapping) and failure.get("kind") in ("limit", "provider", "refused", "cancelled"):
        kind: Kind = next(k for k in get_args(Kind) if k == failure["kind"])
        raise ModelError(str(failure.get("message")), kind)


def broken_by(bug: Bug, tree: Path, patched: Path) -> list[str]:
    """What must hold in a sound kernel, and does not in this one."""
    try:
        rows = invariants.in_own_process(bug, tree, patched)
    except PxError as error:
        return [error.message]
    return [f"{row['kind']}: {row['message']}" for row in rows if not row["holds"]]


def trial(bug: Bug, steps: Sequence[Step], fixed: bool, broken: Sequence[str]) -> Trial:
    """The score and the words of one run."""
    proposals = [step for step in steps if step.kind == "proposal"]
    verdicts = {step.data["of"]: step.data for step in steps if step.kind == "gate" and step.data["of"]}
    if fixed:
        score = PLAUSIBLE if broken else CORRECT
    else:
        gates = [gate for data in verdicts.values() for gate in data["gates"]]
        assembles = any(gate["gate"] in ("assembles", "compiles") and gate["passed"] for gate in gates)
        score = ASSEMBLES if assembles else APPLIES if proposals else 0.0
    shown = proposals[-PROPOSALS_SHOWN:]
    feedback = [_judged(step, verdicts.get(step.data["id"])) for step in shown]
    feedback += [f"refused as no edit that applies: {text}" for text in _refusals(steps)]
    if fixed:
        feedback.append(
            f"It passes every gate but breaks what must hold: {'; '.join(broken)}"
            if broken
            else "The repair is right."
        )
    elif not proposals:
        feedback.append("No answer held an edit that could be applied.")
    return Trial(
        bug.id,
        score,
        _seen(steps)[:TEXT_MAX],
        "\n\n".join(map(_edits, shown))[:TEXT_MAX],
        "\n".join(feedback)[:TEXT_MAX],
    )


def _seen(steps: Sequence[Step]) -> str:
    told = next((step.data for step in steps if step.kind == "diagnosis"), None)
    if told is None:
        return ""
    lines = [f"{gate['gate']}: {gate['message']}" for gate in told["failures"]]
    return "\n".join([*lines, str(told.get("cause") or "")])


def _edits(step: Step) -> str:
    lines = [str(step.data["patch"]["reason"])]
    for edit in step.data["patch"]["edits"]:
        lines += [
            f"{edit['file']}:{edit['line']}",
            *(f"-{t}" for t in edit["old"]),
            *(f"+{t}" for t in edit["new"]),
        ]
    return "\n".join(lines)


def _judged(step: Step, verdict: Mapping[str, object] | None) -> str:
    name = f"proposal {step.data['id']}"
    if verdict is None:
        return f"{name} was not judged"
    gates = verdict["gates"]
    assert isinstance(gates, list)
    failed = next((gate for gate in gates if not gate["passed"]), None)
    return f"{name} passes" if failed is None else f"{name} fails at {failed['gate']}: {failed['message']}"


def _refusals(steps: Sequence[Step]) -> list[str]:
    """Why answers were no edit, as the engine told the model."""
    found = []
    for step in steps:
        for row in step.data["messages"] if step.kind == "request" else ():
            text = row["content"]
            if row["role"] == "user" and "could not be applied" in text:
                found.append(text[:300])
    return found[-2:]
