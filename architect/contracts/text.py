"""What the serial routines send, byte for byte, and how they set the line up.

PC16550D, 8.0: divisor latch behind bit 7 of line control, 16 bytes of FIFO, line status bits 5 and 6. The UART of the
tests loses what it is given while its FIFO is full, as the real one does.
"""

from __future__ import annotations

from architect.contracts import contract
from architect.contracts.model import Session
from toolchain import contract as shared
from toolchain.emulator import Emulator
from toolchain.harness import BUFFER_BASE, PERCPU_PAGE, Harness

COM1 = 0x3F8
_NUMBERS = (0, 1, 9, 10, 15, 16, 255, 256, 65535, 10**9, 2**32 - 1, 2**32, 10**19, 2**63, 2**64 - 1)
_TEXTS = (b"", b"x", b"PXBOOT v1 ", bytes(range(1, 128)))
_FIFO = 16
_FAULT = 0x12
_CPU = 0x08  # of the per-CPU block


class Uart:
    """A 16550 that sends a few bytes each time its status is read."""

    def __init__(self, harness: Emulator, *, drains: int = 7) -> None:
        self.sent = bytearray()
        self.lost = 0
        self.divisor = 0
        self.registers = [0] * 8
        self._waiting = 0
        self._drains = drains
        self._usual = harness.port_in
        harness.port_in, harness.port_out = self._port_in, self._port_out

    def _port_in(self, port: int, size: int) -> int:
        if port != COM1 + 5:
            return self._usual(port, size)
        self._waiting = max(0, self._waiting - self._drains)
        return 0 if self._waiting else 0x60

    def _port_out(self, port: int, size: int, value: int) -> None:
        register = port - COM1
        if size != 1 or not 0 <= register < 8:
            return
        if register < 2 and self.registers[3] & 0x80:
            shift = 8 * register
            self.divisor = self.divisor & ~(0xFF << shift) | value << shift
        elif register == 0:
            full = self._waiting >= _FIFO
            self.lost += full
            self._waiting += not full
            self.sent += b"" if full else bytes((value,))
        else:
            self.registers[register] = value


class _Line(Session):
    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.uart = Uart(harness)

    def sends(
        self, routine: str, expected: bytes, promise: str = "sends something else", **registers: int
    ) -> None:
        """A call sends exactly some bytes."""
        self.uart.sent.clear()
        self.call(routine, **registers)
        self.expect(not self.uart.lost, "serial_wait_empty", "sends more than the FIFO takes")
        got = bytes(self.uart.sent).replace(b"\r\n", b"\n")
        self.equal(got, expected, routine, promise, **registers)


@contract(
    "serial_put_string", "serial_put_char", "serial_put_hex", "serial_put_dec", "serial_wait_empty",
    "serial_line_begin", "serial_line_end", "serial_init",
    needs=("serial_put_char", "serial_put_hex", "serial_put_dec", "serial_line_begin", "serial_line_end"),
)  # fmt: skip
def serial_text(harness: Harness) -> None:
    """The line's set-up; characters, strings, numbers in both bases; lines that begin where a line begins."""
    line = _Line(harness)
    line.call("serial_init")
    uart = line.uart
    setup = (uart.divisor, uart.registers[3], uart.registers[1])
    line.expect(setup == (1, 0x03, 0), "serial_init", "sets another line than 115200 8N1", got=repr(setup))
    line.expect(bool(uart.registers[2] & 1), "serial_init", "leaves the FIFOs off")
    line.equal(uart.registers[4] & 0x13, 3, "serial_init", "leaves DTR or RTS off, or loops back")
    for number in _NUMBERS:
        line.sends("serial_put_hex", f"{number:#x}".encode(), rdi=number)
        line.sends("serial_put_dec", str(number).encode(), rdi=number)
    for text in _TEXTS:
        harness.write(BUFFER_BASE, text + b"\0")
        line.sends("serial_put_string", text, rdi=BUFFER_BASE)
    for byte in (0x20, 0x41, 0x7E, 0xFF):
        line.sends("serial_put_char", bytes((byte,)), rdi=byte | 0xAA00)
    line.sends("serial_line_begin", b"\n", "does not begin a line of its own")
    line.sends("serial_put_char", b"P", rdi=0x50)
    line.sends("serial_line_begin", b"\n", "does not begin a line of its own within another")
    line.sends("serial_line_end", b"\n", "does not end the line")
    line.sends("serial_line_end", b"\n", "does not end the line")
    line.sends("serial_line_begin", b"", "begins a line where one begins already")
    line.sends("serial_line_end", b"\n", "does not end the line")
    # The next is another CPU: whoever ended its lines has let the lock go, and whoever holds it keeps others out.
    harness.write(PERCPU_PAGE + _CPU, b"\5\0\0\0")
    line.sends("serial_line_begin", b"", "does not let the line go")
    line.sends("serial_line_begin", b"", "does not let its holder in again")
    line.sends("serial_line_end", b"\n", "does not end the line")
    harness.write(PERCPU_PAGE + _CPU, bytes(4))
    waits = harness.call("serial_line_begin", {}, limit=4000).end == "limit"
    line.expect(waits, "serial_line_begin", "lets two CPUs into one line")


@contract("panic", "debug_exit", "debug_exit_fault", needs=("debug_exit", "debug_exit_fault"))
def ways_out(harness: Harness) -> None:
    """The last words, and the statuses that the host reads, in their order."""
    session = Session(harness)
    port, pvpanic = shared.constant("DEBUG_EXIT_PORT"), shared.constant("PVPANIC_PORT")
    harness.write(BUFFER_BASE, b"code\0some text\0")
    for routine, registers, expected in (
        ("debug_exit", {"rdi": 0x10}, [(port, 0x10)]),
        ("debug_exit_fault", {}, [(pvpanic, 1), (port, _FAULT)]),
        ("panic", {"rdi": BUFFER_BASE, "rsi": BUFFER_BASE + 5}, [(pvpanic, 1), (port, _FAULT)]),
    ):
        result = harness.call(routine, registers, seed=1)
        got = [(at, value) for at, _, value in result.ports if at in (port, pvpanic)]
        session.expect(got == expected, routine, "tells the host something else", got=repr(got))
        session.expect(result.end == "halt", routine, "goes on where nothing is left", end=result.end)
    sent = bytes(value for at, size, value in result.ports if at == COM1 and size == 1)
    wanted = shared.string("PANIC_PREFIX").encode() + b"code some text"
    session.expect(
        wanted in sent.replace(b"\r", b"").split(b"\n"), "panic", "says something else", got=repr(sent[-40:])
    )
