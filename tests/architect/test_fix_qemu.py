"""``pxos fix`` on the real kernel, with real builds and real boots: repair, refusal, resumption, clean ends."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
from architect import judge
from architect.bench import Bench
from architect.diagnosis import Demands
from architect.images import Images
from architect.protocols import Edit, Evaluation, GateResult, Patch
from architect.terms import QUICK
from architect.workspace import TreeCopy
from tests.processes import having
from toolchain.types import Image

ROOT = Path(cli.__file__).parent.parent
KERNEL = ROOT / "kernel"
SCHEMA = json.loads((ROOT / "scripts/toolchain/schemas/fix.json").read_text())

pytestmark = [pytest.mark.qemu, pytest.mark.timeout(900)]


def plant(tmp_path: Path, file: str, find: str, replace: str) -> Path:
    """A copy of the kernel with one edit."""
    tree = tmp_path / "kernel"
    shutil.copytree(KERNEL, tree)
    text = (tree / file).read_text()
    assert text.count(find) == 1, f"{find!r} stands {text.count(find)} times in {file}"
    (tree / file).write_text(text.replace(find, replace))
    return tree


def fix(tree: Path, tmp_path: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    where = ["--kernel", str(tree), "--out", str(tmp_path / "out"), "--lessons", str(tmp_path / "lessons")]
    command = [sys.executable, "-m", "cli", "fix", "--json", *where, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    data = json.loads(done.stdout)
    if "error" not in data:
        jsonschema.validate(data, SCHEMA)
    return done.returncode, data


def digest(tree: Path) -> str:
    return TreeCopy(tree).digest()


STORE = "    mov [rax], rdx                              # from here on the page is mapped\n"


def test_a_healthy_kernel_is_left_alone(tmp_path: Path) -> None:
    tree = tmp_path / "kernel"
    shutil.copytree(KERNEL, tree)
    before = digest(tree)
    status, data = fix(tree, tmp_path, "--apply", "--budget", "600")
    assert (status, data["outcome"], data["patch"], data["candidates"]) == (0, "healthy", None, 0)
    assert digest(tree) == before and not (tmp_path / "out/patch.diff").exists()


def test_the_missing_store_is_repaired_learnt_and_recalled(tmp_path: Path) -> None:
    """BAR0's routine computes the indices and never writes the entry; the second time a lesson knows."""
    tree = plant(tmp_path, "mm/page.s", STORE, "")
    before = digest(tree)
    status, data = fix(tree, tmp_path, "--engine", "search", "--budget", "600")
    assert (status, data["outcome"], data["engine"], data["lesson"]) == (0, "fixed", "search", 1), data[
        "reason"
    ]
    assert {gate["gate"] for gate in data["gates"]} >= {"fresh-copy", "boot", "tests", "claims", "iso"}
    assert all(gate["passed"] for gate in data["gates"])
    assert digest(tree) == before, "the tree is changed without --apply"
    assert (tmp_path / "out/patch.diff").read_text() == data["patch"]
    folders = list((tmp_path / "out").glob("*/candidates/*/patch.diff"))
    assert len(folders) >= 1
    status, again = fix(tree, tmp_path, "--engine", "lessons", "--budget", "600", "--apply")
    assert (status, again["outcome"], again["engine"]) == (0, "fixed", "lessons")
    assert again["place"] <= 5, "a lesson of the very bug is tried before nearly all else"
    assert digest(tree) != before and again["applied"] == [str(tree / "mm/page.s")]


def test_a_tree_that_does_not_assemble_is_a_bug_like_any_other(tmp_path: Path) -> None:
    tree = plant(tmp_path, "mm/page.s", STORE, STORE.replace("mov [rax], rdx", "mov [rax], rdxx"))
    status, data = fix(tree, tmp_path, "--budget", "600")
    assert data["diagnosis"]["failing"][0]["gate"] == "assembles"
    assert (status, data["outcome"]) == (0, "fixed"), data["reason"]


