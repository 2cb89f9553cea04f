"""Interrupts, time and processors on the machines that QEMU offers: the kernel's own tests, and what its units say."""

from __future__ import annotations

import struct
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


def test_a_part_of_the_tests_is_run_by_name(kernel: Path) -> None:
    result = qemu.boot(BootConfig(kernel, cmdline="quiet test=paging_"))
    assert result.outcome == "tests-passed", result.serial
    assert len(result.tests) > 2 and all(name.startswith("paging_") for name in result.tests)
    assert f"1..{len(result.tests)}" in result.serial


def test_a_name_that_no_test_has_is_no_success(kernel: Path) -> None:
    result = qemu.boot(BootConfig(kernel, cmdline="test=pagingx"))
    assert (result.outcome, dict(result.tests)) == ("tests-failed", {})


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


def test_the_local_apic_is_an_x2apic_where_the_emulator_has_one(kernel: Path) -> None:
    """QEMU has one under TCG since 9.0; an older one says that it goes without, and the registers lie in memory."""
    result, ran = with_tests(kernel, cpu="max,+x2apic", smp=4)
    without = "TCG doesn't support requested feature: CPUID.01H:ECX.x2apic" in result.stderr_tail
    assert units(result)["lapic"]["mode"] == ("xapic" if without else "x2apic")
    names = ("interrupt_self_ipi", "processors_are_themselves", "tlb_answers_a_shoot_down", "time_one_shot")
    assert [name for name in names if not ran[name]] == []


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


def hpet(space: int = 0, address: int = 0xFED0_0000) -> bytes:
    """The body of an HPET table (IA-PC HPET 1.0a, 3.2.4)."""
    return struct.pack("<I BBBB Q B H B", 0x8086_A201, space, 64, 0, 0, address, 0, 100, 0)


def mcfg(base: int, segment: int = 0, first: int = 0, last: int = 255) -> bytes:
    """The body of an MCFG table with one allocation (PCI Firmware 3.3, 4.1.2)."""
    return struct.pack("<Q QHBB I", 0, base, segment, first, last, 0)


HPETS = {
    "where none is": hpet(),
    "at ports": hpet(space=1),
    "at 0": hpet(address=0),
    "in RAM": hpet(address=0x20_0000),
    "within a page": hpet(address=0xFED0_0003),
    "beyond the bus": hpet(address=1 << 63),
    "over its end": hpet(address=(1 << 52) - 8),
    "cut": hpet()[:3],
    "empty": b"",
}
MCFGS = {
    "in RAM": mcfg(0x20_0000),
    "beyond the bus": mcfg(1 << 63),
    "where nobody answers": mcfg(0xC000_0000),
    "of buses backwards": mcfg(0xB000_0000, first=9, last=3),
    "of another segment": mcfg(0xB000_0000, segment=7),
    "without a row": bytes(8),
    "cut": bytes(3),
}


@pytest.mark.parametrize("body", HPETS)
def test_an_hpet_that_firmware_makes_up_is_refused_and_said(kernel: Path, tmp_path: Path, body: str) -> None:
    (tmp_path / "table").write_bytes(HPETS[body])
    extra = ("-machine", "hpet=off", "-acpitable", f"sig=HPET,data={tmp_path}/table")
    result = qemu.boot(BootConfig(kernel, cmdline="exit", icount=True, extra_args=extra))
    assert result.outcome == "ready", result.serial
    said = units(result)["clock"]
    assert (said["source"], said["hpet"]) == ("pm-timer", "refused")
    assert abs(int(said["tsc_khz"]) - 1_000_000) < 1_000


@pytest.mark.parametrize("body", MCFGS)
def test_an_ecam_that_firmware_makes_up_is_refused_and_said(kernel: Path, tmp_path: Path, body: str) -> None:
    (tmp_path / "table").write_bytes(MCFGS[body])
    extra = ("-acpitable", f"sig=MCFG,data={tmp_path}/table")
    result = qemu.boot(BootConfig(kernel, machine="pc", cmdline="exit", extra_args=extra))
    assert result.outcome == "ready", result.serial
    said = units(result)["pci"]
    assert (said["access"], said["mcfg"]) == ("ports", "refused")
    assert int(said["functions"]) >= 4


# CPU model -> CR4 bits that it cannot have: UMIP 11, SMEP 20, SMAP 21 (Intel SDM vol. 3, 2.5)
SMAP = 1 << 21
MODELS = {"max": 0, "max,-umip": 1 << 11, "max,-smep": 1 << 20, "max,-smap": SMAP, "qemu64": 0x30_0800}


@pytest.mark.parametrize("model", [*MODELS, "max,-pdpe1gb"])
def test_protections_are_used_where_the_cpu_has_them(kernel: Path, model: str) -> None:
    result, ran = with_tests(kernel, cpu=model)
    lacks = MODELS.get(model, 0)
    assert int(units(result)["features"]["cr4"], 16) & 0x30_0800 == 0x30_0800 & ~lacks
    assert ran["cpu_protection_features"]
    assert ran["user_pages_are_closed_to_the_kernel"] == (not lacks & SMAP)
    huge = int(units(result)["paging"]["huge"])
    assert (huge > 0) == (model.startswith("max") and model != "max,-pdpe1gb")
