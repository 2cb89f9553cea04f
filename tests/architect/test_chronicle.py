"""The journal page: its figures are those of the evidence, the same evidence gives the same bytes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

from architect.journal import Journal
from architect.learn import chronicle
from architect.lessons import SqliteLessons
from architect.protocols import Edit
from tests.architect.cases import SIGNATURE, evaluation, patch
from tests.unit import schemas
from tests.unit.pxos import pxos

ROOT = Path(__file__).resolve().parents[2]
EDIT = {"operator": "swap", "steps": []}


def a_run(folder: Path, outcome: str = "fixed", proposals: int = 2, name: str = "my-tree") -> None:
    journal = Journal(folder, {})
    journal.trajectory.write("run", {"what": "fix", "tree": f"/x/{name}", "digest": "ab", "engine": "auto"})
    gate = {"gate": "boot", "passed": False, "seconds": 0, "message": "reset | here", "evidence": {}}
    journal.trajectory.write("diagnosis", {"failures": [gate]})
    for n in range(proposals):
        one = patch(Edit("a.s", n + 1, (), ("nop",)), operator=f"kind-{n}")
        journal.record(evaluation(one, passed=outcome == "fixed" and n == proposals - 1), 1.0)
    end = {"outcome": outcome, "reason": "r"}
    journal.write("end", end)
    journal.trajectory.write("end", end)
    journal.close()


def words(tmp_path: Path, *more: str) -> tuple[str, ...]:
    return ("journal", "--runs", str(tmp_path / "fix"), "--lessons", str(tmp_path / "lessons"), "--bugs",
            str(tmp_path / "bugs"), "--evidence", str(tmp_path / "evidence"), "--out", str(tmp_path / "J.md"),
            "--json", "-q", *more)  # fmt: skip


def test_runs_and_lessons_are_folded_in_once_and_the_page_is_the_same_again(tmp_path: Path) -> None:
    a_run(tmp_path / "fix" / "one")
    a_run(tmp_path / "fix" / "two", "not-fixed", 5, "a|b<c>")
    (tmp_path / "fix" / "bad" / "trajectories").mkdir(parents=True)
    (tmp_path / "fix" / "bad" / "trajectories" / "1.jsonl").write_text("{}\n")
    store = SqliteLessons(tmp_path / "lessons")
    number = store.record(SIGNATURE, "the entry | is never written", EDIT, {"run": 1})
    store.credit(number, helped=True)
    store.guard(number, [{"rule": "value-never-used", "sort": "s", "project": "p", "silent": []}])
    first = pxos(*words(tmp_path))
    schemas.validate(first.data, "journal")
    assert (first.data["added"], first.data["runs"], first.data["fixed"]) == (2, 2, 1)
    assert len(first.data["left_out"]) == 1 and "1.jsonl:1" in first.data["left_out"][0]
    assert (first.data["proposals"], first.data["median_proposals"]) == (7, 2)
    page = (tmp_path / "J.md").read_bytes()
    shutil.rmtree(tmp_path / "fix")  # the trajectories may go: what they said is kept
    again = pxos(*words(tmp_path))
    assert again.data["added"] == 0 and again.data["runs"] == 2 and (tmp_path / "J.md").read_bytes() == page
    assert pxos(*words(tmp_path, "--check")).status == 0
    text = page.decode()
    assert "| a\\|b&lt;c> | boot | not-fixed | - |" in text and "kind-1" in text
    assert "1 lessons, 1 of them carry a guard; they helped 1 times and misled 0 times." in text
    assert "The prevention rate was not measured." in text
    store.credit(number, helped=False)
    assert pxos(*words(tmp_path)).data["misled"] == 1 and (tmp_path / "J.md").read_bytes() != page


def test_a_page_that_says_something_else_is_found(tmp_path: Path) -> None:
    a_run(tmp_path / "fix" / "one")
    pxos(*words(tmp_path))
    page = tmp_path / "J.md"
    page.write_text(page.read_text().replace("1 repairs", "9 repairs"))
    answer = pxos(*words(tmp_path, "--check"))
    assert answer.status == 1 and answer.data["current"] is False
    (tmp_path / "evidence" / chronicle.RUNS).write_text("[]\n")
    broken = pxos(*words(tmp_path, "--check"))
    assert broken.status == 2 and "runs.jsonl:1: no row of evidence" in broken.errors


def test_an_interrupted_run_is_no_evidence_yet(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "fix" / "one", {})
    journal.trajectory.write("run", {"what": "fix", "tree": "k"})
    journal.close()
    assert pxos(*words(tmp_path)).data["runs"] == 0


def test_the_journal_of_the_project_is_what_its_evidence_says() -> None:
    evidence = chronicle.gather(bugs=ROOT / "tests/bugs")
    page = chronicle.PAGE.read_text(encoding="utf-8")
    assert page == chronicle.page(evidence), "run pxos journal"
    # The figures once more, from the files by hand.
    rows = [json.loads(line) for line in (chronicle.EVIDENCE / chronicle.RUNS).read_text().splitlines()]
    fixed = sum(row["outcome"] == "fixed" for row in rows)
    told = re.search(r"^(\d+) repairs \((.*?)\), (\d+) proposals", page, re.MULTILINE)
    assert told is not None and int(told[1]) == len(rows) and f"{fixed} fixed" in told[2]
    assert int(told[3]) == sum(row["proposals"] for row in rows)
    last = json.loads((ROOT / "tests/bugs/prevention.jsonl").read_text().splitlines()[-1])
    assert f"| {last['bugs']} | {last['prevention_rate']:.1%} |" in page
