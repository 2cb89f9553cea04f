"""Better prompts by measurement: propose on one part of the corpus, accept on a second, report on a third.

Owns the parts, the search for candidates (the ``gepa`` package, reflective mutation), the rule of acceptance and the
way back. The parts are split by bug class, so that no class is in two; which class is where follows from its name
alone. Candidates see the training part only. A candidate replaces the prompts in use when, on the validation part, it
beats them in paired comparisons under three seeds; only then the third part is touched, once, for the figures. How a
bug is tried is a function that is handed in (``architect.learn.trials``).

What happened is kept in ``evolved.jsonl`` beside the prompts; each accepted version is a new file, and the way back is
the number in ``current.toml``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import comb
from pathlib import Path
from typing import Any, TypeVar

from architect.corpus import Bug
from architect.model import prompt_files
from architect.model.prompt_files import PromptSet
from architect.model.types import Message, Model
from toolchain.errors import InputError, PxError
from toolchain.files import read_bounded, write_atomic

STAGE = "prompts"
PARTS = ("training", "validation", "test")
SEEDS = (1, 2, 3)
SIGNIFICANCE = 0.05  # of the one-sided sign test over the pairs that differ
LOG = "evolved.jsonl"
LOG_BYTES_MAX = 4 << 20
MINIBATCH = 3  # training bugs that one reflection sees
T = TypeVar("T")
_QUARTERS = ("training", "training", "validation", "test")
_TEMPLATE = """An assistant repairs kernels. This is its prompt '{name}':
```
<curr_param>
```

These are cases that it worked on with this prompt, what it proposed, and what the judge said of it:
```
<side_info>
```

