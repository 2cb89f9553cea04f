"""The bootable image: GRUB, a command line and the kernel on one ISO 9660 file.

Owns: the folder that grub-mkrescue packs, ``grub.cfg``, and that the same kernel and command line always give the
same bytes (times, volume identifier, serial number of the EFI part's FAT file system). The image is a BIOS and UEFI
hybrid: a CD, and with a partition table in front a USB stick. Never builds the kernel.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import Literal

from toolchain import scratch
from toolchain.errors import InputError, ToolError
from toolchain.files import make_folder, unwritable, write_atomic
from toolchain.tools import GrubMkrescue
from toolchain.types import CMDLINE_MAX

STAGE = "iso"
EPOCH = 1700000000  # the time that every file and volume of an image bears, in seconds since 1970
VOLUME_DATE = "2023111422132000"  # the same as ISO 9660 writes it, with hundredths
FAT_SERIAL = b"pxOS"
KERNEL_PATH = "/boot/pxos.elf"
MODULES_PATH = "/boot/modules.cpio"

# what grub.cfg uses, what finds the image on CD and stick, what a kernel that asks for a framebuffer needs
MODULES = (
    "normal", "multiboot2", "serial", "terminal", "echo", "boot", "iso9660", "part_gpt", "part_msdos", "all_video",
)  # fmt: skip

_SECTOR = 2048
_BOOT_RECORD_SECTOR = 17  # El Torito 1.0, figure 7
_EL_TORITO = b"EL TORITO SPECIFICATION"
_PLATFORM_EFI = 0xEF
_SECTION_HEADERS = (0x90, 0x91)  # more follow, the last one
_FAT_SERIAL_OFFSET = 0x27  # BS_VolID of FAT12 and FAT16 (Microsoft FAT specification, 3.2)
_FAT_SIGNATURE_OFFSET, _FAT_TYPE_OFFSET = 0x1FE, 0x36


def make(
    kernel: Path,
    iso: Path,
    *,
    cmdline: str = "",
    firmware: Literal["hybrid", "bios"] = "hybrid",
    modules: bytes = b"",
) -> None:
    """Make the bootable image ``iso`` from the ELF file ``kernel``.

    Args:
        kernel: an ELF with a Multiboot2 header.
        iso: the file to write, as a whole or not at all.
        cmdline: the kernel's command line: printable ASCII.
        firmware: ``"bios"`` leaves the EFI part away: smaller and quicker, for candidates that only boot on BIOS.
        modules: an archive that the kernel finds as its boot module; none when empty.

    Raises:
        InputError: a command line that GRUB cannot carry; no such kernel; a folder that cannot be written.
        ToolError: GRUB, xorriso or mtools is missing or failed.
    """
    config = grub_config(cmdline, bool(modules))
    tool = check_tools(firmware)
    try:
        content = kernel.read_bytes()
    except OSError as error:
        raise InputError(f"{kernel}: cannot read: {error.strerror}", stage=STAGE) from error
    make_folder(iso.parent, stage=STAGE)
    try:
        with scratch.folder(".iso-", iso.parent) as folder:
            _pack(tool, folder, content, config, firmware, modules)
            data = bytearray((folder / "image.iso").read_bytes())
            if firmware == "hybrid":
                _set_fat_serial(data)
            write_atomic(iso, bytes(data), stage=STAGE)
    except OSError as error:
        raise unwritable(iso, error, stage=STAGE) from error


def check_tools(firmware: Literal["hybrid", "bios"] = "hybrid") -> GrubMkrescue:
    """The wrapper of grub-mkrescue, when it and all that it needs is installed.

    Raises:
        ToolError: something is missing; the message names the Debian package.
    """
    tool = GrubMkrescue(STAGE)
    tool.check(["i386-pc"] if firmware == "bios" else ["i386-pc", "x86_64-efi"])
    return tool


def grub_config(cmdline: str, modules: bool = False) -> str:
    """``grub.cfg``: boots at once; what GRUB has to complain about goes to the serial line too.

    Raises:
        InputError: ``cmdline`` is too long, or holds something else than printable ASCII.
    """
    if len(cmdline) > CMDLINE_MAX:
        raise InputError(
            f"command line of {len(cmdline):,} characters: at most {CMDLINE_MAX:,} reach a kernel",
            stage=STAGE,
        )
    if not (cmdline.isascii() and cmdline.isprintable()):
        raise InputError(
            f"command line {cmdline!r}: expected printable ASCII characters on one line", stage=STAGE
        )
    words = "".join(f" {_quoted(word)}" for word in cmdline.split())
    module = f"module2 {MODULES_PATH} {Path(MODULES_PATH).name}\n" if modules else ""
    return f"""\
