"""A kernel tree of two units, as small as one can be that has includes, generated files and a call between units."""

from __future__ import annotations

from pathlib import Path

IMAGE = """\
[image]
entry = "start"
physical_base = 0x100000
virtual_base = 0xffffffff80000000
sources = ["**/*.s"]
include = ["include"]
[[section]]
name = ".text"
inputs = [".text"]
flags = "ax"
[[section]]
name = ".rodata"
inputs = [".rodata"]
flags = "a"
"""
BOOT = '[[unit]]\nname = "one"\nentry = "start"\n'
START = """\
.intel_syntax noprefix
.include "values.inc"
.global start
start:
    mov eax, VALUE
    call other
    ret
"""
OTHER = """\
.intel_syntax noprefix
.include "boot_table.inc"
.text
.global other
other:
    mov edx, BOOT_UNIT_COUNT
    ret
"""


def plant(folder: Path) -> Path:
    """The tree in ``folder``, which must not be there yet."""
    for name in ("include", "cpu"):
        (folder / name).mkdir(parents=True)
    (folder / "image.toml").write_text(IMAGE)
    (folder / "boot.toml").write_text(BOOT)
    (folder / "include/values.inc").write_text(".set VALUE, 7\n")
    (folder / "start.s").write_text(START)
    (folder / "cpu/other.s").write_text(OTHER)
    return folder
