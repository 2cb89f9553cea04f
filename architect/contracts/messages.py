"""Sleeping until the GPU service's message: who may, what is looked at before the halt, and its bound.

shaders/MAILBOX.md, section 5 (Sleeping): WANT_INTERRUPT, a full fence, one more look, then the halt.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.steps import BUFFER, DONE, FAILED, Step
from toolchain.harness import PERCPU_PAGE, Harness
from toolchain.mailbox import layout as m

_ROW = 0x40
_CONSUMED, _BLOCK, _ANSWERS = 0x08, 0x10, 0x20  # of a row of session_queues
_ID, _DEPTH, _DEADLINE = 0x08, 0x1E8, 0x208  # of the per-CPU block
_IVSHMEM, _OTHER = 0x11101AF4, 0x11E81234
_NOW, _REST = 7_000_000_000, 10_000_000
_PCI_ROW, _PCI_VENDOR = 0x80, 4
_NONE = 0xFFFF_FFFF
_FLAGS, _IF = 2, 1 << 9


@contract(
    "messages_wanted", "messages_stands", "messages_rest",
    needs=("messages_rest", "messages_open", "messages_halt", "session_queues", "session_features", "timer_hz"),
)  # fmt: skip
def mailbox_sleep(harness: Harness) -> None:
    """Sleeps only where a message can come, looks once more before it, takes its wish back, and sets a bound."""
    step = Step(harness, "messages_rest")
    queue = step.at("session_queues")
    block, answers = BUFFER, BUFFER + 0x1000
    wants = block + m.QUEUE_WANT_INTERRUPT
    harness.write_u64(queue + _BLOCK, block)
    harness.write_u64(queue + _ANSWERS, answers)
    step.put64("timer_hz", 1)
    step.put64("session_features", m.FEATURE_INTERRUPT)
    for index in (0, 5, m.DEPTH - 1, m.DEPTH, 3 * m.DEPTH + 9):
        harness.write_u64(queue + _CONSUMED, index)
        phase = 1 - (index >> m.DEPTH_SHIFT) % 2
        for stands in (0, 1):
            at = answers + index % m.DEPTH * m.COMPLETION_SIZE
            harness.write(at, struct.pack("<QII", 1, 2, 0xABCD_0000 | (phase if stands else 1 - phase)))
            none = step.call("messages_stands", rdi=queue).flag("cf")
            step.equal(
                none, not stands, "messages_stands", "says otherwise whether an answer stands", index=index
            )
    # the last index has an answer that stands
    asked: list[int] = []

    def halted() -> Mapping[str, int]:
        asked.append(harness.read_u32(wants))
        return DONE

    step.stand("messages_wanted", "rdi")
    step.stand("messages_open")
    step.stand("clock_ns", answer={"rax": _NOW})
    step.stand("timer_arm", "rdi")
    step.stand("messages_halt", answer=halted)
    for wanted, opened, stands, deadline in (
        (0, 1, 0, _NONE), (1, 0, 0, _NONE), (1, 1, 1, _NONE), (1, 1, 0, -1), (1, 1, 0, _NOW + _REST - 1),
        (1, 1, 0, _NOW + _REST + 1),
    ):  # fmt: skip
        asked.clear()
        index = 3 * m.DEPTH + 9
        at = answers + index % m.DEPTH * m.COMPLETION_SIZE
        harness.write(at + m.COMPLETION_STATUS, struct.pack("<I", 0 if stands else 1))
        harness.write(wants, bytes(4))
        harness.write_u64(PERCPU_PAGE + _DEADLINE, deadline & (1 << 64) - 1)
        step.stand_says("messages_wanted", DONE if wanted else FAILED)
        step.stand_says("messages_open", DONE if opened else FAILED)
        given = {"wanted": wanted, "opened": opened, "stands": stands}
        step.run("does not return", rdi=queue)
        sleeps = bool(wanted and opened and not stands)
        step.same(
            asked, [1] * sleeps, "halts when it must not, or does not say that it wants a message", **given
        )
        step.same(harness.read_u32(wants), 0, "leaves WANT_INTERRUPT set", **given)
        arms = sleeps and deadline & (1 << 64) - 1 > _NOW + _REST
        armed = [row for row in step.asked if row[0] == "timer_arm"]
        step.same(armed, [("timer_arm", _NOW + _REST)] * arms, "sets another bound", **given)


@contract(
    "messages_wanted",
    needs=("messages_rest", "messages_wanted", "session_queues", "session_features", "timer_hz"),
)
def mailbox_wanted(harness: Harness) -> None:
    """Sleeps on the boot CPU's queue, with the feature, a timer and interrupts, and in no handler."""
    step = Step(harness, "messages_wanted")
    queue = step.at("session_queues")
    for feature, other, cpu, depth, timer, flags in (
        (1, 0, 0, 0, 1, _IF), (0, 0, 0, 0, 1, _IF), (1, 1, 0, 0, 1, _IF), (1, 0, 2, 0, 1, _IF), (1, 0, 0, 1, 1, _IF),
        (1, 0, 0, 0, 0, _IF), (1, 0, 0, 0, 1, 0),
    ):  # fmt: skip
        step.put64("session_features", m.FEATURE_INTERRUPT if feature else 0xFFFF & ~m.FEATURE_INTERRUPT)
        step.put64("timer_hz", timer)
        harness.write(PERCPU_PAGE + _ID, struct.pack("<I", cpu))
        harness.write_u64(PERCPU_PAGE + _DEPTH, depth)
        given = {
            "feature": feature,
            "other": other,
            "cpu": cpu,
            "depth": depth,
            "timer": timer,
            "rflags": _FLAGS | flags,
        }
        result = step.call("messages_wanted", rdi=queue + other * _ROW, rflags=_FLAGS | flags)
        may = bool(feature and not other and not cpu and not depth and timer and flags)
        step.equal(
            result.flag("cf"), not may, "messages_wanted", "says otherwise whether it may sleep", **given
        )
    harness.write(PERCPU_PAGE + _ID, bytes(4))


@contract(
    "messages_open", needs=("messages_open", "messages_vector", "msix_install", "pci_table", "pci_count")
)
def mailbox_messages(harness: Harness) -> None:
    """The device's first entry is served, once; where there is none, or it is refused, nobody asks again."""
    step = Step(harness, "messages_open")
    table = step.at("pci_table")
    step.stand("msix_install", "rdi", "esi", "rdx")
    handler = step.at("messages_note")
    for ids, refused in (
        ((_OTHER, _IVSHMEM, _IVSHMEM), False),
        ((_OTHER, _IVSHMEM), True),
        ((_OTHER,), False),
        ((), False),
    ):
        step.put32("messages_vector", 0)
        step.put32("pci_count", len(ids))
        for number, identity in enumerate(ids):
            harness.write(table + number * _PCI_ROW + _PCI_VENDOR, struct.pack("<I", identity))
        step.stand_says("msix_install", FAILED if refused else {"eax": 0x51, "cf": 0})
        there = _IVSHMEM in ids
        step.run("finds other messages", cf=not there or refused)
        step.were([("msix_install", table + _PCI_ROW, 0, handler)] * there, "serves something else")
        step.run("forgets what it found", cf=not there or refused)
        step.were([], "asks again")
