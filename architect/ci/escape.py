"""Foreign text made harmless for the form that it stands in: workflow commands, Markdown, XML, one line.

Owns the escapes and nothing else. GitHub's runner reads commands from whatever a step prints: ``::name::`` at the
beginning of a line, ``##[name]`` anywhere in one (``ActionCommand.cs`` of actions/runner). Markdown of a pull request
notifies who is ``@named`` and closes what ``fixes #1`` names, but not inside of code.
"""

from __future__ import annotations

import re

from toolchain import printable as plain

LINE_MAX = 300  # characters of a foreign text on one line
_LEGACY = "##["
_XML_INVALID = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_FENCE = re.compile(r"`{3,}")
_TICKS = re.compile(r"`+")


def data(text: str) -> str:
    """The message of a workflow command."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A").replace(_LEGACY, "##%5B")


def attribute(text: str) -> str:
    """A property of a workflow command, e.g. its file."""
    return data(text).replace(":", "%3A").replace(",", "%2C")


def inert(text: str) -> str:
    """Text that the runner takes for text, wherever its lines begin."""
    lines = text.replace(_LEGACY, "# #[").split("\n")
    return "\n".join(
        line.replace("::", ": :", 1) if line.lstrip().startswith("::") else line
        for row in lines
        for line in row.split("\r")
    )


def printable(text: str) -> str:
    """Without what drives a terminal; line feeds stay."""
    return plain.printable(text, "\n", " ")


def line(text: str, most: int = LINE_MAX) -> str:
    """The whole on one line of at most ``most`` characters; where it was cut an ellipsis says so."""
    flat = " ".join(printable(text).split())
    return flat if len(flat) <= most else flat[: most - 1] + "…"


def code(text: str, most: int = LINE_MAX) -> str:
    """A code span of Markdown, which nothing in the text can end (CommonMark, section 6.1), safe in a table."""
    flat = line(text, most).replace("|", "\\|")
    if not flat:
        return ""
    ticks = "`" * (1 + max((len(run) for run in _TICKS.findall(flat)), default=0))
    pad = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{ticks}{pad}{flat}{pad}{ticks}"


def fence(text: str, language: str = "") -> str:
    """A fenced block of Markdown, which nothing in the text can end (CommonMark, section 4.5)."""
    body = printable(text).rstrip("\n")
    ticks = "`" * max(3, 1 + max((len(run) for run in _FENCE.findall(body)), default=0))
    return f"{ticks}{language}\n{body}\n{ticks}"


def xml(text: str) -> str:
    """Text with the characters that XML 1.0 (section 2.2) has no place for replaced."""
    return _XML_INVALID.sub("\ufffd", text)


def shortened(text: str, most: int, what: str) -> str:
    """At most ``most`` bytes of UTF-8, cut at a line's end; what was left out is said in the last line."""
    if len(text.encode()) <= most:
        return text
    said = f"… cut here; the whole is in {what}"
    kept = text.encode()[: max(0, most - len(said.encode()) - 1)].decode(errors="ignore")
    whole, _, _ = kept.rpartition("\n")
    return f"{whole}\n{said}" if whole else said
