"""A kernel tree of any size, made up by a seed, for measuring the build.

Owns: text that has the mix of a real kernel's source (routines with headers and rbp frames, branches, memory
operands, constants of include files, macros, tables, strings) and that GNU as takes too. It is never booted.
"""

from __future__ import annotations

import random
from pathlib import Path

LINES_PER_UNIT = 300
_CONSTANTS = 160

_REGISTERS = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15")
_LOW = {
    "rax": ("eax", "al"), "rbx": ("ebx", "bl"), "rcx": ("ecx", "cl"), "rdx": ("edx", "dl"),
    "rsi": ("esi", "sil"), "rdi": ("edi", "dil"),
    **{f"r{n}": (f"r{n}d", f"r{n}b") for n in range(8, 16)},
}  # fmt: skip
_CONDITIONS = ("z", "nz", "c", "nc", "a", "be", "l", "ge")

_IMAGE = """\
[image]
entry = "routine_0_0"
physical_base = 0x100000
virtual_base = 0xffffffff80000000
sources = ["**/*.s"]
include = ["include", "."]

[[section]]
name = ".text"
inputs = [".text", ".text.*"]
flags = "ax"

[[section]]
name = ".rodata"
inputs = [".rodata", ".rodata.*"]
flags = "a"

[[section]]
name = ".data"
inputs = [".data", ".data.*"]
flags = "aw"

[[section]]
name = ".bss"
inputs = [".bss", ".bss.*"]
flags = "aw"
nobits = true
"""

_MACROS = """\
# Macros of the generated kernel
.macro function name
    .global \\name
    .type \\name, @function
\\name:
.endm

.macro end_function name
    .size \\name, . - \\name
.endm

.macro frame
    push rbp
    mov rbp, rsp
.endm

.macro return_frame
    pop rbp
    ret
.endm

.macro set_bits register:req, value=1
    or \\register, \\value
.endm
"""


def write(folder: Path, lines: int, seed: int = 1) -> int:
    """Write a kernel tree of at least ``lines`` lines of units under ``folder``.

    Returns:
        How many lines the units have.
    """
    chance = random.Random(seed)
    (folder / "include").mkdir(parents=True)
    (folder / "image.toml").write_text(_IMAGE)
    (folder / "boot.toml").write_text('[[unit]]\nname = "start"\nentry = "routine_0_0"\n')
    (folder / "include/macros.inc").write_text(_MACROS)
    values = "".join(
        f".set FIELD_{i}, {chance.getrandbits(chance.choice((4, 8, 12, 31))):#x}\n" for i in range(_CONSTANTS)
    )
    (folder / "include/constants.inc").write_text("# Constants of the generated kernel\n" + values)
    total, number = 0, 0
    while total < lines:
        text = unit(number, chance)
        (folder / f"unit_{number:02}.s").write_text(text)
        total += text.count("\n")
        number += 1
    return total


def unit(number: int, chance: random.Random) -> str:
    """One unit of about ``LINES_PER_UNIT`` lines; calls go to its own routines and to the unit before it."""
    out = [
        f"# Unit {number} of a generated kernel, long mode",
        ".intel_syntax noprefix",
        '.include "macros.inc"',
        '.include "constants.inc"',
        "",
        '.section .text, "ax"',
        "",
    ]
    routine = 0
    while len(out) < LINES_PER_UNIT - 20:
        out += _routine(number, routine, chance)
        routine += 1
    out += ['.section .rodata, "a"']
    for i in range(4):
        out += [f"text_{number}_{i}:", f'    .asciz "unit {number}, text {i}"']
    out += [f"table_{number}:", *(f"    .quad routine_{number}_{i}" for i in range(routine))]
    out += ['.section .data, "aw"', f"value_{number}:", "    .quad 0, 1, 2, 3"]
    out += ['.section .bss, "aw", @nobits', f"area_{number}:", "    .skip 4096", ""]
    return "\n".join(out)


def _routine(number: int, routine: int, chance: random.Random) -> list[str]:
    name = f"routine_{number}_{routine}"
    out = [
        f"# {name} -- does nothing of use",
        "# In:       rdi = value:u64, rsi = count:u32",
        "# Out:      rax = result:u64",
        "# Clobbers: all",
        f"function {name}",
        "    frame",
    ]
    label = f".Lloop_{routine}"
    out.append(f"{label}:")
    for i in range(18):
        out += [f"    {line}" for line in _statement(number, routine, i, chance)]
    out += [
        "    dec rsi",
        f"    jnz {label}",
        f".Ldone_{routine}:",
        "    return_frame",
        f"end_function {name}",
        "",
    ]
    return out


def _statement(number: int, routine: int, index: int, chance: random.Random) -> list[str]:
    a, b = chance.choice(_REGISTERS), chance.choice(_REGISTERS)
    field = f"FIELD_{chance.randrange(_CONSTANTS)}"
    offset = 8 * chance.randrange(1, 40)
    kinds = [
        lambda: [f"mov {a}, {b}"],
        lambda: [f"mov {_LOW[a][0]}, {field}"],
        lambda: [f"mov {a}, [{b} + {offset}]"],
        lambda: [f"mov qword ptr [{b} + rcx*8 + {offset}], {a}"],
        lambda: [f"mov dword ptr [rip + value_{number} + {offset % 24}], {_LOW[a][0]}"],
        lambda: [f"lea {a}, [rip + text_{number}_{index % 4}]"],
        lambda: [f"add {a}, {offset}", f"and {_LOW[b][0]}, {field} | 1"],
        lambda: [f"cmp {a}, {b}", f"j{chance.choice(_CONDITIONS)} .Ldone_{routine}"],
        lambda: [f"test {_LOW[a][1]}, {offset % 128}", f"j{chance.choice(_CONDITIONS)} .Lloop_{routine}"],
        lambda: [f"call routine_{max(number - chance.randrange(2), 0)}_{chance.randrange(4)}"],
        lambda: [f"push {a}", f"pop {b}"],
        lambda: [f"shl {a}, {offset % 63 + 1}", f"xor {_LOW[b][0]}, {_LOW[a][0]}"],
        lambda: [f"movzx {_LOW[a][0]}, byte ptr [{b} + {offset}]   # one byte of it"],
        lambda: [f"set_bits {a}, {chance.randrange(1, 128)}"],
    ]
    made: list[str] = chance.choice(kinds)()
    return made
