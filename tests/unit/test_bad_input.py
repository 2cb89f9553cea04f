"""Bad input of every kind: one clear line, the exit status of the contract, no traceback, nothing half-written.

Each row is a command line and words of the line that it must give. Every row runs once for a person and once with
``--json``. The rows stand in a folder of bad things (``things``); nothing outside it is written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from architect.commands import demo
from tests.unit.pxos import Answer, pxos
from tests.unit.test_files import full_disk
from toolchain import bench_kernel, qemu_args
from toolchain.machine import Machine

ROOT = Path(__file__).resolve().parents[2]
KERNEL = str(ROOT / "kernel")
BUGS = str(ROOT / "tests/bugs")
BUG = """\
id = "{id}"
class = "c"
report = "r"
shows = "{shows}"
expect = "fault"
noticed_by = "boot"
reference_edits = 1
[[plant]]
file = "{file}"
find = "no such line"
replace = "x"
[[invariant]]
kind = "{kind}"
"""
FAULT = "PXFAULT v1 begin\nscope=kernel\nvector=0xe\nname=#PF\nerror=0x2\nrip=0xffffffff80101000\n"
QEMU_RECORD = (
    "check_exception old: 0xffffffff new 0xe\n"
    "     0: v=0e e=0002 i=0 cpl=0 IP=0008:ffffffff80101000 pc=ffffffff80101000 "
    "SP=0010:ffffffff80109000 CR2=00000000fd000000\n"
)

TEXTS = {
    "empty": "",
    "text": "x",
    "object.json": "{",
    "list.json": "[]",
    "bare.json": "{}",
    "deep.json": "[" * 100_000,
    # sources
    "loop.s": '.include "loop.s"\n',
    "loop_a.s": '.include "loop_b.s"\n',
    "loop_b.s": '.include "loop_a.s"\n',
    "macro.s": ".macro m\nm\n.endm\nm\n",
    "rept.s": ".rept 100000000\nnop\n.endr\n",
    "nested.s": ".rept 2000\n.rept 2000\nnop\n.endr\n.endr\n",
    "skip.s": ".skip 1 << 40\n",
    "fill.s": ".fill 1 << 40, 8, 1\n",
    "org.s": ".org 1 << 50\nnop\n",
    "no_endm.s": ".macro x\nnop\n",
    "no_endif.s": ".if 1\nnop\n",
    "gone.s": '.include "nosuch"\n',
    "folder.s": '.include "folder"\n',
    "waits.s": '.include "pipe"\n',
    "waits_binary.s": '.incbin "pipe"\n',
    "endless.s": '.incbin "/dev/zero"\n',
    "good.pxa": "halt\n",
    # lessons
    "lesson-bare.toml": "[[lesson]]\n",
    "lesson-number.toml": "lesson = 3\n",
    "lesson-list.toml": "lesson = [1]\n",
    "deep.toml": "a = " + "[" * 9999,
    # a corpus each
    "bugs-empty/b.toml": "",
    "bugs-number/b.toml": "id = 3\n",
    "bugs-broken/b.toml": "[[[",
    "bugs-name/b.toml": BUG.format(id="another", shows="fault", file="cpu/idt.s", kind="boot"),
    "bugs-shows/b.toml": BUG.format(id="b", shows="smoke", file="cpu/idt.s", kind="boot"),
    "bugs-outside/b.toml": BUG.format(id="b", shows="fault", file="../../../etc/passwd", kind="boot"),
    "bugs-line/b.toml": BUG.format(id="b", shows="fault", file="cpu/idt.s", kind="boot"),
    "bugs-kind/b.toml": BUG.format(id="b", shows="fault", file="cpu/idt.s", kind="magic"),
}
TREES = {  # a small kernel tree each, with one file replaced
    "broken-layout": ("image.toml", b"[[["),
    "binary-layout": ("image.toml", b"\xff\xfe\x00"),
    "empty-layout": ("image.toml", b""),
    "broken-units": ("boot.toml", b"\x00\x00"),
    "number-units": ("boot.toml", b"[[unit]]\nname = 3\n"),
    "deep-units": ("boot.toml", b"a = " + b"[" * 9999),
    "needy-units": ("boot.toml", b'[[unit]]\nname = "a"\nentry = "x"\nneeds = ["b"]\n'),
    "loop-source": ("unit_00.s", b'.include "unit_00.s"\n'),
    "binary-source": ("unit_00.s", b"\x7fELF\x00\xff"),
    "empty-source": ("unit_00.s", b""),
    "mnemonic-source": ("unit_00.s", b".intel_syntax noprefix\n    bogus eax\n"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bad")
    for name, text in TEXTS.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "binary").write_bytes(bytes(range(256)) * 16)
    (folder / "utf16.s").write_text("nop\n", encoding="utf-16")
    (folder / "folder").mkdir()
    (folder / "bare.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    os.mkfifo(folder / "pipe")
    (folder / "bugs-pipe").mkdir()
    os.mkfifo(folder / "bugs-pipe/b.toml")
    _trees(folder)
    _executables(folder)
    _logs(folder)
    (folder / "damaged").mkdir()
    (folder / "damaged/lessons.db").write_bytes(b"garbage" * 1000)
    return folder


def _trees(folder: Path) -> None:
    bench_kernel.write(folder / "sound", 60)
    for name, (file, data) in TREES.items():
        shutil.copytree(folder / "sound", folder / name)
        assert (folder / name / file).is_file()
        (folder / name / file).write_bytes(data)


def _executables(folder: Path) -> None:
    answer = pxos(
        "build", "-q", "--no-iso", "--kernel", str(folder / "sound"), "--out", str(folder / "built")
    )
    assert answer.status == 0
    whole = (folder / "built/pxos.elf").read_bytes()
    for size in (4, 63, 64, 1000, len(whole) // 2, len(whole) - 1):
        (folder / f"cut-{size}.elf").write_bytes(whole[:size])
    (folder / "cut-half.elf").write_bytes(whole[: len(whole) // 2])
    (folder / "headers.elf").write_bytes(whole[:64] + b"\xff" * 4000)
    (folder / "object.elf").write_bytes(whole[:16] + b"\1\0" + whole[18:])
    (folder / "narrow.elf").write_bytes(whole[:4] + b"\1" + whole[5:])
    (folder / "whole.elf").write_bytes(whole)


def _logs(folder: Path) -> None:
    (folder / "cut.log").write_text(FAULT)
    (folder / "two").mkdir()
    (folder / "two/boot.json").write_text("{}")
    (folder / "zeros.log").write_bytes(bytes(100_000))
    (folder / "panic.log").write_text("PXPANIC v1\n")


@pytest.fixture
def things(
    made: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The folder of bad things, as the working folder; no machine can be started from it."""

    def no_machine(self: Machine) -> Machine:
        raise AssertionError("a machine was started")

    scratch = tmp_path_factory.mktemp("scratch")
    monkeypatch.chdir(made)
    monkeypatch.setenv("XDG_DATA_HOME", str(scratch / "data"))
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    monkeypatch.setattr(Machine, "__enter__", no_machine)
    yield made
    assert list(scratch.iterdir()) == []  # no details of an internal error, no scratch folder, no lessons


