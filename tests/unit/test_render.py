"""The report as text and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema

from tests.unit.deaths import BAR0, Death, bar_death
from toolchain import fault, render
from toolchain.types import FaultReport, Unit

SCHEMAS = Path(render.__file__).parent / "schemas"


def report_of(death: Death) -> FaultReport:
    report = fault.analyse(death.result(), death.symbols())
    assert report is not None
    return report


def test_the_first_screen_says_what_died_where_why_and_what_to_try() -> None:
    text = render.text(report_of(bar_death()))
    head = text.split("\n")[:12]
    assert head[0].startswith("FAULT  #PF (page fault): write to 0xfd000000")
    screen = "\n".join(head)
    for words in ("set_up+0x4 (a.s:40)", "map_registers", "PT entry 0", "look at", "try"):
        assert words in screen
    for words in ("exception chain", "page walk of 0xfd000000", "trace", "registers", "empty"):
        assert words in text


def test_colour_only_when_asked() -> None:
    report = report_of(bar_death())
    assert "\x1b" not in render.text(report)
    coloured = render.text(report, colour=True)
    assert "\x1b[31m" in coloured
    import re

    assert re.sub(r"\x1b\[\d+m", "", coloured) == render.text(report)


def test_what_the_guest_said_cannot_steer_the_terminal() -> None:
    death = bar_death()
    death.serial = "hello \x1b[2J\x9b31m world\x07\n"
    death.units = (Unit("a\x1b]0;x", "start", 1, 1),)
    text = render.text(report_of(death))
    assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 for c in text)


def test_json_holds_everything_and_fits_its_schema() -> None:
    death = bar_death()
    death.units = (Unit("pci", "ok", 2, 1, {"bar0": "0xfd000000"}), Unit("mailbox", "start", 3, 3))
    data = json.loads(json.dumps(render.as_json(report_of(death))))
    jsonschema.validate(data, json.loads((SCHEMAS / "fault.json").read_text()))
    assert data["chain"][0]["cr2"] == hex(BAR0)
    assert data["walk"]["levels"][-1] == {
        "level": "PT", "index": 0, "entry_address": data["walk"]["levels"][-1]["entry_address"], "entry": "0x0",
        "flags": ["empty"],
    }  # fmt: skip
    assert data["diagnosis"][0]["rule"] == "bar-unmapped"
    assert data["unit"] == "mailbox" and data["units"][0]["values"] == {"bar0": "0xfd000000"}
    assert data["place"]["symbol"] == "set_up"


def test_every_outcome_fits_the_schema() -> None:
    schema = json.loads((SCHEMAS / "fault.json").read_text())
    for outcome in ("panic", "reset", "shutdown", "timeout", "silent"):
        death = Death(body="ebfe")
        death.outcome = outcome
        death.panic = ("a", "b") if outcome == "panic" else None
        jsonschema.validate(render.as_json(report_of(death)), schema)
