"""Pixel programs on bare metal that read what is typed, and that talk to the GPU service by their mailbox."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pixelvm import program, reference
from pixelvm.host import PlainHost
from pixelvm.load import load
from pixelvm.state import State
from tests.boot.test_shell import Shell
from toolchain.mailbox import layout as m

pytestmark = pytest.mark.qemu

EXAMPLES = Path(__file__).resolve().parents[2] / "pixelvm/examples"
FUEL = 1_000_000_000  # what the shell gives
ECHO = """\
use std;
fn main() {
    for var key = getc(); key != -1; key = getc() {
        putc('<');
        print_hex(key, 2);
        putc('>');
    }
    print(getc() == -1 ? "ended" : "more");
    putc('\\n');
    halt 3;
}
"""
ASK = """\
use std;
fn main() {
    var command = read_number();
    while command {
        print_number(send(command));
        putc(' ');
        print_number(send(command));
        var answer, there = receive();
        while !there { answer, there = receive(); }
        putc(' ');
        print_hex(answer, 8);
        answer, there = receive();
        putc(' ');
        print_hex(answer, 8);
        putc(' ');
        print_number(there);
        putc('\\n');
        command = read_number();
    }
}
"""
ALONE = """\
use std;
fn main() { var command, there = receive(); print_number(send(0x8b000001) | command | there); putc('\\n'); }
"""


def module(folder: Path, name: str, source: str) -> str:
    """A program as a boot module."""
    (folder / f"{name}.pxl").write_text(source)
    made = folder / f"{name}{program.SUFFIX}"
    made.write_bytes(program.to_bytes(load(str(folder / f"{name}.pxl")).program))
    return str(made)


def test_typed_input_reaches_a_program(tmp_path: Path) -> None:
    game = (EXAMPLES / "2048.pxl").read_text()
    shell = Shell(
        tmp_path, "--module", module(tmp_path, "echo", ECHO), "--module", module(tmp_path, "game", game)
    )
    ahead = "typed before it reads" * 20  # more than the ring of the serial line holds
    shell.line.send(f"run echo.pxvm\r{ahead}\r\x04")
    shell.line.expect_exact("\r\npx> ")
    said = (shell.line.before or "").replace("\r\n", "\n")
    assert "".join(f"<{ord(key):02x}>" for key in ahead + "\n") + "ended\n" in said
    shell.line.send("run echo.pxvm -j\rx")
    shell.line.expect_exact("<78>")  # it reads, and waits
    shell.line.send("y")
    shell.line.expect_exact("<79>")
    shell.line.send("\x1b")
    shell.line.expect_exact("\r\npx> ")
    row = json.loads((shell.line.before or "").strip().splitlines()[-1])
    assert row["stop"] == "interrupted"
    assert shell.ask("run echo.pxvm 5")["stop"] == "fuel"
    keys = "ssddwwaasdwa" * 3 + "q"
    of = load(str(EXAMPLES / "2048.pxl")).program
    state, host = State(of, fuel=FUEL), PlainHost(input=keys.encode(), width=128, height=128)
    reference.run(of, state, host)
    shell.line.send(f"run game.pxvm -j\r{keys}")
    shell.line.expect_exact("\r\npx> ")
    row = json.loads((shell.line.before or "").strip().splitlines()[-1])
    assert row["stop"] == "halted" and row["fuel"] == FUEL - state.fuel
    shell.close()


def test_a_programs_words_are_commands_of_the_compatibility_page(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "--gpu", "--module", module(tmp_path, "ask", ASK))
    done, refused = m.STATUS_READY | m.STATUS_COMPLETE, m.STATUS_READY | m.STATUS_COMPLETE | m.STATUS_ERROR
    asked = (
        (m.OP_PING << 24 | 0x1234, done, 0x1234),
        (m.OP_SYSCALL << 24 | m.CALL_VERSION, done, m.VERSION_MAJOR << 16 | m.VERSION_MINOR),
        (m.OP_UART_READ << 24, refused, m.ERROR_NO_DATA),
        (m.OP_PING << 24 | 0x23_0007, done, 7),
        (m.OP_HALT << 24, refused, m.ERROR_NOT_GRANTED),
        (m.OP_ALLOC << 24 | 1, refused, m.ERROR_NOT_GRANTED),
        (5, refused, m.ERROR_NOT_GRANTED),
    )
    answer = shell.say("run ask.pxvm\r" + "".join(f"{word}\r" for word, _, _ in asked) + "0")
    rows = [f"1 0 {status:08x} {result:08x} 1" for _, status, result in asked]
    assert [line.lower() for line in answer.splitlines() if line.startswith("1 0 ")] == rows
    assert shell.ask("mailbox ping 50")["answered"] == 50  # the session has lost nothing
    shell.close()


def test_without_a_service_the_mailbox_is_full_and_empty(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "--module", module(tmp_path, "alone", ALONE))
    assert shell.say("run alone.pxvm").splitlines()[0] == "0"
    shell.close()
