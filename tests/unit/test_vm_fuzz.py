"""Differential fuzzing of the engines: what it runs is what it says, and an engine that is wrong is found."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelvm import assembler, engines, fuzz, isa
from pixelvm.engines import Engine
from pixelvm.fuzz import MIXED
from pixelvm.isa import Stop
from pixelvm.program import checked
from pixelvm.state import restore
from tests.unit import schemas, vm_broken_engine
from tests.unit.pxos import pxos

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    row = Engine("broken", "tests.unit.vm_broken_engine", "wrong in one thing")
    monkeypatch.setitem(engines.ENGINES, "broken", row)
    monkeypatch.setattr(engines, "NAMES", (*engines.NAMES, "broken"))


def test_the_reference_agrees_with_itself_in_slices() -> None:
    for _, differences in fuzz.run(11, 0, 1500, ["python"]):
        assert differences == []


def test_cases_are_made_again_and_are_what_they_say() -> None:
    stops = set()
    for number in range(1200):
        one = fuzz.case(3, number)
        assert checked(one.program) is one.program
        if number % 2 == 0:
            assert all(isa.is_legal(word, len(one.program.code)) for word in one.program.code)
        stops.add(restore(fuzz.expected(one).state, one.program).stop)
    assert fuzz.case(3, 700) == fuzz.case(3, 700) != fuzz.case(4, 700)
    assert stops == set(Stop) - {Stop.RUNNING}


def test_the_host_is_asked_the_same() -> None:
    asked = {call[0] for number in range(600) for call in fuzz.expected(fuzz.case(5, number)).log}
    assert asked == {"put", "get", "time", "size", "plot", "pixel", "show", "send", "receive"}


@pytest.mark.parametrize(
    ("fault", "words", "most"),
    [("sar", "sar", 5), ("putc", "sys putc", 2), ("trap", "fuel is", 4), ("returns", "returns", 7)],
)
def test_a_wrong_engine_is_found_and_the_case_made_small(
    fault: str, words: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm_broken_engine, "FAULT", fault)
    answer = pxos("vm", "fuzz", "--count", "1000", "--engines", "python,broken", "--json", "-q")
    assert answer.status == 1
    schemas.validate(answer.data, "vm")
    first = answer.data["differences"][0]
    assert first["engine"] in ("broken", MIXED) and words in first["source"]
    made = assembler.assemble(first["source"], "again.pxa").program
    assert len(made.code) <= most
    again = ["vm", "fuzz", "--seed", "1", "--first", str(first["number"]), "--count", "1"]
    assert f"; again: pxos {' '.join(again)} --engines python,broken" in first["source"]
    assert pxos(*again, "--engines", "python,broken").status == 1
    assert pxos(*again, "--engines", "python").output == "1 cases, 0 differences\n"


def test_engines_and_numbers_that_are_none() -> None:
    for words, message in (
        (
            ["--engines", "abacus"],
            "no engine is called 'abacus' (there are: python, x86, kernel, wgsl, broken)",
        ),
        (["--count", "-5"], "'-5': expected a number from 1 to"),
        (["--seed", "x"], "'x': expected a number from 0 to"),
    ):
        answer = pxos("vm", "fuzz", *words)
        assert answer.status == 2 and message in answer.errors


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(20))
def test_a_million_of_each_kind_on_every_engine(part: int) -> None:
    count = 100_000
    names = [name for name in engines.NAMES if name != "broken"]
    for _, differences in fuzz.run(2026, part * count, count, names):
        assert [(one.number, one.engine, one.what) for one in differences] == []
