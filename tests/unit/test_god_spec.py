"""The specification of God Pixel says what its definitions say."""

from __future__ import annotations

import struct

from pixelvm.god import codecs, container, dictionary, family, filters, predict, spec


def test_the_specification_says_what_the_definitions_say() -> None:
    text = spec.SPEC.read_text(encoding="utf-8")
    assert spec.filled(text) == text, "run python -m pixelvm.god.spec"
    assert spec.filled(text.replace("| 0x30 | xor |", "| 0x31 | xor |")) == text
    for name in spec.TABLES:
        assert f"<!-- table {name} -->" in text


def test_every_number_has_its_row() -> None:
    assert spec._CODECS.keys() == set(codecs.Codec)
    assert spec._FILTERS.keys() == set(filters.Filter)
    assert spec._PREDICTORS.keys() == {*predict.PREDICTORS, predict.BY_ROW, predict.PALETTE}
    assert family.FAMILIES.keys() == set(family.Kind)
    assert not {family.RESIDUAL, family.ADDRESS, 0xFF} & set(family.Kind)


def test_offsets() -> None:
    head = container.Head(True, 0x01020304, 0x05060708, 3, 9, bytes(range(32)), b"i" * 16, True)
    data = container.assemble(head, b"body")
    assert data[:16] == b"PXGP" + bytes((1, 7, 3, 9)) + struct.pack("<II", 0x01020304, 0x05060708)
    assert (data[16:48], data[52:68], data[68:]) == (bytes(range(32)), b"i" * 16, b"body")
    made = dictionary.Dictionary("d", b"i" * 16).to_bytes()
    assert (len(made), made[:8], made[8:24]) == (68, b"PXGD\1\0\0\0", b"i" * 16)
