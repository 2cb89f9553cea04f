"""What counts as a kept promise: boot lines, in-kernel tests, and what the host measures at PXREADY."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from architect import claims, judge
from architect.judge import Judge, Promise
from toolchain import walk
from toolchain.errors import InputError
from toolchain.types import BootResult, MemoryChunk, PciBar, Screen, Snapshot, Unit

UNITS = """\
[[unit]]
name = "frames"
entry = "frames_init"
[[unit]]
name = "gpu"
entry = "gpu_init"
needs = ["frames"]
optional = true
[[unit]]
name = "mailbox"
entry = "mailbox_init"
optional = true
"""
GOOD = [
    "PXBOOT v1 frames start tsc=10",
    "PXBOOT v1 frames ok tsc=20 free=0x1000",
    "SeaBIOS says PXREADY",
    "PXBOOT v1 gpu start tsc=30",
    "PXBOOT v1 gpu ok tsc=40 bar0=0xfd000000",
    "PXBOOT v1 mailbox skip tsc=50 needs=gpu",
    "PXREADY v1 tsc=60",
]


@pytest.fixture
def court(tmp_path: Path) -> Judge:
    (tmp_path / "boot.toml").write_text(UNITS)
    files = {"test/a.s": b'ktap_test test_pages, "pages"\n    ktap_test test_frames, "frames"\n'}
    return judge.load(tmp_path, files)


def serial(*lines: str) -> str:
    return "\r\n".join([*lines, ""])


def test_the_promises_come_from_the_tree(court: Judge) -> None:
    assert court.promises == (
        Promise("frames", ("ok",)),
        Promise("gpu", ("ok", "skip")),
        Promise("mailbox", ("ok", "skip")),
    )
    assert court.tests == ("pages", "frames")


def test_a_good_boot_keeps_them(court: Judge) -> None:
    assert court.boot_problem(serial(*GOOD)) is None
    assert court.reached(serial(*GOOD)) == 1.0


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([GOOD[-1]], "boot unit frames is missing: PXREADY came in its place"),
        ([GOOD[-1], *GOOD], "boot unit frames is missing: PXREADY"),
        ([*GOOD[:2], GOOD[-1]], "boot unit gpu is missing: PXREADY"),
        ([*GOOD[3:5], *GOOD[:2], *GOOD[5:]], "boot unit frames is missing: gpu"),
        (GOOD[1:], "frames said ok; expected start"),
        ([*GOOD[:2], GOOD[1], *GOOD[3:]], "frames said start, ok, ok"),
        ([GOOD[0], *GOOD[3:]], "frames said start; expected start, then"),
        ([GOOD[0], GOOD[1].replace("ok", "skip"), *GOOD[3:]], "frames said skip; expected ok"),
        ([GOOD[0], GOOD[1].replace("ok", "fail"), *GOOD[3:]], "frames said fail"),
        ([*GOOD[:4], GOOD[4].replace("ok", "fail"), *GOOD[5:]], "gpu said fail"),
        ([*GOOD[:4], GOOD[4].replace("=40", "=5"), *GOOD[5:]], "go backwards"),
        (GOOD[:-1], "PXREADY never came"),
        ([*GOOD, GOOD[-1]], "once; then came PXREADY, PXREADY"),
        ([*GOOD, *GOOD[3:5]], "once; then came PXREADY, gpu, gpu"),
        ([*GOOD[:-1], "PXREADY v1 tsc="], "PXREADY never came"),
        ([*GOOD[:-1], " PXREADY v1 tsc=60"], "PXREADY never came"),
        ([], "frames is missing"),
    ],
)
def test_a_boot_that_pretends_is_found_out(court: Judge, lines: list[str], problem: str) -> None:
    told = court.boot_problem(serial(*lines))
    assert told is not None and problem in told


def test_reached_orders_failures(court: Judge) -> None:
    reached = [court.reached(serial(*GOOD[:n])) for n in (0, 2, 5, 6, 7)]
    assert reached == sorted(set(reached)) and reached[0] == 0


TAP = ["KTAP version 1", "1..2", "ok 1 pages", "ok 2 frames"]


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (TAP, None),
        ([], "never ran"),
        (TAP[:3], "stopped after 1 results"),
        ([*TAP[:3], "not ok 2 frames"], "1 in-kernel tests failed: frames"),
        (["KTAP version 1", "1..1", "ok 1 pages"], "missing: frames"),
        (["KTAP version 1", "1..2", "ok 1 pages", "ok 2 other"], "missing: frames"),
        (["1..2", "ok 1 pages", "ok 2 frames"], "never ran"),
    ],
)
def test_in_kernel_tests(court: Judge, lines: list[str], problem: str | None) -> None:
    told = court.tests_problem(serial(*GOOD, *lines))
    assert told is None if problem is None else told is not None and problem in told


# --- the baseline ------------------------------------------------------------------------------------------


def test_a_baseline_wins_over_the_tree(tmp_path: Path) -> None:
    (tmp_path / "boot.toml").write_text(UNITS)
    told = tmp_path / "good.json"
    told.write_text(json.dumps({"units": [{"name": "gpu", "state": "ok"}], "tests": {"pages": True}}))
    found = judge.load(tmp_path, {}, told)
    assert found.promises == (Promise("gpu", ("ok",)),) and found.tests == ("pages",)
    written = tmp_path / "good.toml"
    written.write_text('[[unit]]\nname = "gpu"\nresult = ["ok", "skip"]\n[[unit]]\nname = "frames"\n')
    found = judge.load(tmp_path, {}, written)
    assert found.promises == (Promise("gpu", ("ok", "skip")), Promise("frames", ("ok",)))


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.json", "{", "not JSON of"),
        ("x.toml", "=", "not TOML"),
        ("x.json", "[]", "expected a table"),
        ("x.toml", "[[unit]]\nname = 3", r"unit\[0\]: expected a name"),
        ("x.toml", '[[unit]]\nname = "a"\nresult = "fine"', "ok, skip or fail"),
        ("x.toml", "tests = [1]", "tests: expected names"),
    ],
)
def test_a_bad_baseline_is_one_clear_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / "boot.toml").write_text(UNITS)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        judge.load(tmp_path, {}, tmp_path / name)
    with pytest.raises(InputError, match="cannot read"):
        judge.load(tmp_path, {}, tmp_path / "absent.toml")


# --- what the host measures --------------------------------------------------------------------------------

BAR0 = 0xFD000000
TABLES = 0x1000
UC = walk.PRESENT | walk.WRITE | walk.PWT | walk.PCD | walk.NX


def tables(leaf: int = BAR0 | UC, upper: int = walk.PRESENT | walk.WRITE) -> tuple[MemoryChunk, ...]:
    """Page tables in which ``leaf`` is the entry of BAR0's first page."""
    chunks = []
    for level, index in enumerate(walk.indices(BAR0)):
        page = bytearray(4096)
        entry = leaf if level == 3 else TABLES + (level + 1) * 4096 | upper
        page[index * 8 : index * 8 + 8] = entry.to_bytes(8, "little")
        chunks.append(MemoryChunk(TABLES + level * 4096, bytes(page)))
    return tuple(chunks)


