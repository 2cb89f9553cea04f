"""The line editor of the monitor shell, key by key, and its history.

ECMA-48 5.4 (control sequences). The model keeps a line and a cursor as Python would; a terminal of one line shows what
was sent, so that what a person sees is judged too.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from typing import Any

from architect.contracts import contract
from architect.contracts.model import Session
from architect.contracts.units import sent
from toolchain.harness import BUFFER_BASE, Harness

SIZE = 256  # bytes of a line with its zero
EXECUTED = 400_000  # instructions of one key at most: a full line is sent three times
_HISTORY = 16
_PROMPT = b"px> "
_KEYS = 120  # of a random session


def asciz(harness: Harness, at: int) -> bytes:
    """The text at an address, up to its zero."""
    return harness.read(at, SIZE).split(b"\0")[0]


class _Terminal:
    """The line of a terminal that the cursor is on."""

    def __init__(self) -> None:
        self.row = bytearray()
        self.column = 0

    def show(self, data: bytes) -> None:
        """What a terminal makes of bytes; raises ValueError at what it would not know."""
        at = 0
        while at < len(data):
            byte = data[at]
            sequence = re.compile(rb"\x1b\[(\d*)([A-Za-z])").match(data, at)
            if sequence:
                self._control(int(sequence[1] or 1), sequence[2])
                at = sequence.end()
                continue
            if byte == 10:
                self.row, self.column = bytearray(), 0
            elif byte == 13:
                self.column = 0
            elif 32 <= byte < 127:
                self.row[self.column : self.column + 1] = bytes((byte,))
                self.column += 1
            elif byte != 7:
                raise ValueError(f"a terminal was sent byte {byte:#x}")
            at += 1

    def _control(self, count: int, final: bytes) -> None:
        if final == b"K":
            del self.row[self.column :]
        elif final == b"D":
            self.column = max(0, self.column - count)
        else:
            raise ValueError(f"a terminal was sent the sequence {final!r}")


class _Editor(Session):
    """The kernel's editor beside the model's."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.terminal = _Terminal()
        self.text, self.cursor = b"", 0
        self.kept: list[bytes] = []
        self.back, self.typed = 0, b""
        self._said = b""
        self._returned = False
        self.begin()

    def begin(self) -> None:
        """A new line."""
        self._show(self.call("line_begin").ports)
        self.text, self.cursor, self.back = b"", 0, 0
        self.judge(b"", "line_begin")

    def press(self, name: str, key: bytes) -> None:
        """One key, on both; the line, the cursor and the terminal must agree."""
        done = False
        self._said = b""
        if self._returned and key == b"\n":
            name = "nothing"  # of CR LF, the CR has ended the line
        self._returned = key == b"\r"
        for byte in key:
            result = self.call("line_key", limit=EXECUTED, rdi=byte)
            self._show(result.ports)
            done = result.value("eax") == 1
        self._model(name, key)
        self.equal(done, name == "return", "line_key", "is wrong about the end of a line", key=repr(key))
        if name == "return":
            self.equal(self._line(), self.text, "line_key", "gives another line", key=repr(key))
            address = self.harness.address("line_text")
            self.call("history_add", rdi=address)
            if self.text and self.kept[-1:] != [self.text]:
                self.kept = [*self.kept, self.text][-_HISTORY:]
            self.begin()
        else:
            self.judge(key, name)

    def _show(self, ports: Any) -> None:
        said = sent(ports)
        self._said += said
        self.terminal.show(said)

    def _line(self) -> bytes:
        return asciz(self.harness, self.harness.address("line_text"))

    def judge(self, key: bytes, name: str) -> None:
        """Line, cursor and what a person sees."""
        routine = "line_key" if key else "line_begin"
        self.equal(self._line(), self.text, routine, "makes another line", key=name)
        for symbol, value in (("line_length", len(self.text)), ("line_cursor", self.cursor)):
            got = self.harness.read_u64(self.harness.address(symbol))
            self.equal(got, value, routine, f"leaves another {symbol}", key=name)
        seen = (bytes(self.terminal.row), self.terminal.column)
        expected = (_PROMPT + self.text, len(_PROMPT) + self.cursor)
        self.expect(
            seen == expected, routine, "shows something else than the line", key=name, got=repr(seen),
            expected=repr(expected), said=repr(self._said[-40:]),
        )  # fmt: skip

    def _model(self, name: str, key: bytes) -> None:
        text, at = self.text, self.cursor
        if name == "insert":
            if len(text) < SIZE - 1:
                self.text, self.cursor = text[:at] + key + text[at:], at + 1
        elif name in _CUTS:
            first, end = _CUTS[name](text, at)
            self.text, self.cursor = text[:first] + text[end:], first
        elif name in _MOVES:
            self.cursor = _MOVES[name](text, at)
        elif name == "cancel":
            self.text, self.cursor, self.back = b"", 0, 0
        elif name == "earlier" and self.back < len(self.kept):
            self.typed = text if self.back == 0 else self.typed
            self.back += 1
            self._load(self.kept[-self.back])
        elif name == "later" and self.back:
            self.back -= 1
            self._load(self.kept[-self.back] if self.back else self.typed)

    def _load(self, text: bytes) -> None:
        self.text, self.cursor = text, len(text)


