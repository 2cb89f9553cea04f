"""What a repair of a foreign tree may not do, and how C is searched."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from architect.foreign import cplaces, csearch, words_of_ready
from architect.foreign.workspace import ForeignCopy
from architect.protocols import Case, Edit, Patch
from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain.errors import InputError
from toolchain.foreign import config

KERNELS = Path(__file__).resolve().parents[1] / "fixtures/kernels"


def copy(kernel: str) -> ForeignCopy:
    return ForeignCopy(config.load(KERNELS / kernel))


def patch(file: str, line: int, old: str, *new: str) -> Patch:
    return Patch((Edit(file, line, (old,) if old else (), new),), "llm", "edit", "")


def line_of(made: ForeignCopy, file: str, text: str) -> int:
    return made.sources()[file].split("\n").index(text) + 1


@pytest.mark.parametrize(
    "file", ["pxos.toml", "Makefile", "kernel.ld", "../outside.c", "/etc/passwd", "src/none.c"]
)
def test_only_declared_sources_are_edited(file: str) -> None:
    with pytest.raises(InputError):
        copy("c-multiboot").apply(patch(file, 1, "", "x"))


@pytest.mark.parametrize(
    "line",
    [
        '#include "/etc/passwd"', "#include </etc/passwd>", '#include "../../secret.h"', '.incbin "/etc/shadow"',
        'asm(".incbin \\"/etc/shadow\\"");', "#embed </etc/passwd>", "incbin '/etc/passwd'", '%include "/etc/passwd"',
        '.include "../x"', "#pragma GCC dependency \"/etc/passwd\"",
    ],
)  # fmt: skip
def test_no_file_is_brought_in(line: str) -> None:
    with pytest.raises(InputError, match="may not bring in files"):
        copy("c-multiboot").apply(patch("src/main.c", 3, "", line))


def test_the_words_of_ready_are_not_written() -> None:
    """A model that prints what the judge looks for has repaired nothing."""
    made = copy("c-multiboot")
    at = line_of(made, "src/main.c", "    console_clear();")
    hostile = '    console_text("C kernel: 64 frames, 61 free, crc 414FA339, order ok");'
    with pytest.raises(InputError, match="may not write what ready looks for"):
        words_of_ready.check(made.foreign, made.sources(), patch("src/main.c", at, "", hostile))
    with pytest.raises(InputError, match="may not write what ready looks for"):
        twice = '    console_text("C kernel: ");'
        words_of_ready.check(made.foreign, made.sources(), patch("src/main.c", at, "", twice))
    moved = Patch(
        (
            Edit("src/main.c", at, (), ('    console_text("C kernel: ");',)),
            Edit("src/main.c", at + 3, ('    console_text("C kernel: ");',), ()),
        ),
        "search",
        "order",
        "",
    )
    words_of_ready.check(made.foreign, made.sources(), moved)  # an order of statements may well be the bug
    other = patch("src/main.c", at, "", '    console_text("starting");')
    words_of_ready.check(made.foreign, made.sources(), other)


@pytest.mark.parametrize(
    ("file", "line", "bad"),
    [
        (
            "src/text.c",
            "        for (int bit = 0; bit < 8; bit++)",
            "        for (int bit = 0; bit <= 8; bit++)",
        ),
        ("src/text.c", "    return ~crc;", "    return crc;"),
        ("src/console.c", "        column++;", "        column--;"),
        ("src/console.c", "    while (*text)", "    while (text)"),
        ("src/frames.c", "    fill(bitmap, 0, sizeof bitmap);", "    fill(0, bitmap, sizeof bitmap);"),
        (
            "src/console.c",
            "        *cell(ROWS - 1, x) = COLOUR | ' ';",
            "        *cell(ROWS, x) = COLOUR | ' ';",
        ),
        ("src/kernel.h", "#define WORD_BITS 32u", "#define WORD_BITS 16u"),
        (
            "src/frames.c",
            "            bitmap[n / WORD_BITS] |= bit;",
            "            bitmap[n / WORD_BITS] &= bit;",
        ),
    ],
)
def test_the_search_of_c_reaches_common_mistakes(file: str, line: str, bad: str) -> None:
    made = copy("c-multiboot")
    texts = {**made.sources(), file: made.sources()[file].replace(line, bad)}
    assert bad in texts[file]
    sources = cplaces.Sources(texts)
    number = texts[file].split("\n").index(bad) + 1
    found = [
        "".join(way.edits[0].new[0].split())
        for way in csearch.ways(sources, file, number)
        if way.edits[0].new
    ]
    assert "".join(line.split()) in found


def test_c_is_searched_where_it_ran() -> None:
    from architect.coverage import Run

    made = copy("c-multiboot")
    ran = frozenset({("src/text.c", 34)})
    case = Case(
        made.tree, made.sources(), None, None, None, runs=(Run("the boot", True, 1.0, ran, frozenset()),)
    )
    first = [p for p, _ in zip(csearch.CSearch().propose(case), range(20), strict=False)]
    assert all(edit.file == "src/text.c" for p in first for edit in p.edits)
    assert len({p.edits for p in first}) == len(first)


@pytest.mark.parametrize("kernel", ["nasm-flat", "att-multiboot", "c-multiboot"])
def test_a_sound_kernel_has_no_finding(tmp_path: Path, kernel: str) -> None:
    answer = pxos("check", "--kernel", str(KERNELS / kernel), "--lessons", str(tmp_path), "--json", "-q")
    assert answer.status == 0, answer.data
    schemas.validate(answer.data, "check")
    assert answer.data["findings"] == [] and answer.data["routines"] > 1


def test_a_check_tells_warnings_and_odd_data_flow(tmp_path: Path) -> None:
    tree = tmp_path / "c"
    shutil.copytree(KERNELS / "c-multiboot", tree)
    text = (tree / "src/text.c").read_text()
    (tree / "src/text.c").write_text(
        text.replace("    size_t length = 0;", "    size_t length = 0; int unused;")
    )
    answer = pxos("check", "--kernel", str(tree), "--lessons", str(tmp_path / "l"), "--json", "-q")
    assert answer.status == 1
    assert [(row["rule"], row["file"]) for row in answer.data["findings"]] == [("compiler", "src/text.c")]
    tree = tmp_path / "a"
    shutil.copytree(KERNELS / "att-multiboot", tree)
    text = (tree / "src/console.s").read_text()
    (tree / "src/console.s").write_text(
        text.replace("        movl    %eax, %ebx\n", "        pushl   %ebx\n        movl    %eax, %ebx\n")
    )
    answer = pxos("check", "--kernel", str(tree), "--lessons", str(tmp_path / "l"), "--json", "-q")
    assert answer.status == 1, answer.data
    assert {row["routine"] for row in answer.data["findings"]} == {"print_hex"}
