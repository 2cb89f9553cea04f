"""``pxos bench fix --drawn``: which mutants count, how they become bugs, how they are told; the whole in QEMU."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
from architect import bench_drawn, bench_drawn_told, corpus
from architect.bench_drawn_told import Draw
from architect.mutants import Mutant
from tests import small_tree
from tests.unit.pxos import pxos
from toolchain.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = json.loads((Path(cli.__file__).parent / "toolchain/schemas/bench.json").read_text())
NASM = ROOT / "tests/fixtures/kernels/nasm-flat"


def mutant(line: int, old: str, new: tuple[str, ...], cls: str = "delete") -> Mutant:
    return Mutant(cls, "start.s", line, (old,), new, None)


@pytest.mark.parametrize("new", [(), ("    call other", "    call other"), ("    jmp other",)])
def test_a_mutant_becomes_a_bug_that_plants_it_and_nothing_else(tmp_path: Path, new: tuple[str, ...]) -> None:
    tree = small_tree.plant(tmp_path / "tree")
    one = mutant(6, "    call other", new)
    bug = bench_drawn._bug(tmp_path, tree, "kernel", "drawn-1-1", one)
    planted = corpus.plant(bug, tree, tmp_path / "planted")
    sound = (tree / "start.s").read_text()
    assert (planted / "start.s").read_text() == bench_drawn.changed(sound, one)
    assert (planted / "cpu/other.s").read_text() == (tree / "cpu/other.s").read_text()
    assert corpus.read(bug.file) == bug and bug.cls == "delete"


def test_a_line_that_stands_twice_is_found_by_what_is_above_it() -> None:
    text = "a:\n    ret\nb:\n    ret\n"
    for line, want in ((2, "a:\nb:\n    ret\n"), (4, "a:\n    ret\nb:\n")):
        plant = bench_drawn._plant(text, mutant(line, "    ret", ()))
        assert text.count(plant.find) == 1 and text.replace(plant.find, plant.replace) == want


def row(cls: str, plausible: bool, correct: bool, same: bool | None, *broken: str) -> dict[str, Any]:
    return {
        "class": cls, "asked": "search", "plausible": plausible, "correct": correct, "same_code": same,
        "broken": list(broken), "cpu_seconds": 2.5,
    }  # fmt: skip


def test_what_became_of_each_class_is_told_apart() -> None:
    fates = ("noticed", "noticed", "noticed", "noticed", "unnoticed", "same", "unbuilt")
    drawn = [Draw(mutant(6, "    call other", ()), fate, "") for fate in fates]
    bugs = [
        row("delete", True, True, True),
        row("delete", True, False, False, "boot: it hangs"),
        row("delete", True, False, False, bench_drawn_told.OTHER_CODE),
        row("delete", False, False, None),
    ]
    told = bench_drawn_told.told(drawn, 1, "kernel", bugs)
    (one,) = told["classes"]
    assert (told["draws"], told["noticed"], told["unnoticed"], told["same"], told["unbuilt"]) == (
        7,
        4,
        1,
        1,
        1,
    )
    assert (one["drawn"], one["bugs"], one["plausible"], one["same_code"]) == (7, 4, 3, 1)
    assert (one["correct"], one["wrong"], one["unproved"]) == (1, 1, 1)
    jsonschema.validate(told, SCHEMA["properties"]["drawn"])
    engines = [{"engine": "search", "median_seconds": 1.5, "boots": 3}]
    table = bench_drawn_told.markdown({"drawn": told, "bugs": bugs, "engines": engines}).splitlines()
    assert len({line.count("|") for line in table}) == 1
    assert table[2] == "| kernel | 1 | `search` | 7 | 1 | 1 | 1 | 4 | 3 | 1 | 1 | 1 | 1 | 1.5 | 2.5 |"
    text = bench_drawn_told.text({"drawn": told, "bugs": bugs, "engines": engines})
    assert (
        "7 mutants of kernel by seed 1: 1 do not build, 1 are the same code, 1 nobody notices, 4 show" in text
    )
    assert text.splitlines()[2].split()[-7:] == ["7", "4", "3", "1", "1", "1", "1"]


def test_the_readme_shows_the_run_that_is_kept() -> None:
    kept = json.loads((ROOT / "tests/bugs/drawn.json").read_text())
    drawn, whole = kept["drawn"], bench_drawn_told.counted(kept["bugs"])
    other = whole["correct"] - whole["same_code"]
    said = (ROOT / "README.md").read_text()
    for part in (
        f"--drawn {whole['bugs']} --seed {drawn['seed']} --budget 90",
        f"{whole['correct']} of {whole['bugs']} repaired, {whole['same_code']} of them the sound code again, {other}",
        f"Of {drawn['draws']} drawn {drawn['unnoticed']} go unnoticed, {drawn['same']} are the same code",
    ):
        assert part in said
    assert whole["wrong"] == whole["unproved"] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fix", "--drawn", "0"], "--drawn N"),
        (["fix", "nx-without-nxe", "--drawn", "2"], "--drawn N"),
        (["build", "--drawn", "2"], "--drawn N"),
        (["fix", "--drawn", "2", "--kernel", "shaders"], "trees of assembly"),
    ],
)
def test_what_cannot_be_drawn(words: list[str], said: str) -> None:
    answer = pxos("bench", *words)
    assert answer.status == 2 and said in answer.errors and answer.errors.count("\n") == 1


@pytest.mark.qemu
def test_a_foreign_tree_that_fails_as_it_is_says_nothing_of_mutants(tmp_path: Path) -> None:
    tree = shutil.copytree(NASM, tmp_path / "tree")
    text = (tree / "main.asm").read_text()
    (tree / "main.asm").write_text(text.replace("        mov rsp, STACK64_TOP\n", "        mov rsp, 3\n"))
    with pytest.raises(InputError, match="fails as it is"), bench_drawn._foreign(tree, tmp_path):
        pass


@pytest.mark.qemu
@pytest.mark.parametrize("name", ["att-multiboot", "nasm-flat"])
def test_a_foreign_tree_that_is_whole_again_is_the_same_code(tmp_path: Path, name: str) -> None:
    trees = [shutil.copytree(NASM.parent / name, tmp_path / part) for part in ("sound", "patched")]
    source = next(path for path in sorted(trees[1].rglob("*")) if path.suffix in (".asm", ".s"))
    text = source.read_text()
    source.write_text(text + "        nop\n")
    assert bench_drawn._artifact(trees[0], tmp_path) != bench_drawn._artifact(trees[1], tmp_path)
    source.write_text(text)
    assert bench_drawn._artifact(trees[0], tmp_path) == bench_drawn._artifact(trees[1], tmp_path)


@pytest.mark.qemu
def test_a_foreign_tree_from_the_drawing_to_the_figures_and_again(tmp_path: Path) -> None:
    words = ("bench", "fix", "--drawn", "1", "--seed", "1", "--budget", "3", "--kernel", str(NASM), "--json")
    first = pxos(*words, "--keep", str(tmp_path / "kept"))
    assert first.status == 0, first.errors
    jsonschema.validate(first.data, SCHEMA)
    drawn = first.data["drawn"]
    assert drawn["noticed"] == 1 == len(first.data["bugs"]) and drawn["mutants"][-1]["fate"] == "noticed"
    assert sum(drawn[fate] for fate in bench_drawn_told.FATES) == drawn["draws"] == len(drawn["mutants"])
    again = pxos(*words, "--keep", str(tmp_path / "kept"))
    assert again.data == first.data and "known from before" in again.errors


@pytest.mark.qemu
@pytest.mark.slow
def test_the_kernel_is_drawn_from(tmp_path: Path) -> None:
    answer = pxos("bench", "fix", "--drawn", "1", "--seed", "1", "--budget", "60", "--json")
    assert answer.status == 0, answer.errors
    jsonschema.validate(answer.data, SCHEMA)
    assert not any("test/" in one["file"] for one in answer.data["drawn"]["mutants"])
