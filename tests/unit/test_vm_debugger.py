"""The Pixel VM's debugger: movements forward and back, stops, panes, and what a person may type."""

from __future__ import annotations

import io
import random
import string
from pathlib import Path

import pytest

from pixelvm import png, reference, state
from pixelvm.host import PlainHost
from pixelvm.hypervisor import history
from pixelvm.hypervisor.console import BY_NAME, COMMANDS, Console
from pixelvm.hypervisor.debugger import Debugger
from pixelvm.load import load
from pixelvm.state import State
from tests.unit.pxos import pxos
from toolchain.errors import InputError

EXAMPLES = Path(__file__).resolve().parents[2] / "pixelvm/examples"
SOURCE = """\
.memory 256
main:
    push 3
    call twice
    push cell
    swap
    store32 0
    push 0x12345678
    drop
    push 'x'
    sys putc
    push 1
    push 1
    push 0xff00ff
    sys plot
    sys random
    halt 4
twice:
    set 2
    get 2
    call double
    ret
double:
    dup
    add
    ret
.data
    .word 0
cell:
    .word 7
"""


@pytest.fixture
def debugger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Debugger:
    monkeypatch.chdir(tmp_path)
    Path("p.pxa").write_text(SOURCE)
    return opened("p.pxa")


def opened(name: str, fuel: int = 1 << 30) -> Debugger:
    loaded = load(name)
    picture = loaded.picture
    host = PlainHost(width=picture.width, height=picture.height, pixels=picture.pixels)
    return Debugger(loaded, State(loaded.program, fuel=fuel), host)


def line(debugger: Debugger) -> int:
    return debugger.line(debugger.state.pc)[1]


def test_steps_are_lines_and_calls_are_entered_or_not(debugger: Debugger) -> None:
    assert line(debugger) == 3
    assert debugger.step() == "" and line(debugger) == 4
    assert debugger.step() == "" and line(debugger) == 19
    assert debugger.finish() == "" and line(debugger) == 5
    debugger.restart()
    debugger.step()
    assert debugger.next() == "" and (line(debugger), debugger.state.stack) == (5, [6])
    for _ in range(3):
        debugger.next()
    assert line(debugger) == 8
    assert debugger.step() == "" and line(debugger) == 9  # a push of 32 bits is two words of one line
    assert [debugger.run(), debugger.run()] == ["halted with 4"] * 2


def test_finish_needs_a_caller(debugger: Debugger) -> None:
    with pytest.raises(InputError, match="this is the entry's frame"):
        debugger.finish()


def test_breaks_by_label_line_and_word(debugger: Debugger) -> None:
    for text, pc in (("double", 21), ("5", 2), ("1", 0), ("p.pxa:12", 10), ("@7", 7)):
        assert debugger.code_place(text) == pc, text
    debugger.add_break("double")
    debugger.add_break("15")
    assert debugger.run() == "break 1 (double)" and line(debugger) == 24
    assert debugger.run() == "break 2 (15)"
    debugger.delete(2)
    debugger.restart()
    assert (
        debugger.next() == "" and debugger.next() == "break 1 (double)"
    )  # over the call, but for the break in it
    for text in ("nowhere", "99", "@24", "@x", "q.pxa:3", "@-1"):
        with pytest.raises(InputError):
            debugger.code_place(text)
    with pytest.raises(InputError, match="9 is no breakpoint"):
        debugger.delete(9)


def test_watches(debugger: Debugger) -> None:
    debugger.watch_memory("cell", 4)
    assert debugger.run() == "watch 1 (4 bytes at 4): 07 00 00 00 became 06 00 00 00"
    assert line(debugger) == 8
    debugger.restart()
    debugger.delete(1)
    debugger.add_break("twice")
    debugger.run()
    debugger.watch_local(2)
    assert debugger.run() == "watch 3 (local 2 of frame 1): 0 became 3"
    assert debugger.run() == "watch 3 (local 2 of frame 1): its frame has ended; deleted"
    assert debugger.run() == "halted with 4"
    for text, size in (("cell", 0), ("cell", 253), ("nowhere", 4), ("257", 1), ("cell-5", 1)):
        with pytest.raises(InputError):
            debugger.watch_memory(text, size)
    with pytest.raises(InputError, match="local 16"):
        debugger.watch_local(16)
    assert (debugger.address("cell+4"), debugger.address("0x10"), debugger.address("cell-4")) == (8, 16, 0)


