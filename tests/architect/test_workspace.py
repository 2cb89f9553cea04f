"""The copy of the tree: what may be edited, exact application, nothing written to the original."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect.protocols import Edit
from architect.workspace import TreeCopy
from tests.architect.cases import FILES, IDT_S, PAGE_S, make_tree, patch, replaced
from toolchain.errors import InputError


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return make_tree(tmp_path / "kernel")


def test_sources_are_what_a_repair_may_edit(tree: Path) -> None:
    assert set(TreeCopy(tree).sources()) == {"mm/page.s", "cpu/idt.s", "include/macros.inc"}


@pytest.mark.parametrize(
    "file", ["test/page_test.s", "include/ktap.inc", "boot.toml", "image.toml", "../outside.s", "new.s"]
)
def test_the_judge_is_out_of_reach(tree: Path, file: str) -> None:
    with pytest.raises(InputError, match="never its judge"):
        TreeCopy(tree).apply(patch(Edit(file, 1, (), ("nop",))))


def test_an_include_that_sources_share_stays_editable(tree: Path) -> None:
    (tree / "mm/page.s").write_text(PAGE_S + '.include "ktap.inc"\n')
    assert "include/ktap.inc" in TreeCopy(tree).sources()


def test_edits_apply_together_with_line_numbers_of_the_original(tree: Path) -> None:
    edits = (
        replaced(PAGE_S, "mm/page.s", 9, "    shr rax, 21"),
        Edit("mm/page.s", 13, ("    invlpg [rdi]",), ()),
        Edit("mm/page.s", 6, (), ("    cld", "    nop")),
        Edit("cpu/idt.s", 3, (), ("# here",)),
    )
    changed = TreeCopy(tree).apply(patch(*edits))
    expected = PAGE_S.split("\n")
    expected[8] = "    shr rax, 21"
    del expected[12]
    expected[5:5] = ["    cld", "    nop"]
    assert changed["mm/page.s"] == "\n".join(expected)
    assert changed["cpu/idt.s"].split("\n")[2:4] == ["# here", "idt_set:"]
    assert set(changed) == {"mm/page.s", "cpu/idt.s"}


def test_insertion_at_the_end_of_a_file(tree: Path) -> None:
    end = len(IDT_S.split("\n"))
    changed = TreeCopy(tree).apply(patch(Edit("cpu/idt.s", end, (), ("    nop",))))
    assert changed["cpu/idt.s"] == IDT_S + "    nop\n"


@pytest.mark.parametrize("char", ["\x1b", "\x07", "\x9b", "\u202e", "\r", "\x00"])
def test_no_new_line_holds_what_nobody_sees(tree: Path, char: str) -> None:
    edit = Edit("cpu/idt.s", 3, (), (f"    nop # {char}x",))
    with pytest.raises(InputError, match="a new line holds"):
        TreeCopy(tree).apply(patch(edit))
    if char == "\x1b":  # what the file held before is not the repair's
        (tree / "cpu/idt.s").write_text(f"    nop # {char}x\n")
        kept = Edit("cpu/idt.s", 1, (f"    nop # {char}x",), (f"    hlt # {char}x",))
        assert "hlt" in TreeCopy(tree).apply(patch(kept))["cpu/idt.s"]


def test_new_lines_end_as_the_files_own_do(tree: Path) -> None:
    with_returns = IDT_S.replace("\n", "\r\n")
    (tree / "cpu/idt.s").write_bytes(with_returns.encode())
    lines = with_returns.split("\n")
    edit = Edit("cpu/idt.s", 3, (lines[2],), ("here:", "    nop\r"))
    changed = TreeCopy(tree).apply(patch(edit))["cpu/idt.s"]
    assert changed == "\n".join([*lines[:2], "here:\r", "    nop\r", *lines[3:]])
    mixed = with_returns.replace("\r\n", "\n", 1)
    (tree / "cpu/idt.s").write_bytes(mixed.encode())
    assert "\nhere:\n" in TreeCopy(tree).apply(patch(edit))["cpu/idt.s"]


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (Edit("cpu/idt.s", 4, ("    shl rdi, 3",), ("    shl rdi, 4",)), "expected '    shl rdi, 3', found"),
        (Edit("cpu/idt.s", 99, ("x",), ("y",)), "the end of the file"),
        (Edit("cpu/idt.s", 0, (), ("y",)), "does not apply"),
        (Edit("cpu/idt.s", 4, (), ("a\nb",)), "line feed"),
        (Edit("cpu/idt.s", 4, (), ("x" * 2000,)), "longer"),
        (Edit("cpu/idt.s", 4, (), ('.incbin "/etc/passwd"',)), "bring in files"),
        (Edit("cpu/idt.s", 4, (), ('x: .include "../../secret.inc"',)), "bring in files"),
    ],
)
def test_what_does_not_apply_is_refused_with_its_place(tree: Path, edit: Edit, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        TreeCopy(tree).apply(patch(edit))
    assert "cpu/idt.s:" in caught.value.message


def test_overlapping_edits_are_refused(tree: Path) -> None:
    one = Edit("cpu/idt.s", 4, ("    shl rdi, 4", "    mov rcx, rsi"), ("    nop",))
    two = replaced(IDT_S, "cpu/idt.s", 5, "    nop")
    with pytest.raises(InputError, match="overlaps"):
        TreeCopy(tree).apply(patch(one, two))


def test_materialise_writes_the_whole_tree_and_leaves_the_original(tree: Path, tmp_path: Path) -> None:
    copy = TreeCopy(tree)
    (tree / "cpu/idt.s").write_text("changed later")
    fresh = copy.materialise(tmp_path / "fresh", patch(replaced(IDT_S, "cpu/idt.s", 4, "    shl rdi, 3")))
    assert (fresh / "cpu/idt.s").read_text() == IDT_S.replace("shl rdi, 4", "shl rdi, 3")
    assert {p.relative_to(fresh).as_posix() for p in fresh.rglob("*") if p.is_file()} == set(FILES)
    assert (tree / "cpu/idt.s").read_text() == "changed later"


def test_commit_writes_nothing_when_a_file_changed_meanwhile(tree: Path) -> None:
    copy = TreeCopy(tree)
    both = patch(
        replaced(PAGE_S, "mm/page.s", 9, "    shr rax, 21"),
        replaced(IDT_S, "cpu/idt.s", 4, "    nop"),
    )
    (tree / "cpu/idt.s").write_text(IDT_S + "# a person's edit\n")
    with pytest.raises(InputError, match="changed while the repair ran"):
        copy.commit(both)
    assert (tree / "mm/page.s").read_text() == PAGE_S
    (tree / "cpu/idt.s").write_text(IDT_S)
    copy.commit(both)
    assert "shr rax, 21" in (tree / "mm/page.s").read_text()


def test_digest_follows_every_file(tree: Path) -> None:
    before = TreeCopy(tree).digest()
    assert TreeCopy(tree).digest() == before
    (tree / "test/page_test.s").write_text("test_page:\n")
    assert TreeCopy(tree).digest() != before


def test_links_out_of_the_tree_are_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    (tree / "mm/link.s").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="leads out of the tree"):
        TreeCopy(tree)


def test_a_folder_that_is_no_tree(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        TreeCopy(tmp_path / "absent")
    with pytest.raises(InputError, match=r"no image\.toml"):
        TreeCopy(tmp_path)


def test_a_copy_that_was_cut_short_is_mended(tmp_path: Path) -> None:
    copy = TreeCopy(make_tree(tmp_path / "tree"))
    copy.materialise(tmp_path / "copy")
    cut = tmp_path / "copy/mm/page.s"
    cut.write_text(cut.read_text()[:100])
    copy.materialise(tmp_path / "copy")
    assert {n: (tmp_path / "copy" / n).read_bytes() for n in copy.files} == dict(copy.files)
