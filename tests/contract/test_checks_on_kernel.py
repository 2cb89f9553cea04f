"""The static checks find nothing in the kernel, and each finds a bug that is planted in it."""

from __future__ import annotations

from typing import Any

import pytest

from architect import checks
from architect.checks import routine_checks
from tests.contract.planting import Plant, build, kernel, plant, sources
from toolchain.types import Image

pytestmark = pytest.mark.long


def bug(
    rule: str, place: str, *edits: tuple[str, str], told: str | None = None
) -> tuple[str, str | None, Plant]:
    """A rule, the routine that it should name, and what breaks it at ``file:routine``."""
    file, _, routine = place.partition(":")
    return rule, told or routine or None, plant(file, routine, *edits)


BUGS = (
    bug("stack-return", "mm/frame.s:frame_free", ("pop rsi pop rsi", "pop rsi")),
    bug("stack-return", "boot/units.s:unit_note", ("lea rdx", "push rdi \n lea rdx")),
    bug("stack-depth", "bus/pci_bar.s:pci_size_bars", ("ja .Lsize_leave", "ja .Lsize_leave \n push rax")),
    bug(
        "stack-align",
        "bus/pci_scan.s:pci_scan_bus",
        ("push r15 push r15", "push r15"),
        ("pop r15 pop r15", "pop r15"),
    ),
    bug("sse-align", "dev/fw_cfg.s:fw_cfg_find", ("mov r12, rdi", "mov r12, rdi \n movaps [rsp + 8], xmm0")),
    bug("control-register", "mm/space.s:space_enter", ("or rax, CR0_WP", "mov eax, CR0_WP")),
    bug("control-register", "mm/space.s:space_enter", ("and rax, ~CR4_PGE", "and eax, CR4_PGE")),
    bug("register-saves", "mm/ranges.s:ranges_overlap", ("push rcx", ""), ("pop rcx", ""), ("pop rcx", "")),
    bug("register-restored", "mm/ranges.s:ranges_insert", ("pop rbx pop rcx", "pop rcx \n pop rbx")),
    bug("register-restored", "mm/space.s:page_guard", ("pop rcx pop rdx", "pop rdx \n pop rcx")),
    bug("runs-on", "bus/pci_assign.s:pci_span", (".Lspan_done: ret", ".Lspan_done:")),
    bug("runs-on", "boot/enter64.s:kernel_enter", ("call boot_main", "call serial_init")),
    bug("not-reached", "bus/acpi.s:acpi_find", (".Lfind_entry:", "jmp .Lfind_none \n .Lfind_entry:")),
    bug("no-instruction", "bus/pci_assign.s:pci_span", (".Lspan_done: ret", ".Lspan_done: .byte 6")),
    bug("wrong-form", "cpu/idt.s:interrupt_enter", ("iretq", "iretd")),
    bug("wrong-form", "boot/cmdline.s:cmdline_append", ("rcx ret", "rcx \n retf")),
    bug(
        "store-read-only",
        "bus/pci_list.s:pci_list",
        ("xor r12d, r12d", "mov [rip + digits], al \n xor r12d, r12d"),
    ),
    bug("table-limit", "boot/entry32.s", ("boot_gdt - 1", "boot_gdt"), told="boot_start"),
    bug(
        "table-limit",
        "cpu/idt.s",
        ("VECTOR_COUNT * GATE_SIZE - 1", "VECTOR_COUNT * GATE_SIZE"),
        told="idt_load",
    ),
    bug("descriptor", "boot/entry32.s", ("0x00cf92000000ffff", "0x004f92000000ffff"), told="boot_start"),
    bug("descriptor", "boot/entry32.s", ("0x00af9a000000ffff", "0x00cf9a000000ffff"), told="boot_start"),
    bug("long-mode-order", "boot/entry32.s:boot_start", ("mov cr4, eax", "")),
    bug(
        "long-mode-order",
        "boot/entry32.s:boot_start",
        ("mov cr3, eax", ""),
        ("cr0, eax", "cr0, eax \n mov cr3, eax"),
    ),
    bug("long-mode-order", "boot/entry32.s:boot_start", ("EFER_LME | EFER_NXE", "EFER_NXE")),
    bug("long-mode-order", "boot/entry32.s:boot_start", ("EFER_LME | EFER_NXE", "EFER_LME")),
    bug("multiboot2", "boot/header.s", (".long 8 .global", ".long 4 \n .global")),
    bug("pvh-note", "boot/header.s", (".quad boot_enter_pvh", ".quad 0x1000")),
)
LOADER = (
    (
        "multiboot2",
        plant("boot/header.s", "", (".long MULTIBOOT2_HEADER_MAGIC", ".long 0xe85250d7")),
        "0xe85250d7",
    ),
    ("multiboot2", plant("boot/header.s", "", (".long MULTIBOOT2_ARCHITECTURE_I386", ".long 4")), "_I386"),
    (
        "multiboot2",
        plant("boot/header.s", "", (".long MULTIBOOT2_HEADER_LENGTH", ".long 40")),
        "HEADER_LENGTH",
    ),
    ("multiboot2", plant("boot/header.s", "", (".long 20", ".long 22")), ".long 22"),
    ("multiboot2", plant("boot/header.s", "", (".long 8 .global", ".long 4 \n .global")), ".long 4"),
    (
        "multiboot2",
        plant("boot/header.s", "", (".short MULTIBOOT2_HEADER_TAG_FRAMEBUFFER", ".short 2")),
        ".long 20",
    ),
    ("multiboot2", plant("boot/header.s", "", ("TAG_END .short 0", "TAG_END \n .long 0")), "TAG_END"),
    (
        "multiboot2",
        plant("boot/header.s", "", ("header_end - multiboot2_header", "header_end - multiboot2_header + 8")),
        ".long MULTIBOOT2_HEADER_LENGTH",
    ),
    ("pvh-note", plant("boot/header.s", "", (".quad boot_enter_pvh", ".quad boot_enter_pvh + 1")), ".quad"),
    (
        "pvh-note",
        plant("boot/header.s", "", (".quad boot_enter_pvh", ".quad boot_enter_multiboot2")),
        ".quad",
    ),
    ("pvh-note", plant("boot/header.s", "", (".long XEN_ELFNOTE_PHYS32_ENTRY", ".long 17")), ".long 17"),
    ("table-limit", plant("boot/entry32.s", "", ("boot_gdt - 1", "boot_gdt")), ".short boot_gdt_end"),
    ("table-limit", plant("boot/entry32.s", "", (".long boot_gdt", ".long 0x5000")), ".long 0x5000"),
    ("descriptor", plant("boot/entry32.s", "", ("0x00af9a000000ffff", "0x00cf9a000000ffff")), "0x00cf9a"),
    ("descriptor", plant("boot/entry32.s", "", ("0x00cf92000000ffff", "0x004f92000000ffff")), "0x004f92"),
)
IDS = [f"{rule}-{routine or 'image'}" for rule, routine, _ in BUGS]


