"""Every file of shaders/: valid for naga, with its binding table."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from toolchain.gpu import wgsl
from toolchain.gpu.device import Device

STUB = "\n@compute @workgroup_size(1) fn nothing_else() {}\n"
SHADERS = pytest.mark.parametrize("path", wgsl.files(), ids=lambda path: path.name)
_ENTRY = re.compile(r"@compute[^{;]*?\bfn (\w+)")
_COMMENT = re.compile(r"//.*$", re.MULTILINE)
_DECLARED = re.compile(r"@group\(0\) @binding\((\d+)\) var<([^>]+)> (\w+):")


@SHADERS
@pytest.mark.parametrize("checked", [True, False])
def test_every_entry_compiles_with_the_default_constants(device: Device, path: Path, checked: bool) -> None:
    module = wgsl.load(path.name)
    entries = _ENTRY.findall(_COMMENT.sub("", module.code))
    if not entries:  # a part: valid by itself
        module, entries = wgsl.compose(path.read_text() + STUB, path.name), ["nothing_else"]
    for entry in entries:
        device.kernel(module, entry, checked=checked)


@SHADERS
def test_the_header_has_a_row_for_each_binding(path: Path) -> None:
    lines = path.read_text().splitlines()
    header = list(itertools.takewhile(lambda line: line.startswith("//"), lines))
    code = _COMMENT.sub("", "\n".join(lines))
    declared = _DECLARED.findall(code)
    assert len(declared) == code.count("@binding") and header
    for number, kind, name in declared:
        words = {number, name, kind.split(",")[-1].strip()}
        assert any(words <= set(re.findall(r"\w+", line)) for line in header), (number, name, kind)


def test_there_are_shaders() -> None:
    assert {"matmul.wgsl", "activate.wgsl"} <= {path.name for path in wgsl.files()}
