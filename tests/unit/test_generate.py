"""Generated sources: the contract for both languages, and every way boot.toml can be wrong."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from toolchain import contract, generate
from toolchain.errors import InputError

GOOD = """
[[unit]]
name = "serial"
entry = "serial_unit"
[[unit]]
name = "frames"
entry = "frames_unit"
needs = ["serial"]
provides = ["memory"]
[[unit]]
name = "gpu"
entry = "gpu_unit"
needs = ["memory", "serial"]
optional = true
"""


def tree(tmp_path: Path, text: str | bytes) -> Path:
    folder = tmp_path / "kernel"
    folder.mkdir(exist_ok=True)
    (folder / "boot.toml").write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def test_constants_are_the_same_in_both_languages(tmp_path: Path) -> None:
    generate.generate(tree(tmp_path, GOOD), tmp_path / "build")
    text = (tmp_path / "build/gen/contract.inc").read_text()
    pairs = {name: int(value, 0) for name, value in re.findall(r"^\.set (\w+), (\w+)$", text, re.M)}
    for name, value in contract.load().constants.items():
        assert pairs[name] == value == getattr(contract, name)
    assert pairs["READY_PREFIX_LENGTH"] == len(contract.string("READY_PREFIX"))
    assert contract.load().fault_keys[pairs["FAULT_KEY_CR2"]] == "cr2"


def test_unknown_constant_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="NO_SUCH"):
        _ = contract.NO_SUCH


def test_table_assembles_with_gnu_as_and_holds_the_rows(tmp_path: Path) -> None:
    generate.generate(tree(tmp_path, GOOD), tmp_path / "build")
    source = tmp_path / "t.s"
    source.write_text(
        '.include "contract.inc"\n.include "boot_table.inc"\n.include "contract_strings.inc"\n'
        ".if BOOT_UNIT_COUNT - 3\n.error\n.endif\n.if BOOT_UNIT_GPU - 2\n.error\n.endif\n"
    )
    object_file = tmp_path / "t.o"
    subprocess.run(["as", "-I", tmp_path / "build/gen", source, "-o", object_file], check=True)
    dump = subprocess.run(
        ["objcopy", "-O", "binary", "-j", ".rodata", object_file, "/dev/stdout"],
        capture_output=True,
        check=True,
    ).stdout
    size = contract.constant("BOOT_ROW_SIZE")
    row = dump[2 * size : 3 * size]
    assert row[16] == contract.constant("BOOT_FLAG_OPTIONAL")
    assert int.from_bytes(row[24:32], "little") == 0b011  # memory is of row 1, serial is row 0
    assert b"frames\0" in dump
    assert contract.string("READY_PREFIX").encode() + b"\0" in dump


def test_second_run_rewrites_nothing(tmp_path: Path) -> None:
    kernel = tree(tmp_path, GOOD)
    files = generate.generate(kernel, tmp_path / "build")
    before = [file.stat().st_ino for file in files]
    assert [file.stat().st_ino for file in generate.generate(kernel, tmp_path / "build")] == before
    tree(tmp_path, GOOD.replace("gpu_unit", "gpu_entry"))
    generate.generate(kernel, tmp_path / "build")
    changed = [file.stat().st_ino != inode for file, inode in zip(files, before, strict=True)]
    assert changed == [False, False, False, True]


def unit(name: str, more: str = "") -> str:
    return f'[[unit]]\nname = "{name}"\nentry = "e"\n{more}\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[[unit]\n", ["not valid TOML", "line 1"]),
        (b"\xff\xfe\x00", ["not UTF-8 text (byte 0)"]),
        ("units = 1\n", ["units: no such key", "unit"]),
        ("unit = 3\n", ["unit: expected [[unit]] tables"]),
        ('[[unit]]\nentry = "e"\n', ["unit[0].name: missing"]),
        ('[[unit]]\nname = "a"\n', ["unit[0].entry: missing"]),
        ('[[unit]]\nname = "A b"\nentry = "e"\n', ["unit[0].name: 'A b'", "lower-case"]),
        ('[[unit]]\nname = "a"\nentry = "1; ud2"\n', ["unit[0].entry", "symbol"]),
        (unit("a", "optional = 1"), ["unit[0].optional: 1", "true or false"]),
        (unit("a", 'needs = "b"'), ["unit[0].needs: 'b'", "list"]),
        (unit("a", 'provides = ["x", "x"]'), ["unit[0].provides", "once"]),
        (unit("a", "need = []"), ["unit[0].need: no such key"]),
        (unit("a") + unit("a"), ["unit[1].name", "'a' is provided by unit 'a'"]),
        (unit("a", 'provides = ["x"]') + unit("b", 'provides = ["x"]'), ["unit[1].provides", "'x'", "'a'"]),
        (unit("a-b") + unit("a_b"), ["unit[1].name", "give one constant"]),
        (unit("a", 'needs = ["x"]'), ["unit[0].needs", "'x', which no unit provides"]),
        (unit("a", 'needs = ["b"]') + unit("b"), ["unit[0].needs", "move 'b' above 'a'"]),
        (unit("a", 'needs = ["b"]') + unit("b", 'needs = ["a"]'), ["a cycle: a -> b -> a"]),
        (unit("a", 'needs = ["a"]'), ["a cycle: a -> a"]),
        (unit("a", 'after = "b"'), ["unit[0].after: 'b'", "list"]),
        (unit("a", 'after = ["x"]'), ["unit[0].after", "comes after 'x', which no unit provides"]),
        (unit("a", 'after = ["b"]') + unit("b"), ["unit[0].after", "move 'b' above 'a'"]),
        (
            unit("a", 'after = ["b"]') + unit("b", 'needs = ["c"]') + unit("c", 'after = ["a"]'),
            ["unit[0].after: a cycle: a -> b -> c -> a"],
        ),
        ("".join(unit(f"u{i}") for i in range(65)), ["65 units", "64"]),
    ],
)
def test_wrong_boot_toml_names_file_key_and_mend(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    kernel = tree(tmp_path, text)
    with pytest.raises(InputError) as caught:
        generate.generate(kernel, tmp_path / "build")
    message = caught.value.message
    assert message.startswith(f"{kernel / 'boot.toml'}: ")
    assert "\n" not in message
    for word in words:
        assert word in message


def test_after_orders_without_need(tmp_path: Path) -> None:
    path = tmp_path / "boot.toml"
    text = unit("a", 'provides = ["x"]') + unit("b", 'after = ["x"]') + unit("c", 'needs = ["a"]')
    units = generate.parse_boot_units(path, text)
    assert [found.after for found in units] == [(), ("x",), ()]
    table = generate.boot_table_text(units)
    rows = [line.split(", ")[-1] for line in table.splitlines() if ".quad .Lboot_unit_name_" in line]
    assert rows == ["0x0", "0x0", "0x1"]  # nothing of it is in the mask of needs


def test_missing_boot_toml(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"boot\.toml: no such file"):
        generate.generate(tmp_path, tmp_path / "build")


def test_out_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "build").write_text("here")
    with pytest.raises(InputError, match="cannot write"):
        generate.generate(tree(tmp_path, GOOD), tmp_path / "build")
