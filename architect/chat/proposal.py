"""/diff /apply /undo: what is proposed, taken to the tree, taken back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from architect.chat import changes, remember
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.chat.session import Applied
    from architect.chat.talk import Talk

STAGE = "chat"


def diff(talk: Talk, rest: str) -> None:
    """``/diff``."""
    talk.show_proposal()


def apply(talk: Talk, rest: str) -> None:
    """``/apply [unproved]``."""
    if rest not in ("", "unproved"):
        raise InputError("/apply [unproved]", stage=STAGE)
    desk = talk.desk
    if not desk.changes:
        raise InputError("nothing is proposed: /fix finds a repair, or say what to change", stage=STAGE)
    desk.check_bases()
    if rest != "unproved" and not _proved(talk):
        talk.note("it is not applied; /apply unproved does it all the same")
        return
    talk.show_proposal()
    applied = changes.apply(desk, _subject(talk))
    talk.session.applied.append(applied)
    talk.steps = [*(step for step in talk.steps if step is None), None]
    talk.note(changes.told(applied))
    remember.closed(talk)
    desk.drop()
    if applied.kind == "worktree":
        _move(talk, applied)
    talk.note("/undo takes it back")


def _proved(talk: Talk) -> bool:
    """Whether every gate passes; asked now unless the sources are those of the last proof."""
    if talk.desk.kernel_changes() and talk.proved != talk.desk.key():
        talk.note("not proved yet, so the gates are asked first")
        answer = talk.tool("run_gates")
        talk.show(answer, "run_gates")
        if not answer.ok:
            return False
        talk.proved = talk.desk.key()
    for name in sorted(talk.desk.changes.keys() - talk.desk.kernel_changes().keys()):
        answer = talk.tool("run_shader", shader=name)
        talk.show(answer, f"run_shader {name}")
        if not answer.ok:
            return False
    return True


def _subject(talk: Talk) -> str:
    """The first line of the commit: what changes, in the words of the routines where there are some."""
    from architect.contracts import routines

    originals, names = talk.desk.originals(), []
    for file, text in sorted(talk.desk.changes.items()):
        before = {r.name: r for r in routines({file: originals.get(file, "")}).values()}
        names += [
            name for name in before if _body(originals.get(file, ""), name) != _body(text, name)
        ]  # fmt: skip
    files = ", ".join(sorted(talk.desk.changes))
    return f"Change {', '.join(names[:3])} ({files})" if names else f"Change {files}"


def _body(text: str, name: str) -> str:
    _, _, rest = text.partition(f"function {name}\n")
    return rest.partition(f"end_function {name}")[0]


def _move(talk: Talk, applied: Applied) -> None:
    """Go on in the worktree: that is where the kernel with the change is."""
    desk = talk.desk
    place = Path(applied.worktree)
    desk.move(Path(applied.tree))
    if (place / "shaders").is_dir():
        desk.root = place
    talk.note(f"this conversation goes on in {applied.tree}")


def undo(talk: Talk, rest: str) -> None:
    """``/undo``."""
    if not talk.steps:
        raise InputError("there is nothing to undo", stage=STAGE)
    step = talk.steps[-1]
    if step is not None:
        talk.desk.drop()
        talk.desk.propose(step)
        talk.note("the proposal is as it was before" if step else "the proposal is dropped")
    else:
        applied = talk.session.applied[-1]
        talk.note(changes.undo(applied, talk.desk))
        talk.session.applied.pop()
        if applied.kind == "worktree":
            talk.desk.move(Path(applied.before))
            talk.desk.root = talk.root
    talk.steps.pop()
