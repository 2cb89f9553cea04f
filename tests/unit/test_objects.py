"""Object files kept between runs: the same products, errors and warnings with and without; never a wrong object."""

from __future__ import annotations

import io
import marshal
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import cli
from toolchain import bench_kernel, build, fresh, link, objects, parallel, sealed
from toolchain.command import Ui
from toolchain.errors import InputError
from toolchain.objects import Objects

ROOT = Path(__file__).resolve().parents[2]
KERNEL = ROOT / "kernel"
PRODUCTS = ("pxos.elf", "pxos.map", "pxos.lst")

IMAGE = """\
[image]
entry = "start"
physical_base = 0x100000
virtual_base = 0xffffffff80000000
sources = ["**/*.s"]
include = ["first", "include"]
[[section]]
name = ".text"
inputs = [".text"]
flags = "ax"
[[section]]
name = ".rodata"
inputs = [".rodata"]
flags = "a"
"""
BOOT = '[[unit]]\nname = "one"\nentry = "start"\n'
START = """\
.intel_syntax noprefix
.include "values.inc"
.global start
start:
    mov eax, VALUE
    call other
    ret
"""
OTHER = """\
.intel_syntax noprefix
.include "boot_table.inc"
.text
.global other
other:
    mov edx, BOOT_UNIT_COUNT
    ret
"""
PICTURE = """\
.section .rodata, "a"
.global picture
picture:
    .incbin "picture.bin"
"""
NAMES = ["cpu/other.s", "picture.s", "start.s"]


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    for name in ("include", "first", "cpu"):
        (folder / name).mkdir(parents=True)
    (folder / "image.toml").write_text(IMAGE)
    (folder / "boot.toml").write_text(BOOT)
    (folder / "include/values.inc").write_text('.include "deeper.inc"\n')
    (folder / "include/deeper.inc").write_text(".set VALUE, 7\n")
    (folder / "include/picture.bin").write_bytes(b"picture")
    (folder / "start.s").write_text(START)
    (folder / "cpu/other.s").write_text(OTHER)
    (folder / "picture.s").write_text(PICTURE)
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache/pxos/objects"


@pytest.fixture
def assembled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The names of the units that were assembled, in whatever process; emptied by ``made``."""
    found = tmp_path / "assembled"
    found.touch()
    really = parallel.assemble

    def noted(names: dict[str, int], *others: object) -> object:
        with found.open("a") as file:
            file.writelines(f"{name}\n" for name in names)
        return really(names, *others)  # type: ignore[arg-type]

    monkeypatch.setattr(parallel, "assemble", noted)
    return found


def made(assembled: Path) -> list[str]:
    names = sorted(assembled.read_text().split())
    assembled.write_text("")
    return names


def same(tree: Path, cache: Path) -> None:
    """A build with ``cache`` is what one without is."""
    assert build.once(tree, cache) == build.once(tree)


def the_file(cache: Path) -> Path:
    (path,) = cache.glob("*.objects")
    return path


def named(tree: Path) -> str:
    """The file of a tree's objects."""
    return f"{sealed.digest(os.fsencode(tree)).hex()}.objects"


def later(path: Path, text: str | bytes) -> None:
    """Another content with the same time, as an editor within one tick of the clock leaves it."""
    status = path.stat()
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


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


def products(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in PRODUCTS}


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


# --- a build in which nothing has changed -------------------------------------------------------------------


@pytest.fixture
def linked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A word for each link; emptied by ``made``."""
    found = tmp_path / "linked"
    found.touch()
    really = link.link

    def noted(*arguments: object) -> object:
        with found.open("a") as file:
            file.write("link\n")
        return really(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(link, "link", noted)
    return found


def test_products_that_stand_are_left_alone(tree: Path, cache: Path, tmp_path: Path, linked: Path) -> None:
    (tree / "start.s").write_text(START + '    .warning "look here"\n')
    out = tmp_path / "out"
    first = build.build(tree, out, iso=False, cache=cache)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()}
    made(linked)
    told = io.StringIO()
    again = build.build(tree, out, iso=False, cache=cache, ui=Ui(told))
    assert made(linked) == []
    assert again._replace(seconds=0) == first._replace(seconds=0)
    assert "warning: look here" in told.getvalue()
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", [*PRODUCTS, "gen/boot_table.inc"])
@pytest.mark.parametrize("how", ["removed", "changed", "cut"])
def test_a_product_that_is_not_what_was_made_is_made_again(
    tree: Path, cache: Path, tmp_path: Path, name: str, how: str
) -> None:
    path = tmp_path / "out" / name
    build.build(tree, tmp_path / "out", iso=False, cache=cache)
    whole = path.read_bytes()
    if how == "removed":
        path.unlink()
    else:
        path.write_bytes(whole[:-1] + (b"" if how == "cut" else b"?"))
    build.build(tree, tmp_path / "out", iso=False, cache=cache)
    assert path.read_bytes() == whole


def test_another_layout_or_folder_or_tree_is_linked(
    tree: Path, cache: Path, tmp_path: Path, linked: Path
) -> None:
    def products_now(out: str) -> dict[str, bytes]:
        build.build(tree, tmp_path / out, iso=False, cache=cache)
        return products(tmp_path / out)

    plain = products_now("out")
    assert products_now("elsewhere") == plain
    assert made(linked) == ["link", "link"]
    (tree / "image.toml").write_text(IMAGE.replace("0x100000", "0x200000"))
    assert products_now("out") != plain
    assert made(linked) == ["link"]
    (tree / "image.toml").write_text(IMAGE)
    (tree / "cpu/other.s").rename(tree / "zother.s")
    moved = products_now("out")
    assert made(linked) == ["link"]
    build.build(tree, tmp_path / "plain", iso=False)
    assert products(tmp_path / "plain") == moved