def test_back_is_where_it_was(debugger: Debugger) -> None:
    seen = []
    while not debugger.ended():
        seen.append((state.save(debugger.state, debugger.program), bytes(debugger.host.output),
                     bytes(debugger.host.pixels)))  # fmt: skip
        debugger.step_word()
    for before in reversed(seen):
        assert debugger.back_word() == ""
        assert before == (state.save(debugger.state, debugger.program), bytes(debugger.host.output),
                          bytes(debugger.host.pixels))  # fmt: skip
    assert debugger.back_word() == debugger.back() == "this is the beginning"


def test_back_by_lines_is_step_reversed(debugger: Debugger) -> None:
    lines = [line(debugger)]
    while not debugger.step():
        lines.append(line(debugger))
    assert lines[:4] == [3, 4, 19, 20]
    backwards = [lines[-1]]
    while not debugger.back():
        backwards.append(line(debugger))
    assert backwards == lines[::-1]


def test_back_from_a_trap(tmp_path: Path) -> None:
    source = tmp_path / "t.pxa"
    source.write_text("push 1\npush 0\ndivu\n")
    debugger = opened(str(source))
    assert debugger.run() == "trap DIVISION: the divisor is zero"
    assert debugger.back() == "" and line(debugger) == 2
    assert debugger.step() == "" and line(debugger) == 3


def test_back_stays_quick_and_small_in_a_long_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "INTERVAL", 8)
    source = tmp_path / "long.pxa"
    source.write_text(".memory 256\npush 1\nagain: sys random\nstore_it: drop\npush 1\nadd\njump again\n")
    debugger = opened(str(source))
    past = debugger.past
    while past.at < 20_000:
        past.step()
    assert len(past._points) <= history.KEPT
    assert past.interval <= 4 * 20_000 // history.KEPT
    end = state.save(debugger.state, debugger.program)
    ran = 0
    step = reference.step

    def counted(*machine: object) -> object:
        nonlocal ran
        ran += 1
        return step(*machine)  # type: ignore[arg-type]

    monkeypatch.setattr(reference, "step", counted)
    debugger.back_word()
    assert ran <= past.interval
    monkeypatch.setattr(reference, "step", step)
    debugger.step_word()
    assert state.save(debugger.state, debugger.program) == end
    past.go(11)
    assert past.at == 11


# --- the session --------------------------------------------------------------------------------------------


def session(debugger: Debugger, *commands: str) -> str:
    output = io.StringIO()
    lines = iter(commands)

    def read(prompt: str) -> str:
        try:
            return next(lines)
        except StopIteration:
            raise EOFError from None

    Console(debugger, output).loop(read)
    return output.getvalue()


def test_a_session(debugger: Debugger) -> None:
    said = session(debugger, "break double", "continue", "frames", "locals", "locals 0", "stack", "x cell 4", "c", "o",
                   "picture shot.png", "info", "panes")  # fmt: skip
    for text in (
        "break 1: p.pxa:24  @21", "break 1 (double)\n", "*>   24      dup", "    2  p.pxa:24  @21  in double\n",
        "    1  p.pxa:21  @19  in twice\n", "    0  p.pxa:4  @1  in main\n",
        " 0: 0              1: 0              2: 0",
        "  top  0x00000003  3\n", "0x000004  07 00 00 00 ", "halted with 4\n", "\nx\n", "shot.png: 8x8 pixels",
        "    1  break double  p.pxa:24  @21", "--- pixels ---", " >@16     00000490  halt 4",
    ):  # fmt: skip
        assert text in said, text
    shot = png.read(Path("shot.png").read_bytes(), "shot.png")
    assert shot.pixels[4 * 9 : 4 * 9 + 3] == b"\xff\0\xff"


