"""A folder of bad things for the tests of bad input, and what every refusal must look like."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.unit.pxos import Answer, pxos
from toolchain import bench_kernel
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
ABSENT = "No such file or directory"
PIPE = "a pipe or a device"
FOLDER = "Is a directory"
NOT_FOLDER = "Not a directory"
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
