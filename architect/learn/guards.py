"""Guards: what a repair teaches to find before a boot, its own kind of mistake wherever it stands.

Owns the form of a guard, how one is made from a bug and its repair, and running guards over a tree. A guard is a rule
of ``architect.learn.rules`` and the sorts on which it is silent, because the sound kernel shows them too: it is the
most general form of what was learnt that the sound kernel does not contradict. It holds no name, line or text of the
bug.

Made from before and after: the rule suspects the broken tree at a sort that the repaired tree does not show. So a
guard has no finding on the tree that it was admitted on, and does find its own bug; a lesson of which no rule can say
both has none. Where only the lesson is at hand, ``recreated`` makes its bug again: the generalised edit, undone where
it stands in a sound tree. Never decides about a repair: findings of guards are for ``pxos check``.
"""

from __future__ import annotations

import tomllib
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from architect.learn.rules import Suspicion, View, rules, suspicions
from architect.protocols import Case, Lesson
from toolchain.errors import InputError

STAGE = "guards"
OURS = "pxos"
PREFIX = "guard:"  # of the rule's name in a finding
SILENT_MAX = 512
SORT_MAX = 200
_TRIES = 8  # places at which a lesson's edit is undone


@dataclass(frozen=True, slots=True)
class Guard:
    """A rule, and the sorts on which it says nothing in a project. ``sort`` is what it was learnt from."""

    rule: str
    sort: str
    silent: frozenset[str]
    project: str

    def finds(self, suspicion: Suspicion) -> bool:
        """Whether a suspicion counts."""
        return suspicion.rule == self.rule and suspicion.sort not in self.silent


@dataclass(frozen=True, slots=True)
class Held:
    """A guard and the lesson that carries it."""

    guard: Guard
    lesson: int


def sorts(found: Iterable[Suspicion]) -> dict[str, frozenset[str]]:
    """Rule -> the sorts that a tree shows."""
    table: dict[str, set[str]] = defaultdict(set)
    for suspicion in found:
        table[suspicion.rule].add(suspicion.sort)
    return {rule: frozenset(shown) for rule, shown in table.items()}


def project_of(tree: Path) -> str:
    """What a tree is called: the name in its pxos.toml, ``pxos`` for a tree with our boot table, or its folder's."""
    try:
        table = tomllib.loads((tree / "pxos.toml").read_text(encoding="utf-8")).get("kernel", {})
        if isinstance(table, dict) and isinstance(table.get("name"), str):
            return str(table["name"])[:SORT_MAX]
    except (OSError, ValueError):
        pass  # none, or none that can be read: who builds the tree says what is wrong with it
    return OURS if (tree / "boot.toml").is_file() else tree.resolve().name


def made(
    broken: Iterable[Suspicion], sound: Mapping[str, frozenset[str]], project: str = OURS
) -> tuple[Guard, ...]:
    """The guards that a bug teaches: one for each rule that suspects it where the sound tree shows nothing."""
    found: dict[str, Guard] = {}
    for suspicion in broken:
        silent = sound.get(suspicion.rule, frozenset())
        if suspicion.sort not in silent:
            found.setdefault(suspicion.rule, Guard(suspicion.rule, suspicion.sort, silent, project))
    return tuple(found[rule] for rule in sorted(found))


def learnt(folder: Path, broken: Mapping[str, str], sound: Mapping[str, str]) -> tuple[Guard, ...]:
    """The guards of a repair.

    Args:
        folder: a tree on disk that the sources belong to.
        broken: file -> text before the repair.
        sound: file -> text after it.
    """
    changed = {file for file in sound if broken.get(file) != sound[file]}
    after = sorts(suspicions(View(folder, sound)))
    return made(suspicions(View(folder, broken, changed)), after, project_of(folder))


def recreated(folder: Path, lesson: Lesson, sound: Mapping[str, str]) -> Mapping[str, str] | None:
    """The sources with a lesson's bug in them again: its edit undone where it stands; None where it is nowhere."""
    from architect.generalise import Adapter
    from architect.protocols import Patch
    from architect.workspace import TreeCopy

    steps = [{**s, "remove": s["insert"], "insert": s["remove"]} for s in lesson.edit["steps"]]
    names = {s["routine"] for s in steps if s["routine"]}
    adapter = Adapter(Case(folder, sound, None, None, None), dict.fromkeys(names, 0))
    ways = sorted(adapter.edits({"operator": "undo", "steps": steps}), key=lambda way: way[0])[:_TRIES]
    copy = TreeCopy(folder)
    for _, edits in ways:
        try:
            return {**sound, **copy.apply(Patch(edits, "lessons", "undo", ""))}
        except InputError:
            continue
    return None


def held(lessons: Iterable[Lesson], project: str = OURS) -> list[Held]:
    """The guards that lessons carry for a project, oldest first; equal ones count once, for the first lesson."""
    found: dict[tuple[str, frozenset[str]], Held] = {}
    for lesson in lessons:
        for row in lesson.guards:
            guard = from_json(row, f"lesson {lesson.id}")
            if guard.project == project:
                found.setdefault((guard.rule, guard.silent), Held(guard, lesson.id))
    return list(found.values())


def findings(guards: Sequence[Held], view: View) -> list[dict[str, Any]]:
    """What guards find, each place once: rows as ``pxos check`` lists them."""
    by_rule: dict[str, list[Held]] = defaultdict(list)
    for item in guards:
        by_rule[item.guard.rule].append(item)
    rows: dict[tuple[str, str, int], dict[str, Any]] = {}
    for name, items in by_rule.items():
        rule = rules().get(name)
        for suspicion in rule(view) if rule is not None else ():
            teacher = next((item for item in items if item.guard.finds(suspicion)), None)
            if teacher is not None:
                row = {
                    "rule": f"{PREFIX}{name}",
                    "message": f"{suspicion.message} (lesson {teacher.lesson})",
                    "routine": suspicion.routine,
                    "file": suspicion.file,
                    "line": suspicion.line,
                }
                rows.setdefault((name, suspicion.file, suspicion.line), row)
    return list(rows.values())


def run(
    guards: Sequence[Held], folder: Path, sources: Mapping[str, str], only: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Guards over a tree's sources, or over the routines of some files alone."""
    return findings(guards, View(folder, sources, only)) if guards else []


# --- plain JSON --------------------------------------------------------------------------------------------


def to_json(guard: Guard) -> dict[str, Any]:
    """A guard as a lesson keeps it."""
    about = {"rule": guard.rule, "sort": guard.sort, "project": guard.project}
    return {**about, "silent": sorted(guard.silent)}


def from_json(data: object, where: str) -> Guard:
    """The inverse of ``to_json``; what comes in is untrusted.

    Raises:
        InputError: it is no guard; ``where`` stands before what is wrong.
    """
    row = data if isinstance(data, dict) else {}
    texts = [row.get(key) for key in ("rule", "sort", "project")]
    silent = row.get("silent")
    good = all(isinstance(text, str) and len(text) <= SORT_MAX for text in texts)
    if not good or not isinstance(silent, list) or len(silent) > SILENT_MAX:
        raise InputError(f"{where}: a guard holds 'rule', 'sort', 'project' and a list 'silent'", stage=STAGE)
    if not all(isinstance(item, str) and len(item) <= SORT_MAX for item in silent):
        raise InputError(f"{where}: a guard's 'silent' is a list of short texts", stage=STAGE)
    return Guard(str(texts[0]), str(texts[1]), frozenset(silent), str(texts[2]))
