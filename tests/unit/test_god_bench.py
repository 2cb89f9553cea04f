"""The God Pixel bench: its rows are those of the contract, and its figures those of what it measures."""

from __future__ import annotations

import pytest

from pixelvm.god import bench, gpu, native, press, table
from pixelvm.god.family import FAMILIES
from pixelvm.god.press import Wish
from tests.unit import schemas
from tests.unit.god_tiles import code, tile
from toolchain.command import Ui


@pytest.mark.long
def test_bytes_are_counted_whole() -> None:
    content = tile(code("xor", 1, 1, 0))
    rows = {row["peer"]: row for row in bench._bytes("x", content, Wish())}
    assert {"zstd-19", "xz", "brotli-11", "PNG"} <= rows.keys()
    found = press.press(content, Wish())
    assert isinstance(found, press.Pressed)
    assert {row["ours"] for row in rows.values()} == {len(found.data)}


@pytest.mark.long
def test_cartridges_are_never_worse_than_by_more_than_the_header() -> None:
    for name, content in table.cartridges():
        for row in bench._bytes(name, content, Wish()):
            assert row["over_best"] <= row["header"], row


@pytest.mark.slow
def test_the_bench_has_the_rows_of_the_contract(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SPEED_ROUNDS", "SEED_ROUNDS", "GPU_ROUNDS"):
        monkeypatch.setattr(bench, name, 1)
    monkeypatch.setattr(gpu, "BATCH", 32)
    data = bench.run(Ui(quiet=True))
    schemas.validate(data, "bench")
    names = {row["what"] for row in data["rows"]}
    for kind in FAMILIES.values():
        way = "machine code" if kind.kind in native.KINDS and native.ready() else "NumPy"
        assert {f"seed expansion, {way}, {kind.name}", f"seed expansion, WGSL, {kind.name}"} <= names
    for row in data["rows"]:
        assert row["ours"] > 0
        if "over_best" in row:
            assert row["over_best"] <= row["header"], row
