"""From a foreign tree to what boots: its own build command, in the sandbox, and what came of it.

Owns: running the command, its errors by file and line, finding the artifact and telling what kind it is, names for
its addresses. A build that fails is an ``InputError`` with the compiler's own lines. Never boots.
"""

from __future__ import annotations

import hashlib
import re
import struct
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from toolchain.errors import InputError, Timeout
from toolchain.files import read_bounded
from toolchain.foreign import names
from toolchain.foreign.config import Foreign
from toolchain.foreign.sandbox import Completed, Limits, Sandbox
from toolchain.foreign.tree import Copy
from toolchain.types import Diagnostic, Place

STAGE = "build"
ARTIFACT_MAX = 256 << 20
LOG_NAME = "build.log"
Kind = Literal["iso", "elf", "disk"]
Loader = Literal["", "qemu", "multiboot2"]

_ISO_MAGIC, _ISO_AT = b"CD001", 0x8001
_ELF_MAGIC = b"\x7fELF"
_BOOT_MARK, _BOOT_AT, _SECTOR = b"\x55\xaa", 510, 512
_ORIGIN = 0x7C00  # where a BIOS puts the boot sector
_MULTIBOOT = struct.pack("<I", 0x1BADB002)
_MULTIBOOT2 = struct.pack("<I", 0xE85250D6)
_MULTIBOOT_REACH, _MULTIBOOT2_REACH = 8192, 32768  # bytes of the file within which the header must lie
_PVH = struct.pack("<III", 4, 4, 18) + b"Xen\0"  # XEN_ELFNOTE_PHYS32_ENTRY
_PVH64 = struct.pack("<III", 4, 8, 18) + b"Xen\0"
_DIAGNOSTIC = re.compile(
    r"^([^\s:][^:\n]*):(\d+):(?:\d+:)?\s*(?:fatal )?(?:error|Error|ERROR):\s*(.*)$", re.MULTILINE
)
_LINKER = re.compile(
    r"^(?:\S*ld: )?(?:\S+\.o:)?([^\s:][^:\n]*):(\d+): (undefined reference.*|multiple definition.*)$",
    re.MULTILINE,
)
_ANY_ERROR = re.compile(r"^.*\b(?:error|Error|undefined reference|not found|No such file)\b.*$", re.MULTILINE)
_SHOWN = 20  # lines of a build that failed without naming a place


@dataclass(frozen=True, slots=True)
class Built:
    """What a build made.

    Attributes:
        artifact: the file, in the copy of the tree.
        kind: what its content says it is.
        loader: how an ELF file is started: by QEMU itself, or by GRUB from an ISO image; ``""`` for other kinds.
        data: its bytes.
        disks: the further disks, in the copy of the tree.
        sha256: names all of that by its content.
        names: symbols and lines, or None.
        seconds: how long it took.
        log: what the command said.
    """

    artifact: Path
    kind: Kind
    loader: Loader
    data: bytes
    disks: tuple[Path, ...]
    sha256: str
    names: names.Names | None
    seconds: float
    log: str


def build(
    foreign: Foreign, copy: Copy, sandbox: Sandbox, limits: Limits | None = None, *, named: bool = True
) -> Built:
    """Run the build command in a copy of the tree.

    Args:
        foreign: how.
        copy: where.
        sandbox: what keeps it apart.
        limits: of the build.
        named: read symbols and lines as well.

    Raises:
        InputError: it failed, or left nothing that boots; with the compiler's errors by file and line.
        Timeout: it broke a limit.
    """
    limits = limits or Limits()
    done = sandbox.run(["/bin/sh", "-c", foreign.build], copy.folder, [copy.folder], limits)
    if done.ended != "exit":
        raise _broke(foreign, done, limits)
    if done.status:
        raise _failed(foreign, copy.folder, done)
    path = _made(foreign, copy, foreign.artifact, "[kernel] artifact")
    disks = tuple(_made(foreign, copy, name, "[boot] disks") for name in foreign.disks)
    data = read_bounded(path, ARTIFACT_MAX, stage=STAGE)
    total = hashlib.sha256(data)
    for disk in disks:
        total.update(hashlib.sha256(read_bounded(disk, ARTIFACT_MAX, stage=STAGE)).digest())
    kind, loader = kind_of(data, foreign.artifact)
    found = None
    if named:
        found = names.find(copy.folder, path, _ORIGIN if kind == "disk" else None)
    return Built(path, kind, loader, data, disks, total.hexdigest(), found, done.seconds, done.output)


