"""Tools that read: sources, symbols, instructions, lessons. None of them starts a machine."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from architect.tools.base import Answer, schema
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.tools.desk import Desk
    from toolchain.symbols import SymbolTable
    from toolchain.types import Symbol

STAGE = "tools"
LINES_MAX = 400
HITS_MAX = 100
LINE_SHOWN = 200  # characters of a line
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}")
_FILE = {"type": "string", "minLength": 1, "maxLength": 200}
_NAME = {"type": "string", "minLength": 1, "maxLength": 200}


def file_text(desk: Desk, name: str) -> tuple[str, str]:
    """A source by its name, or by an end of it that only one has: name and text.

    Raises:
        InputError: no such source, or several; says which are near.
    """
    texts = {**desk.texts(), **desk.sources()}
    name = name.removeprefix("kernel/")
    if name in texts:
        return name, texts[name]
    ends = [known for known in texts if known.endswith(f"/{name}")]
    if len(ends) == 1:
        return ends[0], texts[ends[0]]
    near = ends or difflib.get_close_matches(name, texts, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else "; search finds names"
    raise InputError(f"{name}: no source of the tree{hint}", stage=STAGE)


def find_symbol(table: SymbolTable, text: str) -> tuple[int, Symbol | None]:
    """An address and its symbol, from ``0x...``, a name or ``name+0x10``.

    Raises:
        InputError: no such symbol; names near ones.
    """
    if _ADDRESS.fullmatch(text):
        address = int(text, 0) if text.startswith("0x") else int(text)
        if address >= 1 << 64:
            raise InputError(f"{text}: an address has 64 bits", stage=STAGE)
        return address, table.symbol_at(address)
    name, _, rest = text.partition("+")
    symbol = table.find(name.strip())
    if symbol is None:
        near = difflib.get_close_matches(name, {s.name for s in table.symbols}, n=3, cutoff=0.5)
        near += [s.name for s in table.symbols if len(name) > 2 and name in s.name and s.name not in near][:3]
        hint = f"; did you mean {' or '.join(near[:3])}?" if near else ""
        raise InputError(f"no symbol '{name}'{hint}", stage=STAGE)
    offset = int(rest, 0) if _ADDRESS.fullmatch(rest.strip()) else 0
    return symbol.address + offset, symbol


def numbered(text: str, first: int, last: int, *, mark: int = 0) -> str:
    """Lines of a text with their numbers; ``mark`` gets an arrow."""
    rows = text.split("\n")[first - 1 : last]
    return "\n".join(
        f"{'>' if number == mark else ' '}{number:>5}  {row[:LINE_SHOWN]}"
        for number, row in enumerate(rows, first)
    )


class ReadSource:
    """``read_source``."""

    name = "read_source"
    summary = (
        "Read lines of a source file of the kernel tree (e.g. mm/page.s, include/paging.inc, boot.toml) or a shader"
        " (shaders/NAME.wgsl), with line numbers; proposed edits are in it. With symbol, the routine of that name."
    )
    parameters = schema(
        file=_FILE,
        symbol={**_NAME, "description": "a routine: its header and body are shown"},
        first={"type": "integer", "minimum": 1, "maximum": 1_000_000},
        last={"type": "integer", "minimum": 1, "maximum": 1_000_000},
    )

    def call(
        self,
        desk: Desk,
        file: str | None = None,
        symbol: str | None = None,
        first: int | None = None,
        last: int | None = None,
    ) -> Answer:
        """The lines; at most ``LINES_MAX`` of them."""
        if symbol is not None:
            name, begin, end = place_of(desk, symbol)
            text = desk.texts()[name]
        elif file is not None:
            name, text = file_text(desk, file)
            begin = first or 1
            end = last or begin + LINES_MAX - 1
        else:
            raise InputError("read_source: give a file or a symbol", stage=STAGE)
        count = text.count("\n") + (not text.endswith("\n"))
        end = min(end, count, begin + LINES_MAX - 1)
        if begin > count or end < begin:
            raise InputError(f"{name}: has {count} lines", stage=STAGE)
        head = f"{name}, lines {begin} to {end} of {count}"
        data = {"file": name, "first": begin, "last": end, "lines": count}
        return Answer(f"{head}\n{numbered(text, begin, end)}", data)


def place_of(desk: Desk, symbol: str) -> tuple[str, int, int]:
    """Where the sources define a name: file, first and last line (its header and body where it is a routine).

    Raises:
        InputError: they do not.
    """
    texts = desk.texts()
    label = re.compile(
        rf"^\s*(?:{re.escape(symbol)}:|(?:function|entry|isr\w*|global)\s+{re.escape(symbol)}\b)"
    )
    for name in sorted(texts):
        if symbol not in texts[name] or not name.endswith((".s", ".inc")):
            continue
        rows = texts[name].split("\n")
        at = next((n for n, row in enumerate(rows) if label.match(row)), None)
        if at is None:
            continue
        begin = at
        while begin > 0 and rows[begin - 1].startswith("#"):
            begin -= 1
        ends = re.compile(rf"^\s*end_function\s+{re.escape(symbol)}\b")
        end = next((n for n in range(at, len(rows)) if ends.match(rows[n])), None)
        if end is None:
            end = next((n - 1 for n in range(at + 1, len(rows)) if not rows[n].strip()), len(rows) - 1)
        return name, begin + 1, end + 1
    known = set(desk.headers())
    near = difflib.get_close_matches(symbol, known, n=3)
    hint = f"; did you mean {' or '.join(near)}?" if near else ""
    raise InputError(f"no source defines '{symbol}'{hint}", stage=STAGE)


class Search:
    """``search``."""

    name = "search"
    summary = (
        "Search all sources of the kernel tree and the shaders for a text (literal, any case); answers with file:line"
        " and the line. Narrow it with files, a pattern such as mm/*.s."
    )
    parameters = schema(
        ("text",),
        text={"type": "string", "minLength": 2, "maxLength": 200},
        files={"type": "string", "minLength": 1, "maxLength": 100, "description": "e.g. cpu/*.s"},
        limit={"type": "integer", "minimum": 1, "maximum": HITS_MAX},
    )

    def call(self, desk: Desk, text: str, files: str = "*", limit: int = 40) -> Answer:
        """The hits in the order of the files."""
        hits = []
        for name, row, line in _hits({**desk.texts(), **desk.sources()}, text.lower(), files):
            hits.append({"file": name, "line": row, "text": line.strip()[:LINE_SHOWN]})
        shown = [f"{hit['file']}:{hit['line']}: {hit['text']}" for hit in hits[:limit]]
        if len(hits) > limit:
            shown.append(f"… and {len(hits) - limit} more; narrow it with files")
        return Answer("\n".join(shown) or f"nothing holds {text!r}", hits[:limit], ok=bool(hits))


def _hits(texts: Mapping[str, str], wanted: str, files: str) -> Iterator[tuple[str, int, str]]:
    for name in sorted(texts):
        if fnmatch.fnmatchcase(name, files) and wanted in texts[name].lower():
            for number, line in enumerate(texts[name].split("\n"), 1):
                if wanted in line.lower():
                    yield name, number, line


class Symbols:
    """``symbols``."""

    name = "symbols"
    summary = "List symbols of the linked kernel whose name fits a pattern (e.g. page_*), with address, size and place."
    parameters = schema(
        ("pattern",), pattern=_NAME, limit={"type": "integer", "minimum": 1, "maximum": HITS_MAX}
    )

    def call(self, desk: Desk, pattern: str, limit: int = 60) -> Answer:
        """The symbols by address."""
        table = desk.table()
        wanted = pattern if any(c in pattern for c in "*?[") else f"*{pattern}*"
        found = [s for s in table.symbols if fnmatch.fnmatchcase(s.name, wanted)]
        rows = [
            {
                "name": s.name,
                "address": hex(s.address),
                "size": s.size,
                "kind": s.kind,
                "file": s.file,
                "line": s.line,
            }
            for s in found[:limit]
        ]
        lines = [
            f"{row['address']:>18}  {row['size']:>6}  {row['kind']:<7} {row['name']}  {row['file']}:{row['line']}"
            for row in rows
        ]
        if len(found) > limit:
            lines.append(f"… and {len(found) - limit} more")
        return Answer("\n".join(lines) or f"no symbol fits {wanted!r}", rows, ok=bool(found))


class Disassemble:
    """``disassemble``."""

    name = "disassemble"
    summary = (
        "Disassemble the linked kernel: a routine, or instructions from an address, with their source lines."
    )
    parameters = schema(
        ("at",),
        at={**_NAME, "description": "symbol, symbol+0x10 or 0xADDRESS"},
        count={"type": "integer", "minimum": 1, "maximum": LINES_MAX},
    )

    def call(self, desk: Desk, at: str, count: int | None = None) -> Answer:
        """The instructions."""
        from toolchain import disassemble

        table = desk.table()
        start, symbol = find_symbol(table, at)
        section = table.section_at(start)
        if section is None or section.nobits:
            raise InputError(f"{at}: no bytes of the kernel's file lie there", stage=STAGE)
        end = section.address + section.size
        if symbol is not None and count is None:
            end = table.extent(symbol)[1]
        lines: list[str] = []
        rows: list[dict[str, Any]] = []
        previous: tuple[str | None, int | None] = (None, None)
        for instruction in disassemble.stretch(table, start, end):
            if len(rows) >= (count or LINES_MAX):
                break
            place = table.place(instruction.address)
            if place.symbol and place.offset == 0:
                lines.append(f"{place.symbol}:")
            refers = disassemble.comment(instruction, table.place)
            where = (
                f"{place.file}:{place.line}" if (place.file, place.line) != previous and place.file else ""
            )
            previous = (place.file, place.line)
            text = f"{instruction.text}  # {refers}" if refers else instruction.text
            lines.append(
                f"  {instruction.address:#x}  {instruction.data.hex():<20} {text:<48} {where}".rstrip()
            )
            rows.append({"address": hex(instruction.address), "text": instruction.text, "place": where})
        return Answer("\n".join(lines), rows)


class Explain:
    """``explain``."""

    name = "explain"
    summary = (
        "Explain an address or a symbol: what it is, where it stands, the routine's header (what it takes, gives,"
        " destroys), who calls it and what it calls, and its source."
    )
    parameters = schema(("what",), what={**_NAME, "description": "symbol or 0xADDRESS"})

    def call(self, desk: Desk, what: str) -> Answer:
        """The sheet of one place."""
        from architect.tools.explaining import sheet

        return sheet(desk, what)


class RecallLessons:
    """``recall_lessons``."""

    name = "recall_lessons"
    summary = "Search the lessons of past repairs for words (e.g. 'page table shift'); without words, the best ones."
    parameters = schema(
        words={"type": "string", "maxLength": 300}, limit={"type": "integer", "minimum": 1, "maximum": 50}
    )

    def call(self, desk: Desk, words: str = "", limit: int = 10) -> Answer:
        """The lessons, best match first."""
        store = desk.lessons()
        if words.strip():
            found = store.search(words, limit)
        else:
            found = sorted(store.all(), key=lambda x: (x.misled - x.helped, -x.id))[:limit]
        rows = [
            {"id": x.id, "cause": x.cause, "helped": x.helped, "misled": x.misled, "edit": dict(x.edit)}
            for x in found
        ]
        lines = [f"lesson {x.id} (helped {x.helped}, misled {x.misled}): {x.cause}" for x in found]
        return Answer("\n".join(lines) or "no lesson is stored that fits", rows)