def refused(answer: Answer, *words: str) -> None:
    """Status 2, one line with ``words`` in it, nothing on standard output."""
    assert answer.status == 2, answer
    assert answer.output == ""
    assert "Traceback" not in answer.errors
    assert answer.errors.endswith("\n")
    assert answer.errors.count("\n") == 1, answer.errors
    for word in words:
        assert word in answer.errors, answer.errors


def check(row: tuple[str, ...], *words: str) -> None:
    """``row`` is refused with one line, and with ``--json`` by one object that says the same."""
    refused(pxos(*row, "-q"), *words)
    if row[0] in ("run", "debug"):
        return
    answer = pxos(*row, "-q", "--json")
    assert answer.status == 2
    assert set(answer.data) == {"error"}
    assert set(answer.data["error"]) == {"stage", "message", "log"}
    assert answer.data["error"]["message"] in answer.errors
    assert answer.data["error"]["log"] is None


ABSENT = "No such file or directory"
PIPE = "a pipe or a device"
FOLDER = "Is a directory"
NOT_FOLDER = "Not a directory"
FILES = [("nosuch", ABSENT), ("folder", FOLDER), ("pipe", PIPE), ("/dev/zero", PIPE), ("text/x", NOT_FOLDER)]


@pytest.mark.parametrize(("file", "words"), [*FILES, ("empty", "empty")])
@pytest.mark.parametrize(
    "command",
    [("asm",), ("disasm",), ("lessons", "import", "--lessons", "ls"), ("fix", "--baseline"), ("vm", "run")],
)
def test_a_file_that_is_none(things: Path, command: tuple[str, ...], file: str, words: str) -> None:
    if command[0] == "fix":
        check((command[0], "--kernel", KERNEL, "--lessons", "ls", "--out", "out", command[1], file), words)
    elif command[0] == "lessons":
        check((*command, file), words if file != "empty" else "no [[lesson]] in it")
    else:
        check((*command, file), words)
    assert not (things / "ls").exists()


