"""Variants with bytes put in place: the file that is booted is, byte by byte, the one that a build of all gives."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from functools import partial

import pytest

from tests.unit.variants.edited import answered, edited, exchanged, kernel_texts, unbuilt
from toolchain import elf
from toolchain.build import Session
from toolchain.changes import Original
from toolchain.exact import Patched
from toolchain.relink import Linked
from toolchain.types import Image
from toolchain.variants import Variants

pytestmark = pytest.mark.long

EDITS = 120


def _file(image: Image) -> bytes:
    return elf.write(image, debug=False)


def _whole(made: Image | Patched | Linked) -> bytes:
    return _file(made if isinstance(made, Image) else made.image)


# File, a line of it, and what stands in its place: as many bytes.
IN_PLACE = [
    ("include/registers.inc", ".set CR4_UMIP,", [".set CR4_UMIP, 1 << 12"]),
    ("include/syscall.inc", ".set THREAD_REQUEST_PERIOD,", [".set THREAD_REQUEST_PERIOD, 0x11"]),  # nested
    ("include/pci.inc", ".set PCI_ROW_SLOTS,", [".set PCI_ROW_SLOTS, 0x20"]),
    ("boot/multiboot2.s", ".set TAG_CONTENT,", [".set TAG_CONTENT, 9"]),
    ("include/macros.inc", "    pop rbp", ["    pop rbx"]),
]
# Something moves: constants that need another size of instructions, bodies that take fewer bytes, all of a unit.
MOVED = [
    ("include/pci.inc", ".set PCI_SLOT_BASE,", [".set PCI_SLOT_BASE, 0x1000"]),
    ("include/macros.inc", "    mov rbp, rsp", []),
    ("include/macros.inc", "    pop rbp", ["    pop r12"]),
    ("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", ["    mov ecx, 3", "    xor eax, eax"]),
]


@pytest.mark.parametrize(("file", "start", "new"), IN_PLACE)
def test_what_moves_nothing_is_put_in_place(
    session: Session,
    variants: Variants,
    other: Session,
    original: Original,
    file: str,
    start: str,
    new: list[str],
) -> None:
    overrides = edited(file, start, new)
    patched = unbuilt(session, variants, overrides)
    assert isinstance(patched, Patched)
    assert patched.spots
    assert _file(patched.image) == _file(other.build(overrides, lines=False))
    assert original.at(patched.spots) == original.changes(other.objects())


@pytest.mark.parametrize(("file", "start", "new"), MOVED)
def test_what_moves_something_is_linked(
    session: Session, variants: Variants, other: Session, file: str, start: str, new: list[str]
) -> None:
    overrides = edited(file, start, new)
    made = variants.whole(overrides)
    assert isinstance(made, Image | Linked)
    seen = variants.seen(overrides)
    assert seen is None or set(session.redone) <= seen
    assert _whole(made) == _file(other.build(overrides, lines=False))


def test_what_changes_nothing_differs_nowhere(variants: Variants, other: Session) -> None:
    patched = variants.whole(edited("include/pci.inc", ".set PCI_ROW_SLOTS,", [".set PCI_ROW_SLOTS, 24"]))
    assert isinstance(patched, Patched)
    assert patched.spots == ()
    assert _file(patched.image) == _file(other.build(lines=False))


def test_only_what_an_edit_can_change_is_assembled(
    session: Session, variants: Variants, other: Session
) -> None:
    overrides = edited("include/pci.inc", ".set PCI_SLOT_BASE,", [".set PCI_SLOT_BASE, 0x2000"])
    seen = variants.seen(overrides)
    assert seen is not None and len(seen) < len(session.units()) / 2
    image = session.build(overrides, lines=False, only=seen)
    assert set(session.redone) <= seen
    assert _file(image) == _file(other.build(overrides, lines=False))


def _edits(count: int) -> Iterator[Mapping[str, str]]:
    """Seeded: constants raised, lowered and with one bit changed, lines of macros' bodies exchanged."""
    chance = random.Random(7)
    texts = kernel_texts()
    names = sorted(texts)
    while count:
        file = chance.choice(names)
        lines = texts[file].split("\n")
        at = chance.randrange(len(lines))
        constant = re.match(r"(\.set \w+,) (0x[0-9a-f]+|\d+)(.*)$", lines[at])
        if constant:
            value = int(constant[2], 0)
            value = chance.choice((value + 1, value * 300 + 1, 1, value ^ 8))
            new = [f"{constant[1]} {value}{constant[3]}"]
        elif file.endswith(".inc") and re.match(r"    (mov|add|sub|xor|push|pop|cli|sti|and|or) ", lines[at]):
            new = chance.choice(([], [lines[at]] * 2, ["    xor eax, eax"], ["    nop"], ["    push rax"]))
        else:
            continue
        count -= 1
        yield {file: exchanged(lines, at, new)}


@pytest.mark.slow
def test_many_variants_are_what_a_build_of_all_gives(
    variants: Variants, other: Session, original: Original
) -> None:
    patched = 0
    for overrides in _edits(EDITS):
        build = partial(other.build, overrides, lines=False)
        answer = answered(partial(variants.whole, overrides), build)
        if answer is None:
            continue
        made, whole = *answer, build()
        assert _whole(made) == _file(whole), overrides.keys()
        if isinstance(made, Patched):
            patched += 1
            assert original.at(made.spots) == original.changes(other.objects())
    assert patched > EDITS / 4
