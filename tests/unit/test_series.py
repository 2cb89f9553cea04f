"""What a definition could be by those around it: offsets, enumerations, flags; nothing where there is no run."""

from __future__ import annotations

import pytest

from architect import series
from architect.source import Tree


def fitting(values: str, index: int) -> list[int]:
    """The values that fit at one place of some definitions."""
    rows = [f".set ROW_{n}, {value}" for n, value in enumerate(values.split())]
    tree = Tree({"a.inc": "\n".join(rows) + "\n"})
    return series.fitting(tree, tree.files["a.inc"][index])


@pytest.mark.parametrize(
    ("values", "index", "first"),
    [
        ("0x00 0x08 0x50 0x18 0x20", 2, 0x10),  # offsets
        ("0 1 2 9", 3, 3),  # an enumeration's last
        ("7 1 2 3", 0, 0),  # its first
        ("1 2 5 8 16", 2, 4),  # flags
    ],
)
def test_a_value_that_keeps_the_steps_is_named(values: str, index: int, first: int) -> None:
    assert first in fitting(values, index)


def test_the_likeliest_comes_first_and_the_present_one_not_at_all() -> None:
    assert fitting("0x00 0x08 0x50 0x18 0x20", 2)[0] == 0x10
    assert 0x10 not in fitting("0x00 0x08 0x10 0x18 0x20", 2)


@pytest.mark.parametrize("values", ["1 2 9", "1 2 A_NAME 4"])
def test_a_few_definitions_are_no_run(values: str) -> None:
    assert fitting(values, 2) == []


def test_a_run_ends_with_its_names_and_at_other_lines() -> None:
    text = ".set A_1, 1\n.set A_2, 2\n.set B_1, 1\n.set B_2, 2\n\n.set A_3, 3\n    nop\n.set A_4, 4\n.set A_5, 5\n"
    assert series.runs(Tree({"a.inc": text})) == []
