"""Shapes, generalised edits, and the engine that adapts them to other code."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from architect import shape
from architect.generalise import generalise, resembles
from architect.lessons import SqliteLessons
from architect.protocols import Case, Edit, Evaluation, Patch
from architect.recall import GuidedEngine, LessonsEngine, lesson_of
from architect.signature import of_case, similarity
from architect.workspace import TreeCopy
from tests.architect.cases import IDT_S, PAGE_S, SIGNATURE, case, evaluation, make_tree, patch, report

STORE = "    mov qword ptr [rdx + rax*8], rsi"
BROKEN_PAGE = PAGE_S.replace(STORE + "\n", "")
STORE_LINE = PAGE_S.split("\n").index(STORE) + 1
REPAIR = Edit("mm/page.s", STORE_LINE, (), (STORE,))

# The same mistake in another routine, with other registers: the entry is made and never written.
TABLE_S = """\
table_set:
    mov rcx, rdi
    shr rcx, 12
    and ecx, 0x1ff
    or r9, PTE_PRESENT | PTE_WRITE
    invlpg [rdi]
    pop rbx
    ret
"""


@pytest.mark.parametrize(
    "text",
    [
        "mov qword ptr [rax + rcx*8 - 8], rdx",
        "or rdx, PTE_PRESENT | PTE_WRITE",
        "call frame_alloc",
        "jc .Lfail",
        "lock xadd dword ptr [rdi], eax",
        "mov rax, qword ptr gs:[16]",
        "and rax, -4096",
        ".set X, (1 << 3) - 1",
        "mov ah, 3",
        "add byte ptr [rsi], 0x20",
        "stub \\n, 4",
        "lea rdi, [rip + text_x]",
        'panic "a # b"',
    ],
)
def test_a_shape_filled_with_what_it_matched_is_the_statement(text: str) -> None:
    made = shape.Namer().shape(text)
    bound = shape.match(made, text, {})
    assert bound is not None
    assert shape.fill(made, bound) == text


def test_one_hole_is_one_register_in_every_width() -> None:
    made = shape.Namer().shape("mov rax, rcx")
    assert shape.match(made, "mov rbx, r9", {}) == {"r1": "rbx", "r2": "r9"}
    assert shape.match(made, "mov rbx, r9", {"r2": "rdi"}) is None
    assert shape.match(made, "mov ebx, r9d", {}) is None
    namer = shape.Namer()
    namer.shape("mov rax, rcx")
    assert shape.fill(namer.shape("mov eax, cl"), {"r1": "r10", "r2": "rsi"}) == "mov r10d, sil"


def test_structure_is_not_a_hole() -> None:
    made = shape.Namer().shape("mov rax, [rbp - 8]")
    assert shape.match(made, "mov rcx, [rbp - 8]", {}) is not None
    assert shape.match(made, "mov rcx, [rdi - 8]", {}) is None


def broken_case() -> Case:
    return case({"mm/page.s": BROKEN_PAGE, "cpu/idt.s": IDT_S}, report())


def test_generalise_keeps_context_routine_and_role() -> None:
    step = generalise(patch(REPAIR, operator="insert"), broken_case())["steps"][0]
    assert (step["routine"], step["role"], step["remove"]) == ("page_map", "suspect", [])
    assert shape.holes(step["insert"][0]) == {"r3": "rdx", "r1": "rax", "r2": "rsi"}, step
    assert shape.mnemonic(step["before"][-1]) == "or" and shape.mnemonic(step["after"][0]) == "invlpg"


def taught(tmp_path: Path) -> SqliteLessons:
    store = SqliteLessons(tmp_path / "lessons")
    bad = broken_case()
    edit = generalise(patch(REPAIR, operator="insert"), bad)
    store.record(of_case(bad), "the entry is never written", edit, {})
    return store


def test_the_same_bug_is_repaired_first_try(tmp_path: Path) -> None:
    first = next(LessonsEngine(taught(tmp_path)).propose(broken_case()))
    tree = make_tree(tmp_path / "kernel")
    (tree / "mm/page.s").write_text(BROKEN_PAGE)
    assert TreeCopy(tree).apply(first)["mm/page.s"] == PAGE_S
    assert lesson_of(first) == 1 and first.engine == "lessons"


def test_the_class_elsewhere_is_repaired_with_its_own_registers(tmp_path: Path) -> None:
    other = case({"mm/table.s": TABLE_S, "cpu/idt.s": IDT_S}, report(suspects=("table_set",)))
    proposals = list(LessonsEngine(taught(tmp_path)).propose(other))
    wanted = Edit("mm/table.s", 6, (), ("    mov qword ptr [rdx + rcx*8], r9",))
    edits = [p.edits[0] for p in proposals]
    stores = [e for e in edits if e.line == 6 and e.new[0].endswith("*8], r9")]
    assert stores and all(e.file == wanted.file for e in stores)
    assert edits.index(stores[0]) < 6


def test_a_replaced_constant_is_tried_on_other_constants_of_its_slot(tmp_path: Path) -> None:
    bad = case({"mm/page.s": PAGE_S.replace("shr rax, 12", "shr rax, 21")}, report())
    good = patch(Edit("mm/page.s", 9, ("    shr rax, 21",), ("    shr rax, 12",)), operator="constant")
    store = SqliteLessons(tmp_path)
    store.record(of_case(bad), "wrong shift", generalise(good, bad), {})
    walk = "walk:\n    mov r8, rdi\n    shr r8, 30\n    and r8d, 0x1ff\n    mov r9, rdi\n    shr r9, 21\n    ret\n"
    proposals = list(LessonsEngine(store).propose(case({"mm/walk.s": walk}, report(suspects=("walk",)))))
    found = {(p.edits[0].line, p.edits[0].new[0].strip()) for p in proposals}
    assert {(3, "shr r8, 12"), (3, "shr r8, 21")} <= found


def test_comments_and_labels_on_a_replaced_line_stay(tmp_path: Path) -> None:
    bad = case({"a.s": "walk:\n    mov r8, rdi\n.Lx: shr r8, 30   # index\n    and r8d, 0x1ff\n"}, report())
    good = patch(Edit("a.s", 3, (".Lx: shr r8, 30   # index",), (".Lx: shr r8, 39   # index",)))
    store = SqliteLessons(tmp_path)
    store.record(of_case(bad), "wrong shift", generalise(good, bad), {})
    first = next(LessonsEngine(store).propose(bad))
    assert (
        first.edits[0].new == (".Lx:", ".Lx: shr r8, 39   # index"[5:].rjust(0))
        or ".Lx:" in first.edits[0].new
    )
    assert first.edits[0].new[-1].endswith("# index") and "shr r8, 39" in first.edits[0].new[-1]


def test_edits_of_the_kind_come_from_the_wider_engine(tmp_path: Path) -> None:
    def wider(of: Case) -> Iterator[Patch]:
        yield patch(Edit("cpu/idt.s", 4, ("    shl rdi, 4",), ()), operator="delete")
        yield patch(Edit("cpu/idt.s", 4, (), ("    mov qword ptr [r8 + r9*8], r10",)), operator="insert")

    unlike = case({"cpu/idt.s": IDT_S}, report(suspects=("idt_set",)))
    proposals = list(LessonsEngine(taught(tmp_path), wider).propose(unlike))
    assert [p.edits[0].new for p in proposals][-1] == ("    mov qword ptr [r8 + r9*8], r10",)
    assert all(p.edits[0].old == () for p in proposals)


class Search:
    """Proposes edits that cost more and more; one of them is of the lesson's kind."""

    name = "search"

    def __init__(self, at: int) -> None:
        self.at = at
        self.seen: list[Evaluation] = []

    def propose(self, case: Case) -> Iterator[Patch]:
        for n in range(60):
            text = "mov qword ptr [r8 + r9*8], r10" if n == self.at else f"mov eax, {n + 10}"
            yield patch(Edit("cpu/idt.s", 4, (), (f"    {text}",)), engine="search", cost=n / 10)

    def observe(self, evaluation: Evaluation) -> None:
        self.seen.append(evaluation)


