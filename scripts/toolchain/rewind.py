"""One QEMU for boot after boot: put back, before each, to where its first instruction lies ahead.

QEMU's start takes two thirds of a short boot's processor time. Owns the snapshot of the machine as it was when new, the
return to it, guest RAM (a file in memory, emptied and filled with the next kernel), and for whom that pays. QEMU's own
``loadvm`` restores processor, devices and display memory, and forgets what TCG has translated. Never judges: ``qemu``
does, as for any machine; what cannot be rewound is booted in a QEMU of its own.

Two things are not as in a new one. The time-stamp counter goes on counting (under ``-icount`` it starts at zero, and
boots are equal byte by byte); and of the file's first pages, which qboot leaves in low memory, it leaves those of the
kernel that the machine was made for, without its code.
"""

from __future__ import annotations

import mmap
import os
import struct
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

from toolchain import elf_read, launch, qemu_args, scratch
from toolchain.errors import PxError
from toolchain.machine import Machine, counted, scheduled
from toolchain.qmp import ANSWER_SECONDS, QmpError
from toolchain.types import BootConfig
from toolchain.vigil import CHUNK

_NOW = "now"  # in QEMU's working folder: a link to the folder of the boot at hand
_STORE, _IMAGE = "state.qcow2", "kernel.elf"
_TAG = "new"
_NODE = "state"
_LOW_RAM_END = 0x8000_0000  # up to here guest memory lies at its own physical address (q35)
_PT_NOTE = 4
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
# QEMU docs/interop/qcow2.txt, version 2, up to the snapshots' offset
_QCOW2 = struct.Struct(">4sIQIIQIIQQIIQ")
_CLUSTER_BITS = 16
HEADERS_END = 0x2000  # what qboot leaves of the kernel's file in low memory

Key = tuple[object, ...]


class Rewinder:
    """At most one QEMU, for the boots of one thread; as a context manager, which ends it.

    A machine is made for the second of two boots in a row that could share it: a single boot gains nothing. Kernels
    that end their machine before it was of use again are given none.

    Args:
        parent: a folder in which one for QEMU is made; None for the system's place.
    """

    def __init__(self, parent: Path | None = None) -> None:
        self._parent = parent
        self._base: _Base | None = None
        self._last: Key = ()
        self._useless: set[Key] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the machine."""
        base, self._base = self._base, None
        if base is not None:
            base.close()

    @property
    def turns(self) -> int:
        """Boots that the machine has seen; 0 while there is none."""
        return self._base.turns if self._base is not None and self._base.lives else 0

    @property
    def process(self) -> int | None:
        """QEMU's process number."""
        return self._base.machine.process.pid if self._base is not None else None

    def machine(self, config: BootConfig, folder: Path) -> Machine | None:
        """A machine with a kernel in it that begins to run, for ``with``; None where only a QEMU of its own will do.

        Args:
            config: checked.
            folder: existing; the logs of this boot go there.
        """
        if not _can(config):
            return None
        key: Key = ()
        try:
            image = _Image(config.image)
            key = (*_arguments(config, Path()), image.told)
            if image.high > qemu_args.memory_bytes(config.memory) or not self._pays(key):
                return None
            if self._base is None:
                self._base = _Base(config, image, key, self._parent)
            return self._base.turn(config, image, folder)
        except PxError:  # it is no kernel, QEMU does not know these commands, or somebody ended it
            self._lose(key)
            return None

    def _pays(self, key: Key) -> bool:
        """Whether the machine at hand fits, or a new one should be made; one that does not fit is ended then."""
        before, self._last = self._last, key
        base = self._base
        if base is not None and base.key == key and base.lives:
            return True
        if base is not None and not base.lives:
            self._lose(base.key)
        if key != before or key in self._useless:
            return False
        self.close()
        return True

    def _lose(self, key: Key) -> None:
        """End a machine for boots of a key; there will be no other, unless this one was of use again."""
        if self._base is None or self._base.turns < 2:
            self._useless.add(key)
        self.close()


class _Image:
    """What a boot takes from a kernel's file.

    Attributes:
        segments: physical address and bytes.
        high: where the last one ends.
        told: what QEMU tells the firmware of it: where it is entered (PVH notes), begins and ends.
        blank: the file without the segments' bytes.
    """

    def __init__(self, path: Path) -> None:
        data = elf_read.read_bytes(path)
        elf = elf_read.parse(data, str(path))
        self.segments = [(s.physical, s.data) for s in elf.segments]
        header = _EHDR.unpack_from(data)
        headers = header[5] + _PHDR.size * header[10]
        rows = [_PHDR.unpack_from(data, at) for at in range(header[5], headers, _PHDR.size)]
        notes = [(row[2], data[row[2] : row[2] + row[5]]) for row in rows if row[0] == _PT_NOTE]
        low = min((s.physical for s in elf.segments), default=0)
        self.high = max((s.physical + s.memory_size for s in elf.segments), default=0)
        self.told = (low, self.high, *(note for _, note in notes))
        blank = bytearray(len(data))
        blank[:headers] = data[:headers]
        for at, note in notes:
            blank[at : at + len(note)] = note
        self.blank = bytes(blank)