@pytest.mark.parametrize(
    ("file", "words"),
    [
        *((file, words) for file, words in FILES if file != "folder"),
        ("folder", "holds no log of a boot"),
        ("empty", "is empty"),
        ("text", "no log of a boot"),
        ("binary", "no log of a boot"),
        ("zeros.log", "no log of a boot"),
        ("panic.log", "no log of a boot"),
        ("object.json", "not a result that pxos boot saved"),
        ("list.json", "not a result that pxos boot saved"),
        ("bare.json", "not a result that pxos boot saved"),
        ("deep.json", "not a result that pxos boot saved"),
        ("two", "not a result that pxos boot saved"),
    ],
)
def test_a_log_that_is_none(things: Path, file: str, words: str) -> None:
    check(("fault", file), words)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("cut.log", "bare.json"), "give it alone"),
        (("cut.log", "--elf", "nosuch"), ABSENT),
        (("cut.log", "--elf", "pipe"), PIPE),
        (("cut.log", "--elf", "binary"), "not an ELF file"),
        (("cut.log", "--elf", "cut-half.elf"), "damaged ELF"),
        (("cut.log", "--kernel", "nosuch"), "no such folder"),
        ((), "LOG"),
    ],
)
def test_what_goes_with_a_log(things: Path, row: tuple[str, ...], words: str) -> None:
    check(("fault", *row), words)


@pytest.mark.parametrize(
    "log",
    [
        FAULT,
        FAULT + "stack=" + "0x1," * 50_000 + "\nPXFAULT v1 end\n",
        "PXFAULT v1 begin\nrip=0x"
        + "f" * 999
        + "\nvector=9999999999999999999\nerror=zz\ncr2=-1\nPXFAULT v1 end\n",
        "PXFAULT v1 begin\n" * 5000,
        "PXBOOT v1 \x00\x1b[31m start tsc=\n",
        "PXBOOT v1 x ok tsc=" + "9" * 5000 + "\n",
        QEMU_RECORD[:-40] + "\n",
        QEMU_RECORD + "RAX=zz RBX=\n",
        QEMU_RECORD * 3 + "Triple fault\nCPU Reset (CPU 0)\n",
    ],
)
def test_a_damaged_log_gives_what_it_holds(things: Path, tmp_path: Path, log: str) -> None:
    (tmp_path / "serial.log").write_text(log)
    for row in (("fault", str(tmp_path / "serial.log")), ("fault", str(tmp_path / "serial.log"), "--json")):
        answer = pxos(*row)
        assert answer.status in (0, 2)
        assert "Traceback" not in answer.errors
        assert "\x1b" not in answer.output + answer.errors
        if answer.status == 2:
            assert answer.errors.count("\n") == 1
    assert set(answer.data) & {"error", "cause"}


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("binary", "this is a binary file"),
        ("utf16.s", "this is a binary file"),
        ("loop.s", "circular include: loop.s -> loop.s"),
        ("loop_a.s", "circular include: loop_a.s -> loop_b.s -> loop_a.s"),
        ("macro.s", "macros nested more than 100 deep"),
        ("rept.s", ".rept 100000000 times"),
        ("nested.s", "runaway expansion"),
        ("skip.s", "a gap of"),
        ("fill.s", "a gap of"),
        ("org.s", ".org to"),
        ("no_endm.s", ".macro without .endm"),
        ("no_endif.s", ".if without .endif"),
        ("gone.s", "cannot find `nosuch'"),
        ("folder.s", "cannot find `folder'"),
        ("waits.s", "cannot find `pipe'"),
        ("waits_binary.s", "cannot find `pipe'"),
        ("endless.s", "cannot find `/dev/zero'"),
    ],
)
def test_a_source_in_error(things: Path, file: str, words: str) -> None:
    """One error: its line with the place, then the source line, the caret, what was expected, the way there."""
    answer = pxos("asm", file)
    assert (answer.status, answer.output) == (2, "")
    first, *others = answer.errors.splitlines()
    assert first.startswith(f"{file}:") and ": error: " in first and words in first
    assert len(others) <= 12 and all(line.startswith("    ") for line in others)
    told = pxos("asm", file, "--json")
    assert told.status == 2
    if "error" in told.data:
        assert words in told.data["error"]["message"]
    else:
        assert any(words in row.get("error", "") for row in told.data["statements"])
        assert told.errors == ""


