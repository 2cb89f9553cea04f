"""What a run does to the CPU, noted: INVLPG, control registers, MSRs, descriptor tables, fences."""

from __future__ import annotations

import pytest

from tests.unit.test_harness import TEXT, machine
from toolchain.harness import BUFFER_BASE
from toolchain.watch import Event, answer_rdmsr, watch


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("0f013f c3", Event("invlpg", BUFFER_BASE)),  # invlpg [rdi]
        ("410f0138 c3", Event("invlpg", 0x1000)),  # invlpg [r8]
        ("0f017f10 c3", Event("invlpg", BUFFER_BASE + 0x10)),  # invlpg [rdi+0x10]
        ("410f20d8 410f22d8 c3", Event("cr3", 0)),  # mov r8, cr3; mov cr3, r8
        ("0f22d9 c3", Event("cr3", 0x5000)),  # mov cr3, rcx
        ("0f20c0 0f22c0 c3", Event("cr0", 0x11)),  # mov rax, cr0; mov cr0, rax
        ("31c0 31d2 0f30 c3", Event("wrmsr", 0, 0x5000)),  # to an MSR that is not there
        ("0faef8 c3", Event("sfence")),
        ("0faef0 c3", Event("mfence")),
        ("0faee8 c3", Event("lfence")),
        ("0f0117 c3", Event("lgdt", BUFFER_BASE)),  # lgdt [rdi]
        ("0f011d00000000 c3", Event("lidt", TEXT + 7)),  # lidt [rip]
    ],
)
def test_each_kind(code: str, expected: Event) -> None:
    harness = machine(code)
    events = watch(harness)
    harness.call("f", {"rdi": BUFFER_BASE, "rcx": 0x5000, "r8": 0x1000})
    assert events == [expected]


def test_a_byte_before_that_looks_like_a_prefix() -> None:
    harness = machine("b441 0f013f c3")  # mov ah, 0x41; invlpg [rdi]: 0x41 is no prefix here
    events = watch(harness)
    harness.call("f", {"rdi": 0x3000})
    assert events == [Event("invlpg", 0x3000)]


def test_only_the_routines_asked_for_and_in_order() -> None:
    harness = machine("0f013f 0faef8 c3", g="0faef0 c3")
    events = watch(harness, ["f", "nobody"])
    # The symbols of these images have no size: nothing of a routine is looked at.
    harness.call("f", {"rdi": 0x3000})
    harness.call("g")
    assert events == []
    events = watch(harness)
    seen: list[Event] = []
    watch(harness, on=seen.append)
    harness.call("f", {"rdi": 0x3000})
    harness.call("g")
    assert [event.kind for event in events] == ["invlpg", "sfence", "mfence"]
    assert seen == events


def test_it_ends_with_renew() -> None:
    harness = machine("0faef8 c3")
    events = watch(harness)
    harness.call("f")
    harness.renew()
    harness.call("f")
    assert len(events) == 1


def test_rdmsr_is_answered() -> None:
    harness = machine("b977020000 0f32 c3")  # mov ecx, 0x277; rdmsr
    answer_rdmsr(harness, lambda number: 0x1122_3344_5566_7788 if number == 0x277 else 0)
    result = harness.call("f")
    assert (result.registers["rax"], result.registers["rdx"]) == (0x5566_7788, 0x1122_3344)
