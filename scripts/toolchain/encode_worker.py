"""The process in which Keystone and Capstone run: statements in, bytes and what they decode to out.

Owns the only calls of Keystone. A statement can hang Keystone or end its process, so nothing else lives here:
``encode_guard`` starts this process, feeds it and starts another one when it dies. A timer on its own CPU time ends
it when a call does not return, so that it never outlives a hang, with or without its parent.

Lines in: ``MODE - STATEMENT``; ``MODE +f0 STATEMENT`` for one to which the prefix F0 is to be added, ``*`` for one
whose index is to have scale 1; ``MODE =HEX`` for bytes that are only to be decoded. ``!`` before a line makes it run
alone. Lines out, in the same order: ``HEX<tab>DECODED`` or ``!REASON``; before the first, ``ready``.
"""

from __future__ import annotations

import os
import signal
import sys

from toolchain.encode_libraries import NoEncoding, load

# CPU seconds that one call of Keystone may take; a batch takes well under a millisecond.
CALL_LIMIT = 1.0
# Statements per call: one call costs 20 microseconds, a further statement in it 2.
CHUNK = 48


def serve(source: int, sink: int, twin: tuple[int, int] | None = None) -> None:
    """Answer lines from the descriptor ``source`` on ``sink`` until the end of file.

    With a ``twin`` another pair of descriptors is served by a fork of this process.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    engines = _Engines()
    if twin is not None:
        mine, others = ((source, sink), twin) if os.fork() else (twin, (source, sink))
        source, sink = mine
        for descriptor in others:
            os.close(descriptor)
    os.write(sink, b"ready\n")
    pending = b""
    while True:
        data = os.read(source, 1 << 16)
        if not data:
            return
        *lines, pending = (pending + data).split(b"\n")
        at = 0
        while at < len(lines):
            end = at + 1
            if lines[at][:1] != b"!":
                while end < len(lines) and end - at < CHUNK and lines[end][:2] == lines[at][:2]:
                    end += 1
            requests = [line.decode("ascii").lstrip("!").split(" ", 2) for line in lines[at:end]]
            _write(
                sink,
                "".join(f"{reply}\n" for reply in engines.answer(int(requests[0][0]), requests)).encode(),
            )
            at = end


def _write(sink: int, data: bytes) -> None:
    while data:
        data = data[os.write(sink, data) :]


class _Engines:
    """Answers requests with Keystone and Capstone."""

    def __init__(self) -> None:
        self.libraries = load()
        self.libraries.assemble(64, "nop")

    def answer(self, mode: int, requests: list[list[str]]) -> list[str]:
        """The reply to each request of one mode, in order."""
        statements = [request[2] for request in requests if request[1][0] != "="]
        coded = iter(self._code(mode, statements))
        replies = []
        for request in requests:
            what = request[1]
            if what[0] == "=":
                data = bytes.fromhex(what[1:])
                replies.append(f"{what[1:]}\t{self._decode(mode, data)}")
                continue
            reply = next(coded)
            if what != "-" and reply[0] != "!":
                data = bytes.fromhex(reply.split("\t")[0])
                if "*" in what:
                    data = _unscaled(data)
                if not data:
                    replies.append("!no scale to set")
                    continue
                data = _prefixed(data, bytes.fromhex(what.replace("+", "").replace("*", "")))
                reply = f"{data.hex()}\t{self._decode(mode, data)}"
            replies.append(reply)
        return replies

    def _code(self, mode: int, statements: list[str]) -> list[str]:
        """Bytes and meaning of each statement: together in one call when that is unambiguous, else one by one."""
        if len(statements) > 1:
            replies = self._together(mode, statements)
            if replies is not None:
                return replies
            half = len(statements) // 2
            return self._code(mode, statements[:half]) + self._code(mode, statements[half:])
        return [self._alone(mode, statement) for statement in statements]

    def _assemble(self, mode: int, text: str) -> tuple[bytes, int]:
        signal.setitimer(signal.ITIMER_VIRTUAL, CALL_LIMIT)
        try:
            return self.libraries.assemble(mode, text)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    def _together(self, mode: int, statements: list[str]) -> list[str] | None:
        try:
            data, count = self._assemble(mode, ";".join(statements))
        except NoEncoding:
            return None
        if count != len(statements):
            return None
        decoded = self.libraries.decode(mode, data)
        if len(decoded) != count or sum(item[1] for item in decoded) != len(data):
            return None
        return [
            f"{_ordered(data[address : address + size]).hex()}\t{mnemonic} {text}".rstrip()
            for address, size, mnemonic, text in decoded
        ]

    def _alone(self, mode: int, statement: str) -> str:
        try:
            data, count = self._assemble(mode, statement)
        except NoEncoding as error:
            return f"!{error}"
        if count != 1 or not data:
            return "!Keystone yields no bytes"
        return f"{_ordered(data).hex()}\t{self._decode(mode, data)}"

    def _decode(self, mode: int, data: bytes) -> str:
        """What Capstone reads in ``data``; "" unless it is one instruction, behind a ``wait`` at most."""
        decoded = self.libraries.decode(mode, data)
        if sum(item[1] for item in decoded) != len(data):
            return ""
        texts = [f"{mnemonic} {text}".rstrip() for _, _, mnemonic, text in decoded]
        if len(texts) == 1:
            return texts[0]
        return "; ".join(texts) if len(texts) == 2 and texts[0] == "wait" else ""


def _ordered(data: bytes) -> bytes:
    """``data`` with 67 before 66, as GNU as writes them; Keystone's string instructions have 66 first."""
    return b"\x67\x66" + data[2:] if data[:2] == b"\x66\x67" else data


def _unscaled(data: bytes) -> bytes:
    """``data`` with scale 1 in the SIB byte, which stands right before the marked displacement."""
    at = data.rfind(b"\x44\x33\x22\x11") - 1
    return b"" if at < 0 else data[:at] + bytes([data[at] & 0x3F]) + data[at + 1 :]


_SEGMENTS = b"\x26\x2e\x36\x3e\x64\x65"


def _prefixed(data: bytes, prefixes: bytes) -> bytes:
    """``data`` with more prefixes in GNU as's order: segment, 67, 66, repeat, lock, then REX and opcode."""
    lead = bytes(byte for byte in prefixes if byte in _SEGMENTS)
    rest = bytes(byte for byte in prefixes if byte not in _SEGMENTS)
    at = 0
    while data[at] in _SEGMENTS or data[at] in b"\x66\x67":
        at += 1
    return lead + data[:at] + rest + data[at:]


if __name__ == "__main__":
    serve(int(sys.argv[1]), int(sys.argv[2]))
