"""The bench of boots gives the contract's rows, measured and not made up."""

from __future__ import annotations

import io

import pytest

from toolchain import bench_boot
from toolchain.command import Ui

pytestmark = [pytest.mark.qemu, pytest.mark.slow]


def test_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DIRECT_ROUNDS", "BIOS_ROUNDS", "UEFI_ROUNDS"):
        monkeypatch.setattr(bench_boot, name, 1)
    monkeypatch.setattr(bench_boot, "ICOUNT_ROUNDS", 2)
    found = bench_boot.run(Ui(io.StringIO(), quiet=True))
    rows = {row["what"]: row for row in found["rows"]}
    assert list(rows) == ["direct boot", "iso boot bios", "iso boot uefi", "instructions to ready"]
    assert found["machine"]["cores"] >= 1
    for what in list(rows)[:3]:
        row = rows[what]
        assert row["unit"] == "ms" and row["ours"] > 0 and row["peer_value"] > 0 and "empty" in row["peer"]
        assert row["spread"]["ours"][0] <= row["ours"] <= row["spread"]["ours"][1]
    counted = rows["instructions to ready"]
    assert counted["unit"] == "instructions" and counted["ours"] > 10_000
    assert counted["spread"]["ours"][0] == counted["spread"]["ours"][1]  # icount is deterministic
