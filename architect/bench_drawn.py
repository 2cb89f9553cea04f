"""``pxos bench fix --drawn N``: bugs drawn by chance (``mutants``), and how many of them are repaired.

Owns which mutants count, and how a repair of one is judged. A mutant counts when it builds, is not the same code, and
its boot or its in-kernel tests fail (of a foreign tree: what its ``pxos.toml`` asks of a boot); all others are counted
apart, for what the tests do not notice is a figure too. Only sources that a repair may edit are mutated: those of
tests judge. A repair is *the same code* where the patched tree gives the sound one's image again; one with other code
is held to what the repair never saw (contracts of the routine with more seeds, static checks, other machines), where
the tree is ours; of a foreign tree other code stays *unproved*.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from architect import bench_fix, contracts, kinds
from architect.bench_drawn_told import OTHER_CODE, Draw, told
from architect.bench_kept import Kept
from architect.bench_result import Terms
from architect.corpus import Bug, Plant, read
from architect.mutants import Mutant, Sources, draws
from architect.protocols import Edit, Patch
from architect.workspace import TreeCopy
from toolchain import scratch
from toolchain.command import Ui
from toolchain.errors import InputError

if TYPE_CHECKING:
    from toolchain.types import Image

STAGE = "bench"
DRAWS_EACH = 40  # draws for each bug that is wanted, before the tree's tests count as noticing too little
BOOTS_EACH = 1  # a boot that was cut short is not asked again: it is noticed either way
_MACHINES: tuple[Mapping[str, Any], ...] = ({"smp": 2, "memory": "512M"}, {"machine": "pc", "memory": "64M"})

Look = Callable[[Mutant], tuple[str, str]]


def run(
    ui: Ui, tree: Path, count: int, seed: int, terms: Terms, engines: Sequence[str], keep: Path | None = None
) -> dict[str, Any]:
    """Draw ``count`` mutants that are noticed, and let each engine repair them.

    Args:
        ui: told of every draw and of every repair.
        tree: the sound tree, ours or a foreign one.
        count: mutants that the tree's own judge notices.
        seed: of the drawing.
        terms: without their engine.
        engines: names.
        keep: the file in which results are kept as they come, and from which an interrupted run goes on.

    Raises:
        InputError: the tree cannot be used or shows no bugs; the file cannot be read or written.
        ToolError: QEMU, a program that makes an ISO, or the sandbox is missing.
    """
    kind = kinds.of(tree).name
    if kind not in ("kernel", "foreign"):
        raise InputError(f"{tree}: bugs are drawn in trees of assembly", stage=STAGE)
    kept = Kept(keep, {kind: tree}) if keep else None
    with scratch.folder("pxos-drawn-") as folder:
        looking = _native if kind == "kernel" else _foreign
        drawn = _drawn(ui, looking, tree, folder, count, seed, kept)
        noticed = [one.mutant for one in drawn if one.fate == "noticed"]
        judge = partial(_judged_native if kind == "kernel" else _judged_foreign, folder)
        bugs = [_bug(folder, tree, kind, f"drawn-{seed}-{n}", one) for n, one in enumerate(noticed, 1)]
        data = bench_fix.compared(ui, bugs, {kind: tree}, terms, engines, kept, judge)
    return {**data, "drawn": told(drawn, seed, tree.name, data["bugs"])}


def _drawn(
    ui: Ui, looking: Any, tree: Path, folder: Path, count: int, seed: int, kept: Kept | None
) -> list[Draw]:
    """Draws up to the last that is wanted."""
    found: list[Draw] = []
    seen = 0
    with looking(tree, folder) as (sources, look):
        for mutant in draws(sources, seed):
            if seen == count or len(found) == DRAWS_EACH * count:
                break
            name = json.dumps(asdict(mutant))
            known = kept.recall(name) if kept else None
            fate, why = known or look(mutant)
            if kept and not known:
                kept.note(name, (fate, why))
            found.append(Draw(mutant, fate, why))
            seen += fate == "noticed"
            ui.step(f"draw {len(found)}: {fate:<9} {mutant.told()}" + (f" ({why})" if why else ""))
    if not seen:
        raise InputError(f"{tree}: of {len(found)} mutants its tests notice none", stage=STAGE)
    return found


# --- which mutants count ---------------------------------------------------------------------------------------


@contextmanager
def _native(tree: Path, folder: Path) -> Iterator[tuple[Sources, Look]]:
    """Our kernel: built in one warm session, booted with its tests."""
    from architect import deadlines, judge
    from architect.terms import Terms as Trying
    from architect.tried import linked
    from architect.verify import Trial
    from toolchain import build

    workspace = TreeCopy(tree)
    verdicts = judge.load(tree, workspace.files)
    headers = contracts.routines(verdicts.sources)
    sources = workspace.sources()
    timeout = deadlines.original_timeout(deadlines.empty_boot_seconds(folder / "empty"))
    terms = Trying(("boot", "tests"), timeout, BOOTS_EACH, explain=False)
    with build.Session(tree, None, still=True) as session:

        def tried(image: Image) -> tuple[str, str]:
            elf = folder / "look.elf"
            elf.write_bytes(linked(image)[0])
            trial = Trial(verdicts, headers, image, elf, lambda: elf, folder / "look", tree, terms)
            return ("unnoticed", "") if trial.run() else ("noticed", trial.gates[-1].message)

        def look(mutant: Mutant) -> tuple[str, str]:
            try:
                image = session.build({mutant.file: changed(sources[mutant.file], mutant)})
            except InputError as error:
                return "unbuilt", str(error.message).splitlines()[0]
            return ("same", "") if linked(image)[1] == sound else tried(image)

        image = session.build()
        sound = linked(image)[1]
        _need_sound(tree, tried(image)[1])
        yield Sources(sources), look


@contextmanager
def _foreign(tree: Path, folder: Path) -> Iterator[tuple[Sources, Look]]:
    """A foreign tree: built and booted as for a candidate, with the patience of its own file."""
    from architect.diagnosis import Demands
    from architect.foreign.bench import BOOTS, BUILDS, ForeignBench
    from architect.foreign.tongue import is_assembly
    from architect.foreign.workspace import ForeignCopy
    from toolchain.foreign import config, sandbox

    sandbox.check()
    foreign = config.load(tree)
    workspace = ForeignCopy(foreign)
    texts = {name: text for name, text in workspace.sources().items() if is_assembly(name)}
    bench = ForeignBench(workspace, folder / "look")
    demands = Demands(timeout=foreign.timeout, still=foreign.timeout)
    whole = bench.diagnose(
        (BUILDS, BOOTS), 1
    )  # built where mutants are: debugging information names the folder
    sound = whole.image_sha256
    _need_sound(tree, "; ".join(gate.message for gate in whole.case.failures))

    def look(mutant: Mutant) -> tuple[str, str]:
        edit = Edit(mutant.file, mutant.line, mutant.old, mutant.new)
        seen = bench.verify(Patch((edit,), "drawn", mutant.cls, ""), BOOTS_EACH, demands)
        if seen.image_sha256 is None:
            return "unbuilt", seen.gates[-1].message
        if seen.image_sha256 == sound:
            return "same", ""
        return ("unnoticed", "") if seen.passed else ("noticed", seen.gates[-1].message)

    try:
        yield Sources(texts, foreign.syntax), look
    finally:
        bench.close()


def _need_sound(tree: Path, problem: str) -> None:
    if problem:
        raise InputError(
            f"{tree}: fails as it is, so that it says nothing of mutants: {problem}", stage=STAGE
        )


def changed(text: str, mutant: Mutant) -> str:
    """A source with a mutation in it."""
    lines = text.split("\n")
    lines[mutant.line - 1 : mutant.line - 1 + len(mutant.old)] = mutant.new
    return "\n".join(lines)


# --- as a bug of a corpus --------------------------------------------------------------------------------------


def _bug(folder: Path, tree: Path, kind: str, name: str, mutant: Mutant) -> Bug:
    """A mutant as a bug with a file of its own, as ``corpus`` reads it."""
    plant = _plant((tree / mutant.file).read_text("utf-8"), mutant)
    rows = [f"id = {json.dumps(name)}", f'class = "{mutant.cls}"', f"report = {json.dumps(mutant.told())}"]
    rows += [
        'shows = "failed-test"',
        'expect = "tests-failed"',
        'noticed_by = "tests"',
        "reference_edits = 1",
    ]
    rows += ["[[plant]]", *(f"{key} = {json.dumps(value)}" for key, value in asdict(plant).items())]
    rows += ["[[invariant]]", 'kind = "findings"']
    if kind == "kernel":
        if mutant.routine in contracts.routines(TreeCopy(tree).sources()):
            rows += ["[[invariant]]", 'kind = "contract"', f"routine = {json.dumps(mutant.routine)}"]
        for options in _MACHINES:
            rows += [
                "[[invariant]]",
                'kind = "boot"',
                *(f"{k} = {json.dumps(v)}" for k, v in options.items()),
            ]
        rows += ["[[invariant]]", 'kind = "pixels"']
    path = folder / f"{name}.toml"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    bug = read(path)
    return bug if kind == "kernel" else Bug(**{**_fields(bug), "tree": kind})


def _fields(bug: Bug) -> dict[str, Any]:
    return {name: getattr(bug, name) for name in Bug.__dataclass_fields__}


def _plant(text: str, mutant: Mutant) -> Plant:
    """The mutation with as many lines above it as make the place unique."""
    lines = text.split("\n")
    start, end = mutant.line - 1, mutant.line - 1 + len(mutant.old)
    for above in range(start, -1, -1):
        find = "\n".join(lines[above:end]) + "\n"
        if text.count(find) == 1 and (above == 0 or text.count("\n" + find) == 1):
            new = [*lines[above:start], *mutant.new]
            return Plant(mutant.file, find, "".join(line + "\n" for line in new))
    raise InputError(f"{mutant.file}:{mutant.line}: the file does not end with a line feed", stage=STAGE)


# --- how a repair is judged ------------------------------------------------------------------------------------


def _judged_native(folder: Path, bug: Bug, tree: Path, patched: Path) -> bench_fix.Judged:
    from architect.tried import linked
    from toolchain import build

    if linked(build.once(patched)[0])[1] == linked(build.once(tree)[0])[1]:
        return (), True
    return bench_fix.by_invariants(bug, tree, patched)[0], False


def _judged_foreign(folder: Path, bug: Bug, tree: Path, patched: Path) -> bench_fix.Judged:
    same = _artifact(tree, folder) == _artifact(patched, folder)
    return ((), True) if same else ((OTHER_CODE,), False)


def _artifact(tree: Path, folder: Path) -> str:
    """What a foreign tree builds, by its content; always in one folder, for debugging information names it."""
    from architect.foreign.workspace import ForeignCopy
    from toolchain.foreign import build, config
    from toolchain.foreign.sandbox import Sandbox
    from toolchain.foreign.tree import Copy

    own = folder / "artifact"
    shutil.rmtree(own, ignore_errors=True)
    foreign = config.load(tree)
    copy = Copy(ForeignCopy(foreign).whole, own)
    copy.refresh()
    return build.build(foreign, copy, Sandbox(), named=False).sha256