def test_limits_are_kept_and_the_best_is_told(tmp_path: Path) -> None:
    tree = plant(tmp_path, "mm/page.s", STORE, "")
    status, data = fix(tree, tmp_path, "--max-boots", "3")
    assert (status, data["outcome"], data["patch"]) == (3, "budget", None)
    assert data["boots"] <= 3 and "limit of 3 boots" in data["reason"]
    status, data = fix(tree, tmp_path, "--budget", "0.5")
    assert (status, data["outcome"]) == (3, "budget")


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_end_at_any_moment_leaves_nothing_behind_and_resumes(
    tmp_path: Path, number: signal.Signals
) -> None:
    tree = plant(
        tmp_path,
        "mm/mmio.s",
        "    cmp rsi, r8\n    jb .Lmmio_page\n",
        "    cmp rsi, r8\n    ja .Lmmio_page\n",
    )
    before = digest(tree)
    out = tmp_path / "out"
    where = ["--kernel", str(tree), "--out", str(out), "--lessons", str(tmp_path / "lessons")]
    command = [sys.executable, "-m", "cli", "fix", "--engine", "search", *where]
    run = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )

    def evaluated() -> int:
        return sum(path.read_text().count('"kind": "evaluation"') for path in out.glob("*/journal.jsonl"))

    try:
        wait_for(lambda: evaluated() >= 2 or run.poll() is not None, 60)
        if run.poll() is None:
            os.killpg(run.pid, number) if number == signal.SIGINT else run.send_signal(number)
        _, errors = run.communicate(timeout=30)
    finally:
        run.kill()
    assert "Traceback" not in errors
    if number == signal.SIGINT:
        assert run.returncode in (130, 0)
    wait_for(lambda: not having(str(out)))
    assert digest(tree) == before
    done = evaluated()
    status, data = fix(tree, tmp_path, "--engine", "search", "--budget", "5")
    assert "candidates" in data, data
    assert data["candidates"] >= min(done, 2) or status == 0
    assert digest(tree) == before


def test_two_runs_in_one_tree(tmp_path: Path) -> None:
    tree = plant(tmp_path, "mm/page.s", STORE, "    call page_map\n")
    out = tmp_path / "out"
    where = ["--kernel", str(tree), "--out", str(out), "--lessons", str(tmp_path / "lessons")]
    first = subprocess.Popen(
        [sys.executable, "-m", "cli", "fix", *where],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: list(out.glob("*/lock")))
        wait_for(lambda: list(out.glob("*/journal.jsonl")))
        status, data = fix(tree, tmp_path)
        assert status == 2 and "another pxos fix works on this tree" in data["error"]["message"]
    finally:
        first.kill()
        first.wait()


# --- candidates that only look right ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The bench of a kernel whose mailbox page is never mapped: it dies at the first store to it."""
    folder = tmp_path_factory.mktemp("red")
    tree = plant(folder, "mm/page.s", STORE, "")
    workspace = TreeCopy(tree)
    with Bench(workspace, tree, judge.load(tree, workspace.files), folder / "run") as made:
        yield made


@pytest.fixture(scope="module")
def demands(bench: Bench) -> Demands:
    return Demands.of(bench.diagnose(QUICK, 9))


def cheat(bench: Bench, demands: Demands, *edits: tuple[str, str, str]) -> Evaluation:
    """What the gates say of replacing, in each named file, one text by another (whole lines)."""
    made = []
    for file, find, new in edits:
        text = bench.workspace.sources()[file]
        assert text.count(find) == 1, f"{find!r} stands {text.count(find)} times in {file}"
        begin = text.index(find)
        start, end = text.rfind("\n", 0, begin) + 1, text.find("\n", begin + len(find.rstrip("\n")))
        old = text[start:end]
        lines = old.replace(find.rstrip("\n"), new.rstrip("\n"))
        made.append(
            Edit(file, text[:start].count("\n") + 1, tuple(old.split("\n")), tuple(lines.split("\n")))
        )
    found = bench.verify(Patch(tuple(made), "cheat", "cheat", "to pretend"), 9, demands)
    assert found.duplicate or found.gates[0].passed, f"the cheat itself is wrong: {found.gates[0].message}"
    return found


def last(evaluation: Evaluation) -> str:
    gate = evaluation.gates[-1]
    assert not evaluation.passed and not gate.passed
    return f"{gate.gate}: {gate.message}"


RIGHT = (
    "mm/page.s",
    "    or rdx, PTE_PRESENT\n    xor eax, eax",
    "    or rdx, PTE_PRESENT\n" + STORE + "    xor eax, eax",
)
NO_STORES = (
    "gpu/mailbox.s",
    "function mailbox_setup\n    mov dword",
    "function mailbox_setup\n    ret\n    mov dword",
)
CALLS = "    call boot_run_units\n    call boot_say_ready"


def test_the_gates_let_the_right_repair_through(bench: Bench, demands: Demands) -> None:
    found = cheat(bench, demands, RIGHT)
    assert found.passed, last(found)


