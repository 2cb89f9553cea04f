"""``pxos disasm``: raw bytes, executables, routines, and everything that is none of these."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
from tests.unit.images import MAIN_S, SUB_S, TEXT, program, symbol
from toolchain import elf
from toolchain.types import Image, Line, Section

SCHEMA = json.loads((Path(elf.__file__).parent / "schemas/disasm.json").read_text())


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kernel/sub").mkdir(parents=True)
    (tmp_path / "kernel/main.s").write_text(MAIN_S)
    (tmp_path / "kernel/sub/sub.s").write_text(SUB_S)
    (tmp_path / "a.elf").write_bytes(elf.write(program()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[dict[str, Any]]:
    assert cli.main(["disasm", *arguments, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, SCHEMA)
    statements: list[dict[str, Any]] = found["statements"]
    return statements


def test_an_executable_with_symbols_and_source_lines(
    kernel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["disasm", "a.elf"]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = lines.index("middle:")
    assert lines[at + 1] == "# sub/sub.s:4: push rbp"
    assert lines[at + 2].split("  ")[-1] == "push rbp"
    assert any(line.endswith("call 0x40102f  # leaf") for line in lines)


def test_one_routine(kernel: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = as_json(capsys, "a.elf", "--symbol", "leaf")
    assert [(row["address"] - TEXT, row["bytes"], row["text"]) for row in rows][:3] == [
        (0x2F, "53", "push rbx"),
        (0x30, "85ff", "test edi, edi"),
        (0x32, "7502", "jne 0x401036"),
    ]
    assert rows[2] | {"line": 16, "file": "sub/sub.s", "symbol": "leaf", "refers": "leaf+0x7"} == rows[2]
    assert len(rows) == 8


def test_raw_bytes_by_mode_and_origin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "raw.bin"
    path.write_bytes(bytes.fromhex("b83412 e9fdff ff"))
    rows = as_json(capsys, str(path), "--mode", "16", "--org", "0x7c00")
    assert [(row["address"], row["text"]) for row in rows] == [
        (0x7C00, "mov ax, 0x1234"),
        (0x7C03, "jmp 0x7c03"),
        (0x7C06, ".byte 0xff"),
    ]
    rows = as_json(capsys, str(path), "--mode", "32")
    assert rows[0]["text"] == "mov eax, 0xfde91234"


def test_stdin(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xf4")))
    assert as_json(capsys, "-")[0]["text"] == "hlt"


def test_source_names_that_lead_out_of_the_tree_are_not_read(
    kernel: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (kernel / "main.s").write_text("secret\n" * 20)
    data = (kernel / "a.elf").read_bytes().replace(b"sub/sub.s\0", b"../main.s\0")
    (kernel / "a.elf").write_bytes(data)
    assert cli.main(["disasm", "a.elf"]) == 0
    out = capsys.readouterr().out
    assert "# ../main.s:4" in out
    assert "secret" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.elf"], "none.elf: cannot read: No such file"),
        (["."], "cannot read: Is a directory"),
        (["empty"], "empty: empty; expected bytes"),
        (["cut.elf"], "damaged ELF file"),
        (["a.elf", "--symbol", "lief"], "no symbol 'lief'; did you mean 'leaf'?"),
        (["a.elf", "--symbol", "PORT"], "'PORT' has no bytes"),
        (["a.elf", "--symbol", "buffer"], "'buffer' has no bytes"),
        (["a.elf", "--org", "1"], "leave --org away"),
        (["raw", "--symbol", "x"], "raw bytes have no symbols"),
        (["raw", "--org", "x"], "expected an address"),
        (["raw", "--mode", "8"], "invalid choice"),
        ([], "required: FILE"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    kernel: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    (kernel / "empty").write_bytes(b"")
    (kernel / "raw").write_bytes(b"\x90")
    (kernel / "cut.elf").write_bytes((kernel / "a.elf").read_bytes()[:-100])
    assert cli.main(["disasm", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert captured.err.count("\n") == 1


def test_code_of_an_elf_is_read_in_the_mode_that_fits_its_lines(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = bytes.fromhex("a1 00100000 c3 90 48 89e5 c3 b83412 c3") + b"text" + b"\x90"
    rows = [(0, 5), (5, 1), (6, 1), (7, 3), (10, 1), (11, 3), (14, 1)]
    image = Image(
        TEXT,
        (Section(".text", TEXT, TEXT, len(data), data, "ax", 1),),
        (
            symbol("protected", TEXT),
            symbol("long", TEXT + 6),
            symbol("real", TEXT + 11),
            symbol("words", TEXT + 15),
            symbol("fill", TEXT + 19),
        ),
        tuple(Line(TEXT + at, size, "a.s", at + 1) for at, size in rows),
        ("a.s",),
    )
    (tmp_path / "m.elf").write_bytes(elf.write(image))
    assert [row["text"] for row in as_json(capsys, str(tmp_path / "m.elf"))] == [
        "mov eax, dword ptr [0x1000]", "ret", "nop", "mov rbp, rsp", "ret", "mov ax, 0x1234", "ret",
        ".byte 0x74, 0x65, 0x78, 0x74  # text", "nop",
    ]  # fmt: skip
