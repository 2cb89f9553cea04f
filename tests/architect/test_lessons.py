"""The lesson store and its text form: round trips, concurrent use, damage told in one line."""

from __future__ import annotations

import multiprocessing
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from architect import lesson_text
from architect.lessons import SqliteLessons
from architect.protocols import Lesson, Signature
from tests.architect.cases import SIGNATURE
from toolchain.errors import InputError

EDIT: dict[str, Any] = {
    "operator": "insert-store",
    "steps": [
        {
            "routine": "page_map", "role": "suspect", "file": "mm/page.s",
            "before": ["or {r1:64}, {c1=PTE_PRESENT}"], "remove": [],
            "insert": ["mov qword ptr [{r2:64} + {r3:64}*8], {r1:64}"], "after": ["invlpg [{r4:64}]"],
        }
    ],
}  # fmt: skip


def test_record_and_recall(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path / "deep" / "folder")
    assert store.recall(SIGNATURE) == []
    number = store.record(SIGNATURE, "the entry is never written", EDIT, {"boots": 3})
    (lesson,) = SqliteLessons(tmp_path / "deep" / "folder").recall(SIGNATURE)
    expected = Lesson(number, SIGNATURE, "the entry is never written", EDIT, {"runs": [{"boots": 3}]})
    assert lesson == expected


def test_an_equal_lesson_gains_evidence(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path)
    first = store.record(SIGNATURE, "cause", EDIT, {"boots": 3})
    assert store.record(SIGNATURE, "told otherwise", EDIT, {"boots": 5}) == first
    assert store.record(SIGNATURE, "cause", EDIT, {"boots": 5}) == first
    assert store.get(first).evidence["runs"] == [{"boots": 3}, {"boots": 5}]
    assert store.record(replace(SIGNATURE, vector=13), "cause", EDIT, {}) != first


def test_recall_prefers_the_nearer_then_the_better_record(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path)
    far = store.record(replace(SIGNATURE, rules=("bad-cr3",), walk_level="PML4"), "far", EDIT, {})
    near = store.record(SIGNATURE, "near", EDIT, {})
    assert [lesson.id for lesson in store.recall(SIGNATURE)] == [near, far]
    other = store.record(SIGNATURE, "better", {**EDIT, "operator": "other"}, {})
    for _ in range(3):
        store.credit(other, helped=True)
        store.credit(near, helped=False)
    assert [lesson.id for lesson in store.recall(SIGNATURE, 2)] == [other, near]
    assert (store.get(near).helped, store.get(near).misled) == (0, 3)


def test_what_has_nothing_in_common_is_not_recalled(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path)
    store.record(SIGNATURE, "cause", EDIT, {})
    assert store.recall(Signature("silent", None, (), None, None, None, None, (), "tests")) == []


@pytest.mark.parametrize("words", ["#PF", '"', "NEAR(", "a AND", "-x", "* ^", "", "entry"])
def test_any_text_is_a_search(tmp_path: Path, words: str) -> None:
    store = SqliteLessons(tmp_path)
    store.record(SIGNATURE, "the page-table entry is never written", EDIT, {})
    assert [lesson.id for lesson in store.search(words)] == ([1] if words == "entry" else [])


def test_search_finds_words_of_the_signature(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path)
    store.record(SIGNATURE, "cause", EDIT, {})
    assert store.search("mailbox") and store.search("unmapped-write") and store.search("vector 14")


def _hammer(folder: str, worker: int) -> None:
    store = SqliteLessons(Path(folder))
    for n in range(10):
        number = store.record(replace(SIGNATURE, unit=f"unit{n}"), "cause", EDIT, {"worker": worker})
        store.credit(number, helped=True)


@pytest.mark.long
def test_concurrent_use_loses_nothing(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_hammer, args=(str(tmp_path), n)) for n in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    lessons = SqliteLessons(tmp_path).all()
    assert [lesson.helped for lesson in lessons] == [4] * 10
    assert all(len(lesson.evidence["runs"]) == 4 for lesson in lessons)


