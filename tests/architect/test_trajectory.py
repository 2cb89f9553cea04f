"""Trajectories: written whole or not at all, read with suspicion, model talk recorded and given back."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from architect.journal import Journal
from architect.learn import trajectory
from architect.learn.recorded import RecordedModel, RecordingModel, exchanges, totals
from architect.learn.trajectory import Trajectory
from architect.model.types import Message, ModelError, Reply, ToolCall, Usage
from architect.protocols import Edit
from tests.architect.cases import evaluation, patch
from toolchain.errors import InputError

ROOT = Path(__file__).parent.parent.parent


class Clerk:
    """A model that answers from a list; an exception in it is raised."""

    name = "clerk"
    context = 4096

    def __init__(self, *answers: Reply | Exception) -> None:
        self.answers = list(answers)

    def ask(
        self,
        messages: Sequence[Message],
        *,
        max_output: int,
        tools: Sequence[Mapping[str, Any]] = (),
        on_text: Callable[[str], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> Reply:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def reply(text: str, *calls: ToolCall) -> Reply:
    return Reply(text, calls, Usage(10, 4), "stop", Decimal("0.0015"))


def test_steps_read_back(tmp_path: Path) -> None:
    made = Trajectory.open(tmp_path / "runs" / "1.jsonl")
    made.write("run", {"what": "fix", "tree": "k"})
    made.write("note", {"text": "a\x00\udc80é"})
    made.write("end", {"outcome": "fixed", "reason": "done"})
    made.close()
    found = trajectory.read(made.path)
    assert [(s.n, s.kind) for s in found.steps] == [(0, "run"), (1, "note"), (2, "end")] and not found.cut
    assert found.steps[1].data == {"text": "a\x00\udc80é"}
    with pytest.raises(ValueError, match="no kind"):
        made.write("gossip", {})


def test_a_long_text_is_cut_and_says_so(tmp_path: Path) -> None:
    made = Trajectory.open(tmp_path / "t.jsonl")
    made.write("note", {"text": "x" * (trajectory.TEXT_MAX + 5)})
    made.close()
    (step,) = trajectory.read(made.path).steps
    assert step.data["text"].endswith("x [5 more characters]")


def test_a_cut_line_is_told_and_removed_when_the_run_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    made = Trajectory.open(path)
    made.write("note", {"text": "one"})
    made.close()
    with path.open("ab") as file:
        file.write(b'{"v": 1, "n": 1, "at"')
    assert trajectory.read(path).cut
    again = Trajectory.open(path, resume=True)
    again.write("note", {"text": "two"})
    again.close()
    found = trajectory.read(path)
    assert [s.data["text"] for s in found.steps] == ["one", "two"] and not found.cut
    assert found.steps[1].at >= found.steps[0].at


def test_a_full_disk_leaves_no_half_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    script = f"""
import resource, signal
from pathlib import Path
from architect.learn.trajectory import Trajectory
from toolchain.errors import InputError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
made = Trajectory.open(Path({str(path)!r}))
made.write("note", {{"text": "one"}})
resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))
try:
    made.write("note", {{"text": "x" * 400}})
except InputError as error:
    print("told", error.message.count("cannot write"))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "told 1\n" and resource.RLIMIT_FSIZE
    assert [s.data["text"] for s in trajectory.read(path).steps] == ["one"] and not trajectory.read(path).cut


def test_a_writer_killed_at_any_moment_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    script = f"""
from pathlib import Path
from architect.learn.trajectory import Trajectory
made = Trajectory.open(Path({str(path)!r}))
print("ready", flush=True)
while True:
    made.write("note", {{"text": "x" * 3000}})
"""
    writer = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    assert writer.stdout is not None and writer.stdout.readline() == b"ready\n"
    while not path.stat().st_size:
        pass
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    again = Trajectory.open(path, resume=True)
    again.write("note", {"text": "after"})
    again.close()
    assert trajectory.read(path).steps[-1].data["text"] == "after"


GOOD = '{"v": 1, "n": 0, "at": 0, "kind": "note", "text": "a"}'


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is empty"),
        ('{"v": 1', "its only line is cut"),
        ("[]\n", "t.jsonl:1: not a step"),
        ("[" * 100_000 + "\n", "t.jsonl:1: not a step"),
        ('{"v": 1, "n": ' + "9" * 5000 + "}\n", "t.jsonl:1: not a step"),
        ("\x00\xff\n", "t.jsonl:1: not a step"),
        ('{"v": 2, "n": 0}\n', "form 2; this pxos reads form 1"),
        (GOOD + "\n" + GOOD + "\n", "t.jsonl:2: expected step 1, found 0"),
        (GOOD.replace("note", "gossip") + "\n", "no kind of step: 'gossip'"),
        (GOOD.replace('"note"', "[1]") + "\n", r"no kind of step: \[1\]"),
        (GOOD.replace('"at": 0', '"at": 1e400') + "\n", "'at' is inf"),
        (GOOD.replace('"a"', "7") + "\n", "'text' of a note is 7, expected a text"),
        ('{"v":1,"n":0,"at":0,"kind":"proposal","id":1,"patch":{"edits":3}}\n', "expected a patch"),
        ('{"v":1,"n":0,"at":0,"kind":"gate","of":1,"passed":true,"gates":{"a":1}}\n', "a list of gates"),
        (
            '{"v":1,"n":0,"at":0,"kind":"request","id":1,"same":-1,"messages":[]}\n',
            "'same' of a request is -1",
        ),
        ('{"v":1,"n":0,"at":0,"kind":"reply","to":1,"tool_calls":[1]}\n', "a list of tool calls"),
    ],
)
def test_a_hostile_file_is_one_clear_line(tmp_path: Path, text: str, what: str) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(InputError, match=what) as caught:
        trajectory.read(path)
    assert "\n" not in caught.value.message and len(caught.value.message) < 300


