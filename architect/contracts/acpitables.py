r"""MADT, FADT and the package \_S5_, against models in Python that read the same bytes.

ACPI 6.5, 5.2.12 (MADT and its entries), 5.2.9 (FADT), 5.2.3.2 (generic address), 7.4.2.6 and 20.2 (\_S5_ in AML).
Tables come sound, with fields cut off, and with entries that lie about their length: those are refused, never followed.
"""

from __future__ import annotations

import random
import struct
from typing import NamedTuple

from architect.contracts import contract
from architect.contracts.acpi import table
from architect.contracts.steps import BUFFER, Step
from toolchain.harness import Harness

_CPUS_MAX, _IOAPICS_MAX, _ISA_LINES = 64, 8, 16
_FIXED = 44  # header, address, flags
_SIZES = {0: 8, 1: 12, 2: 10, 4: 6, 5: 12, 9: 16}  # table 5.20 and the sections behind it
_KNOWN_MAX = 9
_RANDOM_TABLES, _RANDOM_AML = 60, 60
_IO = 1


class _Madt(NamedTuple):
    """What a MADT says, as the kernel keeps it."""

    base: int
    flags: int
    cpus: tuple[int, ...]
    disabled: int
    lost: int
    ioapics: tuple[tuple[int, int, int], ...]
    lines: tuple[tuple[int, int], ...]


def _entries(data: bytes) -> list[bytes] | int:
    """The entries of a table, or the offset of the first that does not fit."""
    at, found = _FIXED, []
    while at < len(data):
        size = data[at + 1] if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data) or size < _SIZES.get(data[at], 0):
            return at
        found.append(data[at : at + size])
        at += size
    return found


def _meaning(data: bytes) -> _Madt:
    """A sound table, read by the specification."""
    base, flags = struct.unpack_from("<II", data, 36)
    cpus: list[int] = []
    ioapics: list[tuple[int, int, int]] = []
    lines = [(number, 0) for number in range(_ISA_LINES)]
    disabled = lost = 0
    entries = _entries(data)
    assert isinstance(entries, list)
    for entry in entries:
        kind = entry[0]
        if kind in (0, 9):
            number = entry[3] if kind == 0 else struct.unpack_from("<I", entry, 4)[0]
            enabled = struct.unpack_from("<I", entry, 4 if kind == 0 else 8)[0] & 1
            if kind == 0 and number == 0xFF:
                continue
            if not enabled:
                disabled += 1
            elif number in cpus:
                continue
            elif len(cpus) == _CPUS_MAX:
                lost += 1
            else:
                cpus.append(number)
        elif kind == 1 and len(ioapics) < _IOAPICS_MAX:
            ioapics.append((*struct.unpack_from("<II", entry, 4), 0))
        elif kind == 2 and entry[2] == 0 and entry[3] < _ISA_LINES:
            lines[entry[3]] = struct.unpack_from("<IH", entry, 4)
        elif kind == 5:
            base = struct.unpack_from("<Q", entry, 4)[0]
    return _Madt(base, flags, tuple(cpus), disabled, lost, tuple(ioapics), tuple(lines))


def _entry(noise: random.Random) -> bytes:
    kind = noise.choice((0, 0, 0, 0, 1, 2, 2, 4, 5, 9, 9, 10, 0x80))
    flags = noise.choice((0, 1, 1, 1, 3))
    if kind == 0:
        body = struct.pack("<BBI", noise.randrange(256), noise.choice((0, 1, 2, 3, 0xFF)), flags)
    elif kind == 1:
        body = struct.pack("<BxII", noise.randrange(256), noise.getrandbits(32), noise.getrandbits(8))
    elif kind == 2:
        irq = noise.choice((0, 1, 9, 15, 16, 255))
        body = struct.pack("<BBIH", noise.choice((0, 0, 1)), irq, noise.getrandbits(32), noise.getrandbits(4))
    elif kind == 9:
        body = struct.pack("<xxIII", noise.choice((2, 3, 300, 0xFF, 2**32 - 2)), flags, 0)
    else:
        body = noise.randbytes(_SIZES.get(kind, 6) - 2 + noise.randrange(3))
    return bytes((kind, len(body) + 2)) + body


