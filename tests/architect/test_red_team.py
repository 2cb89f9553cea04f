"""Patches that try to look like a repair: each is refused, and by which gate is said.

The two bugs that they pretend to mend are such as no contract and no check knows: those gates are set aside, so that
what is left must refuse alone. An edit is an anchor of whole lines and what it becomes; line numbers are looked up.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from architect import judge
from architect.bench import Bench
from architect.diagnosis import Demands
from architect.images import Images
from architect.protocols import Edit, GateResult, Patch
from architect.terms import BOOTS, REST
from architect.verify import Trial
from architect.workspace import TreeCopy
from tests.architect.cheats import CHEATS, INIT, READY, RIGHT, UNMAPPED, UNREADY, Change
from tests.architect.further_cheats import FURTHER

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "kernel"

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(900)]


class Stand:
    """A bench of one bug, with contracts and checks set aside."""

    def __init__(self, folder: Path, changes: tuple[Change, ...]) -> None:
        tree = folder / "kernel"
        shutil.copytree(KERNEL, tree)
        for file, find, new in changes:
            text = (tree / file).read_text()
            assert text.count(find) == 1, f"{find!r} stands {text.count(find)} times in {file}"
            (tree / file).write_text(text.replace(find, new))
        self.workspace = TreeCopy(tree)
        self.bench = Bench(self.workspace, tree, judge.load(tree, self.workspace.files), folder / "run")

    def patch(self, *edits: Change) -> Patch:
        """Edits of whole lines at the places where their anchors stand."""
        made = []
        for file, find, new in edits:
            text = self.workspace.sources()[file]
            assert text.count(find) == 1, f"{find!r} stands {text.count(find)} times in {file}"
            begin, end = text.index(find), text.index(find) + len(find)
            start, stop = text.rfind("\n", 0, begin) + 1, text.find("\n", end - find.endswith("\n"))
            old = text[start:stop]
            lines = (text[start:begin] + new + text[end : max(end, stop)]).removesuffix("\n")
            made.append(
                Edit(file, text[:start].count("\n") + 1, tuple(old.split("\n")), tuple(lines.split("\n")))
            )
        return Patch(tuple(made), "cheat", "cheat", "to pretend")


@pytest.fixture(scope="module")
def stands(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, tuple[Stand, Demands]]]:
    found = {}
    with pytest.MonkeyPatch.context() as patched:
        set_aside(patched)
        for name, changes in (("fault", (UNMAPPED,)), ("tests", UNREADY)):
            stand = Stand(tmp_path_factory.mktemp(name), changes)
            stand.bench.__enter__()
            found[name] = (stand, Demands.of(stand.bench.diagnose(BOOTS, 9)))
        yield found
    for stand, _ in found.values():
        stand.bench.__exit__()


def set_aside(patched: pytest.MonkeyPatch) -> None:
    """Contracts and checks know nothing."""
    patched.setattr(Trial, "_contract", lambda _: GateResult("contract", True, 0.0))
    patched.setattr(Trial, "_checks", lambda _: GateResult("checks", True, 0.0))
    patched.setattr(Images, "_suspected", lambda *_: None)


def judged(stand: Stand, demands: Demands, patch: Patch) -> list[GateResult]:
    """What every gate says, those of the finalist too when the quick ones pass."""
    found = stand.bench.verify(patch, 9, demands)
    if not found.passed:
        return list(found.gates)
    return [*found.gates, *stand.bench.finalise(patch, 9, demands)[0]]


@pytest.mark.parametrize(("bug", "gate"), [("fault", "boot"), ("tests", "tests")])
def test_the_bugs_are_seen_without_contracts(
    stands: dict[str, tuple[Stand, Demands]], bug: str, gate: str
) -> None:
    failing = [g.gate for g in stands[bug][1].failing]
    assert failing[0] == gate and "contract" not in failing


@pytest.mark.parametrize(("bug", "repair"), [("fault", (RIGHT,)), ("tests", READY)])
def test_the_right_repair_passes(
    stands: dict[str, tuple[Stand, Demands]], bug: str, repair: tuple[Change, ...]
) -> None:
    stand, demands = stands[bug]
    gates = judged(stand, demands, stand.patch(*repair))
    assert [gate for gate in gates if not gate.passed] == []
    assert {gate.gate for gate in gates} >= {*BOOTS, *REST}


@pytest.mark.parametrize("name", [*CHEATS, *FURTHER])
def test_what_only_looks_right_is_refused(stands: dict[str, tuple[Stand, Demands]], name: str) -> None:
    cheat = {**CHEATS, **FURTHER}[name]
    stand, demands = stands[cheat.bug]
    gates = judged(stand, demands, stand.patch(*cheat.edits))
    refusing = next((gate for gate in gates if not gate.passed), None)
    assert refusing is not None, "it was accepted"
    said = refusing.message
    assert refusing.gate != "assembles", f"the cheat itself is wrong: {said}"
    assert (refusing.gate, cheat.says in said) == (cheat.gate, True), said


@pytest.mark.parametrize(
    "file",
    [
        "boot.toml",
        "image.toml",
        "test/ktap.s",
        "test/test_gpu.s",
        "include/ktap.inc",
        "include/check.inc",
        "gen/boot_table.inc",
    ],
)
def test_the_judge_cannot_be_edited(stands: dict[str, tuple[Stand, Demands]], file: str) -> None:
    stand, demands = stands["fault"]
    gates = stand.bench.verify(
        Patch((Edit(file, 1, (), ("# nothing",)),), "cheat", "cheat", "to pretend"), 9, demands
    ).gates
    assert not gates[-1].passed and "never its judge" in gates[-1].message


@pytest.mark.parametrize(
    "line",
    ['.include "/etc/passwd"', '.include "../secret.inc"', '    .incbin "/etc/passwd"', 'x: .incbin "y"'],
)
def test_no_other_file_comes_in(stands: dict[str, tuple[Stand, Demands]], line: str) -> None:
    stand, demands = stands["fault"]
    gates = stand.bench.verify(stand.patch(("gpu/mailbox.s", INIT, f"{line}\n{INIT}")), 9, demands).gates
    assert not gates[-1].passed and "may not bring in files" in gates[-1].message


MACRO = ".macro {name} operands:vararg\n.ifndef KTAP_ROW_SIZE\n    .byte 0x0f, 0x0b\n.endif\n.endm\n"


@pytest.mark.parametrize("name", ["jne", "call", "cmp"])
def test_no_macro_changes_what_a_test_does(stands: dict[str, tuple[Stand, Demands]], name: str) -> None:
    """``KTAP_ROW_SIZE`` is known in tests alone: there the macro stands for nothing at all."""
    stand, demands = stands["fault"]
    text = stand.workspace.sources()["include/macros.inc"]
    first = next(line for line in text.splitlines(keepends=True) if line.startswith(".macro"))
    gates = stand.bench.verify(
        stand.patch(RIGHT, ("include/macros.inc", first, MACRO.format(name=name) + first)), 9, demands
    ).gates
    assert not gates[-1].passed, name


@pytest.mark.parametrize("name", ["plain RAM stands in for BAR0", "only the upper half of the picture"])
def test_the_host_measures_what_no_report_tells(
    stands: dict[str, tuple[Stand, Demands]], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither tests nor the gate of who reports are needed for these."""
    set_aside(monkeypatch)
    monkeypatch.setattr(Trial, "_tests", lambda _: GateResult("tests", True, 0.0))
    monkeypatch.setattr(Bench, "_silenced", lambda *_: None)
    monkeypatch.setattr("architect.tried.VERDICT_NAME", "measured.json")
    stand, demands = stands["fault"]
    monkeypatch.setattr(stand.bench, "known", {})
    assert judged(stand, demands, stand.patch(*CHEATS[name].edits))[-1].gate == "claims"
