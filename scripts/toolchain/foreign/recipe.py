"""How a kernel without makefile or script is built: a boot sector by nasm, or a Multiboot kernel by a linker script.

Owns the commands that tutorials print beside such kernels. Objects lie in the tree's root, named after their sources.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath

SOURCES_MAX = 40
_NASM = (".asm", ".nasm")
_SECTOR = re.compile(r"\borg\s+0x7c00|\b0xaa55\b", re.IGNORECASE)
_MULTIBOOT = re.compile(r"0x(?:1badb002|e85250d6)", re.IGNORECASE)
_WIDE = re.compile(r"elf64|x86-64", re.IGNORECASE)
_C_FLAGS = ("-ffreestanding", "-fno-pie", "-fno-stack-protector")


def product(texts: Mapping[str, str]) -> str:
    """What to call the product."""
    return "kernel.img" if _sector(texts) or not _script(texts) else "kernel.elf"


def _sector(texts: Mapping[str, str]) -> str | None:
    nasm = (name for name in texts if name.endswith(_NASM))
    return next((name for name in nasm if _SECTOR.search(texts[name])), None)


def _script(texts: Mapping[str, str]) -> str | None:
    """The linker script of a Multiboot kernel."""
    if not any(_MULTIBOOT.search(text) for text in texts.values()):
        return None
    return next((name for name in texts if name.endswith((".ld", ".lds"))), None)


def command(texts: Mapping[str, str], product: str) -> tuple[str, str] | None:
    """A build command and why it is one, or None.

    Args:
        texts: file -> text, in order.
        product: the artifact that is to be made.
    """
    sector, script = _sector(texts), _script(texts)
    if sector is not None:
        listing = str(PurePosixPath(product).with_suffix(".lst"))
        words = ["nasm", "-f", "bin", "-l", listing, "-o", product, sector]
        return shlex.join(words), f"{sector} is a boot sector, and there is no makefile"
    sources = [name for name in texts if name.endswith((*_NASM, ".s", ".S", ".c"))]
    if script is None or len(sources) > SOURCES_MAX:
        return None
    why = f"there is no makefile; {script} links a kernel with a Multiboot header"
    return " && ".join(map(shlex.join, _linked(texts, sources, product, script))), why


def _linked(
    texts: Mapping[str, str], sources: Sequence[str], product: str, script: str
) -> Iterator[list[str]]:
    wide = _WIDE.search(texts[script])
    bits, emulation = ("64", "elf_x86_64") if wide else ("32", "elf_i386")
    folders = sorted({str(PurePosixPath(name).parent) for name in texts if name.endswith(".h")})
    objects = []
    for name in sorted(
        sources, key=lambda name: name.endswith(".c")
    ):  # the header must lie near the beginning
        made = re.sub(r"\W", "_", name) + ".o"
        objects.append(made)
        if name.endswith(_NASM):
            yield ["nasm", "-f", f"elf{bits}", "-g", "-o", made, name]
        else:
            flags = [*_C_FLAGS, *(f"-I{folder}" for folder in folders)] if name.endswith(".c") else []
            yield ["gcc", f"-m{bits}", "-g", *flags, "-c", "-o", made, name]
    yield ["ld", "-m", emulation, "-z", "noexecstack", "-T", script, "-o", product, *objects]
