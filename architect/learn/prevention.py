"""The prevention rate: which share of the corpus is found before a boot, and by what.

Owns that measurement and its history. A bug counts as found when ``pxos check`` would find it: the tree does not
assemble, a static check has a finding, a contract model or header is broken, or a guard that lessons *of other
classes* teach has a finding (leaving one class out: a guard never counts for the class that it was learnt from). Of
shaders the gates that run nothing count. The sound kernel must give no finding at all, and does so in the same run.

Checks and contracts were written by people from the specifications, guards are learnt: their shares are told apart,
and ``alarms`` says what a guard costs: how many sorts of the sound kernel stand in one place only, so that each would
have been a false alarm had that place come later.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from architect import checks, contracts, corpus, each_bug
from architect.checks import architecture
from architect.corpus import Bug
from architect.learn import guards
from architect.learn.rules import Suspicion, View, rules, suspicions
from architect.workspace import TreeCopy
from toolchain import build, scratch
from toolchain.errors import InputError
from toolchain.files import read_bounded, write_atomic

STAGE = "bench"
LOOK_SECONDS = 300.0  # after which a look is taken for dead: nothing is booted in it
HISTORY = "prevention.jsonl"  # beside the bugs
HISTORY_BYTES_MAX = 4 << 20
WAYS = ("assembles", "checks", "contract")  # in the order in which pxos check asks, guards after them


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen of one bug without a boot. ``found`` are ``WAYS``, ``guards`` what the bug teaches."""

    id: str
    cls: str
    found: tuple[str, ...]
    guards: tuple[guards.Guard, ...]


def look(bug: Bug, trees: Mapping[str, Path], parent: Path, sound: Mapping[str, frozenset[str]]) -> Look:
    """Plant one bug and look at it in every way that boots nothing."""
    with scratch.folder(f"{bug.id}-", parent) as folder:
        planted = corpus.plant(bug, trees[bug.tree], folder / "tree")
        if bug.tree == "shaders":
            from architect.shaders import gates, proof

            failed = any(not gate.passed for gate in proof.prove(planted, gates.STATIC))
            return Look(bug.id, bug.cls, ("checks",) if failed else (), ())
        sources = TreeCopy(planted).sources()
        changed = {plant.file for plant in bug.plants}
        taught = guards.made(suspicions(View(planted, sources, changed)), sound)
        return Look(bug.id, bug.cls, _found(planted, trees[bug.tree]), taught)


def _found(planted: Path, tree: Path) -> tuple[str, ...]:
    try:
        with build.Session(planted) as session:
            image = session.build()
    except InputError:
        return ("assembles",)
    texts = corpus.sources(tree)  # the promises are those of the sound tree
    said = checks.findings(image, texts) or architecture.findings(corpus.sources(planted))
    found = ["checks"] if said else []
    if contracts.first(image, contracts.routines(texts), None) is not None:
        found.append("contract")
    return tuple(found)


def measure(
    bugs: Sequence[Bug],
    trees: Mapping[str, Path],
    say: Callable[[Look], None],
    wanted: Collection[str] = (),
) -> dict[str, Any]:
    """Every bug on all cores, and what the guards of each class find in the others.

    Args:
        bugs: the corpus; all of it teaches.
        trees: the sound trees by name (``kernel``, ``shaders``).
        say: told of each bug when it was looked at.
        wanted: ids that are counted; all when empty.

    Returns:
        the JSON of ``pxos bench prevention`` without the machine.
    """
    view = View(trees["kernel"], TreeCopy(trees["kernel"]).sources())
    seen = suspicions(view)
    sound = guards.sorts(seen)
    looks = _looks(bugs, trees, sound, say)
    rows = [_row(item, looks) for item in looks if not wanted or item.id in wanted]
    lessons = [guards.Held(guard, n) for n, item in enumerate(looks) for guard in item.guards]
    return {
        "bugs": rows,
        **shares(rows),
        "classes": len({item.cls for item in looks}),
        "guards": dict(sorted(Counter(g.rule for item in looks for g in item.guards).items())),
        "alarms": _alarms(seen),
        "sound_findings": _sound(trees["kernel"], lessons, view),
        "kernel": TreeCopy(trees["kernel"]).digest(),
        "corpus": digest(bugs),
    }


def _looks(
    bugs: Sequence[Bug],
    trees: Mapping[str, Path],
    sound: Mapping[str, frozenset[str]],
    say: Callable[[Look], None],
) -> list[Look]:
    service = partial(_Looker, dict(trees), dict(sound))
    return each_bug.ask("prevention", service, "look", bugs, seconds=LOOK_SECONDS, say=say)


@dataclass(frozen=True, slots=True)
class _Looker:
    """What a worker does."""

    trees: Mapping[str, Path]
    sound: Mapping[str, frozenset[str]]
    folder: Path

    def look(self, bug: Bug) -> Look:
        return look(bug, self.trees, self.folder, self.sound)


