"""Diagnosis rules for escalations and for ends without an exception; every rule has its test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.deaths import BASE, FRAME, LOAD_RBX, STACK, STORE, Death, diagnosis, rules
from tests.unit.tables import WRITE
from toolchain import diagnose, fault
from toolchain.types import Unit


def log(*records: tuple[int, int, int, int | None], end: str = "Triple fault\n", **registers: int) -> str:
    """QEMU's log of exceptions (vector, error, old, cr2) at BASE; registers go into each dump."""
    text = ""
    shown = {"RIP": BASE, "RSP": STACK - 0x40, "RBP": STACK - 0x20, "RDI": 0xFFFF_9000_0000_0000} | registers
    for vector, error, old, cr2 in records:
        tail = f"CR2={cr2:016x}" if cr2 is not None else "env->regs[R_EAX]=0"
        text += f"check_exception old: {old:#x} new {vector:#x}\n"
        text += f"     0: v={vector:02x} e={error:04x} i=0 cpl=0 IP=0008:{shown['RIP']:016x} pc={shown['RIP']:016x} "
        text += f"SP=0010:{shown['RSP']:016x} {tail}\n"
        text += " ".join(f"{name}={value:016x}" for name, value in shown.items()) + "\n"
        text += "CS =0008 0000000000000000 ffffffff 00af9a00 DPL=0 CS64 [-R-]\n"
        text += f"IDT=     {registers.get('IDTB', 0):016x} {registers.get('IDTL', 0):08x}\n"
        text += f"CR0=80010033 CR2={cr2 or 0:016x} CR3=0000000000200000 CR4=000006a0\nEFER=0000000000000d01\n"
    return text + end


NONE = 0xFFFF_FFFF


def test_no_idt() -> None:
    death = Death(body=STORE)
    death.log = log((14, 2, NONE, 0xFFFF_9000_0000_0000), (8, 0, 14, None))
    found = diagnosis(death, "no-idt")
    assert "no IDT is loaded" in found.sentence
    assert "not-mapped" in rules(death)  # the fault itself is explained all the same


def test_an_idt_gate_that_is_not_there() -> None:
    death = Death(body="0f0b", load="0f0118")  # lidt [rax]
    death.tables.map(0x7000_0000, 0x7000, WRITE)
    death.tables.put(0x7000, bytes(64))
    death.log = log((6, 0, NONE, None), (11, 0x62, NONE, None), IDTB=0x7000_0000, IDTL=0xFFF)
    death.registers["idt_base"] = 0x7000_0000
    found = diagnosis(death, "idt-gate")
    assert "#UD" in found.sentence and "empty" in found.sentence and found.suspects == ("load",)


@pytest.mark.parametrize(("ist", "words"), [(0, "no IST stack"), (1, "uses IST1")])
def test_no_stack_for_the_frame(ist: int, words: str) -> None:
    death = Death(body="50")
    death.tables.map(0x7000_0000, 0x7000, WRITE)
    death.tables.put(0x7000, bytes(8 * 16) + (0x8E00_0008_0000 | ist << 32).to_bytes(8, "little"))
    bottom = STACK - 0x1000
    death.log = log((14, 2, NONE, bottom - 8), (8, 0, 14, None), IDTB=0x7000_0000, IDTL=0xFFF, RSP=bottom)
    assert words in diagnosis(death, "no-stack-for-frame").sentence


def test_a_handler_that_died() -> None:
    death = Death(body=STORE, handler=LOAD_RBX)
    death.log = log((14, 2, NONE, 0xFFFF_9000_0000_0000), end="")
    death.log += log((13, 0, NONE, None), RIP=death.at["handler"], RSP=STACK - 0xA0)
    found = diagnosis(death, "handler-died")
    assert "#GP at handler" in found.sentence and found.suspects == ("handler",)


