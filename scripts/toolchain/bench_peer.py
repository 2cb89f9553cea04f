"""A bootable disk of somebody else's, for ``pxos bench boot --peer-image``: Pure64 with BareMetal, or any that speaks.

Owns: its wall time from QEMU's start to the text by which it says that it is ready, and its instructions from the entry
of what its boot sector loads to there. Those are QEMU's own count under icount. A copy of the image, in which code that
does nothing but write a byte stands at that entry, tells how many of them the firmware and the boot sector need. The
guest goes on until the host has stopped it, so the least of some runs counts. The disk itself is never written.
"""

from __future__ import annotations

import select
import time
from dataclasses import dataclass
from pathlib import Path

from toolchain import files, qemu_args, scratch
from toolchain.errors import InputError, Timeout, ToolError
from toolchain.machine import Machine

STAGE = "bench"
READY = "system ready"  # what BareMetal says
MEMORY = "256M"
DEADLINE = 60.0  # seconds
_SECTOR = 512
_SIGNATURE = b"\x55\xaa"
ENTRY = 16 * _SECTOR  # in the image: where Pure64's boot sectors expect what they load
# Writes one byte to COM1 and halts, in 16 and in 32 bits alike: xor edx, edx; mov dh, 3; mov dl, 0xf8; mov al, '!';
# out dx, al; cli; 1: hlt; jmp 1b
_TELL = b"\x31\xd2\xb6\x03\xb2\xf8\xb0!\xee\xfa\xf4\xeb\xfd"
_TOLD = b"!"
_CHUNK = 1 << 16
_LOOK = 0.25
_TRIES = 3


@dataclass(frozen=True)
class Peer:
    """A raw disk image, the text on COM1 by which it is ready, and where in it its boot sector's load begins."""

    image: Path
    ready: str = READY
    entry: int = ENTRY

    @property
    def name(self) -> str:
        """For a row."""
        return self.image.name

    def check(self) -> None:
        """Refuse what BIOS would not boot.

        Raises:
            InputError: no regular file, or no boot sector in it.
        """
        with files.open_regular(self.image, stage=STAGE) as file:
            sector = file.read(_SECTOR)
        if len(sector) < _SECTOR or not sector.endswith(_SIGNATURE):
            raise InputError(
                f"{self.image}: no boot sector: give a raw disk image that a BIOS boots", stage=STAGE
            )
        if not self.ready:
            raise InputError("--peer-ready: give a text that the image writes to COM1", stage=STAGE)
        if not _SECTOR <= self.entry < self.image.stat().st_size:
            raise InputError(
                f"--peer-entry {self.entry}: not behind the boot sector in {self.image}", stage=STAGE
            )

    def seconds(self) -> float:
        """Wall time from QEMU's start to the text."""
        return _run(self.image, self.ready.encode(), icount=False)[0]

    def instructions(self) -> float:
        """Instructions from the entry of what the boot sector loads to the text."""
        data = bytearray(self.image.read_bytes())
        data[self.entry : self.entry + len(_TELL)] = _TELL
        with scratch.folder("pxos-entry-") as folder:
            copy = folder / "entry.img"
            copy.write_bytes(data)
            before = _run(copy, _TOLD, icount=True)[1]
        until = self.ready.encode()
        return float(min(_run(self.image, until, icount=True)[1] for _ in range(_TRIES)) - before)


def _run(image: Path, until: bytes, *, icount: bool) -> tuple[float, int]:
    """Boot a disk by BIOS until COM1 has said something: seconds, and instructions where they are counted."""
    name = str(image.resolve()).replace(",", ",,")
    arguments = [
        qemu_args.qemu_path(), "-no-user-config", "-nodefaults", "-machine", "q35", "-accel", "tcg", "-cpu", "max",
        "-smp", "1", "-m", MEMORY, "-vga", "std", "-display", "none", "-boot", "order=c,menu=off",
        "-drive", f"if=ide,format=raw,snapshot=on,file={name}",
        *(("-icount", "shift=0,sleep=off") if icount else ()),
    ]  # fmt: skip
    began = time.monotonic()
    with scratch.folder("pxos-peer-") as folder, Machine(arguments, folder) as machine:
        said = b""
        while until not in said:
            if time.monotonic() - began > DEADLINE:
                raise Timeout(f"{image}: no {until.decode()!r} on COM1 in {DEADLINE:g} s", stage=STAGE)
            select.select([machine.serial_handle], [], [], _LOOK)
            data = machine.read_serial(_CHUNK)
            if data == b"":
                raise ToolError(
                    f"{image}: QEMU ended: {machine.stderr_tail()}", stage=STAGE, command=arguments
                )
            said += data or b""
        seconds = time.monotonic() - began
        machine.stop()
        return seconds, int(machine.qmp.execute("query-replay")["icount"])
