"""Logs that somebody saved: told apart by content, cut, empty, enormous, or no logs at all."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.deaths import bar_death
from toolchain import boot_log, fault, saved_logs
from toolchain.errors import InputError
from toolchain.types import Screen

LOGS = Path(__file__).parents[1] / "fixtures/logs"


def test_the_order_and_the_names_of_the_files_do_not_matter(tmp_path: Path) -> None:
    one, two = tmp_path / "x", tmp_path / "y"
    one.write_bytes((LOGS / "no-idt.qemu.log").read_bytes())
    two.write_bytes((LOGS / "no-idt.serial.log").read_bytes())
    a, b = saved_logs.read([one, two]), saved_logs.read([two, one])
    assert a == b and a.outcome == "fault" and a.units[-1].name == "mailbox"


@pytest.mark.parametrize(
    ("data", "words"),
    [(b"", "empty"), (b"hello\n", "no log of a boot"), (bytes(range(256)) * 50, "no log of a boot")],
)
def test_what_is_no_log(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "log"
    path.write_bytes(data)
    with pytest.raises(InputError, match=words) as error:
        saved_logs.read([path])
    assert str(path) in error.value.message


def test_folders(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no log"):
        saved_logs.read([tmp_path])
    (tmp_path / "qemu.log").write_bytes((LOGS / "no-idt.qemu.log").read_bytes())
    (tmp_path / "serial.log").write_bytes(b"")
    assert saved_logs.read([tmp_path]).outcome == "fault"
    with pytest.raises(InputError, match="No such file"):
        saved_logs.read([tmp_path / "gone"])


@pytest.mark.parametrize(
    "text", ["{}", "[]", "null", "not json", '{"outcome": "fault"}', '{"units": 5}', "\xff"]
)
def test_a_boot_json_that_is_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "boot.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"boot\.json"):
        saved_logs.read([path])


def test_a_saved_boot_gives_the_same_report(tmp_path: Path) -> None:
    death = bar_death()
    result = death.result()
    boot_log.save(result, tmp_path)
    read = saved_logs.read([tmp_path])
    assert read == result
    assert fault.analyse(read, death.symbols()) == fault.analyse(result, death.symbols())


def _paths(value: object, at: tuple[object, ...] = ()) -> list[tuple[object, ...]]:
    """Every place in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(path for key, inner in items for path in _paths(inner, (*at, key)))]


@pytest.mark.long
def test_any_value_of_another_type_is_refused_or_harmless(tmp_path: Path) -> None:
    death = bar_death()
    whole = json.loads(json.dumps(boot_log.to_json(death.result())))
    symbols = death.symbols()
    path = tmp_path / "boot.json"
    for place in _paths(whole)[1:]:
        wrongs: tuple[Any, ...] = (None, 5, "x", [], {}, [[]])
        for wrong in wrongs:
            data = json.loads(json.dumps(whole))
            inner = data
            for key in place[:-1]:
                inner = inner[key]
            inner[place[-1]] = wrong
            path.write_text(json.dumps(data))
            with contextlib.suppress(InputError):
                fault.analyse(boot_log.load(path), symbols)


def test_a_screenshot_survives(tmp_path: Path) -> None:
    from dataclasses import replace

    result = bar_death().result()
    assert result.snapshot is not None
    result = replace(result, snapshot=replace(result.snapshot, screen=Screen(1, 1, b"\1\2\3")))
    boot_log.save(result, tmp_path)
    assert boot_log.load(tmp_path / "boot.json") == result


def test_of_an_enormous_log_both_ends_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saved_logs, "READ_MAX", 20_000)
    path = tmp_path / "log"
    death = (LOGS / "no-idt.qemu.log").read_bytes()
    path.write_bytes(b"Servicing hardware INT=0x20\n" * 100_000 + death)
    assert saved_logs.read([path]).outcome == "fault"
    path.write_bytes(death + b"Servicing hardware INT=0x20\n" * 100_000)
    assert saved_logs.read([path]).outcome == "fault"


@pytest.mark.parametrize(
    ("text", "outcome"),
    [
        ("PXBOOT v1 a start tsc=1\n", "timeout"),
        ("PXREADY v1 tsc=1\n", "ready"),
        ("PXPANIC v1 a b\n", "panic"),
        ("PXFAULT v1 begin\nvector=0xe\n", "fault"),
        ("KTAP version 1\n1..1\nok 1 a\n", "tests-passed"),
        ("KTAP version 1\n1..2\nok 1 a\n", "tests-failed"),
    ],
)
def test_the_outcome_that_a_serial_log_proves(tmp_path: Path, text: str, outcome: str) -> None:
    path = tmp_path / "serial.log"
    path.write_text(text)
    result = saved_logs.read([path])
    assert result.outcome == outcome
    assert saved_logs.nothing_found(result).outcome == outcome


@given(st.binary(min_size=1, max_size=300))
def test_no_bytes_make_it_raise_anything_else(data: bytes) -> None:
    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        with contextlib.suppress(InputError):
            fault.analyse(saved_logs.read([Path(file.name)]))


@settings(max_examples=30)
@given(
    st.recursive(st.none() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x))
)
def test_no_json_makes_it_raise_anything_else(value: object) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "boot.json"
        path.write_text(json.dumps(value))
        with pytest.raises(InputError):
            saved_logs.read([path])
