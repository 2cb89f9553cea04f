"""The small test kernels of tests/fixtures/kernels, built with GNU as and ld."""

from __future__ import annotations

import subprocess
from pathlib import Path

FOLDER = Path(__file__).resolve().parents[1] / "fixtures/kernels"

# outcomes.s: --defsym KIND=
KINDS = {
    "ready": 0, "silent": 1, "hang": 2, "reset": 3, "shutdown": 4, "triple": 5, "panic": 6, "tests-passed": 7,
    "tests-failed": 8, "wordless": 9, "serial-flood": 10, "exception-flood": 11, "ready-exit": 12, "cut-report": 13,
    "tests-cut": 14, "echo": 15,
}  # fmt: skip


def build(source: str, out: Path, **symbols: int) -> Path:
    """``source`` with ``--defsym`` for each of ``symbols`` to an ELF at ``out``."""
    defines = [word for name, value in symbols.items() for word in ("--defsym", f"{name}={value}")]
    module = out.with_suffix(".o")
    subprocess.run(
        ["as", "--64", "-g", *defines, source, "-o", str(module)], cwd=FOLDER, check=True, timeout=30
    )
    link = ["ld", "-n", "--no-warn-rwx-segments", "-T", "tiny.ld", str(module), "-o", str(out)]
    subprocess.run(link, cwd=FOLDER, check=True, timeout=30)
    return out


def outcome_kernel(folder: Path, kind: str) -> Path:
    """The kernel of ``outcomes.s`` that ends as ``kind`` says."""
    return build("outcomes.s", folder / f"{kind}.elf", KIND=KINDS[kind])
