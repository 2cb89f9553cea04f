"""Variables by name in the debugger: names, types, where they lie, when they are known, and when a watch tells."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from pixelvm import isa
from pixelvm.host import PlainHost
from pixelvm.hypervisor.console import Console
from pixelvm.hypervisor.debugger import Debugger
from pixelvm.load import load
from pixelvm.state import State

SOURCE = """\
use std;
const N = 5;
var table: word[N];
var text: byte[8] = "pixel";
var total;

fn sum(upto, step) -> value {
    var s = 0;
    for var i = 0; i <u upto; i += step {
        var square = i * i;
        s += square + square;
        table[i %u N] = s;
    }
    return s;
}

fn factor(n) -> value {
    if n <u 2 { return 1; }
    return n * factor(n - 1);
}

fn main() {
    var a = sum(4, 1);
    total = a;
    var unused = 3;
    print(text);
    print_number(a + factor(5));
}
"""
MANY = 20


def session(source: str, *lines: str, folder: Path) -> list[str]:
    """What a console answers to commands, without what it shows of the source."""
    file = folder / "p.pxl"
    file.write_text(source)
    loaded = load(str(file))
    said = io.StringIO()
    console = Console(Debugger(loaded, State(loaded.program, fuel=1 << 30), PlainHost()), said)
    answers = []
    for line in lines:
        said.seek(0)
        said.truncate()
        console.obey(line)
        answers.append(said.getvalue())
    return answers


def test_locals_have_names_types_and_values(tmp_path: Path) -> None:
    *_, inner, outer, slots = session(
        SOURCE, "break 12", "continue", "continue", "locals", "locals 0", "slots", folder=tmp_path
    )
    assert [line.split("  (")[0].strip() for line in inner.splitlines()] == [
        "upto: word = 4", "step: word = 1", "s: word = 2", "i: word = 1", "square: word = 1",
    ]  # fmt: skip
    assert [line.split(":")[0].strip() for line in outer.splitlines()] == ["a", "unused"][:1]
    assert slots.splitlines()[0].startswith(" 0: ") and len(slots.splitlines()) == 4


def test_a_local_is_known_from_its_declaration_to_the_end_of_its_block(tmp_path: Path) -> None:
    answers = session(
        SOURCE,
        "break 8",
        "c",
        "locals",
        "b 10",
        "c",
        "locals",
        "b 14",
        "delete 2",
        "c",
        "locals",
        folder=tmp_path,
    )
    known = [[line.split(":")[0].strip() for line in answers[at].splitlines()] for at in (2, 5, 9)]
    assert known == [["upto", "step", "s"], ["upto", "step", "s", "i", "square"], ["upto", "step", "s"]]


def test_what_the_compiler_keeps_nowhere_says_so(tmp_path: Path) -> None:
    *_, shown, asked = session(SOURCE, "break 26", "c", "locals", "print unused", folder=tmp_path)
    assert "unused: word  (not kept" in shown and "'unused' is not kept" in asked


def test_globals_and_elements_have_types(tmp_path: Path) -> None:
    *_, shown, element, by_name, text = session(
        SOURCE,
        "break 14",
        "c",
        "globals",
        "print table[1]",
        "print table[step]",
        "print text",
        folder=tmp_path,
    )
    assert {line.strip() for line in shown.splitlines()} >= {
        "table: word[5] = [0, 2, 10, 28, 0]", "total: word = 0",
        'text: byte[8] = [112, 105, 120, 101, 108, 0, 0, 0]  "pixel"',
    }  # fmt: skip
    assert element == "table[1]: word = 2\n" and by_name == "table[step]: word = 2\n"
    assert text.startswith("text: byte[8] = [112")


@pytest.mark.parametrize(
    ("asked", "answer"),
    [
        ("print nothing", "no variable 'nothing' is known here"),
        ("print totl", "no variable 'totl' is known here; `total'?"),
        ("print s", "no variable 's' is known here"),
        ("print table[5]", "'table' has elements 0 to 4"),
        ("print table[-1]", "no variable 'table[-1]'"),
        ("print table[table]", "'table' has elements 0 to 4"),
        ("print table[99999999999999999999]", "'table' has elements 0 to 4"),
        ("print total[0]", "'total' has no elements: it is one word"),
        ("print a[0]", "'a' is a local, one word"),
        ("print", "print: a variable, or an element"),
        ("watch nothing", "'nothing': no address"),
        ("watch table[7]", "'table' has elements 0 to 4"),
        ("locals 9", "locals: frame 9; there are 0 to 0"),
        ("slots 9", "locals: frame 9; there are 0 to 0"),
    ],
)
def test_what_is_no_variable_is_told(asked: str, answer: str, tmp_path: Path) -> None:
    *_, said = session(SOURCE, "break 24", "c", asked, folder=tmp_path)
    assert answer in said


def test_a_program_without_source_has_slots(tmp_path: Path) -> None:
    file = tmp_path / "p.pxa"
    file.write_text("main:\n    push 7\n    set 3\n    halt 0\n")
    loaded = load(str(file))
    said = io.StringIO()
    console = Console(Debugger(loaded, State(loaded.program, fuel=99), PlainHost()), said)
    for line in ("step", "step", "locals", "globals", "print x"):
        console.obey(line)
    assert "3: 7" in said.getvalue() and "none; labels of data" in said.getvalue()
    assert "debugged from its .pxl source" in said.getvalue()


def test_a_watch_follows_a_variable_and_not_what_shares_its_slot(tmp_path: Path) -> None:
    source = """\
