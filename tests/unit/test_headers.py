"""Routine headers: the grammar of ARCHITECTURE.md, and tolerance of everything that is no header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain.headers import Slot, full_register, parse, register_bits

ECAM = """\
.intel_syntax noprefix
# ecam_read32 -- read one dword of PCIe configuration space
# In:       rdi = bdf:u16, esi = offset:u32[0..4092]
# Out:      eax = value:u32, cf = absent
# Clobbers: rdx
# Context:  long mode, any IF
ecam_read32:
    ret
"""


def test_header_of_the_plan() -> None:
    (routine,) = parse(ECAM, "bus/pcie.s")
    assert routine.name == "ecam_read32"
    assert routine.summary == "read one dword of PCIe configuration space"
    assert routine.inputs == (Slot("rdi", "bdf", "u16"), Slot("esi", "offset", "u32", 0, 4092))
    assert routine.outputs == (Slot("eax", "value", "u32"), Slot("cf", "absent"))
    assert routine.clobbers == ("rdx",)
    assert routine.context == "long mode, any IF"
    assert (routine.file, routine.line) == ("bus/pcie.s", 2)
    assert routine.may_change() == {"rax", "rdx"}


def test_none_and_continuation_lines() -> None:
    text = (
        "# f -- go\n# In: none\n# Out: none\n# Clobbers: rax, rcx,\n#           r11d\n# Context:  any\nf:\n"
    )
    (routine,) = parse(text)
    assert routine.inputs == routine.outputs == ()
    assert routine.may_change() == {"rax", "rcx", "r11"}


def test_prose_is_no_header() -> None:
    assert parse("# this -- is prose\n# and more of it\nnop\n") == []


def test_two_headers_in_a_row() -> None:
    text = "# a -- one\n# In: none\n# b -- two\n# In: rax = x:u8\nb:\n"
    assert [r.name for r in parse(text)] == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "full", "bits"),
    [
        ("al", "rax", 8),
        ("ah", "rax", 8),
        ("sil", "rsi", 8),
        ("r9w", "r9", 16),
        ("EDI", "rdi", 32),
        ("cr3", None, None),
    ],
)
def test_registers(name: str, full: str | None, bits: int | None) -> None:
    assert full_register(name) == full
    assert register_bits(name) == bits


@given(st.text(alphabet="# -:=,[]().\nabrxIn0123Out Clobbers", max_size=300))
def test_any_text_is_survived(text: str) -> None:
    for routine in parse(text):
        assert routine.line >= 1


def test_a_slot_may_go_on_after_a_semicolon() -> None:
    header = (
        "# f -- do it\n# In: none\n# Out: rax = pa:u64, cf = refused: ERROR_A; ERROR_B where it is large\n"
    )
    (routine,) = parse(header)
    assert [slot.register for slot in routine.outputs] == ["rax", "cf"]
