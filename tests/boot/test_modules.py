"""Programs that come with the boot run on bare metal, by a direct boot and from the ISO, as the reference runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pixelvm import program, reference
from pixelvm.host import PlainHost
from pixelvm.load import load
from pixelvm.state import State
from tests.boot.test_shell import Shell
from tests.unit.pxos import pxos

pytestmark = pytest.mark.qemu

EXAMPLES = Path(__file__).resolve().parents[2] / "pixelvm/examples"
FUEL = 1_000_000_000  # what the shell gives


def packed(folder: Path, *names: str) -> list[str]:
    """Examples as boot modules; the arguments that add them."""
    words = []
    for name in names:
        made = folder / Path(name).with_suffix(program.SUFFIX).name
        made.write_bytes(program.to_bytes(load(str(EXAMPLES / name)).program))
        words += ["--module", str(made)]
    return words


def ended(name: str) -> dict[str, object]:
    """What the shell must say of an example that draws on a black tile, or not at all."""
    of = load(str(EXAMPLES / name)).program
    state = State(of, fuel=FUEL)
    reference.run(of, state, PlainHost(width=128, height=128))
    return {
        "command": "run", "stop": state.stop.name.lower(), "result": state.result, "pc": state.pc,
        "fuel": FUEL - state.fuel,
    }  # fmt: skip


@pytest.mark.parametrize("way", ["--direct", "--iso"])
def test_examples_run_on_bare_metal(tmp_path: Path, way: str) -> None:
    (tmp_path / "text").write_bytes(b"no program at all" * 9)
    words = packed(tmp_path, "hello.pxa", "fib.pxa", "painter.pxa")
    shell = Shell(tmp_path, way, "--module", str(tmp_path / "text"), *words)
    names = [row["name"] for row in shell.ask("modules")["modules"]]
    assert names[-3:] == ["hello.pxvm", "fib.pxvm", "painter.pxvm"]
    used = shell.ask("frames")["used"]
    assert "Hello from a picture." in shell.say("run hello.pxvm")
    for name in ("hello", "fib", "painter"):
        assert shell.ask(f"run {name}.pxvm") == ended(f"{name}.pxa")
    assert shell.ask("run hello.pxvm 5")["stop"] == "fuel"
    shell.say("help")
    assert abs(shell.ask("frames")["used"] - used) <= 4  # what the heap keeps for the next
    for line, said in (
        ("run", "expected"),
        ("run nobody", "no such module"),
        ("run text", "no program"),
        ("run hello.pxvm 0x100000000", "expected"),
    ):
        assert said in shell.ask(line)["error"]
    shell.close()


def test_modules_that_cannot_be(tmp_path: Path) -> None:
    bad = tmp_path / "with blank.pxvm"
    bad.write_bytes(b"x")
    empty = tmp_path / "empty.pxvm"
    empty.touch()
    for words, said in (
        ([str(bad)], "printable"), ([str(empty)], "empty"), ([str(tmp_path / "none")], "none"),
        ([str(EXAMPLES / "hello.pxa")] * 2, "already"),
    ):  # fmt: skip
        answer = pxos(
            "boot", "--out", str(tmp_path / "out"), *(w for word in words for w in ("--module", word))
        )
        assert answer.status == 2 and said in answer.errors and "Traceback" not in answer.errors
