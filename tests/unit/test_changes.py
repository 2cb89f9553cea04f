"""What differs between two variants of a tree, by what was assembled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain.build import Session
from toolchain.changes import Changes, Original

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
PAGE = "mm/page.s"


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(KERNEL) as made:
        yield made


@pytest.fixture(scope="module")
def routines() -> set[str]:
    from architect import contracts
    from toolchain import build

    return set(contracts.routines(build.sources(KERNEL)))


def changed(session: Session, routines: set[str], file: str, find: str, new: str) -> Changes | None:
    session.build()
    original = Original(session.objects(), routines)
    text = (KERNEL / file).read_text()
    assert find in text
    session.build({file: text.replace(find, new, 1)})
    return original.changes(session.objects())


def test_nothing(session: Session, routines: set[str]) -> None:
    found = changed(session, routines, PAGE, "\nfunction page_map\n", "\n# a comment\n\nfunction page_map\n")
    assert found == Changes(frozenset(), frozenset())


def test_code(session: Session, routines: set[str]) -> None:
    found = changed(session, routines, PAGE, "\nfunction page_map\n", "\nfunction page_map\n    nop\n")
    assert found is not None and "page_map" in found.routines and not found.files


def test_data(session: Session, routines: set[str]) -> None:
    text = (KERNEL / PAGE).read_text()
    found = changed(session, routines, PAGE, text, text + '\n.section .rodata\n    .ascii "more"\n')
    assert found == Changes(frozenset(), frozenset({PAGE}))


def test_an_include_file_changes_those_who_use_it(session: Session, routines: set[str]) -> None:
    found = changed(session, routines, "include/registers.inc", "PTE_PRESENT, 1 << 0", "PTE_PRESENT, 1 << 1")
    assert found is not None and "page_map" in found.routines and "serial_put_char" not in found.routines


def test_a_name_for_all_units_may_change_any(session: Session, routines: set[str]) -> None:
    text = (KERNEL / PAGE).read_text()
    assert (
        changed(session, routines, PAGE, text, text + "\n.text\n.global another\nanother:\n    ret\n") is None
    )
