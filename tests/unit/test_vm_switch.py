"""The C switch interpreter that our engines are measured beside: complete, or its speed would mean nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelvm import c_switch, engines, fuzz
from pixelvm.engines import Engine
from pixelvm.host import PlainHost
from pixelvm.isa import Op, System, word
from pixelvm.program import Program
from pixelvm.state import State
from toolchain.errors import ToolError


@pytest.mark.long
def test_it_is_as_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(engines.ENGINES, "switch", Engine("switch", "pixelvm.c_switch", "a peer"))
    for _, differences in fuzz.run(21, 0, 3000, ["switch"]):
        assert [(one.number, one.what) for one in differences] == []


def test_what_a_host_raises_comes_out() -> None:
    class Angry(PlainHost):
        def milliseconds(self) -> int:
            raise RuntimeError("no clock")

    program = Program((word(Op.SYS, System.TIME), word(Op.HALT)), b"", 256)
    with pytest.raises(RuntimeError, match="no clock"):
        c_switch.run(program, State(program, fuel=100), Angry())


def test_without_a_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    c_switch.compiled.cache_clear()
    bad = tmp_path / "switch.c"
    bad.write_text("int x = ;\n")
    with monkeypatch.context() as patch:
        patch.setattr(c_switch, "SOURCE", bad)
        with pytest.raises(ToolError, match=r"gcc refuses switch\.c: .*error"):
            c_switch.compiled()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolError, match="gcc is not installed"):
        c_switch.compiled()
