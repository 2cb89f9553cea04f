"""Every file of shaders/: valid for naga, with its binding table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolchain.gpu import wgsl
from toolchain.gpu.device import Device

STUB = "\n@compute @workgroup_size(1) fn nothing_else() {}\n"
SHADERS = pytest.mark.parametrize("path", wgsl.files(), ids=lambda path: path.name)
_ENTRY = re.compile(r"@compute[^{;]*?\bfn (\w+)")
_COMMENT = re.compile(r"//.*$", re.MULTILINE)
_ROW = re.compile(r"^//   (\d+)  (\w+)\s+(storage, read|storage, read_write|uniform)\b", re.MULTILINE)
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
def test_the_header_names_the_file_and_its_bindings(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(f"// {path.name} -- ")
    code = _COMMENT.sub("", text)
    assert _ROW.findall(text) == [(n, name, kind) for n, kind, name in _DECLARED.findall(code)]
    assert "// Binds" in text


def test_there_are_shaders() -> None:
    assert {"matmul.wgsl", "activate.wgsl"} <= {path.name for path in wgsl.files()}
