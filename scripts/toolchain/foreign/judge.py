"""What a foreign kernel must say, and must not: regular expressions on what COM1, the debug port and the screen show.

Owns the three streams and the verdict on them. Never talks to QEMU. Success is an expression that matched or an exit
status that was named; silence is neither.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass, field

from toolchain.foreign.config import Foreign

SERIAL, DEBUG, SCREEN = "COM1", "the debug port", "the screen"
KEPT = 256 << 10  # characters of a stream that are searched, from its end
_NEAR_KEPT = 2 << 10  # the same, for a part of what must be said: many parts are tried
COLUMNS, ROWS = 80, 25
_BANNER, _LAST = "SeaBIOS", "Booting from"
_SAYS = (_BANNER, "iPXE", "Press Ctrl", _LAST)  # what SeaBIOS says, line by line
_BIOS = re.compile(rf"{'|'.join(_SAYS)}|$|\s*\*+$")
VGA_TEXT, VGA_BYTES = 0xB8000, COLUMNS * ROWS * 2


@dataclass(frozen=True, slots=True)
class Match:
    """An expression that matched: where, and the line that holds it."""

    pattern: str
    stream: str
    line: str


@dataclass
class Judge:
    """Takes what the streams say and knows at any time what is proved."""

    foreign: Foreign
    streams: dict[str, str] = field(default_factory=dict)
    ready: Match | None = None
    forbidden: Match | None = None
    spoke: bool = False
    changed: bool = False
    heard: int = 0  # how often something new was said

    def hear(self, stream: str, text: str) -> None:
        """More characters of a stream."""
        if not text:
            return
        self.spoke = True
        self._look(stream, self.streams.get(stream, "") + text.replace("\r\n", "\n"))

    def see(self, cells: bytes) -> None:
        """The screen as it is now: character and attribute for each cell."""
        text = screen_text(cells)
        if text != self.streams.get(SCREEN):
            self.spoke = self.spoke or bool(text)
            self._look(SCREEN, text)

    def _look(self, stream: str, text: str) -> None:
        self.changed = True
        self.heard += 1
        self.streams[stream] = text[-KEPT:]
        for pattern in self.foreign.forbid:
            self.forbidden = self.forbidden or _match(pattern, stream, self.streams[stream])
        if self.foreign.ready is not None and self.ready is None:
            self.ready = _match(self.foreign.ready, stream, self.streams[stream])

    def recall(self) -> None:
        """Look at the forbidden words again: their line may have gone on."""
        if self.forbidden is not None:
            seen = _match(self.forbidden.pattern, self.forbidden.stream, self.streams[self.forbidden.stream])
            self.forbidden = seen or self.forbidden

    @property
    def passed(self) -> bool:
        """What must be said has been said, and nothing that must not."""
        return self.forbidden is None and (self.foreign.ready is None or self.ready is not None)

    def lines(self) -> int:
        """How many lines were said that are not forbidden."""
        rows = [row for text in self.streams.values() for row in text.splitlines() if row.strip()]
        return sum(not any(re.search(p, row) for p in self.foreign.forbid) for row in rows)

    def nearness(self) -> float:
        """Which part of the expression that proves success, from its beginning, something said matches; 0 to 1."""
        wanted = self.foreign.ready
        if wanted is None or self.ready is not None:
            return 1.0
        said = [text[-_NEAR_KEPT:] for text in self.streams.values()]
        for length in range(len(wanted) - 1, 0, -1):
            with suppress(re.error):  # cut in the middle of a group
                begun = re.compile(wanted[:length], re.MULTILINE)
                if any((found := begun.search(text)) and found.end() > found.start() for text in said):
                    return length / len(wanted)
        return 0.0

    def missing(self) -> str:
        """What has not come, in a clause, with the last line that did."""
        wanted = f"nothing matches ready = {self.foreign.ready!r}"
        for stream in (SERIAL, DEBUG, SCREEN):
            lines = [line.strip() for line in self.streams.get(stream, "").splitlines() if line.strip()]
            if lines:
                return f"{wanted}; the last line on {stream}: {lines[-1][:120]!r}"
        return f"{wanted}; the kernel said nothing"


def _match(pattern: str, stream: str, text: str) -> Match | None:
    found = re.search(pattern, text, re.MULTILINE)
    if found is None:
        return None
    start = text.rfind("\n", 0, found.start()) + 1
    end = text.find("\n", found.end())
    return Match(pattern, stream, text[start : end if end >= 0 else len(text)].strip()[:300])


def screen_text(cells: bytes) -> str:
    """The lines of the text screen, without trailing blanks and lines, and without what the BIOS says."""
    rows = []
    for row in range(ROWS):
        line = cells[row * COLUMNS * 2 : (row + 1) * COLUMNS * 2 : 2]
        rows.append("".join(chr(c) if 0x20 <= c < 0x7F else " " for c in line).rstrip())
    said = [row for row in rows if not _BIOS.match(row)]
    speaking = any(row.startswith(_BANNER) for row in rows) and not any(row.startswith(_LAST) for row in rows)
    if speaking and said and any(text.startswith(said[-1]) for text in _SAYS):
        said.pop()  # the BIOS is in the middle of it
    return "\n".join(said).strip("\n")
