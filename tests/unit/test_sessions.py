"""Builds in memory: what a session redoes for a change, and that no build leaves anything to the next."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.small_tree import BOOT, IMAGE, OTHER, START, plant
from toolchain import elf
from toolchain.build import Session
from toolchain.errors import InputError

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return plant(tmp_path / "tree")


def text_of(image: Any) -> bytes:
    data: bytes = next(s.data for s in image.sections if s.name == ".text")
    return data


def redone(session: Session) -> list[str]:
    return list(session.redone)


def test_only_the_changed_unit_is_redone_and_the_tree_comes_back(tree: Path) -> None:
    with Session(tree) as session:
        plain = session.build()
        assert redone(session) == ["cpu/other.s", "start.s"]
        changed = session.build({"start.s": START.replace("ret", "nop\n    ret")})
        assert redone(session) == ["start.s"]
        assert len(text_of(changed)) == len(text_of(plain)) + 1
        assert session.build() == plain
        assert redone(session) == []
        again = session.build({"start.s": START.replace("ret", "nop\n    ret")})
        assert redone(session) == []
        assert again == changed


def test_the_order_of_builds_does_not_matter(tree: Path) -> None:
    variants = [{"start.s": START.replace("ret", f"mov ecx, {n}\n    ret")} for n in range(6)]
    variants += [{"include/values.inc": ".set VALUE, 9\n"}, {"cpu/other.s": OTHER + "    nop\n"}, {}]
    with Session(tree) as session:
        together = [session.build(variant) for variant in variants]
        backwards = [session.build(variant) for variant in reversed(variants)]
    assert backwards[::-1] == together
    for variant, image in zip(variants, together, strict=True):
        with Session(tree) as session:
            assert session.build(variant) == image


def test_an_include_file_redoes_the_units_that_include_it(tree: Path) -> None:
    with Session(tree) as session:
        session.build()
        image = session.build({"include/values.inc": ".set VALUE, 0x55\n"})
        assert redone(session) == ["start.s"]
        assert b"\xb8\x55\0\0\0" in text_of(image)


def test_boot_toml_and_new_files_can_be_overridden(tree: Path) -> None:
    second = '[[unit]]\nname = "two"\nentry = "other"\nneeds = ["one"]\n'
    with Session(tree) as session:
        assert b"\xba\x01\0\0\0" in text_of(session.build())
        assert b"\xba\x02\0\0\0" in text_of(session.build({"boot.toml": BOOT + second}))
        assert redone(session) == ["cpu/other.s"]
        image = session.build({"cpu/extra.s": ".intel_syntax noprefix\n.global extra\nextra: hlt\n"})
        assert "extra" in {symbol.name for symbol in image.symbols}
        with pytest.raises(InputError, match=r"image\.toml"):
            session.build({"image.toml": IMAGE})


def test_edits_on_disk_are_seen(tree: Path) -> None:
    with Session(tree) as session:
        plain = session.build()
        (tree / "start.s").write_text(START.replace("    ret", "    nop\n    ret"))
        changed = session.build()
        assert redone(session) == ["start.s"]
        assert text_of(changed) != text_of(plain)
        (tree / "cpu/other.s").unlink()
        with pytest.raises(InputError, match="other"):
            session.build()


def test_errors_of_all_units_come_at_once_and_the_session_lives_on(tree: Path) -> None:
    with Session(tree) as session:
        with pytest.raises(InputError) as caught:
            session.build(
                {"start.s": START + "    bogus eax\n", "cpu/other.s": OTHER + "    mov al, 0x1ff\n"}
            )
        lines = caught.value.lines()
        assert len(lines) == 2
        assert lines[0].startswith("cpu/other.s:8: error:")
        assert lines[1].startswith("start.s:8: error:")
        assert len(elf.write(session.build())) > 4096


@pytest.mark.long
def test_variants_of_a_still_tree_are_those_of_a_fresh_session() -> None:
    """What one link leaves to the next shows in no image: code that grows, names that go, errors in between."""
    page, inc = (KERNEL / "mm/page.s").read_text(), (KERNEL / "include/registers.inc").read_text()
    grown = page.replace("\nfunction page_map\n", "\nfunction page_map\n" + "    nop\n" * 40)
    variants: list[dict[str, str]] = [
        {},
        {"mm/page.s": grown},
        {"mm/page.s": page.replace(".global page_map\n", "")},
        {"include/registers.inc": inc.replace(".set PTE_PRESENT, 1 << 0", ".set PTE_PRESENT, 1 << 1")},
        {"mm/another.s": ".global another\nanother:\n    ret\n"},
        {"mm/page.s": grown},
        {},
    ]
    with Session(KERNEL, still=True) as warm:
        for variant in variants:
            with Session(KERNEL) as cold:
                try:
                    expected = cold.build(variant)
                except InputError as error:
                    with pytest.raises(InputError, match=re.escape(error.message)):
                        warm.build(variant)
                    continue
            assert warm.build(variant) == expected
            assert warm.build(variant, lines=False) == expected._replace(lines=(), files=())
