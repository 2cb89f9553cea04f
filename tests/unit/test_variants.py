"""Variants of the kernel as they are asked: what is left as it was must be what a whole build would make of it."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from toolchain.build import Session
from toolchain.errors import InputError
from toolchain.objectfile import ObjectFile
from toolchain.reach import Reach
from toolchain.types import Image
from toolchain.variants import Variants

KERNEL = Path(__file__).resolve().parents[2] / "kernel"
EDITS = 12
PLACE = re.compile(r"\brip [+-] 0x[0-9a-f]+|\b0x[0-9a-f]+$")


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with Session(KERNEL, still=True) as made:
        yield made


def _shape(made: ObjectFile) -> list[object]:
    return [
        (s.name, s.size, s.data, [(r.offset, r.size, r.kind, r.target, r.addend) for r in s.relocations])
        for s in made.sections
    ]


def _routines(image: Image) -> dict[str, list[tuple[str, str]]]:
    """Every routine decoded, without distances to other places."""
    import capstone

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    found = {}
    for symbol in image.symbols:
        for section in image.sections:
            if symbol.kind == "func" and 0 <= symbol.address - section.address < len(section.data):
                at = symbol.address - section.address
                code = section.data[at : at + symbol.size]
                found[symbol.name] = [
                    (i.mnemonic, "" if i.mnemonic[0] in "jc" else PLACE.sub("", i.op_str))
                    for i in decoder.disasm(code, 0)
                ]
    return found


def _edits(texts: dict[str, str], count: int) -> Iterator[dict[str, str]]:
    """Seeded edits as a search makes them: a constant raised, a statement doubled or taken out."""
    chance = random.Random(20)
    names = sorted(texts)
    while count:
        file = chance.choice(names)
        lines = texts[file].split("\n")
        at = chance.randrange(len(lines))
        constant = re.match(r"(\.set \w+,) (0x[0-9a-f]+|\d+)(.*)$", lines[at])
        if file.endswith(".inc") and constant:
            new = [f"{constant[1]} {int(constant[2], 0) + 1}{constant[3]}"]
        elif file.endswith(".s") and re.match(r"    (mov|add|sub|or|and|xor) ", lines[at]):
            new = chance.choice(([], [lines[at], lines[at]]))
        else:
            continue
        count -= 1
        yield {file: "\n".join([*lines[:at], *new, *lines[at + 1 :]])}


@pytest.mark.long
def test_what_a_variant_leaves_is_what_a_build_makes_of_it(session: Session) -> None:
    variants = Variants(session)
    before = {made.file: made for made in session.objects()}
    texts = {
        path.relative_to(KERNEL).as_posix(): path.read_text(encoding="utf-8")
        for path in KERNEL.rglob("*")
        if path.suffix in (".s", ".inc") and "test" not in path.parts
    }
    asked = 0
    for overrides in _edits(texts, EDITS):
        try:
            image = variants.image(overrides)
        except InputError:
            with pytest.raises(InputError):
                session.build(overrides, lines=False)
            continue
        whole = session.build(overrides, lines=False)
        if image is None:
            continue
        asked += 1
        assert _routines(image) == _routines(whole), overrides.keys()
        seen = variants.seen(overrides) or frozenset()
        left = [made for made in session.objects() if made.file not in seen]
        assert all(_shape(made) == _shape(before[made.file]) for made in left)
    assert asked > EDITS / 2


def test_the_original_has_the_routines_of_the_build(session: Session) -> None:
    variants = Variants(session)
    assert _routines(variants.original) == _routines(session.build(lines=False))


INCLUDES = {
    "a.inc": ".set ONE, 1\n.set TWO, ONE + 1  # more\n"
    ".macro twice what\n    mov rax, TWO\n    mov \\what\\()_x, 1\n.endm\n",
    "b.inc": ".set ROWS, 4\n.if ROWS > 5\n.error\n.endif\n.set OTHER, 3\n",
}
UNITS = {
    "one": "mov eax, ONE\n", "two": "mov eax, TWO\n", "macro": "twice rax\n", "none": "ret\n",
    "pasted": ".irp w, R, S\n.quad \\w\\()OWS\n.endr\n", "other": "mov eax, OTHER\n",
}  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "seen"),
    [
        ("a.inc", "ONE, 1", "ONE, 2", {"one", "two", "macro"}),
        ("a.inc", "ONE + 1", "ONE + 2", {"two", "macro"}),
        ("a.inc", "  # more", "  # less", set()),
        ("a.inc", "mov rax, TWO", "mov rcx, TWO", {"macro"}),
        ("a.inc", ".macro twice what", ".macro twice what=1", None),
        ("a.inc", ".set ONE, 1\n", "", {"one", "two", "macro"}),
        ("b.inc", "ROWS, 4", "ROWS, 5", None),
        ("b.inc", "OTHER, 3", "OTHER, 4", {"other"}),
        ("b.inc", "OTHER, 3", "ANOTHER, 3", {"other"}),
        ("b.inc", ".error", ".warning", None),
        ("b.inc", ".set OTHER, 3\n", ".set OTHER, 3\n.text\n", None),
    ],
)
def test_reach(file: str, old: str, new: str, seen: set[str] | None) -> None:
    reach = Reach(INCLUDES, UNITS)
    found = reach.units({file: INCLUDES[file].replace(old, new, 1)})
    assert (None if found is None else set(found)) == seen


def test_a_pasted_name_is_seen() -> None:
    reach = Reach({"b.inc": ".set ROWS, 4\n"}, UNITS)
    assert reach.units({"b.inc": ".set ROWS, 5\n"}) == frozenset({"pasted"})