REGISTERS = {
    "cr3": TABLES,
    "cr0": walk.CR0_PG | walk.CR0_WP,
    "cr4": walk.CR4_PAE,
    "efer": walk.EFER_LMA | walk.EFER_NXE,
}
BAR = PciBar("00:02.0", 0x1234, 0x1111, 0x0300, 0, BAR0, 16 << 20, "memory")
UNITS_ALL = ("frames", "pci", "gpu", "mailbox", "framebuffer")
PICTURE = Screen(16, 9, claims.picture(16, 9))


def mailbox(status: int = 1) -> MemoryChunk:
    return MemoryChunk(BAR0, bytes(4) + status.to_bytes(4, "little") + bytes(4088))


def ready(
    snapshot: Snapshot | None, bar0: str = hex(BAR0), skip: str = "", serial: str = "", **pci: str
) -> BootResult:
    values = {"gpu": {"bar0": bar0}, "pci": pci}
    units = tuple(Unit(n, "skip" if n == skip else "ok", 2, 1, values.get(n, {})) for n in UNITS_ALL)
    return BootResult("ready", 0.1, None, serial, units, {}, None, None, "", snapshot, (), None)


SEEN = Snapshot(REGISTERS, (*tables(), mailbox()), (BAR,), PICTURE)


def test_a_true_claim_holds() -> None:
    assert claims.problem(ready(SEEN), UNITS_ALL) is None


