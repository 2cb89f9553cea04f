"""A second opinion on the shaders: Tint, the WGSL compiler of Dawn, through the npm package ``webgpu``.

Owns: asking Tint, and nothing that anybody needs: where node or the package is missing it says so. naga accepts some of
what browsers refuse, barriers in control flow that is not uniform above all.

``python -m toolchain.gpu.tint`` checks every file of ``shaders/``; node looks for the package in the current folder and
in ``NODE_PATH``.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Sequence

from toolchain.errors import ToolError
from toolchain.gpu import wgsl
from toolchain.types import Diagnostic

STAGE = "shader"
MISSING = "Tint is not installed (node, npm install webgpu): the shaders are checked by naga alone"
_SECONDS = 60.0
_NOT_THERE = 9  # the script's exit status where the package is missing
_SCRIPT = """
let found;
try { found = require('webgpu'); } catch { process.exit(9); }
Object.assign(globalThis, found.globals);
(async () => {
  const adapter = await found.create(['backend=null']).requestAdapter();
  const device = await adapter.requestDevice();
  const answers = [];
  for (const code of JSON.parse(require('fs').readFileSync(0, 'utf8'))) {
    device.pushErrorScope('validation');
    const info = await device.createShaderModule({ code }).getCompilationInfo();
    await device.popErrorScope();
    const errors = Array.from(info.messages).filter((m) => m.type === 'error');
    answers.push(errors.map((m) => [m.lineNum, m.linePos, m.message]));
  }
  require('fs').writeSync(1, JSON.stringify(answers));
  process.exit(0);
})();
"""


def check(modules: Sequence[wgsl.Module]) -> list[Diagnostic] | None:
    """Tint's errors in the modules; None where it is not installed.

    Raises:
        ToolError: node or the package failed.
    """
    node = shutil.which("node")
    if node is None:
        return None
    command = [node, "-e", _SCRIPT]
    asked = json.dumps([module.code for module in modules])
    try:
        done = subprocess.run(
            command, input=asked, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        if done.returncode == _NOT_THERE:
            return None
        answers = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ToolError(f"Tint gave no answer: {error}", stage=STAGE, command=command) from error
    return [
        Diagnostic(wgsl.locate(module, line, column), f"column {column}: {message}")
        for module, errors in zip(modules, answers, strict=True)
        for line, column, message in errors
    ]


def main() -> int:
    """Check every shader; 1 where Tint refuses one."""
    modules = [wgsl.load(path.name) for path in wgsl.files()]
    errors = check(modules)
    if errors is None:
        print(MISSING)
        return 0
    for error in errors:
        print(error)
    print(f"Tint: {len(modules)} shaders, {len(errors)} errors")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