@pytest.mark.parametrize(
    ("file", "words"),
    [
        *((f"cut-{size}.elf", "damaged ELF") for size in (4, 63, 64, 1000, "half")),
        ("headers.elf", "damaged ELF"),
        ("object.elf", "a relocatable object"),
        ("narrow.elf", "not an ELF64 file"),
    ],
)
def test_a_corrupt_executable(things: Path, file: str, words: str) -> None:
    check(("disasm", file), words)
    check(("fault", "cut.log", "--elf", file), words)


COMMANDS_WITH_TREE = [
    ("build", "--no-iso"), ("boot",), ("run",), ("debug", "--no-gdb"), ("fix", "--lessons", "ls"), ("check",),
    ("bench", "build"), ("bench", "boot"), ("bench", "fix", "--bugs", BUGS), ("demo", "--bugs", BUGS),
    ("bugs", "show", "--bugs", BUGS), ("bugs", "check", "--bugs", BUGS),
]  # fmt: skip


def out_of(command: tuple[str, ...], folder: str = "out") -> tuple[str, ...]:
    return ("--out", folder) if command[0] in ("build", "boot", "run", "debug", "fix", "demo") else ()


@pytest.mark.parametrize("tree", ["nosuch", "text", "folder", "pipe", "empty", "binary", "text/x"])
@pytest.mark.parametrize("command", COMMANDS_WITH_TREE, ids=" ".join)
def test_a_tree_that_is_none(things: Path, command: tuple[str, ...], tree: str) -> None:
    check((*command, "--kernel", tree, *out_of(command)), tree)
    assert not (things / "out").exists()
    assert not (things / "ls").exists()


@pytest.mark.parametrize(
    ("command", "tree"),
    [
        (command, tree)
        for command in ("build", "boot", "check", "fix")
        for tree in TREES
        if command != "fix" or not tree.endswith("source")  # a bug like any other: fix searches for its mend
    ],
)
def test_a_tree_in_error(things: Path, command: str, tree: str) -> None:
    more = {"build": ("--no-iso",), "fix": ("--lessons", "ls")}.get(command, ())
    row = (command, *more, "--kernel", tree, *out_of((command,)))
    if tree.endswith("source"):
        answer = pxos(*row, "-q")
        assert (answer.status, answer.output) == (2, "")
        assert answer.errors.startswith("unit_00.s:") and answer.errors.count(": error: ") >= 1
        assert pxos(*row, "-q", "--json").data["error"]["message"]
    else:
        check(row, TREES[tree][0])
    assert not (things / "out").exists()


