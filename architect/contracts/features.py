"""CPU features and the local APIC: what is switched on is what CPUID says there is.

Intel SDM vol. 3: 2.5 (CR4), 11.12.2 (the PAT's encodings), 11.12.4 (TLBs after the PAT has changed), 10.4.3 (APIC
base), 10.5.1 (local vector table), 10.12 (x2APIC); vol. 2, CPUID.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from architect.contracts import contract
from architect.contracts.model import FAIL, OK, SKIP, Broken, Session, stand_for_mmio_map
from architect.contracts.units import said
from toolchain.harness import BUFFER_BASE, PERCPU_PAGE, Harness
from toolchain.watch import Event, answer_rdmsr, watch

_PAE, _MCE, _PGE, _OSFXSR, _OSXMMEXCPT, _UMIP, _SMEP, _SMAP = (1 << n for n in (5, 6, 7, 9, 10, 11, 20, 21))
_EDX_MSR, _EDX_PAE, _EDX_MCE, _EDX_APIC, _EDX_PGE, _EDX_PAT, _EDX_SSE = (
    1 << n for n in (5, 6, 7, 9, 13, 16, 25)
)
_EBX_SMEP, _EBX_SMAP, _ECX_UMIP = 1 << 7, 1 << 20, 1 << 2
_MSR_PAT, _MSR_APIC_BASE = 0x277, 0x1B
_WB, _WC, _UC_MINUS, _UC, _WP, _WT = 6, 1, 7, 0, 5, 4
# What the flags of a page mean (11.12.3: PAT:PCD:PWT is the index of the entry). 0, 2 and 3 keep what a reset gives
# them; without the PAT bit, which lies elsewhere in large pages, PWT alone is WC.
_TYPES = bytes((_WB, _WC, _UC_MINUS, _UC, _WB, _WP, _UC_MINUS, _WT))
_VALID = (0, 1, 4, 5, 6, 7)
_MXCSR, _FPCW = 0x1F80, 0x037F  # as after a reset and after FNINIT
_EVERYTHING = _EDX_MSR | _EDX_PAE | _EDX_MCE | _EDX_APIC | _EDX_PGE | _EDX_PAT | _EDX_SSE
_APIC, _APIC_ENABLED, _APIC_X2 = 0xFEE0_0000, 1 << 11, 1 << 10
_PERCPU_APIC_ID = 0x0C


def _cpu(harness: Harness, edx: int, ebx7: int = 0, ecx7: int = 0, *, leaves: int = 0x16) -> None:
    """Make CPUID say that a CPU has these features; leaves beyond the last repeat it, as Intel's do."""

    def cpuid(leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        leaf = min(leaf, leaves) if leaf < 0x8000_0000 else leaf
        if leaf == 0:
            return leaves, 0x756E6547, 0x6C65746E, 0x49656E69
        if leaf == 1:
            return 0x306A9, 0x0300_0800, 0, edx
        if leaf == 7 and subleaf == 0:
            return 0, ebx7, ecx7, 0
        return (0xFFFF_FFFF,) * 4 if leaf == leaves else (0, 0, 0, 0)

    harness.cpuid = cpuid


def _switched_on(session: Session, events: Sequence[Event], expected: int, **what: int) -> None:
    given = [event.value for event in events if event.kind == "cr4"]
    session.expect(bool(given), "features_enable", "leaves CR4 as it was", **what)
    promise = "switches on other features than the CPU has"
    session.equal(given[-1], expected, "features_enable", promise, **what)


def _memory_types(session: Session, pat: int) -> None:
    """The entries of a PAT; the register as a whole is what was written, and what should have been."""
    whole = int.from_bytes(_TYPES, "little")
    for index, (entry, kind) in enumerate(zip(pat.to_bytes(8, "little"), _TYPES, strict=True)):
        chosen = f"PAT={index >> 2} PCD={index >> 1 & 1} PWT={index & 1}"
        promise = f"gives pages with {chosen} another memory type than their flags mean"
        promise = promise if entry in _VALID else "programs a memory type that there is not"
        if entry != kind:
            session.equal(pat, whole, "features_enable", promise, entry=index)


@contract("features_enable", "features_init", needs=("features_init",))
def cpu_features(harness: Harness) -> None:
    """CPUs with everything, with little, of old, and without PAT."""
    session = Session(harness)
    events = watch(harness, ("features_enable", "features_init"))
    always = _PAE | _OSFXSR | _OSXMMEXCPT
    least = _EDX_MSR | _EDX_PAE | _EDX_PAT | _EDX_SSE
    for edx, ebx7, ecx7, leaves, expected in (
        (_EVERYTHING, _EBX_SMEP | _EBX_SMAP, _ECX_UMIP, 0x16, always | _MCE | _PGE | _SMEP | _SMAP | _UMIP),
        (_EVERYTHING & ~_EDX_MCE, _EBX_SMEP, 0, 7, always | _PGE | _SMEP),
        (_EVERYTHING & ~_EDX_PGE, _EBX_SMAP, _ECX_UMIP, 7, always | _MCE | _SMAP | _UMIP),
        (least, 0, 0, 7, always),
        (least, _EBX_SMAP, 0, 7, always | _SMAP),
        (_EVERYTHING, _EBX_SMEP | _EBX_SMAP, _ECX_UMIP, 4, always | _MCE | _PGE),
    ):
        events.clear()
        harness.set("fpcw", 0)
        _cpu(harness, edx, ebx7, ecx7, leaves=leaves)
        what = {"cpuid1": edx, "cpuid7b": ebx7, "cpuid7c": ecx7}
        try:
            result = session.call("features_enable")
        except Broken:
            _switched_on(session, events, expected, **what)  # an instruction may have lacked its feature
            raise
        session.expect(
            not result.flag("cf"), "features_enable", "refuses a CPU that has what it needs", **what
        )
        _switched_on(session, events, expected, **what)
        kinds = [(event.kind, event.number) for event in events]
        session.expect(("wrmsr", _MSR_PAT) in kinds, "features_enable", "does not program the PAT", **what)
        at = kinds.index(("wrmsr", _MSR_PAT))
        _memory_types(session, events[at].value)
        later = [kind for kind, _ in kinds[at + 1 :]]
        promise = "keeps translations that were made under the old PAT"
        session.expect("cr3" in later or "cr4" in later, "features_enable", promise)
        session.equal(harness.get("mxcsr"), _MXCSR, "features_enable", "leaves SSE exceptions unmasked")
        session.equal(harness.get("fpcw"), _FPCW, "features_enable", "leaves the x87 unit as it was")
    events.clear()
    _cpu(harness, _EVERYTHING & ~_EDX_PAT)
    result = session.call("features_enable")
    nothing = result.flag("cf") and not any(event.kind == "wrmsr" for event in events)
    session.expect(nothing, "features_enable", "programs a PAT that the CPU lacks")
    result = session.call("features_init", rdi=BUFFER_BASE)
    session.equal(result.registers["rax"], FAIL, "features_init", "succeeds on a CPU without a PAT")
    session.equal(
        said(session, "features_init").get("missing", ""), "pat", "features_init", "does not say what lacks"
    )
    _cpu(harness, _EVERYTHING)
    result = session.call("features_init", rdi=BUFFER_BASE)
    session.equal(result.registers["rax"], OK, "features_init", "fails on a CPU that has what it needs")
    cr4 = f"{harness.get('cr4'):#x}"
    session.equal(said(session, "features_init").get("cr4", ""), cr4, "features_init", "notes another CR4")


@contract("lapic_init", "lapic_enable", "lapic_set_vectors", "lapic_write", needs=("mmio_map",))
def local_apic(harness: Harness) -> None:
    """The local APIC is switched on and lets NMIs in, in both modes; where there is none, that is no fault."""
    session = Session(harness)
    registers = {0x20: 0x0700_0000, 0xF0: 0xFF, 0x360: 0x10000}
    harness.window(
        _APIC, 0x1000, lambda o, _s: registers.get(o, 0), lambda o, _s, v: registers.__setitem__(o, v)
    )
    mapped = stand_for_mmio_map(harness)
    base = [_APIC | _APIC_ENABLED | 1 << 8]
    answer_rdmsr(harness, lambda number: {_MSR_APIC_BASE: base[0], 0x802: 7}.get(number, 0))
    events = watch(harness, ("lapic_enable", "lapic_write"))
    _cpu(harness, _EVERYTHING)
    result = session.call("lapic_init", rdi=BUFFER_BASE)
    session.equal(result.registers["rax"], OK, "lapic_init", "fails on a machine with a local APIC")
    notes = said(session, "lapic_init")
    right = notes.get("mode") == "xapic" and notes.get("id") == "0x7"
    session.expect(right, "lapic_init", "notes something else", got=repr(notes))
    right = len(mapped) == 1 and mapped[0][0] == _APIC and mapped[0][1] >= 0x364 and mapped[0][2] == 0x18
    session.expect(right, "lapic_init", "maps its registers in another way", got=repr(mapped))
    _judge(session, registers[0xF0], registers[0x360])
    own = struct.unpack("<I", harness.read(PERCPU_PAGE + _PERCPU_APIC_ID, 4))[0]
    session.equal(own, 7, "lapic_init", "notes another APIC id")
    base[0] |= _APIC_X2
    mapped.clear()
    harness.write(PERCPU_PAGE + _PERCPU_APIC_ID, bytes(4))
    result = session.call("lapic_init", rdi=BUFFER_BASE)
    session.equal(result.registers["rax"], OK, "lapic_init", "fails on a machine with an x2APIC")
    notes = said(session, "lapic_init")
    right = notes.get("mode") == "x2apic" and notes.get("id") == "0x7"
    session.expect(right, "lapic_init", "notes something else", got=repr(notes))
    written = {event.number: event.value for event in events if event.kind == "wrmsr"}
    known = 0x80F in written and 0x836 in written and not mapped
    session.expect(
        known, "lapic_init", "does not reach an x2APIC through its MSRs", got=repr(sorted(written))
    )
    _judge(session, written[0x80F], written[0x836])
    own = struct.unpack("<I", harness.read(PERCPU_PAGE + _PERCPU_APIC_ID, 4))[0]
    session.equal(own, 7, "lapic_init", "notes another APIC id")
    for edx, value in ((_EVERYTHING & ~_EDX_APIC, base[0]), (_EVERYTHING, _APIC)):
        events.clear()
        registers.clear()
        base[0] = value
        _cpu(harness, edx)
        result = session.call("lapic_init", rdi=BUFFER_BASE)
        session.equal(result.registers["rax"], SKIP, "lapic_init", "uses a local APIC that there is not")
        session.expect("reason" in said(session, "lapic_init"), "lapic_init", "does not say why it skips")
        session.expect(not registers and not events, "lapic_init", "writes to a local APIC that there is not")


def _judge(session: Session, spurious: int, lint1: int) -> None:
    session.expect(bool(spurious & 1 << 8), "lapic_init", "leaves the APIC switched off", got=spurious)
    session.expect(
        spurious & 0xFF >= 32, "lapic_init", "sends spurious interrupts to an exception", got=spurious
    )
    open_ = lint1 >> 8 & 7 == 4 and not lint1 & 1 << 16
    session.expect(open_, "lapic_init", "keeps NMIs out", got=lint1)
