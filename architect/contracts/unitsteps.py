"""The entries of boot units, each alone: the order of their steps, their results, their notes.

What a step does is judged elsewhere; here its stand-in succeeds or fails, and the unit must do the right thing then.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import FAIL, NO_MEMORY, NOT_FOUND, OK, SKIP
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_UNIT, _NOTE_COUNT = 0x10, 0x68  # of the per-CPU block
_ROW = struct.Struct("<4Q")
NOTES = ("unit_note", "unit_note_dec", "unit_note_text")


class Unit(Step):
    """Calls of a unit's entry.

    Attributes:
        notes: what it left, by key: (the routine that it used, the value).
    """

    def __init__(self, harness: Harness, routine: str) -> None:
        super().__init__(harness, routine)
        self.notes: dict[bytes, tuple[str, int | bytes]] = {}
        for name in NOTES:
            self.stand(name, "rdi", "rsi", answer=lambda key, value, name=name: self._note(name, key, value))

    def _note(self, routine: str, key: int, value: int) -> Mapping[str, int]:
        text = self.text(value) if routine == "unit_note_text" else value
        self.notes[self.text(key)] = (routine, text)
        return {"cf": 0}

    def text(self, address: int) -> bytes:
        """A zero-ended text."""
        return self.read(address, 33, self.routine).split(b"\0")[0]

    def start(self, result: int, promise: str, **given: int) -> None:
        """One run of the unit."""
        self.notes.clear()
        self.run(promise, want={"rax": result}, rdi=BUFFER, **given)

    def steps(self, *names: str) -> list[str]:
        """Which of these stand-ins were called, in order."""
        return [str(call[0]) for call in self.asked if call[0] in names]

    def noted(self, **expected: tuple[str, int | bytes]) -> None:
        """The notes are these, by key."""
        right = {key.encode(): value for key, value in expected.items()}
        self.same(self.notes, right, "notes something else")


@contract(
    "frames_init",
    needs=(
        "memory_add_type",
        "memory_subtract_taken",
        "memory_make_regions",
        "frame_total",
        "frame_region_count",
        *NOTES,
    ),
)
def frames_init_alone(harness: Harness) -> None:
    """RAM of three types, less what is taken, in regions; without a frame it fails."""
    step = Unit(harness, "frames_init")
    names = ("memory_add_type", "memory_subtract_taken", "memory_make_regions")
    for name, takes in zip(names, (("rdi",), (), ()), strict=True):
        step.stand(name, *takes, answer={})
    for total, lost in ((7, 0), (0, 0), (9, 3)):
        step.put64("frame_total", total)
        step.put64("frame_region_count", 2)
        harness.write_u64(step.at("memory_ram", 16), lost)
        step.start(OK if total else FAIL, "is wrong about whether there is memory", rbx=total)
        done = [call for call in step.asked if call[0] in names]
        step.same(
            sorted(map(str, done[:-2])),
            sorted(str((names[0], kind)) for kind in (1, 3, 4)),
            "adds other types",
        )
        step.same([call[0] for call in done[-2:]], list(names[1:]), "does its steps in another order")
        trouble = {"lost": ("unit_note_dec", lost)} if lost else {}
        step.noted(frames=("unit_note_dec", total), regions=("unit_note_dec", 2), **trouble)


@contract(
    "paging_init",
    needs=(
        "page_find_features", "frame_alloc_zeroed", "space_map_image", "space_map_ram", "space_guard_stacks",
        "space_enter", "space_count_ram", "page_root", "frame_used", "page_huge_allowed", *NOTES,
    ),
)  # fmt: skip
def paging_init_alone(harness: Harness) -> None:
    """A root, the image, RAM, the guards, then the switch; whatever fails, nothing is switched."""
    step = Unit(harness, "paging_init")
    parts = ("space_map_image", "space_map_ram", "space_guard_stacks")

    def allocate() -> Mapping[str, int]:
        step.put64("frame_used", 12)
        return {"rax": 0x9000, "cf": 0}

    step.stand("page_find_features", answer={})
    step.stand("frame_alloc_zeroed", answer=allocate)
    for name in parts:
        step.stand(name, answer={"rax": 0, "cf": 0})
    step.stand("space_enter", answer={})
    step.stand("space_count_ram", answer={"rax": 0x123_0000})
    order = ("frame_alloc_zeroed", *parts, "space_enter")
    for huge in (0, 1):
        step.put64("frame_used", 5)
        step.put("page_huge_allowed", bytes((huge,)))
        step.start(OK, "fails though all its steps succeed", rbx=huge)
        step.same(step.steps(*order), list(order), "does its steps in another order")
        step.same(step.get64("page_root"), 0x9000, "keeps another root")
        step.noted(
            root=("unit_note", 0x9000), tables=("unit_note_dec", 7), huge=("unit_note_dec", huge),
            ram_kib=("unit_note_dec", 0x123_0000 >> 10),
        )  # fmt: skip
    for name in order[:-1]:
        step.stand_fails(name, NO_MEMORY)
        step.start(FAIL, "goes on after a step has failed", rbx=order.index(name))
        step.expect(
            not step.steps("space_enter"), step.routine, "switches to an address space that is not whole"
        )
        step.noted(error=("unit_note_dec", NO_MEMORY))
        step.stand_says(name, allocate if name == order[0] else {"rax": 0, "cf": 0})


@contract("acpi_init", needs=("acpi_find_rsdp", "acpi_open_root", "acpi_root", "acpi_count", *NOTES))
def acpi_init_alone(harness: Harness) -> None:
    """The pointer, then the table that it leads to; without either the unit is skipped."""
    step = Unit(harness, "acpi_init")
    step.stand("acpi_find_rsdp", answer={"rax": BUFFER, "cf": 0})
    step.stand("acpi_open_root", "rax", answer={"cf": 0})
    step.put64("acpi_root", harness.direct_base + 0x7FE_1000)
    step.put32("acpi_count", 6)
    step.start(OK, "fails though there is a root table")
    step.expect(("acpi_open_root", BUFFER) in step.asked, step.routine, "opens the root of another pointer")
    step.noted(root=("unit_note", 0x7FE_1000), tables=("unit_note_dec", 6))
    for name in ("acpi_open_root", "acpi_find_rsdp"):
        step.stand_fails(name, NOT_FOUND)
        step.start(SKIP, "goes on without a root table")
        step.same(list(step.notes), [b"reason"], "notes something else")


@contract(
    "pci_init",
    needs=(
        "pci_find_ecam", "pci_scan_bus", "pci_assign", "pci_list", "pci_note_trouble", "pci_count", "pci_placed",
        "pci_failed",
        "pci_lost", "ecam_base", "ecam_bus_first", "ecam_bus_last", *NOTES,
    ),
)  # fmt: skip
def pci_init_alone(harness: Harness) -> None:
    """All buses that can be reached; counts as they are."""
    step = Unit(harness, "pci_init")
    step.put(BUFFER + 0x100, b"way\0")
    step.stand("pci_find_ecam", answer={"rax": BUFFER + 0x100})
    step.stand("pci_scan_bus", "edi", "esi", "edx", "ecx", answer={"rax": 4})
    step.stand("pci_assign", answer={})
    step.stand("pci_list", answer={})
    step.stand(
        "pci_note_trouble", "rdi", "rsi", answer=lambda key, value: step._note("pci_note_trouble", key, value)
    )
    for count, ecam, first, last in ((7, 0, 2, 9), (7, 0xB000_0000, 2, 9), (0, 0, 0, 0)):
        for name, value in (("pci_count", count), ("pci_placed", 3), ("pci_failed", 1), ("pci_lost", 2)):
            step.put32(name, value)
        step.put64("ecam_base", ecam)
        step.put32("ecam_bus_first", first)
        step.put32("ecam_bus_last", last)
        step.start(OK if count else SKIP, "gives another result", rbx=count)
        order = step.steps("pci_find_ecam", "pci_scan_bus", "pci_assign", "pci_list")
        step.same(
            order,
            ["pci_find_ecam", "pci_scan_bus", "pci_assign", "pci_list"],
            "does its steps in another order",
        )
        buses = (first, last) if ecam else (0, 255)
        scan = ("pci_scan_bus", *buses, 0xFFFF_FFFF, 0)
        step.expect(scan in step.asked, step.routine, "scans other buses", first=buses[0], last=buses[1])
        step.noted(
            access=("unit_note_text", b"way"), functions=("unit_note_dec", count), buses=("unit_note_dec", 5),
            assigned=("unit_note_dec", 3), failed=("pci_note_trouble", 1), lost=("pci_note_trouble", 2),
        )  # fmt: skip


@contract(
    "bootinfo_init",
    needs=(
        "multiboot2_read", "pvh_read", "cmdline_append_fw_cfg", "bootinfo_note_counts", "boot_handover_protocol",
        "boot_handover_info", "bootinfo_memory_count", "bootinfo_protocol", *NOTES,
    ),
)  # fmt: skip
def bootinfo_init_alone(harness: Harness) -> None:
    """The reader of the protocol, then fw_cfg's words; what is malformed is noted, no memory is a failure."""
    step = Unit(harness, "bootinfo_init")
    readers = ("multiboot2_read", "pvh_read")
    for name in readers:
        step.stand(name, "rdi")
    step.stand("cmdline_append_fw_cfg", answer={})
    step.stand("bootinfo_note_counts", answer={})
    for protocol, wrong, count in ((1, 0, 3), (2, 0, 3), (1, 0x40, 3), (2, 40, 1), (1, 0, 0)):
        step.put32("boot_handover_protocol", protocol)
        step.put32("boot_handover_info", 0xFFF0_1230)
        step.put64("bootinfo_memory_count", count)
        for name in readers:
            step.stand_says(name, {"rax": wrong, "cf": int(bool(wrong))})
        step.start(
            OK if count else FAIL, "is wrong about whether there is a memory map", rbx=protocol, rcx=wrong
        )
        reads = [call for call in step.asked if call[0] in readers]
        step.same(
            reads, [(readers[protocol - 1], 0xFFF0_1230)], "reads what another loader says", rbx=protocol
        )
        loader = b"pvh" if protocol == 2 else b"multiboot2"
        trouble = {"malformed": ("unit_note", wrong)} if wrong else {}
        step.noted(loader=("unit_note_text", loader), **trouble)
        step.same(step.get64("bootinfo_protocol"), protocol, "keeps another protocol")
        both = step.steps("cmdline_append_fw_cfg", "bootinfo_note_counts")
        step.same(sorted(both), ["bootinfo_note_counts", "cmdline_append_fw_cfg"], "leaves a step out")


