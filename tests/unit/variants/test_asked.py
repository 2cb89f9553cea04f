"""Variants of the kernel as they are asked: what is left as it was must be what a whole build would make of it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from functools import partial

import pytest

from tests.unit.variants.edited import KERNEL, answered, edited, exchanged, kernel_texts
from toolchain.build import Session
from toolchain.objectfile import ObjectFile
from toolchain.types import Image
from toolchain.variants import Variants

pytestmark = pytest.mark.long

EDITS = 12
# Also an address in the 32-bit code that stands at its own physical address.
PLACE = re.compile(r"\brip [+-] 0x[0-9a-f]+|\b0x[0-9a-f]+$|\b0x1[0-9a-f]{5}\b")


def _shape(made: ObjectFile) -> list[object]:
    return [
        (s.name, s.size, s.data, [(r.offset, r.size, r.kind, r.target, r.addend) for r in s.relocations])
        for s in made.sections
    ]


def _routines(image: Image) -> dict[str, list[tuple[str, str]]]:
    """Every routine decoded, without distances to other places."""
    import capstone

    modes = {
        identity: capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32 if identity else capstone.CS_MODE_64)
        for identity in (False, True)
    }
    found = {}
    for symbol in image.symbols:
        for section in image.sections:
            if symbol.kind == "func" and 0 <= symbol.address - section.address < len(section.data):
                at = symbol.address - section.address
                code = section.data[at : at + symbol.size]
                found[symbol.name] = [
                    (i.mnemonic, "" if i.mnemonic[0] in "jc" else PLACE.sub("", i.op_str))
                    for i in modes[section.address == section.physical].disasm(code, 0)
                    if i.mnemonic != "nop"  # where a shorter instruction took the place of a longer one
                ]
    return found


def _edits(texts: dict[str, str], count: int) -> Iterator[dict[str, str]]:
    """Seeded edits as a search makes them: a constant raised or small, a statement doubled, taken out or exchanged."""
    chance = random.Random(20)
    names = sorted(texts)
    while count:
        file = chance.choice(names)
        lines = texts[file].split("\n")
        at = chance.randrange(len(lines))
        constant = re.match(r"(\.set \w+,) (0x[0-9a-f]+|\d+)(.*)$", lines[at])
        if file.endswith(".inc") and constant:
            value = chance.choice((int(constant[2], 0) + 1, int(constant[2], 0) * 300 + 1, 1))
            new = [f"{constant[1]} {value}{constant[3]}"]
        elif file.endswith(".s") and re.match(r"    (mov|add|sub|or|and|xor) ", lines[at]):
            other = lines[chance.randrange(len(lines))]
            other = (
                other
                if re.match(r"    (mov|add|sub|or|and|xor|test|cmp|lea) ", other)
                else "    xor eax, eax"
            )
            new = chance.choice(([], [lines[at], lines[at]], [other], [lines[at], other, "    push rax"]))
        else:
            continue
        count -= 1
        yield {file: exchanged(lines, at, new)}


def test_what_a_variant_leaves_is_what_a_build_makes_of_it(session: Session) -> None:
    variants = Variants(session)
    before = {made.file: made for made in session.objects()}
    texts = kernel_texts()
    asked = 0
    for overrides in _edits(texts, EDITS):
        build = partial(session.build, overrides, lines=False)
        answer = answered(partial(variants.image, overrides), build)
        if answer is None:
            continue
        image, whole = *answer, build()
        if image is None:
            continue
        asked += 1
        assert _routines(image) == _routines(whole), overrides.keys()
        seen = variants.seen(overrides) or frozenset()
        left = [made for made in session.objects() if made.file not in seen]
        assert all(_shape(made) == _shape(before[made.file]) for made in left)
    assert asked > EDITS / 2


@pytest.mark.slow
def test_many_variants_are_what_a_build_makes_of_them(session: Session) -> None:
    variants = Variants(session)
    texts = kernel_texts()
    asked = 0
    for overrides in _edits(texts, 150):
        build = partial(session.build, overrides, lines=False)
        answer = answered(partial(variants.image, overrides), build)
        if answer is not None and answer[0] is not None:
            asked += 1
            assert _routines(answer[0]) == _routines(build()), overrides.keys()
    assert asked > 100


# File, a line of it, and what stands in its place: nothing of these needs the whole unit.
IN_PLACE = [
    ("cpu/gdt.s", "    .quad 0x00af9a000000ffff ", ["    .quad 0x00af9a000000fffe"]),
    ("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", ["    mov ecx, LARGE_PAGE_SIZE"]),
    (
        "mm/page_range.s",
        "    mov ecx, HUGE_PAGE_SIZE",
        ["    mov ecx, 3", "    xor eax, eax", "    test rdx, rcx"],
    ),
    ("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", []),
    ("cpu/features.s", "mxcsr_default:  .long MXCSR_DEFAULT", ["mxcsr_default:  .long 7"]),
    ("include/pci.inc", ".set PCI_ROW_SLOTS,", [".set PCI_ROW_SLOTS, 0x20"]),
    ("include/pci.inc", ".set PCI_SLOT_BASE,", [".set PCI_SLOT_BASE, 0x08"]),
    ("include/registers.inc", ".set CR4_UMIP,", [".set CR4_UMIP, 1"]),
    ("boot/multiboot2.s", ".set TAG_CONTENT,", [".set TAG_CONTENT, 0x300"]),
    ("include/macros.inc", "    pop rbp", ["    pop rbx"]),  # in the body of a macro that 130 units use
    ("include/macros.inc", "    mov rbp, rsp", []),
]


@pytest.mark.parametrize(("file", "start", "new"), IN_PLACE)
def test_what_an_edit_changes_is_put_in_place(
    session: Session,
    variants: Variants,
    monkeypatch: pytest.MonkeyPatch,
    file: str,
    start: str,
    new: list[str],
) -> None:
    overrides = edited(file, start, new)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "some", lambda *_: pytest.fail("a whole unit was assembled"))
        image = variants.image(overrides)
        again = variants.image(overrides)
    assert image is not None and image == again
    assert image.sections != variants.original.sections
    assert _routines(image) == _routines(session.build(overrides, lines=False))


def test_data_is_written_over_data(variants: Variants) -> None:
    texts = [[f"    .quad 0x00af9a000000ff{last}"] for last in ("fe", "fd")]
    one, other = (variants.image(edited("cpu/gdt.s", "    .quad 0x00af9a000000ffff ", new)) for new in texts)
    assert one is not None and other is not None
    pairs = [
        (a, b)
        for old, new in zip(one.sections, other.sections, strict=True)
        for a, b in zip(old.data, new.data, strict=True)
        if a != b
    ]
    assert pairs == [(0xFE, 0xFD)]


def test_what_changes_nothing_is_the_original(variants: Variants) -> None:
    file, start = "mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE"
    assert variants.image(edited(file, start, [f"{start}    # a remark"])) is variants.original
    assert variants.image(edited("include/pci.inc", ".set PCI_ROW_SLOTS,", [".set PCI_ROW_SLOTS, 24"])) is (
        variants.original
    )


@pytest.mark.parametrize(
    ("file", "start", "new"),
    [
        (
            "mm/page_range.s",
            "    mov ecx, HUGE_PAGE_SIZE",
            ["    mov rax, 0x1234567812345678"] * 5,
        ),  # more than its room
        ("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", ["    call_frame"]),  # a macro
        (
            "include/pci.inc",
            ".set PCI_ROW_SIZE,",
            [".set PCI_ROW_SIZE, 0x90"],
        ),  # the size of a table hangs on it
        ("include/macros.inc", "    pop rbp", ["    pop r12"]),  # a byte more than there is
        ("include/macros.inc", "    pop r15", ["    .balign 8"]),
    ],
)
def test_what_does_not_fit_in_place_is_assembled_whole(
    session: Session, variants: Variants, file: str, start: str, new: list[str]
) -> None:
    overrides = edited(file, start, new)
    image = variants.image(overrides)
    whole = session.build(overrides, lines=False)
    assert image is None or _routines(image) == _routines(whole)


@pytest.mark.parametrize("new", ["    .skip 5", "    .skip 3", "    .skip 64"])
def test_a_buffer_of_another_size_is_not_the_original(variants: Variants, new: str) -> None:
    text = (KERNEL / "bus/pci_place.s").read_text(encoding="utf-8")
    head, _, tail = text.rpartition("    .skip 4")  # the last of its unit: nothing of it moves
    image = variants.image({"bus/pci_place.s": head + new + tail})
    assert image is None or image.sections != variants.original.sections


def test_a_constant_that_is_not_defined_yet_is_none(session: Session, variants: Variants) -> None:
    text = ".set FRAME_FLAGS_ALL, FRAME_ZEROED | FRAME_SIZE"
    overrides = edited("include/frame.inc", ".set FRAME_FLAGS_ALL,", [text])
    assert answered(lambda: variants.image(overrides), lambda: session.build(overrides, lines=False)) is None


@pytest.mark.parametrize(
    "line",
    [
        "    jmp nowhere_at_all",
        "    mov ecx, dl",
        "    mov ecx, [rip",
        "    lea ecx, 7",
        "    [ecx], eax",
        "    (7",
    ],
)
def test_what_does_not_assemble_is_refused_as_by_a_build(
    session: Session, variants: Variants, line: str
) -> None:
    overrides = edited("mm/page_range.s", "    mov ecx, HUGE_PAGE_SIZE", [line])
    assert answered(lambda: variants.image(overrides), lambda: session.build(overrides, lines=False)) is None


def test_the_original_has_the_routines_of_the_build(session: Session) -> None:
    variants = Variants(session)
    assert _routines(variants.original) == _routines(session.build(lines=False))