def _tables() -> list[bytes]:
    """The bodies of MADTs behind the header: made by hand, then by chance, some of them spoilt."""
    start = struct.pack("<II", 0xFEE0_0000, 1)
    many = b"".join(struct.pack("<BBxxIII", 9, 16, number, 1, 0) for number in range(_CPUS_MAX + 3))
    buses = b"".join(struct.pack("<BBBxII", 1, 12, n, 0xFEC0_0000 + (n << 12), 24 * n) for n in range(10))
    found = [start, start + many, start + buses]
    for spoilt in (b"\0", b"\0\0", b"\0\7" + bytes(5), b"\1\x0b" + bytes(9), b"\0\x09" + bytes(6),
                   b"\x80\1", b"\2\x09" + bytes(7), b"\x09\x0f" + bytes(13), b"\xff\0" + bytes(60)):  # fmt: skip
        found += [start + spoilt, start + b"\0\x08" + bytes(6) + spoilt]
    for seed in range(_RANDOM_TABLES):
        noise = random.Random(f"madt/{seed}")
        body = b"".join(_entry(noise) for _ in range(noise.randrange(1, 12)))
        if seed % 3 == 0:
            body = body[: noise.randrange(len(body))]
        found.append(start + body)
    return found


@contract("madt_check", "madt_read", "madt_read_entry", "madt_add_cpu", "madt_clear", needs=("madt_cpu_ids",))
def madt_tables(harness: Harness) -> None:
    """Every table that holds is read as the specification says; of the others the first bad entry is named."""
    step = Step(harness, "madt_check")
    for number, body in enumerate(_tables()):
        data = table(b"APIC", body)
        step.put(BUFFER, data + b"\1\1\1\1" * 4)
        right = _entries(data)
        step.routine = "madt_check"
        if isinstance(right, int):
            promise = "is wrong about whether a table holds, or about the entry that does not"
            step.run(promise, cf=1, want={"rax": right}, rdi=BUFFER, rbx=number)
            continue
        step.run("refuses a table that holds", cf=0, rdi=BUFFER, rbx=number)
        step.routine = "madt_read"
        step.run("fails", rdi=BUFFER, r8=number)
        step.same(_kept(step), _meaning(data), "keeps something else than the table says", number=number)


def _kept(step: Step) -> _Madt:
    count, ioapics = min(step.get32("madt_cpu_count"), 256), min(step.get32("madt_ioapic_count"), 64)
    ids = step.read(step.at("madt_cpu_ids"), 4 * count, step.routine)
    rows = step.read(step.at("madt_ioapics"), 16 * ioapics, step.routine)
    lines = step.read(step.at("madt_overrides"), 8 * _ISA_LINES, step.routine)
    return _Madt(
        step.get64("madt_lapic_base"),
        step.get32("madt_flags"),
        struct.unpack(f"<{count}I", ids),
        step.get32("madt_cpu_disabled"),
        step.get32("madt_cpu_lost"),
        tuple(struct.iter_unpack("<QII", rows)),
        tuple(struct.iter_unpack("<II", lines)),
    )


class _Power(NamedTuple):
    """What a FADT says, as the kernel keeps it."""

    smi: int
    enable: int
    pm1a: int
    pm1b: int
    reset: int


_FIELDS = {"smi": (48, "I"), "enable": (52, "B"), "pm1a": (64, "I"), "pm1b": (68, "I"), "flags": (112, "I"),
           "reset_space": (116, "B"), "reset": (120, "Q"), "value": (128, "B"), "xa_space": (172, "B"),
           "xa": (176, "Q"), "xb_space": (184, "B"), "xb": (188, "Q")}  # fmt: skip
_RESET_THERE = 1 << 10


def _fadt(size: int, **fields: int) -> bytes:
    body = bytearray(300)
    for name, value in fields.items():
        at, form = _FIELDS[name]
        struct.pack_into("<" + form, body, at, value)
    return table(b"FACP", bytes(body[36:size]))