def test_a_lesson_guides_the_search(tmp_path: Path) -> None:
    search = Search(at=30)
    guided = GuidedEngine(search, taught(tmp_path))
    proposals = list(guided.propose(broken_case()))
    engines = [p.engine for p in proposals]
    assert engines.count("lessons") == 1 and engines.index("lessons") < 20
    assert len(proposals) == 60
    rest = [p.cost for p in proposals if p.engine == "search"]
    assert rest == sorted(rest), "the others keep their order"
    guided.observe(evaluation(proposals[0]))
    assert len(search.seen) == 1


def test_without_lessons_the_search_goes_its_own_way(tmp_path: Path) -> None:
    search = Search(at=30)
    guided = GuidedEngine(search, SqliteLessons(tmp_path))
    assert list(guided.propose(broken_case())) == list(search.propose(broken_case()))


def test_resembles_wants_the_same_shapes() -> None:
    edit = generalise(patch(REPAIR, operator="insert"), broken_case())
    same = patch(Edit("x.s", 1, (), ("    mov qword ptr [rbx + r12*8], r13",)))
    assert resembles(same, edit)
    for text in ("    mov qword ptr [rbx + r12*8], 0", "    mov rax, rbx", "    nop"):
        assert not resembles(patch(Edit("x.s", 1, (), (text,))), edit)


def test_without_a_lesson_nothing_is_proposed(tmp_path: Path) -> None:
    assert list(LessonsEngine(SqliteLessons(tmp_path)).propose(broken_case())) == []


def test_failures_of_a_lesson_are_counted(tmp_path: Path) -> None:
    engine = LessonsEngine(taught(tmp_path))
    engine.observe(evaluation(next(engine.propose(broken_case()))))
    assert engine.failed == {1: 1}


def test_similarity_is_one_for_equal_and_falls_with_contradictions() -> None:
    assert similarity(SIGNATURE, SIGNATURE) == 1.0
    assert of_case(broken_case()).vector == 14
    assert 0 < similarity(SIGNATURE, of_case(case({}, report("elsewhere")))) < 1
