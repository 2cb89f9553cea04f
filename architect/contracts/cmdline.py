"""The command line and the device that it may come from: words found or not, pieces joined, nothing written beyond.

QEMU ``docs/specs/fw_cfg``: a selector at port 0x510, data byte by byte at 0x511; item 0 is "QEMU", item 0x19 the
directory (count, then entries of 64 bytes: size, selector, reserved, name), numbers big-endian.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import Session
from toolchain.harness import BUFFER_BASE, Harness

_SIZE = 1024
_SELECTOR_PORT, _DATA_PORT = 0x510, 0x511
_SIGNATURE, _DIRECTORY, _FIRST_FILE = 0x0000, 0x0019, 0x0020
_NAME = "opt/px/cmdline"
_LIMIT = 300_000


class _Line(Session):
    """The kernel's command line beside the model's."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.model = b""

    def append(self, text: bytes, bound: int | None = None) -> None:
        """Append to both; they must be equal."""
        self.harness.write(BUFFER_BASE, text.ljust(4096, b"!"))
        bound = len(text) if bound is None else bound
        self.call("cmdline_append", rdi=BUFFER_BASE, rsi=bound)
        self.joined(text[:bound].split(b"\0")[0], "cmdline_append")

    def joined(self, piece: bytes, routine: str) -> None:
        """The line is what it was, a blank, the piece, cut to its room."""
        if piece:
            self.model = (self.model + (b" " if self.model else b"") + piece)[: _SIZE - 1]
        at = self.harness.address("bootinfo_cmdline")
        data = self.harness.read(at, _SIZE)
        self.equal(data.split(b"\0")[0], self.model, routine, "makes another line of the pieces")
        length = self.harness.read_u64(self.harness.address("cmdline_length"))
        self.equal(length, len(self.model), routine, "keeps another length than the line has")
        self.expect(data[-1] == 0, routine, "leaves the line without an end")

    def has(self, word: bytes) -> None:
        """Whether a word stands between blanks."""
        self.harness.write(BUFFER_BASE, word + b"\0")
        found = not self.call("cmdline_has", rdi=BUFFER_BASE).flag("cf")
        promise = "is wrong about a word"
        self.equal(
            found,
            word in self.model.split(),
            "cmdline_has",
            promise,
            word=repr(word),
            line=repr(self.model[:80]),
        )

    def value(self, key: bytes) -> None:
        """What stands behind the first word that begins with a key."""
        self.harness.write(BUFFER_BASE, key + b"\0")
        result = self.call("cmdline_value", rdi=BUFFER_BASE)
        words = [word for word in self.model.split() if word.startswith(key)]
        asked = {"key": repr(key), "line": repr(self.model[:80])}
        self.equal(result.flag("cf"), not words, "cmdline_value", "is wrong about a key", **asked)
        if words:
            found = words[0].removeprefix(key)
            promise = "gives another value"
            size = min(result.registers["rdx"], _SIZE)
            got = self.read(result.registers["rax"], size, "cmdline_value", **asked)
            self.equal(got, found, "cmdline_value", promise, **asked)
            self.equal(result.registers["rdx"], len(found), "cmdline_value", promise, **asked)


@contract("cmdline_value", "cmdline_append", needs=("bootinfo_cmdline", "cmdline_length", "cmdline_append"))
def command_line_value(harness: Harness) -> None:
    """Keys at both ends and within, keys that are part of others, no value, the first of two."""
    line = _Line(harness)
    line.value(b"test=")
    for piece in (b"  attest=1 test", b"tes=2", b"test=", b"x=y "):
        line.append(piece)
    for key in (b"test=", b"tes=", b"x=", b"y", b"t=", b"at"):
        line.value(key)
    harness.reset()
    line.model = b""
    line.append(b"test=paging test=pci last=end")
    for key in (b"test=", b"last=", b"las", b"last=end", b"last=end1"):
        line.value(key)


