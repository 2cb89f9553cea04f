"""Snapshots of the Pixel VM's hypervisor: whole or not at all, and what is none is refused in a line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pixelvm.hypervisor import snapshot
from pixelvm.hypervisor.scheduler import Hypervisor
from tests.unit.pxos import pxos
from tests.unit.vm_guests import connected, end, finished
from toolchain.errors import InputError
from toolchain.files import write_atomic

EXAMPLES = Path(__file__).resolve().parents[2] / "pixelvm/examples"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("turns", [0, 1, 2, 5, 50])
def test_a_snapshot_goes_on_where_it_was(turns: int) -> None:
    whole = finished(Hypervisor(connected(), ["python"], 60)).guests
    part = finished(Hypervisor(connected(), ["python"], 60), turns).guests
    snapshot.save(Path("snap"), part)
    back = snapshot.load(Path("snap"))
    assert [end(one) for one in back] == [end(one) for one in part]
    snapshot.save(Path("again"), back)
    assert (Path("again") / "manifest.json").read_bytes() == (Path("snap") / "manifest.json").read_bytes()
    rest = finished(Hypervisor(back, [], 60)).guests
    assert [end(one) for one in rest] == [end(one) for one in whole]
    assert [(one.status, one.spent, one.guard.calls, one.slices) for one in rest] == [
        (one.status, one.spent, one.guard.calls, one.slices) for one in whole
    ]


def test_a_snapshot_that_cannot_be_finished_leaves_the_one_before(monkeypatch: pytest.MonkeyPatch) -> None:
    guests = connected()
    snapshot.save(Path("snap"), guests)
    before = [end(one) for one in snapshot.load(Path("snap"))]
    finished(Hypervisor(guests, ["python"], 60), 3)

    def full(path: Path, data: Any, *, stage: str) -> bool:
        if path.name == snapshot.MANIFEST:
            raise InputError("no space left", stage=stage)
        return write_atomic(path, data, stage=stage)

    monkeypatch.setattr(snapshot, "write_atomic", full)
    with pytest.raises(InputError, match="no space left"):
        snapshot.save(Path("snap"), guests)
    assert [end(one) for one in snapshot.load(Path("snap"))] == before
    monkeypatch.setattr(snapshot, "write_atomic", write_atomic)
    snapshot.save(Path("snap"), guests)
    text = Path("snap/manifest.json").read_text()
    assert all(path.stem in text for path in Path("snap").glob("*.blob"))  # what no manifest names has gone


def at(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(manifest: dict[str, Any]) -> None:
        manifest["machines"][0][key] = value

    return change


def version(manifest: dict[str, Any]) -> None:
    manifest["version"] = 2


def screen(manifest: dict[str, Any]) -> None:
    at("width", 3)(manifest)
    at("height", 7)(manifest)


def nothing(manifest: dict[str, Any]) -> None:
    manifest["machines"] = []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (version, "no snapshot of version 1"), (nothing, "its machines are none"),
        (at("given", -1), "machine 1: given is wrong; expected a number from 0"),
        (at("given", True), "given is wrong"), (at("given", 1), "given is wrong; expected at least the"),
        (at("name", 5), "name is wrong"), (at("refused", 1), "refused is wrong; expected true or false"),
        (at("inbox", [1 << 32]), "inbox is wrong; expected up to 256 words"),
        (at("inbox", [0] * 257), "inbox is wrong"),
        (at("engine", "abacus"), "engine is wrong; expected one of python"), (at("quota", {}), "quota is wrong"),
        (at("quota", {"fuel": -1, "memory": 0, "calls": 0}), "quota is wrong"),
        (at("width", 1 << 40), "width is wrong"), (screen, "its screen is wrong; expected 3 x 7"),
        (at("state", "../../etc/passwd"), "state is wrong; expected a SHA-256"),
        (at("state", "0" * 64), "no such file; the snapshot is not whole"),
        (at("peer", 9), "connected to none of 4"), (at("peer", 2), "connected to none of 4"),
        (at("peer", True), "connected to none of 4"),
    ],
)  # fmt: skip
def test_a_snapshot_that_is_none(change: Callable[[dict[str, Any]], None], words: str) -> None:
    guests = finished(Hypervisor(connected(), ["python"], 60), 1).guests
    guests[0].state.fuel, guests[0].given = 60, 120
    snapshot.save(Path("snap"), guests)
    path = Path("snap/manifest.json")
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))
    with pytest.raises(InputError) as caught:
        snapshot.load(Path("snap"))
    assert words in caught.value.message and "\n" not in caught.value.message


def test_files_that_are_none() -> None:
    with pytest.raises(InputError, match="no such file; name the folder of a snapshot"):
        snapshot.load(Path("nowhere"))
    snapshot.save(Path("snap"), connected())
    blob = next(path for path in Path("snap").glob("*.blob") if path.stat().st_size)
    blob.write_bytes(b"X" + blob.read_bytes()[1:])
    with pytest.raises(InputError, match="its SHA-256 does not fit"):
        snapshot.load(Path("snap"))
    for text in ("", "[" * 100_000, "[]", '{"version": 1, "machines": [5]}'):
        Path("snap/manifest.json").write_text(text)
        with pytest.raises(InputError):
            snapshot.load(Path("snap"))


def test_parts_through_a_snapshot_are_the_run() -> None:
    fib = str(EXAMPLES / "fib.pxa")
    whole = pxos("vm", "host", fib, "--copies", "2", "--slice", "999", "--json", "-q").data["machines"]
    first = pxos(
        "vm",
        "host",
        fib,
        "--copies",
        "2",
        "--slice",
        "999",
        "--turns",
        "9",
        "--snapshot",
        "s",
        "--json",
        "-q",
    )
    assert first.status == 3 and first.data["machines"][0]["status"] == "running"
    rest = pxos("vm", "host", "--resume", "s", "--slice", "999", "--json", "-q")
    assert (rest.status, rest.data["machines"]) == (0, whole)
    more = pxos("vm", "host", fib, "--quota-fuel", "500", "--snapshot", "s", "--json", "-q")
    assert (more.status, more.data["machines"][0]["status"]) == (3, "quota of fuel")
    assert pxos("vm", "host", "--resume", "s", "--quota-fuel", "100000").status == 0


def test_ctrl_c_leaves_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Hypervisor.turn

    def interrupted(self: Hypervisor) -> bool:
        if self.turns == 5:
            raise KeyboardInterrupt
        return turn(self)

    fib = str(EXAMPLES / "fib.pxa")
    with monkeypatch.context() as patch:
        patch.setattr(Hypervisor, "turn", interrupted)
        assert pxos("vm", "host", fib, "--slice", "1000", "--snapshot", "s").status == 130
    answer = pxos("vm", "host", "--resume", "s", "--json", "-q")
    assert (answer.status, answer.data["machines"][0]["output"]) == (0, pxos("vm", "run", fib).output)


def test_a_snapshot_every_few_turns_outlives_a_death(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = Hypervisor.turn

    def deadly(self: Hypervisor) -> bool:
        if self.turns == 8:
            monkeypatch.setattr(snapshot, "save", lambda folder, guests: None)  # nothing more is written
            raise KeyboardInterrupt
        return turn(self)

    fib = str(EXAMPLES / "fib.pxa")
    with monkeypatch.context() as patch:
        patch.setattr(Hypervisor, "turn", deadly)
        assert pxos("vm", "host", fib, "--slice", "1000", "--snapshot", "s", "--every", "3").status == 130
    assert snapshot.load(Path("s"))[0].slices == 6
    assert (
        pxos("vm", "host", "--resume", "s", "--json", "-q").data["machines"][0]["output"]
        == pxos("vm", "run", fib).output
    )
