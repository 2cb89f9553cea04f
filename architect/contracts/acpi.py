"""ACPI tables: found where the specification says, used only when length and checksum are right.

ACPI 6.5, 5.2.5 (root pointer: in the loader's copy, in the extended BIOS data area, in 0xe0000 to 0xfffff, on 16
bytes), 5.2.6 (header), 5.2.7 (RSDT), 5.2.8 (XSDT). Firmware is not trusted: what is malformed is refused, never
followed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from architect.contracts import contract
from architect.contracts.model import INVALID, MALFORMED, OK, SKIP, Session
from architect.contracts.units import said, sent
from toolchain.harness import BUFFER_BASE, Harness

_EBDA_POINTER, _EBDA = 0x40E, 0x9FC00
_ROM = 0xE0000
_HEADER = 36
_XSDT, _RSDT, _MCFG, _FADT, _SSDT = 0x50000, 0x51000, 0x52000, 0x53000, 0x54000


def _balanced(data: bytes, at: int) -> bytes:
    """The bytes with the one at ``at`` chosen so that all sum to zero."""
    rest = sum(data[:at]) + sum(data[at + 1 :])
    return data[:at] + bytes((-rest & 0xFF,)) + data[at + 1 :]


def table(signature: bytes, body: bytes = b"", *, length: int | None = None) -> bytes:
    """A whole table with its header; ``length`` is what its header says, when that is to be wrong.

    As many bytes as the header says sum to zero.
    """
    size = _HEADER + len(body)
    told = size if length is None else length
    head = signature + struct.pack("<IBB6s8sI4sI", told, 1, 0, b"PXTEST", b"CONTRACT", 1, b"TEST", 1)
    counted = told if 9 < told < size else size
    return _balanced((head + body)[:counted], 9) + (head + body)[counted:]


def root_pointer(rsdt: int, xsdt: int, *, revision: int = 2) -> bytes:
    """A root pointer; revision 0 has 20 bytes, later ones 36."""
    first = _balanced(b"RSD PTR " + struct.pack("<B6sBI", 0, b"PXTEST", revision, rsdt), 8)
    return first if revision < 2 else _balanced(first + struct.pack("<IQB3x", 36, xsdt, 0), 32)


def roots(*tables: int) -> tuple[bytes, bytes]:
    """An RSDT and an XSDT that name the same tables."""
    rsdt = table(b"RSDT", b"".join(struct.pack("<I", t & 0xFFFFFFFF) for t in tables))
    return rsdt, table(b"XSDT", b"".join(struct.pack("<Q", t) for t in tables))


class _Firmware(Session):
    """Memory with a set of sound tables; each case spoils some of it."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.said = ""
        harness.substitute("page_cover", self._cover)
        self.fresh()

    def fresh(self) -> None:
        """Sound tables: an XSDT and an RSDT naming FADT, two SSDTs and MCFG, and the loader's root pointer."""
        harness = self.harness
        harness.reset()
        rsdt, xsdt = roots(_FADT, _SSDT, _MCFG, _SSDT + 0x100)
        self.put(_RSDT, rsdt)
        self.put(_XSDT, xsdt)
        self.put(_MCFG, table(b"MCFG", bytes(24)))
        self.put(_FADT, table(b"FACP", bytes(200)))
        self.put(_SSDT, table(b"SSDT", b"first"))
        self.put(_SSDT + 0x100, table(b"SSDT", b"second"))
        self.loader(root_pointer(_RSDT, _XSDT))

    def _cover(self, harness: Harness) -> None:
        """Stands in for ``page_cover``: RAM can be read, nothing else is there."""
        address, length = harness.get("rdi"), harness.get("rsi")
        outside = not length or address + length > harness.ram
        harness.set("rax", 1 if outside else harness.direct_base + address)
        harness.set_flag("cf", outside)

    def put(self, address: int, data: bytes) -> None:
        """Bytes at a physical address."""
        self.harness.write(self.harness.direct_base + address, data)

    def loader(self, pointer: bytes) -> None:
        """What the loader handed over; nothing when empty."""
        self.harness.write(self.harness.address("bootinfo_rsdp"), pointer.ljust(36, b"\0"))
        self.harness.write_u64(self.harness.address("bootinfo_rsdp_length"), len(pointer))

    def start(self, expected: int, promise: str) -> None:
        """Run the boot unit."""
        result = self.call("acpi_init", rdi=BUFFER_BASE).registers["rax"]
        self.equal(result, expected, "acpi_init", promise)

    def find(self, signature: bytes, expected: int | None, promise: str, *, skip: int = 0) -> None:
        """Look a table up."""
        number = int.from_bytes(signature, "little")
        result = self.call("acpi_find", rdi=number, rsi=skip)
        found = None if result.flag("cf") else result.registers["rax"] - self.harness.direct_base
        evidence = {"rdi": number, "rsi": skip}
        self.expect(found == expected, "acpi_find", promise, **evidence, got=-1 if found is None else found)
        self.said = sent(result.ports).decode("latin-1")


