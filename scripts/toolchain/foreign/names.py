"""Names for the addresses of a foreign kernel: symbols and lines from whatever its build leaves behind.

Owns the readers of ELF files of both widths, nasm listings and maps, maps of GNU ld, and lists as ``nm`` prints them,
and the choice among them. All give one ``Image``, which the rest of the toolchain knows. Every one of these files was
made by somebody else's build: what is damaged is read as if it were not there.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from toolchain import elf_read, line_table
from toolchain.errors import InputError
from toolchain.files import read_bounded
from toolchain.symbols import SymbolTable
from toolchain.types import Image, Line, Section, Symbol

STAGE = "symbols"
FILE_MAX = 64 << 20
TEXT_MAX = 16 << 20
FILES_MAX = 5000
_TEXT_COLUMN = 40  # of a nasm listing, where the source begins

_ELF32 = struct.Struct("<16sHHIIIIIHHHHHH")
_SECTION32 = struct.Struct("<IIIIIIIIII")
_SYMBOL32 = struct.Struct("<IIIBBH")
_PROGRAM32 = struct.Struct("<IIIIIIII")
_CLASS32, _EXECUTABLE, _I386 = 1, (2, 3), 3
_SYMTAB, _NOBITS, _LOAD = 2, 8, 1
_LETTERS = ((2, "a"), (1, "w"), (4, "x"))
_SPECIAL = 0xFF00
_LISTED = re.compile(
    r"^([ \d]{6}) ([0-9A-F]{8}| {8}) ([0-9A-F()\[\]<>a-z]*(?:<rep [0-9A-F]+h>)?-?) *(?:(<\d+>)| {0,3}) ?(.*)$"
)  # nasm's columns
_INCLUDE = re.compile(r"^\s*%include\s+[\"'<]([^\"'>]+)[\"'>]", re.IGNORECASE)
_ORG = re.compile(r"^\s*(?:\[\s*)?org\s+(0[xX][0-9a-fA-F]+|[0-9][0-9a-fA-F]*[hH]|\d+)", re.IGNORECASE)
_SECTION = re.compile(r"^\s*(?:\[\s*)?(?:section|segment)\s+([.\w]+)", re.IGNORECASE)
_LABEL = re.compile(r"^\s*([A-Za-z_?@][\w$#@~.?]*)(?:\s*:|\s+(?=(?:d[bwdqto]|res[bwdqto]|times)\b))")
_BARE_LABEL = re.compile(r"^([A-Za-z_?@][\w$#@~.?]*)\s*$")
_NASM_SYMBOL = re.compile(r"^ *[0-9A-F]{1,16}  +([0-9A-F]{1,16})  (\S+)$", re.MULTILINE)
_LD_SYMBOL = re.compile(r"^ {8,}0x([0-9a-f]{8,16}) +([A-Za-z_$][\w.$@]*)$", re.MULTILINE)
_NM_SYMBOL = re.compile(r"^([0-9a-f]{8,16}) ([TtDdBbRrAa]) (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Names:
    """What was found: the image, and from which file of the tree."""

    image: Image
    source: str

    def table(self) -> SymbolTable:
        """For looking addresses up."""
        return SymbolTable(self.image, loaded=True)


def find(tree: Path, artifact: Path, origin: int | None = None) -> Names | None:
    """The names of a built kernel, or None where its build leaves none.

    An ELF file tells most, then a listing, then a map. The artifact itself comes first, then files of its name, then
    the newest.

    Args:
        tree: where it was built.
        artifact: what was built, in it.
        origin: where a flat image is loaded, when a listing does not say it.
    """
    code = b"" if elf_read.is_elf(_start(artifact)) else read_bounded(artifact, FILE_MAX, stage=STAGE)
    for suffixes, reader in _READERS:
        for path in _candidates(tree, artifact, suffixes):
            try:
                image = reader(path, tree, code, origin)
            except (InputError, struct.error, IndexError, ValueError):
                continue
            if image is not None and (image.symbols or image.lines):
                return Names(image, path.relative_to(tree).as_posix())
    return None


def _start(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(4)
    except OSError:
        return b""


def _candidates(tree: Path, artifact: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Files of the tree that may tell names, the likeliest first; links that lead out of it are left alone."""
    root = tree.resolve()
    found: list[tuple[tuple[bool, bool, float], Path]] = []
    for count, path in enumerate(tree.rglob("*")):
        if count > FILES_MAX:
            break
        if suffixes and path.suffix not in suffixes:
            continue
        if not path.is_file() or not path.resolve().is_relative_to(root):
            continue
        if not suffixes and not elf_read.is_elf(_start(path)):
            continue
        key = (path != artifact, path.stem != artifact.stem, -path.stat().st_mtime)
        found.append((key, path))
    yield from (path for _, path in sorted(found, key=lambda row: row[0]))


