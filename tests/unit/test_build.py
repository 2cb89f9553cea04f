"""Builds: on disk and in memory, whole and incremental, and everything that can go wrong on the way."""

from __future__ import annotations

import errno
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import IO, Any

import jsonschema
import pytest

import cli
from tests.small_tree import BOOT, IMAGE, OTHER, START, plant
from toolchain import build, elf, elf_read, forked, generate, layout
from toolchain.build import Session
from toolchain.errors import InputError, ToolError
from toolchain.tools import GnuAs, GnuLd

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "kernel"
SCHEMA = json.loads((Path(build.__file__).parent / "schemas/build.json").read_text())


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree")


def text_of(image: Any) -> bytes:
    data: bytes = next(s.data for s in image.sections if s.name == ".text")
    return data


def redone(session: Session) -> list[str]:
    return list(session.redone)


# --- the oracle --------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_kernel_is_what_gnu_as_and_ld_make_of_it(tmp_path: Path) -> None:
    loaded = layout.load(KERNEL / "image.toml")
    generate.generate(KERNEL, tmp_path)
    (tmp_path / "layout.ld").write_text(layout.ld_script(loaded))
    include = [tmp_path / "gen", *(KERNEL / folder for folder in loaded.include)]
    objects = []
    for name in build.source_names(KERNEL, loaded.sources, {}):
        objects.append(tmp_path / (name.replace("/", "_") + ".o"))
        GnuAs("test").assemble(KERNEL / name, objects[-1], include)
    GnuLd("test").link(objects, tmp_path / "layout.ld", tmp_path / "gnu.elf")
    build.build(KERNEL, tmp_path / "out", iso=False)
    theirs = elf_read.read(tmp_path / "gnu.elf")
    ours = elf_read.read(tmp_path / "out/pxos.elf")
    assert ours.entry == theirs.entry
    named = [s for s in ours.sections if "a" in s.flags]
    assert {".boot", ".text", ".rodata", ".data", ".bss"} <= {s.name for s in named}
    for section in named:
        other = theirs.section(section.name)
        assert other is not None
        assert (section.address, section.size) == (other.address, other.size)
        assert section.nobits or section.data == other.data, section.name


@pytest.mark.long
def test_two_processes_make_the_same_image_as_one() -> None:
    if not forked.available():
        pytest.skip("one core, or a process with threads")
    image, texts = build.once(KERNEL)
    with Session(KERNEL) as session:
        assert session.build() == image
        assert session.sources() == texts


# --- products ----------------------------------------------------------------------------------------------


def test_copies_built_elsewhere_and_later_are_the_same_bytes(tmp_path: Path, tree: Path) -> None:
    first = build.build(tree, tmp_path / "out")
    copy = tmp_path / "another name" / "of the tree"
    shutil.copytree(tree, copy)
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    second = build.build(copy, tmp_path / "elsewhere/out")
    assert first.iso is not None
    assert second.iso is not None
    for one, other in ((first.elf, second.elf), (first.iso, second.iso), (first.map, second.map)):
        assert one.read_bytes() == other.read_bytes()
    assert first.listing.read_text() == second.listing.read_text()
    assert first.bytes == first.elf.stat().st_size


def test_map_and_listing(tmp_path: Path, tree: Path) -> None:
    result = build.build(tree, tmp_path / "out", iso=False)
    assert result.iso is None
    lines = result.map.read_text().splitlines()
    assert any(re.match(r"0xffffffff801\w+ +0x\w+ \.text +start +start\.s:4$", line) for line in lines)
    listing = result.listing.read_text()
    assert re.search(r"5 ffffffff801\w+ b807000000 +mov eax, VALUE$", listing, re.M)
    assert "=== cpu/other.s" in listing


def test_the_listing_of_a_repetition_shows_how_it_begins(tmp_path: Path, tree: Path) -> None:
    other = tree / "cpu/other.s"
    other.write_text(other.read_text() + ".section .text\n.rept 20000\nnop\nud2\n.endr\n")
    shown = re.findall(
        r"([0-9a-f]{20}\+) (nop|ud2)$", build.build(tree, tmp_path, iso=False).listing.read_text(), re.M
    )
    assert shown == [("90" * 10 + "+", "nop"), ("0f0b" * 5 + "+", "ud2")]


