"""The bytes of an answer as they come from the wire, made fit for a parser: unpacked, counted, valid UTF-8.

Owns what a server that keeps no promise may do with bytes: it packs them though nothing packed was asked for, begins
with a byte order mark, or cuts a character. Unpacks in small steps, so that no answer grows beyond what is read of it.
Knows nothing of events.
"""

from __future__ import annotations

import codecs
import zlib
from collections.abc import Callable, Iterable, Iterator

STEP_BYTES = 1 << 16  # unpacked at once, and handed on before more is
HEAD_BYTES = 1 << 14  # of an answer that are kept, to tell what it was where it is none
_ANY_HEADER = zlib.MAX_WBITS | 32  # gzip's or zlib's, by its own first bytes
_PACKED = frozenset(("gzip", "x-gzip", "deflate"))
_AS_IT_IS = frozenset(("", "identity"))


class UnknownPackingError(Exception):
    """The server packs its answer in a way that nobody asked for."""


def unpacked(data: Iterable[bytes], packing: str) -> Iterator[bytes]:
    """The bytes behind a ``content-encoding``, in steps.

    Raises:
        UnknownPackingError: of a kind that is not unpacked here.
        zlib.error: the bytes are not what the header says.
    """
    kind = packing.strip().lower()
    if kind in _AS_IT_IS:
        yield from data
        return
    if kind not in _PACKED:
        raise UnknownPackingError(kind)
    decoder = zlib.decompressobj(_ANY_HEADER)
    for block in data:
        rest = block
        while rest:
            found = decoder.decompress(rest, STEP_BYTES)
            if found:
                yield found
            elif rest == decoder.unconsumed_tail:
                break  # behind the end of the packed bytes
            rest = decoder.unconsumed_tail


def readable(data: Iterable[bytes], head: Callable[[bytes], None]) -> Iterator[bytes]:
    """The same as valid UTF-8 without a mark at its beginning; ``head`` gets every piece of it too."""
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    for block in data:
        text = decoder.decode(block).encode()
        head(text)
        if text:
            yield text
