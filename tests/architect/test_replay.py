"""``pxos replay``: the steps for a person and a program, keys on a terminal, and where a second run differs."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pexpect
import pytest

from architect.journal import Journal
from architect.learn import rerun, trajectory
from architect.learn.trajectory import Trajectory
from architect.protocols import Edit, GateResult
from tests.architect.cases import evaluation, patch
from tests.unit import schemas
from tests.unit.pxos import pxos

ROOT = Path(__file__).resolve().parents[2]
ONE = patch(Edit("a.s", 3, ("mov rax, 1",), ("mov rax, 2",)), operator="constant")
TWO = patch(Edit("b.s", 9, (), ("cld",)), operator="insert")


def recorded(folder: Path, *, passed: bool = True) -> Path:
    """A run of two proposals."""
    journal = Journal(folder, {})
    told = journal.trajectory
    told.write("run", {"what": "fix", "tree": "/k", "engine": "auto", "seconds": 9, "max_boots": 4})
    gates = [{"gate": "boot", "passed": False, "seconds": 1, "message": "\x1b[2Jreset", "evidence": {}}]
    told.write("diagnosis", {"failures": gates, "cause": None})
    journal.record(evaluation(ONE), 1.0)
    journal.record(evaluation(TWO, passed=passed), 2.0)
    journal.judged([GateResult("iso", True, 0.5)], final=True)
    request: dict[str, Any] = {"id": 1, "model": "m", "max_output": 64, "same": 0, "tools": []}
    told.write("request", {**request, "messages": [{"role": "user", "content": "why?\x07"}]})
    usage = {"prompt": 3, "completion": 2, "estimated": False}
    told.write("reply", {"to": 1, "text": "because", "tool_calls": [], "usage": usage, "finish": "stop"})
    told.write("tool", {"name": "read", "arguments": "{}", "text": "nop", "ok": True})
    told.write("end", {"outcome": "fixed", "reason": "done"})
    journal.close()
    return told.path


def test_every_step_is_told_and_nothing_drives_the_terminal(tmp_path: Path) -> None:
    answer = pxos("replay", str(recorded(tmp_path)))
    assert answer.status == 0 and "\x1b" not in answer.output and "\x07" not in answer.output
    lines = answer.output.splitlines()
    for wanted in ("fix of /k (engine auto", "first boot: �[2Jreset", "#1 scripted, constant: a.s:3", "-mov rax, 1",
                   "+mov rax, 2", "#2 passes", "the finalist passes iso", "3 + 2 tokens", "read({})",
                   "fixed: done"):  # fmt: skip
        assert any(wanted in line for line in lines), wanted
    assert lines[-1] == "11 steps, 2 proposals, 1 requests, 5 tokens"


def test_one_step_and_the_object_for_a_program(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    whole = pxos("replay", str(path), "--json")
    schemas.validate(whole.data, "replay")
    assert whole.data["outcome"] == "fixed" and whole.data["model"]["tokens"] == 5
    assert [s["n"] for s in whole.data["steps"]] == list(range(11))
    one = pxos("replay", str(path), "--json", "--step", "2")
    assert [s["kind"] for s in one.data["steps"]] == ["proposal"]
    assert "constant" in pxos("replay", str(path), "--step", "2").output
    beyond = pxos("replay", str(path), "--step", "11")
    assert beyond.status == 2 and "has steps 0 to 10" in beyond.errors


def test_a_run_that_was_cut_says_so(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    data = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(data[:4]) + data[4][:9])
    answer = pxos("replay", str(path))
    assert "the last line of the file is cut" in answer.output and "did not come to its end" in answer.output
    path.write_bytes(b"\x7fELF")
    for words in (("replay", str(path)), ("replay", str(path), "--run"), ("replay", str(tmp_path))):
        bad = pxos(*words)
        assert bad.status == 2 and len(bad.errors.splitlines()) == 1 and not bad.output


def test_keys_walk_through_it_on_a_terminal(tmp_path: Path) -> None:
    path = recorded(tmp_path)
    child = pexpect.spawn(
        sys.executable, [str(ROOT / "scripts/cli.py"), "replay", str(path)], cwd=str(ROOT), timeout=20,
        encoding="utf-8", dimensions=(30, 120),
    )  # fmt: skip
    for key, wanted in (("", "step 1 of 11"), (" ", "step 2 of 11"), ("\x1b[C", "step 3 of 11"),
                        ("p", "step 2 of 11"), ("G", "step 11 of 11"), ("n", "step 11 of 11"),
                        ("g", "step 1 of 11")):  # fmt: skip
        child.send(key)
        child.expect_exact(wanted)
    child.send("q")
    child.expect_exact("11 steps, 2 proposals")
    child.expect(pexpect.EOF)
    child.wait()
    assert child.exitstatus == 0


def test_where_two_runs_part(tmp_path: Path) -> None:
    first = trajectory.read(recorded(tmp_path / "1")).steps
    assert rerun.differences(first, trajectory.read(recorded(tmp_path / "2")).steps) == []
    other = trajectory.read(recorded(tmp_path / "3", passed=False)).steps
    (difference,) = rerun.differences(first, other)
    assert difference == "insert at b.s:9 (scripted): passes then, fails now"
    short = [s for s in first if s.kind not in ("end", "diagnosis") and s.data.get("id") != 1]
    told = rerun.differences(first, short)
    assert told[0] == "it failed boot then, nothing now"
    assert told[1] == "it ended as fixed then, as no end now"
    assert rerun.by_chance(first, short) == (1, 0)
    of_model = [replace(s, data=json.loads(json.dumps(s.data).replace("scripted", "llm"))) for s in first]
    cut = [s for s in of_model if s.data.get("id") != 1]
    assert rerun.differences(of_model, cut) == ["proposed then and not now: constant at a.s:3 (llm)"]


def test_only_a_repair_whose_tree_is_at_hand_runs_again(tmp_path: Path) -> None:
    made = Trajectory.open(tmp_path / "chat.jsonl")
    made.write("run", {"what": "chat"})
    made.close()
    answer = pxos("replay", "--run", str(made.path))
    assert answer.status == 2 and "begins with no repair" in answer.errors
    terms = {"what": "fix", "tree": str(tmp_path / "gone"), "digest": "0", "engine": "auto", "seconds": 1,
             "max_boots": 1, "baseline": None, "good": None, "lessons": ""}  # fmt: skip
    for change, wanted in (({}, "name it as it was with --kernel"), ({"seconds": "x"}, "not whole")):
        made = Trajectory.open(tmp_path / "runs" / "1.jsonl")
        made.write("run", {**terms, **change})
        made.close()
        answer = pxos("replay", "--run", str(made.path), "--json")
        assert answer.status == 2 and wanted in json.loads(answer.output)["error"]["message"]


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_repair_runs_again_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from architect import corpus

    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    bug = corpus.read(ROOT / "tests/bugs/df-on-own-stack.toml")
    tree = corpus.plant(bug, ROOT / "kernel", tmp_path / "tree")
    first = pxos("fix", "--kernel", str(tree), "--out", str(tmp_path / "one"), "--json", "-q")
    assert first.data["outcome"] == "fixed"
    words = ("replay", "--run", first.data["trajectory"], "--out", str(tmp_path / "two"), "--json", "-q")
    again = pxos(*words)
    schemas.validate(again.data, "replay")
    assert again.data["outcome"] == "fixed" and again.data["patch"] == first.data["patch"]
    assert again.data["differences"] == [] and again.status == 0


@pytest.mark.qemu
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_repair_of_a_foreign_tree_runs_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    tree = tmp_path / "tree"
    shutil.copytree(ROOT / "tests/fixtures/kernels/nasm-flat", tree)
    source = tree / "long.asm"
    source.write_text(source.read_text().replace("| PAGE_WRITE | PAGE_LARGE", "| PAGE_WRITE", 1))
    first = pxos("fix", "--kernel", str(tree), "--out", str(tmp_path / "one"), "--json", "-q")
    assert first.data["outcome"] == "fixed"
    again = pxos("replay", "--run", first.data["trajectory"], "--out", str(tmp_path / "two"), "--json", "-q")
    assert again.data["outcome"] == "fixed" and again.status == 0, again.data["differences"]
