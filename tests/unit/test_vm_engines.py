"""The table of engines: names, what is found, what is refused."""

from __future__ import annotations

import pytest

from pixelvm import engines, reference
from pixelvm.commands import vm_run
from tests.unit.pxos import pxos
from toolchain.errors import InputError


def test_the_reference_is_found() -> None:
    assert engines.find("python") is reference.run


def test_an_unknown_engine_is_refused_with_the_names() -> None:
    with pytest.raises(InputError, match=r"'abacus'.*python, x86, kernel, wgsl"):
        engines.find("abacus")


def test_an_engine_that_cannot_be_imported_names_one_that_can(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = engines.Engine("gone", "pixelvm.no_such_engine", "none")
    monkeypatch.setitem(engines.ENGINES, "gone", gone)
    with pytest.raises(InputError, match=r"gone cannot be used here.*--engine python"):
        engines.find("gone")


def test_the_command_has_the_default_of_the_table() -> None:
    assert vm_run.ENGINE == engines.DEFAULT


def test_the_command_takes_the_name_of_an_engine() -> None:
    assert pxos("vm", "run", "pixelvm/examples/hello.pxa", "--engine", "python").status == 0
    refused = pxos("vm", "run", "pixelvm/examples/hello.pxa", "--engine", "abacus")
    assert refused.status == 2
    assert "no engine is called 'abacus'" in refused.errors