@pytest.mark.parametrize("place", ["text", "text/x", "/proc/nope", "/sys/nope"])
@pytest.mark.parametrize("command", COMMANDS_WITH_TREE[:5], ids=" ".join)
def test_an_output_folder_that_cannot_be_written(things: Path, command: tuple[str, ...], place: str) -> None:
    check((*command, "--kernel", "sound", *out_of(command, place)), place, "cannot write")
    assert (things / "text").read_text() == "x"


def test_a_demo_empties_no_folder_of_somebody_else(things: Path, tmp_path: Path) -> None:
    row = ("demo", "--bugs", BUGS, "--kernel", KERNEL, "--out")
    (tmp_path / "text").write_text("x")
    (tmp_path / "folder").mkdir()
    for place in ("text", "text/x"):
        check((*row, str(tmp_path / place)), "cannot write")
    for place in ("", "folder/.."):
        check((*row, f"{tmp_path}/{place}"), "holds what no earlier demo left")
    assert (tmp_path / "text").read_text() == "x"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "text"]


def test_a_demo_clears_what_an_earlier_one_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cleared = []

    def interrupted(folder: Path, **_: object) -> None:
        cleared.append(folder.name)
        if folder.name == "seed":
            raise KeyboardInterrupt

    for name in (demo.HEALTHY, "a", "seed", "z"):
        (tmp_path / name).mkdir()
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(shutil, "rmtree", interrupted)
        demo._clear(tmp_path)
    assert demo.HEALTHY not in cleared
    demo._check_ours(tmp_path)
    demo._clear(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [0, 1000, 20_000])
def test_a_full_disk_leaves_nothing_half_written(things: Path, tmp_path: Path, limit: int) -> None:
    out = tmp_path / "out"
    assert pxos("build", "-q", "--no-iso", "--kernel", "sound", "--out", str(out)).status == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with full_disk(limit):
        answer = pxos("build", "-q", "--no-iso", "--kernel", KERNEL, "--out", str(out))
    refused(answer, "cannot write: File too large")
    left = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert left.keys() == before.keys()
    assert all(left[path] == before[path] or path.stat().st_size <= limit for path in left)
    whole = tmp_path / "whole"
    assert pxos("build", "-q", "--no-iso", "--kernel", KERNEL, "--out", str(whole)).status == 0
    for path in left:
        assert left[path] in (before[path], (whole / path.relative_to(out)).read_bytes())


def test_a_full_disk_and_the_lessons(things: Path, tmp_path: Path) -> None:
    store = ("--lessons", str(tmp_path / "store"))
    assert pxos("lessons", "add", "--cause", "first", "--insert", "nop", *store).status == 0
    with full_disk(100):
        answer = pxos("lessons", "add", "--cause", "second", "--insert", "ret", *store)
        refused(answer)
        refused(pxos("lessons", "export", str(tmp_path / "kept.toml"), *store), "cannot write")
    assert not (tmp_path / "kept.toml").exists()
    assert [row["cause"] for row in pxos("lessons", "list", *store, "--json").data["lessons"]] == ["first"]


