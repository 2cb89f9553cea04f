"""The memory's levels: budgets that hold, rules that stay, nothing read twice, files that survive."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from architect.learn.memory import BUDGETS, LEVELS, Item, Memory
from toolchain.errors import InputError


def words(text: str) -> int:
    return len(text.split())


def small(**more: object) -> Memory:
    return Memory({"case": 10, "session": 10, "project": 10, "anywhere": 10}, words, **more)  # type: ignore[arg-type]


def test_a_budget_holds_at_any_moment_and_rules_stay() -> None:
    memory = small()
    rule = memory.note("case", "never edit the judge", pinned=True)
    noise = random.Random(1)
    for n in range(300):
        memory.note("case", " ".join(f"w{n}.{k}" for k in range(noise.randint(1, 6))))
        assert memory.tokens("case") <= 10
        assert rule in memory.items("case")
    assert memory.items("case")[-1].text.startswith("w299")
    assert memory.tokens() == memory.tokens("case")


def test_what_is_pinned_is_never_pushed_out_by_what_is_pinned() -> None:
    memory = small()
    memory.note("case", "one two three four five six", pinned=True)
    with pytest.raises(InputError, match="4 are free"):
        memory.note("case", "a b c d e", pinned=True)
    with pytest.raises(InputError, match="does not fit"):
        memory.note("session", " ".join("abcdefghijk"))
    assert [item.pinned for item in memory.items()] == [True]


def test_what_was_read_is_not_read_again() -> None:
    memory = small()
    first = memory.read("mm/page.s:1-3", "mov rax, rdi")
    again = memory.read("mm/page.s:1-3", "mov rax, rdi")
    assert not first.again and first.text == "mov rax, rdi"
    assert again.again and again.item == first.item and f"item {first.item.id}" in again.text
    changed = memory.read("mm/page.s:1-3", "mov rax, rsi")
    assert not changed.again and [i.text for i in memory.items()] == ["mov rax, rsi"]
    memory.note("session", "a b c d e f g h")  # pushes what was read out
    assert not memory.read("mm/page.s:1-3", "mov rax, rsi").again


def test_a_text_that_does_not_fit_is_shown_and_not_kept() -> None:
    memory = small()
    long = " ".join("abcdefghijklmnop")
    assert memory.read("a.s", long).text == long and not memory.items()
    assert not memory.read("a.s", long).again


def test_what_is_pushed_out_can_be_folded_into_a_line() -> None:
    told: list[list[str]] = []

    def fold(items: Sequence[Item]) -> str:
        told.append([item.text for item in items])
        return "earlier: " + str(len(items))

    memory = small(fold=fold)
    for text in ("a b c", "d e f", "g h i", "j k l"):
        memory.note("case", text)
    assert told[0] == ["a b c"]
    assert memory.tokens("case") <= 10 and any(i.text.startswith("earlier") for i in memory.items())


def test_levels_are_told_apart_in_the_text_and_end_apart() -> None:
    memory = small()
    memory.note("anywhere", "be exact", pinned=True)
    memory.note("case", "cr2 is BAR0")
    text = memory.text()
    assert text.index("anywhere") < text.index("be exact") < text.index("case") < text.index("cr2 is BAR0")
    memory.forget("case")
    assert "BAR0" not in memory.text() and "be exact" in memory.text()


def test_project_and_anywhere_outlive_a_process_and_case_does_not(tmp_path: Path) -> None:
    one = Memory.open(tmp_path, "my/kernel")
    one.note("project", "the console is on COM2")
    gone = one.note("project", "wrong")
    one.drop(gone.id)
    kept = one.note("anywhere", "ask before you delete")
    one.pin(kept.id)
    one.note("case", "of today")
    two = Memory.open(tmp_path, "my/kernel")
    assert [(i.level, i.text, i.pinned) for i in two.items()] == [
        ("project", "the console is on COM2", False),
        ("anywhere", "ask before you delete", True),
    ]
    other = Memory.open(tmp_path, "other")
    assert [i.level for i in other.items()] == ["anywhere"]
    two.note("project", "later")
    assert len(Memory.open(tmp_path, "my/kernel").items("project")) == 2


def test_a_cut_line_is_left_out_and_a_hostile_file_is_one_clear_line(tmp_path: Path) -> None:
    one = Memory.open(tmp_path, "k")
    one.note("project", "kept")
    path = tmp_path / "project-k.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"v": 1, "do"')
    assert [i.text for i in Memory.open(tmp_path, "k").items()] == ["kept"]
    for bad in (b"[]\n", b"\x00\n", b"[" * 9999 + b"\n", b'{"v": 1, "do": "drop", "id": 9}\n',
                b'{"v": 1, "do": "add", "id": 1, "text": 3}\n', b'{"v": 1, "do": "add", "id": "x"}\n'):  # fmt: skip
        path.write_bytes(bad)
        with pytest.raises(InputError, match=r"project-k\.jsonl:1: ") as caught:
            Memory.open(tmp_path, "k")
        assert "\n" not in caught.value.message


def test_a_session_is_kept_by_its_owner() -> None:
    one = small()
    one.note("session", "agreed: x2apic off", pinned=True)
    two = small()
    two.load("session", one.dump("session"))
    assert [(i.text, i.pinned) for i in two.items("session")] == [("agreed: x2apic off", True)]
    with pytest.raises(InputError, match="list of items"):
        two.load("session", {"a": 1})
    with pytest.raises(InputError, match="not an item"):
        two.load("session", [{"text": 1}])


def test_every_level_has_a_budget() -> None:
    assert set(BUDGETS) == set(LEVELS) and all(budget > 0 for budget in BUDGETS.values())
