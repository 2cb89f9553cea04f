"""QEMU's command line for a foreign kernel: what the tree gives, and what a boot needs around it.

Owns the image that QEMU reads (the artifact, a disk as large as a floppy, an ISO with GRUB) and where what the guest
says goes. Which of the tree's arguments are allowed is ``machine``'s to say.
"""

from __future__ import annotations

from pathlib import Path

from toolchain import qemu_args
from toolchain.errors import InputError
from toolchain.foreign.build import Built
from toolchain.foreign.config import Foreign

STAGE = "boot"
DEBUG_NAME = "debug.log"
ISO_NAME = "boot.iso"
DISK_NAME = "disk.img"
FLOPPY_BYTES = 1440 << 10
_CDROM = 2  # where QEMU's own -cdrom puts it


def arguments(foreign: Foreign, built: Built, folder: Path, items: str) -> tuple[list[str], list[Path]]:
    """QEMU's argument vector, and the files that it reads.

    Raises:
        InputError: the artifact cannot be booted with the arguments that the tree gives.
    """
    given = list(foreign.qemu)
    words = [qemu_args.qemu_path(), "-no-user-config", "-nodefaults", "-accel", "tcg", "-display", "none"]
    if "-vga" not in given and not any(
        word.startswith(("VGA", "bochs", "virtio-vga", "cirrus")) for word in given
    ):
        words += ["-vga", "std"]
    image = built.artifact.resolve()
    if built.kind != "elf" and "-append" in given:
        raise InputError("[boot] qemu: -append needs an ELF artifact: a boot loader has its own", stage=STAGE)
    if built.kind == "elf" and built.loader == "qemu":
        words += [*given, "-kernel", str(image)]
    elif built.kind == "disk":
        image = _disk(built, folder)
        words += [*given, *_hard_disk(0, image)]
    else:
        if built.kind == "elf":
            image = _wrapped(built, folder)
        words += [
            *given,
            "-drive",
            f"if=ide,index={_CDROM},media=cdrom,format=raw,readonly=on,file={_escape(image)}",
        ]
        words += [] if "-boot" in given else ["-boot", "order=d"]
    disks = [disk.resolve() for disk in built.disks]
    for place, disk in zip((1, 2, 3) if built.kind == "disk" else (0, 1, 3), disks, strict=False):
        words += _hard_disk(place, disk)
    words += [
        "-action", "reboot=shutdown,shutdown=pause,panic=pause",
        "-d", items, "-D", qemu_args.LOG_NAME,
        "-chardev", f"file,id=pxdbg,path={DEBUG_NAME}", "-device", "isa-debugcon,iobase=0xe9,chardev=pxdbg",
    ]  # fmt: skip
    return words, [image, *disks]


def _hard_disk(place: int, image: Path) -> list[str]:
    """A raw image as a hard disk of the IDE controller; what the guest writes goes away with QEMU."""
    return ["-drive", f"if=ide,index={place},media=disk,format=raw,snapshot=on,file={_escape(image)}"]


def _disk(built: Built, folder: Path) -> Path:
    """The flat image as a disk that is at least as large as a floppy: boot sectors read more than was built."""
    if len(built.data) >= FLOPPY_BYTES:
        return built.artifact.resolve()
    target = folder / DISK_NAME
    target.unlink(missing_ok=True)
    with target.open("wb") as out:
        out.write(built.data)
        out.truncate(FLOPPY_BYTES)
    return target


def _wrapped(built: Built, folder: Path) -> Path:
    """A Multiboot2 kernel on an ISO image with GRUB."""
    from toolchain import iso

    target = folder / ISO_NAME
    iso.make(built.artifact, target, firmware="bios")
    return target


def _escape(path: Path) -> str:
    return str(path).replace(",", ",,")
