"""What becomes of an exception: a failed probe, a fault that somebody waits for, a nested one, the end of the boot.

A fault while one is reported must never loop; an NMI that comes then is not lost without a trace; whatever the
faulting code did to the GS base, the report is made with the right one. The text is the contract's.
"""

from __future__ import annotations

from collections.abc import Mapping

from architect.contracts import contract
from architect.contracts.model import Session
from architect.contracts.traps import FRAME, NAMES
from architect.contracts.units import sent
from toolchain import contract as shared
from toolchain.harness import BUFFER_BASE, Harness, Result

_FRAME = BUFFER_BASE
_RECORD = BUFFER_BASE + 0x400
_DEPTH, _CATCH, _NMI_COUNT = 0x20, 0x28, 0x40  # of the per-CPU block
_REPORT = 1
_IN_PROGRESS = 0x230  # PERCPU_REPORT
_NMI_STACK = 0x180 + 0x2C  # PERCPU_TSS + TSS_IST2
_NMI, _DF, _SS, _GP, _PF, _UD = 2, 8, 12, 13, 14, 6


class _Faults(Session):
    """A kernel with its tables loaded; reports are only counted."""

    def __init__(self, harness: Harness) -> None:
        super().__init__(harness)
        self.percpu = harness.address("percpu_boot")
        self.reports: list[tuple[int, bytes]] = []
        stack = harness.address("boot_stack_top")
        self.call("percpu_init", rdi=self.percpu, rsi=0, rdx=stack - 4096, rcx=stack)
        self.call("descriptors_init", rdi=BUFFER_BASE)
        harness.substitute("fault_report", self._report)

    def _report(self, harness: Harness) -> None:
        scope = self.read(harness.get("rsi"), 16, "fault_dispatch").split(b"\0")[0]
        self.reports.append((harness.get("rdi"), scope))

    def raised(self, vector: int, *, rip: int = 0x1234, depth: int = 0, catch: int = 0) -> Result:
        """Hand a frame to the dispatcher."""
        frame = {name: 0x1000 + number for number, name in enumerate(NAMES)} | {"vector": vector, "rip": rip}
        self.harness.write(_FRAME, FRAME.pack(*(frame[name] for name in NAMES)))
        for at, value in ((_DEPTH, depth), (_CATCH, catch), (_NMI_COUNT, 0)):
            self.harness.write_u64(self.percpu + at, value)
        self.reports.clear()
        self.calls += 1
        return self.harness.call("fault_dispatch", {"rdi": _FRAME}, seed=self.calls)

    def frame(self) -> Mapping[str, int]:
        """The frame as the dispatcher left it."""
        return dict(zip(NAMES, FRAME.unpack(self.harness.read(_FRAME, FRAME.size)), strict=True))

    def ended(self, result: Result, promise: str, **what: int) -> bytes:
        """The machine was told and ended; what was said before."""
        port, pvpanic = shared.constant("DEBUG_EXIT_PORT"), shared.constant("PVPANIC_PORT")
        told = [(at, value) for at, _, value in result.ports if at in (port, pvpanic)]
        ends = told == [(pvpanic, 1), (port, shared.constant("DEBUG_EXIT_FAULT"))] and result.end == "halt"
        self.expect(ends, "fault_dispatch", promise, **what)
        return sent(result.ports).replace(b"\r", b"")