NUMBERS = ["0", "-1", "nan", "inf", "1e999", "x", ""]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "option",
    [
        ("boot", "--kernel", "whole.elf", "--out", "out", "--timeout"),
        ("boot", "--kernel", "whole.elf", "--out", "out", "--smp"),
        ("boot", "--kernel", "whole.elf", "--out", "out", "--memory"),
        ("fix", "--kernel", KERNEL, "--lessons", "ls", "--out", "out", "--budget"),
        ("fix", "--kernel", KERNEL, "--lessons", "ls", "--out", "out", "--max-boots"),
        ("bench", "fix", "--kernel", KERNEL, "--bugs", BUGS, "--budget"),
        ("check", "--kernel", KERNEL, "--seeds"),
        ("lessons", "--quiet", "show", "--lessons", "ls"),
        ("vm", "run", "good.pxa", "--fuel"),
    ],
    ids=lambda option: f"{option[0]}-{option[-1]}",
)
def test_a_number_that_is_none(things: Path, option: tuple[str, ...], number: str) -> None:
    check((*option, number))
    assert not (things / "out").exists()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (("asm",), "FILE"),
        (("asm", "a", "b"), "unrecognized arguments: b"),
        (("asm", "text", "--mode", "8"), "--mode"),
        (("asm", "text", "--org", "-1"), "--org"),
        (("asm", "text", "--org", "0x10000000000000000"), "--org"),
        (("asm", "-"), "<stdin>: empty"),
        (("disasm", "-"), "-: empty"),
        (("disasm", "binary", "--symbol", "x"), "raw bytes have no symbols"),
        (("disasm", "binary", "--kernel", "nosuch"), "nosuch: no such folder"),
        (("disasm", "whole.elf", "--symbol", "nosuch"), "no symbol 'nosuch'"),
        (("disasm", "whole.elf", "--org", "0"), "an ELF has its own addresses"),
        (("boot", "--direct", "--iso"), "not allowed with"),
        (("boot", "extra"), "unrecognized arguments: extra"),
        (("boot", "--kernel", "whole.elf", "--out", "out", "--cmdline", "a\nb"), "--cmdline"),
        (("boot", "--kernel", "whole.elf", "--out", "out", "--cmdline", "x" * 5000), "--cmdline"),
        (("boot", "--kernel", "whole.elf", "--out", "out", "--cpu", "a b"), "--cpu"),
        (("boot", "--kernel", "whole.elf", "--out", "out", "--firmware", "uefi"), "--iso"),
        (("boot", "--kernel", "whole.elf", "--out", "out", "--iso"), "an ELF boots with --direct"),
        (("boot", "--kernel", "empty", "--out", "out"), "is empty"),
        (("boot", "--kernel", "binary", "--out", "out"), "neither an ELF nor an ISO"),
        (("fix", "--kernel", KERNEL, "--engine", "magic"), "--engine"),
        (("fix", "--kernel", KERNEL, "--good", ""), "not a revision"),
        (("fix", "--kernel", KERNEL, "--out", "out", "--good=--x"), "not a revision"),
        (("fix", "--kernel", KERNEL, "--out", "out", "--lessons", "text"), "not a folder"),
        (("fix", "--kernel", KERNEL, "--out", "out", "--lessons", "damaged"), "not a readable lesson store"),
        (("fix", "--kernel", KERNEL, "--out", "out", "--baseline", "object.json"), "not JSON"),
        (("fix", "--kernel", KERNEL, "--out", "out", "--baseline", "list.json"), "expected a table"),
        (("bench",), "NAME"),
        (("bench", "magic"), "no bench is called 'magic'"),
        (("bench", "build", "x"), "takes no bugs"),
        (("bench", "--budget", "9", "fix", "nosuch", "--bugs", BUGS, "--kernel", KERNEL), "no bug is called"),
        (("bench", "fix", "nosuch", "--budget", "9", "--bugs", BUGS, "--kernel", KERNEL), "no bug is called"),
        (("bugs",), "action"),
        (("bugs", "magic"), "invalid choice"),
        (("bugs", "show", "nosuch", "--bugs", BUGS, "--kernel", KERNEL), "no bug is called 'nosuch'"),
        (("demo", "--bugs", "nosuch", "--kernel", KERNEL, "--out", "out"), ABSENT),
        (("lessons", "magic"), "invalid choice"),
        (("lessons", "show", "99", "--lessons", "ls"), "no lesson 99"),
        (("lessons", "show", "9" * 30, "--lessons", "ls"), "no lesson 9"),
        (("lessons", "list", "--lessons", "text"), "not a folder"),
        (("lessons", "list", "--lessons", "damaged"), "not a readable lesson store"),
        (("lessons", "export", "folder", "--lessons", "ls"), FOLDER),
        (("lessons", "export", "text/x", "--lessons", "ls"), NOT_FOLDER),
        (("lessons", "import", "binary", "--lessons", "ls"), "not UTF-8"),
        (("lessons", "import", "text", "--lessons", "ls"), "not valid TOML"),
        (("lessons", "import", "deep.toml", "--lessons", "ls"), "nested too deeply"),
        (("lessons", "import", "lesson-bare.toml", "--lessons", "ls"), "lesson[0]"),
        (("lessons", "import", "lesson-number.toml", "--lessons", "ls"), "no [[lesson]]"),
        (("lessons", "import", "lesson-list.toml", "--lessons", "ls"), "lesson[0]: expected a table"),
        (("lessons", "add", "--cause", "x", "--lessons", "ls"), "--insert"),
        (("lessons", "add", "--cause", " ", "--insert", "nop", "--lessons", "ls"), "--cause"),
        (("lessons", "add", "--cause", "x" * 9999, "--insert", "nop", "--lessons", "ls"), "cause"),
        (
            ("lessons", "add", "--cause", "x", "--insert", "nop", "--vector", "999", "--lessons", "ls"),
            "vector",
        ),
        (("lessons", "add", "--cause", "x", "--insert", "nop", "--lessons", "text/x"), NOT_FOLDER),
        (("vm",), "ACTION"),
        (("vm", "magic", "text"), "invalid choice"),
        (("vm", "run"), "FILE"),
        (("vm", "run", "-"), "<stdin>: empty"),
        (("vm", "run", "binary"), "binary: neither a cartridge (PNG) nor assembly source"),
        (("vm", "run", "-", "--input", "-"), "the program or its input"),
        (("vm", "run", "good.pxa", "--seed", "-1"), "--seed"),
        (("vm", "run", "good.pxa", "--input", "nosuch"), ABSENT),
        (("vm", "run", "good.pxa", "--input", "pipe"), PIPE),
        (("vm", "run", "good.pxa", "--resume", "binary"), "binary: not a saved state"),
        (("vm", "run", "good.pxa", "--resume", "nosuch"), ABSENT),
        (("vm", "run", "good.pxa", "--resume", "binary", "--seed", "1"), "--seed"),
        (("vm", "run", "good.pxa", "--picture", "text/x"), "cannot write"),
        (("vm", "run", "good.pxa", "--save", "folder"), "cannot write"),
        (("vm", "pack", "good.pxa"), "OUT.png"),
        (("vm", "pack", "good.pxa", "folder"), "cannot write"),
        (("vm", "pack", "good.pxa", "out", "--cover", "text"), "text: not a PNG file"),
        (("vm", "pack", "good.pxa", "out", "--cover", "nosuch"), ABSENT),
        (("vm", "unpack", "good.pxa", "text/x"), "cannot write"),
        (("vm", "verify", "bare.png"), "bare.png: the PNG file is cut off"),
    ],
    ids=lambda value: "-".join(value)[:60] if isinstance(value, tuple) else "",
)
def test_arguments(things: Path, row: tuple[str, ...], words: str) -> None:
    check(row, words)
    assert not (things / "out").exists()


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("nosuch", "no such folder of bugs"),
        ("text", "no such folder of bugs"),
        ("folder", "no bug in it"),
        ("bugs-pipe", PIPE),
        ("bugs-empty", "'id' is missing"),
        ("bugs-number", "'id' is missing or no text"),
        ("bugs-broken", "not valid TOML"),
        ("bugs-name", "is not the file's name"),
        ("bugs-shows", "'shows' is 'smoke'"),
        ("bugs-outside", "the kernel has no file"),
        ("bugs-line", "stands 0 times"),
        ("bugs-kind", "no invariant is called 'magic'"),
    ],
)
def test_a_corpus_in_error(things: Path, folder: str, words: str) -> None:
    actions = (
        ["check"]
        if folder == "bugs-kind"
        else ["show"]
        if folder in ("bugs-outside", "bugs-line")
        else ["list"]
    )
    for action in actions:
        check(("bugs", action, "--bugs", folder, "--kernel", KERNEL), words)
    if folder != "bugs-kind":
        check(("bench", "fix", "--bugs", folder, "--kernel", KERNEL, "--budget", "1"), words)


