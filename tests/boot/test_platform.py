"""Interrupts, time and processors on the machines that QEMU offers: the kernel's own tests, and what its units say."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain import build, qemu
from toolchain.types import BootConfig, BootResult

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
DEVICES = ("-device", "edu", "-device", "e1000e,romfile=")  # raise MSI and MSI-X on request


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel, for direct boots."""
    return build.build(ROOT / "kernel", tmp_path_factory.mktemp("kernel"), iso=False).elf


def with_tests(kernel: Path, *extra: str, **options: object) -> tuple[BootResult, dict[str, bool]]:
    """A boot with the kernel's tests: what came, and which of them ran (False: skipped)."""
    result = qemu.boot(BootConfig(kernel, cmdline="test", extra_args=extra, **options))  # type: ignore[arg-type]
    assert result.outcome == "tests-passed", result.serial
    return result, {name: f"{name} # SKIP" not in result.serial for name in result.tests}


@pytest.mark.parametrize("machine", ["q35", "pc"])
def test_devices_raise_messages(kernel: Path, machine: str) -> None:
    _, ran = with_tests(kernel, *DEVICES, machine=machine)
    names = ("interrupt_msi", "interrupt_msix", "interrupt_line", "interrupt_self_ipi", "serial_receives")
    assert [name for name in names if not ran[name]] == []


def test_a_machine_without_acpi_goes_without_lines(kernel: Path) -> None:
    result, ran = with_tests(kernel, "-no-acpi", machine="pc")
    assert not ran["interrupt_line"]
    assert "PXBOOT v1 ioapic skip" in result.serial


def units(result: BootResult) -> dict[str, dict[str, str]]:
    """The notes of every unit that came to ok, or failed, by name; ``state`` among them."""
    return {unit.name: {**unit.values, "state": unit.state} for unit in result.units}


@pytest.mark.parametrize(
    ("machine", "extra", "source"),
    [
        ("q35", (), "hpet"),
        ("pc", (), "hpet"),
        ("q35", ("-machine", "hpet=off"), "pm-timer"),
        ("pc", ("-machine", "hpet=off", "-no-acpi"), "pit"),
    ],
)
def test_the_clock_is_set_by_what_there_is(
    kernel: Path, machine: str, extra: tuple[str, ...], source: str
) -> None:
    # Under icount the TSC and the local APIC's timer run at exactly 1 GHz.
    result = qemu.boot(BootConfig(kernel, machine=machine, cmdline="exit", icount=True, extra_args=extra))  # type: ignore[arg-type]
    said = units(result)
    assert result.outcome == "ready"
    assert said["clock"]["source"] == source
    for unit, rate in (("clock", "tsc_khz"), ("timer", "lapic_khz")):
        assert abs(int(said[unit][rate]) - 1_000_000) < 1_000, said[unit]


def test_without_any_timer_the_clock_says_so(kernel: Path) -> None:
    extra = ("-machine", "hpet=off,pit=off", "-no-acpi")
    result = qemu.boot(BootConfig(kernel, machine="pc", cmdline="test", extra_args=extra))
    assert result.outcome == "tests-passed", result.serial
    said = units(result)
    assert said["clock"] == {"state": "fail", "source": "none", "pit": "stuck"}
    assert said["timer"]["state"] == "skip"
