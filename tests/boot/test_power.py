"""Power-off and reset through ACPI, seen by QEMU: which event the machine raises, and what it says when it cannot."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toolchain import build, qemu
from toolchain.types import BootConfig

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
UNIT = """
[[unit]]
name = "power-test"
entry = "power_test_init"
"""


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel with one more boot unit, which switches off or resets."""
    folder = tmp_path_factory.mktemp("power")
    tree = folder / "tree"
    shutil.copytree(ROOT / "kernel", tree)
    shutil.copy(ROOT / "tests/fixtures/kernels/power.s", tree / "test/power.s")
    with (tree / "boot.toml").open("a") as file:
        file.write(UNIT)
    return build.build(tree, folder / "out", iso=False).elf


@pytest.mark.parametrize("machine", ["q35", "pc"])
@pytest.mark.parametrize(("word", "outcome"), [("power-off", "shutdown"), ("power-reset", "reset")])
def test_the_machine_obeys(kernel: Path, machine: str, word: str, outcome: str) -> None:
    result = qemu.boot(BootConfig(kernel, machine=machine, cmdline=f"exit {word}"))  # type: ignore[arg-type]
    assert result.outcome == outcome, result.serial
    assert "Triple fault" not in result.qemu_log  # a way before the last one worked


def test_without_acpi_a_power_off_is_refused_and_a_reset_is_not(kernel: Path) -> None:
    def boot(word: str) -> tuple[str, str]:
        extra = ("-no-acpi",)
        result = qemu.boot(BootConfig(kernel, machine="pc", cmdline=f"exit {word}", extra_args=extra))
        return result.outcome, result.serial

    outcome, said = boot("power-off")
    assert outcome == "ready"
    assert "PXBOOT v1 acpi skip" in said
    assert "PXBOOT v1 power-test ok" in said
    assert "error=0x9" in said
    assert boot("power-reset")[0] == "reset"
