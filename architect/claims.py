"""What the host measures of a kernel that says it is ready: devices, BAR0's page walk, the mailbox, the pixels.

Owns the checks on the snapshot that is taken at PXREADY, each against what QEMU itself knows of the machine. Nothing
here believes the guest: a candidate that skips the work and says it was done fails.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from toolchain import boot_log, snapshot, walk
from toolchain.types import BootResult, PciBar, Screen, Snapshot, Unit, Walk

# What the reference machine (q35 with a standard VGA) has: a boot unit of this name has no reason to skip there.
DEVICES: Mapping[str, str] = {
    "lapic": "a local APIC",
    "acpi": "ACPI tables",
    "madt": "an MADT",
    "ioapic": "an I/O APIC",
    "serial-input": "a serial line with an interrupt",
    "power": "an FADT",
    "clock": "an HPET",
    "timer": "a timer in its local APIC",
    "sched": "a timer in its local APIC",
    "pci": "a PCI Express bus",
    "gpu": "a display controller",
    "mailbox": "a display controller",
    "framebuffer": "a display controller",
}
# What such a unit says of its work there: a repair that falls back to less is none. q35's ACPI tables name the ECAM.
NOTES: Mapping[str, Mapping[str, str]] = {"pci": {"access": "ecam"}}
# The boot picture (kernel/include/picture.inc): bars over two thirds of the height, then a ramp of greys.
BARS = (0xFFFFFF, 0xFFFF00, 0x00FFFF, 0x00FF00, 0xFF00FF, 0xFF0000, 0x0000FF, 0x000000)
GREYS = tuple(0x010101 * level for level in range(256))
# The mailbox in its first state (kernel/include/gpu.inc): register -> offset, value. Judged by these numbers and not
# by the tree's own constants, which may be what is broken.
MAILBOX: Mapping[str, tuple[int, int]] = {
    "CMD": (0x0, 0),
    "STATUS": (0x4, 1),
    "RESP": (0x8, 0),
    "DOORBELL": (0xC, 0),
}
DWORD = 4
_PCI = re.compile(r"^pci ([0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) ([0-9a-f]{4}:[0-9a-f]{4}) (.*)$", re.MULTILINE)
_BAR = re.compile(r"\bbar([0-5])=0x([0-9a-f]{1,16})\+0x([0-9a-f]{1,16})\b")


def problem(result: BootResult, units: Collection[str]) -> str | None:
    """What the kernel claims and the machine denies, or None when every claim that can be checked holds.

    Args:
        result: a boot of the reference machine with ``inspect_ready``.
        units: the boot units that the original tree declares: it claims nothing of what it has no unit for.
    """
    seen = result.snapshot
    if result.outcome != "ready" or seen is None:
        return f"no look at the machine at PXREADY: the boot ended as {result.outcome}"
    said = {unit.name: unit for unit in result.units}
    for name in units:
        if name in DEVICES and (name not in said or said[name].state != "ok"):
            return f"the machine has {DEVICES[name]}, yet the boot unit {name} did not come to ok"
    found = _notes(said) or _functions(result.serial, said, seen.bars)
    if found is not None:
        return found
    bar = snapshot.display_bar(seen.bars)
    if bar is None or "gpu" not in units:
        return None
    if bar.address is None:
        return f"the display controller {bar.slot} is there, and its BAR0 was left unassigned"
    found = _claimed(said, bar) or _mapping(bar, bar0_walk(seen, bar.address))
    if found is None and "mailbox" in units:
        found = _mailbox(seen, bar.address)
    if found is None and "framebuffer" in units:
        found = _picture(seen.screen)
    return found


def bar0_walk(seen: Snapshot, address: int) -> Walk:
    """The walk of a write to ``address``, done by the host on the tables that the snapshot holds."""
    cr3, cr0, cr4, efer = (seen.registers.get(name, 0) for name in ("cr3", "cr0", "cr4", "efer"))
    return walk.translate(address, walk.Paging(cr3, cr0, cr4, efer, access="write"), walk.reader(seen.memory))


def picture(width: int, height: int) -> bytes:
    """The pixels of the boot picture, rows of RGB."""
    bars = 2 * height // 3
    return _row(BARS, width) * bars + _row(GREYS, width) * (height - bars)


def _row(steps: tuple[int, ...], width: int) -> bytes:
    return b"".join(steps[x * len(steps) // width].to_bytes(3, "big") for x in range(width))


def _notes(said: Mapping[str, Unit]) -> str | None:
    for name, notes in NOTES.items():
        for key, wanted in notes.items():
            told = said[name].values.get(key, wanted) if name in said else wanted
            if told != wanted:
                return f"the boot unit {name} says {key}={told}; this machine has {wanted}"
    return None


def _functions(serial: str, said: Mapping[str, Unit], bars: Collection[PciBar]) -> str | None:
    """The PCI functions that the kernel tells of, against those that have BARs."""
    slots = {bar.slot: f"{bar.vendor:04x}:{bar.device:04x}" for bar in bars}
    count = boot_log.number(said["pci"].values.get("functions", "")) if "pci" in said else None
    if count is not None and count < len(slots):
        return f"the kernel found {count} PCI functions; {len(slots)} have BARs: {', '.join(sorted(slots))}"
    for slot, identity, rest in _PCI.findall(serial):
        if slots.get(slot, identity) != identity:
            return f"the kernel says that PCI function {slot} is {identity}; it is {slots[slot]}"
        told = {int(n): (int(base, 16), int(size, 16)) for n, base, size in _BAR.findall(rest)}
        for bar in (b for b in bars if b.slot == slot and b.bar in told):
            base, size = told[bar.bar]
            if size != bar.size or bar.address not in (None, base):
                where = f"{bar.address:#x}" if bar.address is not None else "no address"
                return f"the kernel says BAR{bar.bar} of {slot} is {base:#x}+{size:#x}; it is {where}+{bar.size:#x}"
    return None


def _claimed(said: Mapping[str, Unit], bar: PciBar) -> str | None:
    told = [unit.values["bar0"] for unit in said.values() if "bar0" in unit.values]
    wrong = [text for text in told if boot_log.number(text) != bar.address]
    return f"the kernel says that BAR0 is at {wrong[0]}; it is at {bar.address:#x}" if wrong else None


def _mapping(bar: PciBar, found: Walk) -> str | None:
    where = f"BAR0 at {bar.address:#x}"
    if not found.mapped or found.ends_at is not None:
        return f"{where} cannot be written: {found.reason}"
    if found.physical != bar.address:
        return f"{where} is mapped to {found.physical:#x}"
    leaf = found.levels[-1].flags
    if "pcd" not in leaf:
        return f"{where} is mapped cacheable ({' '.join(leaf)}); device registers are not memory"
    if not any("nx" in level.flags for level in found.levels):
        return f"{where} is mapped executable"
    return None


def _mailbox(seen: Snapshot, base: int) -> str | None:
    read = walk.reader(seen.memory)
    for name, (offset, wanted) in MAILBOX.items():
        data = read(base + offset, DWORD)
        there = int.from_bytes(data, "little") if data is not None else None
        if there != wanted:
            shown = "was not read" if there is None else f"holds {there:#x}"
            return f"the mailbox register {name} at {base + offset:#x} {shown}; expected {wanted:#x}"
    return None


def _picture(screen: Screen | None) -> str | None:
    if screen is None:
        return "the display shows nothing that could be read"
    wanted = picture(screen.width, screen.height)
    if screen.pixels == wanted:
        return None
    first = next(n for n, (a, b) in enumerate(zip(screen.pixels, wanted, strict=True)) if a != b) // 3
    y, x = divmod(first, screen.width)
    there, right = screen.pixels[3 * first : 3 * first + 3].hex(), wanted[3 * first : 3 * first + 3].hex()
    return f"pixel ({x}, {y}) of the {screen.width}x{screen.height} screen is #{there}; the boot picture has #{right}"