@contract(
    "pvh_read",
    needs=("bootinfo_reach", "pvh_read_cmdline", "pvh_read_rsdp", "pvh_read_modules", "pvh_read_memory"),
)
def pvh_read_alone(harness: Harness) -> None:
    """All four parts are read whatever fails; the offset of a field that is malformed is said."""
    step = Step(harness, "pvh_read")
    parts = ("pvh_read_cmdline", "pvh_read_rsdp", "pvh_read_modules", "pvh_read_memory")
    step.stand("bootinfo_reach", "rdi", "rsi", answer={"rax": BUFFER, "cf": 0})
    for name in parts:
        step.stand(name, "rbx")
    for modules, memory, places in ((0, 0, ()), (1, 0, (16,)), (0, 1, (40,)), (1, 1, (16, 40))):
        step.stand_says("pvh_read_modules", {"cf": modules})
        step.stand_says("pvh_read_memory", {"cf": memory})
        result = step.run(
            "is wrong about what is malformed", cf=bool(places), rdi=0x5000, rsi=modules + 2 * memory
        )
        if places:
            step.expect(
                result.registers["rax"] in places,
                step.routine,
                "names another field",
                got=result.registers["rax"],
            )
        read = sorted(call for call in step.asked if call[0] in parts)
        step.same(read, sorted((name, BUFFER) for name in parts), "leaves a part out, or reads it elsewhere")
    step.expect(step.asked[0] == ("bootinfo_reach", 0x5000, 56), step.routine, "makes sure of another piece")
    step.stand_fails("bootinfo_reach", 0)
    step.run("reads what is out of reach", cf=True, rdi=0x5000)
    step.same(len(step.asked), 1, "reads what is out of reach")
