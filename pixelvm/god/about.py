"""What a file or a code is, without expanding more than its grids.

Owns the facts that ``pxos pixel info`` tells and which tiles of a dictionary a container uses.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pixelvm import png
from pixelvm.god import container, dictionary, family, files, lossless, press, surface
from pixelvm.god.container import Head
from pixelvm.god.dictionary import Dictionary
from pixelvm.god.family import ADDRESS, PIXEL, RESIDUAL, SIDE, STAGE, TILE_BYTES
from pixelvm.god.seed import Words
from pixelvm.god.varint import Reader
from toolchain.errors import InputError
from toolchain.files import read_bounded

_CODES_SHOWN = 16


def code(text: str) -> dict[str, Any]:
    """A seed code taken apart.

    Raises:
        InputError: it is none.
    """
    word = files.number(text)
    found = family.parse(word)
    red, green, blue, alpha = word.to_bytes(PIXEL, "little")
    fields = zip(found.family.fields, found.values, strict=True)
    told: dict[str, Any] = {"is": "seed code", "pixel": f"rgba({red}, {green}, {blue}, {alpha})"}
    told["family"] = found.family.name
    return told | {field.name: value for field, value in fields} | {"formula": found.family.formula}


def file(path: Path) -> dict[str, Any]:
    """A container, a PNG or a dictionary.

    Raises:
        InputError: it is none of them, or damaged.
    """
    data = read_bounded(path, files.FILE_MAX, stage=STAGE)
    if data.startswith(dictionary.MAGIC):
        return of_dictionary(dictionary.from_bytes(data, str(path)))
    if data.startswith(png.SIGNATURE):
        return _of_png(data, str(path))
    return _of_container(data, str(path))


def of_dictionary(store: Dictionary) -> dict[str, Any]:
    """The facts of a dictionary."""
    return {
        "is": "dictionary",
        "id": store.identity.hex(),
        "tiles": len(store.entries),
        "next": store.next,
        "bytes": store.size,
        "trained": len(store.trained),
    }


def _of_png(data: bytes, name: str) -> dict[str, Any]:
    picture = png.read(data, name)
    words = np.frombuffer(picture.pixels, "<u4").astype(np.uint32)
    legal = sum(count for word, count in Counter(words.tolist()).items() if family.is_legal(word))
    told = {"is": "picture", "width": picture.width, "height": picture.height, "bytes": len(data)}
    return (
        told
        | {"seed codes": legal}
        | ({"codes": press.legend(words)[:_CODES_SHOWN]} if legal == words.size else {})
    )


def _of_container(data: bytes, name: str) -> dict[str, Any]:
    head, reader = container.parse(data, name)
    told: dict[str, Any] = {
        "is": "container",
        "bytes": len(data),
        "kind": "picture" if head.picture else "bytes",
    }
    told |= {"width": head.width, "height": head.height} if head.picture else {}
    told |= {"expands to": head.size.bytes, "levels": head.levels, "error": head.error}
    told |= {"sha256": head.digest.hex(), "dictionary": head.identity.hex() or "none"}
    container.check_limit(head.size.grid, container.LIMIT, name)
    if head.levels:
        words = bottom(head, reader)
        address = words & np.uint32(0xFF) == ADDRESS
        left = int((words == RESIDUAL).sum())
        told["tiles"] = {
            "seed": int((~address).sum()) - left,
            "address": int(address.sum()),
            "lossless": left,
        }
        told["codes"] = press.legend(words)[:_CODES_SHOWN]
    else:
        size = head.size.grid
        told["tiles"] = {"seed": 0, "address": 0, "lossless": size.width * size.height}
    return told


def bottom(head: Head, reader: Reader) -> Words:
    """The God Pixels of a container's tiles; its grids of higher levels have no addresses.

    Raises:
        InputError: it is damaged.
    """
    sizes = container.grids(head.size, head.levels)
    words = surface.words(lossless.unpack(reader, sizes[0].bytes, sizes[0].width), sizes[0])
    for size in sizes[1:-1]:
        count = int((words == RESIDUAL).sum())
        residual = lossless.unpack(reader, count * TILE_BYTES, SIDE) if count else b""
        words = container.grow(words, size, reader.name, None, residual)
    return words


def addresses(path: Path, store: Dictionary) -> set[int]:
    """The indexes that a container uses in a dictionary.

    Raises:
        InputError: it is no container, is damaged, or uses a tile that is not in the dictionary.
    """
    head, reader = container.parse(read_bounded(path, files.FILE_MAX, stage=STAGE), str(path))
    if head.identity != store.identity or not head.levels:
        return set()
    container.check_limit(head.size.grid, container.LIMIT, str(path))
    words = bottom(head, reader)
    used = {word >> 8 for word in np.unique(words).tolist() if word & 0xFF == ADDRESS}
    gone = used - store.entries.keys()
    if gone:
        raise InputError(f"{path}: uses tile {min(gone)}, which {store.name} has no more", stage=STAGE)
    return used
