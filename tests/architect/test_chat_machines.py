"""The tools and commands of the chat that boot machines: what they find, what they refuse, what they leave behind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from architect import corpus
from architect.chat import intents, repair
from architect.tools import subcommand
from architect.tools.base import Answer
from architect.tools.desk import Desk
from architect.tools.table import call
from tests.architect.chatting import KERNEL, ROOT, Chat, chat, copied
from toolchain.errors import GuestFault, InputError, Timeout

pytestmark = pytest.mark.qemu


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    folder = tmp_path_factory.mktemp("desk")
    with Desk(KERNEL, folder, lessons=folder / "lessons") as made:
        yield made


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    with chat(tmp_path_factory.mktemp("chat")) as made:
        yield made


def ask(desk: Desk, name: str, **arguments: Any) -> Answer:
    return call(name, desk, json.dumps(arguments))


def test_a_boot_and_its_log(desk: Desk) -> None:
    answer = ask(desk, "boot", cmdline="test", smp=2)
    assert answer.ok and answer.data["outcome"] == "tests-passed" and "0 failed" in answer.text
    assert "PXREADY" in ask(desk, "read_serial", text="pxready").text
    assert not ask(desk, "fault_report").ok


def test_the_live_kernel_is_asked_again_and_again(desk: Desk) -> None:
    memory = ask(desk, "ask_kernel", command="mem")
    assert memory.ok and memory.data["total_kib"] > 100_000
    assert not ask(desk, "ask_kernel", command="nonsense").ok
    first = desk.live()
    assert ask(desk, "ask_kernel", command="units").data["units"] and desk.live() is first


def test_a_live_kernel_that_dies_is_said_and_booted_anew(desk: Desk) -> None:
    answer = ask(desk, "ask_kernel", command="fault ud")
    assert not answer.ok and "PXFAULT v1 begin" in answer.text and "\x1b" not in answer.text
    assert ask(desk, "ask_kernel", command="mem").ok


def test_what_the_shell_cannot_take_is_refused(desk: Desk) -> None:
    kernel = desk.live()
    for line in ("", "a\nb", "\x03", "x" * 300, "é"):
        with pytest.raises(InputError):
            kernel.ask(line)
    with pytest.raises(Timeout, match="no prompt within"):
        kernel.ask("test", seconds=0.01)
    assert not kernel.alive()
    with pytest.raises(InputError, match="has ended"):
        kernel.ask("mem")
    with pytest.raises(GuestFault):
        desk.live().ask("poweroff")


def test_page_walks_of_the_living_and_the_dead(desk: Desk, tmp_path: Path) -> None:
    live = ask(desk, "walk_page_tables", address="page_map", access="fetch")
    assert live.ok and live.data["mapped"] and "the live kernel" in live.text
    assert not ask(desk, "walk_page_tables", address="0x10").ok
    assert "no machine to look at" in ask(desk, "walk_page_tables", address="0x10", where="last").text
    with chat(tmp_path, _broken_boot(tmp_path)) as made:
        said = made.say("/boot")
        assert not made.talk.ok and "/fix looks for a repair" in said
        assert "the machine as the boot that ended as" in made.say("/walk 0xfd000000")
        assert "from the boot that ended as" in made.say("/fault")


def _broken_boot(folder: Path) -> Path:
    """A kernel that faults in its boot: the tables' root is taken from nowhere."""
    tree = copied(folder)
    path = tree / "mm/space.s"
    text = path.read_text()
    assert text.count("    mov cr3, rax\n") >= 1
    path.write_text(text.replace("    mov cr3, rax\n", "    mov rax, [0x10]\n    mov cr3, rax\n", 1))
    return tree


def test_gdb_looks_and_does_no_more(desk: Desk) -> None:
    answer = ask(
        desk, "gdb", commands=["break page_map", "continue", "bt", "info registers rip", "x/2i $rip"]
    )
    assert answer.ok and "Breakpoint 1, page_map ()" in answer.text and "boot_main" in answer.text
    slow = ask(desk, "gdb", commands=["break page_map if 0", "continue"], seconds=2)
    assert not slow.ok


