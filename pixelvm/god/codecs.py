"""General compressors behind one interface: LZMA, zstd, brotli, and bytes as they are.

Owns how each is called, and that unpacking stops where it was said to: a stream that holds more, less or anything
behind its end is refused, and no more memory is used than the size that the caller has checked. Formats without
headers of their own: RFC 7932 (brotli), RFC 8878 (zstd, without its magic number), LZMA1 with an end marker.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NamedTuple

WINDOW_LEAST = 1 << 12  # bytes that LZMA looks back
_LC_MAX, _LP_MAX, _PB_MAX = 4, 4, 4
_PROPERTIES_MAX = 225  # (pb * 5 + lp) * 9 + lc stays below it
_LZMA_NICE = 273
_ZSTD_LEVEL = 22
_ESTIMATE_LEVEL = 9
_ZSTD_WINDOW_LOG_MAX = 27
_BROTLI_WINDOW = 24


class Codec(IntEnum):
    """Numbers in containers."""

    STORED = 0
    LZMA = 1
    ZSTD = 2
    BROTLI = 3
    TRAINED = 4  # zstd with the prefix of a dictionary


class Setting(NamedTuple):
    """A codec and its one byte of parameters: LZMA's properties, else 0."""

    codec: Codec
    parameter: int = 0


class Damaged(Exception):
    """A stream is not what it should be; the text says how."""


def lzma_setting(lc: int, lp: int, pb: int) -> Setting:
    """LZMA with these bits of literal context, literal position and position."""
    return Setting(Codec.LZMA, (pb * 5 + lp) * 9 + lc)


def is_legal(setting: Setting) -> bool:
    """True for parameters that a decoder takes."""
    if setting.codec is not Codec.LZMA:
        return setting.parameter == 0
    lc, lp, _ = _properties(setting.parameter)
    return setting.parameter < _PROPERTIES_MAX and lc + lp <= _LC_MAX


def _properties(value: int) -> tuple[int, int, int]:
    return value % 9, value // 9 % 5, value // 45


def _chain(parameter: int, size: int) -> list[dict[str, Any]]:
    import lzma

    lc, lp, pb = _properties(parameter)
    window = max(WINDOW_LEAST, 1 << max(0, size - 1).bit_length())
    return [
        {
            "id": lzma.FILTER_LZMA1,
            "preset": 9 | lzma.PRESET_EXTREME,
            "lc": lc,
            "lp": lp,
            "pb": pb,
            "dict_size": window,
            "nice_len": _LZMA_NICE,
        }
    ]


def pack(setting: Setting, data: bytes, prefix: bytes = b"") -> bytes:
    """``data`` packed; ``prefix`` is the dictionary of ``TRAINED``."""
    if setting.codec is Codec.LZMA:
        import lzma

        return lzma.compress(data, format=lzma.FORMAT_RAW, filters=_chain(setting.parameter, len(data)))
    if setting.codec is Codec.BROTLI:
        import brotli  # type: ignore[import-untyped,unused-ignore]

        return bytes(brotli.compress(data, quality=11, lgwin=_BROTLI_WINDOW))
    if setting.codec in (Codec.ZSTD, Codec.TRAINED):
        return _zstd_pack(data, prefix if setting.codec is Codec.TRAINED else b"")
    return data


def estimate(data: bytes) -> int:
    """About how small ``data`` gets, quickly."""
    import zstandard

    return len(zstandard.ZstdCompressor(level=_ESTIMATE_LEVEL).compress(data))


def _zstd_pack(data: bytes, prefix: bytes) -> bytes:
    import zstandard

    parameters = zstandard.ZstdCompressionParameters.from_level(
        _ZSTD_LEVEL,
        source_size=len(data),
        dict_size=len(prefix),
        format=zstandard.FORMAT_ZSTD1_MAGICLESS,
        write_content_size=False,
        write_checksum=False,
        write_dict_id=False,
    )
    return zstandard.ZstdCompressor(compression_params=parameters, dict_data=_prefix(prefix)).compress(data)


def _prefix(prefix: bytes) -> Any:
    import zstandard

    return zstandard.ZstdCompressionDict(prefix) if prefix else None


def unpack(setting: Setting, data: bytes, size: int, prefix: bytes = b"") -> bytes:
    """Exactly ``size`` bytes from a stream that holds no more.

    Args:
        setting: legal.
        data: anybody's bytes.
        size: checked by the caller against what may be allocated.
        prefix: the dictionary of ``TRAINED``.

    Raises:
        Damaged: it is no such stream, or not one of ``size`` bytes.
    """
    if setting.codec is Codec.LZMA:
        out = _lzma(setting.parameter, data, size)
    elif setting.codec is Codec.BROTLI:
        out = _brotli(data, size)
    elif setting.codec in (Codec.ZSTD, Codec.TRAINED):
        out = _zstd(data, size, prefix if setting.codec is Codec.TRAINED else b"")
    else:
        out = data
    if len(out) != size:
        raise Damaged(f"it does not hold {size} bytes")
    return out


def _lzma(parameter: int, data: bytes, size: int) -> bytes:
    import lzma

    decoder = lzma.LZMADecompressor(format=lzma.FORMAT_RAW, filters=_chain(parameter, size))
    try:
        out = decoder.decompress(data, size + 1)
    except lzma.LZMAError as error:
        raise Damaged("its LZMA stream is damaged") from error
    if len(out) <= size and (not decoder.eof or decoder.unused_data):
        raise Damaged("its LZMA stream does not end where it should")
    return out


def _brotli(data: bytes, size: int) -> bytes:
    import brotli

    decoder = brotli.Decompressor()
    try:
        out = bytes(decoder.process(data, output_buffer_limit=size + 1))
        while len(out) <= size and not decoder.is_finished() and not decoder.can_accept_more_data():
            out += decoder.process(b"", output_buffer_limit=size + 1 - len(out))
    except brotli.error as error:
        raise Damaged("its brotli stream is damaged") from error
    if len(out) <= size and not decoder.is_finished():
        raise Damaged("its brotli stream does not end where it should")
    return out


def _zstd(data: bytes, size: int, prefix: bytes) -> bytes:
    import zstandard

    if not size:
        raise Damaged("a zstd stream of nothing, which would not be looked into; nothing is stored")
    try:
        decoder = zstandard.ZstdDecompressor(
            dict_data=_prefix(prefix),
            format=zstandard.FORMAT_ZSTD1_MAGICLESS,
            max_window_size=1 << _ZSTD_WINDOW_LOG_MAX,
        )
        told = zstandard.get_frame_parameters(data, format=zstandard.FORMAT_ZSTD1_MAGICLESS).content_size
        if told not in (zstandard.CONTENTSIZE_UNKNOWN, size):
            raise Damaged(f"its zstd stream does not hold {size} bytes")
        return bytes(decoder.decompress(data, max_output_size=size, allow_extra_data=False))
    except (zstandard.ZstdError, ValueError) as error:  # ValueError: a prefix that is no dictionary
        raise Damaged("its zstd stream is damaged") from error
