"""Compressing: which tiles of a content have a code or an address, what is left is packed, and the smallest file wins.

Owns the modes and the account of what each costs. ``seed``: every tile has a code. ``address``: every tile lies in the
dictionary. ``lossless``: one packed stream. ``auto``: for each tile the first of these that is there, unless packing
all is smaller. Never gives a container that it has not expanded and compared.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np

from pixelvm.god import container, family, find, lossless, near, surface
from pixelvm.god.container import HEADER, LEVELS_MAX, Content, Head
from pixelvm.god.dictionary import ID, Dictionary
from pixelvm.god.family import ADDRESS, RESIDUAL, SIDE, STAGE
from pixelvm.god.find import Mask
from pixelvm.god.seed import Words
from pixelvm.god.surface import Size
from pixelvm.god.varint import number
from toolchain.errors import InternalError


class Mode(StrEnum):
    """What a person can ask for."""

    AUTO = "auto"
    SEED = "seed"
    ADDRESS = "address"
    LOSSLESS = "lossless"


class Wish(NamedTuple):
    """How to compress.

    Attributes:
        mode: see ``Mode``.
        lossy: greatest error of a seed, 0 to 255; above 0 for pictures only.
        store: the dictionary; ``address`` adds tiles to it, ``auto`` only finds them.
    """

    mode: Mode = Mode.AUTO
    lossy: int = 0
    store: Dictionary | None = None


class Pressed(NamedTuple):
    """A container and the account of it.

    Attributes:
        data: the file.
        head: what it says of itself.
        seeds: tiles that are a code.
        addresses: tiles that are an address.
        packed: tiles that lie in packed streams.
        how: layout and codec of the packed streams.
        content: what it expands to.
        grid: the God Pixels of the content's tiles; None when all is in one stream.
    """

    data: bytes
    head: Head
    seeds: int
    addresses: int
    packed: int
    how: str
    content: Content
    grid: Words | None = None

    @property
    def mode(self) -> str:
        """The modes that its tiles are in."""
        counts = {"seed": self.seeds, "address": self.addresses, "lossless": self.packed}
        return "+".join(name for name, count in counts.items() if count) or "lossless"


class Coded(NamedTuple):
    """A picture as a grid of God Pixels."""

    grid: Words
    residual: bytes
    seeds: int
    addresses: int
    error: int


class NoCode(NamedTuple):
    """Why a mode cannot do it: so many of the tiles have no code."""

    missing: int
    tiles: int


def press(content: Content, wish: Wish) -> Pressed | NoCode:
    """Compress.

    Returns:
        the smallest container; for ``seed`` the number of tiles that have no code, where there are some.
    """
    tiles = content.size.grid.width * content.size.grid.height
    found: list[Pressed] = []
    fits = content.size.padded <= container.LIMIT or wish.mode in (Mode.SEED, Mode.ADDRESS)
    if wish.mode is not Mode.LOSSLESS and content.data and fits:
        coded = code(surface.words(content.data, content.size), content.size, wish)
        missing = int((coded.grid == RESIDUAL).sum())
        if wish.mode is Mode.SEED and missing:
            return NoCode(missing, tiles)
        if missing < tiles:
            found += _leveled(content, coded, wish)
    if wish.mode in (Mode.AUTO, Mode.LOSSLESS) and not (
        found and (found[0].head.error or not found[0].packed)
    ):
        found.append(_whole(content, wish, tiles))
    if not found:
        found.append(_whole(content, wish, tiles))
    best = min(found, key=lambda one: len(one.data))
    _, back = container.expand(best.data, "the container", wish.store, SIDE**2 << 20)
    if back != best.content:
        raise InternalError("a container does not expand to what was compressed", stage=STAGE)
    return best


def _whole(content: Content, wish: Wish, tiles: int) -> Pressed:
    prefix = wish.store.trained if wish.store is not None else b""
    plain = lossless.pack(content.data, content.width)
    width, height = (content.width, content.height) if content.is_picture else (len(content.data), 0)
    head = Head(content.is_picture, width, height, 0, 0, content.digest)
    data = container.assemble(head, plain.data)
    how = plain.how
    if prefix and wish.store is not None:
        other = lossless.pack(content.data, content.width, prefix)
        if len(other.data) + ID < len(plain.data):
            head = head._replace(identity=wish.store.identity, trained=True)
            data, how = container.assemble(head, other.data), other.how
    return Pressed(data, head, 0, 0, tiles, how, content)


def _leveled(content: Content, coded: Coded, wish: Wish) -> list[Pressed]:
    """The container of a coded picture, its grid packed, or itself coded again where that is smaller."""
    size = content.size
    tiles = size.grid.width * size.grid.height
    made = content
    if coded.error:
        picture = container.grow(coded.grid, size, "", wish.store, coded.residual)
        made = content._replace(data=surface.content(picture, size))
    identity = wish.store.identity if coded.addresses and wish.store is not None else b""
    width, height = (content.width, content.height) if content.is_picture else (len(content.data), 0)
    below, how = _residual(coded)
    grid, grid_size, found = coded.grid, size.grid, []
    for levels in range(1, LEVELS_MAX + 1):
        top = lossless.pack(surface.content(grid, grid_size), grid_size.width)
        head = Head(content.is_picture, width, height, levels, coded.error, made.digest, identity)
        data = container.assemble(head, top.data + below)
        packed = tiles - coded.seeds - coded.addresses
        found.append(Pressed(data, head, coded.seeds, coded.addresses, packed, how, made, coded.grid))
        again = code(grid, grid_size, Wish(Mode.AUTO)) if levels < LEVELS_MAX else None
        if again is None or not again.seeds or grid_size == Size(1, 1):
            break
        below = _residual(again)[0] + below
        grid, grid_size = again.grid, grid_size.grid
    return found


def _residual(coded: Coded) -> tuple[bytes, str]:
    if not coded.residual:
        return b"", ""
    packed = lossless.pack(coded.residual, SIDE)
    return packed.data, packed.how


def code(picture: Words, size: Size, wish: Wish) -> Coded:
    """Each tile's code or address; the others one after the other."""
    grid = np.zeros((size.grid.height, size.grid.width), np.uint32)
    seeds = addresses = error = 0
    residual: list[bytes] = []
    known: dict[bytes, tuple[int, int]] = {}
    flat = grid.reshape(-1)
    for place, piece in enumerate(surface.tiles(picture, size)):
        tile = piece.words.astype("<u4", copy=False).tobytes()
        found = known.get(tile) if piece.asked is None else None
        if found is None:
            found = _word(piece.words, tile, piece.asked, wish)
        if piece.asked is None:
            known[tile] = found
        word, off = found
        flat[place] = word
        error = max(error, off)
        if word == RESIDUAL and wish.mode is not Mode.SEED:
            residual.append(tile)
        addresses += word & 0xFF == ADDRESS
        seeds += word & 0xFF not in (ADDRESS, RESIDUAL)
    return Coded(grid, b"".join(residual), seeds, addresses, error)


def _word(words: Words, tile: bytes, asked: Mask | None, wish: Wish) -> tuple[int, int]:
    """The God Pixel of a tile, and its error."""
    if wish.mode is not Mode.ADDRESS:
        found = find.exact(words, asked)
        if found is not None:
            return found.word, 0
    if wish.store is not None and wish.mode is not Mode.SEED:
        index = wish.store.add(tile) if wish.mode is Mode.ADDRESS else wish.store.find(tile)
        if index is not None:
            return index << 8 | ADDRESS, 0
    if wish.lossy and wish.mode is not Mode.ADDRESS:
        fit = near.nearest(words, wish.lossy, asked)
        if fit is not None:
            return fit.code.word, fit.error
    return RESIDUAL, 0


def overhead(found: Pressed) -> int:
    """Bytes of a container that holds one plain stream, besides the stream: header, layout, codec, length."""
    return HEADER + len(found.head.identity) + 2 + len(number(len(found.data)))


def legend(grid: Words) -> list[str]:
    """The different codes of a grid in words, in the order of their number."""
    words = np.unique(grid).tolist()
    return [str(family.parse(word)) for word in words if word != RESIDUAL and word & 0xFF != ADDRESS]
