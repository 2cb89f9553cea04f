"""``pxos check`` from the command line: statuses, JSON by its schema, one line per error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
from tests.contract.planting import TREE, plant

SCHEMA = json.loads((Path(cli.__file__).parent / "toolchain/schemas/check.json").read_text())


def check(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any], str]:
    """Status, JSON, standard error."""
    status = cli.main(["check", "-q", "--json", *arguments])
    seen = capsys.readouterr()
    assert "Traceback" not in seen.err
    data: dict[str, Any] = json.loads(seen.out)
    if "error" not in data:
        jsonschema.validate(data, SCHEMA)
    return status, data, seen.err


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the kernel that may be spoilt."""
    return Path(shutil.copytree(TREE, tmp_path / "kernel"))


@pytest.mark.long
def test_a_sound_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    status, data, errors = check(capsys, "--kernel", str(TREE))
    assert (status, data["findings"], errors) == (0, [], "")
    assert data["routines"] > 200 and data["models"] > 30


@pytest.mark.long
def test_findings_have_their_place_and_what_shows_them(
    capsys: pytest.CaptureFixture[str], tree: Path
) -> None:
    for bug in (
        plant("mm/page_change.s", "page_unmap", ("invlpg [rdi]", "")),
        plant("boot/entry32.s", "", ("0x00cf92000000ffff", "0x004f92000000ffff")),
    ):
        (tree / bug.file).write_text(bug.text())
    status, data, _ = check(capsys, "--kernel", str(tree))
    assert status == 1
    rows = {(row["rule"], row["routine"]): row for row in data["findings"]}
    promise = rows["contract", "page_unmap"]
    assert promise["file"] == "mm/page_change.s" and promise["line"] > 1
    assert "invalidate" in promise["message"] and promise["call"]["seed"] > 0
    assert rows["descriptor", "boot_start"]["file"] == "boot/entry32.s"
    assert cli.main(["check", "-q", "--kernel", str(tree)]) == 1
    text = capsys.readouterr().out
    assert "mm/page_change.s:" in text and "rdi=0x" in text and "findings" in text


def test_what_does_not_assemble_is_no_finding(capsys: pytest.CaptureFixture[str], tree: Path) -> None:
    with (tree / "mm/page.s").open("a") as source:
        source.write("    mov rax, [\n")
    status, data, errors = check(capsys, "--kernel", str(tree))
    assert status == 2
    assert data["error"]["message"].startswith("mm/page.s:")
    assert errors.startswith("mm/page.s:")


@pytest.mark.parametrize("arguments", [["--kernel", "/no/such/tree"], ["--seeds", "0"], ["--seeds", "many"]])
def test_what_cannot_be_carried_out(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    status, data, errors = check(capsys, *arguments)
    assert status == 2 and data["error"]["message"]
    assert len(errors.strip().splitlines()) == 1


def test_a_folder_that_is_no_tree(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    status, _, errors = check(capsys, "--kernel", str(tmp_path))
    assert status == 2 and "image.toml" in errors
