"""The ISO in QEMU: BIOS and UEFI, as a CD and as a USB stick, with its command line."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from toolchain import iso

pytestmark = pytest.mark.qemu

# Says its Multiboot2 command line (tag 1) on COM1 and ends QEMU with status 33.
KERNEL = """\
.intel_syntax noprefix
.code32
.section .boot, "awx"
header: .long 0xe85250d6, 0, end - header, -(0xe85250d6 + 0 + (end - header))
        .word 0, 0
        .long 8
end:
.global start
start:
    lea esi, [ebx + 8]
next:
    mov eax, [esi]
    cmp eax, 1
    je found
    mov eax, [esi + 4]
    add eax, 7
    and eax, -8
    add esi, eax
    jmp next
found:
    add esi, 8
    mov dx, 0x3f8
    mov al, '<'
    out dx, al
print:
    lodsb
    test al, al
    jz done
    out dx, al
    jmp print
done:
    mov al, '>'
    out dx, al
    mov dx, 0xf4
    mov al, 0x10
    out dx, al
    hlt
"""
MEDIA = {
    "cd": ["-cdrom", "{iso}"],
    "stick": [
        "-drive", "if=none,id=stick,format=raw,readonly=on,file={iso}",
        "-device", "qemu-xhci", "-device", "usb-storage,drive=stick",
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("iso")
    (folder / "k.s").write_text(KERNEL)
    subprocess.run(["as", "k.s", "-o", "k.o"], cwd=folder, check=True)
    subprocess.run(
        [
            "ld",
            "-N",
            "-Ttext=0x200000",
            "--section-start=.boot=0x100000",
            "-e",
            "start",
            "k.o",
            "-o",
            "k.elf",
        ],
        cwd=folder,
        check=True,
    )
    iso.make(folder / "k.elf", folder / "k.iso", cmdline='exit word\'s "end"')
    return folder / "k.iso"


@pytest.mark.parametrize("medium", ["cd", "stick"])
@pytest.mark.parametrize("firmware", ["bios", "uefi"])
def test_boots_with_its_command_line(image: Path, tmp_path: Path, firmware: str, medium: str) -> None:
    command = [
        "qemu-system-x86_64",
        "-accel",
        "tcg",
        "-machine",
        "q35",
        "-m",
        "128M",
        "-display",
        "none",
        "-no-reboot",
    ]
    command += ["-net", "none", "-serial", f"file:{tmp_path}/serial", "-device", "isa-debug-exit,iobase=0xf4"]
    command += [part.format(iso=image) for part in MEDIA[medium]]
    if firmware == "uefi":
        command += ["-bios", "/usr/share/ovmf/OVMF.fd"]
    status = subprocess.run(command, timeout=60, stdin=subprocess.DEVNULL).returncode
    text = (tmp_path / "serial").read_text(encoding="latin-1")
    assert '<exit word\\\'s \\"end\\">' in text
    assert status == 33


def test_what_grub_complains_about_is_on_the_serial_line(tmp_path: Path) -> None:
    (tmp_path / "k.elf").write_bytes(b"\x7fELF" + bytes(60))
    iso.make(tmp_path / "k.elf", tmp_path / "k.iso", firmware="bios")
    command = ["qemu-system-x86_64", "-accel", "tcg", "-machine", "q35", "-m", "128M", "-display", "none"]
    command += ["-net", "none", "-serial", f"file:{tmp_path}/serial", "-cdrom", f"{tmp_path}/k.iso"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    text, until = "", time.monotonic() + 60
    try:
        while "error:" not in text and time.monotonic() < until:
            time.sleep(0.05)
            serial = tmp_path / "serial"
            text = serial.read_text(encoding="latin-1") if serial.exists() else ""
    finally:
        process.kill()
        process.wait()
    assert "no multiboot header found" in text