def test_a_report_that_was_cut() -> None:
    death = Death(body=STORE)
    death.raises(14, 2, 0x10, rdi=0x10)
    assert death.block is not None
    del death.block["trace"]
    assert "cut after 'stack'" in diagnosis(death, "report-cut").sentence


def hang(code: str, **registers: int) -> Death:
    death = Death(body=code, outer=FRAME)
    death.outcome = "timeout"
    death.units = (Unit("memory", "ok", 2, 1), Unit("pci", "start", 3, 3))
    death.registers.update(registers)
    return death


def test_hangs() -> None:
    spin = diagnosis(hang("f390ebfc"), "hang")  # pause; jmp back
    assert (
        "Boot unit pci started" in spin.sentence
        and "spins" in spin.sentence
        and "bound every wait" in spin.hint
    )
    halted = hang("faf490", rip=BASE + 2)  # cli; hlt
    assert "nothing can wake it" in diagnosis(halted, "hang").sentence
    waiting = hang("fbf490", rip=BASE + 2, rflags=0x202)
    assert "interrupt that does not come" in diagnosis(waiting, "hang").sentence
    assert "EOI" in diagnosis(waiting, "no-interrupt").hint
    assert "no-interrupt" not in rules(halted), "nothing can wake it"


def test_silence() -> None:
    death = hang("ebfe")
    death.outcome, death.units = "silent", ()
    assert "wrote nothing" in diagnosis(death, "silent").sentence
    death.registers["rip"] = 0xFFFF0
    assert "never entered" in diagnosis(death, "silent-not-entered").sentence
    death.serial = "error: no multiboot header found.\r\n"
    found = diagnosis(death, "loader-refused")
    assert "no multiboot header found" in found.sentence and "silent-not-entered" not in rules(death)


def test_panic_reset_shutdown() -> None:
    death = hang("ebfe")
    death.outcome, death.panic = "panic", ("unit-failed", "pci")
    death.units = (Unit("pci", "fail", 3, 3, {"error": "5"}),)
    assert "error=5" in diagnosis(death, "panic").sentence
    death = hang("ebfe")
    death.outcome = "reset"
    assert "0xcf9" in diagnosis(death, "reset").hint
    death.outcome = "shutdown"
    assert "without PXREADY" in diagnosis(death, "shutdown").sentence


def test_a_fault_that_was_not_reported() -> None:
    death = Death(body="90")
    assert "no report" in diagnosis(death, "fault-unreported").sentence


def test_an_exception_storm_and_a_handler_that_hangs() -> None:
    death = hang(STORE, rip=BASE)
    death.log = log((14, 2, NONE, 0xFFFF_9000_0000_0000), end="") * 1200
    assert "repeats for ever" in diagnosis(death, "exception-storm").sentence
    death = hang(STORE, rsp=STACK - 0x100)
    death.registers["rip"] = death.at["outer"]
    death.log = log((14, 2, NONE, 0xFFFF_9000_0000_0000), end="")
    found = diagnosis(death, "stuck-in-handler")
    assert "outer" in found.sentence


def test_every_rule_is_tried_here() -> None:
    """A rule without a test would never be missed."""
    source = "".join(path.read_text() for path in Path(__file__).parent.glob("test_diagnose*.py"))
    for rule in diagnose.RULES:
        module = Path(__import__(rule.__module__, fromlist=["x"]).__file__ or "").read_text()
        body = module.split(f"def {rule.__name__}(")[1].split("\ndef ")[0]
        names = [piece.split('"')[0] for piece in body.split('Diagnosis(\n        "')[1:]]
        for name in names:
            assert f'"{name}"' in source, name


def test_nothing_at_all_is_known() -> None:
    """No snapshot, no symbols, no log: the report still says what the outcome says."""
    death = Death(body="90")
    bare = death.result()
    for outcome in ("fault", "panic", "reset", "shutdown", "timeout", "silent"):
        report = fault.analyse(type(bare)(outcome, 0.0, None, "", (), {}, None, None, "", None, (), None))
        assert report is not None and report.cause
