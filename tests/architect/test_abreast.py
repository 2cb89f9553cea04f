"""Gates side by side: which are asked, in which order they are told, and that a refusal ends the proof."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock

import pytest

from architect import abreast
from architect.protocols import NO_BOOTS, GateResult
from architect.terms import BOOTING, BOOTS, QUICK, REST, STATIC, THOROUGH, UEFI, Terms
from toolchain import qemu_args

HANG_SECONDS = 60.0  # after which what should run side by side does not


class Stub:
    """A trial whose gates say what the stand has decided."""

    def __init__(
        self, stand: Stand, gates: tuple[str, ...], boots: int, iso: Callable[[], Path] | None = None
    ) -> None:
        self.stand, self.names, self.granted, self.iso = stand, gates, boots, iso
        self.gates: list[GateResult] = []
        self.boots = 0

    def run(self, *, stop: bool = True) -> bool:
        for name in self.names:
            self.gates.append(self._asked(name))
            if stop and not self.gates[-1].passed:
                return False
        return all(gate.passed for gate in self.gates)

    def _asked(self, name: str) -> GateResult:
        if name in BOOTING and self.boots >= self.granted:
            return GateResult(name, False, 0.0, NO_BOOTS)
        self.boots += name in BOOTING
        return self.stand.ask(name, self)


class Stand:
    """Gates that fail, and gates that wait until others have begun."""

    def __init__(self, failing: tuple[str, ...] = (), waits: dict[str, str] | None = None) -> None:
        self.failing, self.waits = failing, waits or {}
        self.lock = Lock()
        self.begun: dict[str, Event] = {name: Event() for name in (*THOROUGH, UEFI)}
        self.isos = 0

    def ask(self, name: str, trial: Stub) -> GateResult:
        self.begun[name].set()
        if name.startswith("iso"):
            assert trial.iso is not None and trial.iso() == Path("made")
        other = self.waits.get(name)
        assert other is None or self.begun[other].wait(HANG_SECONDS), f"{name} waits for {other} in vain"
        return GateResult(name, name not in self.failing, 0.0)

    def make(self, *, iso: Callable[[], Path], folder: Path, terms: Terms) -> Stub:
        assert folder.name == terms.gates[0]
        return Stub(self, terms.gates, terms.boots, iso)

    def burn(self, firmware: str) -> Path:
        with self.lock:
            self.isos += 1
        return Path("made")

    def final(self, boots: int) -> tuple[tuple[GateResult, ...], int]:
        return abreast.final(self.make, Path("final"), self.burn, 1.0, boots)  # type: ignore[arg-type]


@pytest.fixture(params=[True, False], ids=["uefi", "bios"])
def gates(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[str, ...]:
    """All gates of a finalist, with UEFI installed and without."""
    monkeypatch.setattr(qemu_args, "has_uefi", lambda: request.param)
    return (*THOROUGH, UEFI) if request.param else THOROUGH


def test_a_finalist_passes_every_gate_and_they_are_told_in_their_order(gates: tuple[str, ...]) -> None:
    stand = Stand()
    found, boots = stand.final(9)
    assert [(gate.gate, gate.passed) for gate in found] == [(name, True) for name in gates]
    assert boots == len(set(gates) & BOOTING) and stand.isos == 1


def test_boots_run_beside_each_other_and_beside_what_needs_none(gates: tuple[str, ...]) -> None:
    """Each waits until the other has begun: one after the other they would never end."""
    found, _ = Stand(waits={"contract": "boot", "boot": "checks", gates[-1]: "contract"}).final(9)
    assert all(gate.passed for gate in found)


@pytest.mark.parametrize("bad", [*STATIC, "boot", "claims", "iso", REST[-1]])
def test_a_gate_that_says_no_is_told(gates: tuple[str, ...], bad: str) -> None:
    found, _ = Stand((bad,)).final(9)
    assert [gate.gate for gate in found if not gate.passed] == [bad]


def test_nothing_begins_once_a_gate_has_said_no(
    gates: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 0)
    monkeypatch.setattr(abreast, "_WAITING", 0)  # one boot at a time
    first = UEFI if UEFI in gates else "boot"
    stand = Stand((first,), {"contract": first})
    found, boots = stand.final(9)
    assert boots == 1 and [gate.gate for gate in found if gate.gate not in STATIC] == [first]


@pytest.mark.parametrize("boots", [0, 1, 4])
def test_a_finalist_takes_no_more_boots_than_are_granted(gates: tuple[str, ...], boots: int) -> None:
    stand = Stand()
    found, taken = stand.final(boots)
    assert taken <= boots and stand.isos == (boots > 0)
    assert {gate.message for gate in found if not gate.passed} == {NO_BOOTS}


def test_an_iso_that_cannot_be_made_is_no_verdict(gates: tuple[str, ...]) -> None:
    stand = Stand()

    def fail(firmware: str) -> Path:
        raise OSError("no space")

    stand.burn = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no space"):
        stand.final(9)


@pytest.mark.parametrize("asked", [QUICK, STATIC, BOOTS, ("contract",), ("checks", *BOOTS)])
def test_a_diagnosis_leaves_no_gate_out(asked: tuple[str, ...]) -> None:
    """The boots begin while the checks run, and what failed keeps its place."""
    bad = tuple(name for name in asked if name in ("checks", "boot"))
    waits = {"checks": "boot", "boot": "checks"} if len(bad) == 2 else {}
    stand = Stand(bad, waits)
    trial, found = abreast.every(lambda part: Stub(stand, part, 9), asked)  # type: ignore[arg-type,return-value]
    assert [(gate.gate, gate.passed) for gate in found] == [(name, name not in bad) for name in asked]
    assert trial.boots == len(set(asked) & BOOTING)
