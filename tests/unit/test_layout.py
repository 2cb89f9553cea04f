"""Reading image.toml: what it says, and one clear line for each way it can be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit import gnu_link
from toolchain import layout
from toolchain.errors import InputError

KERNEL = Path(__file__).resolve().parents[2] / "kernel"


def test_kernel_layout() -> None:
    found = layout.load(KERNEL / "image.toml")
    assert found.file == "image.toml"
    assert found.virtual_base == 0xFFFFFFFF80000000
    assert [section.name for section in found.sections][:3] == [".boot", ".note.pvh", ".text"]
    assert found.sections[0].start_symbol == "__boot_start"
    assert found.sections[1].end_symbol == "__notepvh_end"
    units = [path.relative_to(KERNEL).as_posix() for path in found.units(KERNEL)]
    assert units == sorted(units)
    assert "boot/header.s" in units


def test_script_says_the_same() -> None:
    script = layout.ld_script(layout.load(KERNEL / "image.toml"))
    assert "ENTRY(boot_enter_multiboot2)" in script
    assert ".text (ALIGN(__physical, 0x1000) + 0xffffffff80000000) : AT(ALIGN(__physical, 0x1000))" in script
    assert "*(.multiboot2) *(.boot) *(.boot.*)" in script


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[image]", "[image", "Expected ']' at the end of a table declaration"),
        ("[image]", "[images]", "unknown key `images'; known: image, section"),
        ('entry = "_start"', "", "[image] lacks `entry'"),
        ('entry = "_start"', "entry = 5", "[image]: `entry' is not of type str"),
        (
            "physical_base = 0x1000",
            "physical_base = 0x1001",
            "[image]: physical_base and virtual_base are multiples",
        ),
        ("physical_base = 0x1000", "physical_base = true", "[image]: `physical_base' is not of type int"),
        ('sources = ["**/*.s"]', 'sources = "x"', "[image]: `sources' is not of type list"),
        ('sources = ["**/*.s"]', "sources = [1]", "[image]: `sources' is no list of names"),
        ('name = ".extra"', 'name = ".text"', "[[section]] 2: a second section .text"),
        ('flags = "awx"', 'flags = "awz"', '[[section]] 2: flags "awz" are not of "awx"'),
        ("nobits = true", "no_bits = true", "[[section]] 5: unknown key `no_bits'"),
        ("nobits = true", "nobits = 1", "[[section]] 5: `nobits' is not of type bool"),
        ('name = ".data"', "", "[[section]] 4 lacks `name'"),
    ],
)
def test_one_clear_line(old: str, new: str, message: str) -> None:
    text = gnu_link.SMALL.replace(old, new, 1)
    assert text != gnu_link.SMALL
    with pytest.raises(InputError) as caught:
        layout.parse(text, Path("some/image.toml"))
    (line,) = caught.value.lines()
    assert line.startswith("some/image.toml: ")
    assert message in line


def test_a_number_of_thousands_of_digits() -> None:
    with pytest.raises(InputError, match=r"image\.toml: a number of thousands of digits"):
        layout.parse(f"{gnu_link.SMALL}\nx = {'7' * 5000}\n", Path("image.toml"))


def test_no_sections() -> None:
    with pytest.raises(InputError, match=r"no \[\[section\]\]"):
        layout.parse(gnu_link.SMALL.split("[[section]]")[0], Path("image.toml"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file; --kernel DIR names a kernel tree"):
        layout.load(tmp_path / "image.toml")
    (tmp_path / "image.toml").write_bytes(b"\xff")
    with pytest.raises(InputError, match="not UTF-8 text"):
        layout.load(tmp_path / "image.toml")


def test_tree_without_sources(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no sources match \*\*/\*\.s of image\.toml"):
        gnu_link.small_layout().units(tmp_path)
