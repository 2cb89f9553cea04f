"""The monitor shell at the serial line, as a person and as a program use it: every command, and garbage."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 60
PROMPT = "\r\npx> "
LINE_MAX = 255


class Shell:
    """A booted kernel and its prompt."""

    def __init__(self, folder: Path, *options: str) -> None:
        words = ["-m", "cli", "run", "-q", "--kernel", str(ROOT / "kernel"), "--out", str(folder / "build")]
        self.line: pexpect.spawn[str] = pexpect.spawn(
            sys.executable, [*words, *options], cwd=str(ROOT), timeout=SECONDS, encoding="latin-1"
        )
        self.line.delaybeforesend = None
        self.line.expect("PXREADY v1")
        self.line.expect("px> ")

    def say(self, text: str) -> str:
        """What the shell prints for a line, without the line itself."""
        self.line.send(text + "\r")
        self.line.expect_exact(PROMPT)
        answer: str = self.line.before or ""
        return answer.replace("\r\n", "\n").partition("\n")[2].strip("\n")

    def ask(self, text: str) -> Any:
        """The object that a command answers with ``-j``."""
        return json.loads(self.say(text + " -j").splitlines()[-1])

    def close(self) -> None:
        self.line.send("\x1d")
        self.line.expect(pexpect.EOF)
        self.line.close()


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Shell(tmp_path_factory.mktemp("shell"))
    yield made
    made.close()


def test_help_names_every_command_and_each_answers(shell: Shell) -> None:
    commands = shell.ask("help")["commands"]
    names = [command["name"] for command in commands]
    assert {
        "help",
        "mem",
        "frames",
        "map",
        "pci",
        "units",
        "gpu",
        "mailbox",
        "peek",
        "poke",
        "test",
        "fault",
    } <= set(names)
    text = shell.say("help")
    assert all(f"{command['name']} {command['usage']}".strip() in text for command in commands)
    for name in names:
        if name not in ENDS:
            assert shell.ask(name)["command"] == name
        assert shell.ask(f"help {name}")["commands"][0]["name"] == name
    assert shell.ask("test cmdline_words") == {"command": "test", "failed": 0}
    assert (
        "kind of fault" in shell.ask("fault")["error"] and "context" in shell.ask("fault ud nowhere")["error"]
    )
    assert "no such CPU" in shell.ask("fault ud shell 64")["error"]


ENDS = ("reboot", "poweroff", "fault", "test")  # commands that end the machine, or print more than one object


def test_memory(shell: Shell) -> None:
    memory, frames = shell.ask("mem"), shell.ask("frames")
    usable = sum(int(row["length"], 16) for row in memory["map"] if row["type"] == "usable")
    assert memory["total_kib"] * 1024 <= usable <= 128 << 20
    assert frames["total"] * 4 == memory["total_kib"] and frames["used"] > 0
    assert "type=usable" in shell.say("mem")


def test_map_walks_level_by_level(shell: Shell) -> None:
    image = int(shell.ask("mem")["image"], 16)
    walk = shell.ask(f"map {0xFFFF800000000000 + image:#x}")
    assert [level["level"] for level in walk["levels"]][:2] == ["PML4", "PDPT"]
    assert walk["levels"][0]["index"] == 256
    assert int(walk["physical"], 16) == image and walk["type"] == "WB"
    missing = shell.ask("map 0")
    assert missing["mapped"] == "no" and missing["levels"][-1]["flags"] == "-"
    assert "error" in shell.ask("map") and "error" in shell.ask("map 12x")
    for address in (
        1 << 47,
        1 << 60,
        (1 << 64) - (1 << 47) - 1,
    ):  # a walk would show pages of other addresses
        assert "not canonical" in shell.ask(f"map {address:#x}")["error"]
    assert shell.ask(f"map {(1 << 47) - 1:#x}")["mapped"] == "no"


def test_what_faults_is_refused(shell: Shell) -> None:
    for line in ("peek 0", "peek 0x800000000000", "poke 8 1", "peek 0xffffffffffffffff", "peek 0xfff 2 8"):
        assert "not mapped" in shell.ask(line)["error"], line
    for line in (
        "peek",
        "peek x",
        "peek 0 0",
        "peek 0 257",
        "peek 0 1 3",
        "poke 1",
        "poke 1 256 1",
        "poke 1 2 3 4",
    ):
        assert "expected" in shell.ask(line)["error"], line


def test_peek_and_poke(shell: Shell) -> None:
    at = int(shell.ask("gpu")["bar0"], 16) + 0x800  # in the mailbox page, behind its registers
    before = shell.ask(f"peek {at:#x} 1 4")["values"][0]["value"]
    shell.say(f"poke {at:#x} 0x12345678 4")
    shell.say(f"poke {at + 1:#x} 0xab 1")
    values = shell.ask(f"peek {at:#x} 4 1")["values"]
    assert [value["value"] for value in values] == ["0x78", "0xab", "0x34", "0x12"]
    shell.say(f"poke {at:#x} {before} 4")
    assert shell.ask(f"peek {at:#x} 1 4")["values"][0]["value"] == before


def test_devices_and_units(shell: Shell) -> None:
    functions = shell.ask("pci")["functions"]
    gpu = shell.ask("gpu")
    assert gpu["bar0"] in [row.get("bar0") for row in functions]
    assert shell.ask("mailbox")["status"] == "0x1"
    units = shell.ask("units")["units"]
    assert units[0]["name"] == "descriptors"
    assert {row["name"] for row in units if row["state"] != "ok"} == {"session"}  # there is no GPU service
    assert all(row["ticks"] > 0 for row in units)
    assert [row["start"] for row in units] == sorted(row["start"] for row in units)


def test_processors_interrupts_and_time(shell: Shell) -> None:
    said = shell.ask("cpus")
    assert said["online"] == 1 and [row["state"] for row in said["cpus"]] == ["online"]
    vectors = {row["vector"]: row for row in shell.ask("irq")["vectors"]}
    assert vectors["0x30"]["count"] > 0  # of the serial line, by which this was asked
    assert {"0xf0", "0xff"} <= set(vectors)
    first, second = shell.ask("time"), shell.ask("time")
    assert first["ns"] < second["ns"] and first["tsc"] < second["tsc"]
    assert first["tsc_khz"] == second["tsc_khz"] > 1000


def test_acpi_tables_hold(shell: Shell) -> None:
    tables = shell.ask("acpi")["tables"]
    assert {"FACP", "APIC"} <= {table["signature"] for table in tables}
    assert {table["holds"] for table in tables} == {"yes"}


@pytest.mark.parametrize(("command", "said"), [("poweroff", "ended the machine"), ("reboot", "reset")])
def test_power(tmp_path: Path, command: str, said: str) -> None:
    shell = Shell(tmp_path)
    shell.line.send(command + "\r")
    shell.line.expect(said)
    shell.line.expect(pexpect.EOF)
    shell.line.close()


def test_tests_run_one_by_one_and_again(shell: Shell) -> None:
    for _ in range(2):
        text = shell.say("test cmdline_words")
        assert "1..1" in text and "ok 1 cmdline_words" in text and text.endswith("failed=0")
    assert "no such test" in shell.say("test nonsense")


def test_tests_leave_no_trace_in_the_counters(shell: Shell) -> None:
    names = ("exhausted", "double_frees", "bad_frees", "damaged")
    before = shell.ask("frames")
    for test in (
        "frames_detect_overwritten_list",
        "frames_refuse_bad_frees",
        "heap_refuses_bad_frees",
        "frames_run_out",
    ):
        assert shell.say(f"test {test}").endswith("failed=0")
    after = shell.ask("frames")
    assert [after[name] for name in names] == [before[name] for name in names]


def test_history_and_completion(shell: Shell) -> None:
    shell.say("help mem")
    assert "map ADDR" in shell.say("help map")
    assert "the memory map" in shell.say("\x1b[A\x1b[A")
    assert "frames" in shell.say("hel\tfra\t")
    shell.line.send("p\t")
    shell.line.expect_exact("peek  poke")
    shell.line.expect_exact("px> p")
    shell.say("\x15")


def test_a_line_too_long_is_cut_and_said(shell: Shell) -> None:
    assert "no such command" in shell.say("x" * (2 * LINE_MAX))
    assert "more words" in shell.say("a b c d e f g h i")


def test_a_fault_on_purpose_is_reported(tmp_path: Path) -> None:
    shell = Shell(tmp_path)
    shell.line.send("fault ud\r")
    shell.line.expect("invalid opcode|#UD")
    shell.line.expect("provoke_ud")
    shell.line.expect(pexpect.EOF)
    shell.line.close()
    assert shell.line.exitstatus == 1


KINDS = [
    "de", "db", "nmi", "bp", "of", "br", "ud", "nm", "df", "np", "ss", "gp", "read", "write", "fetch", "mf", "overflow",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault(tmp_path: Path, kind: str) -> None:
    shell = Shell(tmp_path)
    shell.line.send(f"fault {kind}\r")
    shell.line.expect("PXFAULT v1 begin")
    shell.line.expect("PXFAULT v1 end")
    shell.line.expect(pexpect.EOF)
    shell.line.close()
    assert shell.line.exitstatus == 1


def garbage(rng: random.Random) -> str:
    """A line of no sense: bytes, keys, or words of real commands; none that ends the machine or writes memory."""
    kind = rng.randrange(3)
    if kind == 0:
        return "".join(chr(rng.choice(BYTES)) for _ in range(rng.randrange(40)))
    if kind == 1:
        return "".join(rng.choice(KEYS) for _ in range(rng.randrange(30)))
    return " ".join(rng.choice(WORDS) for _ in range(rng.randrange(9)))


# not what the terminal of `pxos run` takes for itself: ^C ^Q ^S ^Z ^\ ^], nor what ends a line
BYTES = [byte for byte in range(256) if byte not in (3, 10, 13, 0x11, 0x13, 0x1A, 0x1C, 0x1D)]
KEYS = [
    "\x1b[A",
    "\x1b[B",
    "\x1b[C",
    "\x1b[D",
    "\x1b[3~",
    "\x1b",
    "\x7f",
    "\t",
    "\x01",
    "\x05",
    "\x0b",
    "\x17",
    "\x0c",
    "a",
    " ",
]
WORDS = ["help", "mem", "map", "peek", "pci", "units", "gpu", "mailbox", "-j", "0", "0x", "1", "99999999999999999999",
         "0xffff800000000000", "0xffffffffffffffff", "8", "tes", "nonsense", "fram", "=", '"', "\\"]  # fmt: skip


def storm(shell: Shell, lines: int, seed: int) -> None:
    """So many lines of garbage; the shell answers in between, and at the end."""
    rng = random.Random(seed)
    batch = 100
    for start in range(0, lines, batch):
        text = "".join(garbage(rng) + "\r" for _ in range(min(batch, lines - start)))
        shell.line.send(text)
        shell.line.send(f"\x15\x0b\x05\x15end{start}\r")
        shell.line.expect_exact(f"end{start}")
        assert shell.line.expect_exact(["no such command", "PXFAULT", "PXPANIC"]) == 0
        shell.line.expect_exact(PROMPT)


def test_garbage(shell: Shell) -> None:
    storm(shell, 400, 1)
    assert shell.ask("frames")["damaged"] == 0


@pytest.mark.slow
def test_much_garbage(shell: Shell) -> None:
    storm(shell, 100_000, 2)
    assert shell.ask("frames")["damaged"] == 0