@pytest.mark.parametrize(
    "command", ["build", "boot", "fault", "asm", "disasm", "check", "fix", "bugs", "bench", "vm", "demo"]
)
def test_an_unknown_option(things: Path, command: str) -> None:
    check(
        (command, "--nosuch"),
        "--nosuch" if command not in ("fault", "asm", "disasm", "bugs", "bench", "vm") else "",
    )


@pytest.mark.parametrize(
    ("row", "package"),
    [
        (("build", "--kernel", KERNEL, "--out", "out"), "grub-common"),
        (("boot", "--kernel", "whole.elf", "--out", "out"), "qemu-system-x86"),
        (("boot", "--iso", "--kernel", KERNEL, "--out", "out"), "qemu-system-x86"),
        (("run", "--kernel", "whole.elf", "--out", "out"), "qemu-system-x86"),
        (("debug", "--kernel", "whole.elf", "--out", "out"), "gdb"),
        (("debug", "--no-gdb", "--kernel", "whole.elf", "--out", "out"), "qemu-system-x86"),
        (("fix", "--kernel", KERNEL, "--out", "out", "--lessons", "ls"), "qemu-system-x86"),
        (("bench", "boot", "--kernel", KERNEL), "grub-common"),
        (("bench", "build", "--kernel", KERNEL), "binutils"),
        (("bench", "fix", "--kernel", KERNEL, "--bugs", BUGS), "qemu-system-x86"),
        (("bugs", "check", "--kernel", KERNEL, "--bugs", BUGS), "qemu-system-x86"),
        (("demo", "--kernel", KERNEL, "--bugs", BUGS, "--out", "out"), "grub-common"),
    ],
    ids=lambda value: " ".join(value[:2]) if isinstance(value, tuple) else "",
)
def test_a_tool_that_is_absent(
    things: Path, monkeypatch: pytest.MonkeyPatch, row: tuple[str, ...], package: str
) -> None:
    qemu_args.qemu_path.cache_clear()
    monkeypatch.setenv("PATH", "/nonexistent")
    try:
        check(row, package)
    finally:
        qemu_args.qemu_path.cache_clear()
        shutil.rmtree(things / "out", ignore_errors=True)
        shutil.rmtree(things / "ls", ignore_errors=True)


