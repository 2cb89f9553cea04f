"""``pxos bench vm``: its programs compute what they should, its rows are those of the contract, gaps are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from pixelvm import bench_peers, bench_vm, bench_wgsl, load
from toolchain.command import Ui
from toolchain.errors import ToolError

SCHEMA = Path("scripts/toolchain/schemas/bench.json")


def quiet() -> Ui:
    return Ui(quiet=True)


def no_adapter(ui: Ui) -> list[dict[str, object]]:
    raise ToolError("wgpu finds no adapter", stage="gpu")


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """One round of two programs, without those who are slow: they count as not installed."""
    monkeypatch.setattr(bench_vm, "PROGRAMS", ("fib", "sieve"))
    peers = tuple(p._replace(is_there=lambda: False) if p.is_slow else p for p in bench_peers.PEERS)
    monkeypatch.setattr(bench_vm, "PEERS", peers)
    for name in ("ROUNDS", "SLOW_ROUNDS", "START_ROUNDS"):
        monkeypatch.setattr(bench_vm, name, 1)
    monkeypatch.setattr(bench_vm, "PART", 1000)
    monkeypatch.setattr(bench_wgsl, "rows", no_adapter)  # tests/gpu has them


@pytest.mark.long
def test_the_rows_are_those_of_the_contract(short: None) -> None:
    data = bench_vm.run(quiet())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(data)
    rows = {row["what"]: row for row in data["rows"]}
    for name in ("fib", "sieve"):
        assert rows[f"{name} x86"]["ours"] > 0
        assert rows[f"{name} kernel"]["ours"] > 0
        assert rows[f"{name} kernel"]["peer"].startswith(bench_peers.SWITCH)
        assert rows[f"{name} python"]["from_fuel"] == 1000
        assert rows[f"start {name}"]["ours"] > 0
    assert rows["geometric mean"]["unit"] == "ms"
    missing = rows["fib x86 against CPython"]
    assert missing["peer_value"] is None
    assert "not installed" in missing["peer"]
    told = bench_vm.text(data)
    assert "geometric mean" in told
    assert f"kernel / {bench_peers.SWITCH}" in told
    assert "not installed" in told


def test_a_wrong_result_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    program = load.load(str(bench_peers.FOLDER / "fib.pxa")).program
    monkeypatch.setitem(bench_peers.EXPECTED, "fib", 1)
    with pytest.raises(ToolError, match="x86 computes 2178309 for fib; expected 1"):
        bench_vm._x86("fib", program)()


def test_a_digest_that_differs_behind_its_first_word_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    program = load.load(str(bench_peers.FOLDER / "sha256.pxa")).program
    monkeypatch.setattr(bench_vm, "_SHA_BYTES", 1)
    with pytest.raises(ToolError, match="hashlib"):
        bench_vm._x86("sha256", program)()


@pytest.mark.slow
@pytest.mark.parametrize("peer", bench_peers.PEERS, ids=lambda peer: peer.name)
def test_each_peer_that_is_installed_computes_the_same(peer: bench_peers.Peer, tmp_path: Path) -> None:
    for name in bench_peers.PROGRAMS if peer.is_there() else ():
        assert peer.prepare(name, tmp_path)() > 0
