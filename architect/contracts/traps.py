"""Exceptions from the CPU's frame to the handler's and back.

Each stub is entered as the CPU enters it (Intel SDM vol. 3, 6.14.2: SS, RSP, RFLAGS, CS, RIP, and for some vectors an
error code, 6.13) and must hand over a frame that holds the interrupted registers; when the handler returns, everything
is as it was. A stub that pushes an error code too many or too few returns to garbage.
"""

from __future__ import annotations

import struct

from architect.contracts import contract
from architect.contracts.model import Session
from toolchain.harness import BUFFER_BASE, HALT, STACK_TOP, Harness
from toolchain.headers import GENERAL

WITH_ERROR = frozenset((8, 10, 11, 12, 13, 14, 17, 21, 29, 30))  # SDM vol. 3, table 6-1; AMD APM vol. 2, 8.2
_CODE, _DATA = 0x08, 0x10
_FLAGS = 0x2 | 1 << 0 | 1 << 6  # carry and zero: not what the handler leaves
_EXCEPTIONS = 32
_TRIED = (*range(_EXCEPTIONS), 32, 39, 47, 128, 254, 255)
# The frame that the entry code makes, from the lowest address up.
_PUSHED = (
    "cr2",
    "r15",
    "r14",
    "r13",
    "r12",
    "r11",
    "r10",
    "r9",
    "r8",
    "rbp",
    "rdi",
    "rsi",
    "rdx",
    "rcx",
    "rbx",
    "rax",
)
_REST = ("vector", "error", "rip", "cs", "rflags", "rsp", "ss")
NAMES = (*_PUSHED, *_REST)
FRAME = struct.Struct(f"<{len(NAMES)}Q")
_GATE = struct.Struct("<HHBBHII")
_CR2 = 0x0000_7EAD_BEEF_1000
_CODE_AT = BUFFER_BASE + 0x8000