@pytest.mark.parametrize("content", [b"not a database", b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_damaged_store_is_one_clear_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lessons.db").write_bytes(content)
    store = SqliteLessons(tmp_path)
    for action in (store.all, lambda: store.record(SIGNATURE, "c", EDIT, {}), lambda: store.search("x")):
        with pytest.raises(InputError, match=r"lessons\.db: not a readable lesson store") as caught:
            action()
        assert "\n" not in caught.value.message


def test_a_row_that_is_no_lesson_is_told_too(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path)
    store.record(SIGNATURE, "cause", EDIT, {})
    with sqlite3.connect(tmp_path / "lessons.db") as db:
        db.execute("UPDATE lesson SET rules = '{'")
    with pytest.raises(InputError, match="not a readable lesson store"):
        store.all()


def test_a_store_of_another_version_is_left_alone(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path)
    store.record(SIGNATURE, "cause", EDIT, {})
    with sqlite3.connect(tmp_path / "lessons.db") as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(InputError, match="another version"):
        store.record(SIGNATURE, "cause", EDIT, {})


def test_unknown_lesson(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no lesson 7"):
        SqliteLessons(tmp_path).get(7)
    SqliteLessons(tmp_path).record(SIGNATURE, "cause", EDIT, {})
    with pytest.raises(InputError, match="no lesson 7"):
        SqliteLessons(tmp_path).credit(7, helped=True)


# --- text --------------------------------------------------------------------------------------------------

_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
_line = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40)
_lines = st.lists(_line, max_size=4)
_signature = st.builds(
    Signature,
    outcome=_text,
    vector=st.none() | st.integers(0, 255),
    error_bits=_lines.map(tuple),
    walk_level=st.none() | _text,
    unit=st.none() | _text,
    mnemonic=st.none() | _text,
    routine=st.none() | _text,
    rules=_lines.map(tuple),
    failed_gate=st.none() | _text,
)
_step = st.fixed_dictionaries(
    {"routine": _text, "role": _text, "file": _text, "before": _lines, "remove": _lines, "after": _lines}
    | {"insert": st.lists(_line, min_size=1, max_size=3)}
)
_edit = st.fixed_dictionaries({"operator": _text, "steps": st.lists(_step, min_size=1, max_size=3)})
_run = st.dictionaries(_text, st.integers(-(2**40), 2**40) | _text | st.booleans(), max_size=3)
_lesson = st.builds(
    Lesson,
    id=st.integers(0, 1000),
    signature=_signature,
    cause=_text,
    edit=_edit,
    evidence=st.lists(_run, max_size=3).map(lambda runs: {"runs": runs}),
    helped=st.integers(0, 99),
    misled=st.integers(0, 99),
)


@pytest.mark.long
@given(st.lists(_lesson, min_size=1, max_size=3))
def test_text_round_trip(lessons: list[Lesson]) -> None:
    assert lesson_text.load(lesson_text.dump(lessons)) == lessons


def test_export_and_import_give_an_equal_store(tmp_path: Path) -> None:
    store, other = SqliteLessons(tmp_path / "a"), SqliteLessons(tmp_path / "b")
    store.record(SIGNATURE, "the entry is never written", EDIT, {"boots": 3, "gates": ["boot", "iso"]})
    store.credit(1, helped=True)
    for lesson in lesson_text.load(lesson_text.dump(store.all())):
        runs = lesson.evidence["runs"]
        other.merge(lesson.signature, lesson.cause, lesson.edit, runs, lesson.helped, lesson.misled)
        other.merge(lesson.signature, lesson.cause, lesson.edit, runs, lesson.helped, lesson.misled)
    assert other.all() == store.all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = ", "not valid TOML"),
        ("x = 1", r"no \[\[lesson\]\]"),
        ("lesson = [1]", r"lesson\[0\]: expected a table"),
        ('[[lesson]]\ncause = "c"', r"lesson\[0\]\.signature\.outcome: missing"),
        (
            '[[lesson]]\ncause="c"\n[lesson.signature]\noutcome="fault"\nvector=300',
            "signature.vector: 300; expected",
        ),
        (
            '[[lesson]]\ncause="c"\n[lesson.signature]\noutcome="fault"',
            r"edit\.step: missing; expected at least one",
        ),
        (
            '[[lesson]]\ncause="c"\n[lesson.signature]\noutcome="f"\n[[lesson.edit.step]]\nbefore=["nop"]',
            r"step\[0\]\.insert: missing; expected statements",
        ),
        (
            '[[lesson]]\ncause="c"\n[lesson.signature]\noutcome="f"\n[[lesson.edit.step]]\ninsert=["a\\nb"]',
            "texts of one line",
        ),
    ],
)
def test_what_is_no_lesson_file_is_told_by_key(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        lesson_text.load(text)


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot read: No such file"):
        lesson_text.read(tmp_path / "absent.toml")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="not UTF-8"):
        lesson_text.read(tmp_path / "binary")


def test_a_store_of_the_form_before_is_taken_over(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path)
    number = store.record(SIGNATURE, "cause", EDIT, {"run": 1})
    with sqlite3.connect(store.path) as db:  # as the form before had it
        db.execute("ALTER TABLE lesson DROP COLUMN guards")
        db.execute("DROP TABLE delta")
        db.execute("PRAGMA user_version = 1")
    db.close()
    assert store.get(number).guards == () and store.history() == []
    store.credit(number, helped=True)
    guard = {"rule": "r", "sort": "s", "project": "p", "silent": []}
    store.guard(number, [guard])
    store.guard(number, [guard])  # the same again is no change
    assert store.get(number).guards == (guard,) and store.get(number).helped == 1
    assert [(row["kind"], row["data"]) for row in store.history(number)] == [
        ("helped", {}), ("guard", {"rules": ["r"]}),
    ]  # fmt: skip
    with pytest.raises(InputError, match="no lesson 9"):
        store.guard(9, [guard])


def test_every_change_of_a_lesson_is_a_delta_of_its_own(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path)
    number = store.record(SIGNATURE, "cause", EDIT, {"run": 1})
    store.record(SIGNATURE, "cause", EDIT, {"run": 1})  # known already
    store.record(SIGNATURE, "cause", EDIT, {"run": 2})
    store.credit(number, helped=False)
    assert [row["kind"] for row in store.history()] == ["added", "evidence", "misled"]
    counted = Counter(row["kind"] for row in store.history(number))
    assert (store.get(number).helped, store.get(number).misled) == (counted["helped"], counted["misled"])


def test_guards_survive_export_and_import(tmp_path: Path) -> None:
    store = SqliteLessons(tmp_path)
    number = store.record(SIGNATURE, "cause", EDIT, {"run": 1})
    store.guard(number, [{"rule": "r", "sort": "s", "project": "p", "silent": ["a, b"]}])
    (lesson,) = lesson_text.load(lesson_text.dump(store.all()))
    assert lesson.guards == store.get(number).guards