def _row(item: Look, looks: Iterable[Look]) -> dict[str, Any]:
    """One bug. A guard finds it when its own suspicion, made a guard, is of a rule that another class teaches.

    Guards of one rule share what they are silent on, that of the sound kernel: the rule alone decides.
    """
    taught = {guard.rule: other.cls for other in looks if other.cls != item.cls for guard in other.guards}
    by = {guard.rule: taught[guard.rule] for guard in item.guards if guard.rule in taught}
    return {
        "id": item.id,
        "class": item.cls,
        **{way: way in item.found for way in WAYS},
        "guards": sorted(by),
        "taught_by": sorted(set(by.values())),
        "teaches": sorted(guard.rule for guard in item.guards),
        "found": bool(item.found or by),
    }


def shares(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The rates, each of all bugs: any way, then each way alone, and what guards alone find."""
    whole = len(rows)

    def share(count: int) -> float | None:
        return round(count / whole, 3) if whole else None

    return {
        "prevention_rate": share(sum(row["found"] for row in rows)),
        "by": {
            "assembles": share(sum(row["assembles"] for row in rows)),
            "checks": share(sum(row["checks"] for row in rows)),
            "contract": share(sum(row["contract"] for row in rows)),
            "guards": share(sum(bool(row["guards"]) for row in rows)),
            "checks_and_guards": share(
                sum(bool(row["assembles"] or row["checks"] or row["guards"]) for row in rows)
            ),
            "guards_alone": share(
                sum(bool(row["guards"]) and not any(row[way] for way in WAYS) for row in rows)
            ),
            "own_class": share(sum(bool(row["teaches"]) for row in rows)),
        },
    }


def _alarms(seen: Sequence[Suspicion]) -> dict[str, dict[str, int]]:
    """Rule -> how many sorts the sound kernel shows, and how many of them in one place only."""
    places: dict[tuple[str, str], set[tuple[str, str | None]]] = {}
    for item in seen:
        places.setdefault((item.rule, item.sort), set()).add((item.file, item.routine))
    return {
        rule: {
            "sorts": sum(name == rule for name, _ in places),
            "once": sum(name == rule and len(where) == 1 for (name, _), where in places.items()),
        }
        for rule in rules()
    }


def _sound(tree: Path, held: Sequence[guards.Held], view: View) -> int:
    """Findings on the sound kernel, all ways: none, or the rate says nothing."""
    with build.Session(tree) as session:
        image = session.build()
        texts = session.sources()
    found = len(checks.findings(image, texts)) + len(architecture.findings(texts))
    found += len(contracts.violations(image, contracts.routines(texts)))
    return found + len(guards.findings(held, view))


def digest(bugs: Sequence[Bug]) -> str:
    """Names a corpus: equal bugs, equal digests."""
    total = hashlib.sha256()
    for bug in sorted(bugs, key=lambda item: item.id):
        plants = [[plant.file, plant.find, plant.replace] for plant in bug.plants]
        total.update(json.dumps([bug.id, bug.cls, plants]).encode())
    return total.hexdigest()


# --- history -----------------------------------------------------------------------------------------------


def history(path: Path) -> list[dict[str, Any]]:
    """The measurements that were kept, oldest first; none where there is no file.

    Raises:
        InputError: a line of it is no measurement.
    """
    if not path.exists():
        return []
    rows = []
    for number, line in enumerate(read_bounded(path, HISTORY_BYTES_MAX, stage=STAGE).splitlines(), 1):
        try:
            row = json.loads(line)
            float(row["prevention_rate"])
            row["kernel"] + row["corpus"]
        except (KeyError, TypeError, ValueError, RecursionError):
            raise InputError(f"{path}:{number}: no measurement of the prevention rate", stage=STAGE) from None
        rows.append(row)
    return rows


def keep(path: Path, data: Mapping[str, Any]) -> bool:
    """Add a measurement to the history, unless the last one of the same kernel and corpus says the same."""
    known = history(path)
    row = {"kernel": data["kernel"][:16], "corpus": data["corpus"][:16], "bugs": len(data["bugs"])}
    row |= {"prevention_rate": data["prevention_rate"], "by": dict(data["by"])}
    if row in known[-1:]:
        return False
    write_atomic(path, "".join(json.dumps(item) + "\n" for item in [*known, row]), stage=STAGE)
    return True


def text(data: Mapping[str, Any], earlier: Sequence[Mapping[str, Any]] = ()) -> str:
    """The rates for a person; each bug was told when it was looked at."""
    by, count = data["by"], len(data["bugs"])
    rows = [
        (data["prevention_rate"], "found before a boot"),
        (by["assembles"], "  by assembling"),
        (by["checks"], "  by static checks"),
        (by["contract"], "  by contracts"),
        (by["guards"], "  by guards learnt from other classes"),
        (by["checks_and_guards"], "  without contracts"),
        (by["guards_alone"], "  by such guards and nothing else"),
        (by["own_class"], "  teach a guard that finds them again"),
    ]
    lines = [f"{'-' if value is None else f'{value:.1%}':>7}  {what}" for value, what in rows]
    lines.append(
        f"{count} bugs, {data['classes']} classes; {data['sound_findings']} findings on the sound kernel"
    )
    alarms = sum(item["once"] for item in data["alarms"].values())
    lines.append(
        f"{alarms} sorts of the sound kernel stand in one place only: each new one like them is an alarm"
    )
    if earlier:
        last = earlier[-1]
        lines.append(f"before: {last['prevention_rate']:.1%} of {last['bugs']} (kernel {last['kernel']})")
    return "\n".join(lines)