@contract(
    "fault_dispatch", "fault_land", "fault_end", "fault_nested", "fault_redirect", "fault_panic",
    needs=(
        "fault_report", "fault_report_cut", "percpu_boot", "percpu_init", "descriptors_init", "fault_probe_load",
        "fault_probe_failed",
    ),
)  # fmt: skip
def fault_paths(harness: Harness) -> None:
    """Each way that an exception can take."""
    here = _Faults(harness)
    said = here.ended(here.raised(_PF), "does not end the boot at a fault that nobody waits for")
    here.expect(
        here.reports == [(_FRAME, b"kernel")], "fault_dispatch", "does not report a fault of the kernel once"
    )
    said = here.ended(here.raised(_GP, depth=1), "does not end the boot at a nested fault")
    panic = shared.string("PANIC_PREFIX").encode() + b"nested-fault "
    told = any(line.startswith(panic) for line in said.split(b"\n"))
    here.expect(
        told and not here.reports, "fault_dispatch", "does not say that a fault is nested", got=repr(said)
    )
    said = here.ended(here.raised(_GP, depth=2), "does not end the boot at a third fault")
    here.expect(
        not said and not here.reports, "fault_dispatch", "goes on talking at a third fault", got=repr(said)
    )
    result = here.raised(_NMI, depth=1)
    kept = harness.read_u64(here.percpu + _DEPTH), harness.read_u64(here.percpu + _NMI_COUNT)
    let = result.end == "returned" and kept == (1, 1) and not here.reports
    here.expect(let, "fault_dispatch", "does not let a report go on after an NMI", got=repr(kept))
    _cut(here)
    load, failed = harness.address("fault_probe_load"), harness.address("fault_probe_failed")
    for vector in (_SS, _GP, _PF):
        result = here.raised(vector, rip=load)
        probed = result.end == "returned" and here.frame()["rip"] == failed and not here.reports
        here.expect(probed, "fault_dispatch", "does not make a failure of a probe that faults", vector=vector)
    for vector in (_NMI, _UD):
        here.ended(
            here.raised(vector, rip=load), "takes another exception for a probe that faults", vector=vector
        )
    result = here.raised(_PF, rip=load + 1)
    here.ended(result, "takes a fault beside the probe for the probe's")
    for flags, reports in ((0, []), (_REPORT, [(_FRAME, b"expected")])):
        harness.write_u64(_RECORD + 8, flags)
        result = here.raised(_UD, catch=_RECORD)
        here.expect(
            result.end == "returned", "fault_land", "ends the boot at a fault that somebody waits for"
        )
        here.expect(
            here.reports == reports, "fault_land", "reports a caught fault otherwise than asked", flags=flags
        )
        here.equal(harness.read_u64(here.percpu + _DEPTH), 0, "fault_dispatch", "leaves a report in progress")
        frame = here.frame()
        lands = (
            frame["rsp"] == _RECORD and frame["cs"] == 0x08 and frame["ss"] == 0x10 and frame["rip"] != 0x1234
        )
        here.expect(lands, "fault_land", "does not return to who waits", got=repr(frame["rsp"]))
        here.equal(frame["rflags"] & 0x200, 0, "fault_land", "returns with interrupts on")


@contract("fault_restore_gs", needs=("percpu_boot", "percpu_init", "descriptors_init"))
def restore_gs_alone(harness: Harness) -> None:
    """The block of the CPU that runs, whatever the base was; a base that is right stays as it is."""
    here = _Faults(harness)
    for base in (here.percpu, 0, 0x1234_5000, here.percpu ^ 1 << 32, here.percpu + 8):
        harness.set("gs_base", base)
        here.call("fault_restore_gs")
        promise = "does not mend a GS base that is damaged"
        here.equal(harness.get("gs_base"), here.percpu, "fault_restore_gs", promise, base=base)


def _cut(here: _Faults) -> None:
    """A fault in a key of a report goes on behind it, once for each key; a #DF, whose stack is lost, does not."""
    harness, record, field = here.harness, BUFFER_BASE + 0x600, here.percpu + _IN_PROGRESS
    stack = harness.read_u64(here.percpu + _NMI_STACK)
    for vector, goes_on in ((_GP, True), (_PF, True), (_DF, False)):
        harness.write_u64(field, record)
        result = here.raised(vector, depth=1)
        if not goes_on:
            here.ended(result, "does not end the boot at a double fault in a report")
            continue
        frame, left = here.frame(), (harness.read_u64(here.percpu + _DEPTH), harness.read_u64(field))
        led = result.end == "returned" and (frame["rip"], frame["rsp"]) == (
            harness.address("fault_report_cut"),
            record,
        )
        here.expect(led and left == (1, 0), "fault_nested", "does not let the report go on", vector=vector)
    harness.write_u64(field, 0)
    here.raised(_NMI, depth=1)
    here.equal(
        harness.read_u64(here.percpu + _NMI_STACK), stack, "fault_dispatch", "keeps a part of the NMIs' stack"
    )
