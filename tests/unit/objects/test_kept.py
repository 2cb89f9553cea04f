"""Object files kept between runs: what is redone, and the same products, errors and warnings with and without."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

import cli
from tests.small_tree import BOOT, OTHER, START
from tests.unit.objects.kept import NAMES, PICTURE, later, made, products, same, the_file
from toolchain import bench_kernel, build, fresh, objects, parallel
from toolchain.command import Ui
from toolchain.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
KERNEL = ROOT / "kernel"


# --- what is redone ----------------------------------------------------------------------------------------


def test_nothing_is_assembled_twice(tree: Path, cache: Path, assembled: Path) -> None:
    plain = build.once(tree)
    assert made(assembled) == NAMES
    assert build.once(tree, cache) == plain
    assert made(assembled) == NAMES
    assert build.once(tree, cache) == plain
    assert made(assembled) == []


@pytest.mark.parametrize(
    ("name", "content", "redone"),
    [
        ("start.s", START.replace("ret", "nop"), ["start.s"]),
        ("include/deeper.inc", ".set VALUE, 9\n", ["start.s"]),
        ("include/values.inc", '.set VALUE, 8; #"eper.inc"\n', ["start.s"]),
        ("boot.toml", BOOT.replace("one", "two"), ["cpu/other.s"]),
        ("include/picture.bin", b"pirated", ["picture.s"]),
    ],
)
def test_what_has_changed_is_redone_whatever_its_time_says(
    tree: Path, cache: Path, assembled: Path, name: str, content: str | bytes, redone: list[str]
) -> None:
    before = build.once(tree, cache)
    made(assembled)
    later(tree / name, content)
    after = build.once(tree, cache)
    assert made(assembled) == redone
    assert after[0] != before[0]
    assert after == build.once(tree)


def test_an_edit_that_is_taken_back_is_still_there(tree: Path, cache: Path, assembled: Path) -> None:
    before = build.once(tree, cache)
    (tree / "start.s").write_text(START.replace("ret", "nop"))
    edited = build.once(tree, cache)
    made(assembled)
    for text, expected in ((START, before), (START.replace("ret", "nop"), edited)) * 2:
        (tree / "start.s").write_text(text)
        assert build.once(tree, cache) == expected
    assert made(assembled) == []


@pytest.mark.parametrize(
    ("name", "unit"), [("values.inc", "start.s"), ("deeper.inc", "start.s"), ("picture.bin", "picture.s")]
)
def test_a_file_that_comes_before_the_one_found_is_seen(
    tree: Path, cache: Path, assembled: Path, name: str, unit: str
) -> None:
    build.once(tree, cache)
    made(assembled)
    (tree / "first" / name).write_text(".set VALUE, 0x33\n")
    after = build.once(tree, cache)
    assert made(assembled) == [unit]
    assert after == build.once(tree)


def test_units_come_and_go(tree: Path, cache: Path, assembled: Path) -> None:
    build.once(tree, cache)
    made(assembled)
    (tree / "more.s").write_text(".intel_syntax noprefix\n.global more\nmore: hlt\n")
    same(tree, cache)
    assert made(assembled) == sorted(
        [*NAMES, "more.s", "more.s"]
    )  # one in the build with, all in the one without
    (tree / "more.s").unlink()
    same(tree, cache)
    image, _ = build.once(tree, cache)
    assert "more" not in {symbol.name for symbol in image.symbols}


def test_touched_files_and_copies_are_not_redone(tree: Path, cache: Path, assembled: Path) -> None:
    build.once(tree, cache)
    made(assembled)
    for path in tree.rglob("*.*"):
        os.utime(path, (1, 1))
    build.once(tree, cache)
    assert made(assembled) == []


def test_another_toolchain_believes_nothing(
    tree: Path, cache: Path, assembled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.once(tree, cache)
    made(assembled)
    monkeypatch.setattr(objects, "_mark", lambda: b"another version")
    build.once(tree, cache)
    assert made(assembled) == NAMES


def test_the_toolchain_is_known_by_the_content_of_its_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "toolchain"
    copy.mkdir()
    for path in Path(objects.__file__).parent.iterdir():
        if path.suffix in (".py", ".tsv"):
            shutil.copy(path, copy)
    before = objects._mark()
    monkeypatch.setattr(objects, "__file__", str(copy / "objects.py"))
    assert objects._mark() == before
    (copy / ".#editing.py").symlink_to("nowhere")
    before = objects._mark()
    for name in ("resolve.py", "encode_forms.tsv"):
        (copy / name).write_text((copy / name).read_text() + "\n")
        assert objects._mark() != before
        before = objects._mark()


# --- the same with and without -----------------------------------------------------------------------------


def test_products_are_the_same_bytes(tmp_path: Path, tree: Path, cache: Path) -> None:
    build.build(tree, tmp_path / "plain", iso=False)
    for run in ("first", "second"):
        build.build(tree, tmp_path / run, iso=False, cache=cache)
        assert products(tmp_path / run) == products(tmp_path / "plain")


@pytest.mark.long
def test_the_kernel_is_the_same_bytes(tmp_path: Path, cache: Path, assembled: Path) -> None:
    build.build(KERNEL, tmp_path / "plain", iso=False)
    for run in ("first", "second"):
        build.build(KERNEL, tmp_path / run, iso=False, cache=cache)
        assert products(tmp_path / run) == products(tmp_path / "plain")
    made(assembled)
    copy = tmp_path / "copy"
    shutil.copytree(KERNEL, copy)
    build.once(copy, cache)
    made(assembled)
    unit = copy / "cpu/idt.s"
    unit.write_text(unit.read_text() + "\n    nop\n")
    build.build(copy, tmp_path / "edited", iso=False, cache=cache)
    assert made(assembled) == ["cpu/idt.s"]
    build.build(copy, tmp_path / "edited-plain", iso=False)
    assert products(tmp_path / "edited") == products(tmp_path / "edited-plain")
    assert products(tmp_path / "edited") != products(tmp_path / "plain")


def test_two_processes_keep_what_one_does(
    tmp_path: Path, cache: Path, assembled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench_kernel.write(tmp_path / "tree", 900)
    monkeypatch.setattr(parallel, "SMALL", 0)
    plain = build.once(tmp_path / "tree", cache)
    assert made(assembled)
    assert build.once(tmp_path / "tree", cache) == plain
    assert made(assembled) == []


@pytest.mark.parametrize("few", [0, 1 << 20])
def test_an_edit_by_two_processes_and_by_one_beside_the_kept_units(
    tmp_path: Path, cache: Path, assembled: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    tree = tmp_path / "tree"
    bench_kernel.write(tree, 900)
    monkeypatch.setattr(parallel, "SMALL", few)
    monkeypatch.setattr(fresh, "FEW", few)
    build.once(tree, cache)
    made(assembled)
    names = sorted(path.name for path in tree.glob("*.s"))[:2]
    for name in names:
        (tree / name).write_text(
            (tree / name).read_text() + ".text\n    mov rdi, qword ptr [r9 + r10*8 + 0x1234]\n"
        )
    edited = build.once(tree, cache)
    assert made(assembled) == names
    assert edited == build.once(tree)
    made(assembled)
    assert build.once(tree, cache) == edited
    assert made(assembled) == []


def test_kept_answers_spare_the_worker(tree: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.once(tree, cache)
    (tree / "start.s").write_text(START.replace("VALUE", "VALUE + 1"))
    expected = build.once(tree)

    def started(self: object) -> None:
        raise AssertionError("the worker was started")

    monkeypatch.setattr("toolchain.encode_guard.Guard.start", started)
    assert build.once(tree, cache) == expected


def lines_of(tree: Path, cache: Path | None) -> list[str]:
    with pytest.raises(InputError) as caught:
        build.once(tree, cache)
    return caught.value.lines()


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("start.s", "    bogus eax\n"),
        ("start.s", "    call nowhere\n"),
        ("start.s", '.include "none.inc"\n'),
        ("include/deeper.inc", '.error "no"\n'),
        ("cpu/other.s", "start:\n.global start\n"),
    ],
)
@pytest.mark.long
def test_errors_are_the_same_and_nothing_of_them_is_kept(
    tree: Path, cache: Path, name: str, line: str
) -> None:
    build.once(tree, cache)
    before = the_file(cache).read_bytes()
    path = tree / name
    good = path.read_text()
    path.write_text(good + line)
    (tree / "picture.s").write_text(PICTURE + "    .byte 256\n")
    expected = lines_of(tree, None)
    assert lines_of(tree, cache) == expected
    assert the_file(cache).read_bytes() == before
    (tree / "picture.s").write_text(PICTURE)
    assert lines_of(tree, cache) == lines_of(tree, None)
    path.write_text(good)
    same(tree, cache)


def test_an_error_of_the_link_names_the_line_of_a_kept_unit(tree: Path, cache: Path) -> None:
    build.once(tree, cache)
    (tree / "cpu/other.s").write_text(OTHER.replace("other", "another"))
    (line,) = lines_of(tree, cache)
    assert line.startswith("start.s:6: error: undefined symbol `other'")
    assert "\n        call other\n        ^" in line


def test_warnings_of_kept_units_are_told(tmp_path: Path, tree: Path, cache: Path) -> None:
    (tree / "start.s").write_text(START + '    .warning "look here"\n')
    for _ in range(2):
        told = io.StringIO()
        result = build.build(tree, tmp_path / "out", iso=False, ui=Ui(told), cache=cache)
        assert len(result.warnings) == 1
        assert "start.s:8: warning: look here\n        .warning" in told.getvalue()


# --- the command -------------------------------------------------------------------------------------------


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    assert objects.folder() is None  # as the tests have it
    monkeypatch.delenv(objects.SWITCH)
    monkeypatch.setenv("HOME", "/home/someone")
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/kept")
    assert objects.folder() == Path("/var/kept/pxos/objects")
    for none in ("", "relative/path"):
        monkeypatch.setenv("XDG_CACHE_HOME", none)
        assert objects.folder() == Path("/home/someone/.cache/pxos/objects")
    monkeypatch.delenv("HOME")
    assert objects.folder() is None


def test_the_command_keeps_unless_told_not_to(
    tree: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    command = ["build", "-q", "--kernel", str(tree), "--out", str(tmp_path / "out"), "--no-iso"]
    assert cli.main(command) == 0
    assert not cache.exists()
    monkeypatch.delenv(objects.SWITCH)
    assert cli.main([*command, "--no-cache"]) == 0
    assert not cache.exists()
    assert cli.main(command) == 0
    assert the_file(cache).stat().st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700
