"""The edit protocol: plain-text search/replace blocks, from a model's answer to exact edits of the sources.

Owns the grammar that users of aider know (a file's name, ``<<<<<<< SEARCH``, ``=======``, ``>>>>>>> REPLACE``), which
files may be named, and what the model is told where a block cannot be read or applied. How a block finds its place
is ``architect.model.placing``. Writes no file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher, get_close_matches
from pathlib import PurePosixPath
from typing import Any

from architect.model import placing
from architect.model.placing import EditError
from architect.protocols import Edit

BLOCKS_MAX = 32
BLOCK_LINES_MAX = 400
NAMES_SHOWN = 12
# An answer as one JSON object, for servers that hold a model to a schema; blocks are what is asked for first.
SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "cause": {"type": "string"},
        "edits": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {key: {"type": "string"} for key in ("file", "search", "replace")},
                "required": ["file", "search", "replace"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["cause", "edits"],
    "additionalProperties": False,
}
MARK_MAX = 300  # characters of a line that may be a marker or hold a file's name

_OPEN = re.compile(r"^\s*<{5,9}\s*(?:SEARCH|ORIGINAL|OLD|HEAD)?\b[: ]*(?P<file>\S*)\s*$", re.I)
_MIDDLE = re.compile(r"^\s*={5,9}\s*$")
_CLOSE = re.compile(r"^\s*>{5,9}\s*(?:REPLACE|UPDATED|NEW)?\b.*$", re.I)
_FENCE = re.compile(r"^\s*(?:```+|~~~+)\s*([\w.+/:-]*)\s*$")
_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.S | re.I)
_NAME_AROUND = re.compile(r"^[\s#>*_`'\"]*(?:(?:file(?:name)?|path)\s*:\s*)?|[\s:*_`'\"]*$", re.I)
_NAME = re.compile(r"^[\w.+-]+(?:/[\w.+-]+)*\.\w+$")
_ROOTS = ("a/", "b/", "./", "kernel/", "/")


@dataclass(frozen=True, slots=True)
class Block:
    """One search/replace block; ``file`` as the model wrote it (empty where it wrote none), lines without ends."""

    file: str
    search: tuple[str, ...]
    replace: tuple[str, ...]


def _is(pattern: re.Pattern[str], line: str) -> re.Match[str] | None:
    """Whether a line is a marker or a name; one so long is none, and would be looked at for ever."""
    return pattern.match(line) if len(line) <= MARK_MAX else None


def parse(text: str) -> list[Block]:
    """The blocks of an answer, in order; empty when there is none.

    Reasoning in ``<think>`` is no answer. A block whose file is not named belongs to the file of the one before it.

    Raises:
        EditError: a block is not whole.
    """
    lines = _THOUGHT.sub("", text).replace("\r\n", "\n").split("\n")
    blocks = [*_from_json("\n".join(lines))]
    file, position = "", 0
    while position < len(lines):
        found = _is(_OPEN, lines[position])
        if not found or not lines[position].lstrip().startswith("<"):
            position += 1
            continue
        file = found["file"] if _NAME.match(found["file"]) else _named_before(lines, position) or file
        search, position = _until(lines, position + 1, _MIDDLE, "=======")
        replace, position = _until(lines, position, _CLOSE, ">>>>>>> REPLACE", nested=_OPEN)
        blocks.append(Block(file, _unfenced(search), _unfenced(replace)))
        if len(blocks) > BLOCKS_MAX:
            raise EditError(f"more than {BLOCKS_MAX} blocks; send only the edits that the repair needs")
    return blocks


def cause(text: str) -> str:
    """What an answer in JSON says of its edits; empty for any other."""
    value = _object(_THOUGHT.sub("", text))
    return str(value.get("cause", "")).strip()


def _from_json(text: str) -> Iterable[Block]:
    """The blocks of an answer that was held to ``SCHEMA``."""
    rows = _object(text).get("edits")
    for row in rows if isinstance(rows, list) else ():
        keys = ("file", "search", "replace")
        if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in keys):
            raise EditError("an edit in JSON has the texts 'file', 'search' and 'replace'")
        search, replace = (tuple(row[key].rstrip("\n").split("\n")) if row[key] else () for key in keys[1:])
        yield Block(row["file"], search, replace)


def _object(text: str) -> dict[str, Any]:
    if not text.lstrip().startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _until(
    lines: Sequence[str], start: int, end: re.Pattern[str], name: str, nested: re.Pattern[str] | None = None
) -> tuple[list[str], int]:
    """The lines up to a marker, and the place behind it."""
    for position in range(start, min(len(lines), start + BLOCK_LINES_MAX)):
        if _is(end, lines[position]):
            return list(lines[start:position]), position + 1
        stop = _is(_OPEN, lines[position]) and lines[position].lstrip().startswith("<<<<<")
        if stop or (nested is None and _is(_CLOSE, lines[position])):
            break
    else:
        if len(lines) - start > BLOCK_LINES_MAX:
            raise EditError(f"a block has more than {BLOCK_LINES_MAX} lines; send smaller ones")
    raise EditError(
        f"a block is not whole: the line {name} is missing. Each block is: the file's name on a line of its own, "
        "<<<<<<< SEARCH, the lines as they stand, =======, the lines that replace them, >>>>>>> REPLACE"
    )


def _named_before(lines: Sequence[str], position: int) -> str:
    """The file's name on one of the three lines before a block, whatever stands around it."""
    for line in reversed(lines[max(0, position - 3) : position]):
        if len(line) > MARK_MAX:
            continue
        if _CLOSE.match(line) and line.lstrip().startswith(">>>>>"):
            return ""
        fence = _FENCE.match(line)
        name = (fence[1] if fence else _NAME_AROUND.sub("", line)).removeprefix("file:")
        if _NAME.match(name):
            return name
        last = _NAME_AROUND.sub("", line.rstrip().rpartition(" ")[2])
        if not fence and _NAME.match(last) and "/" in last:
            return last
    return ""


