"""Text of whoever wrote it, made fit to be shown: nothing in it drives a terminal, or hides."""

from __future__ import annotations


def printable(text: str, kept: str = "\n\t", instead: str = "\ufffd") -> str:
    """``text`` with ``instead`` for what is not printed (control and format characters), but for what is ``kept``."""
    if text.isprintable() or text.translate({ord(c): None for c in kept}).isprintable():
        return text
    return "".join(c if c.isprintable() or c in kept else instead for c in text)