def _made(foreign: Foreign, copy: Copy, name: str, key: str) -> Path:
    """A file that the build was to make."""
    path = copy.folder / name
    if not path.resolve().is_relative_to(copy.folder.resolve()):
        raise InputError(f"{name}: a link that leads out of the tree", stage=STAGE)
    if not path.is_file():
        raise InputError(
            f"{name}: `{foreign.build}` ended well and did not make it; mend {key} or build", stage=STAGE
        )
    return path


def with_names(built: Built, copy: Copy) -> Built:
    """The same with symbols and lines."""
    found = names.find(copy.folder, built.artifact, _ORIGIN if built.kind == "disk" else None)
    return replace(built, names=found)


def kind_of(data: bytes, name: str) -> tuple[Kind, Loader]:
    """What an artifact is, by its content, and how an ELF file starts.

    Raises:
        InputError: nothing starts it.
    """
    if data[_ISO_AT : _ISO_AT + len(_ISO_MAGIC)] == _ISO_MAGIC:
        return "iso", ""
    if data.startswith(_ELF_MAGIC):
        wide = data[4:5] == b"\x02"
        if not wide and _aligned(data, _MULTIBOOT, _MULTIBOOT_REACH, 4):
            return "elf", "qemu"
        if wide and (_PVH in data or _PVH64 in data):
            return "elf", "qemu"
        if _aligned(data, _MULTIBOOT2, _MULTIBOOT2_REACH, 8):
            return "elf", "multiboot2"
        if _aligned(data, _MULTIBOOT, _MULTIBOOT_REACH, 4):
            mend = "make it ELF32 (objcopy -O elf32-i386), or an ISO image"
            raise InputError(
                f"{name}: QEMU starts no 64-bit ELF file with a Multiboot header; {mend}", stage=STAGE
            )
        what = "no Multiboot header in its first 8 KB, no Multiboot2 header in 32 KB, no PVH note"
        raise InputError(f"{name}: an ELF file that nothing starts: {what}", stage=STAGE)
    if data[_BOOT_AT : _BOOT_AT + 2] == _BOOT_MARK:
        return "disk", ""
    seen = (
        "shorter than a sector" if len(data) < _SECTOR else f"bytes 510 and 511 are {data[510:512].hex(' ')}"
    )
    raise InputError(
        f"{name}: neither ISO 9660 nor ELF, nor a disk whose first sector ends in 55 aa ({seen})", stage=STAGE
    )


def _aligned(data: bytes, magic: bytes, reach: int, step: int) -> bool:
    at = data.find(magic, 0, reach)
    while at >= 0:
        if at % step == 0:
            return True
        at = data.find(magic, at + 1, reach)
    return False


def _broke(foreign: Foreign, done: Completed, limits: Limits) -> Timeout:
    what = {
        "deadline": f"took longer than {limits.seconds:g} s",
        "output": f"said more than {limits.output >> 20} MB",
        "disk": f"wrote more than {limits.disk >> 20} MB",
        "memory": f"took more than {limits.memory >> 20} MB of memory",
    }[done.ended]
    return Timeout(f"`{foreign.build}` {what} and was ended", stage=STAGE)


def _failed(foreign: Foreign, folder: Path, done: Completed) -> InputError:
    found = diagnostics(done.output, folder)
    if found:
        first = found[0]
        return InputError(
            f"{first.place.file}:{first.place.line}: {first.message}", stage=STAGE, diagnostics=found
        )
    lines = [line for line in done.output.splitlines() if line.strip()][-_SHOWN:]
    telling = _ANY_ERROR.findall("\n".join(lines))
    said = (telling or lines or ["it said nothing"])[0 if telling else -1].strip()
    killed = f"signal {done.status - 128}" if done.status > 128 else f"status {done.status}"
    return InputError(f"`{foreign.build}` ended with {killed}: {said[:300]}", stage=STAGE)


def diagnostics(output: str, folder: Path) -> tuple[Diagnostic, ...]:
    """The errors that compilers, assemblers and linkers told with a place, files as the tree names them."""
    found: dict[tuple[str, int, str], Diagnostic] = {}
    for pattern in (_DIAGNOSTIC, _LINKER):
        for file, line, message in pattern.findall(output):
            name = names.relative(file, folder)
            place = Place(name, int(line), _line(folder / name, int(line)))
            found.setdefault((name, int(line), message), Diagnostic(place, message.strip()))
    return tuple(found.values())[:100]


def _line(path: Path, number: int) -> str:
    try:
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 4 << 20:
            lines = path.read_text("utf-8", "replace").split("\n")
            return lines[number - 1].rstrip() if 0 < number <= len(lines) else ""
    except OSError:
        pass
    return ""
