"""``pxos fix`` with a scripted model, from the command line: real builds, real boots, a real HTTP server.

There is no language model here: what the server says is written down. These tests show that a right answer becomes a
proved repair, that a wrong one does not, and how each failure of an endpoint ends.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
from architect.workspace import TreeCopy
from tests.architect.model_server import (
    ModelServer,
    Request,
    Step,
    answer,
    cut,
    endless,
    silent,
    status,
    when,
)
from tests.processes import having

ROOT = Path(cli.__file__).parent.parent
KERNEL = ROOT / "kernel"
SCHEMA = json.loads((ROOT / "scripts/toolchain/schemas/fix.json").read_text())
KEY = "sk-scripted-0123456789abcdef"

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(300)]

STORE = "    mov [rax], rdx                              # from here on the page is mapped\n"


def block(file: str, search: str, new: str) -> str:
    return f"{file}\n<<<<<<< SEARCH\n{search}\n=======\n{new}\n>>>>>>> REPLACE\n"


BEFORE = "    or rdx, PTE_PRESENT\n    xor eax, eax"
WRONG = "The page must be writable.\n\n" + block(
    "mm/page.s", BEFORE, BEFORE.replace("PRESENT", "PRESENT | PTE_WRITE")
)
MALFORMED = "mm/page.s\n<<<<<<< SEARCH\n    or rdx, PTE_PRESENT\n"
RIGHT = "The entry is computed and never stored.\n\n" + block(
    "kernel/mm/page.s",
    "or rdx, PTE_PRESENT\nxor eax, eax",
    "or rdx, PTE_PRESENT\nmov [rax], rdx\nxor eax, eax",
)


def planted(tmp_path: Path, *edits: tuple[str, str, str]) -> Path:
    tree = tmp_path / "kernel"
    shutil.copytree(KERNEL, tree)
    for file, find, new in edits or (("mm/page.s", STORE, ""),):
        text = (tree / file).read_text()
        assert text.count(find) == 1, f"{find!r} stands {text.count(find)} times in {file}"
        (tree / file).write_text(text.replace(find, new))
    return tree


def command(tree: Path, tmp_path: Path, url: str, *words: str) -> list[str]:
    where = ["--kernel", str(tree), "--out", str(tmp_path / "out"), "--lessons", str(tmp_path / "lessons")]
    return [
        sys.executable,
        "-m",
        "cli",
        "fix",
        "--json",
        *where,
        "--model-url",
        url,
        "--model-context",
        "16000",
        *words,
    ]


def environment(tmp_path: Path) -> dict[str, str]:
    return {
        **os.environ,
        "PXOS_MODEL_KEY": KEY,
        "XDG_CONFIG_HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path),
    }


def fix(tree: Path, tmp_path: Path, url: str, *words: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        command(tree, tmp_path, url, *words),
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
        env=environment(tmp_path),
    )
    assert "Traceback" not in done.stderr, done.stderr
    data = json.loads(done.stdout)
    if "error" not in data:
        jsonschema.validate(data, SCHEMA)
    for path in (tmp_path / "out").rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), f"the key is in {path}"
    assert KEY not in done.stdout + done.stderr
    if done.returncode not in (0, 2) or "error" in data:
        print(done.stderr, json.dumps(data, indent=1)[:4000])  # shown where the test then fails
    return done.returncode, data, done.stderr


def report(tmp_path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((tmp_path / "out/report.json").read_text())
    return data


def test_a_wrong_answer_a_malformed_one_then_the_right_one(tmp_path: Path) -> None:
    tree = planted(tmp_path)
    before = TreeCopy(tree).digest()
    with ModelServer([WRONG, MALFORMED, RIGHT], strict=True) as server:
        status_, data, _ = fix(tree, tmp_path, server.url, "--engine", "llm")
    assert (status_, data["outcome"], data["engine"], data["ended"]) == (0, "fixed", "llm", None), data[
        "reason"
    ]
    assert {gate["gate"] for gate in data["gates"]} >= {"fresh-copy", "boot", "tests", "claims", "iso"}
    assert "+    mov [rax], rdx" in data["patch"] and data["patch"].count("\n+") == 2
    assert (data["tried"], len(server.requests)) == ({"llm": 2}, 3)
    assert (
        'the gate "contract" refused it' in server.requests[1].last and "not whole" in server.requests[2].last
    )
    model = data["model"]
    assert data["tokens"] == model["prompt_tokens"] + model["completion_tokens"] > 3000
    assert model["failure"] is None and data["lesson"] == 1 and TreeCopy(tree).digest() == before
    kinds = [json.loads(line)["kind"] for line in Path(data["trajectory"]).read_text().splitlines()]
    assert kinds.count("request") == kinds.count("reply") == 3


@pytest.mark.slow
def test_edits_of_several_files_are_proved_together(tmp_path: Path) -> None:
    """Two bugs in two files: the half that is right is refused alone, both together pass."""
    tree = planted(
        tmp_path,
        ("mm/page.s", STORE, ""),
        ("include/pci.inc", ".set ECAM_FUNCTION_SHIFT, 12", ".set ECAM_FUNCTION_SHIFT, 13"),
    )
    shifted = block("include/pci.inc", ".set ECAM_FUNCTION_SHIFT, 13", ".set ECAM_FUNCTION_SHIFT, 12")
    with ModelServer([RIGHT, RIGHT + "\n" + shifted], strict=True) as server:
        status_, data, _ = fix(tree, tmp_path, server.url, "--engine", "llm")
    assert (status_, data["outcome"], len(server.requests)) == (0, "fixed", 2), data["reason"]
    assert "a/mm/page.s" in data["patch"] and "a/include/pci.inc" in data["patch"]


@pytest.mark.slow
def test_an_endpoint_that_fails_leaves_the_repair_to_the_search(tmp_path: Path) -> None:
    tree = planted(tmp_path)
    with ModelServer([WRONG, status(401, "no such key")]) as server:
        status_, data, errors = fix(tree, tmp_path, server.url, "--engine", "auto")
    assert (status_, data["outcome"], data["engine"]) == (0, "fixed", "search"), data["reason"]
    assert data["model"]["failure"]["kind"] == "provider" and "401" in data["model"]["failure"]["message"]
    assert data["tried"]["llm"] == 1 and len(server.requests) == 2
    assert "the model is not asked further" in errors


ENDS: dict[str, tuple[list[Step | str], int, str, tuple[str, ...]]] = {
    # what the endpoint does, exit status, what ended the run, further options
    "refused key": ([status(401, "no")], 2, "provider", ()),
    "a failure after an answer": ([WRONG, status(500)], 2, "provider", ()),
    "no such model": ([status(404, "model not found")], 2, "provider", ()),
    "too many requests for good": ([status(429)], 2, "provider", ("--budget", "60")),
    "a refusal": ([answer("", refusal="I do not edit kernels")], 2, "refused", ()),
    "never in form": (["Let us talk about it."], 1, "format", ()),
    "tokens": ([WRONG], 3, "limit", ("--max-tokens-total", "25000")),
    "money": ([WRONG], 3, "limit", ("--max-money", "0.01", "--model-price", "1,2")),
    "only wrong answers": ([WRONG], 1, "format", ()),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", ENDS)
def test_each_end_has_its_status_and_its_reason(tmp_path: Path, how: str) -> None:
    """Not one of them is a success: tools exist that end with status 0 here."""
    script, expected, ended, words = ENDS[how]
    tree = planted(tmp_path)
    with ModelServer(script) as server:
        code, data, _ = fix(tree, tmp_path, server.url, "--engine", "llm", *words)
    told = report(tmp_path)
    assert code == expected and told["ended"] == ended and told["patch"] is None
    assert told["model"]["failure"]["kind"] == ended
    if expected == 2:
        assert data["error"]["stage"] == "model" and data["error"]["log"].endswith("report.md")
        assert len(server.requests) <= 10
    if ended == "limit":
        assert data["tokens"] <= 25000 and (data["money"] is None or float(data["money"]) <= 0.01)


def test_a_wrong_address_is_one_line_with_the_mend(tmp_path: Path) -> None:
    tree = planted(tmp_path)
    code, data, errors = fix(tree, tmp_path, "http://127.0.0.1:1/v1", "--engine", "llm", "--model", "any")
    assert code == 2 and "--model-url" in data["error"]["message"]
    assert errors.strip().splitlines()[-1] == data["error"]["message"]


def test_an_unknown_price_under_a_money_budget(tmp_path: Path) -> None:
    tree = planted(tmp_path)
    with ModelServer([RIGHT]) as server:
        code, data, _ = fix(tree, tmp_path, server.url, "--engine", "llm", "--max-money", "1")
    assert code == 2 and "--model-price" in data["error"]["message"] and not server.requests


def test_no_model_is_configured(tmp_path: Path) -> None:
    tree = planted(tmp_path)
    words = command(tree, tmp_path, "", "--engine", "llm")
    done = subprocess.run(
        words, capture_output=True, text=True, cwd=ROOT, check=False, env=environment(tmp_path)
    )
    assert done.returncode == 2 and "PXOS_MODEL_URL" in json.loads(done.stdout)["error"]["message"]


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(silent(head=False), id="before it begins", marks=pytest.mark.slow),
        pytest.param(silent(after="The cause"), id="in the midst"),
        pytest.param(endless(), id="without end", marks=pytest.mark.slow),
    ],
)
def test_ctrl_c_while_the_model_answers(tmp_path: Path, step: Step) -> None:
    """At once, with 130, the connection closed, and no process left."""
    tree = planted(tmp_path)
    run: subprocess.Popen[str]

    def interrupt(request: Request) -> Step:
        os.killpg(run.pid, signal.SIGINT)
        return step

    with ModelServer([when(interrupt)]) as server:
        run = subprocess.Popen(
            command(tree, tmp_path, server.url, "--engine", "llm"),
            cwd=ROOT,
            env=environment(tmp_path),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        _, errors = run.communicate(timeout=120)
        assert server.hung_up.wait(20), "the connection stays open"
    assert run.returncode == 130 and "Traceback" not in errors
    assert having(str(tmp_path)) == set()


@pytest.mark.slow
def test_an_answer_cut_in_the_midst_is_asked_again(tmp_path: Path) -> None:
    tree = planted(tmp_path)
    with ModelServer([cut(RIGHT[:60]), RIGHT], strict=True) as server:
        code, data, _ = fix(tree, tmp_path, server.url, "--engine", "llm")
    assert (code, data["outcome"]) == (0, "fixed") and any(
        "broke off" in note for note in data["model"]["notes"]
    )


def test_a_foreign_tree_is_repaired_and_its_judge_left_alone(tmp_path: Path) -> None:
    """nasm, a boot sector: first the model tries to weaken what judges it, then it mends the page directory."""
    tree = tmp_path / "flat"
    shutil.copytree(ROOT / "tests/fixtures/kernels/nasm-flat", tree)
    sound = "        mov eax, PAGE_PRESENT | PAGE_WRITE | PAGE_LARGE"
    broken = sound.removesuffix(" | PAGE_LARGE")
    text = (tree / "long.asm").read_text()
    assert text.count(sound + "\n") == 1
    (tree / "long.asm").write_text(text.replace(sound, broken))
    judge = (tree / "pxos.toml").read_text()
    cheat = block("pxos.toml", 'forbid = "disk error"', 'forbid = "nothing"')
    with ModelServer([cheat, block("long.asm", broken, sound)], strict=True) as server:
        code, data, _ = fix(tree, tmp_path, server.url, "--engine", "llm", "--apply")
    assert (code, data["outcome"], data["engine"]) == (0, "fixed", "llm"), data["reason"]
    assert "pxos.toml is no file that may be edited" in server.requests[1].last
    assert (tree / "long.asm").read_text() == text and (tree / "pxos.toml").read_text() == judge
