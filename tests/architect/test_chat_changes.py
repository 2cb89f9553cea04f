"""What the chat does to a tree: branch, worktree or copy; never over uncommitted work; undone with one command."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.architect.chatting import chat, copied, proposed

pytestmark = pytest.mark.long

FILE = "kernel/mm/mmio.s"
REMARK = "# a remark at the end\n"


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file of a checkout, the build folder and git's own left out."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {".git", "out", "lessons", "data"} & set(path.relative_to(folder).parts)
    }


@pytest.fixture
def top(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a kernel tree and one commit."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "checkout"
    folder.mkdir()
    copied(folder)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "begin")
    return folder


def test_a_clean_checkout_gets_a_branch_and_undo_goes_back(top: Path, tmp_path: Path) -> None:
    before = snapshot(top)
    with chat(tmp_path, top / "kernel") as made:
        proposed(made.talk)
        said = made.say("/apply unproved")
        branch = git(top, "branch", "--show-current")
        assert branch.startswith("pxos/") and branch in said and "main is as it was" in said
        assert (top / FILE).read_text().endswith(REMARK)
        assert git(top, "status", "--porcelain") == ""
        assert git(top, "diff", "--name-only", "main", branch) == FILE
        assert git(top, "log", "-1", "--format=%an %s").startswith("pxOS architect Change ")
        assert "+# a remark at the end" in said and not made.talk.desk.changes
        assert "back on main" in made.say("/undo")
    assert git(top, "branch", "--show-current") == "main"
    assert git(top, "branch", "--list", "pxos/*") == "" and snapshot(top) == before


def test_uncommitted_work_is_never_touched(top: Path, tmp_path: Path) -> None:
    """Changed, staged, new and deleted files: all as they were, and all of them in the worktree's copy."""
    kernel = top / "kernel"
    for name in ("mm/mmio.s", "mm/page.s"):
        (kernel / name).write_text((kernel / name).read_text() + "# work of mine\n")
    git(top, "add", "kernel/mm/page.s")
    (kernel / "mm/fresh.s").write_text("# new of mine\n")
    (kernel / "README.md").unlink()
    before, status = snapshot(top), git(top, "status", "--porcelain")
    with chat(tmp_path, kernel) as made:
        proposed(made.talk)
        said = made.say("/apply unproved")
        assert "you have uncommitted work" in said and "this conversation goes on in" in said
        tree = made.talk.desk.tree
        assert snapshot(top) == before and git(top, "status", "--porcelain") == status
        assert git(top, "branch", "--show-current") == "main"
        assert tree != kernel and (tree / "mm/mmio.s").read_text().endswith(f"# work of mine\n{REMARK}")
        assert (tree / "mm/fresh.s").read_text() == "# new of mine\n" and not (tree / "README.md").exists()
        branch = git(tree, "branch", "--show-current")
        patch = git(top, "diff", f"{branch}~1", branch)
        assert "+# a remark at the end" in patch and "work of mine" not in patch.replace(" # work", "")
        assert "files were never touched" in made.say("/undo")
        assert made.talk.desk.tree == kernel and not tree.exists()
    assert snapshot(top) == before and git(top, "status", "--porcelain") == status
    assert git(top, "branch", "--list", "pxos/*") == "" and git(top, "stash", "list") == ""
    assert len(git(top, "worktree", "list").splitlines()) == 1


@pytest.mark.parametrize("ignored", [False, True])
def test_a_shader_that_no_commit_holds_is_uncommitted_work_too(
    top: Path, tmp_path: Path, ignored: bool
) -> None:
    """A branch would take it along, and undo would lose it."""
    path = top / "shaders/mine.wgsl"
    path.parent.mkdir()
    path.write_text("// mine\n")
    if ignored:
        (top / ".git/info/exclude").write_text("mine.wgsl\n")
    with chat(tmp_path, top / "kernel", root=top) as made:
        proposed(made.talk, "shaders/mine.wgsl", "// more")
        assert "you have uncommitted work" in made.say("/apply unproved")
        assert path.read_text() == "// mine\n"
        assert (made.talk.desk.root / "shaders/mine.wgsl").read_text() == "// mine\n// more\n"
        made.say("/undo")
        assert made.talk.desk.root == top
    assert path.read_text() == "// mine\n"


def test_what_the_worktree_holds_can_be_taken_over_as_the_chat_says(top: Path, tmp_path: Path) -> None:
    path = top / FILE
    path.write_text("# work of mine\n" + path.read_text())
    with chat(tmp_path, top / "kernel") as made:
        proposed(made.talk)
        said = made.say("/apply unproved")
        command = said.partition("To take it over: ")[2].partition("\n")[0]
    subprocess.run(command, shell=True, cwd=top, check=True, timeout=60)
    assert path.read_text().startswith("# work of mine\n") and path.read_text().endswith(REMARK)


