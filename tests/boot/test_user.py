"""Ring 3 as a person sees it: programs from boot modules, hostile images by the hundred, and that nothing leaks."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from architect.contracts import elfcheck
from tests.boot.test_shell import Shell
from tests.unit.pxos import pxos
from toolchain import elf, programs, saved_logs, user_faults

pytestmark = pytest.mark.qemu

HOSTILE = 240
UNSUPPORTED = 9  # ERROR_UNSUPPORTED: what the kernel answers for a service that is not there
MASK = (1 << 64) - 1
SUMS = 1 << 32
CRASH = """
.intel_syntax noprefix
.include "macros.inc"
.section .text, "ax"
function program_start
    call_frame
    call crash_deep
    return_frame
end_function program_start
function crash_deep
    call_frame
    push 7
    mov rax, [0x10]
    pop rax
    return_frame
end_function crash_deep
"""
# what a program does -> the exceptions that it may end with (an emulator says another than the CPU now and then)
RAISED = {
    "de": ("xor ecx, ecx\n div ecx", "#DE"), "ud": ("ud2", "#UD"), "bp": ("int3", "#GP"), "int": ("int 0x80", "#GP"),
    "db": ("push 0x302\n popfq\n nop", "#DB"), "privileged": ("cli", "#GP"), "port": ("in al, 0x60", "#GP"),
    "read": ("mov rax, [rdi - 8]", "#PF"), "write": ("lea rax, [rip]\n mov [rax], eax", "#PF"),
    "fetch": ("push 0xc3\n jmp rsp", "#PF"), "kernel": ("mov rax, -1 << 31\n mov rax, [rax]", "#PF"),
    "guard": ("1: push rax\n jmp 1b", "#PF"), "nowhere": ("mov rax, -1 << 47\n dec rax\n mov rax, [rax]", "#GP"),
}  # fmt: skip
SPIN = """
.intel_syntax noprefix
.include "macros.inc"
.section .text, "ax"
function program_start
    jmp program_start