@contract("fadt_read", "fadt_port", "fadt_extended_port", needs=("power_pm1a", "power_reset"))
def fadt_fields(harness: Harness) -> None:
    """Ports are ports; later fields count where the table reaches them, the reset register with its flag."""
    step = Step(harness, "fadt_read")
    usual = {"smi": 0xB2, "enable": 2, "pm1a": 0x604, "pm1b": 0x704}
    later = {**usual, "xa_space": _IO, "xa": 0x1804, "xb_space": _IO, "xb": 0x1904}
    with_reset = {**usual, "flags": _RESET_THERE, "reset_space": _IO, "reset": 0xCF9, "value": 6}
    for number, (size, given, want) in enumerate((
        (116, usual, _Power(0xB2, 2, 0x604, 0x704, 0)),
        (116, with_reset, _Power(0xB2, 2, 0x604, 0x704, 0)),
        (128, with_reset, _Power(0xB2, 2, 0x604, 0x704, 0)),
        (129, with_reset, _Power(0xB2, 2, 0x604, 0x704, 0xCF9)),
        (244, {**with_reset, "flags": 0}, _Power(0xB2, 2, 0x604, 0x704, 0)),
        (195, later, _Power(0xB2, 2, 0x604, 0x704, 0)),
        (196, later, _Power(0xB2, 2, 0x1804, 0x1904, 0)),
        (244, {**later, "xa_space": 0, "xb": 0x10000}, _Power(0xB2, 2, 0x604, 0x704, 0)),
        (244, {**later, "xa": 0, "xb": 0}, _Power(0xB2, 2, 0x604, 0x704, 0)),
        (244, {**usual, "pm1a": 0x10000, "smi": 2**32 - 1}, _Power(0, 2, 0, 0x704, 0)),
        (276, {**with_reset, "reset_space": 0, "reset": 0xFED0_0000}, _Power(0xB2, 2, 0x604, 0x704, 0xFED0_0000)),
    )):  # fmt: skip
        step.put(BUFFER, _fadt(size, **given) + b"\xff" * 200)
        step.run("refuses a table that holds", cf=0, rdi=BUFFER, rbx=number)
        enable = step.read(step.at("power_smi_enable"), 1, step.routine)[0]
        ports = (step.get32("power_smi_command"), enable, step.get32("power_pm1a"), step.get32("power_pm1b"))
        kept = _Power(*ports, struct.unpack_from("<Q", _raw(step), 4)[0])
        step.same(kept, want, "keeps something else than the table says", number=number, size=size)
        if want.reset:
            space = _raw(step)[0], step.read(step.at("power_reset_value"), 1, step.routine)[0]
            right = given["reset_space"], given["value"]
            step.same(space, right, "keeps another reset register", number=number)
    step.put(BUFFER, _fadt(115, **usual))
    step.run("takes a table that is too short to be one", cf=1, rdi=BUFFER)


def _raw(step: Step) -> bytes:
    return step.read(step.at("power_reset"), 12, step.routine)


def _small(data: bytes) -> tuple[int, bytes] | None:
    """An integer up to 7 at the start of AML, and what follows."""
    if data[:1] in (b"\0", b"\1"):
        return data[0], data[1:]
    size = {b"\x0a": 1, b"\x0b": 2}.get(data[:1], 0)
    if not size or len(data) < 1 + size:
        return None
    value = int.from_bytes(data[1 : 1 + size], "little")
    return (value, data[1 + size :]) if value <= 7 else None


def _sleep_types(aml: bytes) -> int | None:
    """The first well-formed package ``_S5_`` in AML."""
    at = -1
    while (at := aml.find(b"_S5_", at + 1)) >= 0:
        rest = aml[at + 4 :]
        if len(rest) < 3 or rest[0] != 0x12:
            continue
        rest = rest[2 + (rest[1] >> 6) :]
        first = _small(rest[1:]) if rest and rest[0] >= 2 else None
        second = _small(first[1]) if first else None
        if first and second:
            return first[0] | second[0] << 8
    return None


@contract("aml_find_s5", "aml_read_s5", "aml_read_small")
def sleep_packages(harness: Harness) -> None:
    """The first well-formed package, wherever it lies; one that is cut off or says nonsense is passed over."""
    step = Step(harness, "aml_find_s5")
    good = b"\x08_S5_\x12\x08\x04\x0a\x05\x0a\x05\0\0"
    cases = [
        b"", b"_S5", b"_S5_", good, good[1:], b"\x08\\" + good[1:], b"x" * 7 + good, b"_S" + good, b"__S5" + good,
        b"_S5__S5_" + good[5:], b"_S5_\x12\x06\x04\0\0\0\0", b"_S5_\x12\x06\x02\1\0", b"_S5_\x12\x06\x01\1\0",
        b"_S5_\x12\x48\0\x04\x0a\x03\x0b\x02\0", b"_S5_\x12\xc8\0\0\0\x04\1\1", b"_S5_\x13\x06\x02\1\0",
        b"_S5_\x12\x06\x02\x0a\x08\0" + good, b"_S5_\x12\x06\x02\x0b\x05\1\0", b"_S5_\x12\x06\x02\x0c\0\0\0\0\0",
        b"_S4_\x12\x06\x02\1\0", b"_S5_\x12\x06\x02\1\x0b\x05", b"_S5_\x12\xff", b"_S5_\x12\x06\x02\x0a",
    ]  # fmt: skip
    cases += [good[:size] for size in range(len(good))]
    for seed in range(_RANDOM_AML):
        noise = random.Random(f"aml/{seed}")
        words = (
            b"_S5_",
            b"\x12",
            b"\x06",
            b"\x04",
            b"\x0a\x05",
            b"\1",
            b"\0",
            b"_",
            b"S5",
            b"\x0b\7\0",
            b"\x85",
        )
        cases.append(b"".join(noise.choices(words, k=noise.randrange(4, 40))))
        cases.append(noise.randbytes(noise.randrange(8)) + good + b"tail")
    for number, aml in enumerate(cases):
        # It ends where the page does: who reads on, reads what is not there.
        place = BUFFER + 0x1_0000 - len(aml)
        step.put(place, aml)
        types = _sleep_types(aml)
        want = {} if types is None else {"eax": types}
        step.run(
            "finds other sleep types, or none",
            cf=types is None,
            want=want,
            rdi=place,
            rsi=len(aml),
            rbx=number,
        )


