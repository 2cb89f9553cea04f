"""What a foreign kernel said rightly speaks for the code that said it, and what it said wrongly against it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from architect.coverage import Run
from architect.foreign import csearch, said
from architect.foreign.cplaces import Sources, weights
from architect.foreign.csearch import CSearch, Way, ways
from architect.foreign.tongue import Translation
from architect.foreign.workspace import ForeignCopy, others
from architect.protocols import Case
from architect.spectrum import ochiai
from toolchain.foreign import config

KERNELS = Path(__file__).resolve().parents[1] / "fixtures/kernels"
SCREEN = "the screen"


def asked(kernel: str, text: str) -> tuple[dict[str, str], tuple[Run, ...]]:
    """The sources of a kernel, and the rows of a boot that ran all of it and said a text."""
    copy = ForeignCopy(config.load(KERNELS / kernel))
    sources = dict(copy.sources())
    translation = Translation(copy.foreign.syntax, {**others(copy), **sources})
    every = frozenset((name, n) for name, t in sources.items() for n in range(1, t.count("\n") + 2))
    assert copy.foreign.ready is not None
    found = said.rows({SCREEN: text}, copy.foreign.ready, sources, translation, every)
    return sources, (Run("the boot", True, 1.0, every, frozenset()), *found)


def blamed(sources: dict[str, str], runs: tuple[Run, ...], file: str, text: str) -> float:
    """The measure of the first line that holds a text."""
    table = ochiai([(run.failed, run.weight, dict.fromkeys(run.lines, 1.0)) for run in runs])
    line = next(n for n, row in enumerate(sources[file].split("\n"), 1) if text in row)
    return table[file, line]


@pytest.mark.parametrize(
    ("line", "guilty", "innocent"),
    [
        ("64 frames, 3 free, crc 414FA339, order ok", ("frames.c", "count++"), ("text.c", "value >> shift")),
        ("64 frames, 61 free, crc 14FA339, order ok", ("text.c", "value >> shift"), ("frames.c", "count++")),
        ("64 frames, 61 free, crc 41FB859F, order ok", ("text.c", "return ~crc"), ("text.c", "value /= 10")),
        ("64 frames, 61 free, crc 414FA339, order WRONG", ("main.c", "return first"), ("text.c", "return ~")),
    ],
)
def test_the_code_of_a_wrong_piece_is_blamed(
    line: str, guilty: tuple[str, str], innocent: tuple[str, str]
) -> None:
    sources, runs = asked("c-multiboot", f"C kernel: {line}")
    bad, good = (blamed(sources, runs, f"src/{file}", text) for file, text in (guilty, innocent))
    assert bad > 1.3 * good


def test_assembly_says_pieces_too() -> None:
    sources, runs = asked("att-multiboot", "ticks: 5, page: 0x00407766")
    assert blamed(sources, runs, "src/start.s", "window, %eax") > 2 * blamed(
        sources, runs, "src/start.s", "addb    $'0'"
    )
    _, runs = asked("att-multiboot", "ticks: 1, page: 0x00C0FFEE")
    assert blamed(sources, runs, "src/start.s", "addb    $'0'") > 2 * blamed(
        sources, runs, "src/start.s", "window, %eax"
    )
    sources, runs = asked("nasm-flat", "flat64: up, sum 0xAF00000000000000")
    assert blamed(sources, runs, "main.asm", "rol rdi, 4") > 1.5 * blamed(sources, runs, "boot.asm", "lgdt")


@pytest.mark.parametrize("text", ["", "something else", "C kern"])
def test_nothing_said_is_no_judgement(text: str) -> None:
    assert len(asked("c-multiboot", text)[1]) == 1


def test_a_sound_line_blames_nobody() -> None:
    _, runs = asked("c-multiboot", "C kernel: 64 frames, 61 free, crc 414FA339, order ok")
    assert not any(run.failed for run in runs[1:]) and len(runs) > 4


def test_the_search_of_c_follows_the_judgements() -> None:
    sources, runs = asked("c-multiboot", "C kernel: 64 frames, 3 free, crc 414FA339, order ok")
    case = Case(KERNELS / "c-multiboot", sources, None, None, None, runs=runs[:1])
    before, after = (weights(c, Sources(sources)) for c in (case, replace(case, runs=runs)))
    guilty = next(n for n, row in enumerate(sources["src/frames.c"].split("\n"), 1) if "count++" in row)

    def share(table: dict[tuple[str, int], float]) -> float:
        return table["src/frames.c", guilty] / sum(table.values())

    assert share(after) > 1.5 * share(before)
    assert next(CSearch().propose(case))


def test_a_large_tree_of_equal_lines_is_proposed_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing tells lines apart the best of some hundreds is taken, not of all."""
    body = "".join(f"    value{n} = count + {n};\n" for n in range(6))
    sources = {f"file{n}.c": f"void f{n}(void)\n{{\n{body}}}\n" for n in range(50)}
    opened = []

    def counted(*place: Any) -> Iterator[Way]:
        opened.append(place)
        return ways(*place)

    monkeypatch.setattr(csearch, "ways", counted)
    monkeypatch.setattr(csearch, "AHEAD", 40)
    stream = CSearch().propose(Case(KERNELS, sources, None, None, None))
    found = [next(stream) for _ in range(3)]
    assert len({patch.edits for patch in found}) == 3 and len(opened) <= 120


def test_the_order_of_c_edits_is_that_of_their_bits() -> None:
    sources, runs = asked("c-multiboot", "C kernel: 64 frames, 3 free, crc 414FA339, order ok")
    case = Case(KERNELS / "c-multiboot", sources, None, None, None, runs=runs)
    costs = [patch.cost for patch, _ in zip(CSearch().propose(case), range(2000), strict=False)]
    assert costs == sorted(costs)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    digits[at--] = '0';", "    digits[--at] = '0';"),
        ("    digits[++at] = '0';", "    digits[at++] = '0';"),
        ("    map[n] &= (1u << n);", "    map[n] &= ~(1u << n);"),
        ("    value %= 10;", "    value /= 10;"),
        ("    *cell(row, n) = COLOUR & (uint8_t)n;", "    *cell(row, n) = COLOUR | (uint8_t)n;"),
    ],
)
def test_a_line_of_c_is_offered_its_repair(old: str, new: str) -> None:
    sources = Sources({"a.c": f"void f(unsigned n)\n{{\n{old}\n}}\n"})
    assert new in [way.edits[0].new[0] for way in ways(sources, "a.c", 3) if way.edits[0].new]
    case = Case(Path(), {"a.c": f"void f(unsigned n)\n{{\n{old}\n}}\n"}, None, None, None)
    assert weights(case, sources).get(("a.c", 3), 0) > 0  # a store through a pointer is no comment


@pytest.mark.parametrize(
    "new",
    ["    n == 1;", "    n + 1 = 1;", "    ~n = 1;", "    *n = 1;"],
    ids=["compared", "off", "not", "at"],
)
def test_what_is_no_c_or_does_nothing_is_not_offered(new: str) -> None:
    sources = Sources({"a.c": "void f(unsigned n)\n{\n    n = 1;\n}\n"})
    assert new not in [way.edits[0].new[0] for way in ways(sources, "a.c", 3) if way.edits[0].new]


def test_truth_is_not_off_by_one() -> None:
    sources = Sources({"a.c": "int f(int good, int n)\n{\n    return good ? n : 0;\n}\n"})
    found = [way.edits[0].new[0] for way in ways(sources, "a.c", 3) if way.edits[0].new]
    assert not any("good - 1" in line or "good + 1" in line for line in found)
    assert any("n + 1" in line for line in found)
