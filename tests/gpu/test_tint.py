"""Tint's opinion of the shaders where it is installed, and what is said where it is not."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from toolchain.errors import ToolError
from toolchain.gpu import tint, wgsl

BARRIER = """// a barrier that some invocations do not reach: naga lets it pass
@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {
  if i < 7u { workgroupBarrier(); }
}
"""


def test_tint_accepts_every_shader_and_refuses_a_bad_one_or_is_not_installed() -> None:
    modules = [wgsl.load(path.name) for path in wgsl.files()]
    verdict = tint.check([*modules, wgsl.compose(BARRIER, "barrier.wgsl")])
    if verdict is not None:
        assert [(d.place.file, d.place.line) for d in verdict] == [("barrier.wgsl", 3)]


def node(folder: Path, script: str) -> None:
    path = folder / "node"
    path.write_text(f"#!{sys.executable}\n{script}\n")
    path.chmod(0o755)


def test_without_node_or_the_package_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("node") is None and tint.check([]) is None
    node(tmp_path, "import sys; sys.stdin.read(); sys.exit(9)")
    assert tint.check([]) is None
    assert tint.main() == 0 and capsys.readouterr().out == tint.MISSING + "\n"


def test_what_node_answers_is_placed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node(
        tmp_path,
        "import sys, json\nn = len(json.load(sys.stdin))\nprint(json.dumps([[[1, 4, 'bad']]] + [[]] * (n - 1)))",
    )
    assert tint.main() == 1
    out = capsys.readouterr().out
    assert "activate.wgsl:1: error: column 4: bad" in out and out.endswith(" shaders, 1 errors\n")


def test_an_answer_that_is_none_is_an_error_of_the_tool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    node(tmp_path, "print('oops')")
    with pytest.raises(ToolError, match="Tint gave no answer"):
        tint.check([])
