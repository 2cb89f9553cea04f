"""The examples in .pxl do what they say: each against an independent answer."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from pathlib import Path
from random import Random

import pytest

from pixelvm import engines, pictures, png, program
from pixelvm.disassembler import disassemble
from pixelvm.host import PlainHost
from pixelvm.isa import SEED_DEFAULT, Stop, next_random
from pixelvm.load import Loaded, load
from pixelvm.state import State
from tests.unit.game_2048 import Game
from tests.unit.pxos import pxos
from toolchain.errors import InputError

EXAMPLES = pictures.EXAMPLES


@lru_cache
def compiled(name: str) -> Loaded:
    return load(str(EXAMPLES / f"{name}.pxl"))


def ran(
    name: str,
    input: bytes = b"",
    size: tuple[int, int] = (0, 0),
    seed: int = SEED_DEFAULT,
    engine: str = "python",
) -> tuple[PlainHost, State]:
    """The example after its run."""
    loaded = compiled(name)
    host = PlainHost(input=input, width=size[0], height=size[1])
    state = State(loaded.program, seed=seed)
    state.fuel = 100_000_000
    assert engines.find(engine)(loaded.program, state, host) is Stop.HALTED
    return host, state


def fast() -> str:
    """The engine for long runs."""
    try:
        engines.find("x86")
    except InputError:
        return "python"
    return "x86"


# --- drawn -------------------------------------------------------------------------------------------------

GUN = """
24bo$22bobo$12b2o6b2o12b2o$11bo3bo4b2o12b2o$2o8bo5bo3b2o$2o8bo3bob2o4bobo$10bo5bo7bo$11bo3bo$12b2o!
"""


def gosper(width: int, height: int) -> set[tuple[int, int]]:
    cells, x, y, count = set(), 1, 1, ""
    for letter in GUN.strip():
        if letter.isdigit():
            count += letter
            continue
        for _ in range(int(count or 1)):
            if letter == "$":
                x, y = 1, y + 1
            else:
                cells |= {(x, y)} if letter == "o" else set()
                x += 1
        count = ""
    return {(x % width, y % height) for x, y in cells}


def test_life() -> None:
    width, height = 39, 14
    cells = gosper(width, height)
    host, _ = ran("life", b"8", (width, height))
    for _ in range(8):
        around = {
            (x, y): sum(((x + i) % width, (y + j) % height) in cells for i in (-1, 0, 1) for j in (-1, 0, 1))
            for x in range(width)
            for y in range(height)
        }
        cells = {at for at, n in around.items() if n == 3 or (n == 4 and at in cells)}
    shown = {(x, y) for y in range(height) for x in range(width) if host.pixels[4 * (y * width + x)] == 255}
    assert shown == cells and len(cells) > 30
    assert host.output == f"{len(cells)} cells live\n".encode()


def test_mandelbrot() -> None:
    width, height = 24, 16
    host, _ = ran("mandelbrot", size=(width, height))
    step = 3 * 4096 // width
    inside = set()
    for row in range(height):
        for column in range(width):
            a, b = -9216 + column * step, int((2 * row + 1 - height) * step / 2)
            x = y = 0
            for _ in range(48):
                xx, yy = x * x >> 12, y * y >> 12
                if xx + yy > 4 * 4096:
                    break
                x, y = xx - yy + a, (x * y >> 11) + b
            else:
                inside.add((column, row))
    black = bytes((0, 0, 0, 255))
    drawn = {
        (x, y)
        for y in range(height)
        for x in range(width)
        if host.pixels[4 * (y * width + x) : 4 * (y * width + x) + 4] == black
    }
    assert drawn == inside and 40 < len(inside) < 200


def test_sorting() -> None:
    host, _ = ran("sort", size=(48, 20), seed=99)
    numbers, seed = [], 99
    for _ in range(48):
        seed = next_random(seed)
        numbers.append(seed >> 24)
    assert [int(word) for word in host.output.split()] == sorted(numbers)
    rows = [bytes(host.pixels[4 * 48 * y : 4 * 48 * (y + 1)]) for y in range(20)]
    columns = [[row[at : at + 4] for at in range(0, len(row), 4)] for row in rows]
    assert all(sorted(row) == sorted(columns[0]) for row in columns)  # the same numbers in every row
    colour = dict(zip(numbers, columns[0], strict=True))
    assert columns[-1] == [colour[number] for number in sorted(numbers)]
    assert len(set(rows)) > 15


@pytest.mark.parametrize("seed", [1, 7])
def test_2048(seed: int) -> None:
    keys = "".join(Random(seed).choice("wasdhjkl") for _ in range(60))
    host, _ = ran("2048", keys.encode(), (32, 32), seed, fast())
    game = Game(seed)
    expected = game.shown() + "".join(game.play(key) for key in keys)
    assert host.output.decode() == expected
    for cell, tile in enumerate(game.board):
        at = 4 * (((cell // 4) * 8 + 1) * 32 + (cell % 4) * 8 + 1)  # the corner of a tile, inside its edge
        assert tuple(host.pixels[at : at + 3]) == Game.COLOURS[tile]


def test_2048_ends() -> None:
    host, state = ran("2048", bytes(Random(3).choices(b"wasd", k=2000)), (0, 0), 3, fast())
    assert host.output.endswith(b"game over\n") and 0 < state.read < 2000
    host, state = ran("2048", b"xq", (0, 0), 3)
    assert state.read == 2 and b"game over" not in host.output


# --- computed ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 3, 55, 56, 64, 200])
def test_sha256(length: int) -> None:
    data = Random(length).randbytes(length)
    host, _ = ran("sha256", data)
    assert host.output.decode() == hashlib.sha256(data).hexdigest() + "\n"


HELLO = "++++++++[>++++[>++>+++>+++>+<<<<-]>+>+>->>+[<]<-]>>.>---.+++++++..+++.>>.<-.<.+++.------.--------.>>+.>++."
REVERSE = ">,[>,]<[.<]"


@pytest.mark.parametrize(
    ("source", "output", "result"),
    [
        (HELLO, b"Hello World!\n", 0), (REVERSE + "!drawkcab", b"backward", 0), (",[.,]!", b"", 0),
        ("-.", b"\xff", 0), ("[", b"[ without ]\n", 1), ("+]", b"] without [\n", 1),
        ("<", b"left of the first cell\n", 1), ("+[>+]", b"right of the last cell\n", 1),
    ],
)  # fmt: skip
def test_brainf(source: str, output: bytes, result: int) -> None:
    host, state = ran("brainf", source.encode(), engine=fast())
    assert (bytes(host.output), state.result) == (output, result)


# --- the assembler -----------------------------------------------------------------------------------------


def assembled(source: str) -> bytes:
    host, state = ran("asm", source.encode(), engine=fast())
    assert state.result == 0, host.output
    return bytes(host.output)


@pytest.mark.parametrize("example", sorted(EXAMPLES.glob("*.px[al]")), ids=lambda path: path.name)
def test_the_assembler_gives_what_the_one_in_python_gives(example: Path) -> None:
    made = load(str(example)).program
    assert assembled(disassemble(made)) == program.to_bytes(
        made
    )  # asm.pxl is among them: it assembles itself
    if example.suffix == ".pxa":
        assert assembled(example.read_text()) == program.to_bytes(made)


def test_everything_that_the_assembler_takes(tmp_path: Path) -> None:
    source = tmp_path / "all.pxa"
    source.write_text(
        "; a comment; with 'quotes\" in it\n.const N, 3*2 # and another\n.memory 0x200\nstart: .again:\n"
        "    push N|8+(1<<4)*2 - ~0 & 7\n    push big\n\tPUSH 0x12345678\n    push -1\n"
        "    push 0b101 - 017 / 2 % 4\n"
        "    call main\n    jnz .again\nmain:\n.again: push ';'\n    push '\\n'\n    push 0x800000\n"
        "    push -0x800001\n"
        "    load8 text+1\n    store32\n    pick 3\n    sys putc\n    jz start.again\n    high 1\n"
        "    halt\n    halt 7\n"
        '    .pixel 0xff\n.data\ntext: .ascii "a;#\\n" "," "\\x41\\101"; the rest\n'
        "    .byte 1, ',', -1, 'x', 255, -128\n    .align 4\nbig: .word main, big, 0xffffffff, -1\n"
        '    .space 2, 0x55\n    .asciz "é"\n.code\n add: jump add\n.entry add\r\n'
    )
    assert assembled(source.read_text()) == program.to_bytes(load(str(source)).program)


@pytest.mark.parametrize(
    ("source", "line", "words"),
    [
        ("halt\nbogus", 2, "no such instruction"), ("push", 1, "a number is missing"), ("\n\njump 5", 3, "range"),
        ("push x", 1, "no label or constant"), ("a:\na: halt", 2, "given twice"), ("add 1", 1, "no operand"),
        ("sys puts", 1, "no such system call"), (".byte 1", 1, "among instructions"), (".data\nhalt", 2, "data"),
        ("halt\n.data\n.byte 256", 3, "no byte"), ("get 16", 1, "out of range"), ("push 1/0", 1, "division by zero"),
        (".memory 100", 1, "multiple of 256"), ('.data\n.ascii "x', 2, "closing quote"), ("push (1", 1, "parenthesis"),
        ("halt\n.data\nx: .byte 1\n.code\njump x", 5, "label of data"), ("", 0, "no instructions"),
        ("push late\n.const late, 1<<24", 1, "stands below"), (".const N, M\n.const M, 1\nhalt", 1, "stand above"),
        (".memory 256\nhalt\n.data\n.space 300", 0, "more data than memory"), ("halt\n.entry 1", 2, "the entry"),
        ("push 4294967296", 1, "32 bits"), (".what", 1, "no such directive"), ("halt 1 1", 1, "operator or the end"),
    ],
)  # fmt: skip
def test_an_error_has_its_line(source: str, line: int, words: str) -> None:
    host, state = ran("asm", source.encode(), engine=fast())
    assert state.result == 1
    assert host.output.startswith(f"line {line}: ".encode()) and words.encode() in host.output


# --- pictures ----------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_pictures_are_those_of_the_examples() -> None:
    made = pictures.pictures()
    assert {path.name for path in pictures.FOLDER.iterdir()} == set(made)
    for name, data in made.items():
        kept = (pictures.FOLDER / name).read_bytes()
        assert png.read(kept, name) == png.read(data, name), f"{name}: run python -m pixelvm.pictures"
        assert len(kept) < 40_000


DRAW = re.compile(r"(?:echo (\d+) \| )?pxos (vm run pixelvm/examples/\w+\.pxl .*--picture (\w+\.png))")


@pytest.mark.long
@pytest.mark.parametrize(
    ("typed", "words", "name"),
    DRAW.findall((EXAMPLES / "README.md").read_text()),
    ids=lambda text: text[-14:],
)
def test_what_the_manual_types_draws_what_it_shows(typed: str, words: str, name: str, tmp_path: Path) -> None:
    drawn = tmp_path / name
    line = words.replace("pixelvm/examples", str(EXAMPLES)).removesuffix(name).split()
    assert pxos(*line, str(drawn), typed=typed.encode()).status == 0
    assert png.read(drawn.read_bytes(), name) == png.read((pictures.FOLDER / name).read_bytes(), name)


def test_every_example_and_picture_is_shown() -> None:
    text = (EXAMPLES / "README.md").read_text()
    files = [p.name for p in EXAMPLES.glob("*.px[al]")] + [
        f"pictures/{p.name}" for p in pictures.FOLDER.iterdir()
    ]
    assert [name for name in files if name not in text] == []
