"""Tiles by machine code: word for word what the arrays draw, nothing beside the tile, and the same bytes as GNU as."""

from __future__ import annotations

import itertools
import random
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from pixelvm.god import family, native, seed
from pixelvm.god.family import FAMILIES, SIDE, Code, Family, Kind
from tests.unit import gnu_link
from tests.unit.god_tiles import code, some
from toolchain.encode import Encoder

GUARD = 0x5AFE5AFE
KINDS = [pytest.param(kind, id=kind.name) for kind in FAMILIES.values() if kind.kind in native.KINDS]

pytestmark = pytest.mark.skipif(not native.available(), reason="machine code for x86-64")


def agree(one: Code) -> None:
    """Machine code draws a tile as the arrays do, and leaves alone what lies before and behind it."""
    wanted = np.empty((SIDE, SIDE), np.uint32)
    seed.by_arrays(one, wanted)
    rows = np.full((SIDE + 2, SIDE), GUARD, np.uint32)
    seed.by_machine_code(one, rows[1:-1])
    assert np.array_equal(rows[1:-1], wanted), one
    assert (rows[0] == GUARD).all() and (rows[-1] == GUARD).all(), one


@pytest.mark.parametrize("kind", KINDS)
def test_a_family_is_the_same(kind: Family) -> None:
    chance = random.Random(kind.name)
    for values in product(*((field.least, field.greatest) for field in kind.fields)):
        agree(Code(kind, values))
    for _ in range(60):
        agree(some(chance, kind))


def test_every_rule_of_the_automaton_is_the_same() -> None:
    for rule in range(256):
        agree(code("automaton", rule, rule))


def test_every_step_of_the_julia_sets_is_the_same() -> None:
    for step in range(1, 256):
        agree(code("julia", -step // 2, step // 3, step))


@pytest.mark.parametrize("kind", [pytest.param(kind, id=kind.name) for kind in FAMILIES.values()])
def test_a_tile_whose_rows_lie_apart_is_drawn_too(kind: Family, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "AFTER", 0)
    wide = np.full((SIDE, SIDE + 1), GUARD, np.uint32)
    one = some(random.Random(kind.name), kind)
    seed.expand(one, wide[:, :SIDE])
    assert np.array_equal(wide[:, :SIDE], seed.expand(one)) and (wide[:, SIDE] == GUARD).all()


def test_it_is_used_after_so_many_tiles_and_not_without_its_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    for name in ("by_arrays", "by_machine_code"):
        monkeypatch.setattr(seed, name, lambda *arguments, name=name: drawn.append(name))
    monkeypatch.setattr(native, "AFTER", 3)
    monkeypatch.setattr(native, "_asked", itertools.count())
    for _ in range(5):
        seed.expand(code("automaton", 30, 1))
        seed.expand(code("solid", 1, 2, 3))
    assert [drawn.count(name) for name in ("by_arrays", "by_machine_code")] == [3 + 5, 2]
    monkeypatch.setattr(native, "available", lambda: False)
    native.ready.cache_clear()
    seed.expand(code("automaton", 30, 1))
    native.ready.cache_clear()
    assert drawn[-1] == "by_arrays"


def test_another_limit_draws_another_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparison above can fail."""
    monkeypatch.setattr(family, "JULIA_ESCAPE", family.JULIA_ESCAPE // 2)
    native.code.cache_clear()
    try:
        tile = np.empty((SIDE, SIDE), np.uint32)
        seed.by_machine_code(code("julia", -50, 9, 40), tile)
    finally:
        native.code.cache_clear()
    monkeypatch.undo()
    assert not np.array_equal(tile, seed.expand(code("julia", -50, 9, 40)))


@pytest.mark.long
def test_the_source_assembles_with_gnu_as_to_the_same_bytes(encoder: Encoder, tmp_path: Path) -> None:
    (tmp_path / "draw.inc").write_text(native.include())
    source = (native.FOLDER / native.SOURCE).read_text(encoding="utf-8") + "\n.globl _start\n_start:\n  ret\n"
    layout = gnu_link.small_layout()
    oracle = gnu_link.gnu({"draw.s": source}, layout, [tmp_path])
    assert not oracle.complaint
    image = gnu_link.ours({"draw.s": source}, layout, encoder, [tmp_path])
    assert gnu_link.differences(image, oracle) == []


def test_the_kinds_are_those_that_it_draws() -> None:
    assert native.KINDS == (Kind.AUTOMATON, Kind.JULIA)
