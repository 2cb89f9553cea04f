"""The boot's own steps: the way to configuration space, the mailbox and the picture's units, what follows PXREADY.

PCI Firmware 3.3, 4.1.2 (MCFG: allocations of base, segment, first and last bus from offset 44). What a unit notes is
measured from outside later; here it is held to what the unit did.
"""

from __future__ import annotations

import struct

from architect.contracts import contract
from architect.contracts.acpi import table
from architect.contracts.model import FAIL, OK, SKIP, Session
from architect.contracts.pcihost import ONES, Bar, Function, Host
from architect.contracts.picture import checksum
from architect.contracts.units import said, sent
from toolchain import contract as shared
from toolchain.harness import BUFFER_BASE, Harness

_ECAM, _MCFG = 0xB000_0000, 0x50000
_BUS = 1 << 20
_BAR0, _PAGE = 0xFD00_0000, 0x1000
_MODE = struct.Struct("<QIIII")  # address, pitch, width, height, bits


def _map_as_is(harness: Harness) -> None:
    """Stands in for ``mmio_map``: virtual is physical."""
    harness.set("rax", harness.get("rdi"))
    harness.set_flag("cf", False)


def _allocation(segment: int, *, base: int = _ECAM) -> bytes:
    return struct.pack("<QHBBI", base, segment, 0, 255, 0)


@contract(
    "pci_init", "pci_find_ecam", "pci_try_ecam", "pci_note_trouble",
    needs=("acpi_find", "mmio_map", "ecam_base", "pci_table"),
)  # fmt: skip
def pci_access(harness: Harness) -> None:
    """ECAM where MCFG names it for segment 0 and it agrees with the ports; else the ports."""
    bodies = {
        "none": None,
        "sound": bytes(8) + _allocation(1, base=0) + _allocation(0),
        "other": bytes(8) + _allocation(1),
        "cut": bytes(8) + _allocation(0)[:12],
        "wrong": bytes(8) + _allocation(0),
        "odd": bytes(8) + _allocation(0, base=_ECAM + 0x1000),
    }
    for case, body in bodies.items():
        harness.renew()
        session = Session(harness)
        functions = {0: Function(device=0x29C0, klass=0x060000), 8: Function(device=2, bars={0: Bar(0x1000)})}
        host = Host(harness, functions)
        harness.substitute("mmio_map", _map_as_is)
        if case == "wrong":  # whatever lies there, it is not configuration space
            harness.window(_ECAM, 2 * _BUS, lambda _o, _s: ONES, lambda _o, _s, _v: None)
        else:
            host.ecam(harness, _ECAM, 0, 1)

        def find(machine: Harness, body: bytes | None = body) -> None:
            data = b"" if body is None else table(b"MCFG", body)
            machine.write(machine.direct_base + _MCFG, data.ljust(256, b"\0"))
            machine.set("rax", machine.direct_base + _MCFG)
            machine.set_flag(
                "cf", body is None or machine.get("rdi") & ONES != int.from_bytes(b"MCFG", "little")
            )

        harness.substitute("acpi_find", find)
        result = session.call("pci_init", limit=600_000, rdi=BUFFER_BASE)
        session.equal(result.registers["rax"], OK, "pci_init", "fails on a machine with PCI", case=case)
        notes = said(session, "pci_init")
        access = "ecam" if case == "sound" else "ports"
        session.equal(
            notes.get("access", ""), access, "pci_find_ecam", "takes another way to the bus", case=case
        )
        counts = (notes.get("functions"), notes.get("buses"), notes.get("assigned"))
        session.expect(
            counts == ("2", "1", "1"), "pci_init", "notes other counts", case=case, got=repr(notes)
        )
        trouble = "failed" in notes or "lost" in notes
        session.expect(not trouble, "pci_note_trouble", "notes trouble where none is", case=case)
        session.expect(not host.complaints, "pci_init", "; ".join(host.complaints[:1]), case=case)
    harness.renew()
    session = Session(harness)
    Host(harness, {})
    result = session.call("pci_init", limit=600_000, rdi=BUFFER_BASE)
    session.equal(result.registers["rax"], SKIP, "pci_init", "finds functions where none answer")


