"""The walks outside long mode against QEMU's own translation, on a kernel that runs with 32-bit paging."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from toolchain import qemu_args, walk
from toolchain.foreign import config, sandbox
from toolchain.foreign.build import build
from toolchain.foreign.tree import Copy, read
from toolchain.machine import Machine
from toolchain.snapshot import GuestMemory

pytestmark = pytest.mark.qemu

KERNEL = Path(__file__).resolve().parents[1] / "fixtures/kernels/att-multiboot"
SECONDS = 60


def test_two_levels_are_walked_as_qemu_walks_them(tmp_path: Path) -> None:
    built = build(config.load(KERNEL), Copy(read(KERNEL), tmp_path / "tree"), sandbox.Sandbox())
    words = [qemu_args.qemu_path(), "-nodefaults", "-machine", "pc", "-display", "none", "-no-reboot"]
    with Machine([*words, "-kernel", str(built.artifact)], tmp_path) as made:
        end = time.monotonic() + SECONDS
        while True:
            made.stop()
            known = made.registers()
            if known["cr0"] & walk.CR0_PG:
                break
            assert time.monotonic() < end, "paging never came on"
            made.resume()
        paging = walk.Paging(known["cr3"], known["cr0"], known["cr4"], known["efer"])
        memory = GuestMemory(made, 64 << 20)
        for address in (
            0,
            0x1000,
            0xB8123,
            0x10_0000,
            0x3F_FFFF,
            0x40_0000,
            0x40_1000,
            0x80_0000,
            0xFFFF_F000,
        ):
            ours = walk.translate(address, paging, memory.read)
            said = re.search(r"gpa: (?:0x)?([0-9a-f]+)", made.qmp.monitor(f"gva2gpa {address:#x}"))
            assert ours.physical == (int(said[1], 16) if said else None), (hex(address), ours)
        assert len(walk.translate(0, paging, memory.read).levels) == 2