def _word_before(text: bytes, at: int) -> int:
    kept = text[:at].rstrip(b" ")
    return len(kept[: kept.rfind(b" ") + 1])


_Place = Callable[[bytes, int], int]
_Piece = Callable[[bytes, int], tuple[int, int]]
_CUTS: dict[str, _Piece] = {
    "backspace": lambda text, at: (max(at - 1, 0), at),
    "delete": lambda text, at: (at, min(at + 1, len(text))),
    "cut end": lambda text, at: (at, len(text)),
    "cut begin": lambda text, at: (0, at),
    "cut word": lambda text, at: (_word_before(text, at), at),
}
_MOVES: dict[str, _Place] = {
    "home": lambda text, at: 0,
    "end": lambda text, at: len(text),
    "left": lambda text, at: max(at - 1, 0),
    "right": lambda text, at: min(at + 1, len(text)),
    "redraw": lambda text, at: at,
}
_KEY_BYTES: dict[str, tuple[bytes, ...]] = {
    "insert": tuple(bytes((byte,)) for byte in range(32, 127)),
    "backspace": (b"\x08", b"\x7f"),
    "delete": (b"\x04", b"\x1b[3~"),
    "cut end": (b"\x0b",), "cut begin": (b"\x15",), "cut word": (b"\x17",),
    "home": (b"\x01", b"\x1b[H", b"\x1b[1~", b"\x1bOH", b"\x1b[7~"),
    "end": (b"\x05", b"\x1b[F", b"\x1b[4~", b"\x1bOF", b"\x1b[8~"),
    "left": (b"\x02", b"\x1b[D"), "right": (b"\x06", b"\x1b[C", b"\x1bOC"),
    "redraw": (b"\x0c",), "cancel": (b"\x03",),
    "earlier": (b"\x10", b"\x1b[A"), "later": (b"\x0e", b"\x1b[B"),
    "return": (b"\r", b"\n", b"\r\n"),
    "nothing": (b"\x00", b"\x1f", b"\x80", b"\xff", b"\x1bx", b"\x1b[200~", b"\x1b[5~", b"\x1b[1;5\x05", b"\x1bOP"),
}  # fmt: skip
_OFTEN = ("insert",) * 30 + ("left", "earlier", "later", "return", "home", "backspace") * 2


@contract(
    "line_key", "line_begin", "line_insert", "line_redraw", "line_load", "line_earlier", "line_later", "history_add",
    "history_rewind", "history_row", "history_copy", "line_cut", "line_sequence_key", "line_bell",
    needs=("line_key", "line_begin", "history_add", "line_text", "line_length", "line_cursor", "serial_put_char"),
)  # fmt: skip
def editor(harness: Harness) -> None:
    """Every key at every place, a line that is full, more lines than the history keeps, keys that mean nothing."""
    editor, noise = _Editor(harness), random.Random(2)
    for name, keys in _KEY_BYTES.items():
        for key in keys if name != "insert" else (b"a", b" ", b"b", b"~"):
            if name == "return" and key == b"\r\n":
                continue  # the LF belongs to the next line: below
            editor.press(name, key)
    names = (*_KEY_BYTES, *_OFTEN)
    for _ in range(_KEYS):
        name = noise.choice(names)
        key = noise.choice(_KEY_BYTES[name])
        if key != b"\r\n":
            editor.press(name, key)
    editor.press("return", b"\r")
    editor.press("nothing", b"\n")  # of CR LF
    editor.press("insert", b"x")
    for key in (b"\r", b"y", b"\r", b"y", b"\r", b"z"):
        editor.press("return" if key == b"\r" else "insert", key)
    editor.press("earlier", b"\x10")
    editor.press("earlier", b"\x10")
    editor.press("later", b"\x0e")
    editor.press("return", b"\r")
    for line in range(_HISTORY + 2):
        editor.press("insert", bytes((65 + line,)))
        editor.press("return", b"\r")
    for _ in range(_HISTORY + 2):
        editor.press("earlier", b"\x10")
    for _ in range(_HISTORY + 2):
        editor.press("later", b"\x0e")
    text = bytes(97 + i % 26 for i in range(SIZE - 1))
    harness.write(BUFFER_BASE, text + b"\0")
    editor.terminal.show(sent(editor.call("line_load", limit=EXECUTED, rdi=BUFFER_BASE).ports))
    editor.text, editor.cursor = text, len(text)
    for name, key in (
        ("insert", b"!"),
        ("left", b"\x02"),
        ("insert", b"!"),
        ("backspace", b"\x08"),
        ("insert", b"?"),
    ):
        editor.press(name, key)
