"""The bench of boots gives the contract's rows, measured and not made up."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from toolchain import bench_boot, bench_boot_parts, bench_peer
from toolchain.command import Ui
from toolchain.errors import InputError

pytestmark = pytest.mark.qemu


@pytest.mark.slow
def test_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DIRECT_ROUNDS", "BIOS_ROUNDS", "UEFI_ROUNDS", "PEER_ROUNDS"):
        monkeypatch.setattr(bench_boot, name, 1)
    monkeypatch.setattr(bench_boot, "ICOUNT_ROUNDS", 2)
    found = bench_boot.run(Ui(io.StringIO(), quiet=True), peer=bench_peer.Peer(disk(tmp_path), "ready\n"))
    rows = {row["what"]: row for row in found["rows"]}
    walls, counts = ["direct boot", "iso boot bios", "iso boot uefi", "bios boot to ready"], [*rows][4:-2]
    assert [*rows][:4] == walls and [*rows][-2:] == ["image", "memory before the first user thread"]
    assert found["machine"]["cores"] >= 1
    for what in walls:
        row = rows[what]
        assert row["unit"] == "ms" and row["ours"] > 0 and row["peer_value"] > 0
        assert ("empty" in row["peer"]) != (what == "bios boot to ready")
        assert row["spread"]["ours"][0] <= row["ours"] <= row["spread"]["ours"][1]
    for what in counts:
        row = rows[what]
        assert row["unit"] == "instructions"
        assert row["spread"]["ours"][0] == row["spread"]["ours"][1]  # icount is deterministic
    total = rows["instructions to ready"]
    parts = sum(rows[what]["ours"] for what in counts if what not in WHOLES)
    assert total["ours"] > 10_000 and abs(parts / total["ours"] - 1) < 0.001  # figures have four digits
    assert rows["timer calibration"]["ours"] > rows["unit gpu"]["ours"] > 0
    assert abs(total["peer_value"] - SPIN * 2) < SPIN  # dec, jnz; the host stops it somewhat later
    assert rows[bench_boot_parts.OWN]["ours"] < bench_boot_parts.REACH_INSTRUCTIONS
    assert 100_000 < rows["image"]["ours"] < bench_boot_parts.REACH_IMAGE
    assert rows["image"]["ours"] < rows[[*rows][-1]]["ours"] < bench_boot_parts.REACH_MEMORY


WHOLES = ("instructions to ready", bench_boot_parts.OWN)
SPIN = 2_000_000


def disk(folder: Path) -> Path:
    """A disk whose boot sector loads one sector, which counts down, says that it is ready, and halts."""
    (folder / "disk.s").write_text(DISK)
    subprocess.run(["as", "--32", "disk.s", "-o", "disk.o"], cwd=folder, check=True, timeout=30)
    link = ["ld", "-m", "elf_i386", "--oformat", "binary", "-Ttext", "0x7c00", "disk.o", "-o", "disk.img"]
    subprocess.run(link, cwd=folder, check=True, timeout=30)
    return folder / "disk.img"


DISK = f"""
.intel_syntax noprefix
.code16
    xor ax, ax
    mov ds, ax
    mov ah, 0x42                                # extended read
    mov si, offset packet
    int 0x13
    jmp 0:0x8000
packet:
    .byte 16, 0
    .short 1, 0x8000, 0
    .quad {bench_peer.ENTRY // 512}
    .org 510
    .byte 0x55, 0xaa
    .org {bench_peer.ENTRY}
    mov ecx, {SPIN}
1:  dec ecx
    jnz 1b
    mov dx, 0x3f8
    mov si, offset text + 0x8000 - 0x7c00 - {bench_peer.ENTRY}
    mov cx, 6
    rep outsb
    cli
2:  hlt
    jmp 2b
text:
    .ascii "ready\\n"
    .org 1 << 20
"""


def test_an_image_that_no_bios_boots_is_refused(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    for content, peer, says in (
        (b"", bench_peer.Peer(image), "no boot sector"),
        (bytes(4096), bench_peer.Peer(image), "no boot sector"),
        (bytes(510) + b"\x55\xaa" + bytes(9000), bench_peer.Peer(image, ""), "--peer-ready"),
        (bytes(510) + b"\x55\xaa" + bytes(512), bench_peer.Peer(image), "--peer-entry 8192"),
    ):
        image.write_bytes(content)
        with pytest.raises(InputError, match=says):
            peer.check()