@contract(
    "acpi_find",
    "acpi_entry",
    "acpi_map_table",
    "acpi_sum",
    "acpi_open_root",
    needs=("acpi_init", "page_cover"),
)
def acpi_tables(harness: Harness) -> None:
    """Sound tables are found, in the order of the root table; malformed ones are refused."""
    firmware = _Firmware(harness)
    for revision in (2, 0):
        firmware.fresh()
        firmware.loader(root_pointer(_RSDT, _XSDT, revision=revision))
        # Each root table alone leads on: the other one is spoilt.
        firmware.put(_RSDT if revision else _XSDT, bytes(4))
        firmware.start(OK, "does not find the tables")
        notes = said(firmware, "acpi_init")
        root = f"{_XSDT if revision else _RSDT:#x}"
        right = notes.get("root") == root and notes.get("tables") == "4"
        firmware.expect(right, "acpi_init", "notes another root table, or another count", got=repr(notes))
        for signature, skip, place in (
            (b"MCFG", 0, _MCFG), (b"FACP", 0, _FADT), (b"SSDT", 0, _SSDT), (b"SSDT", 1, _SSDT + 0x100),
            (b"SSDT", 2, None), (b"HPET", 0, None),
        ):  # fmt: skip
            firmware.find(signature, place, "finds another table, or none", skip=skip)
    sound = table(b"MCFG", bytes(24))
    spoilt: tuple[tuple[str, Callable[[], None]], ...] = (
        ("uses a table with a wrong checksum", lambda: firmware.put(_MCFG + 40, b"\1")),
        ("uses a table shorter than its header", lambda: firmware.put(_MCFG, table(b"MCFG", length=20))),
        (
            "uses a table without a length",
            lambda: firmware.put(_MCFG, _balanced(sound[:4] + bytes(4) + sound[8:], 9)),
        ),
        (
            "uses a table that ends outside of memory",
            lambda: firmware.put(_MCFG, table(b"MCFG", length=0xFFFFFFF0)),
        ),
    )
    for promise, spoil in spoilt:
        firmware.fresh()
        spoil()
        firmware.start(OK, "does not find the tables")
        firmware.find(b"MCFG", None, promise)
        told = f"{_MCFG:#x}" in firmware.said
        firmware.expect(
            told, "acpi_map_table", "does not say which table it refuses", got=repr(firmware.said)
        )
        firmware.find(b"SSDT", _SSDT, "finds another table, or none")
        result = firmware.call("acpi_map_table", rdi=_MCFG)
        right = result.flag("cf") and result.registers["rax"] in (MALFORMED, INVALID)
        firmware.expect(right, "acpi_map_table", "gives another reason to refuse a table")
    firmware.fresh()
    # A root table that names itself, the other one, itself again, and what is no memory: it ends, and goes on.
    _, xsdt = roots(_XSDT, _RSDT, 0xFFFF_F000_0000, 0, harness.ram - 8, _MCFG)
    firmware.put(_XSDT, xsdt)
    firmware.start(OK, "does not find the tables")
    firmware.find(b"MCFG", _MCFG, "does not get past an entry that leads nowhere")
    firmware.find(b"XSDT", _XSDT, "does not end where the tables go round")


@contract(
    "acpi_init", "acpi_find_rsdp", "acpi_search", "acpi_check_rsdp", "acpi_open_root", needs=("page_cover",)
)
def acpi_root(harness: Harness) -> None:
    """The root pointer, from the loader or from the BIOS's memory, and the root table that it names."""
    firmware = _Firmware(harness)
    pointer = root_pointer(_RSDT, _XSDT)
    old = root_pointer(_RSDT, 0, revision=0)
    for place in (_EBDA, _EBDA + 0x3D0, _ROM, _ROM + 0x1FFD0):
        firmware.fresh()
        firmware.loader(b"")
        firmware.put(_EBDA_POINTER, struct.pack("<H", _EBDA >> 4))
        firmware.put(place, pointer)
        firmware.start(OK, "does not find the root pointer in the BIOS's memory")
    firmware.fresh()
    firmware.loader(b"")
    firmware.put(_ROM + 0x108, pointer)
    firmware.start(SKIP, "takes a root pointer that is not on 16 bytes")
    lopsided = pointer[:10] + b"?" + pointer[11:]
    _, xsdt = roots(_MCFG)
    for promise, loader, spoil in (
        ("takes a root pointer with a wrong checksum", pointer[:10] + b"?" + pointer[11:], None),
        ("takes a root pointer with a wrong checksum", old[:10] + b"?" + old[11:], None),
        ("takes a root pointer with a wrong checksum of its first part", _balanced(lopsided, 33), None),
        ("takes a root pointer with a wrong extended checksum", pointer[:33] + b"\1" + pointer[34:], None),
        ("takes a root pointer with another signature", _balanced(b"RSD PTR_" + old[8:], 8), None),
        ("takes a root table with a wrong checksum", old, (_RSDT + 12, b"?")),
        ("takes a root table of another kind", old, (_RSDT, table(b"XSDT"))),
        ("takes a root table shorter than its header", old, (_RSDT, table(b"RSDT", length=35))),
        ("takes a root table that is not there", root_pointer(0xFFFF_0000, 0, revision=0), None),
        ("finds tables where there are none", b"", None),
    ):
        firmware.fresh()
        firmware.loader(loader)
        if spoil:
            firmware.put(*spoil)
        firmware.start(SKIP, promise)
        firmware.expect("reason" in said(firmware, "acpi_init"), "acpi_init", "does not say why it skips")
        firmware.find(b"MCFG", None, "finds tables though there is no root")
    firmware.fresh()
    firmware.put(_XSDT, xsdt)
    firmware.put(_RSDT, table(b"RSDT"))
    firmware.start(OK, "does not find the tables")
    firmware.find(b"MCFG", _MCFG, "prefers the RSDT to the XSDT")
    firmware.put(_XSDT, b"spoilt")
    firmware.put(_RSDT, roots(_FADT)[0])
    firmware.start(OK, "does not fall back to the RSDT")
    firmware.find(b"FACP", _FADT, "does not fall back to the RSDT")
