"""The host of plain values: bounded, and the same for a machine that is replayed."""

from __future__ import annotations

import pytest

from pixelvm import assembler, host, reference, state
from pixelvm.host import PlainHost
from pixelvm.isa import Stop
from pixelvm.state import State

ECHO = "main: sys getc\n dup\n push -1\n eq\n jnz .end\n sys putc\n jump main\n.end: halt\n"


def test_a_machine_that_is_set_back_writes_the_same_bytes_once() -> None:
    program = assembler.assemble(ECHO, "echo.pxa").program
    outside = PlainHost(input=b"hello")
    at = State(program, fuel=100)
    reference.run(program, at, outside)
    earlier = state.save(at, program)
    seen = bytes(outside.output)
    assert at.stop is Stop.FUEL and 0 < len(seen) < 5
    for _ in range(2):
        again = state.restore(earlier, program)
        again.add_fuel(1000)
        assert reference.run(program, again, outside) is Stop.HALTED
        assert outside.output == b"hello"


def test_a_machine_that_goes_on_elsewhere() -> None:
    program = assembler.assemble(ECHO, "echo.pxa").program
    at = State(program, fuel=100)
    first, second = PlainHost(input=b"hello"), PlainHost(input=b"hello")
    reference.run(program, at, first)
    second.begin(at.written)
    at.add_fuel(1000)
    reference.run(program, at, second)
    assert first.output + second.output == b"hello"


def test_output_and_mailbox_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "OUTPUT_MAX", 10)
    outside = PlainHost()
    for at in range(20):
        outside.put(at, 65)
    assert outside.output == b"A" * 10
    sent = [outside.send(word) for word in range(host.MAILBOX_MAX + 5)]
    assert sent.count(True) == len(outside.outbox) == host.MAILBOX_MAX
    assert sent[-5:] == [False] * 5


def test_a_screen_with_pixels_of_its_own() -> None:
    outside = PlainHost(width=1, height=2, pixels=bytes(range(8)))
    assert [outside.pixel(0, 1), outside.pixel(1, 0), outside.pixel(0, 2)] == [0x07060504, 0, 0]