@contract("cmdline_append", "cmdline_has", needs=("bootinfo_cmdline", "cmdline_length", "cmdline_has"))
def command_line(harness: Harness) -> None:
    """Pieces with and without an end, blanks everywhere, words that begin or end like others, a line that is full."""
    line, noise = _Line(harness), random.Random(10)
    line.has(b"test")
    line.append(b"test\0more", 9)
    line.append(b"", 0)
    line.append(b"\0", 1)
    for piece in (b"exit", b"  tests x=1  ", b"te"):
        line.append(piece)
    for word in (b"test", b"tes", b"tests", b"testsx", b"exit", b"exi", b"x=1", b"x", b"te", b"t", b"more"):
        line.has(word)
    behind = harness.read(harness.address("bootinfo_cmdline") + _SIZE, 8)
    while len(line.model) < _SIZE - 1:
        line.append(b"w" + bytes(noise.choice(b"abc ") for _ in range(noise.randint(100, 300))))
    line.append(b"lost")
    line.has(b"lost")
    line.has(line.model.split()[-1])
    harness.reset()
    line.model = b""
    line.append(b"z" * (_SIZE + 50))
    length = harness.address("cmdline_length")
    if length != harness.address("bootinfo_cmdline") + _SIZE:
        after = harness.read(harness.address("bootinfo_cmdline") + _SIZE, 8)
        line.equal(after, behind, "cmdline_append", "writes beyond the line")


class FirmwareConfig:
    """The fw_cfg device with some files."""

    def __init__(self, harness: Harness, files: Mapping[str, bytes], *, count: int | None = None) -> None:
        self.items = {_SIGNATURE: b"QEMU"}
        directory = struct.pack(">I", len(files) if count is None else count)
        for number, (name, data) in enumerate(files.items()):
            key = _FIRST_FILE + 0x100 * number + number
            directory += struct.pack(">IHH56s", len(data), key, 0, name.encode())
            self.items[key] = data
        self.items[_DIRECTORY] = directory
        self._data, self._at = b"", 0
        self._usual = harness.port_in
        harness.port_in, harness.port_out = self._port_in, self._port_out

    def _port_out(self, port: int, size: int, value: int) -> None:
        if (port, size) == (_SELECTOR_PORT, 2):
            self._data, self._at = self.items.get(value, b""), 0

    def _port_in(self, port: int, size: int) -> int:
        if port != _DATA_PORT:
            return self._usual(port, size)
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0  # zeros behind the end


@contract(
    "fw_cfg_find", "fw_cfg_read", "fw_cfg_select", "fw_cfg_read_next", "cmdline_append_fw_cfg",
    needs=("fw_cfg_read", "cmdline_append_fw_cfg", "bootinfo_cmdline", "cmdline_length"),
)  # fmt: skip
def firmware_config(harness: Harness) -> None:
    """Files are found by their whole name; a machine without the device has none; lengths are not believed."""
    line = _Line(harness)
    wanted = b"test alpha=1"
    files = {
        "etc/acpi": b"x" * 300,
        _NAME + "2": b"longer",
        _NAME[:-1]: b"shorter",
        _NAME: wanted,
        "opt/z": b"z",
    }
    FirmwareConfig(harness, files)
    for number, (name, data) in enumerate(files.items()):
        harness.write(BUFFER_BASE, name.encode() + b"\0")
        result = line.call("fw_cfg_find", rdi=BUFFER_BASE)
        line.expect(not result.flag("cf"), "fw_cfg_find", "does not find a file", name=name)
        line.equal(result.value("edx"), len(data), "fw_cfg_find", "names another size", name=name)
        key = result.value("eax")
        line.equal(key, _FIRST_FILE + 0x101 * number, "fw_cfg_find", "names another selector", name=name)
        harness.write(BUFFER_BASE, b"\xee" * 64)
        line.call("fw_cfg_read", rdi=key, rsi=BUFFER_BASE, rdx=5)
        got = harness.read(BUFFER_BASE, 8)
        line.equal(
            got, data[:5].ljust(5, b"\0") + b"\xee" * 3, "fw_cfg_read", "reads something else", name=name
        )
    harness.write(BUFFER_BASE, b"opt/none\0")
    line.expect(
        line.call("fw_cfg_find", rdi=BUFFER_BASE).flag("cf"), "fw_cfg_find", "finds a file that there is not"
    )
    line.append(b"loader")
    line.call("cmdline_append_fw_cfg")
    line.joined(wanted, "cmdline_append_fw_cfg")
    for files, count in (({_NAME: b"w" * 5000}, None), ({"a": b"b"}, 0xFFFF_FFFF), ({}, 0)):
        harness.renew()
        line.model = b""
        FirmwareConfig(harness, files, count=count)
        line.call("cmdline_append_fw_cfg", limit=_LIMIT)
        line.joined(files.get(_NAME, b""), "cmdline_append_fw_cfg")
    harness.renew()
    harness.port_in = lambda port, size: (1 << 8 * size) - 1
    line.model = b""
    line.call("cmdline_append_fw_cfg", limit=_LIMIT)
    line.joined(b"", "cmdline_append_fw_cfg")