end_function program_start
"""


def program(folder: Path, name: str, source: str) -> Path:
    """A program of ring 3, built as those that ship are."""
    (folder / "image.toml").write_text((programs.FOLDER / "image.toml").read_text())
    (folder / f"{name}.s").write_text(source)
    path = folder / name
    path.write_bytes(elf.write(programs.image(folder / f"{name}.s", folder)))
    return path


def stress(rounds: int, cpus: int) -> int:
    """What ``stress`` must end with: the sums of its workers, without threads and without memory."""
    total = 0
    for task in ((r << 16) + n for r in range(rounds) for n in range(cpus)):
        number, sum_ = task + 0x5EED, 0
        for _ in range(6):
            number = _next(number)
            for _ in range(((number >> 60 & 7) + 1) * 512):
                number = _next(number)
                sum_ = ((sum_ << 1 | sum_ >> 63) + number) & MASK
        total = ((total << 7 | total >> 57) + sum_) & MASK
    return SUMS | total >> 32 ^ total & 0xFFFF_FFFF


def _next(number: int) -> int:
    return (number * 6364136223846793005 + 1442695040888963407) & MASK


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("user")


@pytest.fixture(scope="module")
def shell(folder: Path) -> Iterator[Shell]:
    words = ["--module", "hello", "--module", "stress"]
    for name, source in (("crash", CRASH), ("spin", SPIN)):
        words += ["--module", str(program(folder, name, source))]
    made = Shell(folder, *words)
    made.ask("run stress 1")  # what is made once is made
    yield made
    made.close()


def counts(shell: Shell) -> Any:
    """Frames in use (less what the heap keeps for the next), heap blocks, stacks, spaces, threads."""
    said = shell.ask("frames")
    frames = said["used"] - said["heap_frames"]
    return frames, said["heap_blocks"], said["stacks"], said["spaces"], len(shell.ask("threads")["list"])


def test_programs_run_and_leave_nothing_behind(shell: Shell) -> None:
    before = counts(shell)
    said = shell.ask("run hello")
    assert (said["stop"], said["result"], said["faults"]) == ("exit", UNSUPPORTED, 0)
    assert said["calls"] == 2 and said["forwarded"] == 1
    said = shell.ask("run stress 3")
    assert (said["stop"], said["result"], said["faults"]) == ("exit", stress(3, 1), 0)
    assert said["threads"] == 4 and counts(shell) == before


def test_a_fault_ends_the_program_and_is_named(shell: Shell, folder: Path) -> None:
    before = counts(shell)
    said = shell.say("run crash")
    assert "PXFAULT v1 begin\nscope=user\n" in said and "program=crash\n" in said and "faults=1" in said
    assert counts(shell) == before
    log = next((folder / "build").glob("*/serial.log"))
    report = pxos("fault", str(log), "--module", str(folder / "crash"), "--json").data
    assert report["scope"] == "user" and report["program"] == "crash"
    assert report["place"]["symbol"] == "crash_deep" and report["place"]["file"] == "crash.s"
    assert report["cause"].startswith("#PF (page fault): read from 0x10 (not present, user) at crash_deep+")
    assert report["trace"][0]["symbol"] == "program_start" and report["stack"][0] == "0x7"
    assert user_faults.files([], folder / "build/programs").keys() == {"hello", "stress"}


def storm_source() -> str:
    """A program that raises the exception of its argument, each in a routine of its own."""
    lines = [
        ".intel_syntax noprefix",
        '.include "macros.inc"',
        '.section .text, "ax"',
        "function program_start",
    ]
    lines += ["call_frame"]
    for number, kind in enumerate(RAISED):
        lines += [f"cmp edi, {number}", "jne 1f", "xor edi, edi", f"call raise_{kind}", "1:"]
    lines += ["return_frame", "end_function program_start"]
    for kind, (code, _) in RAISED.items():
        lines += [f"function raise_{kind}", "call_frame", code, "return_frame", f"end_function raise_{kind}"]
    return "\n".join(lines) + "\n"


def test_every_exception_of_ring_3_is_reported_whole(tmp_path: Path) -> None:
    """Each report names routine, line and way; nobody else dies."""
    made = program(tmp_path, "storm", storm_source())
    shell = Shell(tmp_path, "--module", str(made), "--smp", "2")
    shell.ask("programs")
    for number in range(len(RAISED)):
        assert "faults=1" in shell.say(f"run storm {number}")
    shell.close()
    log = next((tmp_path / "build").glob("*/serial.log"))
    result = saved_logs.read([log])
    found = user_faults.found(result, {"storm": made})
    assert len(found) == len(RAISED) and result.kernel_fault is None
    for fault, (kind, (_, name)) in zip(found, RAISED.items(), strict=True):
        report = fault.report
        assert report.chain[0].name == name and report.scope == "user", (kind, report.cause)
        if kind != "fetch":  # that one died on its stack
            assert report.place is not None and report.place.symbol == f"raise_{kind}", report.cause
            assert report.place.file == "storm.s" and report.place.line
        assert [place.symbol for place in report.trace] == ["program_start"], kind
        assert f"user fault in storm, thread {int(fault.thread, 0)}: {name}" in user_faults.line(fault)


def test_an_endless_loop_keeps_nobody(shell: Shell) -> None:
    before = counts(shell)
    said = shell.ask("run spin &")
    assert said["stop"] == "running"
    row = next(row for row in shell.ask("threads")["list"] if row["name"] == "spin")
    assert row["budget_ns"] < row["period_ns"]
    while next(row for row in shell.ask("threads")["list"] if row["name"] == "spin")["overruns"] < 3:
        pass  # the shell answers meanwhile
    assert shell.ask("run hello")["result"] == UNSUPPORTED  # another one runs beside it
    assert [row["name"] for row in shell.ask("programs")["programs"]] == ["spin"]
    assert shell.ask(f"kill {said['id']}")["stop"] == "killed"
    assert shell.ask("programs")["programs"] == [] and counts(shell) == before
    shell.line.send("run spin\r")
    shell.line.expect_exact("run spin")
    shell.line.send("\x1b")
    shell.line.expect_exact("stop=killed")
    shell.line.expect_exact("\r\npx> ")
    assert counts(shell) == before


def test_what_cannot_be_run_is_refused(shell: Shell) -> None:
    for line in ("kill", "kill x", "run hello x", "run", "run hello 1 2", "run &"):
        assert "expected" in shell.ask(line)["error"], line
    assert "no such program" in shell.ask("kill 99")["error"]


def test_hello_is_heard_by_the_gpu_service(tmp_path: Path) -> None:
    shell = Shell(tmp_path, "--gpu", "--module", "hello")
    assert shell.ask("run hello")["result"] == 0
    shell.close()
    log = next((tmp_path / "build").glob("*/gpu.log"))
    assert "hello from ring 3" in log.read_text()


def test_hostile_images(tmp_path: Path) -> None:
    """Each is refused with the model's reason, or runs as any program would; none harms the kernel, nothing leaks."""
    words, right = [], []
    for number, data in enumerate(elfcheck.hostile(random.Random(77), HOSTILE)):
        if len(data) < 4 or not data.startswith(b"\x7fELF"):
            continue  # of another kind: the Pixel VM's loader has it
        (tmp_path / f"m{number}").write_bytes(data)
        words += ["--module", str(tmp_path / f"m{number}")]
        right.append((number, elfcheck.judge(data)[0]))
    shell = Shell(tmp_path, *words)
    shell.ask(f"run m{right[0][0]}")
    before = counts(shell)
    for number, reason in right:
        said = json_of(shell.say(f"run m{number} -j"))
        if reason:
            assert said.get("code") == elfcheck.REASONS.index(reason), (number, reason, said)
        else:
            assert said["faults"] == 1, (number, said)  # its code is zeros, or not there
    assert counts(shell) == before
    shell.close()


def json_of(said: str) -> Any:
    """The object in what the shell said, behind any fault report."""
    import json

    return json.loads(said.splitlines()[-1])


ROUNDS, RUNS = 100, 6


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_minute_of_stress_on_four_processors(tmp_path: Path) -> None:
    """600 rounds, and 60 s of the guest's clock, at least: nothing leaks, and every sum is right."""
    right = stress(ROUNDS, 4)
    shell = Shell(tmp_path, "--module", "stress", "--smp", "4", "--icount")
    shell.line.timeout = 1200
    shell.ask("run stress 2")
    before, under_load, runs = counts(shell), 0, 0
    while under_load < 60_000_000_000 or runs < RUNS:
        began = shell.ask("time")["ns"]
        said = shell.ask(f"run stress {ROUNDS}")
        under_load += shell.ask("time")["ns"] - began
        assert (said["stop"], said["result"], said["faults"]) == ("exit", right, 0)
        runs += 1
    after, frames = counts(shell), shell.ask("frames")
    rounds, shoots = runs * ROUNDS, frames["tlb_shoot_downs"]
    print(f"\n{under_load / 1e9:.1f} s, {rounds} rounds, {rounds * 4} threads, {shoots} shoot-downs")
    print(f"frames, heap blocks, stacks, spaces, threads: {before} -> {after}")
    assert after == before and frames["tlb_timeouts"] == 0
    assert frames["double_frees"] == frames["bad_frees"] == 0
    shell.close()
