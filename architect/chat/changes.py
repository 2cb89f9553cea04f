"""Taking a proposal to the tree, and back: on a branch, in a worktree, or with a copy kept. One command undoes it.

Owns every write into a person's tree that a conversation makes, and every call of git. Uncommitted work is never
written over: where there is any, the change goes to a worktree of its own, whose branch first holds that work as it
stands. A tree without git is changed in place, file by file, after a copy was kept.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from architect.chat.session import Applied
from toolchain.errors import InputError, ToolError
from toolchain.files import make_folder, write_atomic

if TYPE_CHECKING:
    from architect.tools.desk import Desk

STAGE = "changes"
PREFIX = "pxos/"  # of the branches
_GIT_SECONDS = 60.0
_IDENTITY = ("-c", "user.name=pxOS architect", "-c", "user.email=architect@pxos.invalid")
_QUIET = ("-c", "commit.gpgsign=false")
# Nothing of a person's runs but git itself: a hook that fails would end a change half-way.
_ALONE = ("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false")


def apply(desk: Desk, subject: str) -> Applied:
    """Take the proposal on the desk to its tree.

    Args:
        desk: holds the proposal, and the tree; it is left as it is.
        subject: the first line of the commit's message.

    Returns:
        What was done, and what undoes it.

    Raises:
        InputError: nothing is proposed; a file changed since; the folder cannot be written.
        ToolError: git failed.
    """
    if not desk.changes:
        raise InputError("nothing is proposed: /fix finds a repair, or tell what to change", stage=STAGE)
    desk.check_bases()
    targets = _targets(desk)
    top = _top_of(desk.tree)
    if top is None or not all(path.is_relative_to(top) for path in targets):
        return _in_place(desk, targets)
    if not _git(top, "rev-parse", "-q", "--verify", "HEAD", check=False).strip():
        return _in_place(desk, targets)  # a repository without a commit has nothing to branch from
    unmerged = _git(top, "ls-files", "--unmerged", "-z").split("\0")[0].rpartition("\t")[2]
    if unmerged:
        raise InputError(
            f"{top / unmerged}: a merge is not finished; end it (git commit) or leave it (git merge --abort) first",
            stage=STAGE,
        )
    if _uncommitted(top, desk):
        return _in_worktree(desk, top, targets, subject)
    return _on_branch(desk, top, targets, subject)


def _uncommitted(top: Path, desk: Desk) -> bool:
    """Whether there is work that no commit holds: changed files anywhere, new ones among what may be changed."""
    changed = _git(top, "status", "--porcelain", "--untracked-files=no").strip()
    return bool(changed) or bool(_new_files(top, desk))


def _new_files(top: Path, desk: Desk) -> list[str]:
    """Files of the kernel tree and the shaders that git does not hold, ignored or not, by path from ``top``.

    Of what git ignores only what the proposal is about counts: a build leaves many such files.
    """
    from architect.tools.sheet import SHADERS

    places = [desk.tree, *([desk.root / SHADERS] if (desk.root / SHADERS).is_dir() else [])]
    inside = [
        str(place.resolve().relative_to(top)) for place in places if place.resolve().is_relative_to(top)
    ]
    found = _git(top, "ls-files", "--others", "--exclude-standard", "-z", "--", *inside).split("\0")
    known = set(_git(top, "ls-files", "-z", "--", *inside).split("\0"))
    targets = [path.relative_to(top).as_posix() for path in _targets(desk) if path.is_file()]
    return sorted({name for name in found if name} | {name for name in targets if name not in known})


def _targets(desk: Desk) -> dict[Path, str]:
    """Path on disk -> new text."""
    from architect.tools.sheet import SHADERS

    return {
        (desk.root / name if name.startswith(SHADERS) else desk.tree / name).resolve(): text
        for name, text in desk.changes.items()
    }


def _on_branch(desk: Desk, top: Path, targets: Mapping[Path, str], subject: str) -> Applied:
    """Clean: a new branch from what is checked out, with one commit, checked out."""
    back = _git(top, "symbolic-ref", "-q", "--short", "HEAD", check=False).strip()
    back = back or _git(top, "rev-parse", "HEAD").strip()
    branch = _free_branch(top, subject)
    _git(top, "switch", "-q", "-c", branch)
    try:
        _write(targets)
        commit = _commit(top, [str(path.relative_to(top)) for path in targets], subject)
    except BaseException:
        with suppress(ToolError):
            _git(top, "reset", "-q", "--hard", back)
            _git(top, "switch", "-q", "--detach" if _is_commit(back) else "--no-guess", back)
            _git(top, "branch", "-q", "-D", branch)
        raise
    files = {path.relative_to(top).as_posix(): _digest(text) for path, text in targets.items()}
    tree = str(desk.tree)
    return Applied("branch", tree, tree, files, str(top), branch=branch, commit=commit, back=back)


def _in_worktree(desk: Desk, top: Path, targets: Mapping[Path, str], subject: str) -> Applied:
    """Uncommitted work: a worktree whose branch holds that work first, then the change. The person's files stay."""
    branch = _free_branch(top, subject)
    place = _free_folder(desk.out / "worktrees" / branch.removeprefix(PREFIX))
    work = _git(top, *_IDENTITY, *_QUIET, "stash", "create", "pxos: work in progress").strip()
    make_folder(place.parent, stage=STAGE)
    _git(top, "worktree", "add", "-q", "-b", branch, str(place), "HEAD")
    try:
        if work:
            _git(place, *_IDENTITY, *_QUIET, "checkout", "-q", work, "--", ".")
            for name in _git(top, "diff", "--name-only", "-z", "--diff-filter=D", "HEAD").split("\0"):
                if name:
                    _git(place, "rm", "-q", "--ignore-unmatch", "--", name)
        for name in _new_files(top, desk):
            make_folder((place / name).parent, stage=STAGE)
            write_atomic(place / name, (top / name).read_bytes(), stage=STAGE)
            _git(place, "add", "-f", "--", name)
        _git(place, *_IDENTITY, *_QUIET, "commit", "-q", "--allow-empty", "-m", "Work in progress, as it was")
        moved = {place / path.relative_to(top): text for path, text in targets.items()}
        _write(moved)
        commit = _commit(place, [str(path.relative_to(place)) for path in moved], subject)
    except BaseException:
        with suppress(ToolError):
            _git(top, "worktree", "remove", "--force", str(place))
            _git(top, "branch", "-q", "-D", branch)
        raise
    files = {path.relative_to(place).as_posix(): _digest(text) for path, text in moved.items()}
    tree = place / desk.tree.relative_to(top)
    return Applied(
        "worktree",
        str(tree),
        str(desk.tree),
        files,
        str(place),
        branch=branch,
        commit=commit,
        worktree=str(place),
    )