def test_nothing_is_found_in_the_kernel() -> None:
    assert checks.findings(kernel(), sources()) == []


@pytest.mark.parametrize(("rule", "routine", "planted"), BUGS, ids=IDS)
def test_a_bug_is_found(rule: str, routine: str | None, planted: Plant) -> None:
    found = checks.findings(build(planted), sources())
    assert (rule, routine) in {(f.rule, f.routine) for f in found}
    if routine:
        placed = next(f for f in found if f.rule == rule)
        assert placed.file == planted.file and placed.line


@pytest.mark.parametrize(("rule", "routine", "planted"), BUGS, ids=IDS)
def test_a_bug_is_found_where_its_routine_is_named(rule: str, routine: str | None, planted: Plant) -> None:
    found = checks.findings(build(planted), sources(), [routine] if routine else [])
    assert rule in {f.rule for f in found}


@pytest.mark.parametrize(
    ("rule", "planted", "line"), LOADER, ids=[f"{r}-{n}" for n, (r, _, _) in enumerate(LOADER)]
)
def test_a_finding_about_data_names_the_line_that_holds_it(rule: str, planted: Plant, line: str) -> None:
    found = next(
        f
        for f in checks.findings(build(planted), sources() | {planted.file: planted.text()})
        if f.rule == rule
    )
    text = planted.text().split("\n")
    named = [text[int(p.split(":")[1]) - 1] for p in found.places if p.split(":")[0] == planted.file]
    assert any(line in row for row in named), (found, named)
    assert found.file == planted.file and found.line


def with_sections(**changes: dict[str, Any]) -> Image:
    """The kernel with fields of sections replaced, by section name without its dot."""
    sections = [s._replace(**changes.get(s.name[1:], {})) for s in kernel().sections]
    return kernel()._replace(sections=tuple(sections))


@pytest.mark.parametrize(
    ("rule", "image"),
    [
        ("section-rights", {"text": {"flags": "awx"}}),
        ("section-rights", {"data": {"flags": "awx"}}),
        ("section-rights", {"text": {"flags": "a"}}),
        ("section-overlap", {"rodata": {"size": 0x10_0000}}),
    ],
)
def test_wrong_sections(rule: str, image: dict[str, dict[str, Any]]) -> None:
    assert rule in {f.rule for f in checks.findings(with_sections(**image), sources())}


def test_what_was_found_is_not_kept_for_another_variant() -> None:
    swapped = plant("mm/ranges.s", "ranges_insert", ("pop rbx pop rcx", "pop rcx \n pop rbx"))
    for _ in range(2):
        assert [f.rule for f in checks.findings(build(swapped), sources())] == ["register-restored"] * 2
        assert checks.findings(kernel(), sources()) == []


def test_headers_of_other_sources_give_other_findings() -> None:
    promises = dict(sources())
    name, text = next((n, t) for n, t in promises.items() if "function ranges_overlap" in t)
    promises[name] = text.replace(
        "# Out:      rax = row:ptr, cf = none overlaps", "# Out:      cf = none overlaps"
    )
    assert promises[name] != text
    found = checks.findings(kernel(), promises)
    assert ("register-saves", "ranges_overlap") in {(f.rule, f.routine) for f in found}
    assert checks.findings(kernel(), sources()) == []


def test_every_check_of_routines_is_tried() -> None:
    assert {"control", "stack", "saves", "ends", "forms"} == set(routine_checks())
    assert {"loader", "sections", "boot", "tables"} == set(checks.checks())
