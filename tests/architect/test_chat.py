"""The chat without a model: questions, commands, what it keeps, what it refuses. No machine is booted here."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from architect.chat import complete, intents, session, speed
from architect.chat.commands import COMMANDS
from architect.chat.index import Index
from architect.chat.names import nearest
from architect.chat.pieces import pieces
from architect.chat.piped import converse, lines_of
from architect.chat.talk import LINE_MAX
from architect.chat.view import ColourView, View, clean, highlight
from tests.architect.chatting import ROOT, Chat, chat, proposed
from toolchain.errors import InputError


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chat]:
    with chat(tmp_path_factory.mktemp("chat")) as made:
        yield made


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


QUESTIONS = [
    ("where is CR3 loaded?", ["kernel/mm/space.s", "mov cr3, rax"]),
    ("how is a lesson taught by hand?", ["CONTRIBUTING.md"]),
    ("what happens on a double fault?", ["kernel/"]),
    ("deadline scheduler admission", ["kernel/sched/"]),
    ("GPU memory allocator", ["shaders/mailbox_runtime.wgsl", "allocate"]),
    ("exit status of pxos fix", ["ARCHITECTURE.md"]),
]


@pytest.mark.parametrize(("question", "places"), QUESTIONS)
def test_a_question_is_answered_with_places_and_says_that_no_model_is_there(
    here: Chat, question: str, places: list[str]
) -> None:
    said = here.say(question)
    assert said.startswith("No model is configured") and here.talk.ok
    assert all(place in said for place in places), said
    for line in said.splitlines():  # every place is one: file and line exist
        file, mark, rest = line.partition(":")
        if mark and rest[:1].isdigit() and not line.startswith(" "):
            number = int(rest.split()[0])
            assert 0 < number <= (ROOT / file).read_text().count("\n") + 1, line


@pytest.mark.long
def test_a_routine_that_is_named_is_explained_from_the_sources(here: Chat) -> None:
    said = here.say("what does mmio_map do?")
    assert "mmio_map = 0x" in said and "called by:" in said and "# In:       rdi = pa:u64" in said


def test_nothing_fits(here: Chat) -> None:
    assert "nothing fits" in here.say("zebra quagga okapi") and not here.talk.ok
    assert "nothing fits" in here.say("?!") and not here.talk.ok


INTENTS = [
    ("Fix the map_mmio_page function based on the failure report", "the fix loop works on it"),
    ("please repair the kernel", "the fix loop works on it"),
    ("Optimize the mailbox protocol for <500ns latency", "it is measured now"),
    ("how long does the boot take?", "it is measured now"),
    ("Create comprehensive test suite for paging code", "a suite is made"),
    ("does it boot?", "it is booted"),
    ("is 0xfd000000 mapped?", "this is the page walk"),
    ("how much memory is free?", "a live kernel is asked (mem)"),
    ("what is page_map?", "this is from the image"),
    ("what is 0xffffffff80100000?", "this is what lies there"),
    ("which boot units are there?", "a live kernel is asked (units)"),
]


@pytest.mark.parametrize(("question", "plan"), INTENTS)
def test_what_a_question_asks_to_be_done(here: Chat, question: str, plan: str) -> None:
    found = intents.of(here.talk, question)
    assert found is not None and found.plan.startswith(plan)


@pytest.mark.parametrize("word", ["do ", "which ", "how many "])
def test_a_long_question_is_told_from_a_request_at_once(here: Chat, word: str) -> None:
    """It took half a minute of processor time: from each word the rest was searched for another."""
    began = time.process_time()
    assert intents.of(here.talk, (word * LINE_MAX)[:LINE_MAX]) is None
    assert time.process_time() - began < 5


def test_words_of_a_request_stand_on_one_line_in_their_order(here: Chat) -> None:
    for question in ("do pass all\nthe tests", "tests that do nothing"):
        assert intents.of(here.talk, question) is None
    found = intents.of(here.talk, "so:\nplease run all of the tests")
    assert found is not None and found.plan == "the in-kernel tests are run"


@pytest.mark.parametrize(
    "question", ["where are page faults handled?", "why is there a doorbell?", "who wrote the font?"]
)
def test_a_question_is_no_request(here: Chat, question: str) -> None:
    assert intents.of(here.talk, question) is None


def test_a_name_of_other_words_is_found(here: Chat) -> None:
    known = here.talk.desk.headers()
    assert nearest("map_mmio_page", known) == "mmio_map"
    assert nearest("allocate_frame", known) == "frame_alloc"
    assert nearest("load_idt", known) == "idt_load"
    assert nearest("qwerty_zxcvb", known) is None


def test_bounds_in_questions_are_read_and_held_against_figures() -> None:
    assert speed.bound("for <500ns latency") == pytest.approx(500e-9)
    assert speed.bound("below 1.5 µs") == pytest.approx(1.5e-6)
    assert speed.bound("make it fast") is None
    row = {
        "what": "round",
        "ours": 510.0,
        "unit": "ns",
        "peer": "C",
        "peer_value": 490.0,
        "ratio": 1.04,
        "p99": 800.0,
    }
    above, peer = speed.verdict(row, 500e-9)
    assert "is above 500 ns" in above and "at most 20 ns could be gained" in peer
    assert "is below 600 ns; the 99th percentile, 800 ns, is above" in speed.verdict(row, 600e-9)[0]
    assert "there is something to gain" in speed.verdict({**row, "ratio": 3.0}, None)[0]


# --- commands ----------------------------------------------------------------------------------------------


def test_help_names_every_command_and_each_has_examples_that_begin_with_it(here: Chat) -> None:
    text = here.say("/help")
    for name, command in COMMANDS.items():
        assert f"/{name} " in text and command.examples
        assert all(example.split()[0] == f"/{name}" for example in command.examples)
        about = here.say(f"/help {name}")
        assert command.examples[0] in about and command.summary in about


WRONG = [
    ("/nope", "no command /nope; /help lists them"),
    ("/explian page_map", "did you mean /explain?"),
    ("/", "no command /"),
    ("/explain", "/explain ADDR|SYMBOL: give one"),
    ("/explain nothing_of_this_name", "no symbol 'nothing_of_this_name'"),
    ("/walk", "give one address"),
    ("/boot 'x", "no closing quotation"),
    ("/boot smp=many", "smp is a number"),
    ("/boot -netdev user", "no option"),
    ("/boot qmp=tcp", "no option"),
    ("/boot cpu=max,file=/etc/passwd", "does not fit"),
    ("/boot memory=1M", "out of range"),
    ("/boot smp=4096", "out of range"),
    ("/fault /no/such/log", "cannot read"),
    ("/fix nothing_like_it_at_all_xyz", "none nearly"),
    ("/fix budget=soon", "give seconds above 0"),
    ("/fix engine=magic", "engine=magic"),
    ("/fix one two", "/fix [ROUTINE]"),
    ("/apply", "nothing is proposed"),
    ("/apply now", "/apply [unproved]"),
    ("/undo", "nothing to undo"),
    ("/test everything", "there are kernel, contracts, gates, thorough"),
    ("/test contracts nobody", "no header describes 'nobody'"),
    ("/lessons 99", "no lesson 99"),
    ("/load ../../etc/passwd", "no name of a session"),
    ("/load missing", "no such file"),
    ("/save a/b", "no name of a session"),
    ("/tool", "read_source"),
    ("/tool shell {}", "no tool 'shell'"),
    ('/tool gdb {"commands": ["shell id"]}', "is not among the commands"),
    ("/model ftp://x", "is no address"),
    ("/suite", "say of what"),
    ("/suite zebra", "no routine is about zebra"),
    ("/search", "say what to look for"),
]


@pytest.mark.parametrize(("line", "said"), WRONG)
def test_what_cannot_be_done_is_one_clear_line(here: Chat, line: str, said: str) -> None:
    answer = here.say(line)
    assert said.lower() in answer.lower()
    if line != "/tool":
        assert not here.talk.ok and answer.count("\n") == 1 and "Traceback" not in answer


def test_a_fault_of_ours_does_not_end_the_conversation(here: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("architect.chat.keeping.help", broken)
    said = here.say("/help")
    assert "internal error: ZeroDivisionError: on purpose (details in " in said and not here.talk.ok
    Path(said.rpartition("details in ")[2].rstrip(")\n")).unlink()


def test_commands_may_be_cut_short(here: Chat) -> None:
    assert "tokens" in here.say("/cos") or "nothing was spent" in here.say("/cos")
    assert "did you mean" in here.say("/l")


def test_explain_shows_header_callers_and_source(here: Chat) -> None:
    said = here.say("/explain page_map")
    assert "called by:" in said and "mmio_map" in said and "function page_map" in said
    address = said.partition("= ")[2].partition(",")[0]
    assert "page_map+0x4" in here.say(f"/explain {int(address, 16) + 4:#x}")


def test_model_and_cost_say_that_there_is_none(here: Chat) -> None:
    assert "PXOS_MODEL_URL" in here.say("/model")
    assert "nothing was spent" in here.say("/cost")


# --- proposals, sessions -----------------------------------------------------------------------------------


def test_a_proposal_is_shown_and_undone(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        text = proposed(made.talk)
        assert "+# a remark at the end" in made.stream.getvalue()
        assert "+# a remark at the end" in made.say("/diff")
        proposed(made.talk, "mm/page.s")
        assert "proposal is as it was" in made.say("/undo")
        assert made.talk.desk.changes == {"mm/mmio.s": text}
        assert "dropped" in made.say("/undo") and not made.talk.desk.changes
        assert "nothing is proposed" in made.say("/diff")


@pytest.mark.long
def test_a_session_is_kept_and_resumed(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        made.say("what is page_map?")
        text = proposed(made.talk)
        assert "kept as paging" in made.say("/save paging")
        assert "paging" in made.say("/load")
    assert session.path_of("paging").stat().st_mode & 0o777 == 0o600
    with chat(tmp_path) as made:
        said = made.say("/load paging")
        assert "> what is page_map?" in said and "a proposal for mm/mmio.s lies on the desk" in said
        assert made.talk.desk.changes == {"mm/mmio.s": text}
        assert [turn.role for turn in made.talk.session.turns][:2] == ["user", "tool"]
        assert "the proposal is dropped" in made.say("/undo") and not made.talk.desk.changes
        assert "nothing to undo" in made.say("/undo")


DAMAGED = [
    b"", b"{", b"[]", b'{"version": 2}', b'{"version": 1}', b"\xff\xfe", b"[" * 100_000,
    json.dumps({"version": 1, "turns": [{"role": "root", "text": "", "name": ""}]}).encode(),
    json.dumps({"version": 1, "turns": {}, "applied": [], "tree": 1}).encode(),
]  # fmt: skip


@pytest.mark.parametrize("data", DAMAGED)
def test_a_damaged_session_is_one_line(tmp_path: Path, data: bytes) -> None:
    path = session.path_of("bad")
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    with pytest.raises(InputError, match="no session of a chat") as caught:
        session.load("bad")
    assert "\n" not in str(caught.value)


APPLIED = {
    "kind": "copy", "tree": "/t", "before": "/t", "files": {"mm/a.s": "0"}, "root": "/t", "branch": "", "commit": "",
    "back": "", "kept": "/k", "worktree": "",
}  # fmt: skip
HOSTILE_UNDO = [
    {"files": {"../../.bashrc": "0"}}, {"files": {"/etc/passwd": "0"}}, {"kind": "shell"}, {"branch": "--help"},
    {"branch": "main"}, {"commit": "HEAD; id"}, {"back": "-f"}, {"back": "a/../../b"}, {"files": []}, {"root": 1},
]  # fmt: skip


@pytest.mark.parametrize("change", HOSTILE_UNDO)
def test_what_undo_would_do_by_a_file_is_checked(tmp_path: Path, change: dict[str, object]) -> None:
    made = session.Session("bad", str(tmp_path))
    path = session.save(made)
    data = json.loads(path.read_text())
    path.write_text(json.dumps({**data, "applied": [APPLIED]}))
    assert session.load("bad").applied[0].files == {"mm/a.s": "0"}
    path.write_text(json.dumps({**data, "applied": [{**APPLIED, **change}]}))
    with pytest.raises(InputError, match="no session of a chat"):
        session.load("bad")


def test_a_long_conversation_can_be_kept_and_loaded(tmp_path: Path) -> None:
    made = session.Session("long", str(tmp_path))
    for number in range(400):
        made.say("tool", f"{number} " + "x" * 100_000)
    path = session.save(made)
    assert path.stat().st_size < session.BYTES_MAX
    loaded = session.load("long")
    assert loaded.turns[-1].text.startswith("399 ") and len(loaded.turns) < 400


def test_a_session_of_a_tree_that_is_gone(tmp_path: Path) -> None:
    session.save(session.Session("old", str(tmp_path / "gone")))
    with chat(tmp_path) as made:
        assert "is gone" in made.say("/load old") and not made.talk.ok


def test_a_stale_proposal_is_not_applied(tmp_path: Path) -> None:
    from tests.architect.chatting import copied

    tree = copied(tmp_path)
    with chat(tmp_path, tree) as made:
        proposed(made.talk)
        path = tree / "mm/mmio.s"
        path.write_text(path.read_text() + "# somebody else's\n")
        assert "was changed since this was proposed" in made.say("/apply unproved")
        assert path.read_text().endswith("# somebody else's\n")


# --- the pieces --------------------------------------------------------------------------------------------


def test_every_line_with_text_is_in_a_piece(here: Chat) -> None:
    for file, text in here.talk.desk.texts().items():
        found = list(pieces(file, text))
        covered = "\n".join(f"{piece.summary}\n{piece.body}" for piece in found)
        for line in text.split("\n"):
            assert line.strip().lstrip("# ") in covered, (file, line)


def test_the_index_is_kept_by_content(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    texts = {"a.s": "function alpha_one\n    ret\nend_function alpha_one\n", "b.md": "# Beta\n\nsome words\n"}
    index = Index(path)
    assert index.update(texts) == 2 and index.update(texts) == 0
    index.close()
    again = Index(path)
    assert again.update(texts) == 0
    texts["b.md"] = "# Gamma\n\nother words\n"
    assert again.update(texts) == 1
    assert [hit.piece.title for hit in again.search("gamma")] == ["Gamma"]
    assert again.search("beta") == []
    del texts["a.s"]
    again.update(texts)
    assert again.search("alpha") == []
    again.close()


@pytest.mark.parametrize("data", [b"not a database", b"SQLite format 3\0" + b"\xff" * 4000, b""])
def test_a_damaged_index_is_made_anew(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "index.db"
    path.write_bytes(data)
    index = Index(path)
    assert index.update({"a.md": "# Alpha\n"}) == 1 and index.search("alpha")
    index.close()


@pytest.mark.parametrize(
    "question", ['" OR 1', "* NEAR(", "title:x AND", "'; DROP TABLE piece; --", "\0", "a" * 10_000]
)
def test_any_text_is_a_question(here: Chat, question: str) -> None:
    assert "internal error" not in here.say(question or " ")


def test_tab_offers_commands_symbols_files_and_values(here: Chat) -> None:
    desk = here.talk.desk
    assert complete.offers(desk, "/ex") == ("/ex", ["/explain"])
    assert "mmio_map" in complete.offers(desk, "/explain mmio_")[1]
    assert complete.offers(desk, "/boot display=v")[1] == ["display=virtio"]
    assert "mm/page.s" in complete.offers(desk, "/suite mm/p")[1]
    assert "mmio_map" in complete.offers(desk, "please fix mmio_m")[1]
    assert complete.offers(desk, "a")[1] == [] and complete.offers(desk, "/nope x")[1] == []
    assert complete.offers(desk, f"/fault {ROOT}/kernel/boot.t")[1] == [f"{ROOT}/kernel/boot.toml"]
    for line in ("/fault /root/nope/", "/fault ~nobody/", "/load ", "/tool re", "/help f"):
        complete.offers(desk, line)


# --- what is seen ------------------------------------------------------------------------------------------


def test_nothing_that_drives_a_terminal_gets_through() -> None:
    stream = io.StringIO()
    for view in (View(stream), ColourView(stream)):
        for show in (view.text, view.note, view.heading, view.bad, view.good, view.diff, view.prose):
            show("x\x1b]0;title\x07\x1b[2J\x9b31m\r\x00y")
        view.code("mov eax, 1 # \x1b[2J", "gas")
    shown = stream.getvalue()
    assert not any(c in shown for c in "\x07\r\x00\x9b") and "\x1b]" not in shown and "\x1b[2J" not in shown
    assert clean("tab\tline\n") == "tab\tline\n"


@pytest.mark.parametrize("language", ["gas", "nasm", "wgsl", "diff", "json", "python", "klingon"])
def test_colours_change_no_character(language: str) -> None:
    import re

    text = 'page_map: # "x" # y\n    mov rax, [rip + page_root]\n+ fn main() { let x = 3u; }\n- @group(0)\n'.rstrip(
        "\n"
    )
    assert re.sub(r"\x1b\[[0-9;]*m", "", highlight(text, language)) == text


def test_numbers_of_lines_are_no_code() -> None:
    code = 'say_more: # "x"\n    mov rax, [rip + page_root]'
    first, second = highlight(code, "gas").split("\n")
    excerpt = highlight("    99  " + code.replace("\n", "\n>  100  "), "gas").split("\n")
    assert [row.partition("\x1b[0m")[0] for row in excerpt] == ["\x1b[2m    99  ", "\x1b[2m>  100  "]
    assert [row.partition("\x1b[0m")[2] for row in excerpt] == [first, second]
    assert highlight("    99  nop\n… to line 120", "gas").endswith("\n\x1b[2m… to line 120\x1b[0m")


@pytest.mark.long
@pytest.mark.parametrize("name", ["idt.serial.log", "no-idt.qemu.log"])
def test_a_log_in_a_message_gets_its_report(tmp_path: Path, name: str) -> None:
    log = (ROOT / "tests/fixtures/logs" / name).read_text()
    with chat(tmp_path) as made:
        said = made.say(f"why did it die?\n{log}")
        assert "this is what the log in it tells" in said and "FAULT  #" in said and "exception chain" in said
        assert made.talk.desk.report is not None
        assert "FAULT  #" in made.say("/fault")


def test_commands_that_were_pasted_run_one_after_the_other(here: Chat) -> None:
    said = here.say("/cost\n  /model  \n\n/EXPLAIN")
    assert said.index("nothing was spent") < said.index("To name one") < said.index("/explain ADDR|SYMBOL")
    assert not here.talk.ok
    here.say("/remember page_lock is taken\n  before frame_lock")
    assert "page_lock is taken before frame_lock" in here.say("/remember")


@pytest.mark.parametrize("line", ["exit", "quit", "/exit", "/q", "/cost\n/quit\n/nope"])
def test_who_wants_to_leave_leaves(tmp_path: Path, line: str) -> None:
    with chat(tmp_path) as made:
        assert made.talk.handle(line) is False and made.talk.ok


def test_a_message_that_is_too_long_says_where_a_log_belongs(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        assert "/fault FILE" in made.say("x" * 70_000)


def test_ctrl_c_while_an_interruption_is_told_ends_no_conversation() -> None:
    from types import SimpleNamespace

    from architect.chat import terminal

    said: list[str] = []
    lines = iter(["/boot", "/quit"])
    stops = iter([True, True, False, False])

    def note(text: str) -> None:
        if text.startswith("interrupted") and next(stops):
            raise KeyboardInterrupt
        said.append(text)

    def handle(line: str) -> bool:
        if line == "/boot":
            raise KeyboardInterrupt
        return False

    view = SimpleNamespace(note=note, colour=False)
    session = SimpleNamespace(say=lambda role, text: said.append(text))
    talk = SimpleNamespace(view=view, session=session, handle=handle)
    terminal.read_lines(talk, lambda: next(lines))  # type: ignore[arg-type]
    assert said == [terminal.ENDED, "(interrupted by the person)"]


def test_an_answer_that_comes_in_pieces_is_the_same_as_one_at_once() -> None:
    text = "See `mm/page.s`:\n\n```asm\n    mov rax, 1 # one\n```\nand\n~~~wgsl\nfn f() {}\n~~~\nend"
    for size in (1, 3, 7, len(text)):
        stream = io.StringIO()
        prose = View(stream).stream_prose()
        for at in range(0, len(text), size):
            prose.feed(text[at : at + size])
        prose.close()
        assert stream.getvalue() == text + "\n"


def test_piped_lines_have_one_answer_each_and_a_status(tmp_path: Path) -> None:
    with chat(tmp_path) as made:
        lines = lines_of(io.BytesIO(b"/cost\r\n\n/nope\n/model"))
        assert converse(made.talk, lines) is False
        assert made.stream.getvalue().count("\n") == 3
        assert converse(made.talk, ["/cost", "/quit", "/nope"]) is True  # what follows /quit is not read


def test_who_has_read_enough_may_go(tmp_path: Path) -> None:
    lines = "/help\n" * 200
    command = [sys.executable, "-m", "cli", "chat", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as chatting:
        assert chatting.stdin and chatting.stdout and chatting.stderr
        chatting.stdin.write("/help\n")
        chatting.stdin.flush()
        assert chatting.stdout.readline().startswith("/boot")
        chatting.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            chatting.stdin.write(lines)
            chatting.stdin.close()
        said = chatting.stderr.read()
    assert (chatting.returncode, said) == (0, "")


def test_a_line_without_end_is_refused(tmp_path: Path) -> None:
    data = io.BytesIO(b"a" * (LINE_MAX * 3) + b"\n/cost\n")
    with chat(tmp_path) as made:
        assert converse(made.talk, lines_of(data)) is False
        assert "at most" in made.stream.getvalue() and "nothing was spent" in made.stream.getvalue()


def test_conversations_that_nobody_named_do_not_pile_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "UNNAMED_MAX", 3)
    now = time.time()
    for number in range(6):
        path = session.save(session.Session(f"2026-01-0{number + 1}-000000-7", str(tmp_path)))
        os.utime(path, (now - 1000 + number, now - 1000 + number))
    old = session.save(session.Session("paging", str(tmp_path)))
    os.utime(old, (0, 0))
    again = session.load("2026-01-06-000000-7")
    session.save(again)
    assert set(session.names()) == {"paging", *(f"2026-01-0{n}-000000-7" for n in (4, 5, 6))}
    later = now + session.UNNAMED_DAYS * 86_400 - 500
    assert session.prune(later) == ["2026-01-05-000000-7", "2026-01-04-000000-7"]
    assert set(session.names()) == {"paging", "2026-01-06-000000-7"}
