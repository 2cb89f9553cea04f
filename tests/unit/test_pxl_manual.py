"""PXL.md says what is so: its programs do what is printed below them, its tables name what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pixelvm.assembler import SOURCE_MAX
from pixelvm.pxl import checker, compiler, expressions, faults, generator, lexer, lower, optimiser
from tests.unit.pxos import pxos

MANUAL = Path(compiler.__file__).parents[1] / "PXL.md"
TEXT = MANUAL.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```pxl\n(.*?)```\n\n```(output|error)\n(.*?)```", TEXT, re.DOTALL)


def test_every_program_has_its_outcome() -> None:
    assert len(BLOCKS) == TEXT.count("```pxl\n") >= 4


@pytest.mark.parametrize(("source", "kind", "expected"), BLOCKS)
def test_a_program(
    source: str, kind: str, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.pxl").write_text(source)
    answer = pxos("vm", "run", "p.pxl")
    if kind == "output":
        assert (answer.status, answer.output) == (0, expected)
        assert pxos("vm", "verify", "p.pxl").status == 0
    else:
        assert answer.status == 2
        assert [line for line in expected.splitlines() if line not in answer.errors] == []


def test_every_keyword_and_operator_is_told() -> None:
    words = [*lexer.KEYWORDS, *expressions.RANKS, *expressions.ASSIGNMENTS, *lower.SYSTEM, lower.LENGTH]
    assert [word for word in words if word not in TEXT.replace("\\|", "|")] == []


def test_the_ranks_are_those_of_the_table() -> None:
    rows = re.findall(r"^\| `([^`]+)` \|", TEXT.replace("\\|", "|"), re.MULTILINE)
    told = [row.split() for row in rows[: rows.index("- ~ !") if "- ~ !" in rows else None]]
    ranked = [row for row in told if set(row) <= set(expressions.RANKS)]
    by_rank = [[o for o in expressions.RANKS if expressions.RANKS[o] == rank] for rank in range(1, 10)]
    assert [sorted(row) for row in ranked] == [sorted(row) for row in by_rank]


def test_the_library_is_told() -> None:
    for path in compiler.LIBRARY.glob("*.pxl"):
        functions = [
            name for name in re.findall(r"^fn (\w+)", path.read_text(), re.MULTILINE) if name != "sha256_mix"
        ]
        assert f"| `{path.stem}` |" in TEXT
        assert [name for name in functions if f"`{name}(" not in TEXT] == []


def test_the_limits_are_those_of_the_compiler() -> None:
    limits = TEXT[TEXT.index("## Functions") :]
    assert f"up to {checker.VALUES_MAX} of each" in limits
    assert (
        f"at most {generator.HELD_MAX} waiting values" in limits and f"{generator.DEPTH_MAX} more" in limits
    )
    assert f"{expressions.DEPTH_MAX} levels of nesting" in limits
    assert f"{compiler.SOURCES_MAX} sources of {SOURCE_MAX >> 20} MiB" in limits
    assert optimiser.INLINE_MAX == 8 and "up to eight instructions" in limits
    assert faults.ERRORS_MAX > 1
