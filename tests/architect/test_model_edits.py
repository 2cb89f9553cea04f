"""Search/replace blocks: what is read of an answer, where it is applied, and what the model is told."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from architect.model.edits import Block, apply, parse
from architect.model.placing import EditError, replaced
from architect.protocols import Edit, Patch
from architect.workspace import TreeCopy
from tests.architect.cases import IDT_S, PAGE_S, make_tree

SOURCES = {
    "mm/page.s": PAGE_S,
    "cpu/idt.s": IDT_S,
    "include/macros.inc": ".set PTE_PRESENT, 1\n.set PTE_WRITE, 2\n",
}


def block(file: str, search: str, replace: str) -> str:
    return f"{file}\n<<<<<<< SEARCH\n{search}\n=======\n{replace}\n>>>>>>> REPLACE\n"


def edited(text: str, file: str = "mm/page.s") -> str:
    """What the file reads after the blocks of an answer, applied as a patch is."""
    edits = apply(parse(text), SOURCES)
    lines = SOURCES[file].split("\n")
    for edit in sorted((e for e in edits if e.file == file), key=lambda e: -e.line):
        assert tuple(lines[edit.line - 1 : edit.line - 1 + len(edit.old)]) == edit.old
        lines[edit.line - 1 : edit.line - 1 + len(edit.old)] = edit.new
    return "\n".join(lines)


RIGHT = PAGE_S.replace("shr rax, 12", "shr rax, 21")

BARE = "<<<<<<< SEARCH\n    shr rax, 12\n=======\n    shr rax, 21\n>>>>>>> REPLACE\n"
WRITTEN = {
    "plain": block("mm/page.s", "    shr rax, 12", "    shr rax, 21"),
    "fence around": f"mm/page.s\n```asm\n{BARE}```\n",
    "fence, then the name": "```\n" + block("mm/page.s", "    shr rax, 12", "    shr rax, 21") + "```\n",
    "name in the fence": f"```mm/page.s\n{BARE}```",
    "bold name": block("**mm/page.s**:", "    shr rax, 12", "    shr rax, 21"),
    "heading": block("### File: `mm/page.s`", "    shr rax, 12", "    shr rax, 21"),
    "kernel in front": block("kernel/mm/page.s", "    shr rax, 12", "    shr rax, 21"),
    "as in a diff": block("a/mm/page.s", "    shr rax, 12", "    shr rax, 21"),
    "the name alone": block("page.s", "    shr rax, 12", "    shr rax, 21"),
    "no name": block("", "    shr rax, 12", "    shr rax, 21"),
    "in a sentence": block("Change this in mm/page.s", "    shr rax, 12", "    shr rax, 21"),
    "no indent": block("mm/page.s", "shr rax, 12", "shr rax, 21"),
    "tabs": block("mm/page.s", "\tshr\trax, 12", "\tshr rax, 21"),
    "other blanks": block("mm/page.s", "  shr  rax,12  ", "  shr rax, 21"),
    "more context": block("mm/page.s", "    mov rax, rdi\n    shr rax, 12", "    mov rax, rdi\n    shr rax, 21"),
    "empty lines around": block("mm/page.s", "\n    shr rax, 12\n", "\n    shr rax, 21\n"),
    "fence inside": block("mm/page.s", "```asm\n    shr rax, 12\n```", "```asm\n    shr rax, 21\n```"),
    "long markers": block("mm/page.s", "    shr rax, 12", "    shr rax, 21").replace("<<<<<<<", "<<<<<<<<"),
    "carriage returns": block("mm/page.s", "    shr rax, 12", "    shr rax, 21").replace("\n", "\r\n"),
    "comment left out": block(
        "mm/page.s",
        "    mov rax, rdi\n    shr rax, 12\n    and eax, 0x1ff\n    or rsi, PTE_PRESENT | PTE_WRITE",
        "    mov rax, rdi\n    shr rax, 21\n    and eax, 0x1ff\n    or rsi, PTE_PRESENT | PTE_WRITE",
    ),
    "a letter wrong in the context": block(
        "mm/page.s",
        "    mov rbp, rsp\n    mov rax, rdx\n    shr rax, 12\n    and eax, 0x1ff                  # index in the PT",
        "    mov rbp, rsp\n    mov rax, rdx\n    shr rax, 21\n    and eax, 0x1ff                  # index in the PT",
    ),
    "after a thought": "<think>\n" + block("mm/page.s", "    ret", "    iretq") + "</think>\n"
    + block("mm/page.s", "    shr rax, 12", "    shr rax, 21"),
    "with talk": "The index is wrong.\n\n" + block("mm/page.s", "    shr rax, 12", "    shr rax, 21") + "\nDone.",
}  # fmt: skip


@pytest.mark.parametrize("how", WRITTEN)
def test_a_block_is_understood_however_it_is_written(how: str) -> None:
    assert edited(WRITTEN[how]) == RIGHT


def test_the_files_own_comments_and_columns_stay() -> None:
    """The model writes the lines around its change in its own way; the file keeps its own."""
    text = block(
        "mm/page.s",
        "and eax, 0x1ff\nor rsi, PTE_PRESENT | PTE_WRITE\nmov qword ptr [rdx + rax*8], rsi",
        "and eax, 0x1ff\nor rsi, PTE_PRESENT\nmov qword ptr [rdx + rax*8], rsi",
    )
    assert edited(text) == PAGE_S.replace("or rsi, PTE_PRESENT | PTE_WRITE", "or rsi, PTE_PRESENT")


def test_lines_are_inserted_and_deleted() -> None:
    grown = edited(block("mm/page.s", "    invlpg [rdi]", "    invlpg [rdi]\n    mfence"))
    assert grown == PAGE_S.replace("    invlpg [rdi]\n", "    invlpg [rdi]\n    mfence\n")
    shrunk = edited(block("mm/page.s", "    mov rax, rdi\n    shr rax, 12", "    mov rax, rdi"))
    assert shrunk == PAGE_S.replace("    shr rax, 12\n", "")
    gone = edited(block("mm/page.s", "    invlpg [rdi]", ""))
    assert gone == PAGE_S.replace("    invlpg [rdi]\n", "")


def test_several_blocks_and_several_files() -> None:
    text = (
        block("mm/page.s", "    shr rax, 12", "    shr rax, 21")
        + "<<<<<<< SEARCH\n    invlpg [rdi]\n=======\n    mfence\n>>>>>>> REPLACE\n"
        + block("include/macros.inc", ".set PTE_WRITE, 2", ".set PTE_WRITE, 4")
    )
    edits = apply(parse(text), SOURCES)
    assert {(e.file, e.new) for e in edits} == {
        ("mm/page.s", ("    shr rax, 21",)),
        ("mm/page.s", ("    mfence",)),
        ("include/macros.inc", (".set PTE_WRITE, 4",)),
    }


def test_blocks_may_build_on_each_other() -> None:
    text = block("mm/page.s", "    shr rax, 12", "    shr rax, 13") + block(
        "mm/page.s", "    shr rax, 13", "    shr rax, 21"
    )
    assert edited(text) == RIGHT


REFUSED = {
    "not there": (
        block("mm/page.s", "    lea r9, [r10 + 77]\n    bswap r9", "    nop"),
        "do not stand there",
    ),
    "twice there": (block("mm/page.s", "    rep", "    nop").replace("rep", "ret"), None),
    "empty search": (block("mm/page.s", "", "    nop"), "SEARCH is empty"),
    "nothing changes": (block("mm/page.s", "    ret", "    ret"), "change nothing"),
    "unknown file": (block("mm/pages.s", "    ret", "    nop"), "did you mean mm/page.s?"),
    "a test": (block("test/page_test.s", "    ret", "    nop"), "never are"),
    "the layout": (block("image.toml", "x", "y"), "never are"),
    "the units": (block("boot.toml", 'name = "frames"', 'name = "none"'), "never are"),
    "outside": (block("../../etc/passwd", "root", "toor"), None),
    "absolute": (block("/etc/passwd", "root", "toor"), None),
}


@pytest.mark.parametrize("how", [name for name, (_, says) in REFUSED.items() if says])
def test_what_cannot_be_applied_is_told_to_the_model(how: str) -> None:
    text, says = REFUSED[how]
    with pytest.raises(EditError) as caught:
        apply(parse(text), SOURCES)
    assert says is not None and says in str(caught.value)


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "..\\x.s"])
def test_no_path_leaves_the_sources(name: str) -> None:
    with pytest.raises(EditError):
        apply([Block(name, ("root",), ("toor",))], SOURCES)


def test_the_nearest_text_is_shown_with_its_lines() -> None:
    text = block(
        "mm/page.s", "    or rsi, PTE_USER | PTE_DIRTY\n    mov qword ptr [r8 + rax*4], r9", "    nop"
    )
    with pytest.raises(EditError) as caught:
        apply(parse(text), SOURCES)
    assert "   11:     or rsi, PTE_PRESENT | PTE_WRITE" in str(caught.value)


def test_two_equal_places_are_not_guessed_at() -> None:
    lines = ["a:", "    push rax", "    call one", "    ret", "b:", "    push rax", "    call one", "    ret"]
    with pytest.raises(EditError, match="stand 2 times, at lines 3, 7"):
        replaced(["    call one"], ["    call two"], lines, "here")
    made = replaced(
        ["b:", "    push rax", "    call one"], ["b:", "    push rax", "    call two"], lines, "here"
    )
    assert made[2] == "    call one" and made[6] == "    call two"


def test_two_near_places_are_not_guessed_at() -> None:
    lines = ["    mov rax, [rdi + 8]", "    ret", "    mov rax, [rdi + 9]", "    ret"]
    with pytest.raises(EditError, match="two places are alike"):
        replaced(["    mov rax, [rdi + 7]"], ["    nop"], lines, "here")


@pytest.mark.parametrize(
    "text",
    [
        "mm/page.s\n<<<<<<< SEARCH\n    ret\n=======\n    nop\n",
        "mm/page.s\n<<<<<<< SEARCH\n    ret\n",
        "mm/page.s\n<<<<<<< SEARCH\n    ret\n>>>>>>> REPLACE\n",
        "mm/page.s\n<<<<<<< SEARCH\n    ret\n=======\n<<<<<<< SEARCH\n    nop\n=======\n    ret\n>>>>>>> REPLACE\n",
        "mm/page.s\n<<<<<<< SEARCH\n" + "    nop\n" * 500 + "=======\n    ret\n>>>>>>> REPLACE\n",
    ],
)
def test_half_a_block_is_none(text: str) -> None:
    with pytest.raises(EditError):
        parse(text)


@pytest.mark.parametrize(
    "text", ["", "no idea", "a < b", "cmp rax, rbx ======= done", "git says >>>>>>> ours", "<<<< x"]
)
def test_an_answer_without_blocks_has_none(text: str) -> None:
    assert parse(text) == []
    with pytest.raises(EditError, match="no edit block"):
        apply([], SOURCES)


def test_blocks_within_reasoning_that_never_ends_are_none() -> None:
    assert parse("<think>\n" + block("mm/page.s", "    ret", "    nop")) == []


def test_a_patch_of_blocks_passes_the_workspace(tmp_path) -> None:  # type: ignore[no-untyped-def]
    workspace = TreeCopy(make_tree(tmp_path / "kernel"))
    edits = apply(parse(WRITTEN["plain"]), workspace.sources())
    assert workspace.apply(Patch(edits, "llm", "edit-blocks", ""))["mm/page.s"] == RIGHT
    assert "test/page_test.s" not in workspace.sources() and "include/ktap.inc" not in workspace.sources()


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(st.text(max_size=600))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        blocks = parse(text)
        if blocks:
            apply(blocks, SOURCES)
    except EditError:
        pass


LINES = [*PAGE_S.split("\n"), *IDT_S.split("\n")]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(LINES) - 4), st.integers(1, 4), st.integers(0, 2**32))
def test_an_exact_block_with_one_place_does_exactly_what_it_says(first: int, size: int, seed: int) -> None:
    search = LINES[first : first + size]
    places = [n for n in range(len(LINES) - size + 1) if LINES[n : n + size] == search]
    if len(places) != 1 or not search[0].strip() or not search[-1].strip():
        return
    chance = random.Random(seed)
    replace = [line if chance.random() < 0.5 else f"    mov rax, {n}" for n, line in enumerate(search)]
    replace += ["    nop"] * chance.randrange(2)
    made = replaced(search, replace, LINES, "here")
    assert made == [*LINES[:first], *replace, *LINES[first + size :]]


def test_edits_are_as_small_as_lines_allow() -> None:
    edits = apply(parse(WRITTEN["more context"]), SOURCES)
    assert edits == (Edit("mm/page.s", 9 if PAGE_S.split("\n")[8].strip() == "shr rax, 12" else 8,
                          ("    shr rax, 12",), ("    shr rax, 21",)),)  # fmt: skip


HOSTILE = {
    "a marker with blanks without end": "<<<<<<<" + " " * 60_000 + "x y\n",
    "a name with blanks without end": " " * 60_000
    + "x"
    + " " * 60_000
    + "y\n<<<<<<< SEARCH\na\n=======\nb\n>>>>>>> REPLACE\n",
    "thoughts that begin again and again": "<think>" * 9_000,
    "many openings": "<<<<<<< SEARCH\n" * 4_000,
    "long lines that are nearly there": block("mm/page.s", "    mov rax, rdi ; " + "x" * 30_000, "    nop"),
    "many lines that are nearly there": block("mm/page.s", "    push rbx\n" * 390 + "    pop rcx", "    nop"),
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_answer_takes_no_time(what: str) -> None:
    """Each is a second at most; a pattern that backtracks takes minutes on them."""
    sources = {**SOURCES, "mm/big.s": "    push rbx\n    pop rbx\n" * 1500, "mm/page.s": PAGE_S * 40}
    with contextlib.suppress(EditError):
        apply(parse(HOSTILE[what]), sources)
