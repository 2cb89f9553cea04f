"""The journal: round trips, torn lines, locks, and a run killed at any moment resumes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from architect.journal import Journal, edits_digest, evaluation_from_json, evaluation_to_json
from architect.protocols import Edit
from tests.architect.cases import evaluation, patch
from toolchain.errors import InputError

ONE = patch(Edit("a.s", 3, ("x",), ("y", "z")), operator="swap", cost=1.5)
TWO = patch(Edit("a.s", 4, (), ("w",)))
ROOT = Path(__file__).parent.parent.parent


def test_evaluations_read_back_equal() -> None:
    for each in (evaluation(ONE, passed=True, sha="ab"), evaluation(TWO, boots=0)):
        assert evaluation_from_json(json.loads(json.dumps(evaluation_to_json(each)))) == each


def test_a_digest_names_the_edits_alone() -> None:
    other = patch(*ONE.edits, operator="other", engine="lessons", cost=9)
    assert edits_digest(other) == edits_digest(ONE) != edits_digest(TWO)
    both = (ONE.edits[0], TWO.edits[0])
    assert edits_digest(patch(*both)) == edits_digest(patch(*reversed(both)))


def write_run(folder: Path) -> None:
    journal = Journal(folder, {"tree": "k"})
    journal.record(evaluation(ONE, boots=2), 1.5)
    journal.record(evaluation(TWO), 2.5)
    journal.spent(3, 3.0)
    journal.close()


def test_a_cut_run_resumes(tmp_path: Path) -> None:
    write_run(tmp_path)
    journal = Journal(tmp_path, {})
    assert journal.resumed and set(journal.evaluations) == {edits_digest(ONE), edits_digest(TWO)}
    assert (journal.boots, journal.seconds) == (6, 3.0)
    journal.close()


@pytest.mark.parametrize(("outcome", "resumes"), [("fixed", False), ("healthy", False), ("budget", True)])
def test_only_an_unfinished_run_resumes(tmp_path: Path, outcome: str, resumes: bool) -> None:
    write_run(tmp_path)
    journal = Journal(tmp_path, {})
    journal.write("end", {"outcome": outcome})
    journal.close()
    again = Journal(tmp_path, {})
    assert again.resumed is resumes and bool(again.evaluations) is resumes
    again.close()


def test_every_cut_of_the_file_is_readable(tmp_path: Path) -> None:
    write_run(tmp_path / "whole")
    data = (tmp_path / "whole" / "journal.jsonl").read_bytes()
    first = data.index(b"\n")
    counts = []
    for length in range(0, len(data), 7):
        folder = tmp_path / str(length)
        folder.mkdir()
        (folder / "journal.jsonl").write_bytes(data[:length])
        journal = Journal(folder, {})
        assert journal.resumed is (length >= first)
        counts.append(len(journal.evaluations))
        journal.record(evaluation(TWO), 9.0)
        journal.close()
        again = Journal(folder, {})
        assert edits_digest(TWO) in again.evaluations
        again.close()
    assert sorted(set(counts)) == [0, 1, 2]


@pytest.mark.parametrize(
    "line",
    [
        b"null",
        b"[]",
        b'{"kind": 3}',
        b'{"kind": "evaluation"}',
        b"\xff\xfe",
        b'{"kind": "boots"}',
        b"x" * 2000000,
    ],
)
def test_lines_that_are_no_record_are_dropped(tmp_path: Path, line: bytes) -> None:
    write_run(tmp_path)
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(line + b"\n")
    journal = Journal(tmp_path, {})
    assert len(journal.evaluations) == 2
    journal.close()


def test_two_runs_in_one_folder(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {})
    with pytest.raises(InputError, match="another pxos fix works on this tree"):
        Journal(tmp_path, {})
    journal.close()
    Journal(tmp_path, {}).close()


def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    journal = Journal(tmp_path, {})
    os.close(journal._fd)
    journal._fd = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(InputError, match="No space left"):
        journal.record(evaluation(ONE), 1.0)
    journal.close()


def test_a_killed_writer_loses_at_most_its_last_line(tmp_path: Path) -> None:
    """Killed with SIGKILL while it writes as fast as it can; what it announced is there."""
    script = textwrap.dedent(
        f"""
        from pathlib import Path
        from architect.journal import Journal
        from architect.protocols import Edit
        from tests.architect.cases import evaluation, patch
        journal = Journal(Path({str(tmp_path)!r}), {{}})
        for n in range(1_000_000):
            journal.record(evaluation(patch(Edit("a.s", n + 1, (), ("x",)))), 1.0)
            print(n, flush=True)
        """
    )
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) == 200:
            writer.send_signal(signal.SIGKILL)
            break
    last = [int(line) for line in writer.stdout if line.endswith("\n")]
    writer.wait(30)
    writer.stdout.close()
    journal = Journal(tmp_path, {})
    announced = (last[-1] if last else 200) + 1
    assert journal.resumed and announced <= len(journal.evaluations) <= announced + 1
    journal.close()
