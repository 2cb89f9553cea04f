"""The mailbox's numbers: one source, and every text made from it says the same."""

from __future__ import annotations

import re
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from toolchain import generate
from toolchain.mailbox import layout, spec

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
FIELDS = ("compatible", "control", "queue", "slot", "completion", "buffer")
BITS = (
    "compatible_status", "service_status", "client_status", "feature", "queue_flag", "flag", "buffer_access",
)  # fmt: skip


def test_the_specification_shows_the_numbers() -> None:
    text = spec.SPEC.read_text(encoding="utf-8")
    assert spec.filled(text) == text, "run: python -m toolchain.mailbox.spec"
    assert spec.WGSL.read_text(encoding="utf-8") == layout.wgsl()
    assert set(re.findall(r"<!-- table (\w+) -->", text)) == set(spec.tables())


def test_the_specification_is_seen_to_differ() -> None:
    text = spec.SPEC.read_text(encoding="utf-8")
    assert spec.filled(text.replace("| 0x80 | UART_WRITE |", "| 0x81 | UART_WRITE |")) == text
    assert text.count("| 0x80 | UART_WRITE |") == 1


def test_assembly_and_wgsl_hold_what_python_reads() -> None:
    in_assembly = dict(re.findall(r"^\.set MAILBOX_(\w+), (\w+)$", layout.assembly(), re.M))
    in_wgsl = dict(re.findall(r"^const MAILBOX_(\w+): u32 = (\w+)u;$", layout.wgsl(), re.M))
    assert {name: int(value, 0) for name, value in in_assembly.items()} == layout.constants()
    assert {name: int(value, 0) for name, value in in_wgsl.items()} == layout.constants()
    assert layout.constants()["CONTROL_EPOCH"] == layout.CONTROL_EPOCH
    with pytest.raises(AttributeError, match="NO_SUCH"):
        _ = layout.NO_SUCH


def test_gnu_as_takes_the_include(tmp_path: Path) -> None:
    generate.generate(KERNEL, tmp_path)
    source = tmp_path / "t.s"
    source.write_text('.include "mailbox.inc"\n.if MAILBOX_STATUS_ERROR - 0x80000000\n.error\n.endif\n')
    subprocess.run(["as", "-I", tmp_path / "gen", source, "-o", tmp_path / "t.o"], check=True)


@pytest.mark.parametrize("group", FIELDS)
def test_fields_do_not_overlap_and_are_aligned(group: str) -> None:
    rows = [(r["offset"], r.get("size", 4)) for r in layout.rows()[group]]
    assert all(offset % min(size, 8) == 0 for offset, size in rows)
    assert all(a + size <= b for (a, size), (b, _) in pairwise(rows))


@pytest.mark.parametrize("group", ("control", "queue"))
def test_no_cache_line_has_two_writers(group: str) -> None:
    lines: dict[int, set[str]] = {}
    for row in layout.rows()[group]:
        lines.setdefault(row["offset"] // layout.SLOT_SIZE, set()).add(row["owner"])
    assert all(len(owners) == 1 for owners in lines.values())


@pytest.mark.parametrize("group", BITS)
def test_bits_are_single_and_distinct(group: str) -> None:
    values = [row["value"] for row in layout.rows()[group]]
    assert len(set(values)) == len(values)
    assert all(value and value & (value - 1) == 0 for value in values)


def test_operations_fill_their_slots_without_overlap() -> None:
    for operation in layout.operations().values():
        places = [(field.offset, field.size) for field in operation.fields]
        assert all(at >= layout.SLOT_BODY and at + size <= layout.SLOT_SIZE for at, size in places)
        assert all(a + size <= b for (a, size), (b, _) in pairwise(places))
    assert len(layout.operations()) == len(layout.rows()["operation"])


def test_the_seed_s_opcodes_and_registers_stand() -> None:
    assert [layout.CMD, layout.STATUS, layout.RESP, layout.DOORBELL] == [0x0, 0x4, 0x8, 0xC]
    assert [layout.OP_UART_WRITE, layout.OP_UART_READ, layout.OP_GPU_EXECUTE] == [0x80, 0x81, 0x82]
    assert [layout.OP_MMIO_READ, layout.OP_MMIO_WRITE, layout.OP_SYSCALL] == [0x83, 0x84, 0x85]
    assert [layout.OP_ALLOC, layout.OP_FREE, layout.OP_HALT] == [0x86, 0x87, 0x8F]
    assert [layout.STATUS_READY, layout.STATUS_BUSY, layout.STATUS_COMPLETE] == [1, 2, 4]
    assert layout.STATUS_ERROR == 1 << 31


def test_regions_follow_one_another() -> None:
    assert layout.SIZE == layout.CONTROL_AT
    assert layout.CONTROL_AT + layout.SIZE <= layout.QUEUE_AT
    assert layout.QUEUE_AT + layout.QUEUES * layout.QUEUE_STRIDE <= layout.RING_AT
    assert layout.RING_AT + layout.QUEUES * layout.RING_STRIDE <= layout.ANSWER_AT
    assert layout.ANSWER_AT + layout.QUEUES * layout.ANSWER_STRIDE <= layout.DATA_AT < layout.BYTES_MIN
    assert layout.DEPTH * layout.SLOT_SIZE == layout.RING_STRIDE
    assert layout.DEPTH * layout.COMPLETION_SIZE == layout.ANSWER_STRIDE
    assert layout.DEPTH == 1 << layout.DEPTH_SHIFT


def test_errors_are_named_and_fit_their_bits() -> None:
    bits = layout.COMPLETION_ERROR
    for value, name in layout.error_names().items():
        assert value & ~bits == 0
        assert layout.error_name(value | layout.COMPLETION_PHASE) == name
    assert layout.error_name(layout.COMPLETION_PHASE) == "OK"
    assert len(layout.error_names()) == len(layout.rows()["error"])
