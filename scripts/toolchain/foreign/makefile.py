"""What a kernel's makefile and scripts say: what they make, by which rules, and the machine that they start.

Owns the reading of them, as text: variables and recipes of the plain kind, one QEMU command line. It runs nothing, and
functions of make come to nothing.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

IMAGES = {
    ".iso": 0,
    ".img": 1,
    ".flp": 1,
    ".raw": 1,
    ".elf": 2,
    ".bin": 3,
}  # endings of what boots, likeliest first
_DEPTH = 6  # of variables that name variables
_LONG = 1 << 14  # characters by which a short text may grow

_TARGET = re.compile(
    r"^([\w./$(){}-]+\.(?:iso|img|bin|elf|flp|raw)|kernel|[\w./-]*os)[ \t]*:(?!=)", re.MULTILINE
)
_VARIABLE = re.compile(r"^[ \t]*(?:export[ \t]+)?(\w+)[ \t]*[:?]?=([^#\n]*)", re.MULTILINE)
_RULE = re.compile(r"^([^\s#:=%][^#:=%\n]{0,400}):(?![=:])", re.MULTILINE)
_OUTPUT = re.compile(r"(?:-o[ \t]{0,40}|of=)([\w./-]+)")
_QEMU = r"(?:qemu-system-(?:x86_64|i386)|\$[({]QEMU[)}])[ \t]+(.*)$"
_RECIPE = re.compile(rf"^\t.*?{_QEMU}", re.MULTILINE)
_SCRIPT = re.compile(rf"^(?![ \t]*#).*?{_QEMU}", re.MULTILINE)
_END = re.compile(r"\s(?:[|;&]|\d?>)")  # of a command
_FILE = re.compile(r"[\w+.-]+(?:/[\w+.-]+)*")
_PLACES = {"-hda": 0, "-hdb": 1, "-hdc": 2, "-hdd": 3}


@dataclass(frozen=True, slots=True)
class Machine:
    """A QEMU command line.

    Attributes:
        options: option and value of each that names no image.
        boots: the image that it starts from, as far as the line names one: a kernel, a CD, a floppy, the first disk.
        disks: the further disks, in order.
    """

    options: tuple[tuple[str, str | None], ...] = ()
    boots: str | None = None
    disks: tuple[str, ...] = ()


class Makefile:
    """A makefile, and the shell scripts beside it.

    Args:
        text: of the makefile; empty when there is none.
        scripts: of the shell scripts.
    """

    def __init__(self, text: str, scripts: str = "") -> None:
        self.text = text.replace("\\\n", " ")
        self.scripts = scripts.replace("\\\n", " ")
        self._variables: dict[str, str] = {}
        for name, value in _VARIABLE.findall(self.text):
            self._variables.setdefault(name, value.strip())

    def expanded(self, text: str) -> str:
        """With the values of plain variables; what is not known is left out."""
        room = 4 * len(text) + _LONG  # values that name values grow without end

        def value(found: re.Match[str]) -> str:
            nonlocal room
            word = self._variables.get(found[1], "")
            room -= len(word)
            return word if room > 0 else ""

        for _ in range(_DEPTH):
            text = re.sub(r"\$[({](\w+)[)}]", value, text)
        return re.sub(r"\$[({][^(){}]*[)}]|\$\w", "", text)

    @cached_property
    def rules(self) -> tuple[str, ...]:
        """The targets that have a rule of their own, in order."""
        names = [name for left in _RULE.findall(self.text) for name in self.expanded(left).split()]
        return tuple(dict.fromkeys(name for name in names if not name.startswith(".")))

    def products(self) -> Iterator[str]:
        """Files with the endings of what boots, and targets called like kernels; any of them more than once."""
        for name in _TARGET.findall(self.text):
            yield self.expanded(name)
        for name in _OUTPUT.findall(self.expanded(self.text) + "\n" + self.scripts):
            if PurePosixPath(name).suffix in IMAGES:
                yield name
        for value in self._variables.values():
            word = self.expanded(value)
            if PurePosixPath(word).suffix in IMAGES and " " not in word and "*" not in word:
                yield word

    @cached_property
    def machine(self) -> Machine:
        """The first machine that is started."""
        found = _RECIPE.search(self.text) or _SCRIPT.search(self.scripts)
        return _machine(_END.split(self.expanded(found[1]))[0]) if found else Machine()


def _machine(line: str) -> Machine:
    options: list[tuple[str, str | None]] = []
    disks: dict[int, str] = {}
    first: dict[int, str] = {}  # what is not a hard disk, by how surely the machine starts from it
    for word, value in _options(line):
        drive = (
            dict(part.partition("=")[::2] for part in (value or "").split(",")) if word == "-drive" else {}
        )
        name = drive.get("file", value) or ""
        kind = drive.get("media", drive.get("if", ""))
        if not _FILE.fullmatch(name) or ".." in name or kind in ("pflash", "none", "virtio"):
            options.append((word, value))
        elif word == "-kernel":
            first[0] = name
        elif word == "-cdrom" or kind == "cdrom":
            first[1] = name
        elif word == "-fda" or kind == "floppy":
            first[2] = name
        elif word in _PLACES or word == "-drive":
            place = str(drive.get("index", _PLACES.get(word, len(disks))))
            disks[int(place) if place.isdecimal() and len(place) < 3 else len(disks)] = name
        else:
            options.append((word, value))
    hard = [disks[place] for place in sorted(disks)]
    boots = first[min(first)] if first else hard[0] if hard else None
    return Machine(tuple(options), boots, tuple(name for name in hard if name != boots))


def _options(line: str) -> Iterator[tuple[str, str | None]]:
    """The options of a command line, each with its value; an image that stands alone is the first disk."""
    try:
        words = shlex.split(line)
    except ValueError:
        return
    at = 0
    while at < len(words):
        word = words[at]
        value = words[at + 1] if at + 1 < len(words) and not words[at + 1].startswith("-") else None
        if word.startswith("-"):
            yield word, value
        elif PurePosixPath(word).suffix in IMAGES:
            yield "-hda", word
            value = None
        else:
            value = None
        at += 1 if value is None else 2