_LEAVING = """
import atexit, sys, cli
from toolchain.command import STATUS_NO, Outcome
from toolchain.commands import build

class Dear:
    def __del__(self):
        sys.stderr.write("taken apart")

atexit.register(sys.stderr.write, "exit handler, ")
build.run = lambda args, ui: Outcome(STATUS_NO, text="said", spared=Dear())
sys.stdout.write("unflushed ")
sys.exit(cli.main())
"""


def test_what_is_spared_is_not_taken_apart_when_the_process_ends() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LEAVING, "build"], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "unflushed said\n", "exit handler, ")


def test_nothing_is_rewritten_when_nothing_changed(tmp_path: Path, tree: Path) -> None:
    out = tmp_path / "out"
    build.build(tree, out, iso=False)
    before = {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()}
    build.build(tree, out, iso=False)
    assert {path: path.stat().st_ino for path in out.rglob("*") if path.is_file()} == before


def test_command(tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["build", "--kernel", str(tree), "--out", str(tmp_path / "out"), "--no-iso"]
    assert cli.main([*arguments, "--json"]) == 0
    captured = capsys.readouterr()
    data = json.loads(captured.out)
    jsonschema.validate(data, SCHEMA)
    assert Path(data["elf"]).stat().st_size == data["bytes"]
    assert data["iso"] is None
    assert cli.main([*arguments, "-q"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "pxos.elf" in captured.out


# --- sessions ----------------------------------------------------------------------------------------------


def test_only_the_changed_unit_is_redone_and_the_tree_comes_back(tree: Path) -> None:
    with Session(tree) as session:
        plain = session.build()
        assert redone(session) == ["cpu/other.s", "start.s"]
        changed = session.build({"start.s": START.replace("ret", "nop\n    ret")})
        assert redone(session) == ["start.s"]
        assert len(text_of(changed)) == len(text_of(plain)) + 1
        assert session.build() == plain
        assert redone(session) == []
        again = session.build({"start.s": START.replace("ret", "nop\n    ret")})
        assert redone(session) == []
        assert again == changed


def test_the_order_of_builds_does_not_matter(tree: Path) -> None:
    variants = [{"start.s": START.replace("ret", f"mov ecx, {n}\n    ret")} for n in range(6)]
    variants += [{"include/values.inc": ".set VALUE, 9\n"}, {"cpu/other.s": OTHER + "    nop\n"}, {}]
    with Session(tree) as session:
        together = [session.build(variant) for variant in variants]
        backwards = [session.build(variant) for variant in reversed(variants)]
    assert backwards[::-1] == together
    for variant, image in zip(variants, together, strict=True):
        with Session(tree) as session:
            assert session.build(variant) == image


def test_an_include_file_redoes_the_units_that_include_it(tree: Path) -> None:
    with Session(tree) as session:
        session.build()
        image = session.build({"include/values.inc": ".set VALUE, 0x55\n"})
        assert redone(session) == ["start.s"]
        assert b"\xb8\x55\0\0\0" in text_of(image)


def test_boot_toml_and_new_files_can_be_overridden(tree: Path) -> None:
    second = '[[unit]]\nname = "two"\nentry = "other"\nneeds = ["one"]\n'
    with Session(tree) as session:
        assert b"\xba\x01\0\0\0" in text_of(session.build())
        assert b"\xba\x02\0\0\0" in text_of(session.build({"boot.toml": BOOT + second}))
        assert redone(session) == ["cpu/other.s"]
        image = session.build({"cpu/extra.s": ".intel_syntax noprefix\n.global extra\nextra: hlt\n"})
        assert "extra" in {symbol.name for symbol in image.symbols}
        with pytest.raises(InputError, match=r"image\.toml"):
            session.build({"image.toml": IMAGE})


def test_edits_on_disk_are_seen(tree: Path) -> None:
    with Session(tree) as session:
        plain = session.build()
        (tree / "start.s").write_text(START.replace("    ret", "    nop\n    ret"))
        changed = session.build()
        assert redone(session) == ["start.s"]
        assert text_of(changed) != text_of(plain)
        (tree / "cpu/other.s").unlink()
        with pytest.raises(InputError, match="other"):
            session.build()


def test_errors_of_all_units_come_at_once_and_the_session_lives_on(tree: Path) -> None:
    with Session(tree) as session:
        with pytest.raises(InputError) as caught:
            session.build(
                {"start.s": START + "    bogus eax\n", "cpu/other.s": OTHER + "    mov al, 0x1ff\n"}
            )
        lines = caught.value.lines()
        assert len(lines) == 2
        assert lines[0].startswith("cpu/other.s:8: error:")
        assert lines[1].startswith("start.s:8: error:")
        assert len(elf.write(session.build())) > 4096


# --- what can go wrong -------------------------------------------------------------------------------------


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(["build", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_no_tree(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in failing(capsys, "--kernel", str(tmp_path / "none"))
    assert "no image.toml" in failing(capsys, "--kernel", str(tmp_path))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("start.s", b"", "start.s:1: error: the file is empty"),
        ("start.s", b"\x7fELF\0\0\0", "start.s:1: error: this is a binary file"),
        ("start.s", b"\xff\xfe", "is not UTF-8"),
        ("start.s", START.replace("other", "othr").encode(), "undefined symbol `othr'"),
        ("image.toml", b"[image", "image.toml"),
        ("boot.toml", b"[[unit]]\n", "unit[0].name: missing"),
    ],
)
def test_bad_sources_leave_the_last_products_alone(
    tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, words: str
) -> None:
    out = tmp_path / "out"
    build.build(tree, out, iso=False)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    (tree / name).write_bytes(content)
    assert words in failing(capsys, "--kernel", str(tree), "--out", str(out), "--no-iso")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_no_sources(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "start.s").unlink()
    (tree / "cpu/other.s").unlink()
    assert "no source fits **/*.s" in failing(capsys, "--kernel", str(tree), "--no-iso")


def test_out_that_cannot_be_written(tmp_path: Path, tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("in the way")
    err = failing(capsys, "--kernel", str(tree), "--no-iso", "--out", str(tmp_path / "file"))
    assert "cannot write: File exists" in err
    assert err.count("\n") == 1


def test_missing_grub_is_told_before_anything_is_built(
    tmp_path: Path, tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolError, match="install the Debian package grub-common"):
        build.build(tree, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert build.build(tree, tmp_path / "out", iso=False).elf.is_file()


PXOS = [sys.executable, "-c", "import sys, cli; sys.exit(cli.main())"]


@pytest.mark.parametrize("option", ["--no-iso", "--json"])
def test_full_disk(tmp_path: Path, tree: Path, option: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    inside = f'mount -t tmpfs -o size=16k none {out} && "$@"; status=$?; ls -A {out} >&3; exit $status'
    listing = tmp_path / "left"
    command = ["unshare", "-rm", "sh", "-c", f"exec 3>{listing}; {inside}", "sh"]
    probe = subprocess.run([*command, "true"], capture_output=True)
    if probe.returncode:
        pytest.skip("no right to mount a small disk here")
    result = subprocess.run(
        [*command, *PXOS, "build", "--kernel", str(tree), "--out", str(out), option],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 2
    assert "No space left on device" in result.stderr
    assert "Traceback" not in result.stderr
    left = listing.read_text().split()
    assert not [name for name in left if name.startswith(".") or name == "pxos.iso"]


def processes_of(group: int) -> list[int]:
    """Processes of a process group that still run."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rsplit(")", 1)[1].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(int(path.parent.name))
    return found


def interrupted(process: subprocess.Popen[str], whole_group: bool) -> str:
    """Ctrl-C, as a terminal sends it (to the group) or as ``kill -INT`` does; returns what it said."""
    if whole_group:
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert out == ""
    return err


def opened_by_reader(pipe: Path, process: subprocess.Popen[str]) -> IO[bytes]:
    """The writing end of ``pipe``, once ``process`` has opened it for reading."""
    while process.poll() is None:
        try:
            return os.fdopen(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK), "wb")
        except OSError as error:
            assert error.errno == errno.ENXIO  # nobody reads yet
            time.sleep(0.005)
    raise AssertionError(process.communicate()[1])


# The command, but it waits at what it would refuse: at a pipe. A signal that comes between Python's look for signals
# and a read(2) does not end that read; select(2) on the wakeup descriptor cannot miss it.
PATIENT = [
    sys.executable,
    "-c",
    """
import os, select, signal, sys, cli
from toolchain import files

def patient(path, **_):
    file = open(path, "rb")
    while file not in select.select([file, woken], [], [])[0]:
        os.read(woken, 1)
    return file

woken, wake = os.pipe()
os.set_blocking(wake, False)
signal.set_wakeup_fd(wake)
files.open_regular = patient
sys.exit(cli.main())
""",
]


@pytest.mark.parametrize("whole_group", [True, False])
def test_interrupt_while_sources_are_read(tmp_path: Path, tree: Path, whole_group: bool) -> None:
    """boot.toml is a pipe that the build reads when its worker runs already."""
    (tree / "boot.toml").unlink()
    os.mkfifo(tree / "boot.toml")
    command = [*PATIENT, "build", "--kernel", str(tree), "--out", str(tmp_path / "out"), "--no-iso"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    with opened_by_reader(tree / "boot.toml", process):
        assert interrupted(process, whole_group) == "pxos: interrupted\n"
    assert not (tmp_path / "out").exists()
    gone(process.pid)


@pytest.mark.parametrize("whole_group", [True, False])
def test_interrupt_while_the_iso_is_made(tmp_path: Path, tree: Path, whole_group: bool) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    (tools / "grub-mkrescue").write_text(f"#!/bin/sh\necho > {pipe}\nsleep 100\n")
    (tools / "grub-mkrescue").chmod(0o755)
    process = subprocess.Popen(
        [*PXOS, "build", "-q", "--kernel", str(tree), "--out", str(tmp_path / "out")],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
    )  # fmt: skip
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    while process.poll() is None and not select.select([reader], [], [], 0.1)[0]:
        pass
    os.close(reader)
    assert interrupted(process, whole_group) == "pxos: interrupted\n"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["gen", "pxos.elf", "pxos.lst", "pxos.map"]
    gone(process.pid)


def gone(group: int) -> None:
    """Nothing of the build runs on (its processes are killed, and may take a moment to go)."""
    until = time.monotonic() + 10
    while processes_of(group) and time.monotonic() < until:
        time.sleep(0.01)
    assert processes_of(group) == []


@pytest.mark.long
def test_variants_of_a_still_tree_are_those_of_a_fresh_session() -> None:
    """What one link leaves to the next shows in no image: code that grows, names that go, errors in between."""
    page, inc = (KERNEL / "mm/page.s").read_text(), (KERNEL / "include/registers.inc").read_text()
    grown = page.replace("\nfunction page_map\n", "\nfunction page_map\n" + "    nop\n" * 40)
    variants: list[dict[str, str]] = [
        {},
        {"mm/page.s": grown},
        {"mm/page.s": page.replace(".global page_map\n", "")},
        {"include/registers.inc": inc.replace(".set PTE_PRESENT, 1 << 0", ".set PTE_PRESENT, 1 << 1")},
        {"mm/another.s": ".global another\nanother:\n    ret\n"},
        {"mm/page.s": grown},
        {},
    ]
    with Session(KERNEL, still=True) as warm:
        for variant in variants:
            with Session(KERNEL) as cold:
                try:
                    expected = cold.build(variant)
                except InputError as error:
                    with pytest.raises(InputError, match=re.escape(error.message)):
                        warm.build(variant)
                    continue
            assert warm.build(variant) == expected
            assert warm.build(variant, lines=False) == expected._replace(lines=(), files=())
