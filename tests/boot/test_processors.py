"""Further processors: reported when they do not come, faulting and speaking at once.

That they come, and pass the kernel's tests, is asked on the machines of ``test_matrix``.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from toolchain import build, contract, qemu
from toolchain.symbols import SymbolTable
from toolchain.types import BootConfig, BootResult

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
LINES = 40  # of each CPU: tests/fixtures/kernels/smp.s
UNIT = """
[[unit]]
name = "smp-test"
entry = "smp_test_init"
"""
GHOST = 0xEE  # an APIC id that no machine here has


def _tree(folder: Path) -> Path:
    tree = folder / "tree"
    shutil.copytree(ROOT / "kernel", tree)
    shutil.copy(ROOT / "tests/fixtures/kernels/smp.s", tree / "test/smp.s")
    with (tree / "boot.toml").open("a") as file:
        file.write(UNIT)
    return tree


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel with one more boot unit, which does things on all CPUs."""
    folder = tmp_path_factory.mktemp("smp")
    return build.build(_tree(folder), folder / "out", iso=False).elf


def _boot(image: Path, cmdline: str, smp: int, *extra: str) -> BootResult:
    return qemu.boot(BootConfig(image, cmdline=cmdline, smp=smp, extra_args=extra))


def _said(result: BootResult) -> dict[str, str]:
    return next(unit.values for unit in result.units if unit.name == "processors")


def test_a_processor_that_firmware_left_off_is_not_started(kernel: Path) -> None:
    result = _boot(kernel, "exit", 2, "-smp", "2,maxcpus=4")
    assert _said(result) == {"cpus": "2"}
    assert next(unit.values["disabled"] for unit in result.units if unit.name == "madt") == "2"


def test_a_processor_that_does_not_come_is_reported_and_not_waited_for(tmp_path: Path) -> None:
    tree = _tree(tmp_path)
    source = tree / "cpu/processors.s"
    text, done = source.read_text(), ".Lprepare_done:\n"
    assert text.count(done) == 1
    source.write_text(text.replace(done, f"{done}    mov edi, {GHOST:#x}\n    call cpu_prepare\n"))
    image = build.build(tree, tmp_path / "out", iso=False).elf
    result = _boot(image, "test", 2)
    assert result.outcome == "tests-passed", result.serial
    assert _said(result) == {"cpus": "2", "parked": "1", "first_parked": hex(GHOST)}


def test_a_fault_names_its_processor(kernel: Path) -> None:
    result = _boot(kernel, "exit smp-fault", 4)
    assert result.outcome == "fault", result.serial
    assert result.kernel_fault is not None
    assert tuple(result.kernel_fault) == contract.load().fault_keys
    fault = result.kernel_fault
    assert (int(fault["cpu"], 16), fault["name"], fault["scope"]) == (2, "#UD", "kernel")
    symbols = SymbolTable(kernel)
    assert symbols.place(int(fault["rip"], 16)).symbol == "provoke_ud"
    callers = [symbols.place(int(at, 16) - 1).symbol for at in fault["trace"].split(",")]
    assert callers[:2] == ["interrupt_dispatch", "interrupt_enter"]  # cpu_called: the caller of a leaf


def test_of_faults_on_all_processors_at_once_one_is_reported_whole(kernel: Path) -> None:
    for _ in range(3):
        result = _boot(kernel, "exit smp-all", 4)
        assert result.outcome == "fault", result.serial
        assert result.kernel_fault is not None
        assert tuple(result.kernel_fault) == contract.load().fault_keys
        assert result.serial.count("PXFAULT v1 begin") == result.serial.count("PXFAULT v1 end") == 1
        assert result.panic is None


def test_lines_of_all_processors_stay_whole(kernel: Path) -> None:
    result = _boot(kernel, "exit smp-lines", 4)
    assert result.outcome == "ready", result.serial
    said = sorted(line for line in result.serial.splitlines() if "smp-line" in line)
    right = sorted(
        f"smp-line cpu={cpu} number={n} end-of-this-line" for cpu in range(4) for n in range(LINES)
    )
    assert said == right
