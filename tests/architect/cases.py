"""Small kernel trees, cases and patches for the tests of the fix loop."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from architect.protocols import Case, Edit, Evaluation, GateResult, Patch, Signature
from toolchain.types import CodePlace, Diagnosis, Exception_, FaultReport, Walk

PAGE_S = """\
.intel_syntax noprefix
.include "macros.inc"

# page_map -- write one page-table entry
page_map:
    push rbp
    mov rbp, rsp
    mov rax, rdi
    shr rax, 12
    and eax, 0x1ff                  # index in the PT
    or rsi, PTE_PRESENT | PTE_WRITE
    mov qword ptr [rdx + rax*8], rsi
    invlpg [rdi]
    pop rbp
    ret
"""
IDT_S = """\
.intel_syntax noprefix
# idt_set -- write one gate
idt_set:
    shl rdi, 4
    mov rcx, rsi
    or rcx, GATE_PRESENT | GATE_INTERRUPT
    mov qword ptr [rdx + rdi], rcx
    ret
"""
FILES = {
    "image.toml": (Path(__file__).resolve().parents[2] / "kernel/image.toml").read_text(),
    "boot.toml": '[[unit]]\nname = "frames"\nentry = "frame_init"\n',
    "mm/page.s": PAGE_S,
    "cpu/idt.s": IDT_S,
    "include/macros.inc": ".set PTE_PRESENT, 1\n.set PTE_WRITE, 2\n",
    "test/page_test.s": '.include "ktap.inc"\ntest_page:\n    ret\n',
    "include/ktap.inc": ".macro expect a, b\n.endm\n",
}


def make_tree(folder: Path, files: Mapping[str, str] = FILES) -> Path:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def patch(*edits: Edit, operator: str = "test", engine: str = "scripted", cost: float = 0.0) -> Patch:
    return Patch(edits, engine, operator, "because", cost)


def replaced(text: str, file: str, line: int, new: str) -> Edit:
    """The edit that replaces one line of ``text``."""
    return Edit(file, line, (text.split("\n")[line - 1],), (new,))


def evaluation(
    of: Patch, *, passed: bool = False, progress: float = 0.0, boots: int = 1, sha: str | None = None
) -> Evaluation:
    gates = (GateResult("assembles", True, 0.001), GateResult("boot", passed, 0.05, "" if passed else "#PF"))
    return Evaluation(of, gates, passed, progress, boots > 0, sha, boots=boots)


def report(symbol: str = "mailbox_init", suspects: tuple[str, ...] = ("page_map",)) -> FaultReport:
    walk = Walk(0xFD000000, 0x1000, (), False, None, None, "PT", "the entry is empty")
    return FaultReport(
        outcome="fault",
        scope="kernel",
        cause="page fault",
        chain=(Exception_(14, "#PF", 2, ("write",), 0x10, 0xFD000000, "kernel"),),
        registers={},
        place=CodePlace(0x10, symbol, 4, "gpu/mailbox.s", 9),
        instruction="mov dword ptr [rax], ecx",
        source=(),
        trace=(),
        stack=(),
        walk=walk,
        unit="mailbox",
        units=(),
        diagnosis=(Diagnosis("unmapped-write", "nothing maps it", suspects),),
        serial_tail=(),
    )


def case(sources: Mapping[str, str], fault: FaultReport | None = None) -> Case:
    failures = (GateResult("boot", False, 0.1, "fault"),)
    return Case(Path("/nowhere"), dict(sources), None, None, fault, failures=failures)


SIGNATURE = Signature(
    "fault", 14, ("write",), "PT", "mailbox", "mov", "mailbox_init", ("unmapped-write",), "boot"
)