def test_an_empty_line_repeats_a_movement_only(debugger: Debugger) -> None:
    said = session(debugger, "si", "", "stack", "", "q", "si")
    assert debugger.past.at == 2 and said.count("top ") == 1


def test_without_source_the_pixels_are_shown(debugger: Debugger) -> None:
    assert pxos("vm", "pack", "p.pxa", "p.png").status == 0
    said = session(opened("p.png"), "s", "b @21", "c", "back", "list 5", "dis @0", "view all", "si")
    assert " >@1      00001163  call 17" in said and "break 1 (@21)" in said
    assert "'5': no code at this line" in said


def test_a_source_that_has_gone_is_no_end(debugger: Debugger) -> None:
    Path("p.pxa").unlink()
    assert " >@1 " in session(debugger, "s")


def test_every_command_has_help_that_works(debugger: Debugger) -> None:
    for command in COMMANDS:
        said = session(debugger, f"help {command.names[0]}", "quit")
        assert f"example: {command.example}" in said
        if command.names[0] not in ("watch", "list"):  # their examples name what this program has not
            assert "no command" not in session(opened("p.pxa"), command.example)
    assert all(command.names[0] in session(debugger, "help") for command in COMMANDS)
    assert len(BY_NAME) == sum(len(command.names) for command in COMMANDS)


def test_garbage_never_ends_it(debugger: Debugger) -> None:
    words = [
        *BY_NAME,
        "local",
        "@1",
        "@99999999999999",
        "-1",
        "0x",
        "1e9",
        "cell+",
        "\x1b[2J",
        "é",
        "all",
        "/nowhere/x.png",
    ]
    chance = random.Random(4)
    lines = []
    for _ in range(600):
        parts = [chance.choice(words) for _ in range(chance.randrange(1, 4))]
        if parts[0] in ("quit", "q", "picture"):
            parts.insert(0, "help")
        lines.append(" ".join(parts))
    lines += ["".join(chance.choice(string.printable) for _ in range(30)) for _ in range(200)]
    lines += [
        "x" * 100_000,
        "\0",
        "picture",
        "picture /nowhere/x.png",
        "step 99999999999",
        "delete",
        "watch",
        "view",
    ]
    said = session(
        debugger,
        *(text for text in lines if text.split()[:1] not in (["q"], ["quit"])),
        "view short",
        "where_am_i",
    )
    assert said.endswith("no command 'where_am_i'; help lists them\n\n")
    assert "\x1b" not in said


def test_the_command_reads_standard_input(debugger: Debugger) -> None:
    answer = pxos("vm", "debug", "p.pxa", typed=b"b twice\nc\nbt\nquit\nc\n")
    assert answer.status == 0 and "in twice" in answer.output and "halted" not in answer.output
    for words, message in (
        (["-"], "name a file"), (["nowhere.pxa"], "nowhere.pxa: cannot read"),
        (["p.pxa", "--resume", "p.pxa"], "p.pxa: not a saved state"),
        (["p.pxa", "--fuel", "x"], "'x': expected a number"),
    ):  # fmt: skip
        refused = pxos("vm", "debug", *words)
        assert refused.status == 2 and message in refused.errors
    assert "is interactive" in pxos("vm", "--json", "debug", "p.pxa").errors


def test_from_a_saved_state(debugger: Debugger) -> None:
    assert pxos("vm", "run", "p.pxa", "--fuel", "5", "--save", "s.pxst").status == 3
    answer = pxos("vm", "debug", "p.pxa", "--resume", "s.pxst", typed=b"bt\nc\n")
    assert "in twice" in answer.output and "halted with 4" in answer.output
