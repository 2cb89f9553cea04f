"""A file is there whole or not at all, and a folder that is claimed belongs to one."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from toolchain import files
from toolchain.errors import InputError

STAGE = "test"


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file can grow beyond ``limit`` bytes: ``EFBIG`` where a full disk gives ``ENOSPC``."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_claimed_folder_is_nobody_elses(tmp_path: Path) -> None:
    folder = tmp_path / "boot"
    with files.claimed(folder, stage=STAGE) as first, files.claimed(folder, stage=STAGE) as second:
        assert (first, second) == (folder, tmp_path / "boot-2")
        with files.claimed(folder, stage=STAGE) as third:
            assert third == tmp_path / "boot-3"
    with files.claimed(folder, stage=STAGE) as again:
        assert again == folder


def test_a_claim_ends_with_an_exception(tmp_path: Path) -> None:
    with pytest.raises(KeyError), files.claimed(tmp_path, stage=STAGE):
        raise KeyError
    with files.claimed(tmp_path, stage=STAGE) as again:
        assert again == tmp_path


def test_where_there_are_no_locks_the_folder_is_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with ExitStack() as stack:
        assert [stack.enter_context(files.claimed(tmp_path, stage=STAGE)) for _ in "ab"] == [tmp_path] * 2


def test_a_folder_that_cannot_be_claimed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write: Not a directory; choose"):
        files.claimed(tmp_path / "file/boot", stage=STAGE).__enter__()
    (tmp_path / "boot" / files.LOCK_NAME).mkdir(parents=True)
    with pytest.raises(InputError, match="cannot write: Is a directory"):
        files.claimed(tmp_path / "boot", stage=STAGE).__enter__()


def test_a_full_disk_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "product"
    path.write_bytes(b"old")
    with full_disk(1000), pytest.raises(InputError, match="cannot write: File too large"):
        files.write_atomic(path, bytes(2000), stage=STAGE)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_interruption_leaves_the_old_file_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "product"
    path.write_bytes(b"old")

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        files.write_atomic(path, b"new", stage=STAGE)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_is_read_has_a_bound(tmp_path: Path) -> None:
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate((1 << 20) + 1)
    with pytest.raises(InputError, match="too large"):
        files.read_bounded(path, 1 << 20, stage=STAGE)
    assert len(files.read_bounded(path, (1 << 20) + 1, stage=STAGE)) == (1 << 20) + 1


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(InputError, match="a pipe or a device"):
            files.read_bounded(path, 1, stage=STAGE)
    with pytest.raises(InputError, match="Is a directory"):
        files.read_bounded(tmp_path, 1, stage=STAGE)


def test_files_written_together_are_all_new_or_all_old(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "nosuch/b"
    first.write_text("old")
    with pytest.raises(InputError, match="b: cannot write: No such file or directory"):
        files.write_together({first: "new", second: b"x"}, stage="t")
    assert (first.read_text(), [path.name for path in tmp_path.iterdir()]) == ("old", ["a"])
    assert files.write_together({first: "new", tmp_path / "c": b"x"}, stage="t") == 2
    assert files.write_together({first: "new", tmp_path / "c": b"y"}, stage="t") == 1
    assert first.read_text() + (tmp_path / "c").read_text() == "newy"
