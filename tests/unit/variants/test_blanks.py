"""Variants of which only some units are assembled: who runs into what was left out is told, and nobody else is."""

from __future__ import annotations

from contextlib import closing

import pytest

from architect import contracts
from tests.unit.variants.edited import KERNEL
from toolchain.blanks import Blanked, Strayed
from toolchain.build import Session
from toolchain.harness import Harness
from toolchain.types import Image
from toolchain.variants import Variants

MACROS = "include/macros.inc"
PUSH, SAVE = "    push rbp\n", "    push rax\n    pop rax\n"


def _edited(file: str, old: str, new: str) -> dict[str, str]:
    text = (KERNEL / file).read_text(encoding="utf-8")
    assert text.count(old) >= 1, (file, old)
    return {file: text.replace(old, new, 1)}


@pytest.fixture(scope="module")
def slower() -> dict[str, str]:
    """A frame that saves a register more than it has to, which changes all code and no promise."""
    return _edited(MACROS, PUSH, SAVE + PUSH)


def _bytes(image: Image, name: str) -> bytes:
    symbol = next(s for s in image.symbols if s.name == name)
    section = next(s for s in image.sections if 0 <= symbol.address - s.address < len(s.data))
    at = symbol.address - section.address
    return section.data[at : at + symbol.size]


@pytest.mark.long
def test_what_is_wanted_is_there_and_the_rest_of_the_code_is_not(
    variants: Variants, slower: dict[str, str]
) -> None:
    whole, some = variants.image(slower), variants.image(slower, {"mm/frame.s"})
    assert whole is not None and some is not None and not isinstance(whole, Blanked)
    assert isinstance(some, Blanked)
    assert {"mm/page.s", "dev/serial.s"} <= {blank.unit for blank in some.blanks}
    assert "mm/frame.s" not in {blank.unit for blank in some.blanks}
    assert _bytes(some, "frame_alloc") == _bytes(whole, "frame_alloc")
    assert set(_bytes(some, "page_map")) == {0xCC}
    assert [(s.address, len(s.data)) for s in some.sections] == [
        (s.address, len(s.data)) for s in whole.sections
    ]


def test_who_runs_into_a_blank_is_told(variants: Variants, slower: dict[str, str]) -> None:
    some = variants.image(slower, {"mm/frame.s"})
    assert isinstance(some, Blanked)
    with closing(Harness(some)) as machine:
        assert machine.call("page_map").end == "interrupt"
    assert some.met == {"mm/page.s"}


def test_a_breakpoint_of_the_code_itself_is_no_blank(variants: Variants) -> None:
    breaking = _edited(MACROS, PUSH, "    int3\n" + PUSH)
    some = variants.image(breaking, {"mm/frame.s"})
    assert isinstance(some, Blanked)
    with closing(Harness(some)) as machine:
        assert machine.call("frame_alloc").end == "interrupt"
    assert not some.met


@pytest.mark.long
def test_a_question_that_strays_is_not_answered(
    session: Session, variants: Variants, slower: dict[str, str]
) -> None:
    headers = contracts.routines(session.sources())
    some = variants.image(slower, ())
    assert isinstance(some, Blanked)
    with pytest.raises(Strayed) as strayed:
        contracts.first(some, headers, ["page_map"])
    wanted: set[str] = set(strayed.value.units)
    asked = contracts.Asked()
    while True:
        image = variants.image(slower, wanted)
        assert image is not None
        try:
            found = contracts.first(image, headers, ["page_map"], (), asked)
            break
        except Strayed as error:
            assert error.units - wanted, "a unit that is assembled was met"
            wanted |= error.units
    assert isinstance(image, Blanked) and found is None
    assert len(wanted) < len(session.units()) / 2


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        (MACROS, PUSH, "    .macro again\n" + PUSH),
        (MACROS, PUSH, "    .quad 0\n" + PUSH),
        ("include/layout.inc", ".set PAGE_SIZE, 0x1000", ".set PAGE_SIZE, 0x1008"),
    ],
)
def test_what_may_change_more_than_code_is_left_out_nowhere(
    variants: Variants, file: str, old: str, new: str
) -> None:
    overrides = _edited(file, old, new)
    seen = variants.seen(overrides)
    assert seen is None or variants._some(overrides, seen, ()) == seen
