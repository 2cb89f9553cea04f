"""A recorded repair run again, offline: the same tree and terms, the model's answers from the recording.

Owns finding the tree that was repaired, and saying where two runs part. The machines are booted again: what is
offline is the model. Candidates are tried side by side, so that their order is chance: proposals are compared by what
they change, verdicts by gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect.journal import edits_digest, patch_from_json
from architect.learn import trajectory
from architect.learn.recorded import RecordedModel
from architect.learn.trajectory import STAGE, Reading, Step
from toolchain.command import Ui
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.model.settings import ModelSettings

_DIFFERENCES_MAX = 40
CONTEXT = 1 << 20  # tokens: what was sent then fits
MODEL = "llm"  # the engine that asks a model


@dataclass(frozen=True, slots=True)
class Again:
    """How a run went the second time.

    Attributes:
        data: its report's JSON.
        differences: where it was another than the first, a sentence each.
        requests: where the model was asked something else: evidence of a boot may be another in every boot.
        alone: proposals that were tried in the first run alone, and in the second alone, by chance.
    """

    data: dict[str, Any]
    differences: tuple[str, ...]
    requests: tuple[str, ...]
    alone: tuple[int, int]


def again(reading: Reading, ui: Ui, kernel: Path | None, out: Path) -> Again:
    """Run a recorded ``pxos fix`` again and compare.

    Args:
        reading: the recording.
        ui: told of the steps.
        kernel: the tree, or None to look for it where the recording says.
        out: where the new run's reports go.

    Raises:
        InputError: it is no recording of a repair, or the tree is gone or changed.
    """
    from architect import kinds, lesson_text, run
    from architect.lessons import SqliteLessons
    from toolchain import scratch

    terms = _terms(reading)
    tree = _tree(reading, terms, kernel)
    kinds.of(tree).check_tools()
    model = RecordedModel(reading.steps, CONTEXT)
    with scratch.folder("pxos-replay-") as folder:
        store = SqliteLessons(folder / "lessons")
        text = terms["lessons"]
        for lesson in lesson_text.load(text, str(reading.path)) if "[[lesson]]" in text else ():
            runs = lesson.evidence["runs"]
            store.merge(lesson.signature, lesson.cause, lesson.edit, runs, lesson.helped, lesson.misled)
        baseline = Path(terms["baseline"]) if terms["baseline"] else None
        settings = run.Settings(
            tree, out.absolute(), folder / "lessons", terms["engine"], terms["seconds"], terms["max_boots"], baseline,
            terms["good"], guards=False, model=_offline(reading), answers=model if model.left else None,
        )  # fmt: skip
        done = run.repair(settings, ui)
    second = trajectory.read(Path(done.data["trajectory"])).steps
    found = differences(reading.steps, second)
    if model.left:
        found.append(f"{model.left} recorded answers were not asked for")
    return Again(done.data, tuple(found), tuple(model.differences), by_chance(reading.steps, second))


def _offline(reading: Reading) -> ModelSettings | None:
    """Settings of a model for a run whose recording asked one; nothing is ever sent there."""
    from architect.model.settings import ModelSettings
    from architect.model.types import Endpoint

    asked = next((step.data for step in reading.steps if step.kind == "request"), None)
    if asked is None:
        return None
    endpoint = Endpoint("http://recorded.invalid/v1", str(asked.get("model", "recorded")), context=CONTEXT)
    return ModelSettings(replace(endpoint, max_output=max(1, asked["max_output"])))


def _terms(reading: Reading) -> dict[str, Any]:
    """The settings of the recorded run, checked."""
    first = reading.steps[0]
    if first.kind != "run" or first.data["what"] != "fix":
        message = f"{reading.path}: begins with no repair; only the recording of a pxos fix can be run again"
        raise InputError(message, stage=STAGE)
    data = dict(first.data)
    texts, optional = ("engine", "tree", "digest", "lessons"), ("baseline", "good")
    numbers = ("seconds", "max_boots")
    good = (
        all(isinstance(data.get(key), str) for key in texts)
        and all(isinstance(data.get(key), str | None) for key in optional)
        and all(isinstance(data.get(key), int | float) and 0 < data[key] < 1e9 for key in numbers)
    )
    if not good:
        raise InputError(f"{reading.path}:1: the settings of the run are not whole", stage=STAGE)
    data["max_boots"] = int(data["max_boots"])
    return {**dict.fromkeys(optional), **data}


def _tree(reading: Reading, terms: dict[str, Any], kernel: Path | None) -> Path:
    """The tree as it was: the one named, the run's own copy of it, or where it stood; of any kind that is repaired."""
    copy = reading.path.absolute().parent.parent / "tree"
    places = [kernel] if kernel is not None else [copy, Path(terms["tree"])]
    for place in places:
        if place.is_dir() and _digest(place, terms) == terms["digest"]:
            return place
    named = ", ".join(map(str, places))
    message = f"{named}: not the tree that was repaired then (or gone); name it as it was with --kernel DIR"
    raise InputError(message, stage=STAGE)