def _in_place(desk: Desk, targets: Mapping[Path, str]) -> Applied:
    """No git: the originals are kept beside the logs, then the files are replaced."""
    kept = _free_folder(desk.out / "kept" / time.strftime("%Y%m%d-%H%M%S"))
    for path, name in zip(targets, desk.changes, strict=True):
        make_folder((kept / name).parent, stage=STAGE)
        if path.exists():
            write_atomic(kept / name, path.read_bytes(), stage=STAGE)
    _write(targets)
    files = {name: _digest(text) for name, text in desk.changes.items()}
    tree = str(desk.tree)
    return Applied("copy", tree, tree, files, str(desk.root), kept=str(kept))


def undo(applied: Applied, desk: Desk) -> str:
    """Take a change back; one line on what was done.

    Raises:
        InputError: what was changed since would be lost; says what to do.
        ToolError: git failed.
    """
    if applied.kind == "branch":
        return _undo_branch(applied)
    if applied.kind == "worktree":
        return _undo_worktree(applied)
    return _undo_copy(applied, desk)


def _undo_branch(applied: Applied) -> str:
    top = Path(applied.root)
    _check_commit(top, applied)
    if _git(top, "status", "--porcelain", "--untracked-files=no").strip():
        raise InputError(
            f"{top}: there is uncommitted work since; commit it, or git switch {applied.back} by hand",
            stage=STAGE,
        )
    here = _git(top, "symbolic-ref", "-q", "--short", "HEAD", check=False).strip()
    if here == applied.branch:
        _git(top, "switch", "-q", "--detach" if _is_commit(applied.back) else "--no-guess", applied.back)
    _git(top, "branch", "-q", "-D", applied.branch)
    return (
        f"back on {applied.back}; the branch {applied.branch} is gone (its commit is {applied.commit[:12]})"
    )


