"""The conformance suite: its files are what the table says, the table leaves nothing out, a wrong engine fails it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelvm import conform, engines, isa
from pixelvm.conform_cases import CALLS, CASES, INSTRUCTIONS, TRAPS, Case
from pixelvm.engines import Engine
from pixelvm.isa import Op, Stop, System
from tests.unit import schemas, vm_broken_engine
from tests.unit.pxos import pxos


def test_the_files_are_those_of_the_table() -> None:
    assert {path.stem for path in conform.FOLDER.iterdir()} == {case.name for case in CASES}
    for case in CASES:
        made = conform.files(case)
        there = tuple((conform.FOLDER / f"{case.name}.{kind}").read_bytes() for kind in ("png", "pxst"))
        assert made == there, f"{case.name}: run python -m pixelvm.conform"


def about(name: str, cases: tuple[Case, ...]) -> list[Case]:
    return [case for case in cases if case.name == name or case.name.startswith(f"{name}-")]


def test_nothing_is_left_out() -> None:
    assert len({case.name for case in CASES}) == len(CASES)
    for op in Op:
        assert op is Op.SYS or about(op.name.lower(), INSTRUCTIONS)
    for call in System:
        assert about(f"sys-{call.name.lower()}", CALLS)
    for stop in Stop:
        assert stop in (Stop.RUNNING, Stop.HALTED) or about(stop.name.lower(), TRAPS)
        for row in isa.INSTRUCTIONS.values():
            assert stop not in row.traps or any(case.stop == stop.name for case in TRAPS)


@pytest.mark.parametrize("name", ["python", "x86"])
def test_the_engines_conform(name: str) -> None:
    assert [failure for _, failed in conform.run([name]) for failure in failed] == []


def test_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    answer = pxos("vm", "conformance", "--engines", "python", "--json", "-q")
    assert answer.status == 0
    schemas.validate(answer.data, "vm")
    assert (answer.data["cases"], answer.data["failures"]) == (len(CASES), [])
    monkeypatch.setattr(conform, "FOLDER", tmp_path)
    empty = pxos("vm", "conformance", "--engines", "python")
    assert empty.status == 2 and f"{tmp_path}/push.png: cannot read" in empty.errors


@pytest.mark.parametrize(
    ("fault", "words"), [("sar", "sar: broken: "), ("putc", "sys-putc: broken: "), ("trap", "bounds-load8: ")]
)
def test_a_wrong_engine_fails(fault: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.ENGINES, "broken", Engine("broken", "tests.unit.vm_broken_engine", "wrong"))
    monkeypatch.setattr(engines, "NAMES", (*engines.NAMES, "broken"))
    monkeypatch.setattr(vm_broken_engine, "FAULT", fault)
    answer = pxos("vm", "conformance", "--engines", "broken")
    assert answer.status == 1 and words in answer.output
    schemas.validate(pxos("vm", "conformance", "--engines", "broken", "--json").data, "vm")
