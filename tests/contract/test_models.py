"""The models hold for the kernel, and each notices bugs that people make in the routines that it answers for."""

from __future__ import annotations

import random

import pytest

from architect import contracts
from architect.contracts import frames, heap, spaces
from architect.contracts.model import Broken
from architect.contracts.paging import sequence
from tests.contract.kernel_bugs import BUGS
from tests.contract.planting import Plant, build, kernel, plant, sources
from tests.contract.step_bugs import STEPS
from toolchain.harness import Harness

pytestmark = pytest.mark.long

PLANTED = [(name, number, bug) for name, bugs in BUGS.items() for number, bug in enumerate(bugs)]


def test_the_kernel_keeps_every_promise() -> None:
    assert contracts.violations(kernel(), contracts.routines(sources())) == []


def test_every_model_has_a_bug_to_notice() -> None:
    assert set(BUGS) | set(STEPS) == set(contracts.registry())


def test_every_model_applies_to_this_kernel() -> None:
    harness = Harness(kernel())
    missing = {n: [s for s in c.needs if not harness.has(s)] for n, c in contracts.registry().items()}
    assert {name: symbols for name, symbols in missing.items() if symbols} == {}


@pytest.mark.parametrize(("name", "number", "bug"), PLANTED, ids=[f"{name}-{n}" for name, n, _ in PLANTED])
def test_a_bug_is_noticed(name: str, number: int, bug: Plant) -> None:
    found = contracts.registry()[name].violations(Harness(build(bug)))
    assert found
    # Whoever repairs it is led to code that the model answers for.
    assert found[0].routine in contracts.routines(sources())
    assert all(isinstance(value, int | str) for value in found[0].call.values())


def test_a_changed_routine_calls_for_its_models() -> None:
    headers = contracts.routines(sources())
    for name, contract in contracts.registry().items():
        for routine in contract.judges:
            assert name in {c.name for c in contracts.concerned(headers, [routine])}
    assert [c.name for c in contracts.concerned(headers, ["no_such_routine"])] == []


def test_a_routine_that_no_model_knows_calls_for_those_of_its_file() -> None:
    headers = contracts.routines(sources())
    known = {routine for contract in contracts.registry().values() for routine in contract.judges}
    assert "pci_list_row" not in known  # one that is judged by nobody
    headers["new_helper"] = headers["page_map"].__class__(
        "new_helper", "", (), (), (), "long mode", headers["page_map"].file, 1
    )
    assert "page_tables" in {c.name for c in contracts.concerned(headers, ["new_helper"])}
    assert "descriptor_tables" in {c.name for c in contracts.concerned(headers, [], ["cpu/gdt.s"])}


def test_a_routine_that_is_gone_is_a_broken_promise() -> None:
    headers = contracts.routines(sources())
    headers["page_forget"] = headers["page_map"]
    assert [(v.routine, v.promise) for v in contracts.violations(kernel(), headers, ["page_forget"])] == [
        ("page_forget", "is gone")
    ]


def test_a_model_that_is_led_astray_says_so() -> None:
    """What a kernel leaves may have no form that a model knows: that is a broken promise, not an error of ours."""
    image = build(plant("gpu/gpu.s", "gpu_init", ("call gpu_map_bar0", "clc")))
    assert contracts.registry()["display_device"].violations(Harness(image))
    image = build(plant("bus/pci_scan.s", "pci_row", ("shl rax, PCI_ROW_SHIFT", "shl rax, 40")))
    for name in ("bar_sizes", "bus_numbers", "bar_addresses", "given_windows"):
        assert contracts.registry()[name].violations(Harness(image)), name


def test_random_sequences_of_page_operations() -> None:
    harness = Harness(kernel())
    for seed in range(40):
        harness.renew()
        sequence(harness, seed, 40)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousand_random_sequences() -> None:
    harness = Harness(kernel())
    for seed in range(10_000):
        harness.renew()
        sequence(harness, seed, random.Random(seed).randint(10, 60))


def test_random_sequences_of_frames() -> None:
    harness = Harness(kernel())
    for seed in range(6):
        harness.renew()
        frames.sequence(harness, seed, 60)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousands_of_operations_on_frames() -> None:
    harness = Harness(kernel())
    for seed in range(200):
        harness.renew()
        frames.sequence(harness, seed, 200)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_ten_thousands_of_operations_on_the_heap() -> None:
    harness = Harness(kernel())
    for seed in range(40):
        harness.renew()
        heap.sequence(harness, seed, 500)


def test_random_sequences_of_spaces() -> None:
    harness = Harness(kernel())
    for seed in range(4):
        harness.renew()
        spaces.sequence(harness, seed, 40)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_ten_thousand_operations_on_spaces() -> None:
    harness = Harness(kernel())
    for seed in range(200):
        harness.renew()
        spaces.sequence(harness, seed, 50)


def test_random_sequences_notice_a_bug() -> None:
    harness = Harness(build(plant("mm/page_change.s", "page_split", ("or rsi, PTE_PAT", ""))))
    with pytest.raises(Broken):
        for seed in range(200):
            harness.renew()
            sequence(harness, seed, 60)