fn main() {
    var n = getc();
    if n != 0 { var one = n + 5; n += one * one; putc(one); }
    if n != 0 { var two = n + 9; n += two * two; putc(two); }
    putc(n);
}
"""
    answers = session(source, "break 3", "c", "stepi 4", "watch one", "locals", "c", "c", folder=tmp_path)
    assert "watch 2: one of frame 0: word" in answers[3]
    slot = next(line for line in answers[4].splitlines() if "one:" in line).split("slot ")[1]
    assert "slot " + slot in session(source, "break 4", "c", "stepi 4", "locals", folder=tmp_path)[-1]
    assert "became 4" in answers[5] and "halted with 0" in answers[6]


def test_a_watch_on_a_local_ends_with_its_frame_and_one_on_an_array_sees_every_element(
    tmp_path: Path,
) -> None:
    answers = session(
        SOURCE, "break 8", "c", "watch s", "watch table", "delete 1", *["c"] * 8, folder=tmp_path
    )
    said = "".join(answers)
    assert "(s of frame 1: word): 0 became 2" in said and "its frame has ended; deleted" in said
    assert "(table: word[5]): 00 00 00 00 00 00 00 00" in said


@pytest.mark.parametrize("recursive", [False, True])
def test_locals_beyond_the_frame_are_found_in_memory(recursive: bool, tmp_path: Path) -> None:
    """What the machine's frame has no slot for lies in memory; of a recursive function on a stack of frames."""
    names = [f"v{number}" for number in range(MANY)]
    declared = " ".join(f"var {name} = k * {number} + {number};" for number, name in enumerate(names))
    again = "if k <u 3 { deep(k + 1); }" if recursive else ""
    source = (
        f"fn deep(k) {{ {declared}\n {again}\n putc({' ^ '.join(names)}); putc({' + '.join(names)}); }}\n"
    )
    source += "fn main() { deep(1); }\n"
    *_, shown = session(source, "break 3", "c", "locals", folder=tmp_path)
    k = 3 if recursive else 1
    values = {line.split(":")[0].strip(): int(line.split(" = ")[1].split()[0]) for line in shown.splitlines()}
    assert values == {"k": k} | {name: k * number + number for number, name in enumerate(names)}
    assert shown.count("memory") >= MANY + 1 - isa.LOCALS
    if recursive:
        *_, outer = session(source, "break 3", "c", "locals 1", folder=tmp_path)
        assert "v19: word = 38 " in outer and "v1: word = 2 " in outer
