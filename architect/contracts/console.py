"""The text console: every pixel of what is shown, in both depths, and nothing beside the framebuffer.

PC Screen Font 2: glyphs of 16 bytes, the leftmost pixel in the highest bit. The model keeps rows of characters as a
terminal does and draws them with the font that the kernel carries.
"""

from __future__ import annotations

import random
import re
import struct

from architect.contracts import contract
from architect.contracts.model import Session
from toolchain.harness import Harness

_MODE = struct.Struct("<QIIII")  # address, pitch, width, height, bits
_BASE, _ROOM = 0xFD00_0000, 0x10000
_EMPTY = 0x5C
_WIDTH, _HEIGHT = 8, 16  # of a glyph
_HEADER = 32
_EXECUTED = 4_000_000
_INK, _PAPER = b"\xe9\xde\xd8", b"\x18\x14\x10"  # blue, green, red
_SEQUENCE = re.compile(rb"\x1b\[(\d*)([A-Za-z~])")


class _Screen:
    """Rows of characters."""

    def __init__(self, columns: int, rows: int) -> None:
        self.columns, self.count = columns, rows
        self.rows = [bytearray(b" " * columns) for _ in range(rows)]
        self.row = self.column = 0

    def show(self, data: bytes) -> None:
        at = 0
        while at < len(data):
            sequence = _SEQUENCE.match(data, at)
            if sequence:
                at = sequence.end()
                if sequence[2] == b"K":
                    self.rows[self.row][self.column :] = b" " * (self.columns - self.column)
                elif sequence[2] == b"D":
                    self.column = max(0, self.column - int(sequence[1] or 0))
                continue
            if data[at] == 27:
                at += 2  # an ESC takes the byte behind it away
                continue
            self._put(data[at])
            at += 1

    def _put(self, byte: int) -> None:
        if byte == 10:
            self._next()
        elif byte == 13:
            self.column = 0
        elif 32 <= byte < 127:
            if self.column == self.columns:
                self._next()
            self.rows[self.row][self.column] = byte
            self.column += 1

    def _next(self) -> None:
        self.column = 0
        self.row += 1
        if self.row == self.count:
            self.row -= 1
            self.rows = [*self.rows[1:], bytearray(b" " * self.columns)]

    def pixels(self, font: bytes, pitch: int, width: int, height: int, size: int) -> bytes:
        """The framebuffer's bytes; what lies behind a line's last pixel is not drawn on."""
        lines = []
        for y in range(height):
            line = b""
            row = self.rows[y // _HEIGHT] if y // _HEIGHT < self.count else bytearray(b" " * self.columns)
            for character in row:
                bits = font[_HEADER + character * _HEIGHT + y % _HEIGHT]
                for x in range(_WIDTH):
                    line += (_INK if bits >> 7 - x & 1 else _PAPER).ljust(size, b"\0")
            line += _PAPER.ljust(size, b"\0") * (width - self.columns * _WIDTH)
            lines.append(line.ljust(pitch, bytes((_EMPTY,))))
        return b"".join(lines)


@contract(
    "console_start", "console_clear", "console_put_char", "console_newline", "console_scroll", "console_sequence_char",
    "console_erase", "console_set", "console_draw",
    needs=("console_start", "console_put_char", "console_on", "framebuffer", "framebuffer_va", "console_font"),
)  # fmt: skip
def console(harness: Harness) -> None:
    """Text that wraps, scrolls and is taken back, on screens whose size is no multiple of a character's."""
    harness.memory(_BASE, _ROOM)
    font = harness.read(harness.address("console_font"), _HEADER + 128 * _HEIGHT)
    session, noise = Session(harness), random.Random(7)
    harness.write_u64(harness.address("framebuffer_va"), 0)
    session.expect(session.call("console_start").flag("cf"), "console_start", "starts without a framebuffer")
    for width, height, bits, pitch in (
        (8 * 5 + 3, 16 * 3 + 7, 32, 192),
        (8 * 7, 16 * 2, 24, 176),
        (8, 15, 32, 32),
    ):
        size = bits // 8
        start = _BASE + _ROOM - pitch * height  # against the end of the mapping
        harness.write(_BASE, bytes((_EMPTY,)) * _ROOM)
        harness.write(harness.address("framebuffer"), _MODE.pack(start, pitch, width, height, bits))
        harness.write_u64(harness.address("framebuffer_va"), start)
        harness.write(harness.address("console_on"), b"\0")
        failed = session.call("console_start", limit=_EXECUTED).flag("cf")
        session.equal(
            failed, height < _HEIGHT, "console_start", "is wrong about the room on a screen", height=height
        )
        if failed:
            continue
        screen = _Screen(width // _WIDTH, height // _HEIGHT)
        random_text = bytes(noise.choice(_BYTES) for _ in range(30))
        for text in (*_TEXTS, random_text, b"longer than a row", b"\r\x1b[Kq"):
            screen.show(text)
            for byte in text:
                session.call("console_put_char", limit=_EXECUTED, rdi=byte)
            got = harness.read(start, pitch * height)
            expected = screen.pixels(font, pitch, width, height, size)
            if got != expected:
                at = next(i for i, pair in enumerate(zip(got, expected, strict=True)) if pair[0] != pair[1])
                place = {"x": at % pitch // size, "y": at // pitch, "bits": bits}
                session.fail("console_draw", "draws another pixel", {"text": repr(text), **place})
        before = harness.read(_BASE, start - _BASE)
        session.expect(
            before == bytes((_EMPTY,)) * len(before), "console_draw", "draws above the framebuffer"
        )
        harness.write(harness.address("console_on"), b"\0")


_TEXTS = (b"ab\n\x07c\x1b[Dd\x1b[2De\x1b[K", b"\x1bx\x1b[9999999Dy\x1b[5~")
_BYTES = b"\n\r\x00\x7f\x80\xff ~!Az09"