# --- ELF -------------------------------------------------------------------------------------------------------


def _elf(path: Path, tree: Path, code: bytes, origin: int | None) -> Image | None:
    data = read_bounded(path, FILE_MAX, stage=STAGE)
    if data[4] == _CLASS32:
        return elf32(data, tree)
    parsed = elf_read.parse(data, str(path))
    table = SymbolTable(path)
    rows = [(row.address, row.end, row.file, row.line) for row in table._rows]
    return Image(parsed.entry, table.sections, table.symbols, _lines(rows, tree), ())


def elf32(data: bytes, tree: Path) -> Image | None:
    """The image in an ELF32 executable for the 386; None when it is none.

    Raises:
        struct.error, IndexError: it is damaged.
    """
    head = _ELF32.unpack_from(data)
    if head[1] not in _EXECUTABLE or head[2] != _I386:
        return None
    entry, programs_at, sections_at = head[4:7]
    program_count, section_count, names_index = head[10], head[12], head[13]
    loads = [_PROGRAM32.unpack_from(data, programs_at + n * _PROGRAM32.size) for n in range(program_count)]
    headers = [_SECTION32.unpack_from(data, sections_at + n * _SECTION32.size) for n in range(section_count)]

    def body(index: int) -> bytes:
        row = headers[index]
        return b"" if row[1] == _NOBITS else data[row[4] : row[4] + row[5]]

    def text(table: bytes, at: int) -> str:
        return table[at : table.index(b"\0", at)].decode("utf-8", "replace")

    titles = body(names_index)
    named = {text(titles, row[0]): n for n, row in enumerate(headers)}
    sections = []
    for number, row in enumerate(headers):
        letters = "".join(letter for bit, letter in _LETTERS if row[2] & bit)
        home = next((p for p in loads if p[0] == _LOAD and p[2] <= row[3] < p[2] + p[5]), None)
        physical = row[3] - home[2] + home[3] if home else row[3]
        empty = row[1] == _NOBITS
        sections.append(
            Section(text(titles, row[0]), row[3], physical, row[5], body(number), letters, 1, empty)
        )
    symbols = [s for row in headers if row[1] == _SYMTAB for s in _symbols32(row, data, body, sections)]

    def debug(name: str) -> bytes:
        return body(named[name]) if name in named else b""

    rows = line_table.read(
        debug(".debug_line"), "ELF", line_strings=debug(".debug_line_str"), strings=debug(".debug_str")
    )
    loaded = tuple(s for s in sections if "a" in s.flags)
    lines = _lines(((row.address, row.end, row.file, row.line) for row in rows), tree)
    return Image(entry, loaded, tuple(symbols), lines, ())


def _symbols32(row: tuple[int, ...], data: bytes, body: object, sections: list[Section]) -> Iterator[Symbol]:
    strings = body(row[6])  # type: ignore[operator]
    for at in range(row[4], row[4] + row[5], _SYMBOL32.size):
        name_at, value, size, info, _, index = _SYMBOL32.unpack_from(data, at)
        name = strings[name_at : strings.index(b"\0", name_at)].decode("utf-8", "replace")
        kind = {0: "notype", 1: "object", 2: "func"}.get(info & 15)
        if not name or kind is None or index == 0 or name.startswith("."):
            continue
        home = sections[index].name if index < _SPECIAL and index < len(sections) else None
        yield Symbol(name, value, size, kind, home, "", 0, bool(info >> 4))  # type: ignore[arg-type]


def _lines(rows: Iterable[tuple[int, int, str, int]], tree: Path) -> tuple[Line, ...]:
    """Line rows with files as the tree names them: a build writes whole paths, or paths from where it ran."""
    known: dict[str, str] = {}
    found = []
    for address, end, file, line in rows:
        if file not in known:
            known[file] = relative(file, tree)
        found.append(Line(address, end - address, known[file], line))
    return tuple(found)


def relative(file: str, tree: Path) -> str:
    """A file as the tree names it, from what a build wrote; as it is where the tree has no such file."""
    text = file.removeprefix(f"{tree}/").removeprefix(f"{tree.resolve()}/").removeprefix("./")
    if (tree / text).is_file() and not text.startswith("/"):
        return text
    parts = Path(text).parts  # a path of another machine: the longest end of it that the tree has
    for start in range(1, len(parts)):
        end = "/".join(parts[start:])
        if (tree / end).is_file():
            return end
    return text


# --- listings and maps -----------------------------------------------------------------------------------------


def _listing(path: Path, tree: Path, code: bytes, origin: int | None) -> Image | None:
    text = read_bounded(path, TEXT_MAX, stage=STAGE).decode("utf-8", "replace")
    return nasm_listing(text, tree, code, origin)