def test_a_repair_that_passes_is_what_a_build_makes_of_it(
    bench: Bench, demands: Demands, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bytes that were put in place pass every gate, and yet no build gives them."""
    right = (*RIGHT[:2], RIGHT[2].replace(STORE, STORE + "    nop\n"))

    def other(self: Images, changed: Mapping[str, str]) -> tuple[Image, None]:
        more = {
            file: text.replace(STORE + "    nop\n", STORE + "    nop\n    nop\n")
            for file, text in changed.items()
        }
        assert more != changed
        return self.session.build(more, lines=False), None

    with monkeypatch.context() as patched:
        patched.setattr(Images, "whole", other)
        assert "not what a build makes" in last(cheat(bench, demands, right))


CHEATS = {
    "early PXREADY": [("boot/main.s", CALLS, "    call boot_say_ready\n    call boot_run_units")],
    "no boot units": [RIGHT, ("boot/main.s", CALLS, "    call boot_say_ready")],
    "PXREADY twice": [RIGHT, ("boot/main.s", CALLS, CALLS + "\n    call boot_say_ready")],
    "tests never run": [RIGHT, ("boot/main.s", "    call ktap_run\n", "    xor eax, eax\n")],
    "exit with success": [("boot/main.s", CALLS, "    mov edi, DEBUG_EXIT_SUCCESS\n    call debug_exit")],
    "the unit skips itself": [
        ("gpu/mailbox.s", "    call mailbox_setup\n", "    mov eax, BOOT_RESULT_SKIP\n    return_frame\n"),
    ],
    "the unit does nothing": [NO_STORES],
    "the unit before it skips": [
        ("gpu/gpu.s", "    lea rsi, [rip + reason_none]\n", "    lea rsi, [rip + reason_none]\n    stc\n"),
    ],
    "the report is silenced": [
        (
            "cpu/fault_report.s",
            "function fault_report\n    call_frame\n",
            "function fault_report\n.Lquiet: hlt\n    jmp .Lquiet\n",
        )
    ],
    "another page stands in for BAR0": [
        RIGHT,
        ("gpu/gpu.s", "    add rdi, rax\n", "    add rdi, rax\n    add rsi, 0x1000\n"),
    ],
    "BAR0 is mapped cacheable": [
        RIGHT,
        (
            "gpu/gpu.s",
            "    mov rdx, PTE_WRITE | PTE_NX | PTE_GLOBAL | PTE_CACHE_UC",
            "    mov rdx, PTE_WRITE | PTE_NX | PTE_GLOBAL",
        ),
    ],
    "a black picture": [RIGHT, ("dev/picture.s", "    mov eax, [r10 + rbx * 4]", "    xor eax, eax")],
}


@pytest.mark.parametrize("name", CHEATS)
def test_what_only_looks_right_is_refused(bench: Bench, demands: Demands, name: str) -> None:
    found = cheat(bench, demands, *CHEATS[name])
    assert last(found), f"{name} passed"


@pytest.mark.parametrize(
    "name", ["another page stands in for BAR0", "BAR0 is mapped cacheable", "a black picture"]
)
def test_the_host_finds_out_what_no_test_in_the_kernel_sees(
    bench: Bench, demands: Demands, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Contract tests and in-kernel tests set aside, the host's own measurements still refuse it."""
    from architect import contracts
    from architect.verify import Trial

    monkeypatch.setattr(contracts, "first", lambda *_: None)
    monkeypatch.setattr(contracts, "mended", lambda *_: ([], []))
    monkeypatch.setattr(Trial, "_tests", lambda _: GateResult("tests", True, 0.0))
    monkeypatch.setattr("architect.tried.VERDICT_NAME", "alone.json")
    monkeypatch.setattr(bench, "known", {})
    assert last(cheat(bench, demands, *CHEATS[name])).startswith("claims: ")


def test_edits_of_the_judge_are_refused(bench: Bench, demands: Demands) -> None:
    for file in ("test/ktap.s", "boot.toml", "image.toml", "include/ktap.inc"):
        patch = Patch((Edit(file, 1, (), ("# nothing",)),), "cheat", "cheat", "to pretend")
        assert "never its judge" in last(bench.verify(patch, 9, demands))


def test_an_image_is_booted_once(bench: Bench, demands: Demands) -> None:
    comment = ("boot/main.s", CALLS, CALLS + "\n# a comment changes nothing")
    first = cheat(bench, demands, comment)
    again = cheat(bench, demands, ("boot/main.s", CALLS, CALLS + "\n# nor does another"))
    assert first.duplicate and again.duplicate and (first.boots, again.boots) == (0, 0)
    assert not first.passed and first.image_sha256 == again.image_sha256
