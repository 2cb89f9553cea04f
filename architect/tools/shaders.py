"""Tools for WGSL: compile with the validator's message, run, hold against the reference, measure.

The work is done in a process of its own with a deadline: a shader that hangs or crashes the driver takes only that one
along. The texts are those on the desk, proposals included.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from architect.tools import subcommand
from architect.tools.base import Answer, schema
from architect.tools.sheet import SHADER_SUFFIX, SHADERS
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.tools.desk import Desk

STAGE = "shader"
SECONDS = 120.0
BENCH_SECONDS = 300.0
_VALUES_MAX = 4096
_NAME = {"type": "string", "pattern": r"^(shaders/)?[A-Za-z0-9_]{1,60}(\.wgsl)?$"}
# Which workloads of the bench run a file, by a word of their names.
WORKLOADS = {
    "matmul.wgsl": ["matmul", "vector by matrix"],
    "weights.wgsl": ["int8"],
    "attention.wgsl": ["attention"],
    "joins.wgsl": ["attention of one query"],
    "activations.wgsl": ["softmax", "RMSNorm", "GELU"],
    "activate.wgsl": ["GELU"],
}


def file_of(desk: Desk, name: str) -> tuple[str, dict[str, str]]:
    """A shader's file name, and the texts of the whole folder.

    Raises:
        InputError: no such shader.
    """
    texts = {n.removeprefix(SHADERS): t for n, t in desk.sources().items() if n.startswith(SHADERS)}
    file = name.removeprefix(SHADERS).removesuffix(SHADER_SUFFIX) + SHADER_SUFFIX
    if file not in texts:
        raise InputError(f"{name}: no such shader; there are: {', '.join(sorted(texts))}", stage=STAGE)
    return file, texts


def _asked(desk: Desk, request: dict[str, Any], seconds: float = 0.0) -> dict[str, Any]:
    """The worker's answer to a request.

    Raises:
        InputError: what the validator or the worker said against it.
        Timeout: it did not end in time.
    """
    command = [sys.executable, "-m", "architect.tools.shader_worker"]
    done = subcommand.run(command, seconds or SECONDS, stdin=json.dumps(request).encode(), say=desk.say)
    try:
        answer: dict[str, Any] = json.loads(done.output)
    except ValueError:
        last = (done.errors.strip().splitlines() or [f"it ended with status {done.status}"])[-1]
        raise InputError(f"the shader's process did not answer: {last}", stage=STAGE) from None
    if "error" in answer:
        raise InputError(str(answer["error"]), stage=STAGE)
    return answer


class CompileShader:
    """``compile_shader``."""

    name = "compile_shader"
    summary = (
        "Compile a shader of shaders/ (with the proposed edits) by the WGSL validator and the driver: the validator's"
        " message with file, line and column, or its entry points and bindings. With text, that text instead."
    )
    parameters = schema(("shader",), shader=_NAME, text={"type": "string", "maxLength": 200_000})

    def call(self, desk: Desk, shader: str, text: str | None = None) -> Answer:
        """What the validator says."""
        if text is None:
            file, texts = file_of(desk, shader)
        else:
            file = shader.removeprefix(SHADERS).removesuffix(SHADER_SUFFIX) + SHADER_SUFFIX
            texts = {n.removeprefix(SHADERS): t for n, t in desk.sources().items() if n.startswith(SHADERS)}
            texts[file] = text
        found = _asked(desk, {"op": "compile", "file": file, "texts": texts})
        entries = ", ".join(found["entries"]) or "none: a part of others"
        bindings = ", ".join(f"{n} {kind}" for n, kind in enumerate(found["bindings"])) or "none"
        return Answer(
            f"{file} compiles on {found['device']}; entries: {entries}; bindings: {bindings}", found
        )


class RunShader:
    """``run_shader``."""

    name = "run_shader"
    summary = (
        "Hold a shader (with the proposed edits) to its reference in NumPy or Python: random inputs, several sizes."
        " With buffers, run one dispatch of an entry instead and show what the read_write buffers hold afterwards."
    )
    parameters = schema(
        ("shader",),
        shader=_NAME,
        entry={"type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,60}$"},
        groups={
            "type": "array",
            "minItems": 1,
            "maxItems": 3,
            "items": {"type": "integer", "minimum": 1, "maximum": 4096},
        },
        buffers={
            "type": "array",
            "maxItems": 16,
            "items": {
                "type": "object",
                "required": ["type"],
                "properties": {
                    "type": {"type": "string", "enum": ["f32", "u32", "i32"]},
                    "values": {
                        "type": "array",
                        "minItems": 1,
                        "maxItems": _VALUES_MAX,
                        "items": {"type": "number"},
                    },
                    "zeros": {"type": "integer", "minimum": 1, "maximum": 1 << 20},
                },
                "additionalProperties": False,
            },
        },
        constants={"type": "object", "properties": {}, "additionalProperties": {"type": "integer"}},
    )

    def call(
        self,
        desk: Desk,
        shader: str,
        entry: str = "main",
        groups: list[int] | None = None,
        buffers: list[dict[str, Any]] | None = None,
        constants: dict[str, int] | None = None,
    ) -> Answer:
        """The reference's verdict, or the buffers."""
        file, texts = file_of(desk, shader)
        desk.say(f"running {file} in a process of its own, at most {SECONDS:g} s")
        if buffers is not None:
            request = {"op": "run", "file": file, "texts": texts, "entry": entry, "groups": groups}
            found = _asked(desk, {**request, "buffers": buffers, "constants": constants})
            lines = [f"binding {n}: {values}" for n, values in found["buffers"].items()]
            return Answer("\n".join(lines) or "no buffer is written", found)
        found = _asked(desk, {"op": "reference", "file": file, "texts": texts})
        if not found["asked"]:
            text = (
                f"{file} compiles; nothing says what it must compute: give it buffers to look at what it does"
            )
            return Answer(text, found, ok=False)
        lines = [
            f"{'pass' if r['ok'] else 'FAIL'}  {r['what']}  {r['message']}".rstrip() for r in found["rows"]
        ]
        passed = all(row["ok"] for row in found["rows"])
        verdict = f"{file} {'computes what its reference does' if passed else 'differs from its reference'}"
        return Answer("\n".join([*lines, f"{verdict}, on {found['device']}"]), found, ok=passed)


class BenchShader:
    """``bench_shader``."""

    name = "bench_shader"
    summary = "Measure a shader of the neural network (with the proposed edits) beside NumPy in the same run."
    parameters = schema(("shader",), shader=_NAME)

    def call(self, desk: Desk, shader: str) -> Answer:
        """The rows of the bench that run it."""
        from architect.tools.measuring import machine_text, row_text

        file, texts = file_of(desk, shader)
        if file not in WORKLOADS:
            raise InputError(
                f"{file}: no workload of the bench runs it; there are some for {', '.join(sorted(WORKLOADS))}; measure"
                " mailbox, vm or pixel for the others",
                stage=STAGE,
            )
        proposed = f"{SHADERS}{file}" in desk.changes
        request = {
            "op": "bench",
            "file": file,
            "texts": texts,
            "workloads": WORKLOADS[file],
            "proposed": proposed,
        }
        found = _asked(desk, request, BENCH_SECONDS)
        note = ["compiled with the checks for strangers' code, as proposals are"] if proposed else []
        lines = [*map(row_text, found["rows"]), machine_text(found["machine"]), *note]
        return Answer("\n".join(lines), found)