class _Traps(Session):
    """A kernel with its tables loaded and a handler that looks at the frame and lets everything pass."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.seen: list[tuple[int, ...]] = []
        self.aligned = True
        self.direction = False
        if harness.has("percpu_boot"):
            stack = harness.address("boot_stack_top")
            self.call("percpu_init", rdi=harness.address("percpu_boot"), rsi=0, rdx=stack - 4096, rcx=stack)
        self.call("descriptors_init", rdi=BUFFER_BASE)
        harness.substitute("fault_dispatch", self._handler)
        harness.substitute("interrupt_dispatch", self._handler)
        _, base, _ = harness.table("idtr")
        gates = _GATE.iter_unpack(harness.read(base, 256 * _GATE.size))
        self.stubs = [low | middle << 16 | high << 32 for low, _, _, _, middle, high, _ in gates]

    def _handler(self, harness: Harness) -> None:
        """Look at the frame; then spoil what a handler may change (System V AMD64 ABI, 3.2.1)."""
        self.seen.append(FRAME.unpack(self.read(harness.get("rdi"), FRAME.size, "interrupt_enter")))
        self.aligned = harness.get("rsp") % 16 == 8
        self.direction = bool(harness.get("rflags") & 1 << 10)
        for name in ("rax", "rcx", "rdx", "rsi", "rdi", "r8", "r9", "r10", "r11"):
            harness.set(name, 0x4BAD_0000_0000_0000 | harness.get("rsp") & 0xFFFF)

    def enter(self, vector: int, *, flags: int = _FLAGS) -> None:
        """Raise a vector, check the frame, return from it, check what is left."""
        harness, what = self.harness, {"vector": vector}
        error = 0xE0 | vector & 7 if vector in WITH_ERROR else None
        before = {name: 0x5100_0000_0000_0000 | vector << 32 | n for n, name in enumerate(GENERAL)}
        before["rsp"] = STACK_TOP - 0x2008  # interrupted anywhere: the CPU aligns it
        cpu = (_DATA, before["rsp"], flags, _CODE, HALT)
        pushed = (*cpu, error) if error is not None else cpu
        top = (before["rsp"] & ~15) - 8 * len(pushed)
        harness.write(top, struct.pack(f"<{len(pushed)}Q", *reversed(pushed)))
        harness.set("cr2", _CR2)
        self.seen.clear()
        result = harness.enter(self.stubs[vector], {**before, "rsp": top, "rflags": 0x2 | flags & 1 << 10})
        self.expect(len(self.seen) == 1, "interrupt_enter", "does not come to the handler", **what)
        right = "fault_dispatch" if vector < _EXCEPTIONS else "interrupt_dispatch"
        self.expect(right in result.calls, "interrupt_enter", "comes to another dispatcher", **what)
        frame = dict(zip(NAMES, self.seen[0], strict=True))
        self.equal(frame["vector"], vector, "idt_fill", "leads a vector to the stub of another", **what)
        self.equal(frame["error"], error or 0, "interrupt_enter", "hands over another error code", **what)
        interrupted = (frame["rip"], frame["cs"], frame["rflags"], frame["rsp"], frame["ss"])
        promise = "hands over another frame than the CPU pushed"
        self.expect(interrupted == tuple(reversed(cpu)), "interrupt_enter", promise, **what)
        self.equal(frame["cr2"], _CR2, "interrupt_enter", "hands over another CR2", **what)
        for name in _PUSHED[1:]:
            self.equal(frame[name], before[name], "interrupt_enter", f"hands over another {name}", **what)
        self.expect(self.aligned, "interrupt_enter", "calls with RSP not on 16 bytes", **what)
        self.expect(not self.direction, "interrupt_enter", "calls with DF set", **what)
        self.expect(result.end == "returned", "interrupt_enter", "does not come back from a trap", **what)
        for name in GENERAL:
            promise = f"comes back with another {name}"
            self.equal(result.registers[name], before[name], "interrupt_enter", promise, **what)
        self.equal(
            result.registers["rflags"], flags, "interrupt_enter", "comes back with other flags", **what
        )


@contract(
    "interrupt_enter", "idt_fill",
    needs=("descriptors_init", "fault_dispatch", "interrupt_dispatch", "percpu_init"),
)  # fmt: skip
def traps(harness: Harness) -> None:
    """Every exception and some interrupts; one with DF set."""
    machine = _Traps(harness)
    for vector in _TRIED:
        machine.enter(vector)
    machine.enter(6, flags=_FLAGS | 1 << 10)


@contract(
    "fault_catch",
    "fault_land",
    needs=("fault_dispatch", "percpu_init", "descriptors_init", "interrupt_enter"),
)
def caught_faults(harness: Harness) -> None:
    """A routine that faults ends at its caller with the vector and the error code, one that returns with its result."""
    session = Session(harness)
    stack = harness.address("boot_stack_top")
    if harness.has("percpu_boot"):
        session.call("percpu_init", rdi=harness.address("percpu_boot"), rsi=0, rdx=stack - 4096, rcx=stack)
    session.call("descriptors_init", rdi=BUFFER_BASE)
    _, base, _ = harness.table("idtr")
    rows = list(_GATE.iter_unpack(harness.read(base, 256 * _GATE.size)))
    for vector, error in ((14, 7), (6, None), (13, 0x28)):
        low, _, _, _, middle, high, _ = rows[vector]
        stub = low | middle << 16 | high << 32
        # What stands in for the routine: the CPU's pushes, then the stub.
        code = bytes.fromhex("4889e0 4883e4f0 6a10 50 68 02000000 6a08 50".replace(" ", ""))
        code += bytes((0x6A, error)) if error is not None else b""
        code += b"\x48\xb8" + stub.to_bytes(8, "little") + bytes.fromhex("ffe0")
        harness.write_code(_CODE_AT, code)
        result = session.call("fault_catch", rdi=_CODE_AT, rsi=1, rdx=0)
        session.expect(
            result.flag("cf"), "fault_catch", "does not say that the routine faulted", vector=vector
        )
        session.equal(result.registers["rax"], vector, "fault_catch", "says another vector", vector=vector)
        session.equal(
            result.registers["rdx"], error or 0, "fault_catch", "says another error code", vector=vector
        )
    harness.write_code(
        _CODE_AT, bytes.fromhex("488d4701 f9 c3".replace(" ", ""))
    )  # lea rax, [rdi+1]; stc; ret
    result = session.call("fault_catch", rdi=_CODE_AT, rsi=41, rdx=0)
    session.expect(not result.flag("cf"), "fault_catch", "says that a routine faulted that returned")
    session.equal(result.registers["rax"], 42, "fault_catch", "loses what the routine returned")