@contract("mailbox_init", needs=("gpu_mailbox", "gpu_bar0"))
def mailbox_unit(harness: Harness) -> None:
    """The unit says what the registers say; a page that does not hold what was written is a failure."""
    session = Session(harness)
    memory = bytearray(_PAGE)
    stuck = [False]

    def read(offset: int, size: int) -> int:
        return ONES if stuck[0] else int.from_bytes(memory[offset : offset + size], "little")

    def write(offset: int, size: int, value: int) -> None:
        memory[offset : offset + size] = value.to_bytes(size, "little")

    harness.window(_BAR0, _PAGE, read, write)
    for fails in (False, True):
        stuck[0] = fails
        harness.write_u64(harness.address("gpu_mailbox"), _BAR0)
        harness.write_u64(harness.address("gpu_bar0"), _BAR0)
        result = session.call("mailbox_init", rdi=BUFFER_BASE).registers["rax"]
        session.equal(
            result, FAIL if fails else OK, "mailbox_init", "is wrong about whether the registers hold"
        )
        notes = said(session, "mailbox_init")
        right = notes.get("bar0") == f"{_BAR0:#x}" and ("error" if fails else "status") in notes
        session.expect(right, "mailbox_init", "notes something else", got=repr(notes))
        if not fails:
            session.equal(notes["status"], "0x1", "mailbox_init", "notes another status")


@contract(
    "framebuffer_init", "framebuffer_note_mode", "framebuffer_from_dispi",
    needs=(
        "bootinfo_framebuffer", "framebuffer", "gpu_row", "gpu_bar0", "gpu_bar0_size", "mmio_map", "dispi_find",
        "dispi_set_mode", "picture_draw", "picture_checksum",
    ),
)  # fmt: skip
def picture_unit(harness: Harness) -> None:
    """The loader's framebuffer where there is no other; the device's own mode where its memory is large enough."""
    session = Session(harness)
    harness.memory(_BAR0, _PAGE * 2)
    harness.substitute("mmio_map", _map_as_is)
    small = (_BAR0, 160, 40, 9, 32)
    harness.write(harness.address("bootinfo_framebuffer"), _MODE.pack(*small))
    result = session.call("framebuffer_init", rdi=BUFFER_BASE)
    session.equal(
        result.registers["rax"], OK, "framebuffer_init", "fails though the loader left a framebuffer"
    )
    _noted(session, "loader", small, checksum(small[2], small[3]))
    harness.reset()
    result = session.call("framebuffer_init", rdi=BUFFER_BASE)
    session.equal(result.registers["rax"], SKIP, "framebuffer_init", "finds a framebuffer where none is")
    session.expect(
        "reason" in said(session, "framebuffer_init"), "framebuffer_init", "does not say why it skips"
    )

    def succeeds(machine: Harness) -> None:
        machine.set("rax", 0)
        machine.set_flag("cf", False)

    for routine in ("dispi_find", "dispi_set_mode", "picture_draw"):
        harness.substitute(routine, succeeds)
    harness.substitute("picture_checksum", lambda machine: machine.set("rax", 0x1234))
    needed = 4096 * 769  # the mailbox page, then the picture
    for size in (needed, needed - 1):
        harness.reset()
        harness.write(harness.address("bootinfo_framebuffer"), _MODE.pack(*small))
        for name, value in (("gpu_row", BUFFER_BASE), ("gpu_bar0", _BAR0), ("gpu_bar0_size", size)):
            harness.write_u64(harness.address(name), value)
        result = session.call("framebuffer_init", rdi=BUFFER_BASE)
        if size == needed:
            session.equal(
                result.registers["rax"], OK, "framebuffer_init", "fails though the device has a mode"
            )
            _noted(session, "dispi", (_BAR0 + _PAGE, 4096, 1024, 768, 32), 0x1234)
        else:
            got = said(session, "framebuffer_init").get("source", "")
            promise = "uses a device whose memory is too small"
            session.expect(got != "dispi", "framebuffer_from_dispi", promise, size=size)


