"""Which units an edit of an include file can change, from names alone."""

from __future__ import annotations

import pytest

from toolchain.reach import Reach

INCLUDES = {
    "a.inc": ".set ONE, 1\n.set TWO, ONE + 1  # more\n"
    ".macro twice what\n    mov rax, TWO\n    mov \\what\\()_x, 1\n.endm\n",
    "b.inc": ".set ROWS, 4\n.if ROWS > 5\n.error\n.endif\n.set OTHER, 3\n",
}
UNITS = {
    "one": "mov eax, ONE\n", "two": "mov eax, TWO\n", "macro": "twice rax\n", "none": "ret\n",
    "pasted": ".irp w, R, S\n.quad \\w\\()OWS\n.endr\n", "other": "mov eax, OTHER\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "seen"),
    [
        ("a.inc", "ONE, 1", "ONE, 2", {"one", "two", "macro"}),
        ("a.inc", "ONE + 1", "ONE + 2", {"two", "macro"}),
        ("a.inc", "  # more", "  # less", set()),
        ("a.inc", "mov rax, TWO", "mov rcx, TWO", {"macro"}),
        ("a.inc", ".macro twice what", ".macro twice what=1", None),
        ("a.inc", ".set ONE, 1\n", "", {"one", "two", "macro"}),
        ("b.inc", "ROWS, 4", "ROWS, 5", None),
        ("b.inc", "OTHER, 3", "OTHER, 4", {"other"}),
        ("b.inc", "OTHER, 3", "ANOTHER, 3", {"other"}),
        ("b.inc", ".error", ".warning", None),
        ("b.inc", ".set OTHER, 3\n", ".set OTHER, 3\n.text\n", None),
    ],
)
def test_reach(file: str, old: str, new: str, seen: set[str] | None) -> None:
    reach = Reach(INCLUDES, UNITS)
    found = reach.units({file: INCLUDES[file].replace(old, new, 1)})
    assert (None if found is None else set(found)) == seen


def test_a_pasted_name_is_seen() -> None:
    reach = Reach({"b.inc": ".set ROWS, 4\n"}, UNITS)
    assert reach.units({"b.inc": ".set ROWS, 5\n"}) == frozenset({"pasted"})