def test_a_tree_without_git_keeps_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    tree = copied(tmp_path)
    original = (tree / "mm/mmio.s").read_bytes()
    with chat(tmp_path, tree) as made:
        proposed(made.talk)
        said = made.say("/apply unproved")
        assert "no git here, so the originals are kept in" in said
        kept = Path(made.talk.session.applied[-1].kept)
        assert (kept / "mm/mmio.s").read_bytes() == original
        assert (tree / "mm/mmio.s").read_text().endswith(REMARK)
        assert "the originals are back" in made.say("/undo")
        assert (tree / "mm/mmio.s").read_bytes() == original


def test_undo_refuses_where_later_work_would_be_lost(top: Path, tmp_path: Path) -> None:
    with chat(tmp_path, top / "kernel") as made:
        proposed(made.talk)
        made.say("/apply unproved")
        path = top / FILE
        path.write_text(path.read_text() + "# later\n")
        assert "there is uncommitted work since" in made.say("/undo") and not made.talk.ok
        assert path.read_text().endswith("# later\n")
        git(top, "commit", "-q", "-am", "later")
        assert "has further commits" in made.say("/undo")
        assert path.read_text().endswith("# later\n")


def test_undo_of_a_copy_refuses_where_the_file_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    tree = copied(tmp_path)
    with chat(tmp_path, tree) as made:
        proposed(made.talk)
        made.say("/apply unproved")
        path = tree / "mm/mmio.s"
        path.write_text("# mine\n")
        assert "was changed since; the original is" in made.say("/undo")
        assert path.read_text() == "# mine\n"


def test_undo_works_in_a_session_that_was_kept(top: Path, tmp_path: Path) -> None:
    before = snapshot(top)
    with chat(tmp_path, top / "kernel") as made:
        proposed(made.talk)
        made.say("/apply unproved")
        made.say("/save kept")
    with chat(tmp_path, top / "kernel") as made:
        made.say("/load kept")
        assert "back on main" in made.say("/undo")
    assert snapshot(top) == before


def test_two_changes_are_undone_one_after_the_other(top: Path, tmp_path: Path) -> None:
    before = snapshot(top)
    with chat(tmp_path, top / "kernel") as made:
        proposed(made.talk)
        made.say("/apply unproved")
        proposed(made.talk, "mm/page.s")
        made.say("/apply unproved")
        assert len(git(top, "branch", "--list", "pxos/*").splitlines()) == 2
        for _ in range(2):
            assert "back on" in made.say("/undo")
        assert "nothing to undo" in made.say("/undo")
    assert snapshot(top) == before and git(top, "branch", "--list", "pxos/*") == ""


def test_a_repository_without_a_commit_is_changed_in_place(tmp_path: Path) -> None:
    tree = copied(tmp_path)
    git(tmp_path, "init", "-q", "-b", "main")
    git(tmp_path, "add", "kernel")
    with chat(tmp_path, tree) as made:
        proposed(made.talk)
        assert "the originals are kept in" in made.say("/apply unproved")
        made.say("/undo")
    assert git(tmp_path, "diff", "--name-only") == ""


def test_hooks_and_settings_of_the_repository_do_not_run(top: Path, tmp_path: Path) -> None:
    names = ("pre-commit", "post-commit", "post-checkout", "post-index-change", "reference-transaction")
    programs = [*(top / ".git/hooks" / name for name in names), top / ".git/watch"]
    programs[0].parent.mkdir(exist_ok=True)
    for program in programs:
        program.write_text(f"#!/bin/sh\necho {program.name} >> {tmp_path}/ran\nexit 1\n")
        program.chmod(0o755)
    with chat(tmp_path, top / "kernel") as made:
        git(top, "-c", "core.hooksPath=/dev/null", "config", "commit.gpgsign", "true")
        git(top, "-c", "core.hooksPath=/dev/null", "config", "core.fsmonitor", str(programs[-1]))
        proposed(made.talk)
        assert "committed" in made.say("/apply unproved")
        assert "back on main" in made.say("/undo")
        (top / "kernel/mm/page.s").open("a").write("# mine\n")
        proposed(made.talk)
        assert "the worktree" in made.say("/apply unproved")
        assert "are gone" in made.say("/undo")
    assert not (tmp_path / "ran").exists()


def test_a_merge_that_is_not_finished_is_said(top: Path, tmp_path: Path) -> None:
    path = top / "kernel/mm/page.s"
    before = path.read_text()
    for branch, first in (("other", "# theirs\n"), ("main", "# ours\n")):
        git(top, "switch", "-q", *(["-c"] if branch == "other" else []), branch)
        path.write_text(first + before)
        git(top, "commit", "-q", "-a", "-m", first)
    with pytest.raises(subprocess.CalledProcessError):
        git(top, "merge", "-q", "other")
    state = snapshot(top)
    with chat(tmp_path, top / "kernel") as made:
        proposed(made.talk)
        said = made.say("/apply unproved")
    assert "mm/page.s: a merge is not finished" in said and "git merge --abort" in said
    assert snapshot(top) == state and git(top, "branch", "--list", "pxos/*") == ""
