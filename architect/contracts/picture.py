"""The boot picture: which framebuffer it is drawn on, every pixel of it, and nothing beside it.

Eight bars over two thirds of the height (white yellow cyan green magenta red blue black), then a grey ramp of 256
steps; the checksum is the sum over all pixels of (y + 1) * (x + 1) * 0xRRGGBB, modulo 2^64. A loader's framebuffer is
not trusted: what is drawn lies within what it names, and never on the mailbox page.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from architect.contracts import contract
from architect.contracts.model import MASK64, Session, stand_for_mmio_map
from toolchain.harness import Harness
from toolchain.watch import watch

_BARS = (0xFFFFFF, 0xFFFF00, 0x00FFFF, 0x00FF00, 0xFF00FF, 0xFF0000, 0x0000FF, 0x000000)
_MODE = struct.Struct("<QIIII")  # address, pitch, width, height, bits
_BASE, _ROOM = 0xFD00_0000, 0x10000
_EMPTY = b"\x5c"
_BAR0 = 0xE000_0000
_PAGE = 0x1000
_WRITE_COMBINING = 0x08


def pixel(x: int, y: int, width: int, height: int) -> int:
    """What a pixel should be, 0xRRGGBB."""
    return _BARS[x * 8 // width] if y < height * 2 // 3 else x * 256 // width * 0x010101


def checksum(width: int, height: int) -> int:
    """That of the whole picture."""
    weights = ((y + 1) * (x + 1) * pixel(x, y, width, height) for y in range(height) for x in range(width))
    return sum(weights) & MASK64


@contract(
    "picture_draw", "picture_heights", "picture_make_row", "picture_copy_row", "picture_checksum", "picture_sum_row",
    "picture_sum_weights",
    needs=("framebuffer", "framebuffer_va", "picture_checksum"),
)  # fmt: skip
def boot_picture(harness: Harness) -> None:
    """Small pictures of all kinds: both depths, odd sizes, lines longer than the picture."""
    session = Session(harness)
    events = watch(harness, ("picture_draw", "picture_copy_row"))
    harness.memory(_BASE, _ROOM)
    for width, height, bits, pitch in ((40, 9, 32, 160), (33, 7, 24, 112), (8, 3, 32, 64), (300, 4, 24, 900)):
        what = {"width": width, "height": height, "bits": bits, "pitch": pitch}
        # Against the end of the mapping: the last pixel may not be read or written with more bytes than it has.
        start = _BASE + _ROOM - pitch * (height - 1) - width * bits // 8
        harness.write(_BASE, _EMPTY * _ROOM)
        harness.write(harness.address("framebuffer"), _MODE.pack(start, pitch, width, height, bits))
        harness.write_u64(harness.address("framebuffer_va"), start)
        events.clear()
        session.call("picture_draw")
        size = bits // 8
        data = harness.read(start, _BASE + _ROOM - start)
        for x, y, wanted in _sample(width, height):
            at = y * pitch + x * size
            got = int.from_bytes(data[at : at + 3], "little")
            session.equal(got, wanted, "picture_make_row", "draws another picture", **what, x=x, y=y)
        before = harness.read(_BASE, start - _BASE)
        gaps = b"".join(data[y * pitch + width * size : (y + 1) * pitch] for y in range(height - 1))
        clean = not (before + gaps).strip(_EMPTY)
        session.expect(clean, "picture_copy_row", "draws beside the picture", **what)
        fenced = any(event.kind in ("sfence", "mfence") for event in events)
        session.expect(fenced, "picture_draw", "leaves pixels in the write-combining buffers", **what)
        got = session.call("picture_checksum").registers["rax"]
        session.equal(got, checksum(width, height), "picture_checksum", "makes another checksum", **what)


def _sample(width: int, height: int) -> Iterator[tuple[int, int, int]]:
    """Every pixel of the first and last rows of each kind and of the last column."""
    rows = {0, height * 2 // 3 - 1, height * 2 // 3, height - 1}
    yield from ((x, y, pixel(x, y, width, height)) for y in sorted(rows) for x in range(width))
    yield from ((width - 1, y, pixel(width - 1, y, width, height)) for y in range(height))


@contract(
    "framebuffer_from_loader", "framebuffer_skip_mailbox", "framebuffer_map",
    needs=("bootinfo_framebuffer", "framebuffer", "gpu_bar0", "mmio_map", "framebuffer_map", "framebuffer_va"),
)  # fmt: skip
def loaders_framebuffer(harness: Harness) -> None:
    """Sound framebuffers are taken, in front of the mailbox or behind it; what cannot be one is refused."""
    session = Session(harness)
    mapped = stand_for_mmio_map(harness)
    for mode, sound in (
        ((0xFD00_0000, 4096, 1024, 768, 32), True),
        ((_BAR0, 4096, 1024, 768, 32), True),  # begins with the mailbox page
        ((_BAR0, 2400, 800, 600, 24), True),  # whose lines do not end with it
        ((_BAR0 + 0x800, 2560, 640, 480, 32), True),
        ((_BAR0 - 4096 * 768, 4096, 1024, 768, 32), True),  # ends before it
        ((0, 4096, 1024, 768, 32), False),
        ((0xFD00_0000, 1024, 1024, 768, 8), False),
        ((0xFD00_0000, 2048, 1024, 768, 16), False),
        ((0xFD00_0000, 4092, 1024, 768, 32), False),  # lines longer than the pitch
        ((0xFD00_0000, 0, 0, 0, 32), False),
        ((0xFD00_0000, 4096, 1024, 0, 32), False),
        ((0xFD00_0000, 0xFFFFFFFC, 0x3FFFFFFF, 768, 32), False),
        ((0xFD00_0000, 16, 0x4000_0004, 768, 32), False),  # whose bytes wrap around
        ((0xFD00_0000, 4096, 1024, 0xFFFFFFFF, 32), False),
        ((_BAR0, 4096, 1024, 1, 32), False),  # all of it is the mailbox's
    ):
        harness.reset()
        mapped.clear()
        harness.write_u64(harness.address("gpu_bar0"), _BAR0)
        harness.write(harness.address("bootinfo_framebuffer"), _MODE.pack(*mode))
        what = {"mode": repr(mode)}
        result = session.call("framebuffer_from_loader")
        promise = "refuses a sound framebuffer" if sound else "takes what cannot be one"
        session.expect(result.flag("cf") != sound, "framebuffer_from_loader", promise, **what)
        if not sound:
            continue
        address, pitch, width, height, bits = _MODE.unpack(
            harness.read(harness.address("framebuffer"), _MODE.size)
        )
        same = (pitch, width, bits) == (mode[1], mode[2], mode[4]) and (address - mode[0]) % pitch == 0
        session.expect(same, "framebuffer_from_loader", "keeps another mode", **what)
        end, given = address + pitch * height, mode[0] + mode[1] * mode[3]
        inside = mode[0] <= address and end == given
        session.expect(
            inside, "framebuffer_skip_mailbox", "leaves the loader's framebuffer, or lines of it", **what
        )
        apart = end <= _BAR0 or address >= _BAR0 + _PAGE
        session.expect(apart, "framebuffer_skip_mailbox", "draws on the mailbox page", **what)
        lost = address - mode[0]
        session.expect(
            lost < _PAGE + pitch, "framebuffer_skip_mailbox", "drops more lines than it must", **what
        )
        session.call("framebuffer_map")
        session.expect(
            mapped == [(address, pitch * height, _WRITE_COMBINING)],
            "framebuffer_map",
            "maps something else",
            **what,
        )
        va = harness.read_u64(harness.address("framebuffer_va"))
        session.equal(va, address, "framebuffer_map", "keeps another address", **what)