@contract("acpi_power_off", "power_sleep", "power_enter_acpi", "power_wait", needs=("power_sleep_types",))
def power_off(harness: Harness) -> None:
    """ACPI mode first where that has to be asked for, then type and enable bit in each block, other bits kept."""
    step = Step(harness, "acpi_power_off")
    registers: dict[int, int] = {}
    harness.port_in = lambda port, size: registers.get(port, 0)
    step.stand("power_wait", answer={})
    step.put32("power_sleep_types", -1)
    step.run("tries to switch off though it does not know how", cf=1, want={"rax": 9})
    for types, pm1a, pm1b, old, smi in (
        (0x0705, 0x604, 0, 1, 0xB2), (0x0305, 0x604, 0x704, 0x201, 0), (0, 0x1804, 0, 0, 0xB2), (5, 0xB004, 0, 0, 0),
        (0x0205, 0x604, 0x704, 0x3FFF, 0xB2),
    ):  # fmt: skip
        registers.update({pm1a: old, pm1b: old})
        step.put32("power_sleep_types", types)
        for name, value in (("power_pm1a", pm1a), ("power_pm1b", pm1b), ("power_smi_command", smi)):
            step.put32(name, value)
        step.put("power_smi_enable", b"\xa0")
        result = harness.call("acpi_power_off", {}, seed=types, limit=1_500_000)
        step.expect(result.end == "returned", step.routine, "waits for ever", types=types)
        kept = old & ~0x3C00
        want = [(smi, 1, 0xA0)] if smi and not old & 1 else []
        blocks = ((pm1b, types >> 8 & 7), (pm1a, types & 7)) if pm1b else ((pm1a, types & 7),)
        want += [(port, 2, kept | 1 << 13 | kind << 10) for port, kind in blocks]
        step.same(list(result.ports), want, "writes other registers, or in another order", types=types)
        timed_out = result.flag("cf") and result.registers["rax"] == 8
        step.expect(timed_out, step.routine, "does not say that the machine did not obey", types=types)


@contract("acpi_reboot", "power_reset_by_register", needs=("power_reset", "power_wait"))
def reboot_order(harness: Harness) -> None:
    """The FADT's register, the chipset, the keyboard controller, and a fault that nothing can deliver."""
    step = Step(harness, "acpi_reboot")
    step.stand("power_wait", answer={})
    busy = {"status": 0}
    harness.port_in = lambda port, size: busy["status"]
    for space, address, busy["status"] in (
        (_IO, 0xCF9, 0), (_IO, 0x64, 2), (_IO, 0x1_0000, 0), (3, 0x500, 0), (0, 0, 0),
    ):  # fmt: skip
        step.put("power_reset", struct.pack("<BBBBQ", space, 8, 0, 1, address))
        step.put("power_reset_value", b"\x0f")
        result = harness.call("acpi_reboot", {}, seed=address, limit=400_000)
        ended = result.end in ("interrupt", "fault")
        step.expect(ended, step.routine, "does not come to its last way", address=address, got=result.end)
        first = [(address, 1, 0x0F)] if space == _IO and 0 < address <= 0xFFFF else []
        want = [*first, (0xCF9, 1, 2), (0xCF9, 1, 6), (0x64, 1, 0xFE)]
        step.same(list(result.ports), want, "tries other ways, or in another order", address=address)
        step.expect(harness.table("idtr")[2] < 32 * 16, step.routine, "leaves the last way a handler")
