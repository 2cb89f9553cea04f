"""The report on real deaths: as good with an IDT as without one, in text, in JSON, and from the saved logs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tests.boot import kernels
from toolchain import build, fault, qemu, render, saved_logs
from toolchain.symbols import SymbolTable
from toolchain.types import BootConfig, BootResult, FaultReport

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
BAR0 = 0xFD00_0000


def died(image: Path, tree: Path | None, log: Path) -> tuple[BootResult, FaultReport]:
    result = qemu.boot(BootConfig(image, timeout=60, log_dir=log))
    report = fault.analyse(result, SymbolTable(image), tree)
    assert report is not None, result.serial
    return result, report


@pytest.mark.parametrize(("idt", "sources"), [(0, ["qemu"] * 4), (1, ["kernel"])])
def test_bar0_that_was_never_mapped(tmp_path: Path, idt: int, sources: list[str]) -> None:
    image = kernels.build("bar0.s", tmp_path / "bar0.elf", IDT=idt)
    _, report = died(image, kernels.FOLDER, tmp_path / "log")
    first = report.chain[0]
    assert (first.name, first.error, first.cr2) == ("#PF", 2, BAR0)
    assert first.decoded == ("not present", "write", "supervisor")
    assert [item.source for item in report.chain] == sources
    assert report.instruction == "mov dword ptr [rdi], 0"
    assert report.place is not None and (report.place.symbol, report.place.file) == (
        "mailbox_reset",
        "bar0.s",
    )
    assert [line.text.strip() for line in report.source if line.marked] == ["mov dword ptr [rdi], 0"]
    assert [place.symbol for place in report.trace][:1] == ["mailbox_unit"]
    assert report.walk is not None
    assert [level.level for level in report.walk.levels] == ["PML4", "PDPT"]
    assert (report.walk.ends_at, report.walk.levels[-1].entry) == ("PDPT", 0)
    assert report.unit == "mailbox"
    blame = report.diagnosis[0]
    assert blame.rule == "bar-unmapped" and blame.suspects[0] == "gpu_map_bar0"
    assert "gpu_map_bar0, called before it, should have mapped it" in blame.sentence
    assert "stores nothing to memory" in blame.hint
    assert ("no-idt" in [d.rule for d in report.diagnosis]) == (idt == 0)


def test_with_and_without_idt_it_is_the_same_report(tmp_path: Path) -> None:
    """Everything that a person needs: the same facts from the kernel's mouth and from QEMU's log alone."""
    reports = []
    for idt in (0, 1):
        image = kernels.build("bar0.s", tmp_path / f"bar{idt}.elf", IDT=idt)
        reports.append(died(image, kernels.FOLDER, tmp_path / f"log{idt}")[1])
    without, with_idt = reports
    for name in ("cause", "instruction", "unit", "source", "outcome"):
        assert getattr(without, name) == getattr(with_idt, name), name
    assert without.diagnosis[0].sentence == with_idt.diagnosis[0].sentence
    assert without.walk is not None and with_idt.walk is not None
    assert [level.entry for level in without.walk.levels] == [level.entry for level in with_idt.walk.levels]


def test_the_saved_logs_tell_the_same(tmp_path: Path) -> None:
    image = kernels.build("bar0.s", tmp_path / "bar0.elf", IDT=0)
    _, report = died(image, kernels.FOLDER, tmp_path / "log")
    symbols = SymbolTable(image)
    assert fault.analyse(saved_logs.read([tmp_path / "log"]), symbols, kernels.FOLDER) == report
    bare = fault.analyse(
        saved_logs.read([tmp_path / "log/serial.log", tmp_path / "log/qemu.log"]), symbols, kernels.FOLDER
    )
    assert bare is not None
    assert (bare.cause, bare.place, bare.walk) == (report.cause, report.place, None)
    assert (
        bare.diagnosis[0].suspects[0] == "gpu_map_bar0"
    )  # by the image's own call sites: no memory was saved


# --- the kernel itself -------------------------------------------------------------------------------------

# name: the edits that plant the bug, the rule that must match, and who must be named first
PLANTED: dict[str, tuple[list[tuple[str, str, str]], str, str | None]] = {
    "the entry is never written": (
        [
            (
                "mm/page.s",
                "    mov [rax], rdx                              # from here on the page is mapped\n",
                "",
            )
        ],
        "bar-unmapped",
        "gpu_map_bar0",
    ),
    "null pointer": (
        [("gpu/mailbox.s", "    call mailbox_setup\n", "    xor edi, edi\n    call mailbox_setup\n")],
        "null-pointer",
        "mailbox_setup",
    ),
    "not canonical": (
        [
            (
                "gpu/mailbox.s",
                "    call mailbox_setup\n",
                "    mov rdi, 0x800000000000\n    call mailbox_setup\n",
            )
        ],
        "non-canonical",
        "mailbox_setup",
    ),
    "recursion": (
        [("gpu/mailbox.s", "    call mailbox_setup\n", "    call mailbox_init\n    call mailbox_setup\n")],
        "stack-guard",
        "mailbox_init",
    ),
    "NX before NXE": (
        [("boot/entry32.s", "EFER_LME | EFER_NXE", "EFER_LME")],
        "nx-without-nxe",
        "boot_start",
    ),
    "no long mode": (
        [("boot/entry32.s", "EFER_LME | EFER_NXE", "EFER_NXE")],
        "not-in-long-mode",
        "boot_start",
    ),
    "read-only": (
        [("mm/mmio.s", "PTE_WRITE | PTE_NX | PTE_GLOBAL", "PTE_NX | PTE_GLOBAL")],
        "write-to-read-only",
        "lapic_write",
    ),
    "gates that are not present": (
        [
            ("cpu/idt.s", ".set GATE_INTERRUPT, 0x8e00", ".set GATE_INTERRUPT, 0x0e00"),
            ("gpu/mailbox.s", "    call mailbox_setup\n", "    ud2\n    call mailbox_setup\n"),
        ],
        "idt-gate",
        "idt_load",
    ),
    "endless wait": (
        [("gpu/mailbox.s", "    call mailbox_setup\n", "1:  pause\n    jmp 1b\n    call mailbox_setup\n")],
        "hang",
        "mailbox_init",
    ),
    "lost return address": (
        [
            ("gpu/mailbox.s", "    call mailbox_setup\n", "    push rax\n    call mailbox_setup\n"),
            ("gpu/mailbox.s", "    mov eax, BOOT_RESULT_OK\n    return_frame", "    pop rbp\n    ret"),
        ],
        "wild-jump",
        "mailbox_init",
    ),
}


def plant(folder: Path, edits: list[tuple[str, str, str]]) -> tuple[Path, Path]:
    """The kernel with edits, built; the image and the tree."""
    tree = folder / "tree"
    shutil.copytree(ROOT / "kernel", tree)
    for name, old, new in edits:
        text = (tree / name).read_text()
        assert old in text, f"{name} has changed: {old!r}"
        (tree / name).write_text(text.replace(old, new, 1))
    return build.build(tree, folder / "out", iso=False).elf, tree


@pytest.mark.parametrize("bug", PLANTED)
def test_planted_bugs_are_named(tmp_path: Path, bug: str) -> None:
    edits, rule, suspect = PLANTED[bug]
    image, tree = plant(tmp_path, edits)
    result = qemu.boot(BootConfig(image, timeout=3.0 if rule == "hang" else 60.0))
    report = fault.analyse(result, SymbolTable(image), tree)
    assert report is not None, result.serial
    found = {d.rule: d for d in report.diagnosis}
    assert rule in found, render.text(report)
    assert suspect is None or found[rule].suspects[0] == suspect, found[rule]


@pytest.mark.parametrize("limit", ["IDT_LIMIT", "0"])
def test_the_seeds_own_bug_in_the_kernel(tmp_path: Path, limit: str) -> None:
    """BAR0 is mapped by a routine that never writes the entry: the store, the routine, the level, the address."""
    edits = [*PLANTED["the entry is never written"][0], ("cpu/idt.s", ".short IDT_LIMIT", f".short {limit}")]
    image, tree = plant(tmp_path, edits)
    result, report = died(image, tree, tmp_path / "log")
    assert result.snapshot is not None
    bar0 = next(bar.address for bar in result.snapshot.bars if bar.class_code >> 8 == 3 and bar.bar == 0)
    assert report.chain[0].cr2 == bar0 and report.chain[0].error == 2
    assert report.place is not None and report.place.symbol == "mailbox_setup"
    assert report.walk is not None and (report.walk.ends_at, report.walk.levels[-1].entry) == ("PT", 0)
    assert [place.symbol for place in report.trace][:3] == ["mailbox_init", "unit_run", "boot_run_units"]
    assert report.diagnosis[0].suspects[:2] == ("gpu_map_bar0", "page_map")
    text = render.text(report)
    assert text.count(f"{bar0:#x}") >= 3 and "empty" in text
    assert json.loads(json.dumps(render.as_json(report)))["walk"]["ends_at"] == "PT"
