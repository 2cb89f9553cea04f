"""Fault storms: every exception in every context on every CPU, with NMIs and with further faults during the report.

Each boot is one exception, asked for at the shell (``fault KIND CONTEXT CPU``). The report must be whole. Read through
``fault.analyse`` with the symbols of the image, it must name the routine, the line that raised it, and the way there.
What ``test_kernel_faults`` plants in a boot unit is left to it. Faults of ring 3 come from threads on every CPU, on
all of them at once, with an NMI before each key of each report.

What QEMU 7.2 does not raise under TCG: #XM (unmasked errors of SSE stay quiet), #AC (not with CR0.AM and RFLAGS.AC in
ring 3 either), and what needs other hardware (#MC, #VE, #CP). The kinds ``gate_*`` deliver those as the CPU would:
frame and error code pushed, interrupts off, on to where the gate leads; the path and the report are run, the cause is
not.
"""

from __future__ import annotations

import itertools
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from toolchain import build, contract, fault, qemu, serial
from toolchain.serial import FaultBlock
from toolchain.symbols import SymbolTable
from toolchain.types import BootConfig, BootResult, FaultReport
from toolchain.typist import Typist

pytestmark = pytest.mark.qemu

ROOT = Path(__file__).resolve().parents[2]
CPUS = 4
NMI_TAKEN = re.compile(r"^ *\d+: v=02 ", re.MULTILINE)
# kind -> the name in the report, the routine that raises it, a word of its line. TCG says #GP where a CPU says #SS.
KINDS: dict[str, tuple[str, str | None, str]] = {
    "de": ("#DE", "provoke_de", "div ecx"), "db": ("#DB", "provoke_db", "ret"), "nmi": ("NMI", "provoke_nmi", "ret"),
    "bp": ("#BP", "provoke_bp", "ret"), "of": ("#OF", "provoke_of", "ret"), "br": ("#BR", "provoke_br", "ret"),
    "ud": ("#UD", "provoke_ud", "ud2"), "nm": ("#NM", "provoke_nm", "fldz"), "df": ("#DF", "provoke_df", "push"),
    "np": ("#NP", "provoke_np", "mov"), "ss": ("#GP", "provoke_ss", "mov"), "gp": ("#GP", "provoke_gp", "mov"),
    "read": ("#PF", "provoke_pf_read", "mov"), "write": ("#PF", "provoke_pf_write", "mov"),
    "fetch": ("#PF", None, ""), "mf": ("#MF", "provoke_mf", "fwait"),
    "overflow": ("#DF", "provoke_overflow", "call provoke_overflow"), "ts": ("#TS", "provoke_ts", "int VECTOR_DB"),
    "gate_ac": ("#AC", "provoke_gate", "ret"), "gate_mc": ("#MC", "provoke_gate", "ret"),
    "gate_xm": ("#XM", "provoke_gate", "ret"), "gate_ve": ("#VE", "provoke_gate", "ret"),
    "gate_cp": ("#CP", "provoke_gate", "ret"),
}  # fmt: skip
# context -> routines that the trace goes through, on the boot CPU and on another one
CONTEXTS: dict[str, tuple[list[str | None], list[str | None]]] = {
    "shell": (["fault_raise", "command_fault", "shell_execute"], ["fault_raise", "sched_idle", "cpu_start"]),
    "thread": (["fault_raise", "thread_begin"], ["fault_raise", "thread_begin"]),
    "interrupt": (
        ["fault_raise", "fault_handler", "interrupt_dispatch", "interrupt_enter", "fault_in_handler"],
        ["fault_raise", "fault_handler", "interrupt_dispatch", "interrupt_enter", "fault_in_handler"],
    ),
    "lock": (["fault_raise", "fault_in_lock", "command_fault"], ["fault_raise", "fault_in_lock", "sched_idle"]),
    "line": (["fault_raise", "fault_in_line", "command_fault"], ["fault_raise", "fault_in_line", "sched_idle"]),
}  # fmt: skip
EVERY = [*itertools.product(KINDS, CONTEXTS, range(CPUS))]
# Each kind once, all contexts and CPUs in turn: 5 contexts and 4 CPUs have no common divisor.
SAMPLE = [(kind, [*CONTEXTS][i % len(CONTEXTS)], i % CPUS) for i, kind in enumerate(KINDS)]


