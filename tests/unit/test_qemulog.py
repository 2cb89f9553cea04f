"""QEMU's exception log: recorded ones, and what may be done to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolchain import qemulog
from toolchain.qemulog import Raised

LOGS = Path(__file__).parents[1] / "fixtures/logs"


def read(name: str) -> qemulog.QemuLog:
    return qemulog.parse((LOGS / f"{name}.qemu.log").read_bytes())


def short(chain: tuple[Raised, ...]) -> list[tuple[int, int | None]]:
    return [(item.vector, item.error) for item in chain]


def test_a_page_fault_without_idt_escalates_to_the_triple_fault() -> None:
    log = read("no-idt")
    chain = log.final_chain()
    assert log.triple_fault and log.resets == 2
    assert short(chain) == [(14, 2), (13, None), (8, 0), (13, None)]
    assert chain[0].cr2 == 0xFD000000
    assert [item.delivered for item in chain] == [True, False, True, False]
    assert [item.escalates for item in chain] == [None, 14, 13, 8]
    registers = chain[0].registers
    assert (registers["rdi"], registers["cr3"], registers["idt_limit"], registers["bits"]) == (
        0xFD000000, 0x101000, 0, 64,
    )  # fmt: skip
    assert registers["efer"] == 0x500


def test_a_delivered_exception_stands_alone() -> None:
    log = read("idt")
    assert not log.triple_fault
    assert short(log.final_chain()) == [(14, 2)]
    assert log.chain_of(14, log.final_chain()[0].ip) == log.final_chain()
    assert log.chain_of(13, None) == ()


def test_a_benign_exception_begins_the_chain_of_its_failed_delivery() -> None:
    assert short(read("triple32").final_chain()) == [(6, None), (13, 0x32), (13, None), (8, 0), (13, None)]
    assert short(read("gate-not-present").final_chain())[:2] == [(6, None), (11, 0x62)]


def test_a_32_bit_dump_gives_64_bit_names() -> None:
    registers = read("triple32").final_chain()[0].registers
    assert registers["bits"] == 32 and registers["rip"] == registers["rip"] & 0xFFFFFFFF
    assert registers["cr0"] == 0x11 and "eax" not in registers


def test_firmware_in_smm_is_no_part_of_it() -> None:
    log = read("smm")
    assert short(log.final_chain()) == [(14, 2), (13, None), (8, 0), (13, None)]
    inside = (
        b"SMM: enter\n" + exception(6, 0x3000, 0x9000) + b"SMM: after RSM\n" + exception(14, 0x1000, 0x9000)
    )
    assert short(qemulog.parse(inside).exceptions()) == [(14, 0)]


def test_interrupts_are_counted_and_no_exceptions() -> None:
    line = b"     0: v=20 e=0000 i=0 cpl=0 IP=0038:0000000006cf3c3e pc=0 SP=0030:0000000007e85b58 env->regs[R_EAX]=0\n"
    software = line.replace(b"v=20", b"v=10").replace(b"i=0", b"i=1")
    log = qemulog.parse(line * 3 + software)
    assert (log.interrupts, len(log.records)) == (4, 0)


def exception(
    vector: int, ip: int, sp: int, error: int = 0, cr2: int | None = None, old: int = 0xFFFFFFFF
) -> bytes:
    tail = f"CR2={cr2:016x}" if cr2 is not None else "env->regs[R_EAX]=0000000000000000"
    return (
        f"check_exception old: {old:#x} new {vector:#x}\n"
        f"     1: v={vector:02x} e={error:04x} i=0 cpl=0 IP=0008:{ip:016x} pc={ip:016x} SP=0010:{sp:016x} {tail}\n"
        f"RAX={ip:016x} RBX=0000000000000000\nRIP={ip:016x} RFL=00000002 [-------] CPL=0\n"
        f"CR0=80010011 CR2={cr2 or 0:016x} CR3=0000000000101000 CR4=00000020\nEFER=0000000000000500\n"
    ).encode()


def test_a_fault_in_the_handler_belongs_to_the_fault_before() -> None:
    data = exception(14, 0x1000, 0x9000, 2, 0xFD000000) + exception(13, 0x2000, 0x8F00)
    assert short(qemulog.parse(data + b"Triple fault\n").final_chain()) == [(14, 2), (13, 0)]


def test_a_fault_after_the_handler_returned_does_not() -> None:
    data = exception(14, 0x1000, 0x9000, 2, 0x5000) + exception(13, 0x2000, 0x9010)
    assert short(qemulog.parse(data).final_chain()) == [(13, 0)]


def test_faults_that_the_kernel_expected_are_left_out() -> None:
    data = exception(14, 0x1000, 0x9000, 2, 0x5000) + exception(13, 0x2000, 0x8F00)
    assert short(qemulog.parse(data).final_chain({(14, 0x1000)})) == [(13, 0)]


def test_a_fault_that_repeats_for_ever_is_told_once() -> None:
    log = qemulog.parse(exception(14, 0x1000, 0x9000, 2, 0x5000) * 50)
    assert log.repeats()
    assert short(log.final_chain()) == [(14, 2)]


def test_only_the_first_triple_fault_counts() -> None:
    first = exception(14, 0x1000, 0x9000, 2, 0x5000) + b"Triple fault\n"
    log = qemulog.parse(first + b"CPU Reset (CPU 0)\n" + exception(6, 0x3000, 0x9000) + b"Triple fault\n")
    assert short(log.final_chain()) == [(14, 2)]


def test_a_flood_is_bounded() -> None:
    data = b"check_exception old: 0xffffffff new 0x6\n" * (qemulog.MAX_RECORDS + 500)
    assert len(qemulog.parse(data).records) == qemulog.MAX_RECORDS


@pytest.mark.parametrize("name", ["no-idt", "idt", "triple32", "smm"])
def test_any_cut_is_read_without_a_word(name: str) -> None:
    data = (LOGS / f"{name}.qemu.log").read_bytes()
    for end in range(0, len(data), 97):
        qemulog.parse(data[:end]).final_chain()
        qemulog.parse(data[end:]).final_chain()


@given(st.binary(max_size=500), st.binary(max_size=500))
def test_junk_around_the_records_changes_nothing(before: bytes, after: bytes) -> None:
    data = exception(14, 0x1000, 0x9000, 2, 0xFD000000)
    chain = qemulog.parse(before + b"\n" + data + after).final_chain()
    assert chain and (14, 2) in short(chain)


def test_the_width_of_the_code() -> None:
    real = (
        "RIP=1\nCS =f000 000f0000 0000ffff 00009b00\nCR0=00000010 CR2=0 CR3=0 CR4=0\nEFER=0000000000000000\n"
    )
    assert qemulog.parse_registers(real)["bits"] == 16
    flat = "RIP=1\nCS =0008 00000000 ffffffff 00af9a00 DPL=0 CS64 [-R-]\nCR0=00000011 CR2=0\nEFER=0000000000000900\n"
    assert qemulog.parse_registers(flat)["bits"] == 32  # L is set, long mode is not on
    assert qemulog.parse_registers(flat.replace("0900", "0d00"))["bits"] == 64


@given(st.text(alphabet="RAXCS =0123456789abcdefEFLCR\nGDT", max_size=300))
def test_no_text_breaks_the_register_dump(text: str) -> None:
    assert all(isinstance(value, int) for value in qemulog.parse_registers(text).values())
