"""The layout of the kernel image: which sections, in which order, at which addresses.

Owns reading ``image.toml`` and saying the same as a linker script for GNU ld, which the tests compare with. Never
sees an object file; ``link`` does the placing.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from toolchain import tomlfile
from toolchain.errors import InputError

STAGE = "layout"
PAGE = 0x1000
_PHYSICAL_END, _VIRTUAL_END = 1 << 52, 1 << 64  # what page tables can say, Intel SDM volume 3, 4.1.4
CODE_FILL = 0xCC  # int3: what lies between the sections of two units in code traps when it is run

_TOP_KEYS = {"image", "section"}
_IMAGE_KEYS = {"entry", "physical_base", "virtual_base", "sources", "include"}
_SECTION_KEYS = {"name", "inputs", "flags", "identity", "nobits"}


class OutputSection(NamedTuple):
    """One section of the image; ``inputs`` are names, a trailing ``*`` stands for anything."""

    name: str
    inputs: tuple[str, ...]
    flags: str
    identity: bool = False
    nobits: bool = False

    @property
    def start_symbol(self) -> str:
        """``__NAME_start``: the virtual address of the first byte."""
        return f"__{self.name.replace('.', '')}_start"

    @property
    def end_symbol(self) -> str:
        """``__NAME_end``: the virtual address behind the last byte."""
        return f"__{self.name.replace('.', '')}_end"


class Layout(NamedTuple):
    """What ``image.toml`` says.

    Attributes:
        file: its name, for errors.
        entry: the symbol where a loader enters.
        physical_base: where the first section is loaded.
        virtual_base: virtual = physical + this, but for sections with ``identity``.
        sources: patterns of the units, relative to the tree.
        include: folders searched by ``.include``, relative to the tree.
        sections: in the order of the image.
    """

    file: str
    entry: str
    physical_base: int
    virtual_base: int
    sources: tuple[str, ...]
    include: tuple[str, ...]
    sections: tuple[OutputSection, ...]

    def units(self, tree: Path) -> list[Path]:
        """The source files of ``tree``, sorted by path.

        Raises:
            InputError: there are none.
        """
        found = {path for pattern in self.sources for path in tree.glob(pattern) if path.is_file()}
        if not found:
            raise InputError(
                f"{tree}: no sources match {', '.join(self.sources)} of {self.file}", stage=STAGE
            )
        return sorted(found, key=lambda path: path.relative_to(tree).as_posix())


def load(image_toml: Path) -> Layout:
    """Read ``image.toml``.

    Raises:
        InputError: it is missing, is no TOML, or lacks or misspells a key.
    """
    mend = "--kernel DIR names a kernel tree, whose root holds image.toml"
    return parse(tomlfile.text(image_toml, stage=STAGE, missing=mend), image_toml)


def parse(text: str, image_toml: Path) -> Layout:
    """``load`` for the text of a file named ``image_toml``."""

    def refuse(message: str) -> InputError:
        return InputError(f"{image_toml}: {message}", stage=STAGE)

    def get(table: dict[str, Any], key: str, kind: Any, where: str, default: Any = None) -> Any:
        value = table.get(key, default)
        if value is None:
            raise refuse(f"{where} lacks `{key}'")
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise refuse(f"{where}: `{key}' is not of type {kind.__name__}")
        if not isinstance(value, list):
            return value
        if not all(isinstance(item, str) and item for item in value):
            raise refuse(f"{where}: `{key}' is no list of names")
        return tuple(value)

    def no_others(table: dict[str, Any], known: set[str], where: str) -> None:
        for key in table:
            if key not in known:
                raise refuse(f"{where}: unknown key `{key}'; known: {', '.join(sorted(known))}")

    table = tomlfile.parse(text, image_toml, stage=STAGE)
    no_others(table, _TOP_KEYS, "the file")
    image = get(table, "image", dict, "the file")
    no_others(image, _IMAGE_KEYS, "[image]")
    sections: list[OutputSection] = []
    rows = table.get("section", [])
    if not isinstance(rows, list):
        raise refuse("`section' is no list of tables: write [[section]]")
    for index, row in enumerate(rows, 1):
        where = f"[[section]] {index}"
        if not isinstance(row, dict):
            raise refuse(f"{where} is no table")
        no_others(row, _SECTION_KEYS, where)
        made = OutputSection(
            get(row, "name", str, where),
            get(row, "inputs", list, where),
            get(row, "flags", str, where),
            get(row, "identity", bool, where, False),
            get(row, "nobits", bool, where, False),
        )
        if any(flag not in "awx" for flag in made.flags):
            raise refuse(f'{where}: flags "{made.flags}" are not of "awx"')
        if any(made.start_symbol == other.start_symbol for other in sections):
            raise refuse(f"{where}: a second section {made.name}")
        sections.append(made)
    layout = Layout(
        image_toml.name,
        get(image, "entry", str, "[image]"),
        get(image, "physical_base", int, "[image]"),
        get(image, "virtual_base", int, "[image]"),
        get(image, "sources", list, "[image]"),
        get(image, "include", list, "[image]", []),
        tuple(sections),
    )
    if not sections:
        raise refuse("no [[section]]")
    if layout.physical_base % PAGE or layout.virtual_base % PAGE:
        raise refuse(f"[image]: physical_base and virtual_base are multiples of {PAGE:#x}")
    if not (0 <= layout.physical_base < _PHYSICAL_END and 0 <= layout.virtual_base < _VIRTUAL_END):
        raise refuse("[image]: physical_base is at most 52 bits, virtual_base 64")
    for key, names in (("sources", layout.sources), ("include", layout.include)):
        for name in names:
            parts = PurePosixPath(name).parts
            if name.startswith("/") or ".." in parts or any("**" in part and part != "**" for part in parts):
                raise refuse(
                    f'[image]: `{key}\' names "{name}": expected a path inside the tree, such as "mm/*.s"'
                )
    return layout


def ld_script(layout: Layout) -> str:
    """The same layout for GNU ld: ``ld -T`` of this makes the same bytes at the same addresses."""
    lines = [f"ENTRY({layout.entry})", "SECTIONS", "{", f"  __physical = {layout.physical_base:#x};"]
    lines.append("  __image_start_physical = __physical;")
    for section in layout.sections:
        physical = f"ALIGN(__physical, {PAGE:#x})"
        address = physical if section.identity else f"{physical} + {layout.virtual_base:#x}"
        inputs = " ".join(f"*({pattern})" for pattern in section.inputs)
        fill = f" ={CODE_FILL:#x}" if "x" in section.flags else ""
        lines += [
            f"  {section.name} ({address}) : AT({physical})",
            f"  {{ {section.start_symbol} = .; {inputs} {section.end_symbol} = .; }}{fill}",
            f"  __physical = LOADADDR({section.name}) + SIZEOF({section.name});",
        ]
    lines += [
        "  __image_end_physical = __physical;",
        "  /DISCARD/ : { *(.eh_frame) *(.comment) *(.note.GNU-stack) }",
        "}",
    ]
    return "\n".join(lines) + "\n"
