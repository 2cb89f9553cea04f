"""Where the evidence leads: settings of the CPU, judgements, words, and how they are mixed into one distribution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import sqrt
from pathlib import Path

import pytest

from architect.blame import judged
from architect.clue import Evidence
from architect.control import contradictions, settings
from architect.coverage import Run
from architect.evidence import Reader
from architect.localise import Localisation, localise, mix
from architect.protocols import Case, GateResult
from architect.source import Tree
from architect.spectrum import Judgement, judgements, suspicion
from architect.wording import Wording, words
from tests.architect.cases import report
from tests.architect.kernels import GPU, MACROS, PAGE, PAGING, broken, case, line_of, sources, tree
from toolchain.types import BootResult, Exception_, Unit

Key = tuple[str, int]

MODES = """\
.set EFER, 0xc0000080
.set EFER_NXE, 0x800
.set CR4_OSFXSR, 0x200
.section .text, "ax"
.global modes_set
# modes_set -- switch on what the kernel uses
# In:       none
# Out:      none
# Clobbers: rax
# Context:  long mode
modes_set:
    mov rax, cr4
    or rax, CR4_OSFXSR
    mov cr4, rax
    ret
.global nx_set
# nx_set -- switch on no-execute
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode
nx_set:
    mov ecx, EFER
    rdmsr
    or eax, EFER_NXE
    wrmsr
    ret
