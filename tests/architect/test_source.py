"""Statements, routines, names and data flow of kernel sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from architect.anomalies import anomalies
from architect.dataflow import Flows
from architect.effects import effects
from architect.names import Names
from architect.slicing import Slicer, Start
from architect.source import Tree
from architect.statements import Reader, Statement, label_arguments, strip_comment
from tests.architect.kernels import FILES, GPU, PAGE, line_of, tree, without


def one(text: str, mode: int = 64) -> Statement:
    return next(iter(Reader("x.s", {}, mode=mode).line(1, text)))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("    mov eax, 1    # one", "    mov eax, 1"),
        ('    .asciz "a # b"  # c', '    .asciz "a # b"'),
        ("    mov al, '#'  # hash", "    mov al, '#'"),
        ("# only", ""),
    ],
)
def test_comments(text: str, expected: str) -> None:
    assert strip_comment(text) == expected


def test_a_statement_keeps_its_columns() -> None:
    text = "1:  lock xadd qword ptr [rdi + FIELD * 8], rax   # count"
    s = one(text)
    assert (s.labels, s.prefix, s.name) == (("1",), "lock", "xadd")
    assert [o.text for o in s.operands] == ["qword ptr [rdi + FIELD * 8]", "rax"]
    assert all(text[o.start : o.end] == o.text for o in s.operands)
    assert text[s.code.start : s.code.end] == "lock xadd qword ptr [rdi + FIELD * 8], rax"


def test_macros_make_labels_and_routines() -> None:
    assert label_arguments(FILES.values())["function"] == (0,)
    found = tree()
    assert set(found.routines) == {"page_map", "page_map_large", "gpu_init"}
    assert found.callees["gpu_init"] == ("page_map",)
    assert found.callers["page_map"] == ("gpu_init",)
    header = found.routines["page_map"].header
    assert header is not None and [slot.register for slot in header.inputs] == ["rdi", "rsi", "rdx"]
    assert "page_map" in found.exported and "gpu_bar" not in found.exported


@pytest.mark.parametrize(
    ("text", "reads", "writes"),
    [
        ("add rax, rbx", {"rax", "rbx"}, {"rax", "flags"}),
        ("mov eax, [rdi + rcx * 4]", {"rdi", "rcx"}, {"rax"}),
        ("mov [rdi], rax", {"rdi", "rax"}, set()),
        ("xor ecx, ecx", set(), {"rcx", "flags"}),
        ("lea rdx, [rdi + 8]", {"rdi"}, {"rdx"}),
        ("rep stosq", {"rax", "rdi", "rcx"}, {"rdi", "rcx"}),
        ("div rbx", {"rax", "rdx", "rbx"}, {"rax", "rdx", "flags"}),
        ("cmovz rax, rbx", {"rax", "rbx", "flags"}, {"rax"}),
    ],
)
def test_effects(text: str, reads: set[str], writes: set[str]) -> None:
    found = effects(one(text))
    assert (set(found.reads), set(found.writes)) == (reads, writes)


def test_a_narrow_write_keeps_the_rest() -> None:
    assert effects(one("mov al, 1")).merges == {"rax"}
    assert effects(one("mov eax, 1")).merges == frozenset()


def odd(found: Tree) -> set[tuple[str, int, str]]:
    return {(a.kind, a.line, a.register) for rows in anomalies(Flows(found)).values() for a in rows}


def test_a_sound_tree_shows_nothing_odd() -> None:
    assert odd(tree()) == set()


@pytest.mark.parametrize(
    ("missing", "nth", "kind", "register"),
    [
        ("mov [rcx], rbx", 0, "dead", "rbx"),
        ("mov rbx, rsi", 0, "undefined", "rbx"),
        ("pop rbx", 0, "unbalanced", ""),
        ("jnz .Lmap_exists", 0, "dead", "flags"),
        ("jmp .Lmap_leave", 0, "falls-through", ""),
    ],
)
def test_a_missing_statement_leaves_a_trace(missing: str, nth: int, kind: str, register: str) -> None:
    assert (kind, register) in {(k, r) for k, _, r in odd(tree(page=without(PAGE, missing, nth)))}


def test_a_register_that_is_not_saved_is_undeclared() -> None:
    page = without(without(PAGE, "push rbx"), "pop rbx")
    assert ("undeclared", "rbx") in {(k, r) for k, _, r in odd(tree(page=page))}


def test_a_slice_crosses_the_call() -> None:
    """Who made the address of the store: the index computation, nearest first, and what the caller passed."""
    found = tree()
    flows = Flows(found)
    flow = flows.of("page_map")
    assert flow is not None
    line = line_of(PAGE, "mov [rcx], rbx")
    node = next(n for n, x in enumerate(flow.nodes) if x.site.line == line)
    lines = Slicer(flows).backward([Start("page_map", node, frozenset({"rcx"}))])
    address, index = line_of(PAGE, "lea rcx, [rdx + rcx * 8]"), line_of(PAGE, "shr rcx, PT_SHIFT")
    assert 1.0 == lines["mm/page.s", line] > lines["mm/page.s", address] > lines["mm/page.s", index]
    assert lines["mm/page.s", index] > lines["gpu/gpu.s", line_of(GPU, "mov rdi, [rip + gpu_bar]")] > 0
    assert ("mm/page.s", line_of(PAGE, "mov rbx, rsi")) not in lines


def test_orphans_and_families(tmp_path: Path) -> None:
    names = Names(tree(gpu=GPU.replace("gpu_table]", "gpu_bar]")), tmp_path)
    assert ("gpu/gpu.s", "gpu_table") in names.loose
    assert names.is_orphan("gpu_table", "gpu/gpu.s") and not names.is_orphan("gpu_table", "mm/page.s")
    assert "PDPT_SHIFT" in names.orphans and "PT_SHIFT" not in names.orphans
    assert names.family("PT_SHIFT", "mm/page.s")[:2] == ("PDPT_SHIFT", "PD_SHIFT")
    assert names.values["TABLE_MASK"] == 0x1FF


def test_a_tree_is_read_again_only_when_it_differs(tmp_path: Path) -> None:
    sources = {"a.s": "function f\n    ret\n"}
    (tmp_path / "b.s").write_text("# beside it\n")
    first = Tree.of(tmp_path, sources)
    assert Tree.of(tmp_path, dict(sources)) is first
    assert Tree.of(tmp_path, {"a.s": "function f\n    nop\n"}) is not first
    (tmp_path / "b.s").write_text("# changed\n")
    assert Tree.of(tmp_path, sources).texts["b.s"] == "# changed\n"


@pytest.mark.parametrize(
    ("missing", "expected"),
    [("", set()), ("    popad\n", {("unbalanced", "")}), ("    out 32, al\n", {("dead", "rax")})],
)
def test_an_interrupt_handler_gives_back_what_it_pushed(missing: str, expected: set[tuple[str, str]]) -> None:
    text = '.section .text, "ax"\n.code32\ntrap:\n    pushad\n    mov al, 32\n    out 32, al\n    popad\n    iretd\n'
    found = Tree({"a.s": text.replace(missing, "", 1) if missing else text})
    assert {(kind, register) for kind, _, register in odd(found)} == expected
