"""A process for one request about shaders: what a stranger's WGSL does to a driver ends with it.

    python -m architect.tools.shader_worker < request.json > answer.json

Owns the forms: ``{"op": "compile"|"reference"|"run"|"bench", "texts": {file: WGSL}, "file": ..., ...}`` in, an object
out. The parent sets the deadline (``architect.tools.shaders``).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from typing import Any

from toolchain.errors import InputError, PxError

STAGE = "shader"
GATES = ("loops", "reference", "sizes")
_ENTRY = re.compile(r"@compute\b[^{;]*?\bfn\s+(\w+)")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_STUB = "\n@compute @workgroup_size(1) fn nothing_else() {}\n"
_VALUES_SHOWN = 64
_TYPES = {"f32": "<f4", "u32": "<u4", "i32": "<i4"}


def compiled(request: Mapping[str, Any]) -> dict[str, Any]:
    """Every entry point of a file through the validator and the driver."""
    from toolchain.gpu import wgsl
    from toolchain.gpu.device import Device

    file, text = str(request["file"]), str(request["texts"][request["file"]])
    entries = _ENTRY.findall(_COMMENT.sub("", text))
    with Device() as device, wgsl.in_place(request["texts"]):
        module = wgsl.load(file) if entries else wgsl.compose(text + _STUB, file)
        for entry in entries or ["nothing_else"]:
            device.kernel(module, entry)
        bindings = wgsl.bindings(module)
        return {"entries": entries, "bindings": bindings, "device": str(device.adapter)}


def reference(request: Mapping[str, Any]) -> dict[str, Any]:
    """A file against everything that says what it must compute."""
    from architect.shaders.gates import Gates
    from architect.shaders.probes import probes
    from architect.tools.shader_references import REFERENCES
    from toolchain.gpu import wgsl
    from toolchain.gpu.device import Device

    file, texts = str(request["file"]), request["texts"]
    about = compiled(request)
    asked, rows = 0, []
    if any(file in probe.files for probe in probes()):
        with Gates() as gates:
            for name in GATES:
                gate = gates.ask(name, texts, [file]).gate
                asked += 1
                rows.append({"what": name, "ok": gate.passed, "message": gate.message})
                if not gate.passed:
                    break
    if file in REFERENCES:
        with Device() as device, wgsl.in_place(texts):
            problem = REFERENCES[file](device)
        asked += 1
        doc = (REFERENCES[file].__doc__ or "").replace("`", "").strip().partition("\n")[0].rstrip(".")
        rows.append({"what": doc, "ok": problem is None, "message": problem or ""})
    return {**about, "asked": asked, "rows": rows}


def ran(request: Mapping[str, Any]) -> dict[str, Any]:
    """One dispatch with buffers as given; what the buffers hold afterwards."""
    import numpy as np

    from toolchain.gpu import wgsl
    from toolchain.gpu.device import Device

    with Device() as device, wgsl.in_place(request["texts"]):
        module = wgsl.load(str(request["file"]), request.get("constants") or {})
        kinds = wgsl.bindings(module)
        given = request.get("buffers") or []
        if len(given) != len(kinds):
            raise InputError(
                f"{request['file']}: has {len(kinds)} bindings ({', '.join(kinds)})", stage=STAGE
            )
        buffers = []
        for row, kind in zip(given, kinds, strict=True):
            values = np.array(row.get("values") or [0] * int(row.get("zeros", 1)), _TYPES[row["type"]])
            buffers.append(device.uniform(values.tobytes()) if kind == "uniform" else device.upload(values))
        device.dispatch(
            device.kernel(module, str(request.get("entry", "main"))),
            buffers,
            request.get("groups") or [1],
            iterations=0,
        )
        out = {}
        for number, (row, kind) in enumerate(zip(given, kinds, strict=True)):
            if kind == "storage":
                data = np.frombuffer(device.download(buffers[number]), _TYPES[row["type"]])
                out[str(number)] = [value.item() for value in data[:_VALUES_SHOWN]]
        return {"buffers": out, "device": str(device.adapter)}


def benched(request: Mapping[str, Any]) -> dict[str, Any]:
    """The workloads that run a file, beside NumPy."""
    from toolchain import bench_shaders
    from toolchain.command import Ui
    from toolchain.gpu import wgsl

    with wgsl.in_place(request["texts"]) if request.get("proposed") else _as_it_is():
        return bench_shaders.run(Ui(), only=request["workloads"])


def _as_it_is() -> Any:
    from contextlib import nullcontext

    return nullcontext()


def main() -> int:
    """A request on standard input, an answer on standard output."""
    request = json.load(sys.stdin)
    ops = {"compile": compiled, "reference": reference, "run": ran, "bench": benched}
    try:
        answer = ops[request["op"]](request)
    except PxError as error:
        answer = {"error": "\n".join(error.lines())}
    print(json.dumps(answer))
    return 0


if __name__ == "__main__":
    sys.exit(main())
