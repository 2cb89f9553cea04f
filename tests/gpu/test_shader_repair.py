"""The repair of shaders: what the gates notice, what the search finds, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from architect import corpus, kinds
from architect.diagnosis import Demands
from architect.protocols import Edit, Evaluation, Patch
from architect.shaders import gates, probes, proof, search, source
from architect.shaders.operators import Scope, variants
from architect.shaders.search import ShaderSearch, places
from architect.shaders.tree import ShaderBench
from architect.workspace import TreeCopy

ROOT = Path(__file__).resolve().parents[2]
SHADERS = ROOT / "shaders"
BUGS = {bug.id: bug for bug in corpus.load(ROOT / "tests/bugs/shaders")}
TEXTS = proof.texts(SHADERS)


@pytest.fixture(scope="module")
def judge() -> Iterator[gates.Gates]:
    with gates.Gates() as opened:
        yield opened


def test_the_probes_hold_for_the_shaders_as_they_are(judge: gates.Gates) -> None:
    files = ["embedding.wgsl", "joins.wgsl", "sampling.wgsl"]
    for name in (*gates.THOROUGH, gates.HELD_OUT):
        assert judge.ask(name, TEXTS, files).gate.passed, name


def test_every_shader_with_a_host_side_has_a_probe() -> None:
    probed = {file for probe in probes.probes() for file in probe.files}
    elsewhere = {"ceiling.wgsl", "god_pixel.wgsl", "pixel_vm.wgsl"}  # judged by their own engines' tests
    assert {name for name in TEXTS if not name.startswith("mailbox")} == probed | elsewhere


@pytest.mark.parametrize("size", [*probes.SIZES, *probes.OTHER_SIZES])
def test_no_size_is_asked_twice(size: probes.Size) -> None:
    assert size not in probes.HELD_OUT_SIZES


def bench(judge: gates.Gates, tmp_path: Path, name: str) -> ShaderBench:
    planted = corpus.plant(BUGS[name], SHADERS, tmp_path / "tree")
    return ShaderBench(TreeCopy(planted, (".wgsl",), None), judge, tmp_path)


def tried(on: ShaderBench, demands: Demands, file: str, old: str, new: str) -> Evaluation:
    lines = on.workspace.sources()[file].split("\n")
    at = next(n for n, line in enumerate(lines) if line.strip() == old)
    return on.verify(Patch((Edit(file, at + 1, (lines[at],), (new,)),), "t", "t", "t"), 0, demands)


def test_a_bug_is_diagnosed_localised_and_repaired(judge: gates.Gates, tmp_path: Path) -> None:
    on = bench(judge, tmp_path, "shader-second-half")
    found = on.diagnose((*gates.STATIC, *gates.RUNS), 0)
    assert [gate.gate for gate in found.case.failures] == ["reference"]
    assert "embedding f16" in found.case.failures[0].message
    first = max(places(found.case), key=lambda row: row[2])
    assert first[0] in ("embedding.wgsl", "weights.wgsl")
    demands = Demands.of(found)
    engine = ShaderSearch()
    for number, patch in enumerate(engine.propose(found.case)):
        evaluation = on.verify(patch, 0, demands)
        engine.observe(evaluation)
        if evaluation.passed:
            break
        assert number < 400, "the search did not find it"
    rows, boots = on.finalise(patch, 0, demands)
    assert boots == 0 and [row.gate for row in rows] == ["fresh-copy", *gates.THOROUGH]
    assert all(row.passed for row in rows), rows
    assert "2u * source + 1u" in on.workspace.apply(patch)["embedding.wgsl"]


def test_what_only_looks_right_is_refused(judge: gates.Gates, tmp_path: Path) -> None:
    on = bench(judge, tmp_path, "shader-second-half")
    demands = Demands.of(on.diagnose((*gates.STATIC, *gates.RUNS), 0))
    line = "let v = table[2u * source];"
    elsewhere = tried(on, demands, "joins.wgsl", "var l = 0.0;", "  var l = 0.0 + 0.0;")
    assert not elsewhere.passed and elsewhere.gates[-1].gate == "reference", "what was broken is asked again"
    broken = tried(on, demands, "embedding.wgsl", line, "    let v = tabel[2u * source + 1u];")
    assert (broken.gates[-1].gate, broken.passed) == ("compiles", False)
    endless = tried(on, demands, "embedding.wgsl", line, "    let v = table[2u * source + 1u]; loop { }")
    assert endless.gates[-1].gate in ("compiles", "loops") and not endless.passed
    still = tried(
        on, demands, "embedding.wgsl", line, "    let v = table[2u * source + 1u]; while at < 9u { }"
    )
    assert (still.gates[-1].gate, still.passed) == ("loops", False)
    outside = on.verify(Patch((Edit("README.md", 1, (), ("x",)),), "t", "t", "t"), 0, demands)
    assert not outside.passed and "may edit *.wgsl" in outside.gates[-1].message


def test_loops_that_cannot_end_are_told_from_those_that_do() -> None:
    assert [loop for text in TEXTS.values() for loop in source.endless(text)] == []
    for body in (
        "for (var i = 0u; i < n; ) { s += 1u; }",
        "loop { s += 1u; }",
        "while s < n { t += 1u; }",
        "for (;;) { s++; }",
        "for (var i = 0u; i < n; j++) { s += i; }",
    ):
        assert [loop.line for loop in source.endless(f"fn f() {{\n  {body}\n}}\n")] == [2], body
    for body in (
        "while s < n { s += 1u; }",
        "loop { if s > n { break; } }",
        "for (var i = 0u; i < n; ) { f(&i); }",
    ):
        assert not list(source.endless(f"fn f() {{\n  {body} // for (;;) {{ }}\n}}\n")), body


def test_operators_offer_the_repair_of_each_single_edit_bug() -> None:
    """Whatever its place in the order: the text that was there is among the variants of its line."""
    hard = {"shader-weights-not-summed"}  # a statement that nothing in the file resembles enough
    for name, bug in BUGS.items():
        if bug.reference_edits > 1 or name in hard:
            continue
        ((file, text),) = corpus.changed(bug, TEXTS).items()
        lines, wanted = text.split("\n"), TEXTS[file].split("\n")
        code = source.blanked(text).split("\n")
        names = [t.text for row in code for t in source.tokens(row)]
        scope = Scope(names, names, [], dict.fromkeys(names, 1), code, shared=True)
        offered = set()
        for at in range(1, len(lines) + 1):
            if lines[at - 1] != (wanted[at - 1] if at <= len(wanted) else None):
                for variant in variants(at, lines[at - 1], code[at - 1], scope):
                    new = [*lines[: at - 1], *variant.new, *lines[at - 1 + (not variant.before) :]]
                    offered.add(tuple(" ".join(row.split()).replace(" ]", "]") for row in new))
                break
        assert tuple(" ".join(row.split()) for row in wanted) in offered, name


def test_a_folder_of_shaders_is_recognised(tmp_path: Path) -> None:
    shutil.copy(SHADERS / "joins.wgsl", tmp_path)
    assert kinds.of(tmp_path).name == "shaders"
    assert kinds.of(ROOT / "kernel").name == "kernel"


def test_a_variable_that_nothing_changes_is_continued_as_its_neighbour_is() -> None:
    code = """fn main(at: u32, parts: u32) {
  var sum = vec4f();
  var l = 0.0;
  var counted = 0u;
  var by_pointer = 0u;
  for (var i = 0u; i < parts; i++) {
    sum += fade[i] * parts[at + i];
    counted++;
    take(&by_pointer);
  }
  out[at] = sum / l;
}"""
    lines = code.split("\n")
    unwritten = search.unwritten(code)
    assert unwritten == ["l"]
    scope = Scope(["at", "ate", "l"], [], [], {}, lines, unwritten=unwritten)
    found = [v for v in variants(8, lines[7], lines[7], scope) if v.name == "update"]
    rows = [v.new[0].strip() for v in found]
    assert {"l += fade[i] * parts[at + i];", "l += fade[i] * parts[ate + i].y;"} <= set(rows)
    assert all(v.before and v.bits < 0 for v in found), "what is plainly wrong comes before what may be"
    assert not [v for v in variants(11, lines[10], lines[10], scope) if v.name == "update"]
