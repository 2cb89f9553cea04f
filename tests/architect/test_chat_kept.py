"""What a conversation keeps: proposals and their undoing, sessions from run to run, files that somebody damaged."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from architect.chat import session
from tests.architect.chatting import chat, copied, proposed
from toolchain.errors import InputError


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_a_proposal_is_shown_and_undone(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        text = proposed(made.talk)
        assert "+# a remark at the end" in made.stream.getvalue()
        assert "+# a remark at the end" in made.say("/diff")
        proposed(made.talk, "mm/page.s")
        assert "proposal is as it was" in made.say("/undo")
        assert made.talk.desk.changes == {"mm/mmio.s": text}
        assert "dropped" in made.say("/undo") and not made.talk.desk.changes
        assert "nothing is proposed" in made.say("/diff")


@pytest.mark.long
def test_a_session_is_kept_and_resumed(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        made.say("what is page_map?")
        text = proposed(made.talk)
        assert "kept as paging" in made.say("/save paging")
        assert "paging" in made.say("/load")
    assert session.path_of("paging").stat().st_mode & 0o777 == 0o600
    with chat(tmp_path) as made:
        said = made.say("/load paging")
        assert "> what is page_map?" in said and "a proposal for mm/mmio.s lies on the desk" in said
        assert made.talk.desk.changes == {"mm/mmio.s": text}
        assert [turn.role for turn in made.talk.session.turns][:2] == ["user", "tool"]
        assert "the proposal is dropped" in made.say("/undo") and not made.talk.desk.changes
        assert "nothing to undo" in made.say("/undo")


DAMAGED = [
    b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1}', b"\xff\xfe", b"[" * 100_000,
    json.dumps({"version": 1, "turns": [{"role": "root", "text": "", "name": ""}]}).encode(),
    json.dumps({"version": 1, "turns": {}, "applied": [], "tree": 1}).encode(),
]  # fmt: skip


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_session_is_one_line(tmp_path: Path, data: bytes) -> None:
    path = session.path_of("bad")
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(InputError, match="no session of a chat") as caught:
        session.load("bad")
    assert "\n" not in str(caught.value)


APPLIED = {
    "kind": "copy", "tree": "/t", "before": "/t", "files": {"mm/a.s": "0"}, "root": "/t", "branch": "", "commit": "",
    "back": "", "kept": "/k", "worktree": "",
}  # fmt: skip
HOSTILE_UNDO = [
    {"files": {"../../.bashrc": "0"}}, {"files": {"/etc/passwd": "0"}}, {"kind": "shell"}, {"branch": "--help"},
    {"branch": "main"}, {"commit": "HEAD; id"}, {"back": "-f"}, {"back": "a/../../b"}, {"files": []}, {"root": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE_UNDO)
def test_what_undo_would_do_by_a_file_is_checked(tmp_path: Path, change: dict[str, object]) -> None:
    made = session.Session("bad", str(tmp_path))
    path = session.save(made)
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "applied": [APPLIED]}))
    assert session.load("bad").applied[0].files == {"mm/a.s": "0"}
    path.write_text(json.dumps({**data, "applied": [{**APPLIED, **change}]}))
    with pytest.raises(InputError, match="no session of a chat"):
        session.load("bad")


def test_a_long_conversation_can_be_kept_and_loaded(tmp_path: Path) -> None:
    made = session.Session("long", str(tmp_path))
    for number in range(400):
        made.say("tool", f"{number} " + "x" * 100_000)
    path = session.save(made)
    assert path.stat().st_size < session.BYTES_MAX
    loaded = session.load("long")
    assert loaded.turns[-1].text.startswith("399 ") and len(loaded.turns) < 400


def test_a_session_of_a_tree_that_is_gone(tmp_path: Path) -> None:
    session.save(session.Session("old", str(tmp_path / "gone")))
    with chat(tmp_path) as made:
        assert "is gone" in made.say("/load old") and not made.talk.ok


def test_a_stale_proposal_is_not_applied(tmp_path: Path) -> None:
    tree = copied(tmp_path)
    with chat(tmp_path, tree) as made:
        proposed(made.talk)
        path = tree / "mm/mmio.s"
        path.write_text(path.read_text() + "# somebody else's\n")
        assert "was changed since this was proposed" in made.say("/apply unproved")
        assert path.read_text().endswith("# somebody else's\n")


def test_conversations_that_nobody_named_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "UNNAMED_MAX", 3)
    now = time.time()
    for number in range(6):
        path = session.save(session.Session(f"2026-01-0{number + 1}-000000-7", str(tmp_path)))
        os.utime(path, (now - 1000 + number, now - 1000 + number))
    old = session.save(session.Session("paging", str(tmp_path)))
    os.utime(old, (0, 0))
    again = session.load("2026-01-06-000000-7")
    session.save(again)
    assert set(session.names()) == {"paging", *(f"2026-01-0{n}-000000-7" for n in (4, 5, 6))}
    later = now + session.UNNAMED_DAYS * 86_400 - 500
    assert session.prune(later) == ["2026-01-05-000000-7", "2026-01-04-000000-7"]
    assert set(session.names()) == {"paging", "2026-01-06-000000-7"}
