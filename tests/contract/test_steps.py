"""Models of single routines: each names the routine that is broken, not one that calls it."""

from __future__ import annotations

import pytest

from architect import contracts
from tests.contract.planting import Plant, build, kernel, plant
from tests.contract.step_bugs import STEPS
from toolchain.harness import Harness

pytestmark = pytest.mark.long

PLANTED = [(name, *bug) for name, bugs in STEPS.items() for bug in bugs]


@pytest.mark.parametrize(
    ("name", "routine", "bug"), PLANTED, ids=[f"{n}-{i}" for i, (n, _, _) in enumerate(PLANTED)]
)
def test_the_broken_routine_is_named(name: str, routine: str, bug: Plant) -> None:
    item = contracts.registry()[name]
    assert routine in item.judges
    assert item.violations(Harness(kernel())) == []
    found = item.violations(Harness(build(bug)))
    assert [violation.routine for violation in found] == [routine]


def test_a_caller_of_the_broken_routine_keeps_its_promises() -> None:
    """Stand-ins keep a bug below from being held against those above."""
    for broken, sound in (
        ("overlap_alone", ("subtract_pages_alone",)),
        ("descend_alone", ("map_image_alone",)),
    ):
        harness = Harness(build(STEPS[broken][0][1]))
        for name in sound:
            assert contracts.registry()[name].violations(harness) == []


@pytest.mark.parametrize(
    ("name", "planted", "line"),
    [
        (
            "set_mode_alone",
            plant("gpu/dispi.s", "", ("DISPI_YRES, DISPI_MODE_HEIGHT", "DISPI_YRES, 600")),
            "DISPI_YRES, 600",
        ),
        (
            "fault_blocks",
            plant("cpu/fault_report.s", "", ("RBX, print_frame, FRAME_RBX", "RBX, print_frame, 0")),
            "RBX",
        ),
    ],
)
def test_a_wrong_row_of_a_table_is_placed(name: str, planted: Plant, line: str) -> None:
    found = contracts.registry()[name].violations(Harness(build(planted)))
    file, number = str(found[0].call["place"]).split(":")
    assert file == planted.file
    assert line in planted.text().split("\n")[int(number) - 1]