def test_a_tree_claims_nothing_of_what_it_has_no_unit_for() -> None:
    assert claims.problem(ready(replace(SEEN, memory=(), screen=None)), ("frames",)) is None


@pytest.mark.parametrize("skipped", ["gpu", "mailbox", "framebuffer"])
def test_a_unit_without_a_reason_to_skip(skipped: str) -> None:
    told = claims.problem(ready(SEEN, skip=skipped), UNITS_ALL)
    assert told == f"the machine has a display controller, yet the boot unit {skipped} did not come to ok"


LISTED = "pci 00:02.0 1234:1111 class 030000 bar0=0xfd000000+0x1000000\r\n"


def test_what_is_told_of_the_bus_holds() -> None:
    assert claims.problem(ready(SEEN, serial=LISTED, access="ecam", functions="5"), UNITS_ALL) is None


@pytest.mark.parametrize(
    ("serial", "pci", "problem"),
    [
        (LISTED, {"access": "ports"}, "says access=ports; this machine has ecam"),
        (LISTED, {"functions": "0"}, "found 0 PCI functions; 1 have BARs: 00:02.0"),
        (LISTED.replace("1111", "1110"), {}, "00:02.0 is 1234:1110; it is 1234:1111"),
        (
            LISTED.replace("+0x1000000", "+0x1000"),
            {},
            "BAR0 of 00:02.0 is 0xfd000000+0x1000; it is 0xfd000000+0x1000000",
        ),
        (LISTED.replace("0xfd000000", "0xfe000000"), {}, "is 0xfe000000+0x1000000; it is 0xfd000000"),
    ],
)
def test_what_is_told_of_the_bus_and_is_not_so(serial: str, pci: dict[str, str], problem: str) -> None:
    told = claims.problem(ready(SEEN, serial=serial, **pci), UNITS_ALL)
    assert told is not None and problem in told


def test_the_picture_is_the_one_of_the_kernel() -> None:
    rows = [claims.picture(16, 9)[48 * y : 48 * y + 48] for y in range(9)]
    assert rows[0] == rows[5] != rows[6] == rows[8]
    assert rows[0][:6] == b"\xff" * 6 and rows[0][-6:] == bytes(6)
    assert rows[8][:3] == bytes(3) and rows[8][-3:] == b"\xf0" * 3


@pytest.mark.parametrize(
    ("seen", "bar0", "problem"),
    [
        (SEEN, "0xfe000000", "the kernel says that BAR0 is at 0xfe000000; it is at 0xfd000000"),
        (SEEN, "no", "the kernel says"),
        (replace(SEEN, memory=tables(0)), hex(BAR0), "cannot be written: PT entry 0"),
        (replace(SEEN, memory=tables(upper=walk.PRESENT)), hex(BAR0), "read-only"),
        (replace(SEEN, memory=tables(BAR0 + 0x1000 | UC)), hex(BAR0), "is mapped to 0xfd001000"),
        (replace(SEEN, memory=tables(BAR0 | UC & ~walk.PCD)), hex(BAR0), "cacheable"),
        (replace(SEEN, memory=tables(BAR0 | UC & ~walk.NX)), hex(BAR0), "executable"),
        (replace(SEEN, memory=()), hex(BAR0), "was not read"),
        (replace(SEEN, bars=(replace(BAR, address=None),)), hex(BAR0), "left unassigned"),
        (replace(SEEN, memory=tables()), hex(BAR0), "register CMD at 0xfd000000 was not read"),
        (replace(SEEN, memory=(*tables(), mailbox(0))), hex(BAR0), "register STATUS at 0xfd000004 holds 0x0"),
        (
            replace(SEEN, screen=Screen(16, 9, b"\0" * 432)),
            hex(BAR0),
            "pixel (0, 0) of the 16x9 screen is #000000",
        ),
        (replace(SEEN, screen=None), hex(BAR0), "shows nothing"),
        (None, hex(BAR0), "no look at the machine"),
    ],
)
def test_a_false_claim_is_found_out(seen: Snapshot | None, bar0: str, problem: str) -> None:
    told = claims.problem(ready(seen, bar0), UNITS_ALL)
    assert told is not None and problem in told
