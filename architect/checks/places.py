"""Where in the sources the bytes of the image's data stand.

The image knows the line of each label and no more. From there the directives are counted off, as far as their sizes
can be told from the text; where they cannot, the last line that was sure is the place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from architect.checks import Subject
from toolchain.expr import literal

_SIZES = {
    ".byte": 1, ".short": 2, ".word": 2, ".value": 2, ".2byte": 2, ".long": 4, ".int": 4, ".4byte": 4, ".quad": 8,
    ".8byte": 8,
}  # fmt: skip
_LABEL = re.compile(r"^\s*[.\w$]+:\s*")
_STATEMENT = re.compile(r"^\s*(\S+)\s*(.*)$")
_EMPTY = {".global", ".globl", ".type", ".size", ".set", ".local", "object", "end_object"}
_LINES_MAX = 4096


def place(subject: Subject, address: int) -> str | None:
    """``file:line`` of the directive that holds the byte at ``address``; None when no source can be named."""
    begin = _label(subject, address) or _section(subject, address)
    if begin is None:
        return None
    file, line, at = begin
    lines = subject.sources.get(file, "").split("\n")
    for number in range(line, min(len(lines), line + _LINES_MAX) + 1):
        size = _size(lines[number - 1], at)
        if size is None:
            break
        if at <= address < at + size:
            line = number
            break
        at += size
    return f"{file}:{line}"


def places(subject: Subject, *addresses: int) -> tuple[str, ...]:
    """The places of several bytes, each once."""
    found = (place(subject, address) for address in addresses)
    return tuple(dict.fromkeys(text for text in found if text is not None))


def directives(subject: Subject, section: str, flags: str) -> tuple[str, ...]:
    """Where the sources say that a section has all of these flags."""
    pattern = re.compile(rf'^\s*\.section\s+{re.escape(section)}[\w.]*\s*,\s*"(\w*)"')
    return tuple(
        f"{file}:{number}"
        for file, text in subject.sources.items()
        for number, line in enumerate(text.split("\n"), 1)
        if (match := pattern.match(line)) and set(flags) <= set(match[1])
    )


def _label(subject: Subject, address: int) -> tuple[str, int, int] | None:
    """File, line and address of the nearest label at or before an address, in the same section."""
    home = subject.section(address)
    if home is None:
        return None
    near = [
        s
        for s in subject.image.symbols
        if s.section == home.name and s.file and s.address <= address and s.line
    ]
    best = max(near, key=lambda s: (s.address, -s.size), default=None)
    return (best.file, best.line, best.address) if best else None


def _section(subject: Subject, address: int) -> tuple[str, int, int] | None:
    """Where the sources open a section that has no labels in the image."""
    home = subject.section(address)
    opened = directives(subject, home.name, "") if home else ()
    if home is None or not opened:
        return None
    file, line = opened[0].rsplit(":", 1)
    return file, int(line) + 1, home.address


def _size(text: str, at: int) -> int | None:
    """Bytes that a source line puts at an address; None when its text alone does not say."""
    text = _LABEL.sub("", text.split("#")[0] if '"' not in text else text)
    match = _STATEMENT.match(text)
    if not match or not match[1]:
        return 0
    name, rest = match[1], match[2].rstrip()
    if name in _SIZES:
        return _SIZES[name] * len(list(_operands(rest)))
    if name in (".asciz", ".string", ".ascii"):
        strings = re.findall(r'"((?:[^"\\]|\\.)*)"', rest)
        plain = sum(len(re.sub(r"\\(?:[0-7]{1,3}|x[0-9a-fA-F]+|.)", ".", s).encode()) for s in strings)
        return plain + (0 if name == ".ascii" else len(strings))
    if name in (".balign", ".skip", ".space", ".zero"):
        first = next(_operands(rest), "")
        if not re.fullmatch(r"0x[0-9a-fA-F]+|\d+", first):
            return None
        count = literal(first)
        return -at % max(1, count) if name == ".balign" and count is not None else count
    return 0 if name in _EMPTY else None


def _operands(text: str) -> Iterator[str]:
    depth, begin = 0, 0
    for index, char in enumerate(text):
        depth += (char in "([") - (char in ")]")
        if char == "," and not depth:
            yield text[begin:index].strip()
            begin = index + 1
    yield text[begin:].strip()
