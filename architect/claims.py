"""What the host measures of a kernel that says it is ready: BAR0's page walk, the mailbox's page, the pixels.

Owns the checks on the snapshot that is taken at PXREADY, each against what QEMU itself knows of the machine. Nothing
here believes the guest: a candidate that skips the work and says it was done fails.
"""

from __future__ import annotations

from toolchain import boot_log, snapshot, walk
from toolchain.types import BootResult, PciBar, Snapshot, Walk

BAR0_KEY = "bar0"  # what a unit's PXBOOT line calls the bus address of the GPU's BAR0


def problem(result: BootResult) -> str | None:
    """What the kernel claims and the machine denies, or None when every claim that can be checked holds.

    Args:
        result: a boot with ``inspect_ready``.
    """
    seen = result.snapshot
    if result.outcome != "ready" or seen is None:
        return f"no look at the machine at PXREADY: the boot ended as {result.outcome}"
    bar = snapshot.display_bar(seen.bars)
    if bar is None:
        return None  # a machine without a display controller
    if bar.address is None:
        return f"the display controller {bar.slot} is there, and its BAR0 was left unassigned"
    return _claimed(result, bar) or _mapping(bar, bar0_walk(seen, bar.address)) or _picture(seen)


def bar0_walk(seen: Snapshot, address: int) -> Walk:
    """The walk of a write to ``address``, done by the host on the tables that the snapshot holds."""
    cr3, cr0, cr4, efer = (seen.registers.get(name, 0) for name in ("cr3", "cr0", "cr4", "efer"))
    return walk.translate(address, walk.Paging(cr3, cr0, cr4, efer, access="write"), walk.reader(seen.memory))


def _claimed(result: BootResult, bar: PciBar) -> str | None:
    said = [u.values[BAR0_KEY] for u in result.units if BAR0_KEY in u.values and u.state == "ok"]
    wrong = [text for text in said if boot_log.number(text) != bar.address]
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


def _picture(seen: Snapshot) -> str | None:
    screen = seen.screen
    if screen is None:
        return "the display shows nothing that could be read"
    if len(set(zip(screen.pixels[0::3], screen.pixels[1::3], screen.pixels[2::3], strict=True))) < 2:
        return f"the screen ({screen.width}x{screen.height}) has one colour: no picture was drawn"
    return None
