"""The PXFAULT block: every key of the contract in its order, each with what the frame and the machine hold.

The stack and the chain of frames of code that died are not trusted: what cannot be read or is not sound ends the list.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import Session
from architect.contracts.tables import GLOBAL, NX, WRITE, Frames
from architect.contracts.traps import FRAME, NAMES
from architect.contracts.units import sent
from toolchain import contract as shared
from toolchain.harness import BUFFER_BASE, PERCPU_PAGE, Harness

_STACK, _UNMAPPED = 0x9_0000, 0x9_2000
_LIMIT = 300_000
_VECTORS = {
    0: "#DE",
    6: "#UD",
    8: "#DF",
    13: "#GP",
    14: "#PF",
    18: "#MC",
    21: "#CP",
    31: "#31",
    32: "interrupt",
}
_PERCPU_UNIT = 0x10


class _Reports(Session):
    """A kernel whose page tables map one stack."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.root = Frames(harness).root()
        harness.set("cr3", self.root)
        self.top = harness.direct_base + _STACK
        for page in (_STACK, _STACK + 0x1000):
            flags = WRITE | NX | GLOBAL
            self.call("page_map", rdi=harness.direct_base + page, rsi=page, rdx=flags)
        text = next(s for s in harness.image.sections if s.name == ".text")
        self.code = [text.address + offset for offset in (5, 0x100, 0x777)]
        self.outside = text.address + text.size + 0x10000

    def report(self, frame: Mapping[str, int]) -> dict[str, str]:
        """The block for a frame, by key."""
        self.harness.write(BUFFER_BASE, FRAME.pack(*(frame[name] for name in NAMES)))
        self.harness.write(BUFFER_BASE + 0x800, b"expected\0")
        ports = self.call("fault_report", limit=_LIMIT, rdi=BUFFER_BASE, rsi=BUFFER_BASE + 0x800).ports
        got = sent(ports).replace(b"\r", b"").decode("latin-1").split("\n")
        begin, end = shared.string("FAULT_BEGIN"), shared.string("FAULT_END")
        whole = begin in got and end in got[got.index(begin) :]
        self.expect(whole, "fault_report", "does not bracket the report", got=repr(got[:2]))
        rows = [line.partition("=") for line in got[got.index(begin) + 1 : got.index(end)]]
        keys = [key for key, _, _ in rows]
        self.expect(keys == list(shared.load().fault_keys), "fault_report", "says other keys", got=repr(keys))
        return {key: value for key, _, value in rows}

    def chain(self, *frames: tuple[int, int]) -> None:
        """Frames on the stack: at offset from its beginning, saved RBP and return address."""
        for offset, (saved, back) in zip(range(0x800, 0x1000, 0x100), frames, strict=False):
            self.harness.write(self.top + offset, struct.pack("<QQ", saved, back))


@contract(
    "fault_report", "print_scope", "print_frame", "print_percpu", "print_percpu_long", "print_cr0", "print_cr3",
    "print_cr4", "print_msr", "print_name", "print_unit", "print_stack", "print_trace", "fault_put_stack",
    "fault_put_trace", "fault_read", "fault_probe", "fault_page_mapped", "fault_put_item",
    needs=("page_map", "frame_alloc", "page_root"),
)  # fmt: skip
def fault_blocks(harness: Harness) -> None:
    """Registers, names, stacks near the end of what is mapped, chains that are whole, broken, or go round."""
    here = _Reports(harness)
    frame = {name: 0x1111_0000_0000_0000 + number for number, name in enumerate(NAMES)}
    first, second = here.top + 0x800, here.top + 0x900
    frame |= {"vector": 14, "error": 2, "rsp": here.top + 0x100, "rbp": first, "rip": here.code[0]}
    words = [0xAB00 + n for n in range(16)]
    harness.write(frame["rsp"], struct.pack("<16Q", *words))
    here.chain((second, here.code[1]), (0, here.code[2]))
    harness.write(BUFFER_BASE + 0x900, b"paging\0")
    harness.write_u64(PERCPU_PAGE + _PERCPU_UNIT, BUFFER_BASE + 0x900)
    said = here.report(frame)
    keys = list(shared.load().fault_keys)
    for key in (
        "error",
        "rip",
        "cs",
        "rflags",
        "rsp",
        "ss",
        "cr2",
        "vector",
        *(n for n in NAMES if n[0] == "r"),
    ):
        row = here.source("fault_rows", 1 + keys.index(key))  # a line for each key, in the contract's order
        here.equal(said[key], f"{frame[key]:#x}", "print_frame", "says another value", key=key, place=row)
    here.equal(said["scope"], "expected", "print_scope", "says another scope")
    here.equal(said["unit"], "paging", "print_unit", "says another boot unit")
    here.equal(said["cr3"], f"{here.root:#x}", "print_cr3", "says another CR3")
    here.equal(said["cr0"], f"{harness.get('cr0'):#x}", "print_cr0", "says another CR0")
    here.equal(said["cr4"], f"{harness.get('cr4'):#x}", "print_cr4", "says another CR4")
    here.equal(said["efer"], f"{harness.msr(0xC0000080):#x}", "print_msr", "says another EFER")
    here.equal(said["stack"], ",".join(f"{w:#x}" for w in words), "print_stack", "says another stack")
    wanted = f"{here.code[1]:#x},{here.code[2]:#x}"
    here.equal(said["trace"], wanted, "print_trace", "says another trace")
    harness.write_u64(PERCPU_PAGE + _PERCPU_UNIT, 0)
    end = here.top + 0x2000
    stacks = ((end - 24, 3), (end, 0), (end + 0x1000, 0), (0x1234_5678_9ABC_DEF0, 0), (here.top + 0x100, 16))
    long_chain = tuple((first + 0x100 * (n + 1), here.code[1]) for n in range(7))
    gone = harness.image.entry
    chains = (
        (first, (*long_chain, (0, here.code[2])), 8),
        (
            first,
            ((second, gone), (0, here.code[2])),
            0,
        ),  # returns into code of the boot that is no longer there
        (first, ((first, here.code[1]),), 1),  # goes round
        (first, ((here.top + 0x700, here.code[1]), (0, 0)), 1),  # goes down
        (first, ((second, here.outside), (0, here.code[2])), 0),  # returns into no code
        (first + 4, ((second, here.code[1]), (0, here.code[2])), 0),  # is not on 8 bytes
        (end + 0x100, (), 0),  # is not mapped
        (0, (), 0),
        (0xDEAD_0000_0000_0000, (), 0),  # is no address
    )
    for number, (rbp, frames, count) in enumerate(chains):
        rsp, words_left = stacks[number % len(stacks)]
        vector = list(_VECTORS)[number % len(_VECTORS)]
        here.chain(*frames)
        said = here.report({**frame, "rbp": rbp, "rsp": rsp, "vector": vector})
        got = len([word for word in said["trace"].split(",") if word])
        here.equal(
            got, count, "fault_put_trace", "follows a chain that is not sound, or leaves a sound one", rbp=rbp
        )
        got = len([word for word in said["stack"].split(",") if word])
        here.equal(
            got, words_left, "fault_put_stack", "says more of the stack than can be read, or less", rsp=rsp
        )
        here.equal(said["unit"], "", "print_unit", "says a boot unit where none runs")
        here.equal(
            said["name"], _VECTORS[vector], "print_name", "gives an exception another name", vector=vector
        )