HOSTILE = [
    "shell id", "!id", "python print(1)", "source /etc/passwd", "pipe info registers | sh", "| bt | sh",
    "dump memory /tmp/x 0 1", "restore /etc/passwd", "define x", "set logging on", 'print $_shell("id")',
    'print $_gdb_setting("history")', 'call system("id")', "p system", "target remote :1",
    "file /etc/passwd", "add-symbol-file x", "generate-core-file", "info auxv", "info proc", "maint print",
    "save breakpoints x", "continue; shell id", "x/s 0\nshell id", 'eval "shell id"', "complete shell",
    "list /etc/passwd:1", 'break x if $_shell("id")', 'print "a"', "run", "kill", "quit", "attach 1",
    "compile code", 'printf "%s", 1', "with print pretty -- shell id", "tui enable", "macro expand",
    "info line 'x'",
]  # fmt: skip


@pytest.mark.parametrize("command", HOSTILE)
def test_gdb_commands_that_reach_the_host_are_refused(desk: Desk, command: str) -> None:
    from architect.tools import debugger

    if command == "p system":  # a name: gdb looks for it in the guest's symbols, which have none
        debugger.check(command)
        return
    with pytest.raises(InputError, match="not among the commands"):
        debugger.check(command)


def test_a_routine_runs_alone(desk: Desk) -> None:
    answer = ask(
        desk, "run_routine", routine="page_map", registers={"rdi": "0x1001", "rsi": "0x2000", "rdx": "3"}
    )
    assert answer.ok and answer.data["flags"]["cf"] and answer.data["registers"]["rax"] == "0x1"
    for wrong in ({"routine": "nothing"}, {"routine": "page_map", "registers": {"rsp": "0"}},
                  {"routine": "page_map", "registers": {"rdi": "zero"}},
                  {"routine": "page_map", "read": [{"address": "0x10", "size": 8}]}):  # fmt: skip
        assert not ask(desk, "run_routine", **wrong).ok
    assert ask(desk, "run_routine", routine="boot_main", limit=2000).data["end"] != "returned"


def test_contracts_name_the_promise_that_is_broken(tmp_path: Path) -> None:
    with chat(tmp_path, copied(tmp_path, broken=True)) as made:
        said = made.say("/test contracts mmio_map")
        assert not made.talk.ok and said.startswith("mmio_map: ")


