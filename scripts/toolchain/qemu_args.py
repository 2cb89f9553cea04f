"""QEMU's argument vector for a boot, from a ``BootConfig`` that was checked first.

Owns: which options every boot carries (deadline-proof: no reboot, pause on panic and shutdown), the devices, where
firmware lies, and one clear line for what cannot be booted. Never starts anything.
"""

from __future__ import annotations

import re
import shutil
from functools import cache
from pathlib import Path

from toolchain import contract, tools
from toolchain.errors import InputError
from toolchain.types import CMDLINE_MAX, BootConfig

STAGE = "boot"
QEMU = "qemu-system-x86_64"
QBOOT = "qboot.rom"  # in QEMU's own data folder; no path needed
LOG_NAME = "qemu.log"
LOG_ITEMS = "int,cpu_reset,guest_errors"
CONTROL_ID, SERIAL_ID = "pxctl", "pxser"

# Debian and Ubuntu first; the 2 MB build without a variable store starts 0.5 s sooner than the 4 MB one.
_OVMF = (
    "/usr/share/OVMF/OVMF_CODE.fd",
    "/usr/share/OVMF/OVMF_CODE_4M.fd",
    "/usr/share/edk2/ovmf/OVMF_CODE.fd",
    "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
)
_NO_FIRMWARE = re.compile(r"(?:could not load PC BIOS|failed to find romfile) ['\"]([\w.-]+)['\"]")
_DISPLAYS = {
    "std": ("-vga", "std"),
    "bochs": ("-vga", "none", "-device", "bochs-display"),
    "virtio": ("-vga", "virtio"),
    "none": ("-vga", "none"),
}
_MEMORY = re.compile(r"([0-9]{1,9})([KMGTkmgt]?)")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "": 1 << 20}
_MEMORY_MIN, _MEMORY_MAX = 16 << 20, 4 << 40  # below 16 MB neither firmware nor GRUB starts
_CPU = re.compile(r"[A-Za-z0-9_.+-]+(,[A-Za-z0-9_.+=-]+)*")
_SMP_MAX = 255
_ELF_MAGIC = b"\x7fELF"
_ISO_MAGIC, _ISO_MAGIC_AT = b"CD001", 0x8001  # ECMA-119, 8.1: the volume descriptor
_EXIT_WIDTH = 4


@cache
def qemu_path() -> str:
    """Where QEMU is.

    Raises:
        ToolError: it is not installed, with the package that holds it.
    """
    found = shutil.which(QEMU)
    if found is None:
        raise tools.missing(QEMU, "qemu-system-x86", STAGE)
    return found


def memory_bytes(text: str) -> int:
    """``"128M"`` -> bytes; a bare number counts megabytes, as in QEMU.

    Raises:
        InputError: not a size, or one that no machine here can have.
    """
    found = _MEMORY.fullmatch(text)
    if found is None:
        raise InputError(f"--memory {text!r} is no size: write e.g. 128M or 2G", stage=STAGE)
    size = int(found[1]) * _UNITS[found[2].upper()]
    if not _MEMORY_MIN <= size <= _MEMORY_MAX:
        raise InputError(f"--memory {text} is out of range: 16M to 4T", stage=STAGE)
    return size


def check_timeout(seconds: float | None) -> None:
    """A deadline, where there is one.

    Raises:
        InputError: it is no number of seconds that may pass.
    """
    if seconds is not None and not 0 < seconds < float("inf"):
        raise InputError(f"--timeout {seconds:g}: give seconds above 0", stage=STAGE)


def check(config: BootConfig) -> None:
    """Everything about a configuration that can be told without QEMU.

    Raises:
        InputError: what is wrong and what would be right.
    """
    check_options(config)
    _check_image(config)


def check_options(config: BootConfig) -> None:
    """The same but for the image, which need not exist yet.

    Raises:
        InputError: what is wrong and what would be right.
    """
    memory_bytes(config.memory)
    choices = (
        ("--machine", config.machine, ("q35", "pc")),
        ("--display", config.display, tuple(_DISPLAYS)),
        ("--firmware", config.firmware, ("bios", "uefi")),
        ("--accel", config.accel, ("tcg", "kvm", "auto")),
    )
    for option, value, allowed in choices:
        if value not in allowed:
            raise InputError(f"{option} {value!r}: choose one of {', '.join(allowed)}", stage=STAGE)
    if not 1 <= config.smp <= _SMP_MAX:
        raise InputError(f"--smp {config.smp} is out of range: 1 to {_SMP_MAX} processors", stage=STAGE)
    for seconds in (config.timeout, config.stall):
        check_timeout(seconds)
    if not _CPU.fullmatch(config.cpu):
        raise InputError(
            f"--cpu {config.cpu!r} is no CPU model: e.g. max, qemu64, Skylake-Client", stage=STAGE
        )
    text = config.cmdline
    if not text.isprintable() or len(text.encode()) > CMDLINE_MAX:
        raise InputError(
            f"--cmdline: give at most {CMDLINE_MAX} printable characters on one line", stage=STAGE
        )
    if config.path == "direct" and config.firmware == "uefi":
        raise InputError("a direct boot has no UEFI firmware: add --iso", stage=STAGE)
    if config.icount and config.accel == "kvm":
        raise InputError("--icount counts instructions, which KVM cannot: use --accel tcg", stage=STAGE)


