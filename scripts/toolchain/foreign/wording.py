"""What the sources of a kernel say, and which of it tells that the kernel is up, or that it is not.

Owns the words that speak for either, and the texts of sources, as far as a look at quotation marks finds them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

_STRING = re.compile(r"\"((?:\\.|[^\"\\\n]){3,80})\"|'((?:[^'\n]){3,80})'")
_QUOTED = r"(\"(?:\\.|[^\"\\\n]){0,200}\"|'(?:\\.|[^'\\\n]){0,200}')"
_COMMENTS = {  # by ending: what is kept, or a comment
    **dict.fromkeys((".asm", ".nasm", ".mac"), re.compile(rf"{_QUOTED}|;[^\n]*")),
    **dict.fromkeys((".c", ".h", ".S"), re.compile(rf"{_QUOTED}|//[^\n]*|/\*[^*]*(?:\*(?!/)[^*]*)*(?:\*/)?")),
}
_READY = re.compile(
    r"\b(?:ready|booted|welcome|hello|kernel|running|start(?:ed|ing)|up|done|initiali[sz]ed|ok)\b",
    re.IGNORECASE,
)
_BAD = re.compile(r"\b(?:panic|fatal|exception|fault|assert\w*|error)\b", re.IGNORECASE)
_POOR = re.compile(r"\bfail(?:ed|ure)?\b", re.IGNORECASE)  # told of what a kernel can do without, too
_FORMAT = re.compile(r"%[-+ #0]*\d*(?:\.\d+)?[hlzjt]*[a-zA-Z%]")  # of printf
_FIRST = frozenset(
    {"main", "kmain", "kernel", "kernel_main", "init", "boot", "start", "entry", "os"}
)  # that run at a boot
_USERS = frozenset(
    {"user", "usr", "users", "app", "apps", "bin", "sbin", "programs", "userland", "userspace"}
)


def texts(sources: Mapping[str, str]) -> list[tuple[str, str]]:
    """The texts of sources (file -> source), formats of printf cut out of them: (file, text), in order."""
    return [
        (name, piece)
        for name, source in sources.items()
        for a, b in _STRING.findall(_bare(name, source))
        for piece in _FORMAT.split(a or b)
        if re.search(r"[A-Za-z]{2}", piece)
    ]


def ready(said: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """The file and the text that is likeliest what a good boot prints last; ("", "ready") where there is none."""
    good = [row for row in said if not _BAD.search(row[1]) and not _POOR.search(row[1])]
    return max(enumerate(good), key=lambda row: (_likely(*row[1]), row[0]), default=(0, ("", "ready")))[1]


def bad(said: Sequence[tuple[str, str]]) -> list[str]:
    """The words of its own failures."""
    return list(dict.fromkeys(m[0] for name, text in said if _boots(name) and (m := _BAD.search(text))))


def _likely(name: str, text: str) -> tuple[int, int]:
    """How much speaks for a text to be what a good boot prints last: its words and its file; then its length."""
    path = PurePosixPath(name)
    worth = 2 * bool(_READY.search(text)) + bool(re.search(r"[A-Za-z]{2}\W+[A-Za-z]{2}", text))
    worth += 2 * (path.stem.lower() in _FIRST) - 3 * (not _boots(name))
    return worth, 0 if _READY.search(text) else len(text)


def _boots(name: str) -> bool:
    """Whether a source is no user's program and no test, by its name."""
    path = PurePosixPath(name)
    return not _USERS.intersection(path.parts) and "test" not in path.stem.lower()


def _bare(name: str, text: str) -> str:
    """Without comments, and without includes and sections, whose names are no words of the kernel."""
    comments = _COMMENTS.get(PurePosixPath(name).suffix)
    if comments is not None:
        text = comments.sub(lambda found: found[1] or " ", text)
    return re.sub(r"^[ \t]*(?:#include|%include|\.section|\.include).*$", "", text, flags=re.MULTILINE)
