"""The parser of the serial line: the contract's lines, and everything that may stand between them."""

from __future__ import annotations

from pathlib import Path

from hypothesis import example, given
from hypothesis import strategies as st

from toolchain import serial
from toolchain.serial import FaultBlock, Panic, Ready, SerialLog
from toolchain.types import Unit

LOGS = Path(__file__).parents[1] / "fixtures/logs"


def test_units_keep_their_order_their_last_state_and_their_values() -> None:
    log = serial.parse(
        b"\nPXBOOT v1 pci start tsc=10\n\nPXBOOT v1 pci ok tsc=25 functions=5 bus=0\n"
        b"PXBOOT v1 gpu start tsc=30\nPXBOOT v1 gpu skip tsc=31 reason=absent\nPXREADY v1 tsc=40\n"
    )
    assert list(log.units.values()) == [
        Unit("pci", "ok", 25, 10, {"functions": "5", "bus": "0"}),
        Unit("gpu", "skip", 31, 30, {"reason": "absent"}),
    ]
    assert log.ready == 40
    assert log.unit_in_progress is None


def test_the_unit_in_progress_is_the_last_that_did_not_end() -> None:
    log = serial.parse(b"PXBOOT v1 a start tsc=1\nPXBOOT v1 a ok tsc=2\nPXBOOT v1 b start tsc=3\n")
    assert log.unit_in_progress == "b"


def test_a_fault_block_keeps_its_lines_among_strangers() -> None:
    log = serial.parse(
        b"PXFAULT v1 begin\r\nscope=kernel\r\nSMM says hello\r\nvector=0xe\n\nPXBOOT v1 x start tsc=1\n"
        b"error=0x2\nvector=0xd\nstack=0x1,0x2\nPXFAULT v1 end\n"
    )
    block = log.kernel_fault
    assert block == FaultBlock({"scope": "kernel", "vector": "0xe", "error": "0x2", "stack": "0x1,0x2"}, True)
    assert "x" in log.units


def test_only_a_fault_of_the_kernel_is_one() -> None:
    log = serial.parse(
        b"PXFAULT v1 begin\nscope=expected\nvector=0x3\nPXFAULT v1 end\n"
        b"PXFAULT v1 begin\nscope=user\nvector=0xe\nPXFAULT v1 end\n"
    )
    assert [block.scope for block in log.faults] == ["expected", "user"]
    assert log.kernel_fault is None


def test_a_cut_block_counts_as_the_kernels_and_as_incomplete() -> None:
    log = serial.parse(b"PXFAULT v1 begin\nvector=0xe\nrip=0xffff")
    assert log.kernel_fault == FaultBlock({"vector": "0xe", "rip": "0xffff"}, False)


def test_a_block_inside_a_block_closes_the_first() -> None:
    log = serial.parse(b"PXFAULT v1 begin\nvector=0xe\nPXFAULT v1 begin\nvector=0x8\nPXFAULT v1 end\n")
    assert [(b.values["vector"], b.complete) for b in log.faults] == [("0xe", False), ("0x8", True)]


def test_success_is_never_read_from_half_a_line() -> None:
    assert serial.parse(b"PXREADY v1 tsc=12").ready is None
    assert serial.parse(b"PXREADY v1 tsc=\n").ready is None
    assert serial.parse(b"PXREADY v1\n").ready is None
    assert serial.parse(b"say PXREADY v1 tsc=12\n").ready is None
    assert serial.parse(b"PXREADY v2 tsc=12\n").ready is None
    assert serial.parse(b"PXREADY v1 tsc=12\n").ready == 12


def test_terminal_sequences_before_a_line_do_not_hide_it() -> None:
    assert serial.parse(b"\x1b[2J\x1b[01;01H\x1b[=3hPXREADY v1 tsc=5\r\n").ready == 5
    assert serial.parse(b"\x00\x07PXREADY v1 tsc=5\n").ready == 5


