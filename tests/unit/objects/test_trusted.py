"""Object files kept between runs: never a wrong one, wherever it lies and whoever wrote it."""

from __future__ import annotations

import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.small_tree import START
from tests.unit.objects.kept import NAMES, made, named, same, the_file
from toolchain import build, objects, sealed
from toolchain.objects import Objects

# --- a file that may not be believed -----------------------------------------------------------------------


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _flipped(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def _of_another_tree(path: Path) -> None:
    """A whole file with a digest of its own, as somebody could write it who does not know what made it."""
    body = marshal.dumps(({}, b""))
    path.write_bytes(sealed._MAGIC + sealed.digest(body) + body)


def _open_to_all(path: Path) -> None:
    path.chmod(0o666)


def _folder_open_to_all(path: Path) -> None:
    path.parent.chmod(0o777)


def _link(path: Path) -> None:
    path.rename(path.with_suffix(".real"))
    path.symlink_to(path.with_suffix(".real"))


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    "spoil",
    [
        _truncated,
        _flipped,
        _of_another_tree,
        _open_to_all,
        _folder_open_to_all,
        _link,
        _pipe,
        _folder,
        _empty,
    ],
)
def test_a_file_that_is_not_whole_and_ours_is_not_believed(
    tree: Path,
    cache: Path,
    assembled: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Path], None],
) -> None:
    expected = build.once(tree, cache)
    spoil(the_file(cache))
    made(assembled)

    def never(data: object) -> object:
        raise AssertionError("marshal was given bytes that nobody vouches for")

    with monkeypatch.context() as patch:
        patch.setattr(sealed, "marshal", type("Marshal", (), {"loads": never, "dumps": marshal.dumps}))
        assert build.once(tree, cache) == expected
    assert made(assembled) == NAMES
    same(tree, cache)


def test_a_file_of_somebody_else_is_not_believed(
    tree: Path, cache: Path, assembled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build.once(tree, cache)
    made(assembled)
    before = the_file(cache).read_bytes()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    build.once(tree, cache)
    assert made(assembled) == NAMES
    assert the_file(cache).read_bytes() == before


@pytest.mark.long
def test_every_byte_counts(tree: Path, cache: Path) -> None:
    build.once(tree, cache)
    path, tree = the_file(cache), tree.resolve()
    data = path.read_bytes()
    assert Objects(cache, tree).load()
    for at in range(0, len(data), 7):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :])
        assert not Objects(cache, tree).load()


# --- where it cannot be kept -------------------------------------------------------------------------------


def test_a_folder_that_cannot_be_written_costs_nothing_but_time(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert build.once(tree, tmp_path / "file/objects") == build.once(tree)
    assert build.once(tree, Path("/proc/nowhere")) == build.once(tree)


def test_a_full_disk_leaves_what_was_there(tree: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build.once(tree, cache)
    before = the_file(cache).read_bytes()
    (tree / "start.s").write_text(START.replace("ret", "nop"))

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        same(tree, cache)
    assert the_file(cache).read_bytes() == before


def test_the_folder_stays_small(
    tree: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "FILES_MAX", 3)
    for number in range(5):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tree, copy)
        build.once(copy, cache)
        os.utime(cache / named(copy), (number, number))
    assert {path.name for path in cache.iterdir()} == {named(tmp_path / f"copy{n}") for n in (2, 3, 4)}


def test_a_file_that_would_be_too_large_is_not_written(
    tree: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealed, "FILE_MAX", 100)
    same(tree, cache)
    assert not cache.exists()


def test_a_toolchain_that_was_edited_meanwhile_keeps_nothing(
    tree: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    versions = iter([b"before", b"after"])
    monkeypatch.setattr(objects, "_mark", lambda: next(versions))
    build.once(tree, cache)
    assert not cache.exists()


def test_a_binary_that_changes_while_it_is_read_is_not_kept(
    tree: Path, cache: Path, assembled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(objects, "_of_binary", lambda path, unit: None)
        build.once(tree, cache)
    made(assembled)
    same(tree, cache)
    assert made(assembled) == ["cpu/other.s", "picture.s", "picture.s", "start.s"]  # with, and without


@pytest.mark.long
def test_builds_at_the_same_time(tree: Path, cache: Path, tmp_path: Path) -> None:
    expected = build.once(tree)
    program = "import sys; from pathlib import Path; from toolchain import build\n"
    program += "for _ in range(5): build.once(Path(sys.argv[1]), Path(sys.argv[2]))"
    command = [sys.executable, "-c", program, str(tree), str(cache)]
    running = [subprocess.Popen(command) for _ in range(3)]
    assert [process.wait(120) for process in running] == [0, 0, 0]
    assert len(list(cache.iterdir())) == 1
    assert Objects(cache, tree.resolve()).load()
    assert build.once(tree, cache) == expected