class _Base:
    """A QEMU that stands before its first instruction, with a snapshot of that.

    Attributes:
        key: which boots it is for.
        turns: how many it has seen.
        status: why the machine stands still, in QEMU's words; nothing while it runs.

    Raises:
        PxError: it cannot be had.
    """

    def __init__(self, config: BootConfig, image: _Image, key: Key, parent: Path | None) -> None:
        self.key = key
        self.turns = 0
        self.status = "prelaunch"
        with ExitStack() as stack:
            self.home = stack.enter_context(scratch.folder("pxos-rewind-", parent))
            (self.home / _IMAGE).write_bytes(image.blank)
            (self.home / _STORE).write_bytes(_empty_qcow2())
            size = qemu_args.memory_bytes(config.memory)
            handle = os.memfd_create("ram")
            stack.callback(os.close, handle)
            os.ftruncate(handle, size)
            self.ram = stack.enter_context(mmap.mmap(handle, size))
            arguments = [
                *_arguments(config, self.home / _IMAGE),
                *("-machine", "memory-backend=ram", "-S"),
                *("-object", f"memory-backend-file,id=ram,share=on,size={size},mem-path=/proc/self/fd/{handle}"),
                *("-blockdev", f"qcow2,node-name={_NODE},file.driver=file,file.filename={_STORE},cache.no-flush=on"),
            ]  # fmt: skip
            self.machine = stack.enter_context(Machine(arguments, self.home, (handle,)))
            ignored = {"capability": "x-ignore-shared", "state": True}  # RAM, which is ours to fill
            self.machine.qmp.execute("migrate-set-capabilities", capabilities=[ignored])
            self._say(f"savevm {_TAG}")
            for name in (_STORE, _IMAGE):  # QEMU has them open; whoever is killed leaves none behind
                (self.home / name).unlink()
            self._stack = stack.pop_all()

    @property
    def lives(self) -> bool:
        """Whether QEMU still runs."""
        return self.machine.process.poll() is None

    def close(self) -> None:
        """End QEMU."""
        self._stack.close()

    def turn(self, config: BootConfig, image: _Image, folder: Path) -> Machine:
        """Put the machine back, fill its memory, and let it run.

        Raises:
            QmpError: QEMU did not do it.
        """
        self.turns += 1
        qmp = self.machine.qmp
        if self.status == "shutdown":  # the guest asked for a reset, and QEMU refuses to go on from there
            qmp.batch([("set-action", {"reboot": "reset"}), ("system_reset", {})])
            if not qmp.wait_event("RESET", ANSWER_SECONDS):
                raise QmpError("QEMU did not reset the machine in time")
            qmp.execute("set-action", reboot="shutdown")
        self._link(folder)
        self._say(f"loadvm {_TAG}", f"logfile {_NOW}/{qemu_args.LOG_NAME}", f"log {qemu_args.LOG_ITEMS}")
        self.ram.madvise(mmap.MADV_REMOVE)  # all zeros, and no memory taken
        for physical, data in image.segments:
            self.ram[physical : physical + len(data)] = data
        while self.machine.read_serial(CHUNK):
            pass  # what the UART still held of the boot before, written while that was put away
        qmp.events.clear()
        self.status = ""
        turn = _Turn(self, config, folder)
        qmp.execute("cont")
        return turn

    def halt(self) -> None:
        """Hold the machine, and close its log.

        Raises:
            QmpError: QEMU did not do it.
        """
        closed = ("human-monitor-command", {"command_line": "log none"})
        self.status = self.machine.qmp.batch([("stop", {}), ("query-status", {}), closed])[1]["status"]

    def _link(self, folder: Path) -> None:
        fresh = self.home / f"{_NOW}.tmp"
        fresh.symlink_to(folder.resolve())
        fresh.replace(self.home / _NOW)

    def _say(self, *lines: str) -> None:
        """Lines of the human monitor that answer only when something is wrong."""
        answers = self.machine.qmp.batch(
            [("human-monitor-command", {"command_line": line}) for line in lines]
        )
        for line, answer in zip(lines, answers, strict=True):
            if answer.strip():
                raise QmpError(f"QEMU refused {line}: {answer.strip()}")


class _Turn(Machine):
    """One boot in a machine that stays."""

    def __init__(self, base: _Base, config: BootConfig, folder: Path) -> None:
        own = qemu_args.machine_arguments(config, "tcg") + qemu_args.watch_arguments()
        super().__init__(own, folder)  # what a person would start to see the same
        self.process, self.qmp = base.machine.process, base.machine.qmp
        self._base = base
        self._before = counted(self.tasks())
        self._prefix = f"{_NOW}/"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def kill(self) -> int | None:
        """End the boot: the machine stands still from here on. Where it does not, QEMU is ended."""
        status = self.process.poll()
        if status is None and not self._base.status:
            try:
                self._base.halt()
            except QmpError:
                return launch.kill(self.process)
        return status

    def scheduled(self) -> tuple[float, float]:
        """As of any machine, since this boot began."""
        return scheduled(self.tasks(), self._before)

    def stderr_tail(self) -> str:
        """What QEMU has said since it was started."""
        return self._base.machine.stderr_tail()


def _can(config: BootConfig) -> bool:
    plain = config.path == "direct" and config.accel == "tcg" and config.smp == 1
    low = qemu_args.memory_bytes(config.memory) <= _LOW_RAM_END
    return plain and low and config.modules is None and not config.extra_args


def _arguments(config: BootConfig, image: Path) -> list[str]:
    """Of the machine, without its log: each boot has its own."""
    return qemu_args.machine_arguments(replace(config, image=image), "tcg") + qemu_args.end_arguments()


def _empty_qcow2() -> bytes:
    """An image of one empty cluster, for QEMU to keep snapshots in: header, reference counts, first table."""
    size = 1 << _CLUSTER_BITS
    table, counts, first = size, 2 * size, 3 * size
    header = _QCOW2.pack(b"QFI\xfb", 2, 0, 0, _CLUSTER_BITS, size, 0, 1, first, table, 1, 0, 0)
    pieces = (header, struct.pack(">Q", counts), struct.pack(">4H", 1, 1, 1, 1), b"")
    return b"".join(piece.ljust(size, b"\0") for piece in pieces)
