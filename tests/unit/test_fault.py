"""One report from three sources: which exception is the first, whose registers count, how the trace is found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.deaths import BASE, STACK, Death
from toolchain import boot_log, fault, saved_logs
from toolchain.types import BootResult, FaultReport

LOGS = Path(__file__).parents[1] / "fixtures/logs"
STORE = "c70700000000"
FRAME = "554889e5"


def report_of(death: Death, tree: Path | None = None) -> FaultReport:
    report = fault.analyse(death.result(), death.symbols(), tree)
    assert report is not None
    return report


def recorded(*names: str) -> BootResult:
    return saved_logs.read([LOGS / name for name in names])


def test_the_kernels_block_takes_its_place_in_qemus_chain() -> None:
    report = fault.analyse(recorded("idt.serial.log", "idt.qemu.log"))
    assert report is not None
    assert [(e.vector, e.source) for e in report.chain] == [(14, "kernel")]
    assert report.chain[0].decoded == ("not present", "write", "supervisor")
    assert (report.registers["cr2"], report.unit, report.scope) == (0xFD000000, "mailbox", "kernel")
    assert report.registers["rdi"] == 0xFD000000
    assert report.registers["r12"] == 0  # the block is silent about it, QEMU's log is not


def test_without_idt_the_chain_is_qemus_and_the_cause_its_first() -> None:
    report = fault.analyse(recorded("no-idt.qemu.log", "no-idt.serial.log"))
    assert report is not None
    assert [(e.name, e.source) for e in report.chain] == [
        ("#PF", "qemu"), ("#GP", "qemu"), ("#DF", "qemu"), ("#GP", "qemu"),
    ]  # fmt: skip
    assert report.cause.startswith("#PF (page fault): write to 0xfd000000 (not present, supervisor)")
    assert report.outcome == "fault" and report.unit == "mailbox"


def test_the_kernels_registers_win_over_later_ones() -> None:
    death = Death(body=STORE)
    death.raises(14, 2, 0x4000_0000, rdi=0x4000_0000)
    death.registers |= {"rdi": 0xBAD, "cr2": 0xE0, "rip": 0xBAD}  # what QMP read after nested faults
    report = report_of(death)
    assert (report.registers["rdi"], report.registers["cr2"]) == (0x4000_0000, 0x4000_0000)
    assert report.walk is not None and report.walk.address == 0x4000_0000
    assert report.place is not None and report.place.symbol == "body"


def test_a_double_fault_that_the_kernel_reports_has_its_cause_from_qemu() -> None:
    death = Death(body=FRAME, handler="90")
    death.raises(8, 0, rip=BASE, rsp=STACK - 0x40)
    line = "     0: v={0:02x} e={1:04x} i=0 cpl=0 IP=0008:{2:016x} pc={2:016x} SP=0010:{3:016x} {4}\nRIP={2:016x}\n"
    death.log = (
        "check_exception old: 0xffffffff new 0xe\n"
        + line.format(14, 2, BASE, STACK - 0x40, "CR2=ffff900000001000")
        + "check_exception old: 0xe new 0xe\n"
        + line.format(8, 0, BASE, STACK - 0x40, "env->regs[R_EAX]=0")
    )
    report = report_of(death)
    assert [(e.name, e.source) for e in report.chain] == [("#PF", "qemu"), ("#PF", "qemu"), ("#DF", "kernel")]
    assert report.registers["cr2"] == 0xFFFF_9000_0000_1000
    assert report.cause.startswith("#PF")


def test_expected_faults_of_tests_are_not_the_cause() -> None:
    death = Death(body=STORE, test=STORE)
    death.outcome = "timeout"
    death.serial = (
        f"PXFAULT v1 begin\nscope=expected\nvector=0xe\nrip={death.at['test']:#x}\nPXFAULT v1 end\n"
    )
    death.log = (
        f"     0: v=0e e=0002 i=0 cpl=0 IP=0008:{death.at['test']:016x} pc=0 SP=0010:{STACK - 0x20:016x} "
        f"CR2=0000000000000010\n"
    )
    assert report_of(death).chain == ()


def test_the_trace_follows_rbp_and_finds_the_leafs_caller() -> None:
    death = Death(outer=FRAME, middle=FRAME, leaf=STORE)
    death.call("outer", "middle", 4)
    death.call("middle", "leaf", 4)
    rsp = STACK - 0x40
    death.raises(14, 2, 0x10, rip=death.at["leaf"], rdi=0x10, rsp=rsp, rbp=rsp + 8)
    # return to middle; middle's frame: outer's rbp, return to outer; outer's frame: end
    death.push(death.at["middle"] + 9, rsp + 24, death.at["outer"] + 9, 0, 0)
    report = report_of(death)
    assert [place.symbol for place in report.trace] == ["middle", "outer"]
    assert report.trace[0].offset == 9
    assert report.stack[0] == death.at["middle"] + 9


def test_a_return_address_after_the_last_instruction_names_the_caller() -> None:
    death = Death(first="90", second="90")
    place = fault.return_place(death.symbols(), death.at["second"])
    assert (place.symbol, place.offset) == ("first", 64)


def test_the_told_trace_wins_and_is_read_up_to_the_cut() -> None:
    death = Death(body=STORE, other=FRAME)
    death.raises(14, 2, 0x10, rdi=0x10)
    assert death.block is not None
    death.block["trace"] = f"{death.at['other'] + 5:#x},0xffff"
    death.block["stack"] = "0x1,0x2,zzz,0x4"
    report = report_of(death)
    assert report.trace[0].symbol == "other" and report.stack == (1, 2)


def test_source_lines_come_from_the_tree_and_from_nowhere_else(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "a.s").write_text("\n".join(f"line {n}" for n in range(1, 31)))
    (tmp_path / "secret.s").write_text("secret\n" * 30)
    death = Death(body=STORE)
    death.raises(14, 2, 0x10, rdi=0x10)
    lines = report_of(death, tree).source
    assert [line.number for line in lines] == list(range(6, 15))
    assert [line.text for line in lines if line.marked] == ["line 10"]
    place = report_of(death).place
    assert place is not None
    assert fault.source_lines(tree, replace(place, file="../secret.s")) == ()
    assert fault.source_lines(tree, replace(place, file="gone.s")) == ()
    assert fault.source_lines(tree, replace(place, line=10_000)) == ()


@pytest.mark.parametrize("outcome", ["ready", "tests-passed", "tests-failed", "qemu-died"])
def test_no_death_no_report(outcome: str) -> None:
    death = Death(body=STORE)
    death.outcome = outcome
    assert fault.analyse(death.result()) is None


def test_a_hang_is_reported_with_where_the_processor_is() -> None:
    death = Death(body="ebfe")
    death.outcome = "timeout"
    report = report_of(death)
    assert report.chain == () and report.place is not None and report.place.symbol == "body"
    assert "no PXREADY within 1.0 s at body" in report.cause and "long mode" not in report.cause
    death.registers["efer"] = 0x900
    assert report_of(death).cause.endswith(", the processor not in long mode")


def test_numbers_as_the_kernel_prints_them() -> None:
    assert boot_log.number("0xFFFFFFFFFFFFFFFF") == (1 << 64) - 1
    assert boot_log.number("17") == 17
    assert [boot_log.number(t) for t in ("", "0x", "0x1" + "0" * 16, "-1", "ten", "1_0")] == [None] * 6


@pytest.mark.parametrize("name", ["idt", "no-idt", "triple32"])
def test_logs_cut_anywhere_still_give_a_report_or_an_outcome(name: str) -> None:
    whole = recorded(f"{name}.serial.log", f"{name}.qemu.log")
    for cut in range(0, len(whole.qemu_log), 173):
        fault.analyse(replace(whole, qemu_log=whole.qemu_log[:cut]))
    for cut in range(0, len(whole.serial), 7):
        fault.analyse(replace(whole, serial=whole.serial[:cut]))
