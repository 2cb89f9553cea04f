"""A tree linked again with one unit in other places: byte by byte what a link of all gives, or left to that."""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial

import pytest

from tests.unit.variants.edited import answered, edited, exchanged, kernel_texts, unbuilt
from toolchain import elf
from toolchain.build import Session
from toolchain.changes import Original
from toolchain.relink import Linked
from toolchain.types import Image
from toolchain.variants import Variants

pytestmark = pytest.mark.long

EDITS = 150


def _same(one: Image, two: Image) -> bool:
    return one == two and elf.write(one, debug=False) == elf.write(two, debug=False)


# File, a line of it, and what stands in its place.
MOVES = [
    ("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", ["    mov ecx, 3", "    xor eax, eax"]),  # grows
    ("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", []),  # shrinks
    (
        "mm/page_range.s",
        "    mov ecx, HUGE_PAGE_SIZE",
        ["    .skip 4096, 0x90"],
    ),  # all behind it too, by a page
    ("boot/entry32.s", "    mov ", ["    nop", "    nop"]),  # the first section of all
    ("cpu/gdt.s", "    .quad 0", ["    .quad 0", "    .quad boot_main"]),  # data, a field more
]
# Other alignments and sections, other names for all, another value that all see: what ``Relink`` does not know.
LEFT = [
    ("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", ["    .balign 16"]),
    ("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", ['    .pushsection .odd, "a"', "    .popsection"]),
    ("mm/page_range.s", "function page_map_range", ["function page_map_other"]),
    ("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", [".global odd", ".set odd, 4"]),
]


@pytest.mark.parametrize(("file", "start", "new"), MOVES)
def test_what_moves_is_linked_alone(
    session: Session,
    variants: Variants,
    other: Session,
    original: Original,
    file: str,
    start: str,
    new: list[str],
) -> None:
    overrides = edited(file, start, new)
    made = unbuilt(session, variants, overrides)
    assert isinstance(made, Linked)
    assert _same(made.image, other.build(overrides, lines=False))
    assert original.changes(made.objects) == original.changes(other.objects())


@pytest.mark.parametrize(("file", "start", "new"), LEFT)
def test_what_is_not_known_is_left_to_a_link_of_all(
    variants: Variants, other: Session, file: str, start: str, new: list[str]
) -> None:
    overrides = edited(file, start, new)
    build = partial(other.build, overrides, lines=False)
    answer = answered(partial(variants.whole, overrides), build)
    if answer is not None:
        (made,) = answer
        assert isinstance(made, Image)
        assert _same(made, build())


def test_one_variant_leaves_nothing_to_the_next(variants: Variants, other: Session) -> None:
    for file, start, new in (MOVES[2], MOVES[1], MOVES[4]):
        overrides = edited(file, start, new)
        made = variants.whole(overrides)
        assert isinstance(made, Linked)
        assert _same(made.image, other.build(overrides, lines=False))


def _edits(count: int) -> Iterator[dict[str, str]]:
    """Seeded: instructions of units left out, said twice, exchanged for others, with room before them."""
    chance = random.Random(11)
    texts = {name: text for name, text in kernel_texts().items() if name.endswith(".s")}
    names = sorted(name for name, text in texts.items() if "\n    mov " in text)
    for _ in range(count):
        file = chance.choice(names)
        lines = texts[file].split("\n")
        at = chance.choice([n for n, line in enumerate(lines) if line.startswith("    ")])
        other = chance.choice([line for line in lines if line.startswith("    ")])
        old = lines[at]
        new = chance.choice(([], [old, old], ["    nop", old], [other], ["    .skip 5000", old]))
        yield {file: exchanged(lines, at, new)}


@pytest.mark.slow
def test_many_variants_are_what_a_link_of_all_gives(variants: Variants, other: Session) -> None:
    linked = 0
    for overrides in _edits(EDITS):
        build = partial(other.build, overrides, lines=False)
        answer = answered(partial(variants.whole, overrides), build)
        if answer is None:
            continue
        made, whole = *answer, build()
        if isinstance(made, Linked):
            linked += 1
            assert _same(made.image, whole), overrides.keys()
    assert linked > EDITS / 2
