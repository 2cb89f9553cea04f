"""Bad files and folders: one clear line, the exit status of the contract, no traceback, nothing half-written.

Each row is a command line and words of the line that it must give. Every row runs once for a person and once with
``--json``. The rows stand in a folder of bad things (``bad_things.things``); nothing outside it is written.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from architect.commands import demo
from tests.unit.bad_things import (
    ABSENT,
    BUGS,
    FAULT,
    FOLDER,
    KERNEL,
    NOT_FOLDER,
    PIPE,
    QEMU_RECORD,
    TREES,
    check,
    refused,
)
from tests.unit.pxos import pxos
from tests.unit.test_files import full_disk

pytestmark = pytest.mark.long

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
