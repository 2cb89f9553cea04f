"""What the text of a tree tells: how usual a candidate is, what it leaves, what names belong together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from architect.control import settings
from architect.coverage import Run
from architect.dataflow import Flows
from architect.diagnosis import Demands, Diagnosis
from architect.evidence import Reader
from architect.names import Names
from architect.naturalness import UNKNOWN, Naturalness
from architect.operators import Site, View, operators
from architect.operators.amounts import adjustments
from architect.operators.siblings import twins
from architect.operators.values import calls
from architect.plausibility import LEAST, MENDED, Judge, apply
from architect.protocols import Case, Edit, GateResult
from architect.source import Tree
from architect.statements import Reader as Lines
from architect.statements import Statement
from tests.architect.kernels import FILES, GPU, PAGE, broken, case, line_of, sources, tree, without

STORE = "mov [rcx], rbx"


# --- plausibility --------------------------------------------------------------------------------------------


def judge(texts: Mapping[str, str]) -> Judge:
    found = Tree(texts)
    return Judge(Flows(found), Naturalness.of(found))


def insert(text: str, line: str, before: str = "xor eax, eax", file: str = "mm/page.s") -> Edit:
    return Edit(file, line_of(text, before), (), (f"    {line}",))


def change(text: str, old: str, *new: str, file: str = "mm/page.s") -> Edit:
    number = line_of(text, old)
    return Edit(file, number, (text.split("\n")[number - 1],), tuple(f"    {line}" for line in new))


def test_a_mended_anomaly_earns_and_a_new_one_costs() -> None:
    page = without(PAGE, STORE)
    bench = judge(sources(page=page))
    assert bench.odd([insert(page, STORE)]) == -MENDED
    assert bench.odd([insert(page, STORE)], mended=1.0) == -1.0
    assert bench.odd([insert(page, "mov ecx, 7")]) == 4.0
    assert bench.odd([insert(page, "test rdi, rdi")]) == 4.0
    assert bench.odd([insert(page, "mfence")]) == 0.0


def test_no_edit_earns_without_end() -> None:
    page = without(without(PAGE, STORE), "jnz .Lmap_exists")
    bench = judge(sources(page=page))
    edits = [insert(page, "jnz .Lmap_exists", "or rbx, PTE_PRESENT | PTE_WRITE"), insert(page, STORE)]
    assert all(bench.odd([edit]) < 0 for edit in edits)
    assert bench.odd(edits) == LEAST > -2 * MENDED


def test_leaving_out_what_is_used_costs() -> None:
    bench = judge(sources())
    for line in ("mov rbx, rsi", STORE, "push rbx", "jmp .Lmap_leave"):
        assert bench.odd([change(PAGE, line)]) >= 4.0
    delete = next(operator for operator in operators() if operator.name == "delete")
    code = [o for o in operators() if "code" in o.sorts and "unassembled" not in o.classes]
    assert all(delete.bits >= o.bits for o in code if not o.name.startswith("donor"))


@pytest.mark.parametrize(
    ("line", "same"),
    [
        ("mov   [rcx], rbx", True),
        ("mov [rcx], rbx   # store it", True),
        ("mov [rcx],rbx", False),
        ("mov [rcx], rcx", False),
    ],
)
def test_equal_code_has_an_equal_fingerprint(line: str, same: bool) -> None:
    bench = judge(sources())
    nothing = Edit("mm/page.s", 1, (), ())
    assert (bench.fingerprint([change(PAGE, STORE, line)]) == bench.fingerprint([nothing])) is same


def test_the_same_code_by_other_edits_has_an_equal_fingerprint() -> None:
    page = PAGE.replace(f"    {STORE}", f"    {STORE}\n    {STORE}", 1)
    bench = judge(sources(page=page))
    first, second = line_of(page, STORE), line_of(page, STORE, 1)
    marks = {bench.fingerprint([Edit("mm/page.s", n, (f"    {STORE}",), ())]) for n in (first, second)}
    assert len(marks) == 1
    assert bench.fingerprint([Edit("mm/page.s", 2, (), ("    nop",))]) not in marks
    nothing, comment = Edit("mm/page.s", 1, (), ()), Edit("mm/page.s", 2, (), ("", "# why"))
    assert bench.fingerprint([nothing]) == bench.fingerprint([comment])


def test_edits_are_applied_from_the_bottom_up() -> None:
    edits = [Edit("f", 1, (), ("n",)), Edit("f", 2, ("b",), ()), Edit("f", 3, ("c",), ("x", "y"))]
    assert apply(["a", "b", "c"], edits) == ["n", "a", "x", "y"]
    assert apply(["b", "c"], [Edit("f", 12, ("c",), ())], first=11) == ["b"]


def test_usual_text_is_cheaper() -> None:
    page = without(PAGE, STORE)
    bench = judge(sources(page=page))
    known, strange = insert(page, STORE), insert(page, "bswap rbx")
    assert 0 <= bench.usual([known]) < bench.usual([strange])
    assert bench.usual([Edit("mm/page.s", 1, (), (".code64",))]) == UNKNOWN


def sequence(*lines: str) -> list[Statement]:
    reader = Lines("x.s", {}, routine="f")
    return [s for number, line in enumerate(lines, 1) for s in reader.line(number, line)]


def test_a_statement_unlike_all_others_is_a_surprise() -> None:
    rows = sequence("mov rax, rdi", "shr rax, 12", "ret")
    usual = Naturalness([rows, sequence("mov rbx, rsi", "shr rbx, 12", "ret")])
    (strange,) = sequence("shr rax, 13")
    assert usual.surprise(strange, rows[0]) > usual.surprise(rows[1], rows[0])
    assert usual.surprise(strange, rows[2]) > usual.surprise(strange, rows[0])
    (row,) = sequence(".quad 0")
    assert usual.surprise(row, None) == 1.0


def test_bits_grow_with_what_is_unknown() -> None:
    rows = sequence("mov rax, rdi", "shr rax, 12", "and eax, 511", "ret")
    usual = Naturalness([rows])
    cut = [rows[0], *rows[2:]]
    fresh = sequence("shr rax, 12", "shr rax, 13", "and eax, 511", "bswap rax")
    costs = [usual.bits(cut, [rows[0], new, *rows[2:]]) for new in fresh]
    assert costs[0] == 0.0
    assert costs == sorted(set(costs))
    assert usual.bits(rows, cut) > 0
    assert usual.bits(rows, rows) > 0


# --- names ---------------------------------------------------------------------------------------------------

OBJECTS = """\
.macro object name
    .global \\name
    .balign 8
