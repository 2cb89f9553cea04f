"""What a foreign tree may tell QEMU: a list of options and of their values, and nothing else.

Owns the list. Everything that names a host file, a device of the host, a network, a monitor or another program is
refused, with what to do instead; what is not known is refused too. Lines to the host (serial, debug port, monitor,
log) and the artifact's place are ours: ``boot`` adds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise

SMP_MAX = 16
MEMORY_MAX = 4 << 30
_UNITS = {"": 1 << 20, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_WORD = r"[A-Za-z0-9_.+-]+"
_BOARD = r"(?:q35|pc|isapc|pc-q35-[0-9.]+|pc-i440fx-[0-9.]+)"
_SWITCH = r"(?:on|off)"

# option -> pattern of its value; None for an option without one
_OPTIONS: Mapping[str, str | None] = {
    "-m": r"(?:size=)?[0-9]{1,9}[KMGkmg]?",
    "-smp": r"(?:cpus=)?[0-9]{1,3}",
    "-cpu": rf"{_WORD}(?:,[+-]?{_WORD}(?:={_WORD})?)*",
    "-machine": rf"(?:type=)?{_BOARD}(?:,(?:acpi|hpet|smm|vmport|usb|i8042)={_SWITCH})*",
    "-accel": r"tcg(?:,thread=(?:single|multi))?",
    "-vga": r"(?:std|cirrus|none|virtio|vmware)",
    "-display": r"none",
    "-boot": r"(?:order=)?[a-dn]{1,4}(?:,menu=off|,strict=on)*",
    "-append": r"[\x20-\x7e]{0,2048}",
    "-icount": r"(?:shift=)?[0-9]{1,2}(?:,sleep=(?:on|off)|,align=off)*",
    "-rtc": r"base=(?:utc|localtime|[0-9T:-]+)(?:,clock=vm)?",
    "-net": r"none",
    "-nic": r"none",
    "-no-reboot": None,
    "-no-shutdown": None,
    "-no-acpi": None,
    "-no-hpet": None,
    "-nodefaults": None,
    "-no-user-config": None,
    "-nographic": None,
    "-usb": None,
}  # fmt: skip
_SAME = {"-M": "-machine", "--machine": "-machine"}
_OURS = frozenset(
    {"-no-reboot", "-no-shutdown", "-nodefaults", "-no-user-config", "-nographic", "-display", "-accel"}
)
_DEVICES: Mapping[str, tuple[str, ...]] = {
    "isa-debug-exit": ("iobase", "iosize"),
    "pvpanic": ("ioport",),
    "VGA": ("vgamem_mb", "xres", "yres"),
    "cirrus-vga": (),
    "bochs-display": ("xres", "yres"),
    "virtio-gpu-pci": ("xres", "yres"),
    "virtio-vga": ("xres", "yres"),
    "virtio-rng-pci": (),
    "virtio-balloon-pci": (),
    "edu": (),
    "qemu-xhci": (),
    "piix3-usb-uhci": (),
    "usb-kbd": (),
    "usb-mouse": (),
    "usb-tablet": (),
    "e1000": ("mac",),
    "rtl8139": ("mac",),
    "virtio-net-pci": ("mac",),
    "ahci": (),
    "intel-iommu": ("intremap", "caching-mode"),
    "pcie-root-port": ("port", "chassis", "slot"),
    "pci-bridge": ("chassis_nr",),
}
_COMMON = ("id", "bus", "addr", "multifunction")
_FILES = "it names a file of the host; pxos places the artifact, and further disks are [boot] disks"
_LINES = "it opens a line to the host; pxos reads COM1, the debug port and the screen itself"
_WHY: Mapping[str, str] = {
    **dict.fromkeys(
        ("-drive", "-kernel", "-initrd", "-dtb", "-hda", "-hdb", "-hdc", "-hdd", "-cdrom", "-fda", "-fdb", "-bios",
         "-pflash", "-blockdev", "-sd", "-mtdblock", "-option-rom", "-L", "-loadvm", "-incoming", "-mem-path",
         "-acpitable", "-smbios", "-fw_cfg", "-pidfile", "-tpmdev"), _FILES),
    **dict.fromkeys(
        ("-serial", "-parallel", "-monitor", "-qmp", "-qmp-pretty", "-mon", "-chardev", "-debugcon", "-gdb", "-s",
         "-vnc", "-spice", "-S"), _LINES),
    **dict.fromkeys(("-netdev", "-nic", "-net"), "it opens a network; write -nic none, or leave it out"),
    **dict.fromkeys(("-fsdev", "-virtfs"), "it shares a folder of the host"),
    **dict.fromkeys(("-object", "-readconfig", "-writeconfig", "-plugin", "-global", "-set", "-audiodev", "-device"),
                    "it can name files and devices of the host"),
    **dict.fromkeys(("-enable-kvm", "-accel"), "pxos boots with TCG, its reference"),
    **dict.fromkeys(("-d", "-D", "-trace", "-dfilter"), "pxos writes QEMU's log itself"),
    **dict.fromkeys(("-display", "-daemonize", "-runas", "-chroot", "-sandbox"), "pxos decides how QEMU runs"),
}  # fmt: skip


class Refused(Exception):
    """An argument that a foreign tree may not give, and why."""


def checked(words: Sequence[str]) -> tuple[str, ...]:
    """The arguments of a machine, without those that are ours anyway.

    Args:
        words: as on QEMU's command line, without the program.

    Raises:
        Refused: one of them is not allowed.
    """
    found: list[str] = []
    waiting = list(words)
    while waiting:
        said = waiting.pop(0)
        option = _SAME.get(said, said)
        if option.startswith("--"):
            option = option[1:]
        if option == "-device":
            found += [option, _device(_value(said, waiting))]
            continue
        if option not in _OPTIONS:
            raise Refused(
                f"{said}: {_WHY.get(option, 'not one of the options that a foreign tree may give')}"
            )
        pattern = _OPTIONS[option]
        if pattern is None:
            if option not in _OURS:
                found.append(option)
            continue
        value = _value(said, waiting)
        if not re.fullmatch(pattern, value):
            why = f" ({_WHY[option]})" if option in _WHY else ""
            raise Refused(f"{said} {value}: a value that a foreign tree may not give{why}")
        _bounds(said, option, value)
        if option not in _OURS:
            found += [option, value]
    return tuple(found)


def _value(option: str, waiting: list[str]) -> str:
    if not waiting:
        raise Refused(f"{option}: its value is missing")
    return waiting.pop(0)


def _bounds(said: str, option: str, value: str) -> None:
    if option == "-smp" and not 1 <= int(value.rpartition("=")[2]) <= SMP_MAX:
        raise Refused(f"{said} {value}: 1 to {SMP_MAX} processors")
    if option == "-m" and not 1 << 20 <= memory_bytes(value) <= MEMORY_MAX:
        raise Refused(f"{said} {value}: 1M to {MEMORY_MAX >> 30}G")


def memory_bytes(value: str) -> int:
    """The bytes that a value of ``-m`` means."""
    text = value.rpartition("=")[2].upper()
    number, unit = (text[:-1], text[-1]) if text[-1] in "KMG" else (text, "")
    return int(number) * _UNITS[unit]


def memory_of(arguments: Sequence[str], default: int = 128 << 20) -> int:
    """Bytes of guest memory that some checked arguments ask for."""
    pairs = pairwise(arguments)
    return next((memory_bytes(value) for option, value in pairs if option == "-m"), default)


def _device(value: str) -> str:
    """A device of the machine alone: its properties name nothing of the host."""
    name, *properties = value.split(",")
    if name not in _DEVICES:
        known = ", ".join(sorted(_DEVICES))
        raise Refused(f"-device {name}: not one of the devices that a foreign tree may add ({known})")
    for item in properties:
        key, _, word = item.partition("=")
        if key not in (*_DEVICES[name], *_COMMON) or not re.fullmatch(r"[A-Za-z0-9_.:-]+", word):
            allowed = ", ".join((*_DEVICES[name], *_COMMON))
            raise Refused(f"-device {name}: {item}: may be given {allowed}")
    return value
