"""The chat without a model: questions, commands, what it refuses. No machine is booted here."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from architect.chat import complete, intents, speed
from architect.chat.commands import COMMANDS
from architect.chat.index import Index
from architect.chat.names import nearest
from architect.chat.pieces import pieces
from architect.chat.talk import LINE_MAX
from tests.architect.chatting import ROOT, Chat, chat


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
