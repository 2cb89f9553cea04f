"""Every gate of a folder of shaders in a process of its own, with the driver as it comes.

    python -m architect.shaders.proof FOLDER [GATE ...]

prints a JSON list of gate results. The search compiles for speed; what is proved is compiled as users do.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from architect.journal import gate_from_json, gate_to_json
from architect.protocols import GateResult
from architect.shaders.gates import THOROUGH, Gates
from toolchain.errors import PxError, ToolError
from toolchain.files import read_bounded
from toolchain.gpu.wgsl import BYTES_MAX

STAGE = "shaders"
SECONDS = 300.0


def texts(folder: Path) -> dict[str, str]:
    """File name -> WGSL of a folder."""
    paths = sorted(folder.glob("*.wgsl"))
    return {
        path.name: read_bounded(path, BYTES_MAX, stage=STAGE).decode("utf-8", "replace") for path in paths
    }


def prove(folder: Path, gates: Sequence[str] = THOROUGH, files: Sequence[str] = ()) -> list[GateResult]:
    """The gates in a process of their own, until one fails.

    Raises:
        ToolError: the process ended without an answer.
    """
    command = [sys.executable, "-m", "architect.shaders.proof", str(folder), ",".join(gates), *files]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return [GateResult(gates[-1], False, SECONDS, f"the proof took more than {SECONDS:g} s")]
    if done.returncode < 0:
        return [
            GateResult(gates[-1], False, 0.0, f"the proof's process was ended by signal {-done.returncode}")
        ]
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ToolError(f"the shaders could not be proved: {last}", stage=STAGE, command=command)
    return [gate_from_json(row) for row in json.loads(done.stdout)]


def main(arguments: Sequence[str]) -> int:
    """Folder, gates, files -> JSON on stdout."""
    found, names = texts(Path(arguments[0])), arguments[1].split(",")
    rows = []
    with Gates() as gates:
        for name in names:
            rows.append(gates.ask(name, found, list(arguments[2:]) or None).gate)
            if not rows[-1].passed:
                break
    print(json.dumps([gate_to_json(row) for row in rows]))
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except PxError as problem:
        print(problem.message, file=sys.stderr)
        sys.exit(problem.status)
