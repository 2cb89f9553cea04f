"""Linking: addresses, symbols and lines of an image, and what is said when units do not fit together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit import gnu_link
from toolchain import layout as layouts
from toolchain.assemble import assemble_units
from toolchain.encode import Encoder
from toolchain.errors import InputError
from toolchain.link import link
from toolchain.objectfile import ObjectFile
from toolchain.pool import Pool
from toolchain.preprocess import Preprocessor
from toolchain.source import SourceFile
from toolchain.types import Image, Symbol

LAYOUT = gnu_link.small_layout()
HIGH = layouts.parse(
    """
    [image]
    entry = "_start"
    physical_base = 0x100000
    virtual_base = 0xffffffff80000000
    sources = ["*.s"]
    [[section]]
    name = ".low"
    inputs = [".first", ".low", ".low.*"]
    flags = "ax"
    identity = true
    [[section]]
    name = ".text"
    inputs = [".text", ".text.*"]
    flags = "ax"
    [[section]]
    name = ".data"
    inputs = [".data"]
    flags = "aw"
    [[section]]
    name = ".bss"
    inputs = [".bss"]
    flags = "aw"
    nobits = true
    """,
    Path("image.toml"),
)
START = ".global _start\n_start: nop\n"


def objects(encoder: Encoder, sources: Mapping[str, str]) -> list[ObjectFile]:
    preprocessor = Preprocessor(Path("/nowhere"))
    units = [
        preprocessor.run(SourceFile(name, ".intel_syntax noprefix\n" + text))
        for name, text in sources.items()
    ]
    return assemble_units(units, Pool(encoder))


def image(encoder: Encoder, sources: Mapping[str, str], layout: layouts.Layout = LAYOUT) -> Image:
    return link(objects(encoder, sources), layout)


def symbol(found: Image, name: str) -> Symbol:
    (one,) = [s for s in found.symbols if s.name == name]
    return one


def told(encoder: Encoder, sources: Mapping[str, str], layout: layouts.Layout = LAYOUT) -> list[str]:
    made = objects(encoder, sources)
    with pytest.raises(InputError) as caught:
        link(made, layout)
    assert caught.value.stage == "link"
    return "\n".join(caught.value.lines()).splitlines()


# --- images ------------------------------------------------------------------------------------------------


def test_higher_half(encoder: Encoder) -> None:
    made = image(
        encoder,
        {
            "a.s": '.section .low, "ax"\n'
            + START
            + "jmp _start\n.text\n.global f\nf: call g\n.data\n.quad f, v\nv:\n",
            "b.s": '.section .first, "a"\n.long 7\n.text\n.balign 16\n.global g\ng: lea rax, [rip + f]\nret\n'
            ".bss\n.balign 32\nb: .skip 100\n",
        },
        HIGH,
    )
    assert made.entry == 0x100004
    found = [(s.name, s.address, s.physical, s.size, s.flags, s.nobits, s.data.hex()) for s in made.sections]
    assert found == [
        (".low", 0x100000, 0x100000, 7, "ax", False, "07000000" + "90ebfd"),
        (
            ".text", 0xFFFFFFFF80101000, 0x101000, 24, "ax", False,
            "e80b000000" + "cc" * 11 + "488d05e9ffffff" + "c3",
        ),
        (
            ".data", 0xFFFFFFFF80102000, 0x102000, 16, "aw", False,
            "00101080ffffffff" + "10201080ffffffff",
        ),
        (".bss", 0xFFFFFFFF80103000, 0x103000, 100, "aw", True, ""),
    ]  # fmt: skip
    assert symbol(made, "__text_start").address == 0xFFFFFFFF80101000
    assert symbol(made, "__text_end").address == 0xFFFFFFFF80101018
    assert symbol(made, "__image_start_physical").address == 0x100000
    assert symbol(made, "__image_end_physical").address == 0x103064


def test_symbol_kinds_and_sizes(encoder: Encoder) -> None:
    made = image(
        encoder,
        {
            "a.s": START
            + "nop\nunit_do_thing: nop\nnop\n.Lx: nop\nplain: nop\n.global other\nother: ret\n"
            + ".type typed, @function\ntyped: nop\nnop\n.size typed, 1\n"
            + "table_of_words: .long 1\n.data\n.global datum\ndatum: .quad 0\n.type named, @object\nnamed: .byte 1\n"
            + ".size named, . - named\n1: .global K\n.set K, 0x1234\n"
        },
    )
    found = {
        s.name: (s.kind, s.size, s.section, s.is_global, s.file, s.line)
        for s in made.symbols
        if not s.name.startswith("__")
    }
    assert found == {
        "_start": ("func", 2, ".text", True, "a.s", 3),
        "unit_do_thing": ("func", 4, ".text", False, "a.s", 5),
        "plain": ("notype", 0, ".text", False, "a.s", 8),
        "other": ("func", 1, ".text", True, "a.s", 10),
        "typed": ("func", 1, ".text", False, "a.s", 12),
        "table_of_words": ("notype", 0, ".text", False, "a.s", 15),
        "datum": ("notype", 0, ".data", True, "a.s", 18),
        "named": ("object", 1, ".data", False, "a.s", 20),
        "K": ("notype", 0, None, True, "a.s", 22),
    }
    assert [s.address for s in made.symbols] == sorted(s.address for s in made.symbols)


def test_lines_stop_at_the_outermost_expansion(encoder: Encoder) -> None:
    text = START + ".macro inner\nnop\nnop\n.endm\n.macro outer\ninner\nhlt\n.endm\nouter\n.byte 1\nret\n"
    made = image(encoder, {"a.s": text, "b/c.s": "cli\n"})
    assert [(row.address, row.length, row.file, row.line) for row in made.lines] == [
        (0x1000, 1, "a.s", 3),
        (0x1001, 1, "a.s", 12),
        (0x1002, 1, "a.s", 12),
        (0x1003, 1, "a.s", 12),
        (0x1005, 1, "a.s", 14),
        (0x1006, 1, "b/c.s", 2),
    ]
    assert made.files == ("a.s", "b/c.s")


def test_symbol_of_a_macro_stands_where_it_was_called(encoder: Encoder) -> None:
    text = ".macro function name\n.global \\name\n\\name:\n.endm\n\nfunction _start\nret\n"
    assert symbol(image(encoder, {"a.s": text}), "_start").line == 7


def test_weak_and_strong(encoder: Encoder) -> None:
    weak = ".weak f\nf: nop\ncall f\n.weak nobody\n.quad nobody\n"
    alone = image(encoder, {"a.s": START, "b.s": weak})
    assert alone.sections[0].data.hex() == "90" + "90" + "e8faffffff" + "00" * 8
    both = image(encoder, {"a.s": START, "b.s": weak, "c.s": ".global f\nf: ret\n"})
    assert both.sections[0].data.hex() == "90" + "90" + "e808000000" + "00" * 8 + "c3"
    first = image(encoder, {"a.s": START, "c.s": ".global f\nf: ret\n", "b.s": weak})
    assert first.sections[0].data.hex() == "90" + "c3" + "90" + "e8f9ffffff" + "00" * 8


def test_patterns_go_before_units(encoder: Encoder) -> None:
    one = '.section .text.z, "ax"\nhlt\n.text\nnop\n'
    made = image(encoder, {"a.s": one, "b.s": one + START})
    assert made.sections[0].data.hex() == "90" + "9090" + "f4f4"


def test_linking_changes_no_object(encoder: Encoder) -> None:
    made = objects(encoder, {"a.s": START + "call f\n.data\n.quad f\n", "b.s": ".global f\nf: ret\n"})
    longer = objects(encoder, {"b.s": "nop\n.global f\nf: ret\n"})
    first = link(made, LAYOUT)
    moved = link([made[0], *longer], LAYOUT)
    assert link(made, LAYOUT) == first
    assert moved.sections[0].data.hex() == "90e80100000090c3"
    assert link([made[0], *longer], LAYOUT) == moved


def test_empty_section_may_hold_a_label(encoder: Encoder) -> None:
    made = image(encoder, {"a.s": START + 'lea rax, [rip + end]\n.section .rodata.end, "a"\nend:\n'})
    assert symbol(made, "end").address == symbol(made, "__rodata_start").address


# --- errors ------------------------------------------------------------------------------------------------


def test_undefined_symbols_of_all_units_at_once(encoder: Encoder) -> None:
    lines = told(
        encoder,
        {
            "b.s": "  call page_mpa\ncall page_mpa\n.quad qqq\nhidden_one: ret\n",
            "a.s": START + ".global page_map\npage_map: ret\ncall hidden_one\n",
        },
    )
    assert lines == [
        "a.s:6: error: symbol `hidden_one' of b.s:5 is not global",
        "    call hidden_one",
        "    ^",
        "    expected .global hidden_one there",
        "b.s:2: error: undefined symbol `page_mpa'",
        "      call page_mpa",
        "      ^",
        "    expected `page_map'?",
        "b.s:4: error: undefined symbol `qqq'",
        "    .quad qqq",
        "    ^",
        "    expected a symbol that some unit defines and declares .global",
    ]


def test_doubled_symbols(encoder: Encoder) -> None:
    text = ".macro function name\n.global \\name\n\\name: ret\n.endm\nfunction twice\n"
    assert told(encoder, {"a.s": START + text, "b.s": text}) == [
        "b.s:4: error: symbol `twice' is already defined at a.s:8",
        "    \\name: ret",
        "    ^",
        "    expected one definition, or names that differ",
        "    in macro function, expanded at b.s:6",
    ]


def test_entry_that_is_not_there(encoder: Encoder) -> None:
    assert told(encoder, {"a.s": ".global _strat\n_strat: nop\n"}) == [
        "image.toml:1: error: entry symbol `_start' is not defined",
        "    expected `_strat'?",
    ]


def test_symbols_of_the_layout_are_reserved(encoder: Encoder) -> None:
    assert told(encoder, {"a.s": START + ".global __text_end\n__text_end: nop\n"})[0] == (
        "a.s:5: error: symbol `__text_end' is defined by image.toml"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mov eax, offset f\n", "a.s:4: error: `f' is 0xffffffff80101000: it does not fit in 32 bits"),
        (".long f\n", "a.s:4: error: `f' is 0xffffffff80101000: it does not fit in 32 bits"),
        (".word f\n", "a.s:4: error: `f' is 0xffffffff80101000: it does not fit in 16 bits"),
        ("loop f\n", "a.s:4: error: `f' is 0x7ffff003 bytes back: too far for 8 bits"),
    ],
)
def test_out_of_range(text: str, message: str, encoder: Encoder) -> None:
    sources = {
        "a.s": '.section .low, "ax"\n' + START.replace("\n_", " ; _") + text,
        "b.s": ".global f\nf: ret\n",
    }
    assert told(encoder, sources, HIGH)[0].startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('.section .strange, "a"\n.long 1\n', "section .strange fits no section of image.toml"),
        (".section foo\n.long 1\n", "section foo is not loaded: it has no flag a"),
        ('.section .rodata.c, "ax"\nnop\n', "section .rodata.c holds code, but .rodata is not executable"),
        ('.section .rodata.w, "aw"\n.long 1\n', "section .rodata.w is writable, but .rodata is not"),
        ('.section .bss.d, "aw", @progbits\n.long 1\n', "section .bss.d has data, but .bss has none"),
    ],
)
def test_sections_that_fit_nowhere(text: str, message: str, encoder: Encoder) -> None:
    lines = told(encoder, {"a.s": START + text})
    assert lines[0] == f"a.s:4: error: {message}"
    assert lines[1].startswith("    .section")