class Kernel:
    """An image with its symbols and its tree."""

    def __init__(self, tree: Path, out: Path) -> None:
        self.tree = tree
        self.elf = build.build(tree, out, iso=False).elf
        self.symbols = SymbolTable(self.elf)

    def asked(self, line: str, cmdline: str = "", cpus: int = CPUS) -> tuple[BootResult, FaultReport]:
        """The end of a boot at whose shell ``line`` is typed, and what the toolchain makes of it."""
        with Typist(line) as person:
            result = qemu.boot(BootConfig(self.elf, smp=cpus, cmdline=cmdline, timeout=60), console=person)
        report = fault.analyse(result, self.symbols, self.tree)
        assert report is not None, result.serial
        return result, report


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    return Kernel(ROOT / "kernel", tmp_path_factory.mktemp("storm") / "out")


@pytest.fixture(scope="module")
def stormy(tmp_path_factory: pytest.TempPathFactory) -> Kernel:
    """The kernel whose reports call ``storm_key`` before they print the value of a key."""
    tree = tmp_path_factory.mktemp("stormy") / "tree"
    shutil.copytree(ROOT / "kernel", tree)
    shutil.copy(ROOT / "tests/fixtures/kernels/storm.s", tree / "test/storm.s")
    with (tree / "boot.toml").open("a") as file:
        file.write('\n[[unit]]\nname = "storm"\nentry = "storm_init"\nneeds = ["cmdline"]\n')
    source, before = tree / "cpu/fault_report.s", "    lea rcx, [rip + fault_rows]\n"
    text = source.read_text()
    assert text.count(before) == 1
    source.write_text(text.replace(before, f"    call storm_key\n{before}"))
    return Kernel(tree, tree.parent / "out")


def check(result: BootResult, report: FaultReport, kind: str, context: str, cpu: int) -> None:
    """The report is whole and names what happened, where, how it came there, on which CPU and in which thread."""
    assert (result.outcome, result.panic) == ("fault", None), result.serial
    assert result.serial.count("PXFAULT v1 begin") == result.serial.count("PXFAULT v1 end") == 1
    said = result.kernel_fault
    assert said is not None and tuple(said) == contract.load().fault_keys
    name, routine, text = KINDS[kind]
    assert (said["scope"], said["name"], int(said["cpu"], 16)) == ("kernel", name, cpu)
    assert (int(said["thread"], 16) != 0) == (context == "thread")
    assert bool(said["stack"]) == (kind != "df")  # that one has lost its stack
    callers = [place.symbol for place in report.trace]
    way = CONTEXTS[context][cpu > 0]
    if kind == "overflow":
        way = [routine] * contract.constant("FAULT_TRACE_MAX")
    elif kind == "fetch":
        way = ["provoke_pf_fetch", *way]
    elif kind == "df":
        way = way[1:]  # the stack is lost, and with it the caller of a routine without a frame
    elif kind == "ss":
        way = way[:1]  # its RBP leads nowhere
    assert callers[: len(way)] == way
    if routine is None:
        assert report.place is not None and report.place.symbol is None  # nothing lies there
        return
    assert report.place is not None and report.place.symbol == routine
    assert report.place.file == "test/provoke.s"
    assert text in next(line.text for line in report.source if line.marked)


@pytest.mark.parametrize(("kind", "context", "cpu"), SAMPLE)
def test_a_fault_is_reported_from_where_it_came(kernel: Kernel, kind: str, context: str, cpu: int) -> None:
    check(*kernel.asked(f"fault {kind} {context} {cpu}"), kind, context, cpu)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_fault_from_everywhere(kernel: Kernel) -> None:
    for kind, context, cpu in EVERY:
        check(*kernel.asked(f"fault {kind} {context} {cpu}"), kind, context, cpu)


def test_an_exception_that_the_cpu_does_not_raise_is_none(kernel: Kernel) -> None:
    with pytest.raises(AssertionError, match="this CPU raised no exception"):  # TCG has no #XM
        with Typist("fault xm line 1") as person:
            result = qemu.boot(BootConfig(kernel.elf, smp=2, timeout=3), console=person)
        assert result.outcome == "fault", result.serial


