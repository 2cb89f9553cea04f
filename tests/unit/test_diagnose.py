"""Diagnosis rules for what an instruction did: each on a death made for it, and silence where it has nothing to say."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.deaths import (
    BAR0,
    BASE,
    FRAME,
    LOAD_RBX,
    RODATA,
    STACK,
    STORE,
    Death,
    bar_death,
    diagnosis,
    rules,
)
from tests.unit.tables import NX, WRITE
from toolchain.types import Unit


def test_a_bar_that_nobody_mapped() -> None:
    found = diagnosis(bar_death(), "bar-unmapped")
    assert "'mov dword ptr [rdi], 0' (rdi = 0xfd000000)" in found.sentence
    assert "BAR0 of the display controller at 00:01.0" in found.sentence
    assert "PT entry 0" in found.sentence and "(empty)" in found.sentence
    assert found.suspects[0] == "map_registers"
    assert "map_registers, called before it, should have mapped it" in found.sentence
    assert "stores nothing to memory" in found.hint


def test_a_mapper_that_stores_is_not_said_to_store_nothing() -> None:
    death = bar_death()
    start = death.at["map_registers"] - BASE
    death.code = death.code[:start] + bytes.fromhex("488907c3").ljust(64, b"\x90") + death.code[start + 64 :]
    found = diagnosis(death, "bar-unmapped")
    assert found.suspects[0] == "map_registers" and "stores nothing" not in found.hint


def test_the_header_of_a_routine_can_say_that_it_maps(tmp_path: Path) -> None:
    death = bar_death()
    death.at["prepare"] = death.at.pop("map_registers")
    (tmp_path / "a.s").write_text("# prepare -- map the registers\n")
    assert diagnosis(death, "bar-unmapped", tmp_path).suspects[0] == "prepare"


def test_an_entry_at_the_wrong_index() -> None:
    death = bar_death()
    death.tables.map(BAR0 + 0x3000, BAR0, WRITE)
    found = diagnosis(death, "entry-at-wrong-index")
    assert "PT entry 3" in found.sentence and "uses entry 0" in found.sentence
    assert "20:12" in found.hint


def test_nx_before_nxe() -> None:
    death = Death(body=STORE, enable="0f30")  # wrmsr
    death.tables.map(0x4000_0000, 0x4000_0000, WRITE | NX)
    death.raises(14, 0xB, 0x4000_0000, efer=0x501, rdi=0x4000_0000)
    found = diagnosis(death, "nx-without-nxe")
    assert "PT entry" in found.sentence and found.suspects[0] == "enable"
    assert rules(death).isdisjoint({"entry-at-wrong-index", "not-mapped"})


def test_a_large_page_of_32_bit_paging_without_pse() -> None:
    death = Death(body=STORE)
    death.tables.put(0x9000, (0x83).to_bytes(4, "little"))
    known = {"efer": 0, "cr4": 0, "cr0": 1 << 31 | 1, "cr3": 0x9000, "bits": 32}
    death.raises(14, 0, 0x10_0028, rdi=0x10_0028, **known)
    found = diagnosis(death, "pse-clear")
    assert "PD entry 0 at 0x9000 (0x83)" in found.sentence and "CR4.PSE (bit 4)" in found.hint


def test_another_reserved_bit() -> None:
    death = Death(body=STORE)
    death.tables.map(0x4000_0000, 0x4000 | 1 << 45, WRITE)
    death.raises(14, 0xB, 0x4000_0000, rdi=0x4000_0000)
    assert "45" in diagnosis(death, "reserved-bit").sentence


def test_cr3_with_the_table_one_level_down() -> None:
    death = Death(start="0f22d8", after="90")  # mov cr3, rax
    pdpt = death.tables.entry(BASE, "PML4") & ~0xFFF
    death.raises(14, 0x10, death.at["start"] + 3, rip=death.at["start"] + 3, cr3=pdpt)
    found = diagnosis(death, "cr3-wrong-level")
    assert "CR3 holds the PDPT" in found.sentence and found.suspects[0] == "start"


def test_code_that_is_not_mapped_after_paging_is_switched_on() -> None:
    death = Death(start="0f22c0")  # mov cr0, rax
    death.tables.edit(BASE, "PD", 0)
    death.raises(14, 0x10, BASE + 3, rip=BASE + 3)
    assert "PD entry" in diagnosis(death, "paging-enable").sentence


@pytest.mark.parametrize(
    ("registers", "missing"),
    [
        ({"cr0": 0x8001_0011, "efer": 0, "cr4": 0x20}, "EFER.LME"),
        ({"cr0": 0x11, "efer": 0x100, "cr4": 0}, "CR4.PAE"),
    ],
)
def test_long_mode_that_did_not_begin(registers: dict[str, int], missing: str) -> None:
    death = Death(start="0f22c0")
    death.raises(6, None, rip=BASE + 3, **registers)
    death.registers["bits"] = 32
    assert missing in diagnosis(death, "not-in-long-mode").sentence


def test_the_guard_below_the_stack_and_who_calls_itself() -> None:
    death = Death(deep=FRAME, outer=FRAME)
    death.call("deep", "deep", 4)
    bottom = STACK - 0x1000
    death.raises(14, 2, bottom - 8, rip=death.at["deep"] + 4, rsp=bottom, rbp=bottom)
    assert death.block is not None
    death.block["trace"] = ",".join([hex(death.at["deep"] + 9)] * 5)
    found = diagnosis(death, "stack-guard")
    assert "deep calls itself" in found.sentence and found.suspects[0] == "deep"
    assert "not-mapped" not in rules(death)


def test_a_write_to_what_is_read_only() -> None:
    death = Death(body=STORE)
    death.raises(14, 3, RODATA, rdi=RODATA)
    found = diagnosis(death, "write-to-read-only")
    assert ".rodata" in found.sentence and "R/W clear" in found.sentence and "text" in found.sentence


def test_a_stack_in_a_read_only_page() -> None:
    death = Death(body="50")  # push rax
    death.tables.edit(STACK - 8, "PT", death.tables.entry(STACK - 8, "PT") & ~WRITE)
    death.raises(14, 3, STACK - 0x48)
    assert "CR0.WP" in diagnosis(death, "stack-read-only").sentence


def test_a_jump_into_data() -> None:
    death = Death(body="c3")
    death.raises(14, 0x11, RODATA, rip=RODATA)
    assert ".rodata" in diagnosis(death, "execute-no-execute").sentence
    assert "wild-jump" in rules(death)


def test_null_pointers() -> None:
    death = Death(body=STORE)
    death.raises(14, 2, 0x10, rdi=0x10)
    assert "null pointer" in diagnosis(death, "null-pointer").sentence
    death = Death(body="ffd0")  # call rax
    death.raises(14, 0x10, 0, rip=0)
    death.push(death.at["body"] + 2)
    found = diagnosis(death, "null-call")
    assert "body+0x2" in found.sentence


def test_user_pages_under_smap() -> None:
    death = Death(body=STORE)
    death.tables.map(0x4000_0000, 0x4000, WRITE | 4)
    death.raises(14, 3, 0x4000_0000, rdi=0x4000_0000, cr4=0x6A0 | 1 << 21)
    assert "SMAP" in diagnosis(death, "smap").sentence


def test_suspects_end_at_the_units_entry(tmp_path: Path) -> None:
    death = Death(body=STORE, entry=FRAME, dispatcher=FRAME)
    (tmp_path / "boot.toml").write_text('[[unit]]\nname = "pci"\nentry = "entry"\n')
    death.units = (Unit("pci", "start", 1, 1),)
    death.raises(14, 2, 0x10, rdi=0x10)
    assert death.block is not None
    death.block["trace"] = f"{death.at['entry'] + 5:#x},{death.at['dispatcher'] + 5:#x}"
    assert diagnosis(death, "null-pointer", tmp_path).suspects == ("body", "entry")
    assert diagnosis(death, "null-pointer").suspects == ("body", "entry", "dispatcher")
    death.block["trace"] = f"{death.at['dispatcher'] + 5:#x}"  # the stack was damaged
    assert "entry" in diagnosis(death, "null-pointer", tmp_path).suspects


def test_any_other_hole() -> None:
    death = Death(body=STORE)
    death.raises(14, 2, 0xFFFF_9000_0000_0000, rdi=0xFFFF_9000_0000_0000)
    assert "PML4 entry 288" in diagnosis(death, "not-mapped").sentence


def test_a_translation_that_came_too_late() -> None:
    death = Death(body=STORE)
    death.tables.map(0x4000_0000, 0x4000, WRITE)
    death.raises(14, 2, 0x4000_0000, rdi=0x4000_0000)
    assert "invlpg" in diagnosis(death, "stale-translation").hint


def test_a_pointer_that_is_not_canonical() -> None:
    death = Death(body=LOAD_RBX)
    death.raises(13, 0, rbx=0x1234_0000_0000_0000)
    found = diagnosis(death, "non-canonical")
    assert "rbx = 0x1234000000000000" in found.sentence
    assert "protection" not in rules(death)


def test_a_return_to_no_address() -> None:
    death = Death(body="c3")
    death.raises(13, 0)
    death.push(0x4142_4344_4546_4748)
    assert "0x4142434445464748" in diagnosis(death, "non-canonical-return").sentence


def test_sse_on_a_crooked_stack() -> None:
    death = Death(body="0f290424")  # movaps [rsp], xmm0
    death.raises(13, 0, rsp=STACK - 0x38)
    assert "aligned before every call" in diagnosis(death, "misaligned-sse").hint
    assert "protection" not in rules(death)


@pytest.mark.parametrize(
    ("vector", "cr0", "cr4", "word"),
    [(6, 0x8001_0037, 0x6A0, "EM"), (6, 0x8001_0033, 0x20, "OSFXSR"), (7, 0x8001_003B, 0x6A0, "TS")],
)
def test_sse_that_is_not_enabled(vector: int, cr0: int, cr4: int, word: str) -> None:
    death = Death(body="0f28c1")  # movaps xmm0, xmm1
    death.raises(vector, None, cr0=cr0, cr4=cr4)
    assert word in diagnosis(death, "sse-disabled").sentence


def test_undefined_instructions() -> None:
    death = Death(body="0f0b")
    assert "ud2" in diagnosis(death.raises(6), "ud2").sentence
    death = Death(body="06")
    assert "no instruction" in diagnosis(death.raises(6), "undefined-instruction").sentence


def test_a_division() -> None:
    death = Death(body="f7f1")  # div ecx
    assert "rdx = 0x7" in diagnosis(death.raises(0, None, rdx=7), "divide-error").sentence


def test_an_error_code_left_on_the_stack() -> None:
    death = Death(body="48cf", interrupted="90")  # iretq
    death.raises(13, 0)
    death.push(2, death.at["interrupted"], 8, 2, STACK, 16)
    assert "still on the stack" in diagnosis(death, "error-code-on-stack").sentence
    death.push(death.at["interrupted"], 0x9999, 2, STACK, 16, 0)
    assert "cs = 0x9999" in diagnosis(death, "bad-interrupt-frame").sentence


def test_selectors() -> None:
    death = Death(body="8ed8")  # mov ds, eax
    assert "beyond the GDT's limit" in diagnosis(death.raises(13, 0x68), "bad-selector").sentence
    death = Death(body="8ed8")
    death.tables.map(0x7000_0000, 0x7000, WRITE)
    death.tables.put(0x7000, bytes(24) + (0x00CF_1200_0000_FFFF).to_bytes(8, "little"))
    death.raises(11, 0x18, gdt_base=0x7000_0000)
    assert "not present" in diagnosis(death, "bad-selector").sentence


def test_control_registers_and_msrs() -> None:
    death = Death(body="0f22e0")  # mov cr4, rax
    assert "mov cr4, rax" in diagnosis(death.raises(13, 0), "control-register").sentence
    death = Death(body="0f30")
    death.raises(13, 0, rcx=0xC0000080, rax=5, rdx=1)
    assert "MSR 0xc0000080 with 0x100000005" in diagnosis(death, "msr").sentence


def test_what_no_rule_explains_is_still_said() -> None:
    death = Death(body="fa")  # cli
    assert "protection rules" in diagnosis(death.raises(13, 0), "protection").sentence


def test_a_stack_in_the_page_tables() -> None:
    death = Death(body=STORE)
    pt = death.tables.entry(STACK - 0x1000, "PD") & ~0xFFF
    death.tables.map(STACK - 0x1000, pt, WRITE | NX)
    death.raises(14, 2, 0x4000_0000, rdi=0x4000_0000)
    assert f"{pt:#x}" in diagnosis(death, "stack-in-page-tables").sentence
