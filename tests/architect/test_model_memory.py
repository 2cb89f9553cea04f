"""What the engine ``llm`` keeps in mind of a case, and the person's rules: against a scripted server."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from architect.learn import memory
from architect.learn.memory import by_bytes
from architect.model import near
from architect.model.conversation import MEMORY_SHARE, PROMPT_TOKENS_MAX
from architect.model.engine import Sight
from architect.model.near import Near
from architect.protocols import Case, Evaluation, GateResult, Patch
from tests.architect.cases import evaluation
from tests.architect.model_server import ModelServer
from tests.architect.test_model_engine import Shelf, case, drive, engine, looking, shift

__all__ = ["case"]
LOOK = '```tool\n{"name": "read_source", "arguments": {"symbol": "page_map"}}\n```'


def refused(made: Patch) -> Evaluation:
    """A verdict so long that few of them fit into a prompt."""
    gate = GateResult("contract", False, 0.1, "page_map: writes a wrong entry; " + "and more of it " * 60)
    return replace(evaluation(made), gates=(gate,))


def test_what_was_read_is_not_shown_again(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = looking(monkeypatch)
    with ModelServer([LOOK, LOOK, shift(21)]) as server:
        drive(engine(server, sight=Sight(Shelf)), case, most=1)  # type: ignore[arg-type]
    first, second = server.requests[1], server.requests[2]
    assert "[1]\n    ret  # as it stands" in first.last
    assert "is unchanged; it stands above as item 1" in second.last and "as it stands" not in second.last
    assert second.prompt.count("as it stands") == 1 and len(calls) == 2


def test_what_has_changed_is_shown(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    from architect.tools import table
    from architect.tools.base import Answer

    told = iter(["one text", "another text"])
    monkeypatch.setattr(table, "call", lambda name, desk, arguments: Answer(next(told)))
    with ModelServer([LOOK, LOOK, shift(21)]) as server:
        drive(engine(server, sight=Sight(Shelf)), case, most=1)  # type: ignore[arg-type]
    assert "another text" in server.requests[2].last


def test_refused_edits_are_remembered_when_their_turn_is_left_out(case: Case) -> None:
    """In a small context the oldest questions go; what was tried does not, within the memory's share."""
    amounts = range(13, 33)
    with ModelServer([shift(n) for n in amounts]) as server:
        asked = engine(server, context=4000)
        drive(asked, case, refused, most=len(amounts))
    last = server.requests[-1]
    remembered = last.prompt.partition("what you looked at and tried before>>")[2].partition("<<end")[0]
    turns = [m for m in last.body["messages"] if m["role"] == "assistant"]
    assert len(turns) < len(amounts) - 1, "every turn fits: nothing is left out"
    assert f"shr rax, {amounts[0]}\n" not in "\n".join(m["content"] for m in turns)
    kept = [n for n in amounts if f"+ shr rax, {n} refused by contract" in remembered]
    latest = amounts[-2 - len(turns)]  # of what no turn shows any more
    assert len(kept) > 3 and kept == list(range(kept[0], latest + 1))
    assert by_bytes(remembered) <= MEMORY_SHARE * min(4000, PROMPT_TOKENS_MAX) / 0.45


def test_the_persons_rules_are_told_every_time(case: Case, tmp_path: Path) -> None:
    lessons, tree = tmp_path / "lessons", tmp_path / "kernel"
    with_rules = memory.of(lessons, tree)
    with_rules.note("project", "page_lock is taken before frame_lock", pinned=True)
    with_rules.note("anywhere", "say less", pinned=True)
    with_rules.note("project", "not a rule")
    memory.of(lessons, tmp_path / "other").note("project", "of another kernel", pinned=True)
    before = {path.name: path.read_bytes() for path in (tmp_path / "memory").iterdir()}
    with ModelServer([shift(13), shift(14)]) as server:
        drive(engine(server, memory=memory.of(lessons, tree, kept=False)), case, refused, most=2)
    for request in server.requests:
        rules = request.body["messages"][0]["content"]
        assert "page_lock is taken before frame_lock" in rules and "say less" in rules
        assert "not a rule" not in request.prompt and "of another kernel" not in request.prompt
    assert {path.name: path.read_bytes() for path in (tmp_path / "memory").iterdir()} == before


def test_a_text_that_is_longer_than_the_memory_is_shown_and_read_again(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    from architect.tools import table
    from architect.tools.base import Answer

    long = json.dumps(["a long text"] * 400)
    monkeypatch.setattr(table, "call", lambda name, desk, arguments: Answer(long))
    with ModelServer([LOOK, LOOK, shift(21)]) as server:
        drive(engine(server, sight=Sight(Shelf), context=4000), case, most=1)  # type: ignore[arg-type]
    assert server.requests[2].last.count("a long text") > 100


def test_localising_happens_in_another_process(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its memory is given back; what a fork that dies does not say is found out here."""
    monkeypatch.setattr(near, "_ranked", lambda case, lines: [("mm/page.s", 1, 2, str(os.getpid()))])
    monkeypatch.setattr(threading, "active_count", lambda: 1)
    (row,) = Near(case).ranked
    assert row[:3] == ("mm/page.s", 1, 2) and int(row[3]) != os.getpid()
    monkeypatch.setattr(near, "dies_with", lambda parent: os.kill(os.getpid(), signal.SIGKILL))
    assert Near(case).ranked == [("mm/page.s", 1, 2, str(os.getpid()))]
    monkeypatch.setattr(threading, "active_count", lambda: 2)
    assert Near(case).ranked == [("mm/page.s", 1, 2, str(os.getpid()))]