def test_nmis_during_the_report_do_not_cut_it(stormy: Kernel) -> None:
    for kind, context, cpu in (
        ("de", "shell", 0),
        ("ud", "interrupt", 1),
        ("nmi", "lock", 2),
        ("overflow", "thread", 3),
    ):
        result, report = stormy.asked(f"fault {kind} {context} {cpu}", "storm-nmi")
        check(result, report, kind, context, cpu)
        assert len(NMI_TAKEN.findall(result.qemu_log)) >= len(contract.load().fault_keys)


def check_cut(stormy: Kernel, key: int, context: str, cpu: int) -> None:
    """A second fault costs the report one key, and is told; the first is named all the same."""
    result, report = stormy.asked(f"fault de {context} {cpu}", f"storm-nested-{chr(ord('A') + key)}")
    keys = contract.load().fault_keys
    said = result.kernel_fault
    assert said is not None and tuple(said) == keys, result.serial
    assert [name for name, value in said.items() if "?" in value] == [keys[key]]
    assert result.serial.count("PXFAULT v1 end") == 1
    assert result.panic == ("nested-fault", "a fault came while a fault was reported")
    if keys[key] not in ("vector", "name"):
        assert report.chain[0].name == "#DE"
    assert report.place is not None and report.place.symbol == "provoke_de"
    assert (report.place.file, report.source[0].number < (report.place.line or 0)) == ("test/provoke.s", True)


def test_a_fault_in_the_report_costs_one_key(stormy: Kernel) -> None:
    keys = contract.load().fault_keys
    for key, context, cpu in (
        ("scope", "shell", 0),
        ("rip", "interrupt", 1),
        ("cr2", "thread", 2),
        ("trace", "lock", 3),
    ):
        check_cut(stormy, keys.index(key), context, cpu)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_fault_in_any_key_of_the_report(stormy: Kernel) -> None:
    for key in range(len(contract.load().fault_keys)):
        check_cut(stormy, key, [*CONTEXTS][key % len(CONTEXTS)], key % CPUS)


# What ring 3 gets for trying: gates that are not for it, control registers and kernel memory are refused.
USER = {
    "de": "#DE", "db": "#DB", "nmi": "#GP", "bp": "#GP", "of": "#GP", "br": "#GP", "ud": "#UD", "nm": "#GP",
    "df": "#PF", "np": "#GP", "ss": "#GP", "gp": "#GP", "read": "#PF", "write": "#PF", "fetch": "#PF", "mf": "#MF",
    "overflow": "#PF", "ts": "#GP", "gate_ac": "#GP", "gate_mc": "#GP", "gate_xm": "#GP", "gate_ve": "#GP",
    "gate_cp": "#GP",
}  # fmt: skip


def typed(
    kernel: Kernel, lines: Sequence[str], cmdline: str = ""
) -> tuple[BootResult, list[FaultBlock], list[Any]]:
    """A boot whose shell gets ``lines``, then powers off: the blocks of ring 3 in it, and the answers in JSON."""
    with Typist(*lines, "poweroff") as person:
        result = qemu.boot(BootConfig(kernel.elf, smp=CPUS, cmdline=cmdline, timeout=300), console=person)
    said = serial.parse(result.serial.encode("latin-1"))
    assert (result.kernel_fault, result.panic) == (None, None), result.serial
    assert all(block.scope == "user" for block in said.faults)
    return (
        result,
        said.faults,
        [json.loads(line) for line in result.serial.splitlines() if line.startswith("{")],
    )


def check_user(kernel: Kernel, block: FaultBlock, kind: str) -> int:
    """A block of ring 3 is whole and names what happened, and where; its CPU."""
    keys = tuple(key for key in block.values if key in contract.load().fault_keys)
    assert block.complete and keys == contract.load().fault_keys, kind
    assert (block.values["name"], int(block.values["cs"], 16) & 3) == (USER[kind], 3), kind
    assert int(block.values["thread"], 16) > 0 and block.values["program"] == "fault"
    wanted = f"provoke_user_{kind}" if kind != "fetch" else None
    assert place(kernel, int(block.values["rip"], 16)) == wanted
    return int(block.values["cpu"], 16)


