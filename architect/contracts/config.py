"""Configuration space: one dword, through the ports or through ECAM, at the place that the specifications name.

PCI Local Bus 3.0, 3.2.2.3.2: address 0x80000000 | bus << 16 | device << 11 | function << 8 | offset at port 0xcf8, data
at 0xcfc. PCI Express 5.0, 7.2.2: base + bus << 20 | device << 15 | function << 12 | offset.
"""

from __future__ import annotations

import random

from architect.contracts import contract
from architect.contracts.model import NO_MEMORY, NOT_FOUND, Session, stand_for_mmio_map
from architect.contracts.pcihost import ADDRESS_PORT, CAPABILITIES, DATA_PORT, ONES, Function, Host
from architect.contracts.tables import UNCACHEABLE
from toolchain.harness import Harness

_ECAM = 0xB000_0000
_BUS = 1 << 20
_FIRST, _LAST = 2, 9


def _bdf(bus: int, device: int, function: int) -> int:
    return bus << 8 | device << 3 | function


def _answer(place: int) -> int:
    """What the device of the tests holds at a place."""
    return place * 0x9E3779B1 & 0x7FFFFFFF


@contract("pci_read32", "pci_write32", "pci_port_read32", "pci_port_write32", "pci_port_select")
def config_ports(harness: Harness) -> None:
    """Every access latches one address and moves one dword."""
    session, noise = Session(harness), random.Random(7)
    absent = _bdf(3, 4, 5)
    latched = [0]

    def port_out(port: int, size: int, value: int) -> None:
        latched[0] = value if (port, size) == (ADDRESS_PORT, 4) else latched[0]

    def port_in(port: int, size: int) -> int:
        gone = (port, size) != (DATA_PORT, 4) or latched[0] >> 8 & 0xFFFF == absent
        return ONES if gone else _answer(latched[0])

    harness.port_in, harness.port_out = port_in, port_out
    for number in range(10):
        bus, device, function = noise.randrange(256), noise.randrange(32), noise.randrange(8)
        bdf, offset = _bdf(bus, device, function), noise.randrange(64) * 4
        place = 1 << 31 | bus << 16 | device << 11 | function << 8 | offset
        reader, writer = (
            ("pci_read32", "pci_write32") if number & 1 else ("pci_port_read32", "pci_port_write32")
        )
        what = {"rdi": bdf, "rsi": offset}
        result = session.call(reader, **what)
        session.equal(result.value("eax"), _answer(place), reader, "reads another place", **what)
        session.expect(not result.flag("cf"), reader, "says that a function is absent that answers", **what)
        result = session.call(writer, **what, rdx=0x1234_5678 + number)
        expected = ((ADDRESS_PORT, 4, place), (DATA_PORT, 4, 0x1234_5678 + number))
        session.expect(result.ports == expected, writer, "writes another place, or in another way", **what)
        session.expect(not result.flag("cf"), writer, "refuses a place that can be written", **what)
    for bdf, offset in ((absent, 0), (0, 2), (0, 0x100), (0x10000, 0)):
        result = session.call("pci_port_read32", rdi=bdf, rsi=offset)
        wrong = result.flag("cf") and result.value("eax") == ONES
        session.expect(wrong, "pci_port_read32", "does not say that nothing answers", rdi=bdf, rsi=offset)
    for bdf, offset in ((0, 2), (0, 0x100), (0x10000, 0)):
        result = session.call("pci_port_write32", rdi=bdf, rsi=offset, rdx=1)
        refused = result.flag("cf") and not any(port == DATA_PORT for port, _, _ in result.ports)
        session.expect(refused, "pci_port_write32", "writes a place that there is not", rdi=bdf, rsi=offset)