def test_no_command(things: Path) -> None:
    refused(pxos("magic"), "no command 'magic'")
    answer = pxos()
    assert answer.status == 2 and "usage: pxos COMMAND" in answer.output


def test_an_executable_on_standard_input(things: Path) -> None:
    refused(pxos("disasm", "-", typed=(things / "whole.elf").read_bytes()), "an ELF on standard input")
    assert pxos("disasm", "-", typed=b"\x90").status == 0
    assert pxos("asm", "-", typed=b"nop\n").status == 0
    refused(pxos("asm", "-", typed=b" \n\n"), "<stdin>: empty")
    refused(pxos("asm", "--", "-x"), "-x: cannot read")


PXOS = [sys.executable, "-c", "import sys, cli; sys.exit(cli.main())"]


def run_from_a_shell(redirection: str, *words: str) -> subprocess.CompletedProcess[str]:
    """``pxos`` as a shell starts it, with its streams redirected."""
    shell = ["sh", "-c", f'"$@" {redirection}', "sh"]
    return subprocess.run(
        [*shell, *PXOS, *words], capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )


@pytest.mark.parametrize("words", [("bugs", "list"), ("bugs", "list", "--json"), ("--help",), ("boot", "-h")])
def test_standard_output_that_is_full(words: tuple[str, ...]) -> None:
    full = Path("/dev/full")
    if not full.is_char_device() or full.stat().st_rdev != os.makedev(1, 7):
        pytest.skip("no /dev/full here")
    done = run_from_a_shell("> /dev/full", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("pxos") and done.stderr.count("\n") == 1
    assert done.stderr.endswith(": cannot write to standard output: No space left on device\n")


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", ">&- 2>&- <&-", "| true", "2> /dev/full"])
def test_streams_that_are_closed_or_go_nowhere(redirection: str) -> None:
    done = run_from_a_shell(redirection, "bugs", "list")
    assert (done.returncode, done.stderr) == (0, "")
    wrong = run_from_a_shell(redirection, "bugs", "list", "--bugs", "/nonexistent")
    if "|" not in redirection:
        assert wrong.returncode == 2
    assert wrong.stderr in ("", "/nonexistent: no such folder of bugs\n")
