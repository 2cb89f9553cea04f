"""What the serial routines send, byte for byte."""

from __future__ import annotations

from architect.contracts import contract
from architect.contracts.model import Session
from toolchain.harness import BUFFER_BASE, Harness

_COM1 = 0x3F8
_NUMBERS = (0, 1, 9, 10, 15, 16, 255, 256, 65535, 10**9, 2**32 - 1, 2**32, 10**19, 2**63, 2**64 - 1)
_TEXTS = (b"", b"x", b"PXBOOT v1 ", bytes(range(1, 128)))


def _sent(session: Session, routine: str, value: int) -> bytes:
    result = session.call(routine, rdi=value)
    return bytes(byte for port, size, byte in result.ports if port == _COM1 and size == 1)


@contract("serial_put_char", "serial_put_string", "serial_put_hex", "serial_put_dec", "serial_wait_empty")
def serial_text(harness: Harness) -> None:
    """Characters, strings, numbers in both bases."""
    session = Session(harness)
    for number in _NUMBERS:
        for routine, digits in (("serial_put_hex", f"{number:#x}"), ("serial_put_dec", str(number))):
            sent = _sent(session, routine, number)
            session.expect(sent == digits.encode(), routine, f"prints {sent!r} for {number:#x}", rdi=number)
    for text in _TEXTS:
        harness.write(BUFFER_BASE, text + b"\0")
        sent = _sent(session, "serial_put_string", BUFFER_BASE)
        plain = sent.replace(b"\r\n", b"\n")
        session.expect(plain == text, "serial_put_string", f"sends {sent!r} for {text!r}", rdi=BUFFER_BASE)
    for byte in (0x20, 0x41, 0x7E, 0xFF):
        sent = _sent(session, "serial_put_char", byte)
        session.expect(sent == bytes((byte,)), "serial_put_char", f"sends {sent!r} for {byte:#x}", rdi=byte)