def _digest(place: Path, terms: dict[str, Any]) -> str:
    """What a tree holds; empty where it is none that is repaired."""
    from architect import kinds, run

    settings = run.Settings(place, place, place, terms["engine"], terms["seconds"], terms["max_boots"])
    with suppress(InputError):
        return kinds.of(place).opened(settings).workspace.digest()
    return ""


def differences(one: Sequence[Step], other: Sequence[Step]) -> list[str]:
    """Where two runs part: diagnosis, proposals, verdicts, end; a sentence each."""
    found = list(_diagnoses(one, other))
    then, now = _proposals(one), _proposals(other)
    for word, of, others in (("then and not now", then, now), ("now and not then", now, then)):
        found += [
            f"proposed {word}: {of[key][0]}" for key in of if key not in others and _by_model(of[key][0])
        ]
    for key in then:
        if (
            key in now
            and then[key][1] is not None
            and now[key][1] is not None
            and then[key][1] != now[key][1]
        ):
            found.append(f"{then[key][0]}: {then[key][1]} then, {now[key][1]} now")
    ends = [[s.data["outcome"] for s in steps if s.kind == "end"][-1:] for steps in (one, other)]
    if ends[0] != ends[1]:
        told = [end[0] if end else "no end" for end in ends]
        found.append(f"it ended as {told[0]} then, as {told[1]} now")
    if len(found) > _DIFFERENCES_MAX:
        found = [*found[:_DIFFERENCES_MAX], f"and {len(found) - _DIFFERENCES_MAX} more"]
    return found


def _by_model(name: str) -> bool:
    return name.endswith(f"({MODEL})")


def by_chance(one: Sequence[Step], other: Sequence[Step]) -> tuple[int, int]:
    """How many proposals, none of them the model's, were tried in the first run alone, and in the second alone."""
    then, now = _proposals(one), _proposals(other)
    return tuple(  # type: ignore[return-value]
        sum(key not in others and not _by_model(of[key][0]) for key in of)
        for of, others in ((then, now), (now, then))
    )


def _diagnoses(one: Sequence[Step], other: Sequence[Step]) -> list[str]:
    gates = [
        [str(gate["gate"]) for step in steps if step.kind == "diagnosis" for gate in step.data["failures"]]
        for steps in (one, other)
    ]
    if gates[0] == gates[1]:
        return []
    return [f"it failed {', '.join(gates[0]) or 'nothing'} then, {', '.join(gates[1]) or 'nothing'} now"]


def _proposals(steps: Sequence[Step]) -> dict[str, tuple[str, str | None]]:
    """What a proposal changes -> how it is called, and the verdict on it."""
    verdicts = {step.data["of"]: _verdict(step) for step in steps if step.kind == "gate" and step.data["of"]}
    found: dict[str, tuple[str, str | None]] = {}
    for step in steps:
        if step.kind == "proposal":
            patch = patch_from_json(step.data["patch"])
            places = ", ".join(f"{e.file}:{e.line}" for e in patch.edits)
            name = f"{patch.operator} at {places} ({patch.engine})"
            found.setdefault(edits_digest(patch), (name, verdicts.get(step.data["id"])))
    return found


def _verdict(step: Step) -> str:
    """Passed or not; which gate says no first depends on which is expected to tell soonest, and so on time."""
    return "passes" if step.data["passed"] else "fails"
