"""The kernel's own reports: every exception that can be raised ends the boot with a whole PXFAULT block."""

from __future__ import annotations

import select
import shutil
import time
from pathlib import Path

import pytest

from toolchain import build, contract, qemu, qemu_args, serial
from toolchain.machine import Machine
from toolchain.symbols import SymbolTable
from toolchain.types import BootConfig, BootResult

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
UNMAPPED = 0x123456789000
UNIT = """
[[unit]]
name = "raise"
entry = "raise_init"
"""
# kind -> vector, name, error code
RAISED = {
    "de": (0, "#DE", 0), "db": (1, "#DB", 0), "nmi": (2, "NMI", 0), "bp": (3, "#BP", 0), "of": (4, "#OF", 0),
    "br": (5, "#BR", 0), "ud": (6, "#UD", 0), "nm": (7, "#NM", 0), "df": (8, "#DF", 0),
    "np": (11, "#NP", 0x18), "gp": (13, "#GP", 0), "pf_read": (14, "#PF", 0), "pf_write": (14, "#PF", 2),
    "pf_fetch": (14, "#PF", 0x10), "mf": (16, "#MF", 0), "overflow": (8, "#DF", 0),
}  # fmt: skip


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel with one more boot unit, which raises what the command line says."""
    return _build(tmp_path_factory.mktemp("kernel"), {})


def _build(folder: Path, edits: dict[str, tuple[str, str]]) -> Path:
    tree = folder / "tree"
    shutil.copytree(ROOT / "kernel", tree)
    shutil.copy(ROOT / "tests/fixtures/kernels/raise.s", tree / "test/raise.s")
    with (tree / "boot.toml").open("a") as file:
        file.write(UNIT)
    for name, (old, new) in edits.items():
        text = (tree / name).read_text()
        assert text.count(old) == 1
        (tree / name).write_text(text.replace(old, new))
    return build.build(tree, folder / "out", iso=False).elf


def _boot(image: Path, kind: str, **options: object) -> BootResult:
    return qemu.boot(BootConfig(image, cmdline=f"exit raise-{kind}", **options))  # type: ignore[arg-type]


def _fault(result: BootResult) -> dict[str, str]:
    assert result.outcome == "fault", result.serial
    assert result.kernel_fault is not None
    assert tuple(result.kernel_fault) == contract.load().fault_keys
    return result.kernel_fault


def _numbers(text: str) -> list[int]:
    return [int(part, 16) for part in text.split(",")] if text else []


@pytest.mark.parametrize("kind", RAISED)
def test_exception_is_reported_whole(kernel: Path, kind: str) -> None:
    fault = _fault(_boot(kernel, kind))
    assert (int(fault["vector"], 16), fault["name"], int(fault["error"], 16)) == RAISED[kind]
    assert fault["scope"] == "kernel"
    assert fault["unit"] == "raise"
    symbols = SymbolTable(kernel)
    if kind == "pf_fetch":
        assert int(fault["rip"], 16) == UNMAPPED
    else:
        assert symbols.place(int(fault["rip"], 16)).symbol == f"provoke_{kind}"
    if kind.startswith("pf_"):
        assert int(fault["cr2"], 16) == UNMAPPED
    callers = [symbols.place(address - 1).symbol for address in _numbers(fault["trace"])]
    if kind == "overflow":
        assert callers == ["provoke_overflow"] * contract.constant("FAULT_TRACE_MAX")
    else:
        assert callers[-4:] == ["unit_run", "boot_run_units", "boot_main", "kernel_enter"]
    if kind != "df":
        assert len(_numbers(fault["stack"])) == contract.constant("FAULT_STACK_QUADS")


def test_an_interrupt_that_nobody_serves_is_named_and_survived(kernel: Path) -> None:
    result = _boot(kernel, "interrupt")
    assert result.outcome == "ready", result.serial
    assert "interrupt: nobody serves vector 0x80, on cpu 0" in result.serial.splitlines()


def test_overflow_names_the_guard_page(kernel: Path) -> None:
    fault = _fault(_boot(kernel, "overflow"))
    bottom = SymbolTable(kernel).find("boot_stack_bottom")
    assert bottom is not None
    assert bottom.address - 0x1000 <= int(fault["cr2"], 16) < bottom.address


@pytest.mark.parametrize("kind", ["gs", "no_direct"])
def test_damage_does_not_cost_the_report(kernel: Path, kind: str) -> None:
    fault = _fault(_boot(kernel, kind))
    assert fault["name"] == "#UD"
    assert fault["unit"] == "raise"
    assert len(_numbers(fault["stack"])) == contract.constant("FAULT_STACK_QUADS")
    assert len(_numbers(fault["trace"])) == 4


@pytest.mark.parametrize("kind", ["bad_rbp", "odd_rbp"])
def test_bad_frame_pointer_ends_the_trace(kernel: Path, kind: str) -> None:
    fault = _fault(_boot(kernel, kind))
    assert fault["trace"] == ""
    assert len(_numbers(fault["stack"])) == contract.constant("FAULT_STACK_QUADS")


def test_stack_pointer_of_nowhere(kernel: Path) -> None:
    fault = _fault(_boot(kernel, "no_stack"))
    assert fault["name"] == "#DF"
    assert fault["stack"] == ""


def test_fault_in_the_report_costs_a_key_and_panics(kernel: Path) -> None:
    result = _boot(kernel, "nested")
    fault = _fault(result)
    assert (fault["name"], fault["unit"]) == ("#UD", "?")
    assert len(_numbers(fault["trace"])) == 4
    assert result.panic is not None
    assert result.panic[0] == "nested-fault"


def test_fault_in_the_panic_ends_the_machine(kernel: Path) -> None:
    result = _boot(kernel, "deeper")
    assert result.qemu_status == contract.constant("DEBUG_EXIT_FAULT") << 1 | 1
    assert result.panic is None
    assert "PXFAULT" not in result.serial


def test_without_an_idt_only_qemu_tells(tmp_path: Path) -> None:
    image = _build(
        tmp_path, {"cpu/idt.s": (".set IDT_LIMIT, VECTOR_COUNT * GATE_SIZE - 1", ".set IDT_LIMIT, 0")}
    )
    result = _boot(image, "de")
    assert result.outcome in ("fault", "reset"), result.serial
    assert result.kernel_fault is None
    assert "Triple fault" in result.qemu_log
    assert [unit.name for unit in result.units if unit.state == "start"] == ["raise"]


@pytest.mark.parametrize(
    ("cpu", "code"),
    [("qemu32", "no-long-mode"), ("qemu64,-lm", "no-long-mode"), ("qemu64,-nx", "no-nx")],
)
def test_unfit_cpu_is_told(kernel: Path, cpu: str, code: str) -> None:
    result = _boot(kernel, "de", cpu=cpu)
    assert result.outcome == "panic", result.serial
    assert result.panic is not None
    assert result.panic[0] == code


def test_hung_kernel_answers_an_nmi(kernel: Path, tmp_path: Path) -> None:
    config = BootConfig(kernel, cmdline="raise-hang")
    names = SymbolTable(kernel)
    # Watched: after its report the kernel stands still, where it could end QEMU before `cont` is answered.
    arguments = qemu_args.machine_arguments(config, "tcg") + qemu_args.watch_arguments()
    with Machine(arguments, tmp_path) as machine:
        said = _listen(machine, b"raise start")
        _await_routine(machine, names, "provoke_hang")
        machine.qmp.execute("inject-nmi")
        machine.resume()
        said += _listen(machine, b"PXFAULT v1 end\n")
    fault = serial.parse(said).faults[0].values
    assert fault["name"] == "NMI"
    assert names.place(int(fault["rip"], 16)).symbol == "provoke_hang"


def _await_routine(machine: Machine, names: SymbolTable, routine: str) -> None:
    """Stop the machine in ``routine``, which it does not leave: its last line is out a while before it is there."""
    deadline = time.monotonic() + 20
    while True:
        machine.stop()
        here = names.place(machine.registers()["rip"]).symbol
        if here == routine:
            return
        assert time.monotonic() < deadline, here
        machine.resume()


def _listen(machine: Machine, until: bytes) -> bytes:
    said, deadline = b"", time.monotonic() + 20
    while until not in said:
        assert time.monotonic() < deadline, said
        select.select([machine.serial_handle], [], [], 1)
        said += machine.read_serial(4096) or b""
    return said


def test_failed_unit_panics(kernel: Path) -> None:
    result = _boot(kernel, "de", cpu="qemu64,-pat")
    assert result.panic == ("unit-failed", "features")
    assert result.units[-1].values == {"missing": "pat"}


def test_wrong_magic_is_told(kernel: Path, tmp_path: Path) -> None:
    symbols = SymbolTable(kernel)
    pvh, multiboot2 = symbols.find("boot_enter_pvh"), symbols.find("boot_enter_multiboot2")
    assert pvh is not None
    assert multiboot2 is not None
    data = kernel.read_bytes()
    note = b"Xen\0" + pvh.address.to_bytes(8, "little")
    assert data.count(note) == 1
    image = tmp_path / "kernel.elf"  # the PVH note leads to the Multiboot2 entry: EAX is not its magic number
    image.write_bytes(data.replace(note, b"Xen\0" + multiboot2.address.to_bytes(8, "little")))
    result = _boot(image, "de")
    assert result.panic is not None
    assert result.panic[0] == "bad-magic"
