"""``pxos fix`` and ``pxos lessons`` from the command line: statuses, JSON by its schema, one line per error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
from architect.lessons import SqliteLessons
from tests.architect.cases import SIGNATURE, make_tree
from tests.architect.test_lessons import EDIT

SCHEMAS = Path(cli.__file__).parent / "toolchain" / "schemas"


def pxos(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Status, JSON, standard error."""
    status = cli.main([*arguments, "--json"])
    seen = capsys.readouterr()
    assert "Traceback" not in seen.err
    data = json.loads(seen.out)
    if "error" not in data:
        jsonschema.validate(data, json.loads((SCHEMAS / f"{arguments[0]}.json").read_text()))
    return status, data, seen.err


@pytest.fixture
def store(tmp_path: Path) -> list[str]:
    lessons = SqliteLessons(tmp_path / "lessons")
    lessons.record(SIGNATURE, "the page-table entry is never written", EDIT, {"boots": 3})
    return ["--lessons", str(tmp_path / "lessons")]


def test_list_show_search(capsys: pytest.CaptureFixture[str], store: list[str]) -> None:
    status, data, _ = pxos(capsys, "lessons", "list", *store)
    assert status == 0 and [row["cause"] for row in data["lessons"]] == [
        "the page-table entry is never written"
    ]
    assert pxos(capsys, "lessons", "show", "1", *store)[1]["lessons"][0]["edit"] == EDIT
    assert len(pxos(capsys, "lessons", "search", "#PF", "entry", *store)[1]["lessons"]) == 1
    assert pxos(capsys, "lessons", "search", "nonsense", *store)[1]["lessons"] == []


def test_a_lesson_has_one_line_in_the_list(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    words = [
        "--cause",
        f"first\n   7  helped 9 {'x' * 200}",
        "--remove",
        "shr rax, 30",
        "--insert",
        "shr rax, 21",
    ]
    assert pxos(capsys, "lessons", "add", *words, "--lessons", str(tmp_path))[0] == 0
    cli.main(["lessons", "list", "--lessons", str(tmp_path)])
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 1 and "guards 0  first 7 helped 9 xxx" in shown[0] and shown[0].endswith("x…")


def test_export_and_import(capsys: pytest.CaptureFixture[str], store: list[str], tmp_path: Path) -> None:
    file = str(tmp_path / "kept.toml")
    assert pxos(capsys, "lessons", "export", file, *store)[0] == 0
    other = ["--lessons", str(tmp_path / "other")]
    assert pxos(capsys, "lessons", "import", file, *other)[0] == 0
    first, second = (SqliteLessons(tmp_path / name).all() for name in ("lessons", "other"))
    assert first == second
    cli.main(["lessons", "export", *other])
    assert capsys.readouterr().out == Path(file).read_text()


def test_teach_by_hand(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    where = ["--lessons", str(tmp_path)]
    words = [
        "--cause",
        "shift of the wrong level",
        "--vector",
        "14",
        "--rule",
        "unmapped",
        "--walk-level",
        "PD",
    ]
    edit = ["--before", "mov rax, rdi", "--remove", "shr rax, 30", "--insert", "shr rax, 21"]
    status, data, _ = pxos(capsys, "lessons", "add", *words, *edit, *where)
    assert status == 0
    step = data["lessons"][0]["edit"]["steps"][0]
    assert step["remove"] == ["shr {r1:64=rax}, {c1=30}"] and step["insert"] == ["shr {r1:64=rax}, {c2=21}"]
    assert data["lessons"][0]["signature"]["walk_level"] == "PD"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lessons", "show", "9"], "no lesson 9"),
        (["lessons", "add", "--cause", "x"], "--insert, --remove or both"),
        (["lessons", "add", "--cause", "x", "--insert", "nop", "--vector", "900"], "0 to 255"),
        (["lessons", "add", "--cause", "x" * 3000, "--insert", "nop"], "at most 2000"),
        (["lessons", "import", "/nowhere.toml"], "cannot read"),
        (["lessons", "export", "/proc/none/x.toml"], "cannot write"),
        (["lessons"], "ACTION"),
        (["fix", "--budget", "0"], "seconds above 0"),
        (["fix", "--budget", "nan"], "seconds above 0"),
        (["fix", "--max-boots", "0"], "above 0"),
        (["fix", "--engine", "magic"], "invalid choice"),
        (["fix", "--kernel", "/nowhere"], "no such folder"),
        (["fix", "--kernel", "tests/fixtures/logs"], "not a kernel tree"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    where = ["--lessons", str(tmp_path / "lessons")] if len(arguments) > 1 else []
    status, data, err = pxos(capsys, *arguments, *where)
    assert status == 2 and message in data["error"]["message"]
    assert len(err.splitlines()) == 1


def test_a_damaged_store_is_told_before_the_work(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "lessons.db").write_bytes(b"garbage" * 1000)
    tree = make_tree(tmp_path / "kernel")
    out = tmp_path / "out"
    status, data, _ = pxos(
        capsys, "fix", "--kernel", str(tree), "--lessons", str(tmp_path), "--out", str(out)
    )
    assert status == 2 and "not a readable lesson store" in data["error"]["message"]
    assert not out.exists()


def test_a_bad_baseline_and_a_bad_revision(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tree = [
        "--kernel",
        str(make_tree(tmp_path / "kernel")),
        "--lessons",
        str(tmp_path),
        "--out",
        str(tmp_path / "o"),
    ]
    assert "cannot read" in pxos(capsys, "fix", *tree, "--baseline", "/no")[1]["error"]["message"]
    assert "--good" in pxos(capsys, "fix", *tree, "--good", "no-such-revision")[1]["error"]["message"]


def test_an_unwritable_out_folder(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    tree = make_tree(tmp_path / "kernel")
    arguments = ["--kernel", str(tree), "--lessons", str(tmp_path), "--out", "/proc/none"]
    status, data, _ = pxos(capsys, "fix", *arguments)
    assert status == 2 and "cannot write" in data["error"]["message"]