set timeout=0
serial --unit=0 --speed=115200
terminal_output serial console
multiboot2 {KERNEL_PATH}{words}
{module}boot
"""


def _quoted(word: str) -> str:
    return "'" + word.replace("'", "'\\''") + "'"


def _pack(
    tool: GrubMkrescue, scratch: Path, kernel: bytes, config: str, firmware: str, modules: bytes
) -> None:
    tree, temporary = scratch / "tree", scratch / "tmp"
    (tree / "boot/grub").mkdir(parents=True)
    temporary.mkdir()
    (tree / KERNEL_PATH.lstrip("/")).write_bytes(kernel)
    (tree / "boot/grub/grub.cfg").write_text(config)
    if modules:
        (tree / MODULES_PATH.lstrip("/")).write_bytes(modules)
    for path in [*tree.rglob("*"), tree]:
        os.utime(path, (EPOCH, EPOCH))
    only = ["-d", str(tool.platform("i386-pc"))] if firmware == "bios" else []
    tool.run(
        [
            *only,
            f"--install-modules={' '.join(MODULES)}",
            "--locales=", "--fonts=", "--themes=",
            "-o", scratch / "image.iso",
            tree,
            "--", "-volume_date", "uuid", VOLUME_DATE, "-alter_date_r", "b", f"@{EPOCH}", "/", "--",
        ],
        env={"SOURCE_DATE_EPOCH": str(EPOCH), "TMPDIR": str(temporary), "TZ": "UTC"},
    )  # fmt: skip


def _set_fat_serial(image: bytearray) -> None:
    """Give the FAT file system of the EFI part a fixed serial number; mformat draws one by the clock.

    The EFI part is found as firmware finds it: boot record, boot catalog, the entry of platform 0xEF.

    Source: El Torito 1.0, figures 2 to 7.
    """
    record = _BOOT_RECORD_SECTOR * _SECTOR
    if image[record + 7 : record + 7 + len(_EL_TORITO)] != _EL_TORITO:
        raise ToolError("grub-mkrescue: an image without a boot record; expected El Torito", stage=STAGE)
    catalog = int.from_bytes(image[record + 0x47 : record + 0x4B], "little") * _SECTOR
    entries = [image[catalog + i : catalog + i + 32] for i in range(0, _SECTOR, 32)]
    for header, entry in itertools.pairwise(entries):
        if header[0] in _SECTION_HEADERS and header[1] == _PLATFORM_EFI:
            start = int.from_bytes(entry[8:12], "little") * _SECTOR
            break
    else:
        raise ToolError("grub-mkrescue: an image without an EFI part; expected a hybrid", stage=STAGE)
    signature = image[start + _FAT_SIGNATURE_OFFSET : start + _FAT_SIGNATURE_OFFSET + 2]
    kind = image[start + _FAT_TYPE_OFFSET : start + _FAT_TYPE_OFFSET + 3]
    if signature != b"\x55\xaa" or kind != b"FAT":
        raise ToolError("grub-mkrescue: the EFI part is no FAT12 or FAT16 file system", stage=STAGE)
    at = start + _FAT_SERIAL_OFFSET
    image[at : at + len(FAT_SERIAL)] = FAT_SERIAL
