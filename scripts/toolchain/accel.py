"""Which accelerator to use, and the two smallest kernels there are.

Owns: ``auto`` -> ``tcg`` or ``kvm`` by a short timed run, and the machine code of the probe and of the empty kernel
that ``pxos bench boot`` compares with. That ``/dev/kvm`` opens proves nothing: nested software hypervisors run
ring-0 code 2,000 times slower than TCG and hang on ``int3``.
"""

from __future__ import annotations

import os
import struct
import subprocess
from functools import cache

from toolchain import contract, launch, qemu_args, scratch
from toolchain.types import BootConfig

PROBE_SECONDS = 0.5  # an honest KVM needs a tenth of this, most of it QEMU's own start
_KVM = "/dev/kvm"
_LOAD = 0x100000
_PVH_NOTE = struct.Struct("<III4sQ")
_PVH_TYPE = 18  # XEN_ELFNOTE_PHYS32_ENTRY
_EHDR = struct.Struct("<16sHHIQQQIHHHHHH")
_PHDR = struct.Struct("<IIQQQQQQ")
_PT_LOAD, _PT_NOTE = 1, 4
_MULTIBOOT2 = 0xE85250D6
_MULTIBOOT2_HEADER = struct.Struct("<IIIIQ")  # 24 bytes: header and end tag, on 8 bytes in the file
_END_TAG = 8 << 32  # type 0, size 8
_BYTE = b"!"


def _debug_exit() -> bytes:
    """``mov dx, DEBUG_EXIT_PORT; mov al, DEBUG_EXIT_SUCCESS; out dx, al; 1: hlt; jmp 1b``."""
    port, status = contract.constant("DEBUG_EXIT_PORT"), contract.constant("DEBUG_EXIT_SUCCESS")
    return b"\x66\xba" + struct.pack("<H", port) + b"\xb0" + bytes([status]) + b"\xee\xf4\xeb\xfd"


def _put_byte() -> bytes:
    """``mov dx, SERIAL_PORT; mov al, '!'; out dx, al``."""
    return b"\x66\xba" + struct.pack("<H", contract.constant("SERIAL_PORT")) + b"\xb0" + _BYTE + b"\xee"


EMPTY_STATUS = 33  # of QEMU after ``empty_kernel``: (DEBUG_EXIT_SUCCESS << 1) | 1


def empty_kernel() -> bytes:
    """A PVH kernel as an ELF64 file that writes one byte to COM1 and ends QEMU (status 33)."""
    return pvh_elf(_put_byte() + _debug_exit())


def counting_kernel() -> bytes:
    """Like ``empty_kernel``, but the bytes it writes are the eight of its time-stamp counter at entry."""
    # rdtsc; mov ecx, 4; mov ebx, edx; mov dx, port; 1: out dx, al; shr eax, 8; loop 1b
    # mov eax, ebx; mov ecx, 4; 2: out dx, al; shr eax, 8; loop 2b
    port = struct.pack("<H", contract.constant("SERIAL_PORT"))
    four, write = b"\xb9\x04\0\0\0", b"\xee\xc1\xe8\x08\xe2\xfa"
    return pvh_elf(
        b"\x0f\x31" + four + b"\x89\xd3\x66\xba" + port + write + b"\x89\xd8" + four + write + _debug_exit()
    )


def probe_kernel() -> bytes:
    """Ring-0 work (20,000 rewrites of CR0), one ``int3`` through an IDT of its own, then as ``empty_kernel``."""
    body = (
        b"\xb9" + struct.pack("<I", 20_000)  # mov ecx, 20000
        + b"\x0f\x20\xc0\x0f\x22\xc0\x49\x75\xf7"  # 1: mov eax, cr0; mov cr0, eax; dec ecx; jnz 1b
        + b"\xcc" + _put_byte() + _debug_exit()  # int3
    )  # fmt: skip
    load_stack_and_idt = 5 + 7  # mov esp, imm32; lidt [disp32]
    handler = _LOAD + load_stack_and_idt + len(body)
    table = handler + 1
    pointer = table + 4 * 8
    gate = struct.pack("<HHHH", handler & 0xFFFF, 8, 0x8E00, handler >> 16)  # 32-bit interrupt gate, CS = 8
    stack = 64
    data = bytes(3 * 8) + gate + struct.pack("<HI", 4 * 8 - 1, table) + bytes(stack)
    code = b"\xbc" + struct.pack("<I", pointer + 6 + stack) + b"\x0f\x01\x1d" + struct.pack("<I", pointer)
    return pvh_elf(code + body + b"\xcf" + data)  # handler: iretd


def pvh_elf(code: bytes) -> bytes:
    """32-bit code, loaded and entered at 1 MB, as an ELF64 that QEMU's PVH loader takes, and GRUB by Multiboot2."""
    headers = _EHDR.size + 2 * _PHDR.size
    note = _PVH_NOTE.pack(4, 8, _PVH_TYPE, b"Xen\0", _LOAD)
    checksum = -(_MULTIBOOT2 + _MULTIBOOT2_HEADER.size) & 0xFFFF_FFFF
    multiboot = _MULTIBOOT2_HEADER.pack(_MULTIBOOT2, 0, _MULTIBOOT2_HEADER.size, checksum, _END_TAG)
    at = headers + len(note) + len(multiboot)
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    header = _EHDR.pack(ident, 2, 62, 1, _LOAD, _EHDR.size, 0, 0, _EHDR.size, _PHDR.size, 2, 0, 0, 0)
    load = _PHDR.pack(_PT_LOAD, 7, at, _LOAD, _LOAD, len(code), len(code), 1)
    about = _PHDR.pack(_PT_NOTE, 4, headers, 0, 0, len(note), len(note), 4)
    return header + load + about + note + multiboot + code


def resolve(config: BootConfig) -> str:
    """``auto`` -> ``kvm`` where a probe proves it quick, else ``tcg``; anything else as it is."""
    if config.accel != "auto":
        return config.accel
    return "kvm" if not config.icount and kvm_works(config.cpu) else "tcg"


@cache
def kvm_works(cpu: str = "max") -> bool:
    """True when KVM ran the probe to its end within ``PROBE_SECONDS``. Asked once per process and CPU model."""
    if not os.access(_KVM, os.R_OK | os.W_OK):
        return False
    with scratch.folder("pxos-probe-") as folder:
        image = folder / "probe.elf"
        image.write_bytes(probe_kernel())
        config = BootConfig(image, display="none", cpu=cpu)
        return _runs([*qemu_args.machine_arguments(config, "kvm"), "-serial", "stdio"])


def _runs(command: list[str]) -> bool:
    process = launch.spawn(command, stdout=subprocess.PIPE)
    try:
        output, _ = process.communicate(timeout=PROBE_SECONDS)
        return process.returncode == EMPTY_STATUS and output == _BYTE
    except subprocess.TimeoutExpired:
        return False
    finally:
        launch.kill(process)
        if process.stdout:
            process.stdout.close()
