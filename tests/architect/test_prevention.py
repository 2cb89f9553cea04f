"""The prevention rate: a class never counts on its own guards, the sound kernel has no finding, the history is kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from architect.learn import prevention
from architect.learn.guards import Guard
from architect.learn.prevention import Look
from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain.errors import InputError

ROOT = Path(__file__).resolve().parents[2]


def seen(name: str, cls: str, *found: str, teaches: tuple[str, ...] = ()) -> Look:
    return Look(name, cls, found, tuple(Guard(rule, "s", frozenset(), "pxos") for rule in teaches))


LOOKS = [
    seen("a", "one", teaches=("dead",)),
    seen("b", "one", teaches=("dead",)),
    seen("c", "two", "contract", teaches=("dead", "bits")),
    seen("d", "three", "checks"),
    seen("e", "four"),
]


def test_a_class_never_counts_on_its_own_guards() -> None:
    rows = {look.id: prevention._row(look, LOOKS) for look in LOOKS}
    assert rows["a"]["guards"] == ["dead"] and rows["a"]["taught_by"] == ["two"]
    assert rows["c"]["guards"] == ["dead"] and rows["c"]["taught_by"] == ["one"]
    assert rows["c"]["teaches"] == ["bits", "dead"]
    alone = [look for look in LOOKS if look.cls in ("one", "four")]
    assert all(not prevention._row(look, alone)["guards"] for look in alone)
    assert not prevention._row(LOOKS[0], alone)["found"]


def test_shares_of_each_way() -> None:
    found = prevention.shares([prevention._row(look, LOOKS) for look in LOOKS])
    assert found["prevention_rate"] == 0.8
    assert found["by"] == {
        "assembles": 0.0, "checks": 0.2, "contract": 0.2, "guards": 0.6, "checks_and_guards": 0.8,
        "guards_alone": 0.4, "own_class": 0.6,
    }  # fmt: skip
    assert prevention.shares([])["prevention_rate"] is None


def test_the_history_grows_when_something_changed(tmp_path: Path) -> None:
    path = tmp_path / prevention.HISTORY
    assert prevention.history(path) == []
    data = {
        "kernel": "k" * 64,
        "corpus": "c" * 64,
        "bugs": [1, 2],
        "prevention_rate": 0.5,
        "by": {"checks": 0.5},
    }
    assert prevention.keep(path, data) and not prevention.keep(path, data)
    assert prevention.keep(path, {**data, "kernel": "x" * 64})
    assert [row["kernel"][0] for row in prevention.history(path)] == ["k", "x"]
    for bad in (b"{}\n", b"[" * 9999, b"\xff\n", b'{"prevention_rate": 1, "kernel": 1, "corpus": "c"}\n'):
        path.write_bytes(bad)
        with pytest.raises(InputError, match=r"prevention\.jsonl:1: no measurement"):
            prevention.history(path)


def test_the_history_of_the_corpus_can_be_read() -> None:
    rows = prevention.history(ROOT / "tests/bugs" / prevention.HISTORY)
    assert rows and all(0 <= row["prevention_rate"] <= 1 for row in rows)


@pytest.mark.slow
def test_a_small_corpus_is_measured(tmp_path: Path) -> None:
    for name in ("seed-bar0-unmapped", "further/cr0-overwritten", "misspelt-symbol"):
        shutil.copy(ROOT / f"tests/bugs/{name}.toml", tmp_path)
    words = ("bench", "prevention", "--bugs", str(tmp_path), "--kernel", str(ROOT / "kernel"))
    answer = pxos(*words, "--shaders", str(ROOT / "shaders"), "--json", "-q")
    schemas.validate(answer.data, "bench")
    found = answer.data["prevention"]
    rows = {row["id"]: row for row in found["bugs"]}
    assert rows["misspelt-symbol"]["assembles"] and rows["seed-bar0-unmapped"]["contract"]
    overwritten = rows["cr0-overwritten"]
    assert overwritten["checks"] and not overwritten["contract"]
    assert overwritten["taught_by"] == ["missing-entry-write"] and overwritten["found"]
    assert found["sound_findings"] == 0 and found["prevention_rate"] == 1.0
    (kept,) = (tmp_path / prevention.HISTORY).read_text().splitlines()
    assert json.loads(kept)["bugs"] == 3
    one = pxos(*words, "misspelt-symbol", "--json", "-q")
    assert [row["id"] for row in one.data["prevention"]["bugs"]] == ["misspelt-symbol"]
    unknown = pxos(*words, "nope")
    assert unknown.status == 2 and "no bug is called 'nope'" in unknown.errors
