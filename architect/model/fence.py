"""Untrusted text in a prompt: named, bounded, and fenced so that it cannot end its own fence.

Owns the form ``<<data ID: NAME>>`` ... ``<<end ID>>``. The id is made from the text itself: a text that contains its
own end mark would have to contain its own hash. What is fenced is evidence; that the model does not obey it anyway is
not relied on: whatever it answers can only become edits of declared sources that every gate must pass.
"""

from __future__ import annotations

import hashlib

from toolchain.printable import printable

ID_DIGITS = 16
_CUT = "… ({} characters left out) …"


def fenced(name: str, text: str, most: int = 1 << 20) -> str:
    """``text`` as data called ``name``, at most ``most`` characters of it, its ends kept."""
    shown = clipped(printable(text), most)
    mark = hashlib.sha256(f"{name}\0{shown}".encode("utf-8", "replace")).hexdigest()[:ID_DIGITS]
    return f"<<data {mark}: {name}>>\n{shown.rstrip()}\n<<end {mark}>>"


def clipped(text: str, most: int) -> str:
    """Beginning and end of a long text, and how much is between them."""
    if len(text) <= most:
        return text
    half = max(1, (most - len(_CUT)) // 2)
    return f"{text[:half]}\n{_CUT.format(len(text) - 2 * half)}\n{text[-half:]}"