def _unfenced(lines: Sequence[str]) -> tuple[str, ...]:
    """Without a fence of Markdown that stands inside the markers, around everything."""
    kept = list(lines)
    if len(kept) >= 2 and _FENCE.match(kept[0]) and _FENCE.match(kept[-1]):
        kept = kept[1:-1]
    return tuple(kept)


def apply(blocks: Sequence[Block], sources: Mapping[str, str]) -> tuple[Edit, ...]:
    """The edits that the blocks make, by line of ``sources``; several in one file may build on each other.

    Args:
        blocks: of ``parse``.
        sources: file -> text of what may be edited, and of nothing else.

    Raises:
        EditError: a block names no file that may be edited, has no one place, or changes nothing; the message is for
            the model.
    """
    if not blocks:
        raise EditError("no edit block was found")
    texts: dict[str, list[str]] = {}
    for number, block in enumerate(blocks, 1):
        where = f"block {number}" if len(blocks) > 1 else "the block"
        file = _file_of(block, sources, where)
        lines = texts.setdefault(file, sources[file].split("\n"))
        texts[file] = placing.replaced(block.search, block.replace, lines, f"{where}, {file}")
    edits = [edit for file, lines in texts.items() for edit in differences(file, sources[file], lines)]
    if not edits:
        raise EditError("the blocks change nothing: SEARCH and REPLACE come to the same lines")
    return tuple(edits)


def _file_of(block: Block, sources: Mapping[str, str], where: str) -> str:
    if not block.file:
        exact = [name for name, text in sources.items() if placing.stands(block.search, text.split("\n"))]
        if len(exact) == 1:
            return exact[0]
        raise EditError(f"{where} names no file; write the file's name on the line before <<<<<<< SEARCH")
    name = block.file
    for candidate in _spellings(name):
        if candidate in sources:
            return candidate
    same = [known for known in sources if PurePosixPath(known).name == PurePosixPath(name).name]
    if len(same) == 1:
        return same[0]
    near = same or get_close_matches(name, list(sources), NAMES_SHOWN, 0.5)
    hint = f"; did you mean {', '.join(near[:NAMES_SHOWN])}?" if near else ""
    raise EditError(
        f"{where}: {name} is no file that may be edited (tests, boot.toml, image.toml and what judges the repair "
        f"never are){hint}"
    )


def _spellings(name: str) -> Iterable[str]:
    yield name
    for root in _ROOTS:
        if name.startswith(root):
            yield from _spellings(name[len(root) :])


def differences(file: str, before: str, after: Sequence[str]) -> Iterable[Edit]:
    """The edits that turn one text into other lines, as small as lines allow."""
    old = before.split("\n")
    matcher = SequenceMatcher(None, old, list(after), autojunk=False)
    for kind, first, last, start, end in matcher.get_opcodes():
        if kind != "equal":
            yield Edit(file, first + 1, tuple(old[first:last]), tuple(after[start:end]))