def _undo_worktree(applied: Applied) -> str:
    place = Path(applied.worktree)
    if place.is_dir():
        top = Path(_git(place, "rev-parse", "--path-format=absolute", "--git-common-dir").strip()).parent
        _check_commit(place, applied)
        if _git(place, "status", "--porcelain").strip():
            raise InputError(f"{place}: was changed since; commit or remove that first", stage=STAGE)
        _git(top, "worktree", "remove", "--force", str(place))
        _git(top, "branch", "-q", "-D", applied.branch)
    return f"the worktree and its branch {applied.branch} are gone; your files were never touched"


def _undo_copy(applied: Applied, desk: Desk) -> str:
    from architect.tools.sheet import SHADERS

    tree, kept = Path(applied.tree), Path(applied.kept)
    places = {name: (desk.root if name.startswith(SHADERS) else tree) / name for name in applied.files}
    for name, path in places.items():
        if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != applied.files[name]:
            raise InputError(f"{path}: was changed since; the original is {kept / name}", stage=STAGE)
    for name, path in places.items():
        if (kept / name).is_file():
            write_atomic(path, (kept / name).read_bytes(), stage=STAGE)
        else:
            path.unlink()
    return f"the originals are back (they stay in {kept})"


def told(applied: Applied) -> str:
    """Where a change went, for the person."""
    files = ", ".join(sorted(applied.files))
    if applied.kind == "branch":
        return f"committed {files} on the new branch {applied.branch}, now checked out; {applied.back} is as it was"
    if applied.kind == "worktree":
        return (
            f"you have uncommitted work, so {files} went to the worktree {applied.worktree} on the branch"
            f" {applied.branch}, on top of a copy of that work; your files are as they were."
            f" To take it over: git diff {applied.branch}~1 {applied.branch} | git apply"
        )
    return f"wrote {files}; no git here, so the originals are kept in {applied.kept}"


def _write(targets: Mapping[Path, str]) -> None:
    for path, text in targets.items():
        write_atomic(path, text, stage=STAGE)


def _commit(top: Path, names: Sequence[str], subject: str) -> str:
    _git(top, "add", "--", *names)
    _git(top, *_IDENTITY, *_QUIET, "commit", "-q", "-m", subject, "--", *names)
    return _git(top, "rev-parse", "HEAD").strip()


def _check_commit(top: Path, applied: Applied) -> None:
    now = _git(top, "rev-parse", "-q", "--verify", f"refs/heads/{applied.branch}", check=False).strip()
    if now != applied.commit:
        state = "has further commits" if now else "is gone"
        raise InputError(f"the branch {applied.branch} {state}: undo it by hand with git", stage=STAGE)


def _top_of(tree: Path) -> Path | None:
    """The top of the git checkout that a tree lies in, or None; a tree that git ignores is in none."""
    if shutil.which("git") is None:
        return None
    found = _git(tree, "rev-parse", "--show-toplevel", check=False).strip()
    if not found:
        return None
    top = Path(found).resolve()
    tracked = _git(tree, "ls-files", "--", ".", check=False)
    return top if tracked.strip() else None


def _free_branch(top: Path, subject: str) -> str:
    words = "".join(c if c.isalnum() and c.isascii() else " " for c in subject.lower()).split()
    stem = PREFIX + ("-".join(words)[:40].strip("-") or "change")
    known = set(_git(top, "for-each-ref", "--format=%(refname:short)", f"refs/heads/{PREFIX}").split())
    return next(name for name in (stem, *(f"{stem}-{n}" for n in range(2, 10_000))) if name not in known)


def _free_folder(path: Path) -> Path:
    return next(
        p for p in (path, *(path.with_name(f"{path.name}-{n}") for n in range(2, 10_000))) if not p.exists()
    )


def _is_commit(name: str) -> bool:
    return len(name) == 40 and all(c in "0123456789abcdef" for c in name)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _git(folder: Path, *words: str, check: bool = True) -> str:
    """One git command in ``folder``; its output.

    Raises:
        ToolError: it failed, and ``check`` is set.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", "-C", str(folder), *_ALONE, *words]
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_GIT_SECONDS, env={**environment, "GIT_TERMINAL_PROMPT": "0"},
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise ToolError(f"git {words[0]} did not end within {_GIT_SECONDS:g} s", stage=STAGE) from error
    if done.returncode and check:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        what = next(word for word in words if not word.startswith("-") and "=" not in word)
        raise ToolError(
            f"git {what}: {said[-1] if said else f'status {done.returncode}'}",
            stage=STAGE,
            command=command,
            returncode=done.returncode,
        )
    return done.stdout.decode("utf-8", "surrogateescape") if not done.returncode else ""