def _check_image(config: BootConfig) -> None:
    what = "kernel ELF" if config.path == "direct" else "ISO image"
    try:
        with config.image.open("rb") as file:
            start = file.read(len(_ELF_MAGIC))
            file.seek(_ISO_MAGIC_AT)
            volume = file.read(len(_ISO_MAGIC))
    except OSError as error:
        raise InputError(f"{config.image}: cannot read the {what}: {error.strerror}", stage=STAGE) from error
    if not start:
        raise InputError(f"{config.image}: the {what} is empty", stage=STAGE)
    if config.path == "direct" and start != _ELF_MAGIC:
        raise InputError(
            f"{config.image}: not an ELF file; a direct boot takes the linked kernel", stage=STAGE
        )
    if config.path == "iso" and volume != _ISO_MAGIC:
        raise InputError(f"{config.image}: neither an ELF nor an ISO image", stage=STAGE)


def machine_arguments(config: BootConfig, accel: str) -> list[str]:
    """The machine without its lines to the host: what an empty kernel needs as well.

    Args:
        config: a checked configuration.
        accel: ``tcg`` or ``kvm``; ``auto`` has been decided by now.
    """
    arguments = [qemu_path(), "-no-user-config", "-nodefaults", "-machine", config.machine, "-accel", accel]
    arguments += ["-cpu", config.cpu, "-smp", str(config.smp), "-m", f"{memory_bytes(config.memory) >> 10}K"]
    arguments += [*_DISPLAYS[config.display], "-display", "none"]
    if config.icount:
        arguments += ["-icount", "shift=0,sleep=off"]
    port = contract.constant("DEBUG_EXIT_PORT")
    arguments += ["-device", f"isa-debug-exit,iobase={port:#x},iosize={_EXIT_WIDTH:#x}"]
    image = str(config.image.resolve())
    if config.path == "direct":
        arguments += ["-bios", QBOOT, "-kernel", image]
        if config.cmdline:
            arguments += ["-append", config.cmdline]
        if config.modules is not None:
            arguments += ["-initrd", str(config.modules.resolve())]
    else:
        arguments += _firmware(config)
        arguments += ["-drive", f"if=ide,media=cdrom,format=raw,readonly=on,file={_escape(image)}"]
        arguments += ["-boot", "order=d,menu=off"]
        if config.cmdline:
            arguments += [
                "-fw_cfg",
                f"name={contract.string('FW_CFG_CMDLINE')},string={_escape(config.cmdline)}",
            ]
    return arguments


def watch_arguments() -> list[str]:
    """What lets the host see the end: ``end_arguments``, and the log."""
    return [*end_arguments(), "-d", LOG_ITEMS, "-D", LOG_NAME]


def end_arguments() -> list[str]:
    """pvpanic, no reboot, no exit before the machine was read."""
    port = contract.constant("PVPANIC_PORT")
    return ["-device", f"pvpanic,ioport={port:#x}", "-action", "reboot=shutdown,shutdown=pause,panic=pause"]


def line_arguments(control: int) -> list[str]:
    """QMP on a connected socket that QEMU inherits by number, COM1 on its standard input and output."""
    return [
        "-chardev", f"socket,id={CONTROL_ID},fd={control}", "-mon", f"chardev={CONTROL_ID},mode=control",
        "-chardev", f"stdio,id={SERIAL_ID},signal=off", "-serial", f"chardev:{SERIAL_ID}",
    ]  # fmt: skip


def _firmware(config: BootConfig) -> list[str]:
    if config.firmware == "bios":
        return []  # SeaBIOS is QEMU's default
    found = _ovmf()
    if found is None:
        raise tools.missing("UEFI firmware", "ovmf", STAGE)
    return ["-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={found}"]


def _ovmf() -> str | None:
    return next((path for path in _OVMF if Path(path).is_file()), None)


def has_uefi() -> bool:
    """Whether UEFI firmware for QEMU is installed."""
    return _ovmf() is not None


def check_firmware(said: str) -> None:
    """Tell a firmware that QEMU did not find in its data folder from a kernel that it refuses.

    Args:
        said: QEMU's last words.

    Raises:
        ToolError: the firmware is missing.
    """
    found = _NO_FIRMWARE.search(said)
    if found is not None:
        package = "seabios" if "bios" in found[1] else "qemu-system-data"
        raise tools.missing(found[1], package, STAGE)


def _escape(text: str) -> str:
    """For a value inside a comma-separated QEMU option."""
    return text.replace(",", ",,")