\\name:
.endm
.macro end_object name
    .size \\name, . - \\name
.endm
.macro zeroes count
    .rept \\count
    .quad 0
    .endr
.endm
.macro leave_now
    ret
.endm
.macro leave_soon
    leave_now
.endm
"""
DATA = """\
.include "macros.inc"
.section .data
object gpu_words
    zeroes 4
end_object gpu_words
object gpu_name
    .asciz "box"
end_object gpu_name
.section .text, "ax"
function gpu_reset
    mov rax, [rip + gpu_words]
    ret
end_function gpu_reset
gpu_stop:
    leave_soon
strange_start:
    unheard_of 3
gpu_spare: .quad 0
"""


def named() -> Tree:
    texts = {**sources(), "include/objects.inc": OBJECTS, "gpu/data.s": DATA}
    return Tree(texts)


def test_data_that_macros_bracket_are_no_routines() -> None:
    found = named()
    assert {"gpu_reset", "gpu_stop", "strange_start"} <= found.routines.keys()
    assert not {"gpu_words", "gpu_name"} & found.routines.keys()
    assert {"gpu_words", "gpu_name"} <= found.labels.keys()


def test_what_is_defined_and_never_used_is_found(tmp_path: Path) -> None:
    names = Names(named(), tmp_path)
    assert names.is_orphan("gpu_spare", "gpu/data.s")
    assert not names.is_orphan("gpu_words", "gpu/data.s")
    assert "PDPT_SHIFT" in names.orphans and "PTE_WRITE" not in names.orphans
    assert (names.earned("PDPT_SHIFT", "mm/page.s"), names.earned("gpu_spare", "gpu/data.s")) == (3.0, 4.0)
    assert names.earned("PTE_WRITE", "mm/page.s") == 0.0


def test_what_the_boot_table_names_is_used(tmp_path: Path) -> None:
    gpu = GPU.replace("function gpu_init", ".global gpu_init\ngpu_init:").replace("end_.global", "#")
    known = case(tmp_path / "tree", sources(gpu=gpu))
    found = Tree(known.sources)
    assert ("gpu/gpu.s", "gpu_init") in Names(found, tmp_path).loose
    assert ("gpu/gpu.s", "gpu_init") not in Names(found, known.tree).loose


def test_what_only_a_test_uses_is_no_longer_used_by_the_kernel() -> None:
    texts = sources(page=PAGE.replace("PT_SHIFT", "PD_SHIFT", 1))
    found = Tree(texts, {"test/t.s": "t:\n    mov eax, PT_SHIFT\n    ret\n"})
    assert "PT_SHIFT" in Names(found, Path("/nowhere")).orphans


@pytest.mark.parametrize(
    ("name", "near", "far"),
    [
        ("PTE_PRESENT", "PTE_WRITE", "PT_SHIFT"),
        ("PD_SHIFT", "PT_SHIFT", "PTE_WRITE"),
        ("BOX_COMMAND", "BOX_STATUS", "PTE_WRITE"),
        ("page_map", "page_map_large", "gpu_bar"),
        ("gpu_bar", "gpu_table", "page_map"),
    ],
)
def test_a_family_are_names_of_one_sort_that_share_words(name: str, near: str, far: str) -> None:
    family = Names(tree(), Path("/nowhere")).family(name, "gpu/gpu.s")
    assert near in family
    assert far not in family and name not in family


def test_an_orphan_is_the_first_of_its_family() -> None:
    paging = FILES["include/paging.inc"] + ".set PTE_GLOBAL, 0x100\n"
    texts = {**sources(), "include/paging.inc": paging}
    assert Names(Tree(texts), Path("/nowhere")).family("PTE_PRESENT", "mm/page.s")[0] == "PTE_GLOBAL"


def test_values_are_known_without_assembling() -> None:
    texts = {
        "a.inc": ".set A, B << 2\n.set B, 3\n.set C, C + 1\n.set D, outside\n.set E, ~A & 0xff\n.set F, E + A\n"
    }
    assert Names(Tree(texts), Path("/nowhere")).values == {"A": 12, "B": 3, "E": 0xF3, "F": 0xFF}


# --- what operators take from the view -----------------------------------------------------------------------


def site(known: Case, file: str, line: int) -> Site:
    found = Tree(known.sources)
    return Site(found.by_line[file, line][0], View(Reader(known, found)))


def notes(known: Case, file: str, text: str) -> dict[str, float]:
    at = site(known, file, line_of(known.sources[file], text))
    found: dict[str, float] = {}
    for variant in calls(at):
        line = variant.edits[0].new[0].strip()
        found[line] = min(found.get(line, 99.0), variant.bits)
    return found


def test_what_a_broken_contract_names_and_nothing_ran_is_called_first(tmp_path: Path) -> None:
    gpu = without(GPU, "call page_map")
    ran = frozenset({("gpu/gpu.s", line_of(gpu, "xor eax, eax"))})
    gate = broken("page_map_large")
    run = Run("boxes", True, 1.0, ran, frozenset())
    without_runs = case(tmp_path, sources(gpu=gpu), failures=(gate,))
    with_runs = replace(without_runs, runs=(run,))
    ran_it = replace(run, lines=ran | {("mm/page.s", line_of(PAGE, STORE, 1))})
    line = "call page_map_large"
    costs = [
        notes(known, "gpu/gpu.s", "xor eax, eax")[line]
        for known in (with_runs, without_runs, replace(with_runs, runs=(ran_it,)))
    ]
    assert costs[0] < 0
    assert costs[0] + 2 < min(costs[1:])
    assert View(Reader(with_runs, Tree(with_runs.sources))).unran == ("page_map_large",)
    passed = replace(with_runs, runs=(replace(run, failed=False),))
    assert View(Reader(passed, Tree(passed.sources))).unran == ()


def test_a_routine_that_nothing_calls_is_called(tmp_path: Path) -> None:
    """The macros that begin and end it are no use of it, and a test's call is none of the kernel's."""
    text = "function page_reset\n    wbinvd\n    ret\nend_function page_reset\n"
    texts = {**sources(), "cpu/reset.s": text}
    known = case(tmp_path, texts)
    found = Tree(texts, {"test/t.s": "t:\n    call page_reset\n    ret\n"})
    assert Names(found, known.tree).uncalled == ("page_reset", "page_map_large")
    offered = notes(known, "gpu/gpu.s", "jc .Linit_leave")
    assert offered["call page_reset"] < 2
    called = {
        **texts,
        "gpu/gpu.s": GPU.replace("    xor eax, eax\n", "    call page_reset\n    xor eax, eax\n"),
    }
    assert "page_reset" not in Names(Tree(called), known.tree).uncalled


def test_macros_that_only_declare_a_name_bracket_it() -> None:
    found = named()
    assert found.brackets["function"] == found.brackets["end_object"] == {0}
    assert found.brackets["zeroes"] == found.brackets["call_frame"] == set()


def test_a_value_is_adjusted_by_what_its_neighbours_are_made_of(tmp_path: Path) -> None:
    text = (
        ".set PITCH, 4096\n.set LINES, 3\n.set PAD, 1\n.global row_at\n# row_at -- the address of a row\n"
        "# In:       rdi = base:u64\n# Out:      rax = address:u64, rdx = end:u64\n# Clobbers: rcx\n"
        "# Context:  long mode\nrow_at:\n    mov rdx, PITCH * (LINES + PAD)\n    mov rax, rdi\n"
        "    mov rcx, PAD\n    add rdx, rdi\n    ret\n"
    )
    known = case(tmp_path, {"gpu/row.s": text})
    offered = {
        v.edits[0].new[0].strip(): v.bits
        for v in adjustments(site(known, "gpu/row.s", line_of(text, "add rdx, rdi")))
    }
    assert {"add rax, PITCH * LINES", "add rax, PITCH * PAD", "sub rax, PITCH"} <= offered.keys()
    assert offered["add rax, PITCH * LINES"] < offered["sub rax, PITCH * LINES"]
    assert not any(line.startswith("add rdi") for line in offered)  # nothing has just made it
    assert not any(line.startswith("add rcx") for line in offered)  # nothing uses it


def test_the_twin_is_the_register_that_was_made_beside_its_like(tmp_path: Path) -> None:
    text = (
        ".global pair\n# pair -- two halves\n# In:       rdi = pair:ptr, rsi = other:u64\n"
        "# Out:      rax = low:u64, rdx = high:u64\n# Clobbers: rcx\n# Context:  long mode\n"
        "pair:\n    mov rcx, rsi\n    mov rax, [rdi]\n    mov rdx, [rdi + 8]\n"
        "    shr rax, 12\n    add rax, rcx\n    ret\n"
    )
    known = case(tmp_path, {"mm/pair.s": text})
    offered = sorted(
        (v.bits, v.edits[0].new[0].strip())
        for v in twins(site(known, "mm/pair.s", line_of(text, "add rax, rcx")))
    )
    assert offered[0][1] == "shr rdx, 12"


# --- what a case demands -------------------------------------------------------------------------------------


def run(name: str, *lines: int, failed: bool = True) -> Run:
    return Run(name, failed, 1.0, frozenset(("a.s", n) for n in lines), frozenset())


@pytest.mark.parametrize(
    ("runs", "several"),
    [
        ((run("a", 1, 2), run("b", 3)), True),
        ((run("a", 1, 2), run("b", 2, 3)), False),
        ((run("a", 1, 2), run("b", 3, failed=False)), False),
        ((run("a", 1, 2), run("b", 2, 3), run("c", 1, 3)), True),
        ((run("a", 1, 9), run("b", 3, 9), run("c", 9, failed=False), run("d", 9, failed=False)), True),
        (
            (run("a", 1, 9), run("b", 3, 9), run("c", 9, failed=False), *(run("d", 4, failed=False),) * 2),
            False,
        ),
        ((run("a", 1),), False),
        ((), False),
    ],
)
def test_failing_calls_with_no_line_in_common_but_everybodys_have_several_causes(
    runs: tuple[Run, ...], several: bool
) -> None:
    known = Case(Path("/nowhere"), {}, None, None, None, runs=runs)
    assert Demands.of(Diagnosis(known)).several is several


def test_two_diagnoses_of_one_tree_are_one() -> None:
    static = Case(Path("/nowhere"), {}, None, None, None, failures=(broken("f"),), runs=(run("a", 1),))
    booted = Case(Path("/nowhere"), {}, None, None, None, failures=(GateResult("boot", False, 0.1),))
    both = Diagnosis(static, timeout=1.0, boots=0).joined(
        Diagnosis(booted, timeout=3.0, boots=2, incomplete=True)
    )
    assert [gate.gate for gate in both.case.failures] == ["contract", "boot"]
    assert (both.case.runs, both.timeout, both.boots, both.incomplete) == (static.runs, 3.0, 2, True)
    assert Demands.of(both).contracts == ("f",)


def test_nothing_is_blamed_without_evidence(tmp_path: Path) -> None:
    known = case(tmp_path, sources())
    assert list(settings(Reader(known, Tree(known.sources)))) == []
