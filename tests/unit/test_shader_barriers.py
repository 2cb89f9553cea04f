"""The rule on barriers: each orders the memory of its own address space; in our shaders every exchange is noticed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from toolchain.gpu import barriers, wgsl

HEAD = """\
@group(0) @binding(0) var<storage, read_write> out: array<u32>;
var<workgroup> held: array<u32, 64>;
var<workgroup> other: atomic<u32>;
"""
SHARED = HEAD + "@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {\n%s\n}\n"
STORED = (
    HEAD.partition("\n")[0]
    + "\n@compute @workgroup_size(64) fn main(@builtin(local_invocation_index) i: u32) {\n%s\n}\n"
)
BEHIND_A_LOAD = re.compile(r"workgroupUniformLoad\([^;]*;\s*(?=workgroupBarrier)")
HELPER = "\nfn put(i: u32) { held[i] = i; }\nfn wait_for() { storageBarrier(); }\n"


def said(code: str) -> list[str]:
    return [str(one) for one in barriers.check(wgsl.Module("t.wgsl", code, ((1, "t.wgsl"),)))]


@pytest.mark.parametrize(
    "body",
    [
        "held[i] = i; storageBarrier(); out[i] = held[63u - i];",
        "out[i] = held[63u - i]; storageBarrier(); held[i] = 3u;",
        "held[i] += 2u; storageBarrier(); let x = held[0]; out[i] = x;",
        "held[i] = i; if i < 3u { out[i] = 2u; } storageBarrier(); storageBarrier(); out[i] = held[0];",
        "for (var n = 0u; n < 4u; n++) { let x = held[n]; storageBarrier(); held[i] = x; workgroupBarrier(); }",
        "loop { if i > 4u { break; } out[i] = held[0]; storageBarrier(); held[i] = 1u; }",
        "put(i); storageBarrier(); out[i] = held[0];",
        "held[i] = i; wait_for(); out[i] = held[0];",
        "atomicStore(&other, 1u); storageBarrier(); out[i] = atomicLoad(&other);",
        "held[i] = i; /* workgroupBarrier(); */ storageBarrier(); // workgroupBarrier();\n out[i] = held[0];",
    ],
)
def test_a_storage_barrier_does_not_order_workgroup_memory(body: str) -> None:
    code = SHARED % body + HELPER
    (message,) = said(code)
    assert "expected workgroupBarrier()" in message and "storageBarrier() does not order" in message
    assert said(code.replace("storageBarrier", "workgroupBarrier")) == []


@pytest.mark.parametrize(
    "body",
    [
        "held[i] = i; storageBarrier(); workgroupBarrier(); out[i] = held[63u - i];",
        "held[i] = i; workgroupBarrier(); storageBarrier(); out[i] = held[63u - i];",
        "out[i] = held[3u]; storageBarrier(); out[i] = held[4u];",
        "held[i] = i; storageBarrier(); out[i] = other_thing(i);",
        "held[i] = i; let x = workgroupUniformLoad(&held[0]); storageBarrier(); out[i] = x;",
        "var held = 3u; held = 4u; storageBarrier(); out[i] = held;",
        "let s = thing.held; storageBarrier(); thing.held = s;",
    ],
)
def test_what_is_in_order_is_not_told(body: str) -> None:
    assert said(SHARED % body) == []


def test_a_workgroup_barrier_does_not_order_a_buffer() -> None:
    code = STORED % "out[i] = i; workgroupBarrier(); out[i + 64u] = out[63u - i];"
    (message,) = said(code)
    assert "workgroupBarrier() does not order `out', which lies in storage memory" in message
    assert "t.wgsl:3: error: column 13:" in message and "expected storageBarrier()" in message
    assert said(code.replace("workgroupBarrier", "storageBarrier")) == []
    assert said(STORED % "out[i] = i; workgroupBarrier(); out[i + 64u] = 2u;") == []


@pytest.mark.parametrize("path", wgsl.files(), ids=lambda path: path.name)
def test_our_barriers_are_right_and_each_of_them_exchanged_is_noticed(path: Path) -> None:
    module = wgsl.load(path.name)
    assert barriers.check(module) == []
    needless = {found.end() for found in BEHIND_A_LOAD.finditer(module.code)}  # the load has waited already
    for found in re.finditer(r"workgroupBarrier(?=\(\))", module.code):
        code = f"{module.code[: found.start()]}storageBarrier{module.code[found.end() :]}"
        told = barriers.check(wgsl.Module(module.name, code, module.segments))
        assert told or found.start() in needless, found.start()


@pytest.mark.parametrize(
    "text", ["", "fn", "fn f(", "@compute fn f() {", "@compute fn f() { storageBarrier(", "fn ) {"]
)
def test_what_is_no_shader_is_not_followed(text: str) -> None:
    assert said(text + " storageBarrier") == []
