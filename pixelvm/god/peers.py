"""Other compressors on the same bytes: zstd-19, xz, brotli-11, and for pictures PNG and lossless WebP.

Owns how each is called, as its users call it: the whole file format, the strongest usual setting. WebP comes from
Pillow and is left out where that is not installed.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from io import BytesIO
from typing import Any, NamedTuple

from pixelvm import png
from pixelvm.god.container import Content

_XZ_PRESET = 9
_WEBP_METHOD = 6


class Peer(NamedTuple):
    """A compressor: what it makes of a content, and back."""

    pack: Callable[[Content], bytes]
    unpack: Callable[[bytes], object]


def of(content: Content) -> dict[str, Peer]:
    """The compressors that a content can be given to, by name."""
    found = {"zstd-19": Peer(_zstd, _unzstd), "xz": Peer(_xz, _unxz), "brotli-11": Peer(_brotli, _unbrotli)}
    if content.is_picture:
        found["PNG"] = Peer(_png, lambda data: png.read(data, "peer"))
        if find_spec("PIL") is not None:
            found |= {"PNG (Pillow)": Peer(_pillow_png, _pillow_read), "WebP": Peer(_webp, _pillow_read)}
    return found


def sizes(content: Content) -> dict[str, int]:
    """Bytes that each makes of a content."""
    return {name: len(peer.pack(content)) for name, peer in of(content).items()}


def _zstd(content: Content) -> bytes:
    import zstandard

    return zstandard.ZstdCompressor(level=19).compress(content.data)


def _unzstd(data: bytes) -> bytes:
    import zstandard

    return zstandard.ZstdDecompressor().decompress(data)


def _xz(content: Content) -> bytes:
    import lzma

    return lzma.compress(content.data, preset=_XZ_PRESET | lzma.PRESET_EXTREME)


def _unxz(data: bytes) -> bytes:
    import lzma

    return lzma.decompress(data)


def _brotli(content: Content) -> bytes:
    import brotli  # type: ignore[import-untyped,unused-ignore]

    return bytes(brotli.compress(content.data, quality=11, lgwin=24))


def _unbrotli(data: bytes) -> bytes:
    import brotli

    return bytes(brotli.decompress(data))


def _png(content: Content) -> bytes:
    return png.write(png.Picture(content.width, content.height, content.data))


def _image(content: Content) -> Any:
    from PIL import Image

    return Image.frombytes("RGBA", (content.width, content.height), content.data)


def _pillow_png(content: Content) -> bytes:
    out = BytesIO()
    _image(content).save(out, "PNG", optimize=True)
    return out.getvalue()


def _webp(content: Content) -> bytes:
    out = BytesIO()
    _image(content).save(out, "WEBP", lossless=True, quality=100, method=_WEBP_METHOD, exact=True)
    return out.getvalue()


def _pillow_read(data: bytes) -> object:
    from PIL import Image

    return Image.open(BytesIO(data)).tobytes()