@pytest.mark.timeout(900)
def test_the_seeds_own_prompt_repairs_todays_routine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The routine has another name today; the loop finds the fault, shows the diff, and touches nothing."""
    monkeypatch.setattr(repair, "BUDGET_SECONDS", 800.0)
    tree = tmp_path / "kernel"
    corpus.plant(corpus.read(ROOT / "tests/bugs/seed-bar0-unmapped.toml"), KERNEL, tree)
    before = snapshot(tree)
    with chat(tmp_path, tree) as made:
        assert "#PF" in made.say("/boot") and not made.talk.ok
        said = made.say("Fix the map_mmio_page function based on the failure report")
        assert "No routine is called map_mmio_page; in this tree that is mmio_map (mm/mmio.s:" in said
        assert "The last failure report (the boot that ended as fault): #PF" in said
        assert (
            "fixed: " in said
            and made.talk.ok
            and "The fault was not in mmio_map itself but at mm/page.s:" in said
        )
        diff = made.say("/diff")
        assert diff.startswith("--- a/mm/page.s") and snapshot(tree) == before
        assert "lesson" in made.say("/lessons")
        made.say("/apply")  # proved by the loop: not asked again
        assert "ready after" in made.say("/boot") and snapshot(tree) != before
        made.say("/undo")
    assert snapshot(tree) == before


def snapshot(tree: Path) -> dict[str, bytes]:
    """Every file of a tree."""
    return {str(p.relative_to(tree)): p.read_bytes() for p in sorted(tree.rglob("*")) if p.is_file()}


def test_what_does_not_pass_is_not_applied(tmp_path: Path) -> None:
    tree = copied(tmp_path)
    before = (tree / "mm/mmio.s").read_text()
    with chat(tmp_path, tree) as made:
        text = before.replace("    call mmio_check\n", "    nop\n", 1)
        made.talk.desk.propose({"mm/mmio.s": text})
        said = made.say("/apply")
        assert "FAIL" in said and "it is not applied" in said and not made.talk.ok
    assert (tree / "mm/mmio.s").read_text() == before


def test_a_suite_is_made_and_runs_and_can_fail(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        said = made.say("/suite mm/mmio.s")
        assert " passed" in said and "planted changes" in said and made.talk.ok
    suite = next((tmp_path / "out/suites").glob("*.py"))
    tree = copied(tmp_path, broken=True)
    words = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        "/dev/null",
        "--rootdir",
        str(tmp_path),
        str(suite),
    ]
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, *words], env={**subcommand.environment(), "PXOS_KERNEL": str(tree)}, capture_output=True,
        text=True, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1 and "failed" in done.stdout


def test_a_live_question_and_a_boot_by_words(here: Chat) -> None:
    assert '"total_kib"' in here.say("how much memory is there?")
    assert "ready after" in here.say("does it boot?")
    assert "0xfd000000" in here.say("is 0xfd000000 mapped?")
    assert "instructions to ready" in here.say('/tool measure {"what": "instructions"}')


def test_saved_logs_are_read(here: Chat, tmp_path: Path) -> None:
    with chat(tmp_path, _broken_boot(tmp_path)) as made:
        made.say("/boot")
        folder = made.talk.desk.out / "boot"
        said = made.say(f"/fault {folder}")
        assert "from the logs" in said


def test_a_child_ends_at_its_deadline_and_inherits_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PXOS_MODEL_KEY", "secret")
    done = subcommand.run(["/usr/bin/env"], 10.0)
    assert done.status == 0 and "secret" not in done.output and "PATH=" in done.output
    with pytest.raises(Timeout, match="did not end within"):
        subcommand.run(["/bin/sh", "-c", "sleep 60"], 0.5)


# --- somebody else's kernel --------------------------------------------------------------------------------


@pytest.fixture
def stranger(tmp_path: Path) -> Iterator[Chat]:
    import io
    import shutil

    from architect.chat.session import Session
    from architect.chat.talk import Talk
    from architect.chat.view import View
    from architect.tools.foreign_desk import ForeignDesk
    from toolchain.command import Ui

    tree = tmp_path / "nasm"
    shutil.copytree(ROOT / "tests/fixtures/kernels/nasm-flat", tree)
    stream = io.StringIO()
    with ForeignDesk(tree, tmp_path / "out", lessons=tmp_path / "lessons") as desk:
        ui = Ui(io.StringIO(), quiet=True)
        yield Chat(Talk(desk, View(stream), Session("test", str(tree)), ui), stream)


def test_a_foreign_kernel_is_built_booted_and_judged(stranger: Chat) -> None:
    assert "ready after" in stranger.say("/boot")
    assert "sum_squares = 0x" in stranger.say("/explain sum_squares")
    assert "main.asm:" in stranger.say("where is the sum of the squares?")
    assert "every gate passes" in stranger.say("/test gates")
    edit = [{"file": "main.asm", "search": "sum_squares:", "replace": "sum_squares:\n        xor ecx, ecx"}]
    assert "+        xor ecx, ecx" in stranger.say(f"/tool propose_edit {json.dumps({'edits': edit})}")
    said = stranger.say("/apply")
    assert "FAIL  boot" in said and "it is not applied" in said and not stranger.talk.ok
    assert "xor ecx, ecx" not in (stranger.talk.desk.tree / "main.asm").read_text()


ONLY_OURS = [
    "/kernel mem", "/walk 0x1000", "/test contracts", "/suite sum_squares", "/boot smp=2",
    '/tool gdb {"commands": ["bt"]}',
    '/tool run_routine {"routine": "sum_squares"}', '/tool measure {"what": "instructions"}',
]  # fmt: skip


@pytest.mark.parametrize(
    "question",
    [
        "Optimize the mailbox protocol for <500ns latency",
        "how long does the boot take?",
        "write a WGSL shader",
    ],
)
def test_what_is_measured_of_ours_is_no_answer_about_another(stranger: Chat, question: str) -> None:
    assert intents.of(stranger.talk, question) is None


def test_a_test_of_another_kernel_is_its_gates(stranger: Chat) -> None:
    assert "every gate passes" in stranger.say("/test")
    assert "/test gates" in stranger.say("/test kernel") and not stranger.talk.ok


@pytest.mark.parametrize("line", ONLY_OURS)
def test_what_only_our_kernel_has_is_refused_there(stranger: Chat, line: str) -> None:
    said = stranger.say(line)
    assert not stranger.talk.ok and said.count("\n") == 1 and "pxos" in said.lower()
