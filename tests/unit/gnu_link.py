"""GNU as and ld as an oracle for whole programs: the same sources and layout, byte for byte."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from unittest import mock

from elftools.elf.elffile import ELFFile

from toolchain import layout as layouts
from toolchain import nops
from toolchain.assemble import assemble_units
from toolchain.layout import Layout
from toolchain.link import link
from toolchain.pool import Encodes, Pool
from toolchain.preprocess import Preprocessor
from toolchain.source import SourceFile
from toolchain.types import Image, Mode

# One section after another, all of them identity-mapped, low enough for every kind of field.
SMALL = """
[image]
entry = "_start"
physical_base = 0x1000
virtual_base = 0
sources = ["**/*.s"]
include = ["."]
[[section]]
name = ".text"
inputs = [".text", ".text.*"]
flags = "ax"
[[section]]
name = ".extra"
inputs = [".x*", ".mb", "foo"]
flags = "awx"
[[section]]
name = ".rodata"
inputs = [".rodata", ".rodata.*", ".note.*"]
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


def small_layout() -> Layout:
    return layouts.parse(SMALL, Path("image.toml"))


@dataclass(frozen=True)
class Linked:
    """What ld made: section name -> (address, size, bytes), symbol name -> value; or what as or ld said."""

    sections: dict[str, tuple[int, int, bytes]]
    symbols: dict[str, int]
    complaint: str = ""


def gnu(sources: Mapping[str, str | Path], layout: Layout, include: Sequence[Path] = ()) -> Linked:
    """Assemble each source with as, link all with ld in the order given."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        objects = []
        for index, source in enumerate(sources.values()):
            path = source
            if isinstance(source, str):
                path = work / f"{index}.s"
                path.write_bytes(source.encode())
            target = work / f"{index}.o"
            includes = [argument for place in include for argument in ("-I", str(place))]
            run = subprocess.run(
                ["as", *includes, "-o", str(target), str(path)],
                capture_output=True, text=True, check=False, cwd=work,
            )  # fmt: skip
            if run.returncode:
                return Linked({}, {}, run.stderr)
            objects.append(str(target))
        script, image = work / "image.ld", work / "image.elf"
        script.write_text(layouts.ld_script(layout))
        command = ["ld", "-T", str(script), "-z", "noexecstack", "--no-warn-rwx-segments", "-o", str(image)]
        run = subprocess.run([*command, *objects], capture_output=True, text=True, check=False)
        if run.returncode:
            return Linked({}, {}, run.stderr)
        with image.open("rb") as stream:
            elf = ELFFile(stream)
            sections = {
                s.name: (s["sh_addr"], s["sh_size"], b"" if s["sh_type"] == "SHT_NOBITS" else s.data())
                for s in elf.iter_sections()
            }
            symbols = {
                s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols() if s.name
            }
        return Linked(sections, symbols)


class Refused(Exception):
    """as does not take a source."""


def missing_symbols(source: Path, include: Sequence[Path], layout: Layout) -> str:
    """A source that defines what ``source`` leaves undefined, and the layout's entry, so that it links alone.

    It puts them low, where every kind of field reaches them.
    """
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "t.o")
        includes = [argument for place in include for argument in ("-I", str(place))]
        run = subprocess.run(
            ["as", *includes, "-o", str(target), str(source)], capture_output=True, check=False
        )
        if run.returncode:
            raise Refused(run.stderr.decode(errors="replace"))
        with target.open("rb") as stream:
            table = ELFFile(stream).get_section_by_name(".symtab")
            symbols = list(table.iter_symbols()) if table is not None else []
    undefined = {s.name for s in symbols if s["st_shndx"] == "SHN_UNDEF" and s.name}
    reserved = {name for section in layout.sections for name in (section.start_symbol, section.end_symbol)}
    names = undefined - reserved - {"__image_start_physical", "__image_end_physical"}
    names |= {layout.entry} - {s.name for s in symbols}
    low = next(section.name for section in layout.sections if section.identity)
    lines = [
        ".intel_syntax noprefix",
        f'.section {low}, "awx"',
        *(f".globl {name}\n{name}: nop" for name in sorted(names)),
    ]
    return "\n".join(lines) + "\n"


@lru_cache(maxsize=4096)
def gap(count: int, mode: Mode) -> bytes:
    """The bytes with which the as of this machine fills ``count`` bytes of code."""
    boundary = 1 << count.bit_length()
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "t.o")
        source = f".code{mode}\n.skip {boundary - count}\n.balign {boundary}\n"
        subprocess.run(["as", "-o", str(target), "-"], input=source.encode(), check=True)
        with target.open("rb") as stream:
            return bytes(ELFFile(stream).get_section_by_name(".text").data()[-count:])


@lru_cache(maxsize=1)
def fills_gaps_otherwise() -> bool:
    """Whether the as of this machine has other nops than gas 2.40, whose nops are ours: the one difference allowed."""
    modes: tuple[Mode, ...] = (16, 32, 64)
    return any(
        nops.fill(count, mode) != gap(count, mode) for mode in modes for count in (3, 9, 10, 11, 25, 100, 300)
    )


def ours(
    sources: Mapping[str, str | Path], layout: Layout, encoder: Encodes, include: Sequence[Path] = ()
) -> Image:
    """The same with our tools; raises ``InputError``."""
    if fills_gaps_otherwise():
        with mock.patch.object(nops, "fill", gap):
            return _ours(sources, layout, encoder, include)
    return _ours(sources, layout, encoder, include)


def _ours(
    sources: Mapping[str, str | Path], layout: Layout, encoder: Encodes, include: Sequence[Path]
) -> Image:
    preprocessor = Preprocessor(Path("/nowhere"), include)
    units = [
        preprocessor.run(SourceFile(name, source) if isinstance(source, str) else source)
        for name, source in sources.items()
    ]
    return link(assemble_units(units, Pool(encoder)), layout)


def differences(image: Image, oracle: Linked) -> list[str]:
    """Every section and global symbol in which the two differ, as a line each; empty when they agree."""
    found = []
    for section in image.sections:
        theirs = oracle.sections.get(section.name)
        if theirs is None:
            if section.size:
                found.append(f"{section.name}: {section.size} bytes, ld has none")
            continue
        address, size, data = theirs
        if (address, size) != (section.address, section.size):
            found.append(
                f"{section.name}: {section.address:#x}+{section.size:#x}, ld has {address:#x}+{size:#x}"
            )
        if data != section.data:
            at = next((i for i, (a, b) in enumerate(zip(section.data, data, strict=False)) if a != b), 0)
            at = max(0, at - 4)
            mine, other = section.data[at : at + 24].hex(), data[at : at + 24].hex()
            found.append(f"{section.name} at {section.address + at:#x}: ours {mine}, ld's {other}")
    for symbol in image.symbols:
        value = oracle.symbols.get(symbol.name)
        if symbol.is_global and value is not None and value != symbol.address & ((1 << 64) - 1):
            found.append(f"{symbol.name}: {symbol.address:#x}, ld has {value:#x}")
    return found