def test_a_panic_keeps_its_code_and_words() -> None:
    log = serial.parse(b"PXPANIC v1 no-memory no frames are left\nPXPANIC v1 later again\n")
    assert log.panic == Panic("no-memory", "no frames are left")


def test_tests_are_read_beside_the_boot() -> None:
    log = serial.parse(b"KTAP version 1\n1..2\nok 1 a\nPXBOOT v1 u start tsc=1\nnot ok 2 b\n")
    assert log.tap.tests == {"a": True, "b": False}
    assert log.tap.complete and not log.tap.passed


def test_what_arrives_is_reported_once_and_in_order() -> None:
    log = SerialLog()
    seen = []
    for piece in (b"PXBOOT v1 a sta", b"rt tsc=1\nPXBOOT v1 a o", b"k tsc=2\nPXREADY v1 tsc=3", b"\n"):
        seen += log.feed(piece)
    assert [type(x) for x in seen] == [Unit, Unit, Ready]


def test_memory_is_bounded_whatever_the_guest_writes() -> None:
    log = SerialLog()
    for number in range(300):
        log.feed(b"x" * 100_000)
        log.feed(f"\nPXBOOT v1 unit{number * 7} start tsc=1 {'k=v ' * 900}\n".encode())
        log.feed(b"PXFAULT v1 begin\n" + b"".join(b"k%d=1\n" % n for n in range(200)))
    log.finish()
    assert len(log.units) == serial.MAX_UNITS
    assert len(log.faults) <= serial.MAX_FAULTS
    assert all(len(block.values) <= 64 for block in log.faults)
    assert all(len(unit.values) <= 64 for unit in log.units.values())
    assert len(log.text) <= 2 * serial.MAX_TEXT + 200_000
    assert "bytes left out" in log.text
    assert log.text.startswith("xxxx") and log.received > 30_000_000


def test_the_recorded_block_of_the_test_kernel() -> None:
    log = serial.parse((LOGS / "idt.serial.log").read_bytes())
    assert log.kernel_fault is not None and log.kernel_fault.complete
    assert int(log.kernel_fault.values["cr2"], 16) == 0xFD000000
    assert log.unit_in_progress == "mailbox"
    assert not any("rip=" in line for line in log.tail)  # the block is no free text


@given(st.binary(max_size=3000))
@example(b"PXFAULT v1 begin\nPXFAULT v1 end\n")
@example(b"PXPANIC v1 \n")
@example(b"PXBOOT v1 x ok tsc=99999999999999999999999\n")
def test_no_bytes_make_it_raise(data: bytes) -> None:
    log = serial.parse(data)
    assert log.text == data.decode("latin-1")


HOSTILE = st.lists(
    st.sampled_from(
        [
            b"PXBOOT v1 a start tsc=1\n", b"PXBOOT v1 a ok tsc=2 k=v\n", b"PXREADY v1 tsc=9\n", b"PXFAULT v1 begin\n",
            b"PXFAULT v1 end\n", b"scope=kernel\n", b"vector=0xe\n", b"KTAP version 1\n1..1\n", b"ok 1 t\n", b"\x1b[2J",
            b"PXPANIC v1 c t\n", b"\r\n", b"\x00\xff", b"PX", b"firmware ",
        ]
    )
)  # fmt: skip


@given(HOSTILE, st.randoms(use_true_random=False))
def test_the_cuts_between_pieces_make_no_difference(pieces: list[bytes], random: object) -> None:
    data = b"".join(pieces)
    log, at = SerialLog(), 0
    while at < len(data):
        step = random.randint(1, 7)  # type: ignore[attr-defined]
        log.feed(data[at : at + step])
        at += step
    log.finish()
    whole = serial.parse(data)
    assert (log.units, log.ready, log.faults, log.panic) == (
        whole.units,
        whole.ready,
        whole.faults,
        whole.panic,
    )
    assert log.tap.tests == whole.tap.tests
    assert log.text == whole.text
