"""Bad arguments and surroundings: one clear line, the exit status of the contract, no traceback, nothing half-written.

Each row is a command line and words of the line that it must give. Every row runs once for a person and once with
``--json``. The rows stand in a folder of bad things (``bad_things.things``); nothing outside it is written.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit.bad_things import ABSENT, BUGS, FOLDER, KERNEL, NOT_FOLDER, PIPE, ROOT, check, refused
from tests.unit.pxos import PXOS, pxos
from toolchain import qemu_args

FOREIGN = str(ROOT / "tests/fixtures/kernels/nasm-flat")
NUMBERS = ["0", "-1", "nan", "inf", "1e999", "x", ""]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize(
    "option",
    [
        ("boot", "--kernel", "whole.elf", "--out", "out", "--timeout"),
        ("boot", "--kernel", FOREIGN, "--out", "out", "--timeout"),
        ("boot", "--kernel", "whole.elf", "--out", "out", "--smp"),
        ("boot", "--kernel", "whole.elf", "--out", "out", "--memory"),
        ("fix", "--kernel", KERNEL, "--lessons", "ls", "--out", "out", "--budget"),
        ("fix", "--kernel", KERNEL, "--lessons", "ls", "--out", "out", "--max-boots"),
        ("bench", "fix", "--kernel", KERNEL, "--bugs", BUGS, "--budget"),
        ("check", "--kernel", KERNEL, "--seeds"),
        ("lessons", "--quiet", "show", "--lessons", "ls"),
        ("vm", "run", "good.pxa", "--fuel"),
    ],
    ids=lambda option: f"{option[0]}-{Path(option[2]).name}-{option[-1]}",
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
        (("build", "--no-iso", "--module", "text", "--kernel", KERNEL), "leave --no-iso away"),
        (("build", "--cmdline", "a\nb", "--kernel", KERNEL, "--out", "out"), "on one line"),
        (
            ("build", "--cmdline", "x" * 2049, "--kernel", KERNEL, "--out", "out"),
            "at most 2,048 reach a kernel",
        ),
        (("build", "--kernel", KERNEL, "--out", ""), "--out: '' names no file or folder"),
        (("boot", "--kernel", KERNEL, "--out", ""), "--out: '' names no file or folder"),
        (("fix", "--kernel", KERNEL, "--out", ""), "--out: '' names no file or folder"),
        (("vm", "pack", "good.pxa", ""), "OUT: '' names no file or folder"),
        (("boot", "--kernel", KERNEL, "--out", "out", "--memory", "1"), "--memory 1 is out of range"),
        (("run", "--kernel", KERNEL, "--out", "out", "--smp", "0"), "--smp 0 is out of range"),
        (("boot", "--kernel", KERNEL, "--out", "out", "--firmware", "uefi"), "--iso"),
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
        (("vm", "run", "binary"), "binary: neither a cartridge (PNG) nor source"),
        (("vm", "run", "-", "--input", "-"), "the program or its input"),
        (("vm", "run", "good.pxa", "--seed", "-1"), "--seed"),
        (("vm", "run", "good.pxa", "--input", "nosuch"), ABSENT),
        (("vm", "run", "good.pxa", "--input", "pipe"), PIPE),
        (("vm", "run", "good.pxa", "--resume", "binary"), "binary: not a saved state"),
        (("vm", "run", "good.pxa", "--resume", "nosuch"), ABSENT),
        (("vm", "run", "good.pxa", "--resume", "binary", "--seed", "1"), "--seed"),
        (("vm", "run", "good.pxa", "--picture", "text/x"), "cannot write"),
        (("vm", "run", "good.pxa", "--save", "folder"), "cannot write"),
        (("vm", "pack", "good.pxa"), "are required: OUT"),
        (("vm", "pack", "good.pxa", "folder"), "cannot write"),
        (("vm", "pack", "good.pxa", "out", "--cover", "text"), "text: not a PNG file"),
        (("vm", "pack", "good.pxa", "out", "--cover", "nosuch"), ABSENT),
        (("vm", "pack", "good.pxa", "out.pxvm", "--cover", "nosuch"), "leave --cover away"),
        (("vm", "unpack", "good.pxa", "text/x"), "cannot write"),
        (("vm", "verify", "bare.png"), "bare.png: the PNG file is cut off"),
        (("vm", "host"), "nothing to run"),
        (("vm", "host", "nosuch"), ABSENT),
        (("vm", "host", "good.pxa", "--input", "pipe"), PIPE),
        (("vm", "host", "good.pxa", "--snapshot", "text/x"), "cannot write"),
        (("vm", "host", "good.pxa", "--pictures", "text/x"), "cannot write"),
        (("vm", "host", "--resume", "nosuch"), "nosuch/manifest.json: no such file"),
        (("vm", "host", "--resume", "folder"), "name the folder of a snapshot"),
        (("vm", "fuzz", "--count", "many"), "expected a number"),
        (("vm", "fuzz", "--count", "0"), "expected a number from 1"),
        (("vm", "fuzz", "--seed", "9" * 5000), "expected a number from 0"),
        (("vm", "conformance", "--engines", "abacus"), "no engine is called 'abacus'"),
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


@pytest.mark.parametrize(
    "row", [("build", "--kernel"), ("boot", "--kernel"), ("asm",), ("fault",), ("vm", "run")]
)
def test_a_name_of_two_lines_is_told_on_one(things: Path, row: tuple[str, ...]) -> None:
    refused(pxos(*row, "one\ntwo", "-q"), "one\\ntwo")
    assert "one\ntwo" in pxos(*row, "one\ntwo", "-q", "--json").data["error"]["message"]


def test_errors_of_a_source_whose_name_has_two_lines(things: Path) -> None:
    (things / "one\ntwo").write_text("mvo rax, 1\n")
    told = pxos("asm", "one\ntwo", "-q").errors.splitlines()
    assert told[0].startswith("one\ufffdtwo:1: error:"), told


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