Write a better version of this prompt. It is used for kernels and failures that are not shown here: write what helps
with any of them (how to reason from evidence, what to check before answering, mistakes in the form of the answer), and
nothing that is true of one of these cases alone. What it says about untrusted data and about which files may be edited
stays. {placeholders} Give the whole new prompt within ``` blocks, and nothing else."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one bug with some prompts: a score from 0 to 1, and words that a better prompt can be made from.

    Attributes:
        id: of the bug.
        score: 1 for a correct repair; less by how far the best proposal came.
        seen: what the model was told of the failure.
        proposed: what it answered with.
        feedback: what the gates said of that.
    """

    id: str
    score: float
    seen: str = ""
    proposed: str = ""
    feedback: str = ""


Tryer = Callable[[PromptSet, Bug, int], Trial]  # prompts, bug, seed


def parts(bugs: Sequence[Bug]) -> dict[str, list[Bug]]:
    """The three parts, by class: half of the classes to train on, a quarter each for the others."""
    classes = sorted({bug.cls for bug in bugs}, key=lambda name: hashlib.sha256(name.encode()).digest())
    home = {name: _QUARTERS[rank % len(_QUARTERS)] for rank, name in enumerate(classes)}
    return {part: [bug for bug in bugs if home[bug.cls] == part] for part in PARTS}


# --- candidates --------------------------------------------------------------------------------------------


class _Adapter:
    """What ``gepa`` asks for: how candidates do on bugs, and what to reflect on."""

    propose_new_texts = None

    def __init__(self, base: PromptSet, tryer: Tryer, seed: int) -> None:
        self.base = base
        self.tryer = tryer
        self.seed = seed

    def evaluate(self, batch: list[Bug], candidate: dict[str, str], capture_traces: bool = False) -> Any:
        """Every bug of a batch with a candidate."""
        from gepa.core.adapter import EvaluationBatch

        try:
            prompts = with_texts(self.base, candidate)
        except InputError as error:  # a placeholder is gone: worth nothing, and the reflection is told why
            trials = [Trial(bug.id, 0.0, feedback=error.message) for bug in batch]
        else:
            trials = [self.tryer(prompts, bug, self.seed) for bug in batch]
        return EvaluationBatch(
            [t.id for t in trials], [t.score for t in trials], trials if capture_traces else None
        )

    def make_reflective_dataset(
        self, candidate: dict[str, str], eval_batch: Any, components_to_update: list[str]
    ) -> dict[str, list[dict[str, str]]]:
        """The failure's words and the gates' messages, not a bare score."""
        rows = [
            {"Inputs": trial.seen, "Generated Outputs": trial.proposed, "Feedback": trial.feedback}
            for trial in eval_batch.trajectories or ()
        ]
        return dict.fromkeys(components_to_update, rows)


class _Silent:
    """A logger that keeps what ``gepa`` says for whoever asks."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def log(self, message: str) -> None:
        """The first line of a message."""
        self.say(message.splitlines()[0][:100] if message else "")


def candidate(
    base: PromptSet,
    bugs: Sequence[Bug],
    tryer: Tryer,
    model: Model,
    *,
    calls: int,
    seed: int,
    max_output: int,
    say: Callable[[str], None],
    names: Sequence[str] = prompt_files.GROUPS["fix"],
) -> dict[str, str]:
    """The best prompts that reflection finds on the training part: name -> text.

    Args:
        base: where it begins.
        bugs: the training part.
        tryer: tries one bug.
        model: reflects.
        calls: trials that it may take.
        seed: of the search.
        max_output: tokens of one reflection.
        say: gets a line at each step.
        names: the prompts that may change: those that the trials use.

    Raises:
        ModelError: the model cannot be asked further.
    """
    from gepa.api import optimize

    def reflect(prompt: str | list[dict[str, Any]]) -> str:
        content = (
            prompt if isinstance(prompt, str) else "\n\n".join(str(row.get("content", "")) for row in prompt)
        )
        return guarded(lambda: model.ask([Message("user", content)], max_output=max_output).text)

    def tried(prompts: PromptSet, bug: Bug, seed: int) -> Trial:
        return guarded(lambda: tryer(prompts, bug, seed))

    # The search takes what is raised in it for a bad candidate and goes on: a model that fails is to end it.
    failures: list[PxError] = []

    def guarded(call: Callable[[], T]) -> T:
        try:
            return call()
        except PxError as error:
            failures.append(error)
            raise

    texts = {name: base[name].text for name in names}
    adapter: Any = _Adapter(base, tried, seed)
    result: Any = optimize(
        seed_candidate=texts,
        trainset=list(bugs),
        adapter=adapter,
        reflection_lm=reflect,
        reflection_minibatch_size=min(MINIBATCH, len(bugs)),
        reflection_prompt_template={name: _template(name) for name in texts},
        max_metric_calls=calls,
        seed=seed,
        logger=_Silent(say),
        display_progress_bar=False,
        raise_on_exception=True,
        stop_callbacks=lambda state: bool(failures),
    )
    if failures:
        raise failures[0]
    return dict(result.best_candidate)


def _template(name: str) -> str:
    needed = ", ".join(f"${word}" for word in sorted(prompt_files.NEEDS[name]))
    kept = f"Each of the placeholders {needed} must stand in it; there are no others." if needed else ""
    return _TEMPLATE.format(
        name=name, placeholders=kept or "It has no placeholders; write $$ for a dollar sign."
    )


def with_texts(base: PromptSet, texts: Mapping[str, str]) -> PromptSet:
    """The prompts with other texts; ``InputError`` where a placeholder is missing or unknown."""
    for name, text in texts.items():
        if text != base[name].text:
            base = base.replaced(name, text)
    return base


# --- acceptance --------------------------------------------------------------------------------------------


def compare(
    old: PromptSet, new: PromptSet, bugs: Sequence[Bug], tryer: Tryer, say: Callable[[str], None]
) -> dict[str, Any]:
    """Both on the same bugs under each seed: wins, losses, ties of the new one, mean scores, correct repairs."""
    rows = []
    for seed in SEEDS:
        pairs = []
        for bug in bugs:
            pair = (tryer(old, bug, seed).score, tryer(new, bug, seed).score)
            say(f"seed {seed}: {bug.id}: {pair[0]:.2f} before, {pair[1]:.2f} now")
            pairs.append(pair)
        rows.append({"seed": seed, **_counted(pairs), "pairs": [list(pair) for pair in pairs]})
    every = [(float(a), float(b)) for row in rows for a, b in row["pairs"]]
    total = _counted(every)
    return {
        **total,
        "p": _sign_test(total["wins"], total["losses"]),
        "bugs": [bug.id for bug in bugs],
        "seeds": rows,
    }


def _counted(pairs: Sequence[tuple[float, float]]) -> dict[str, Any]:
    count = max(1, len(pairs))
    return {
        "wins": sum(new > old for old, new in pairs),
        "losses": sum(new < old for old, new in pairs),
        "ties": sum(new == old for old, new in pairs),
        "score_before": round(sum(old for old, _ in pairs) / count, 4),
        "score": round(sum(new for _, new in pairs) / count, 4),
        "correct_before": sum(old == 1.0 for old, _ in pairs),
        "correct": sum(new == 1.0 for _, new in pairs),
    }


def _sign_test(wins: int, losses: int) -> float:
    """The chance of at least so many wins if either were as likely (one-sided, ties left out)."""
    whole = wins + losses
    return round(float(sum(comb(whole, k) for k in range(wins, whole + 1)) / 2**whole), 6)


def accepted(validation: Mapping[str, Any]) -> str | None:
    """None when a candidate is better beyond chance and worse under no seed; else why it is not."""
    if validation["wins"] <= validation["losses"]:
        return f"it wins {validation['wins']} pairs and loses {validation['losses']}"
    worse = [row["seed"] for row in validation["seeds"] if row["losses"] > row["wins"]]
    if worse:
        return f"it loses under seed {worse[0]}"
    if validation["p"] > SIGNIFICANCE:
        return f"{validation['wins']} wins and {validation['losses']} losses may be chance (p = {validation['p']:g})"
    return None


# --- versions ----------------------------------------------------------------------------------------------


def keep(folder: Path, new: PromptSet) -> dict[str, int]:
    """Write what changed as new versions and put them in use; the versions in use now."""
    now = prompt_files.current(folder)
    for name in prompt_files.NAMES:
        text = new[name].text
        if text != prompt_files.load(name, folder=folder).text:
            number = max(prompt_files.versions(name, folder)) + 1
            write_atomic(folder / f"{name}.{number}.md", text, stage=STAGE)
            now[name] = number
    use(folder, now)
    return now


def use(folder: Path, versions: Mapping[str, int]) -> None:
    """Put versions in use; they must be there and whole.

    Raises:
        InputError: one is not.
    """
    for name in prompt_files.NAMES:
        prompt_files.load(name, versions[name], folder)
    rows = "".join(f"{name} = {versions[name]}\n" for name in prompt_files.NAMES)
    head = "# Which version of each prompt is used. An older one is the way back.\n"
    write_atomic(folder / prompt_files.CURRENT, head + rows, stage=STAGE)


def back(folder: Path) -> dict[str, int]:
    """Undo the last acceptance that is in use; the versions in use now.

    Raises:
        InputError: the prompts in use come from no acceptance.
    """
    now = prompt_files.current(folder)
    for row in reversed(log(folder)):
        if row["kind"] == "accepted" and row["to"] == now:
            use(folder, row["from"])
            note(folder, {"kind": "back", "from": now, "to": row["from"]})
            return dict(row["from"])
    raise InputError("the prompts in use come from no evolution: there is no way back to go", stage=STAGE)


def log(folder: Path) -> list[dict[str, Any]]:
    """What evolution did, oldest first.

    Raises:
        InputError: a line of the log is none.
    """
    path = folder / LOG
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(read_bounded(path, LOG_BYTES_MAX, stage=STAGE).splitlines(), 1):
        try:
            row = json.loads(line)
            good = (
                row["kind"] in ("accepted", "rejected", "back")
                and _versions(row["from"])
                and _versions(row["to"])
            )
        except (KeyError, TypeError, ValueError, RecursionError):
            good = False
        if not good:
            raise InputError(f"{path}:{number}: no line of this log", stage=STAGE)
        rows.append(row)
    return rows


def _versions(value: object) -> bool:
    return (
        isinstance(value, dict)
        and set(value) == set(prompt_files.NAMES)
        and all(type(number) is int for number in value.values())
    )


def note(folder: Path, row: Mapping[str, Any]) -> None:
    """Add a line to the log."""
    lines = [*log(folder), dict(row)]
    write_atomic(folder / LOG, "".join(json.dumps(item) + "\n" for item in lines), stage=STAGE)