def test_a_journal_tells_its_trajectory(tmp_path: Path) -> None:
    one = patch(Edit("a.s", 3, ("x",), ("y",)), operator="swap")
    journal = Journal(tmp_path, {"tree": "k"})
    journal.record(evaluation(one, passed=True), 1.0)
    journal.close()
    again = Journal(tmp_path, {"tree": "k"})  # no end was written: it goes on
    again.judged(evaluation(one).gates, final=True)
    again.write("end", {"outcome": "fixed", "reason": "r"})
    again.close()
    found = trajectory.read(tmp_path / "trajectories" / "1.jsonl").steps
    assert [s.kind for s in found] == ["proposal", "gate", "gate"]
    assert found[1].data["of"] == found[0].data["id"] == 1 and found[2].data["final"]
    Journal(tmp_path, {}).close()
    assert (tmp_path / "trajectories" / "2.jsonl").exists()


def talk(path: Path, model: Clerk) -> list[Message]:
    """Two requests that share a beginning, and one that fails."""
    made = Trajectory.open(path)
    asked = RecordingModel(model, made)
    messages = [Message("system", "rules"), Message("user", "why?")]
    first = asked.ask(messages, max_output=64)
    messages += [Message("assistant", first.text, first.tool_calls), Message("tool", "42", tool_call_id="c1")]
    asked.ask(messages, max_output=64, tools=[{"type": "function", "function": {"name": "read"}}])
    with pytest.raises(ModelError, match="gone"):
        asked.ask(messages, max_output=64)
    made.close()
    return messages


def test_what_a_model_said_is_recorded_and_given_back(tmp_path: Path) -> None:
    call = ToolCall("c1", "read", '{"file": "a.s"}')
    answers = (reply("let me look", call), reply("it is 42"), ModelError("gone", "provider", retryable=True))
    messages = talk(tmp_path / "t.jsonl", Clerk(*answers))
    steps = trajectory.read(tmp_path / "t.jsonl").steps
    assert [s.data.get("same") for s in steps if s.kind == "request"] == [0, 2, 4]
    assert [len(e.messages) for e in exchanges(steps)] == [2, 4, 4]
    assert totals(steps) == {"requests": 3, "failed": 1, "tokens": 28, "money": "0.0030"}

    said: list[str] = []
    model = RecordedModel(steps)
    assert model.ask(messages[:2], max_output=64, on_text=said.append) == answers[0]
    changed = [messages[0], Message("user", "why not?"), *messages[2:]]
    assert model.ask(changed, max_output=64, on_text=said.append) == answers[1]
    assert said == ["let me look", "it is 42"]
    (difference,) = model.differences
    assert "request 2, message 2 (user) differs from line 1: was '?', now ' not?'" in difference
    with pytest.raises(ModelError, match="gone") as caught:
        model.ask(messages, max_output=64)
    assert caught.value.kind == "provider" and caught.value.retryable and model.left == 0
    with pytest.raises(ModelError, match="no answer to request 4"):
        model.ask(messages, max_output=64)


def test_times_are_no_difference(tmp_path: Path) -> None:
    text = "<<data 0123456789abcdef: log>>\nPXBOOT v1 cpu ok tsc={}\ntook {} s\n<<end 0123456789abcdef>>"
    made = Trajectory.open(tmp_path / "t.jsonl")
    RecordingModel(Clerk(reply("x")), made).ask([Message("user", text.format(123, 0.25))], max_output=1)
    made.close()
    for now, differs in (
        (text.format(77, 0.5).replace("0123", "4567"), False),
        (text.format(77, 0.5) + "!", True),
    ):
        model = RecordedModel(trajectory.read(made.path).steps)
        model.ask([Message("user", now)], max_output=1)
        assert bool(model.differences) is differs


def test_a_request_that_refers_to_nothing_is_refused(tmp_path: Path) -> None:
    row: dict[str, Any] = {"v": 1, "n": 0, "at": 0, "kind": "request", "id": 1, "same": 3, "max_output": 9}
    (tmp_path / "t.jsonl").write_text(json.dumps({**row, "messages": []}) + "\n")
    with pytest.raises(InputError, match="shares 3 messages with a request that has 0"):
        RecordedModel(trajectory.read(tmp_path / "t.jsonl").steps)
