"""Guards: each rule finds its kind wherever it stands, is silent on the sound tree, and is kept with its lesson."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from architect import corpus
from architect.learn import guards
from architect.learn.guards import Guard, Held
from architect.learn.rules import View, rules, suspicions
from architect.lessons import SqliteLessons
from architect.protocols import Lesson, Signature
from architect.workspace import TreeCopy
from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "kernel"
HEAD = ".intel_syntax noprefix\n"


def routine(
    name: str, body: str, inputs: str = "rdi = place:ptr, rsi = value:u64", clobbers: str = "rax"
) -> str:
    lines = "".join(f"    {line}\n" for line in body.strip().split("\n"))
    return (
        f"# {name} -- a routine\n# In:       {inputs}\n# Out:      none\n"
        f"# Clobbers: {clobbers}\n# Context:  long mode, any IF\n.global {name}\n{name}:\n{lines}    ret\n\n"
    )


def make(folder: Path, text: str, constants: str = "") -> tuple[Path, dict[str, str]]:
    sources = {"a.s": HEAD + '.include "c.inc"\n' + text, "include/c.inc": constants or ".set UNUSED, 1\n"}
    for name, content in {**sources, "boot.toml": "", "image.toml": ""}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder, sources


STORES = "mov rax, rsi\nor rax, 1\nmov [rdi], rax"
DROPS = "mov rax, rsi\nor rax, 1"
OTHER_DROP = "mov r10, [rdi]\nand r10, 0xff\nmov [rdi], rsi\nshl r10, 4"
CASES: dict[str, tuple[str, str, str, str]] = {
    # rule: sound, broken, the same kind of mistake with other registers in another routine, its constants
    "value-never-used": (routine("one", STORES), routine("one", DROPS), routine("two", OTHER_DROP, clobbers="r10"), ""),
    "operand-from-elsewhere": (
        routine("one", "mov rax, [rdi]\nxor edx, edx\ndiv rsi\nmov [rdi], rax", clobbers="rax, rdx"),
        routine("one", "mov rax, [rdi]\nmov rdx, rdi\ndiv rsi\nmov [rdi], rax", clobbers="rax, rdx"),
        routine("two", "mov rdx, rsi\nmov rax, [rsi]\nidiv rdi\nmov [rsi], rax", clobbers="rax, rdx"),
        "",
    ),
    "bits-known": (
        routine("one", "mov rax, [rdi]\ntest eax, 8\njz 1f\nand rax, ~0xf\nmov [rdi], rax\n1:"),
        routine("one", "mov rax, [rdi]\nand rax, ~0xf\ntest eax, 8\njz 1f\nmov [rdi], rax\n1:"),
        routine("two", "mov ecx, [rsi]\nshl ecx, 12\ntest ecx, 0x40\njz 1f\nmov [rsi], ecx\n1:", clobbers="rcx"),
        "",
    ),
    "field-overrun": (
        routine("one", "mov ax, [rdi + ROW_A]\nmov [rdi + ROW_D], ax"),
        routine("one", "mov eax, [rdi + ROW_A]\nmov [rdi + ROW_D], ax"),
        routine("two", "mov rcx, [rsi + ROW_A]\nmov [rsi + ROW_D], rcx", clobbers="rcx"),
        ".set ROW_A, 0\n.set ROW_B, 2\n.set ROW_C, 3\n.set ROW_D, 4\n",
    ),
    "physical-as-virtual": (
        routine("one", "add rdi, rsi\nmov rax, [rdi]\nmov [rdi], rax", "rdi = frame:phys, rsi = base:u64", "rax, rdi"),
        routine("one", "mov rax, [rdi]\nmov [rdi], rax", "rdi = frame:phys, rsi = base:u64", "rax, rdi"),
        routine("two", "mov rcx, rsi\nmov rax, [rcx]\nmov [rdi], rax", "rdi = to:ptr, rsi = from:phys", "rax, rcx"),
        "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES)
def test_a_guard_finds_its_kind_elsewhere_and_nothing_in_the_sound_tree(tmp_path: Path, rule: str) -> None:
    sound, broken, other, constants = CASES[rule]
    folder, after = make(tmp_path, sound, constants)
    before = {**after, "a.s": after["a.s"].replace(sound, broken)}
    taught = {guard.rule: guard for guard in guards.learnt(folder, before, after)}
    assert rule in taught
    held = [Held(taught[rule], 7)]
    assert guards.run(held, folder, after) == []
    found = guards.run(held, folder, before)
    assert found and all(row["rule"] == f"guard:{rule}" and "(lesson 7)" in row["message"] for row in found)
    elsewhere = {**after, "a.s": after["a.s"] + other}
    assert {row["routine"] for row in guards.run(held, folder, elsewhere)} == {"two"}


def test_constants_that_disagree(tmp_path: Path) -> None:
    shifts = "".join(
        f".set {name}_SHIFT, {bits}\n" for name, bits in zip("ABCD", (12, 21, 30, 39), strict=True)
    )
    good = f".set T_ENTRIES, 512\n.set T_INDEX_MASK, 0x1ff\n\n{shifts}"
    folder, after = make(tmp_path, routine("one", STORES), good)
    rule = rules()["constants-disagree"]
    assert not list(rule(View(folder, after)))
    for old, new in (("0x1ff", "0xff"), ("D_SHIFT, 39", "D_SHIFT, 38"), ("A_SHIFT, 12", "A_SHIFT, 13")):
        texts = {**after, "include/c.inc": good.replace(old, new)}
        assert len(list(rule(View(folder, texts)))) == 1


def test_a_name_that_lost_its_use(tmp_path: Path) -> None:
    names = ".set MODE_A, 5\n.set MODE_B, 9\n.set MODE_C, 17\n.set MODE_D, 33\n"
    used = routine(
        "one", "mov eax, MODE_A\nadd eax, MODE_B\nadd eax, MODE_C\nadd eax, MODE_D\nmov [rdi], eax"
    )
    folder, after = make(tmp_path, used, names)
    before = {**after, "a.s": after["a.s"].replace("MODE_C", "MODE_B")}
    (guard,) = [g for g in guards.learnt(folder, before, after) if g.rule == "name-never-used"]
    (row,) = guards.run([Held(guard, 1)], folder, before)
    assert row["file"] == "include/c.inc" and "MODE_C" in row["message"]


def test_what_the_sound_kernel_shows_teaches_nothing() -> None:
    text = "mov rax, [rdi]"
    shown = {"value-never-used": frozenset({"mov r64, mem"})}
    assert not guards.made(_fake(text), shown)
    assert [g.silent for g in guards.made(_fake(text), {})] == [frozenset()]


def _fake(text: str) -> list[Any]:
    from architect.learn.rules import Suspicion

    return [Suspicion("value-never-used", "mov r64, mem", text, "a.s", 3, "one")]


SIGNATURE = Signature("fault", 14, ("write",), "PT", None, "mov", "page_map", (), "boot")


def lesson_of(tmp_path: Path, bug: str) -> tuple[SqliteLessons, int]:
    """A store with the lesson of a bug of the corpus, as a repair records it."""
    from architect.generalise import generalise
    from architect.protocols import Case, Edit, Patch

    sources = TreeCopy(KERNEL).sources()
    broken = {**sources, **corpus.changed(corpus.read(ROOT / f"tests/bugs/{bug}.toml"), sources)}
    (file,) = [name for name in sources if broken[name] != sources[name]]
    old, new = broken[file].split("\n"), sources[file].split("\n")
    line = next(n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    edit = Edit(file, line + 1, (), (new[line],))
    made = generalise(Patch((edit,), "search", "insert", ""), Case(KERNEL, broken, None, None, None))
    store = SqliteLessons(tmp_path / "lessons")
    return store, store.record(SIGNATURE, "the entry is never written", made, {"before": "boot"})


@pytest.mark.long
def test_a_lesson_makes_its_guard_from_its_edit_alone_and_it_finds_another_class(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, number = lesson_of(tmp_path, "seed-bar0-unmapped")
    where = ("--lessons", str(tmp_path / "lessons"))
    answer = pxos("lessons", "guard", str(number), *where, "--kernel", str(KERNEL), "--json", "-q")
    schemas.validate(answer.data, "lessons")
    assert [g["rule"] for g in answer.data["lessons"][0]["guards"]] == ["value-never-used"]
    sources = TreeCopy(KERNEL).sources()
    held = guards.held(store.all())
    assert guards.run(held, KERNEL, sources) == []
    # Another class: CR0 is read and the value thrown away. No check or contract finds it, only a boot did.
    bug = corpus.read(ROOT / "tests/bugs/further/cr0-overwritten.toml")
    changed = corpus.changed(bug, sources)
    (row,) = guards.run(held, KERNEL, {**sources, **changed}, set(changed))
    assert (row["file"], row["routine"]) == ("mm/space.s", "space_enter")
    dropped = pxos("lessons", "guard", str(number), *where, "--drop", "--json")
    assert dropped.data["lessons"][0]["guards"] == [] and guards.held(store.all()) == []
    history = pxos("lessons", "show", str(number), *where, "--json").data["lessons"][0]["history"]
    assert [row["kind"] for row in history] == ["added", "guard", "guard"]


def test_a_guard_holds_for_its_project_alone(tmp_path: Path) -> None:
    lesson = Lesson(3, SIGNATURE, "", {}, {}, guards=(guards.to_json(Guard("r", "s", frozenset(), "pxos")),))
    assert [item.lesson for item in guards.held([lesson])] == [3] and guards.held([lesson], "other") == []
    assert guards.project_of(KERNEL) == "pxos"
    (tmp_path / "pxos.toml").write_text('[kernel]\nname = "mine"\n')
    assert guards.project_of(tmp_path) == "mine"
    (tmp_path / "pxos.toml").write_text("[kernel")
    assert guards.project_of(tmp_path) == tmp_path.name


@pytest.mark.parametrize(
    "row", [None, [], {}, {"rule": 1, "sort": "", "project": "", "silent": []},
            {"rule": "r", "sort": "s", "project": "p", "silent": "x"},
            {"rule": "r", "sort": "s", "project": "p", "silent": [1]},
            {"rule": "r" * 300, "sort": "s", "project": "p", "silent": []},
            {"rule": "r", "sort": "s", "project": "p", "silent": ["x"] * 600}],
)  # fmt: skip
def test_what_is_no_guard_is_refused(row: object) -> None:
    with pytest.raises(InputError, match=r"^lesson 4: a guard"):
        guards.from_json(row, "lesson 4")


@pytest.mark.long
def test_rules_say_nothing_twice_and_name_no_kernel() -> None:
    found = suspicions(View(KERNEL, TreeCopy(KERNEL).sources()))
    assert len(set(found)) == len(found)
    names = {s.routine for s in found if s.routine}
    for path in (ROOT / "architect/learn/rules").glob("*.py"):
        text = path.read_text()
        assert not [name for name in names if f'"{name}"' in text], path