@contract(
    "ecam_read32", "ecam_write32", "ecam_address", "ecam_open", "ecam_map_bus", "pci_read32", "pci_write32",
    needs=("mmio_map", "ecam_open", "ecam_map_bus", "ecam_base", "ecam_mapped"),
)  # fmt: skip
def config_ecam(harness: Harness) -> None:
    """Buses are mapped when they are opened, uncacheable; each function has its 4 KB."""
    session, noise = Session(harness), random.Random(8)
    stores: list[tuple[int, int, int]] = []

    def write(offset: int, size: int, value: int) -> None:
        stores.append((offset, size, value))

    harness.window(_ECAM, (_LAST + 2) * _BUS, lambda offset, size: _answer(offset), write)
    mapped = stand_for_mmio_map(harness, lambda physical: physical == _ECAM + 7 * _BUS)
    for wrong in ((_ECAM + 0x1000, 0, 255), (0, 0, 255), (_ECAM, 9, 8), (_ECAM, 0, 256)):
        result = session.call("ecam_open", rdi=wrong[0], rsi=wrong[1], rdx=wrong[2])
        session.expect(result.flag("cf"), "ecam_open", "accepts a window that cannot be", rdi=wrong[0])
    result = session.call("ecam_open", rdi=_ECAM, rsi=_FIRST, rdx=_LAST)
    session.expect(not result.flag("cf"), "ecam_open", "refuses a window", rdi=_ECAM)
    early = session.call("ecam_read32", rdi=_bdf(_FIRST, 0, 0), rsi=0)
    session.expect(early.flag("cf"), "ecam_address", "names a place on a bus that is not mapped")
    for bus in (_FIRST - 1, _LAST + 1, 255):
        result = session.call("ecam_map_bus", rdi=bus)
        session.refused(result, NOT_FOUND, "ecam_map_bus", "a bus outside of the window", rdi=bus)
    for bus in (_FIRST, _LAST, _LAST, 5):
        result = session.call("ecam_map_bus", rdi=bus)
        session.expect(not result.flag("cf"), "ecam_map_bus", "refuses a bus of the window", rdi=bus)
        begin = _ECAM + bus * _BUS
        covered = any(pa <= begin and begin + _BUS <= pa + length for pa, length, _ in mapped)
        session.expect(covered, "ecam_map_bus", "maps other memory than the bus's", rdi=bus)
    for pa, length, kind in mapped:
        inside = pa >= _ECAM + _FIRST * _BUS and pa + length <= _ECAM + (_LAST + 1) * _BUS
        session.expect(inside, "ecam_map_bus", "maps memory outside of the window", pa=pa, length=length)
        session.equal(kind, UNCACHEABLE, "ecam_map_bus", "maps configuration space cacheable")
    _one_by_one(session)
    session.call("ecam_open", rdi=_ECAM, rsi=_FIRST, rdx=_LAST)
    for bus in (_FIRST, 5, _LAST):
        session.call("ecam_map_bus", rdi=bus)
    for number in range(10):
        bus, device, function = noise.choice((_FIRST, 5, _LAST)), noise.randrange(32), noise.randrange(8)
        offset = noise.choice((0, 0xFFC, noise.randrange(1024) * 4))
        what = {"rdi": _bdf(bus, device, function), "rsi": offset}
        place = bus << 20 | device << 15 | function << 12 | offset
        reader, writer = ("pci_read32", "pci_write32") if number & 1 else ("ecam_read32", "ecam_write32")
        result = session.call(reader, **what)
        session.equal(result.value("eax"), _answer(place), "ecam_address", "reads another place", **what)
        session.expect(not result.flag("cf"), reader, "says that a function is absent that answers", **what)
        stores.clear()
        result = session.call(writer, **what, rdx=0x8765_4321 + number)
        session.expect(not result.flag("cf"), writer, "refuses a place that can be written", **what)
        right = stores == [(place, 4, 0x8765_4321 + number)] and not result.ports
        session.expect(right, writer, "writes another place, or in another way", **what)
    for bdf, offset in (
        (_bdf(_LAST + 1, 0, 0), 0),
        (_bdf(5, 0, 0), 2),
        (_bdf(5, 0, 0), 0x1000),
        (0x10000, 0),
    ):
        result = session.call("ecam_read32", rdi=bdf, rsi=offset)
        promise = "names a place that there is not"
        session.expect(result.flag("cf"), "ecam_address", promise, rdi=bdf, rsi=offset)


def _one_by_one(session: Session) -> None:
    """A window that begins in the middle of a large page, in which one bus cannot be mapped."""
    harness = session.harness
    harness.write(harness.address("ecam_mapped"), bytes(32))
    session.call("ecam_open", rdi=_ECAM + _BUS, rsi=0, rdx=6)
    session.call("ecam_map_bus", rdi=4)
    result = session.call("ecam_read32", rdi=_bdf(4, 1, 0), rsi=8)
    place = 5 << 20 | 1 << 15 | 8
    session.equal(result.value("eax"), _answer(place), "ecam_map_bus", "maps other memory than the bus's")
    for bus in (3, 5):
        result = session.call("ecam_read32", rdi=_bdf(bus, 0, 0), rsi=0)
        session.expect(result.flag("cf"), "ecam_map_bus", "takes a bus for mapped that is not", rdi=bus)
    result = session.call("ecam_map_bus", rdi=6)  # for which there is no memory
    session.refused(result, NO_MEMORY, "ecam_map_bus", "a bus that cannot be mapped", rdi=6)
    result = session.call("ecam_read32", rdi=_bdf(6, 0, 0), rsi=0)
    session.expect(result.flag("cf"), "ecam_map_bus", "takes a bus for mapped that is not", rdi=6)
    harness.write(harness.address("ecam_mapped"), bytes(32))


@contract("pci_find_capability")
def capabilities(harness: Harness) -> None:
    """The list behind offset 0x34 is followed, to its end and no further (PCI Local Bus 3.0, 6.7)."""
    session = Session(harness)
    listed = Function(extra={CAPABILITIES: 0x42, 0x40: 0x00_50_05, 0x50: 0xABCD_60_10, 0x60: 0x00_00_11})
    ring = Function(extra={CAPABILITIES: 0x40, 0x40: 0x00_50_05, 0x50: 0x00_40_01})
    broken = Function(extra={CAPABILITIES: 0x40, 0x40: 0x00_20_05, 0x20: 0x00_00_10})
    host = Host(harness, {0: listed, 8: ring, 16: Function(), 24: broken})
    for bdf, number, expected in (
        (0, 0x05, 0x40), (0, 0x10, 0x50), (0, 0x11, 0x60), (0, 0x12, None), (8, 0x01, 0x50), (8, 0x10, None),
        (16, 0x05, None), (24, 0x10, None), (32, 0x10, None),
    ):  # fmt: skip
        result = session.call("pci_find_capability", rdi=bdf, rsi=number)
        found = None if result.flag("cf") else result.value("eax")
        session.expect(found == expected, "pci_find_capability", "finds the wrong place", rdi=bdf, rsi=number)
    session.expect(not host.complaints, "pci_find_capability", "; ".join(host.complaints[:1]))