"""
STORE, FLAGS = (
    ("mm/page.s", line_of(PAGE, "mov [rcx], rbx")),
    ("mm/page.s", line_of(PAGE, "or rbx, PTE_PRESENT | PTE_WRITE")),
)
OTHER = ("mm/page.s", line_of(PAGE, "mov [rcx], rbx", 1))
CALL = ("gpu/gpu.s", line_of(GPU, "call page_map"))


def of(lines: Mapping[Key, float], text: str, file: str = "cpu/modes.s", source: str = MODES) -> float:
    return lines.get((file, line_of(source, text)), 0.0)


# --- settings of the CPU -------------------------------------------------------------------------------------


def died(folder: Path, vector: int, *decoded: str) -> Reader:
    """A case that died of an exception, in a tree that sets CR4 and EFER."""
    chain = (Exception_(vector, "#XX", 0, decoded, 0x10, 0x2000, "kernel"),)
    known = case(folder, {"cpu/modes.s": MODES}, report=replace(report(), chain=chain))
    return Reader(known, Tree(known.sources))


@pytest.mark.parametrize(
    ("vector", "decoded", "store", "made"),
    [
        (6, (), "mov cr4, rax", "or rax, CR4_OSFXSR"),
        (7, (), "mov cr4, rax", "or rax, CR4_OSFXSR"),
        (14, ("present", "reserved bit"), "wrmsr", "or eax, EFER_NXE"),
    ],
)
def test_an_exception_leads_to_the_setting_that_decides_about_it(
    tmp_path: Path, vector: int, decoded: tuple[str, ...], store: str, made: str
) -> None:
    (found,) = settings(died(tmp_path, vector, *decoded))
    assert found.kind == "control"
    assert of(found.lines, store) == 1.0 > of(found.lines, made) > 0
    other = "wrmsr" if store != "wrmsr" else "mov cr4, rax"
    assert of(found.lines, other) == 0
    assert of(
        localise(died(tmp_path, vector, *decoded).case, Tree({"cpu/modes.s": MODES})).scores, made
    ) > of(localise(died(tmp_path, 13).case, Tree({"cpu/modes.s": MODES})).scores, made)


@pytest.mark.parametrize(("vector", "decoded"), [(14, ("write",)), (13, ()), (8, ())])
def test_other_exceptions_blame_no_setting(tmp_path: Path, vector: int, decoded: tuple[str, ...]) -> None:
    assert list(settings(died(tmp_path, vector, *decoded))) == []


def test_no_exception_blames_no_setting(tmp_path: Path) -> None:
    known = case(tmp_path, {"cpu/modes.s": MODES})
    assert list(settings(Reader(known, Tree(known.sources)))) == []


# --- the mixture ---------------------------------------------------------------------------------------------


def piece(kind: str, *keys: Key, trust: float = 3.0) -> Evidence:
    return Evidence(kind, trust, f"{kind} says so", dict.fromkeys(keys, 1.0))


def test_the_shares_are_one_together_and_every_line_has_one() -> None:
    found = mix([piece("slice", STORE)], tree())
    assert sum(found.scores.values()) == pytest.approx(1.0)
    code = [s.key for s in tree().statements() if s.kind == "instruction"]
    assert all(found.score(key) > 0 for key in code)
    assert found.ranked()[0].line == STORE[1]
    assert found.reasons(STORE)[0] == "slice says so"


def test_two_kinds_of_evidence_tell_more_than_one_kind_twice() -> None:
    two = mix([piece("slice", STORE), piece("gate", STORE), piece("words", OTHER)], tree())
    one = mix([piece("slice", STORE), piece("slice", STORE), piece("words", OTHER)], tree())
    assert two.score(STORE) / two.score(OTHER) > 1.5 * one.score(STORE) / one.score(OTHER)


def test_trust_decides_between_lines() -> None:
    found = mix([piece("slice", STORE, trust=2.0), piece("gate", OTHER, trust=4.0)], tree())
    assert found.score(OTHER) > 2 * found.score(STORE)


def test_a_line_that_no_failing_run_executed_falls_behind() -> None:
    evidence = [piece("slice", STORE, FLAGS, OTHER)]
    plain, seen = mix(evidence, tree()), mix(evidence, tree(), {STORE: 1.0, FLAGS: 0.5})
    assert plain.score(OTHER) == pytest.approx(plain.score(STORE))
    assert seen.score(STORE) > 3 * seen.score(FLAGS) > 3 * 5 * seen.score(OTHER) > 0
    assert sum(seen.scores.values()) == pytest.approx(1.0)


def test_suspicion_goes_on_to_what_a_line_names() -> None:
    """To the constant's definition, the datum, the macro's body, and the lines that write the variable."""
    stores = "    mov [rip + gpu_table], rcx\n    mov [rip + gpu_bar], rcx\n"
    gpu = GPU.replace("    mov rsi, rdi\n", f"    mov rsi, rdi\n{stores}")
    load = ("gpu/gpu.s", line_of(gpu, "mov rdx, [rip + gpu_table]"))
    macro = ("gpu/gpu.s", line_of(gpu, "call_frame"))
    found = mix([piece("slice", FLAGS, load, macro)], Tree(sources(gpu=gpu)))
    pairs = [  # what is named, something of the sort that is not, and why
        ((gpu, "gpu_table: .quad 0"), (gpu, "gpu_bar: .quad 0"), "gpu_table is used at gpu/gpu.s"),
        ((gpu, "mov [rip + gpu_table], rcx"), (gpu, "mov [rip + gpu_bar], rcx"), "it writes gpu_table"),
        ((PAGING, ".set PTE_WRITE, 2"), (PAGING, ".set PTE_LARGE, 0x80"), "PTE_WRITE is used at mm/page.s"),
        ((MACROS, "mov rbp, rsp"), (MACROS, "pop rbp"), "macro call_frame is used at gpu/gpu.s"),
    ]
    files = {gpu: "gpu/gpu.s", PAGING: "include/paging.inc", MACROS: "include/macros.inc"}
    for named, other, why in pairs:
        key, calm = ((files[text], line_of(text, line)) for text, line in (named, other))
        assert found.score(key) > 1.2 * found.score(calm)
        assert any(reason.startswith(why) for reason in found.reasons(key))


def test_a_definition_is_no_use_of_its_constant() -> None:
    found = mix([piece("slice", STORE)], tree())
    for line in range(1, 8):
        reasons = found.reasons(("include/paging.inc", line))
        assert not any(f"paging.inc:{line}" in reason for reason in reasons)


def test_only_what_may_be_edited_is_suspected() -> None:
    texts = sources()
    found = Tree({"mm/page.s": texts.pop("mm/page.s")}, texts)
    assert {file for file, _ in mix([piece("slice", CALL)], found).scores} == {"mm/page.s"}


def test_sharpened_shares_are_one_together() -> None:
    flat = Localisation({STORE: 0.5, OTHER: 0.5}, {STORE: [(0.5, "why")]})
    found = flat.sharpened(lambda key: 3.0 if key == STORE else 1.0)
    assert (found.score(STORE), found.score(OTHER)) == (0.75, 0.25)
    assert found.reasons(STORE) == ("why",)


# --- judgements ----------------------------------------------------------------------------------------------


def blamed(known: Case) -> dict[str, Evidence]:
    return {e.kind: e for e in judged(Reader(known, Tree(known.sources)))}


def test_a_place_in_the_evidence_is_blamed_and_its_neighbours_less(tmp_path: Path) -> None:
    gate = GateResult(
        "checks", False, 0.0, "", {"findings": [{"file": STORE[0], "line": STORE[1], "rule": "r"}]}
    )
    lines = blamed(case(tmp_path, sources(), failures=(gate,)))["gate"].lines
    shares = [lines.get((STORE[0], STORE[1] + away), 0.0) for away in range(5)]
    assert shares == [1.0, 0.4, 0.2, 0.1, 0.0]


@pytest.mark.parametrize("astray", ["a", "a.", "aB", "9", "a ", ":", "\n"])
def test_what_a_machine_that_went_astray_said_is_read_at_both_ends_only(tmp_path: Path, astray: str) -> None:
    """Reading all of it took time with the square of its length: an hour for each of these."""
    place = f"{STORE[0]}:{STORE[1]}"
    said = {"COM1": f"{place} {astray * (1 << 20)} {OTHER[0]}:{OTHER[1]}"}
    lines = blamed(case(tmp_path, sources(), failures=(GateResult("boot", False, 0.0, "", said),)))[
        "gate"
    ].lines
    assert (lines[STORE], lines[OTHER]) == (1.0, 1.0)


def test_of_very_many_texts_the_first_are_read(tmp_path: Path) -> None:
    said = {"lines": [f"{STORE[0]}:{STORE[1]}", *["x"] * 1000, f"{OTHER[0]}:{OTHER[1]}"]}
    lines = blamed(case(tmp_path, sources(), failures=(GateResult("boot", False, 0.0, "", said),)))[
        "gate"
    ].lines
    assert STORE in lines and OTHER not in lines


def test_a_routine_is_blamed_and_first_where_it_touches_the_register(tmp_path: Path) -> None:
    gate = broken("page_map", "rbx is not preserved")
    lines = blamed(case(tmp_path, sources(), failures=(gate,)))["gate"].lines
    assert lines[STORE] == 2 * lines["mm/page.s", line_of(PAGE, "shr rcx, PT_SHIFT")] > 0
    assert OTHER not in lines


def test_who_calls_what_else_is_blamed_is_blamed_less(tmp_path: Path) -> None:
    both = (
        replace(
            broken("page_map"), evidence={"violations": [{"routine": "page_map"}, {"routine": "gpu_init"}]}
        ),
    )
    lines = blamed(case(tmp_path, sources(), failures=both))["gate"].lines
    alone = blamed(case(tmp_path, sources(), failures=(broken("gpu_init"),)))["gate"].lines
    assert lines[CALL] == pytest.approx(0.3 * alone[CALL])


def test_a_boot_unit_stands_for_the_routine_that_runs_it(tmp_path: Path) -> None:
    gate = GateResult("boot", False, 0.0, "unit gpu failed")
    lines = blamed(case(tmp_path, sources(), failures=(gate,)))["gate"].lines
    assert CALL in lines and STORE not in lines


def test_what_broken_contracts_ran_is_evidence(tmp_path: Path) -> None:
    runs = (
        Run("pages", True, 1.0, frozenset({STORE, FLAGS}), frozenset()),
        Run("boxes", False, 1.0, frozenset({FLAGS}), frozenset()),
    )
    found = blamed(case(tmp_path, sources(), runs=runs))["coverage"]
    assert found.lines[STORE] == 1.0 > found.lines[FLAGS] > 0
    assert found.reason == "contract pages broke where it ran"


def test_a_failed_test_blames_the_routines_of_its_name(tmp_path: Path) -> None:
    boot = booted({"map large": False, "other": True})
    texts = {**sources(), "test/t.s": "test_map_large:\n    call page_map_large\n    ret\n"}
    found = blamed(case(tmp_path, texts, boot=boot))["spectrum"]
    assert found.lines[OTHER] > 0
    assert STORE not in found.lines


def booted(tests: dict[str, bool], *units: Unit) -> BootResult:
    return BootResult("tests-failed", 1.0, 0, "", units, tests, None, None, "", None, (), None)


def row(name: str, failed: bool, weight: float = 1.0, **runs: int) -> Judgement:
    return Judgement(name, failed, weight, runs)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row("a", True, f=0, g=1), row("b", False, g=0)], {"f": 1.0, "g": 0.9 / sqrt(2)}),
        ([row("a", True, f=0), row("b", True, f=0)], {"f": 1.0}),
        ([row("a", True, f=0), row("b", True, g=0)], {"f": sqrt(0.5), "g": sqrt(0.5)}),
        ([row("a", True, f=2), row("b", False, 0.3, f=0)], {"f": 0.81 / sqrt(1.3)}),
        ([row("a", False, f=0)], {}),
        ([], {}),
    ],
)
def test_suspicion_is_what_failed_judgements_have_in_common(
    rows: list[Judgement], expected: dict[str, float]
) -> None:
    assert suspicion(rows) == pytest.approx(expected)


def test_the_judgements_of_a_boot_are_its_tests_and_units(tmp_path: Path) -> None:
    units = (Unit("gpu", "start", 1, 1), Unit("unknown", "ok", 2, 1))
    known = case(tmp_path, sources(), boot=booted({"maps": True}, *units))
    found = list(judgements(known, tree(), {"gpu": "gpu_init"}, lambda name: ["page_map"]))
    assert [(j.name, j.failed, dict(j.runs)) for j in found] == [
        ("test maps", False, {"page_map": 0}),
        ("unit gpu", True, {"gpu_init": 0, "page_map": 1}),
    ]


# --- words ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("PTE_TABLE_BITS", ["pte", "table", "bit"]),
        ("the limits of the IDT", ["the", "limit", "the", "idt"]),
        ("is 3 of bus", ["bus"]),
        ("mapLarge", ["map", "large"]),
        ("", []),
    ],
)
def test_words(text: str, expected: list[str]) -> None:
    assert words(text) == expected


def test_what_speaks_like_the_failure_is_found() -> None:
    lines = Wording(tree()).lines(["the registers of the box were not reset: BOX_STATUS"])
    status = ("gpu/gpu.s", line_of(GPU, "mov dword ptr [rdi + BOX_STATUS], 0"))
    assert lines[status] > lines[CALL] > lines.get(STORE, 0.0)


def test_rare_words_tell_more() -> None:
    wording = Wording(tree())
    assert wording.rarity("large") > wording.rarity("page") > wording.rarity("nowhere") == 0.0


@pytest.mark.parametrize(("bit", "suspected"), [(63, False), (62, True)])
def test_the_highest_bit_contradicts_nothing_where_it_came_out_as_a_sign(
    tmp_path: Path, bit: int, suspected: bool
) -> None:
    texts = sources(paging=f"{PAGING}.set PTE_NX, 1 << {bit}\n")
    found = list(contradictions(Reader(case(tmp_path, texts), Tree(texts))))
    assert [list(piece.lines) for piece in found] == [[("include/paging.inc", 8)]] * suspected