def nasm_listing(text: str, tree: Path, code: bytes, origin: int | None = None) -> Image | None:
    """The image that a listing of ``nasm -f bin -l`` describes: of its first section, where addresses are known.

    Args:
        text: the listing.
        tree: where the included files lie.
        code: the flat image, for its bytes.
        origin: where it is loaded; None for what ``org`` in the listing says, else 0.
    """
    files = [_main_source(text, tree)]
    pending, base, section, seen = "", origin, ".text", ".text"
    rows: list[tuple[int, str, int]] = []  # offset, file, line
    labels: list[tuple[int, str, str, int]] = []
    waiting: list[tuple[str, str, int]] = []
    for raw in text.split("\n"):
        found = _LISTED.match(raw)
        if found is None:
            continue
        number, offset = int(found[1]), found[2].strip()
        level, source = int((found[4] or "<0>")[1:-1]), raw[_TEXT_COLUMN:]
        if level >= len(files):
            files.append(pending or "?")
        del files[level + 1 :]
        include = _INCLUDE.match(source)
        pending = relative(include[1], tree) if include else pending
        switch, org = _SECTION.match(source), _ORG.match(source)
        section = switch[1] if switch else section
        base = _number(org[1]) if org and base is None else base
        if section != seen:
            continue
        label = _LABEL.match(source) or _BARE_LABEL.match(source)
        if label and not re.match(r"\s*\S+\s+equ\b", source, re.IGNORECASE) and not _is_word(label[1]):
            waiting.append((label[1], files[-1], number))
        if offset:
            at = int(offset, 16)
            labels += [(at, *row) for row in waiting]
            waiting.clear()
            if not rows or rows[-1][1:] != (files[-1], number):
                rows.append((at, files[-1], number))
    base = base or 0
    ends = [*(at for at, _, _ in rows[1:]), len(code)]
    lines = [
        Line(base + at, end - at, file, number)
        for (at, file, number), end in zip(rows, ends, strict=True)
        if end > at
    ]
    home = Section(seen, base, base, len(code), code, "awx", 1)
    symbols = [
        Symbol(name, base + at, 0, "notype", seen, file, line, True) for at, name, file, line in labels
    ]
    return Image(base, (home,), tuple(symbols), tuple(lines), ()) if lines else None


def _main_source(text: str, tree: Path) -> str:
    """The file that a listing begins with: the one whose lines it shows."""
    wanted = [raw[_TEXT_COLUMN:] for raw in text.split("\n")[:400] if (m := _LISTED.match(raw)) and not m[4]]
    best, most = "?", 0
    for path in sorted(tree.rglob("*")):
        if path.suffix in (".asm", ".s", ".nasm", ".S", ".inc") and path.is_file():
            own = path.read_text("utf-8", "replace").split("\n")
            same = sum(a.strip() == b.strip() for a, b in zip(wanted, own, strict=False) if a.strip())
            if same > most:
                best, most = path.relative_to(tree).as_posix(), same
    return best


_WORDS = frozenset(
    [
        "bits",
        "use16",
        "use32",
        "use64",
        "default",
        "cpu",
        "global",
        "extern",
        "align",
        "section",
        "segment",
        "org",
        "times",
        "else",
        "endif",
    ]
)


def _is_word(label: str) -> bool:
    return label.lower() in _WORDS


def _number(text: str) -> int:
    return int(text[:-1], 16) if text[-1] in "hH" else int(text, 0)


def _map(path: Path, tree: Path, code: bytes, origin: int | None) -> Image | None:
    text = read_bounded(path, TEXT_MAX, stage=STAGE).decode("utf-8", "replace")
    pairs = [(int(a, 16), n) for a, n in _NASM_SYMBOL.findall(text) if not n.startswith("..")]
    pairs = pairs or [(int(a, 16), n) for a, n in _LD_SYMBOL.findall(text) if not n.startswith(".")]
    pairs = pairs or [(int(a, 16), n) for a, _, n in _NM_SYMBOL.findall(text)]
    pairs = [(address, name) for address, name in pairs if "." not in name]
    if not pairs:
        return None
    base = origin if origin is not None else min(address for address, _ in pairs)
    size = max(len(code), max(address for address, _ in pairs) - base + 1)
    home = Section(".text", base, base, size, code, "awx", 1, nobits=not code)
    symbols = [
        Symbol(name, at, 0, "notype", ".text" if at >= base else None, "", 0, True) for at, name in pairs
    ]
    return Image(base, (home,), tuple(symbols), (), ())


_READERS = (
    ((), _elf),
    ((".lst", ".list", ".lis"), _listing),
    ((".map", ".sym", ".syms"), _map),
)