def test_a_fault_of_ring_3_ends_its_thread_and_nothing_else(kernel: Kernel) -> None:
    lines = [f"fault {kind} user {number % CPUS} -j" for number, kind in enumerate(USER)]
    warm = ["fault ud user all -j", "mem -j"]
    _, blocks, answers = typed(kernel, [*warm, *lines, "fault xm user 1 -j", "fault xm user -j", "mem -j"])
    assert len(blocks) == CPUS + len(USER)
    for number, (kind, block) in enumerate(zip(USER, blocks[CPUS:], strict=True)):
        assert check_user(kernel, block, kind) == number % CPUS
    _, first, *ended, last = answers
    assert ended[:-2] == [{"command": "fault", "threads_ended": 1}] * len(USER)
    assert all("no exception" in answer["error"] for answer in ended[-2:])
    assert first["used_kib"] <= last["used_kib"] <= first["used_kib"] + USED_ONCE_KIB


def check_at_once(stormy: Kernel, kinds: Sequence[str]) -> None:
    """A thread on each CPU raises it at the same time; an NMI comes before each key. No report is cut or mixed."""
    _, blocks, answers = typed(
        stormy, [*(f"fault {kind} user all -j" for kind in kinds), "cpus -j"], "storm-nmi"
    )
    *ended, cpus = answers
    assert ended == [{"command": "fault", "threads_ended": CPUS}] * len(kinds)
    for number, kind in enumerate(kinds):
        of_kind = blocks[number * CPUS : (number + 1) * CPUS]
        assert sorted(check_user(stormy, block, kind) for block in of_kind) == [*range(CPUS)], kind
    assert len(blocks) == CPUS * len(kinds)
    each = len(kinds) * len(contract.load().fault_keys)
    assert [row["nmis_in_reports"] for row in cpus["cpus"]] == [each] * CPUS


def test_ring_3_faults_on_all_cpus_at_once_among_nmis(stormy: Kernel) -> None:
    check_at_once(stormy, ["de", "fetch", "overflow"])


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_every_fault_of_ring_3_on_all_cpus_at_once_among_nmis(stormy: Kernel) -> None:
    kinds = [*USER]
    for first in range(0, len(kinds), 8):
        check_at_once(stormy, kinds[first : first + 8])


@pytest.mark.parametrize(("key", "cpu"), [("scope", 0), ("rip", 1), ("program", 2), ("trace", 3)])
def test_a_fault_in_a_report_of_ring_3_is_the_kernels(stormy: Kernel, key: str, cpu: int) -> None:
    """It costs the report that key; then the kernel ends, for a report that faults is its own mistake."""
    keys = contract.load().fault_keys
    with Typist(f"fault de user {cpu}") as person:
        cmdline = f"storm-nested-{chr(ord('A') + keys.index(key))}"
        result = qemu.boot(BootConfig(stormy.elf, smp=CPUS, cmdline=cmdline, timeout=60), console=person)
    (block,) = serial.parse(result.serial.encode("latin-1")).faults
    assert block.complete and tuple(name for name in block.values if name in keys) == keys
    assert [name for name in keys if "?" in block.values[name]] == [key]
    assert result.panic == ("nested-fault", "a fault came while a fault was reported")


USED_ONCE_KIB = (
    256  # what the first program makes and the kernel keeps: slabs of the heap, the measured overhead
)


def place(kernel: Kernel, rip: int) -> str | None:
    """The label of the program's image, as it lies in the kernel's .rodata, that ``rip`` is behind."""
    image, end = kernel.symbols.find("provoke_user"), kernel.symbols.find("provoke_user_end")
    assert image is not None and end is not None
    offset = rip - USER_BASE
    if not 0 <= offset < end.address - image.address:
        return None
    labels = [
        (label.address, f"provoke_user_{kind}")
        for kind in USER
        if (label := kernel.symbols.find(f"provoke_user_{kind}"))
    ]
    return max((at, name) for at, name in labels if at <= image.address + offset)[1]


USER_BASE = 0x80_0000_0000 + 0x40_0000  # USER_TEST_BASE of kernel/test/user_image.inc