def _noted(session: Session, source: str, mode: tuple[int, int, int, int, int], total: int) -> None:
    address, pitch, width, height, bits = mode
    notes = said(session, "framebuffer_note_mode")
    expected = {
        "source": source, "address": f"{address:#x}", "width": str(width), "height": str(height), "pitch": str(pitch),
        "bits": str(bits), "checksum": f"{total:#x}",
    }  # fmt: skip
    session.expect(notes == expected, "framebuffer_note_mode", "notes something else", got=repr(notes))


@contract(
    "boot_main",
    "boot_say_ready",
    needs=("boot_run_units", "ktap_run", "ktap_run_some", "bootinfo_cmdline", "cmdline_length"),
)
def after_ready(harness: Harness) -> None:
    """PXREADY once; then what the command line asks for, with the status that the host expects."""
    session = Session(harness)
    port = shared.constant("DEBUG_EXIT_PORT")
    failed = [0]
    tested: list[bytes] = []

    def run_tests(machine: Harness) -> None:
        tested.append(b"")
        machine.set("rax", failed[0])

    def run_some(machine: Harness) -> None:
        tested.append(machine.read(machine.get("rdi"), min(machine.get("rsi"), 64)))
        machine.set("rax", failed[0])

    harness.substitute("boot_run_units", lambda machine: machine.set("rax", 1))
    harness.substitute("ktap_run", run_tests)
    harness.substitute("ktap_run_some", run_some)
    listened: list[int] = []

    def listen(machine: Harness) -> None:
        listened.append(1)
        machine.stop()  # as the shell, it does not return

    if harness.has("shell_run"):
        harness.substitute("shell_run", listen)
    for line, failures, status, tests in (
        (b"", 0, None, []), (b"exit", 0, "DEBUG_EXIT_SUCCESS", []), (b"test", 0, "DEBUG_EXIT_SUCCESS", [b""]),
        (b"test exit", 3, "DEBUG_EXIT_TESTS_FAILED", [b""]), (b"quiet", 0, None, []),
        (b"a test=pci exit", 0, "DEBUG_EXIT_SUCCESS", [b"pci"]), (b"test=x", 1, "DEBUG_EXIT_TESTS_FAILED", [b"x"]),
    ):  # fmt: skip
        tested.clear()
        listened.clear()
        failed[0] = failures
        harness.write(harness.address("bootinfo_cmdline"), line.ljust(64, b"\0"))
        harness.write_u64(harness.address("cmdline_length"), len(line))
        result = harness.call("boot_main", {}, seed=1)
        text = sent(result.ports).replace(b"\r", b"").split(b"\n")
        ready = [row for row in text if row.startswith(shared.string("READY_PREFIX").encode())]
        stamped = len(ready) == 1 and ready[0].partition(b"tsc=")[2].isdigit()
        session.expect(stamped, "boot_say_ready", "does not say once that it is ready", line=repr(line))
        got = [value for at, _, value in result.ports if at == port]
        wanted = [shared.constant(status)] if status else []
        session.expect(
            got == wanted, "boot_main", "ends with another status, or where it should not", line=repr(line)
        )
        promise = "runs other tests than it was asked for"
        session.equal(repr(tested), repr(tests), "boot_main", promise, line=repr(line))
        if harness.has("shell_run"):
            session.equal(
                bool(listened),
                not wanted,
                "boot_main",
                "does not listen, or listens after an end",
                line=repr(line),
            )
        if listened:
            continue
        session.equal(result.end, "halt", "boot_main", "goes on where nothing is left", line=repr(line))
