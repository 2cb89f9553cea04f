"""What ``--json`` prints fits the schema of its command: one for each, strict, and for every kind of answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import cli
from tests.unit import schemas
from tests.unit.pxos import pxos
from toolchain import bench_kernel

ROOT = Path(__file__).resolve().parents[2]
KERNEL = str(ROOT / "kernel")
BUGS = ("--bugs", str(ROOT / "tests/bugs"), "--kernel", KERNEL)
LESSONS = ("--lessons", "store")
SOURCE = ".intel_syntax noprefix\nstart:\n    mov eax, [rdi + 8]\n    jmp start\n"
FAULT = (
    "PXBOOT v1 gpu start tsc=10\n\nPXFAULT v1 begin\nscope=kernel\ncpu=0\nvector=0xe\nname=#PF\nerror=0x2\n"
    "rip=0xffffffff80101000\ncr2=0xfd000000\nunit=gpu\nstack=0x1,0x2\ntrace=\nPXFAULT v1 end\n"
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("schemas")
    bench_kernel.write(folder / "tree", 60)
    assert (
        pxos(
            "build", "-q", "--no-iso", "--kernel", str(folder / "tree"), "--out", str(folder / "built")
        ).status
        == 0
    )
    (folder / "good.s").write_text(SOURCE)
    (folder / "bad.s").write_text(SOURCE + "    bogus eax\n.macro m\n    mov eax, bl\n.endm\n    m\n")
    (folder / "raw").write_bytes(b"\x90\xc3")
    (folder / "good.pxa").write_text("main: push 1\n jump main\n")
    (folder / "fault.log").write_text(FAULT)
    (folder / "quiet.log").write_text("PXBOOT v1 gpu start tsc=10\nPXREADY v1 tsc=11\n")
    store = (
        "--lessons",
        str(folder / "store"),
    )  # no row may need what another row, or another process, has done
    for words in (
        ("lessons", "add", "--cause", "y", "--insert", "mov [rax], rcx", "--vector", "14", *store),
        ("lessons", "export", str(folder / "kept.toml"), *store),
        ("vm", "pack", str(folder / "good.pxa"), str(folder / "good.png")),
    ):
        assert pxos(*words).status == 0
    return folder


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(made)
    monkeypatch.setenv("XDG_DATA_HOME", str(made / "data"))
    yield made
    assert not (made / "data").exists()


def test_every_command_has_a_schema_and_every_schema_a_command() -> None:
    names = {name.removesuffix(".json") for name in schemas.every()}
    assert names == {*cli.COMMANDS, "error"} - set(cli.INTERACTIVE)


@pytest.mark.parametrize("name", schemas.every())
def test_a_schema_is_one_and_is_strict(name: str) -> None:
    schema = schemas.every()[name]
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["type"] == "object"
    assert schema["additionalProperties"] is False
    assert set(schema.get("required", ())) <= set(schema["properties"])
    with pytest.raises(jsonschema.ValidationError):
        schemas.validate({}, name.removesuffix(".json"))


@pytest.mark.parametrize(
    ("row", "status"),
    [
        (("build", "--no-iso", "--kernel", "tree", "--out", "out"), 0),
        (("asm", "good.s"), 0),
        (("asm", "good.s", "--mode", "32", "--org", "0x7c00"), 2),
        (("asm", "bad.s"), 2),
        (("disasm", "raw"), 0),
        (("disasm", "built/pxos.elf", "--kernel", "tree"), 0),
        (("fault", "fault.log"), 0),
        (("fault", "fault.log", "--elf", "built/pxos.elf", "--kernel", "tree"), 0),
        (("fault", "quiet.log"), 0),
        pytest.param(("check", "--kernel", KERNEL, "--seeds", "1"), 0, marks=pytest.mark.long),
        (("bugs", "list", *BUGS), 0),
        (("bugs", "show", "seed-bar0-unmapped", "idt-never-loaded", *BUGS), 0),
        (("lessons", "list", *LESSONS), 0),
        (("lessons", "add", "--cause", "x", "--insert", "mov [rax], rdx", "--vector", "14", *LESSONS), 0),
        (("lessons", "show", "1", *LESSONS), 0),
        (("lessons", "search", "mov", *LESSONS), 0),
        (("lessons", "export", "kept.toml", *LESSONS), 0),
        (("lessons", "export", *LESSONS), 0),
        (("lessons", "import", "kept.toml", *LESSONS), 0),
        (("vm", "run", "good.pxa"), 1),
        (("vm", "asm", "good.pxa"), 0),
        (("vm", "disasm", "good.pxa"), 0),
        (("vm", "pack", "good.pxa", "good.png"), 0),
        (("vm", "unpack", "good.png", "back.pxa"), 0),
        (("vm", "verify", "good.png"), 1),
    ],
    ids=lambda value: " ".join(value)[:50] if isinstance(value, tuple) else "",
)
def test_an_answer(folder: Path, row: tuple[str, ...], status: int) -> None:
    answer = pxos(*row, "--json")
    assert answer.status == status, answer
    schemas.validate(answer.data, row[0])
    assert "Traceback" not in answer.errors


@pytest.mark.long
def test_findings_of_a_check(folder: Path) -> None:
    from architect import corpus

    bug = corpus.read(ROOT / "tests/bugs/rbx-not-saved.toml")
    corpus.plant(bug, Path(KERNEL), folder / "planted")
    answer = pxos("check", "--kernel", "planted", "--json", "-q")
    assert answer.status == 1
    assert answer.data["findings"]
    schemas.validate(answer.data, "check")


@pytest.mark.parametrize("command", [name for name in cli.COMMANDS if name not in cli.INTERACTIVE])
def test_a_failure(folder: Path, command: str) -> None:
    data = pxos(command, "--nosuch", "--json").data
    schemas.validate(data, "error")
    with pytest.raises(jsonschema.ValidationError):
        schemas.validate(data, command)


def test_a_fault_of_ours(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr("toolchain.commands.asm.run", broken)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    answer = pxos("asm", "good.s", "--json")
    assert answer.status == 4
    schemas.validate(answer.data, "error")
    assert "by nothing" in Path(answer.data["error"]["log"]).read_text()
    assert answer.errors.count("\n") == 1 and "Traceback" not in answer.errors


def test_a_wish_to_end_that_python_wrapped(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a class is made, Python 3.11 answers a signal's exception with a RuntimeError of its own."""

    def broken(*_: Any) -> None:
        raise RuntimeError("Error calling __set_name__") from KeyboardInterrupt()

    monkeypatch.setattr("toolchain.commands.asm.run", broken)
    answer = pxos("asm", "good.s")
    assert (answer.status, answer.errors) == (130, "pxos: interrupted\n")
