"""``pxos asm``: each statement its bytes or its error, as GNU as has them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
from toolchain import single

SCHEMA = json.loads((Path(single.__file__).parent / "schemas/asm.json").read_text())


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str, status: int = 0) -> list[dict[str, Any]]:
    assert cli.main(["asm", *arguments, "--json"]) == status
    found = json.loads(capsys.readouterr().out)
    jsonschema.validate(found, SCHEMA)
    statements: list[dict[str, Any]] = found["statements"]
    return statements


def brief(rows: list[dict[str, Any]]) -> list[tuple[int, str, int, str]]:
    return [(r["line"], r["text"], r["address"], r["bytes"]) for r in rows]


def write(tmp_path: Path, text: str) -> str:
    path = tmp_path / "a.s"
    path.write_text(text)
    return str(path)


def test_statements_with_addresses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path, "# head\nK = 3\nstart:\n  mov eax, K   # three\n  jz start\n  nop; hlt\n")
    assert brief(as_json(capsys, path, "--org", "0x7c01")) == [
        (4, "mov eax, K", 0x7C01, "b803000000"),
        (5, "jz start", 0x7C06, "74f9"),
        (6, "nop", 0x7C08, "90"),
        (6, "hlt", 0x7C09, "f4"),
    ]


@pytest.mark.parametrize(("mode", "expected"), [(16, "b83412"), (32, "66b83412"), (64, "66b83412")])
def test_modes_from_stdin(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], mode: int, expected: str
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"mov ax, 0x1234")))
    (row,) = as_json(capsys, "-", "--mode", str(mode))
    assert row["bytes"] == expected


def test_errors_do_not_hide_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = 'nop\nbogus eax\nmov eax, 5\njmp nowhere\ncall nowhere\n.byte 300\n.include "no.inc"\nmov al, 0x1ff\nhlt\n'
    rows = as_json(capsys, write(tmp_path, text), status=2)
    assert [row["line"] for row in rows] == list(range(1, 10))
    assert {row["line"]: row["bytes"] for row in rows if "bytes" in row} == {
        1: "90",
        3: "b805000000",
        9: "f4",
    }
    errors = {row["line"]: row["error"] for row in rows if "error" in row}
    assert "nowhere" in errors[4]
    assert "nowhere" in errors[5]
    assert "no.inc" in errors[7]


def test_text_output_and_errors_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["asm", write(tmp_path, "push rbp\n")]) == 0
    assert capsys.readouterr().out.split() == ["0", "55", "push", "rbp"]
    assert cli.main(["asm", write(tmp_path, "push rbp\nbogus\nmov rax, [rbx + foo]\n")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "a.s:2: error" in captured.err
    assert "a.s:3: error" in captured.err
    assert "Traceback" not in captured.err


def test_macros_and_repetitions_keep_their_order(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ".macro both x\npush \\x\npop \\x\n.endm\n.rept 2\ninc eax\nboth rcx\n.endr\nbad\n"
    rows = as_json(capsys, write(tmp_path, text), status=2)
    assert [(r["text"], r.get("address")) for r in rows] == [
        ("inc eax", 0), ("push rcx", 2), ("pop rcx", 3),
        ("inc eax", 4), ("push rcx", 6), ("pop rcx", 7),
        ("bad", None),
    ]  # fmt: skip
    assert rows[1]["line"] == 2
    assert rows[1]["expanded_at"] in (5, 7)


def test_sections_lie_behind_each_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = ".data\nvalue: .quad 7\n.text\nlea rax, [rip + value]\n.bss\n.skip 2\n"
    rows = {row["text"]: row for row in as_json(capsys, write(tmp_path, text), "--org", "0x1000")}
    assert rows["lea rax, [rip + value]"]["address"] == 0x1000
    assert rows[".quad 7"]["address"] == 0x2000
    assert rows["lea rax, [rip + value]"]["bytes"] == "488d05" + (0x2000 - 0x1007).to_bytes(4, "little").hex()
    assert rows[".skip 2"]["bytes"] == "0000"


def test_same_bytes_as_gnu_as(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = """\
start:
1:  mov rax, qword ptr [rdi + rcx*8 + 16]
    cmp eax, 0x80
    jne 1b
    jmp 2f
    .skip 200, 0x90
2:  lea rsi, [rip + start]
    movabs rbx, 0x1122334455667788
    .align 16
    .long start - 2b, 2f - start
2:  .asciz "end"
"""
    path = write(tmp_path, ".intel_syntax noprefix\n" + text)
    rows = as_json(capsys, path)
    subprocess.run(["as", path, "-o", tmp_path / "a.o"], check=True)
    subprocess.run(
        ["objcopy", "-O", "binary", "-j", ".text", tmp_path / "a.o", tmp_path / "a.bin"], check=True
    )
    assert bytes.fromhex("".join(row["bytes"] for row in rows)) == (tmp_path / "a.bin").read_bytes()


def test_a_unit_of_a_kernel_tree_sees_what_the_tree_includes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = tmp_path / "tree"
    (tree / "include").mkdir(parents=True)
    (tree / "dev").mkdir()
    (tree / "include/k.inc").write_text(".set ANSWER, 42\n")
    (tree / "boot.toml").write_text("")
    (tree / "image.toml").write_text(
        '[image]\nentry = "e"\nphysical_base = 0x1000\nvirtual_base = 0\nsources = ["**/*.s"]\ninclude = ["include"]\n'
        '[[section]]\nname = ".text"\ninputs = [".text"]\nflags = "ax"\n'
    )
    unit = tree / "dev/a.s"
    unit.write_text('.include "k.inc"\n.include "contract.inc"\nmov al, ANSWER\nmov dx, DEBUG_EXIT_PORT\n')
    assert [row["bytes"] for row in as_json(capsys, str(unit))] == ["b02a", "66baf400"]


@pytest.mark.parametrize(
    ("content", "arguments", "words"),
    [
        (None, [], "cannot read: No such file or directory"),
        (b"", [], "empty; expected assembly source"),
        (b" \n\n", [], "empty; expected assembly source"),
        (b"\x7fELF\x00\x00", [], "this is a binary file"),
        (b"nop\n\xff\xfe", [], "is not UTF-8"),
        (b"nop", ["--mode", "8"], "invalid choice"),
        (b"nop", ["--org", "-1"], "--org"),
    ],
)
def test_bad_input_is_status_2_and_no_traceback(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    content: bytes | None,
    arguments: list[str],
    words: str,
) -> None:
    path = tmp_path / "a.s"
    if content is not None:
        path.write_bytes(content)
    assert cli.main(["asm", str(path), *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert "Traceback" not in captured.err
    assert cli.main(["asm", str(path), *arguments, "--json"]) == 2
    assert set(json.loads(capsys.readouterr().out)["error"]) == {"stage", "message", "log"}


def test_a_warning_is_shown_and_hides_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.s").write_text('nop\n.warning "look here"\nret\n')
    assert cli.main(["asm", str(tmp_path / "a.s")]) == 0
    seen = capsys.readouterr()
    assert len(seen.out.splitlines()) == 2
    assert "a.s:2: warning: look here\n" in seen.err
