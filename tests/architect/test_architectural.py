"""Names that say which bit or number they are, and the check and the search that hold definitions to it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from architect import checks
from architect.architectural import descriptors, fixed
from architect.checks.architecture import contradictions
from tests.unit.pxos import pxos

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CR4_PAE", 1 << 5), ("X86_CR4_PAE_BIT", 5), ("EFER_LME", 0x100), ("CR0_PG", 1 << 31), ("RFLAGS_IF", 0x200),
        ("MSR_EFER", 0xC0000080), ("MSR_EFER_LME", 0x100), ("IA32_KERNEL_GS_BASE", 0xC0000102),
        ("PTE_NX", 1 << 63), ("COM1_PORT", 0x3F8), ("PIC1_COMMAND", 0x20),
        ("MULTIBOOT_MAGIC", 0x2BADB002),
    ],
)  # fmt: skip
def test_what_names_mean(name: str, value: int) -> None:
    meant = fixed(name)
    assert meant is not None and value in meant.values


@pytest.mark.parametrize(
    "name",
    ["CR4_WANTED", "PAGE_SIZE", "EFER", "FLAGS_IF", "PAE", "CR4_PAE_CR4", "PTE_OWNED", "_", "", "MSR_MINE"],
)
def test_names_that_are_not_wholly_understood_say_nothing(name: str) -> None:
    assert fixed(name) is None


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        (0x00CF9A000000FFFF, 0x00AF9A000000FFFF), (0x00EF9A000000FFFF, 0x00AF9A000000FFFF),
        (0x00AF9A000000FFFF, 0x00CF9A000000FFFF), (0x00008B0000000000, 0x0000890000000000),
        (0x00AF1A000000FFFF, 0x00AF9A000000FFFF), (0x00AF92000000FFFF, 0x00AF9A000000FFFF),
        (0x00AF9A000000FFFF, 0x00AFFA000000FFFF), (0x00CF90000000FFFF, 0x00CF92000000FFFF),
    ],
)  # fmt: skip
def test_descriptors_that_one_was_meant_to_be(wrong: int, right: int) -> None:
    assert right in [value for value, _ in descriptors(wrong)]


@pytest.mark.parametrize("value", [0, 0xFFFF, 1 << 47 | 1 << 20, 0xFFFF_8000_0000_0000, 1 << 111])
def test_other_numbers_are_no_descriptors(value: int) -> None:
    assert not list(descriptors(value))


def test_a_definition_that_contradicts_the_architecture_is_found() -> None:
    text = (
        "        .set CR4_PAE, 1 << 4\n.set EFER_LME, 0x100  # right\n"
        ".equ MSR_EFER, 0xc0000081\n.set PTE_LARGE, 0x200000\n"
        ".set CR4_PGE, 0200\n.set CR4_PSE, 08\n"  # octal, as GNU as has it; and no number
    )
    found = contradictions(text)
    assert [(name, line) for name, _, _, line in found] == [("CR4_PAE", 1), ("MSR_EFER", 3)]
    assert found[0][2] == "CR4.PAE is bit 5"


@pytest.mark.long
def test_the_check_tells_it_and_a_repair_is_not_held_to_it(tmp_path: Path) -> None:
    """A gate that asked the broken sources would refuse every repair: no image tells its constants."""
    tree = tmp_path / "kernel"
    shutil.copytree(KERNEL, tree)
    path = next(p for p in sorted(tree.rglob("*.inc")) if ".set EFER_NXE, 1 << 11" in p.read_text())
    path.write_text(path.read_text().replace(".set EFER_NXE, 1 << 11", ".set EFER_NXE, 1 << 12"))
    rows = pxos("check", "--kernel", str(tree), "--json", "-q").data["findings"]
    assert [row["file"] for row in rows if row["rule"] == "architecture"] == [
        path.relative_to(tree).as_posix()
    ]
    assert "architecture" not in checks.checks()


def test_the_kernel_contradicts_nothing() -> None:
    for path in sorted(KERNEL.rglob("*")):
        if path.suffix in (".s", ".inc"):
            assert contradictions(path.read_text()) == (), path
