"""The values that a boot leaves behind and a fault report is made of. Frozen, typed, without behaviour worth a name.

Everybody names them through ``toolchain.types``. All addresses are integers, all virtual unless the name says
``physical``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

# --- a boot ------------------------------------------------------------------------------------------------

OutcomeName = Literal[
    "ready", "tests-passed", "healthy", "fixed",
    "fault", "panic", "reset", "shutdown", "tests-failed", "not-fixed", "findings",
    "qemu-died", "timeout", "silent", "budget",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class BootConfig:
    """How to boot. ``image`` is the ELF (``path="direct"``) or the ISO (``path="iso"``).

    ``timeout`` bounds the whole boot; with ``stall`` it ends as timed out as soon as that many seconds bring no new
    line of the contract (boot unit, test result, PXREADY): a busy host slows a kernel, a hang says nothing.
    ``modules`` is an archive of boot modules for a direct boot; an ISO holds its own.
    """

    image: Path
    path: Literal["direct", "iso"] = "direct"
    firmware: Literal["bios", "uefi"] = "bios"
    accel: Literal["tcg", "kvm", "auto"] = "tcg"
    machine: Literal["q35", "pc"] = "q35"
    cpu: str = "max"
    smp: int = 1
    memory: str = "128M"
    display: Literal["std", "bochs", "virtio", "none"] = "std"
    icount: bool = False
    cmdline: str = ""
    timeout: float = 20.0
    stall: float | None = None
    log_dir: Path | None = None
    inspect_ready: bool = False
    inspect_addresses: tuple[int, ...] = ()
    extra_args: tuple[str, ...] = ()
    modules: Path | None = None


@dataclass(frozen=True, slots=True)
class Unit:
    """One boot unit as the kernel told it: the last state seen and the key=value pairs of its lines."""

    name: str
    state: Literal["start", "ok", "skip", "fail"]
    tsc: int
    tsc_start: int
    values: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MemoryChunk:
    """Guest physical memory read at the moment of death."""

    physical: int
    data: bytes


@dataclass(frozen=True, slots=True)
class PciBar:
    """A base address register as QEMU itself sees it; ``address`` is None while it is not assigned or decoded."""

    slot: str
    vendor: int
    device: int
    class_code: int
    bar: int
    address: int | None
    size: int
    kind: Literal["memory", "io"]


@dataclass(frozen=True, slots=True)
class Screen:
    """A screenshot: ``pixels`` are rows of 3-byte RGB, top left first."""

    width: int
    height: int
    pixels: bytes


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What QMP read while the machine stood still.

    Attributes:
        registers: by lower-case name; ``idt_limit`` and the like too.
        memory: page-table pages of the walks of CR2 (or of BAR0 at PXREADY), RIP and RSP, and the pages they name.
        bars: the BARs of every PCI function.
        screen: a screenshot, with ``inspect_ready`` at PXREADY only.
    """

    registers: dict[str, int]
    memory: tuple[MemoryChunk, ...] = ()
    bars: tuple[PciBar, ...] = ()
    screen: Screen | None = None


@dataclass(frozen=True, slots=True)
class Exception_:
    """One exception of the chain. ``source`` is ``kernel`` (PXFAULT) or ``qemu`` (its log)."""

    vector: int
    name: str
    error: int | None
    decoded: tuple[str, ...]
    rip: int | None
    cr2: int | None
    source: Literal["kernel", "qemu"]


@dataclass(frozen=True, slots=True)
class BootResult:
    """What a boot left behind.

    Attributes:
        outcome: one of the contract's outcomes.
        seconds: wall time from starting QEMU to the outcome.
        qemu_status: QEMU's exit status, negative for a signal, None when it had to be killed.
        serial: everything the guest wrote to COM1, decoded as latin-1.
        units: boot units in the order of their first line.
        tests: KTAP results, name -> passed.
        kernel_fault: key=value pairs of the first kernel-scope PXFAULT block, or None.
        panic: (code, text) of a PXPANIC line, or None.
        qemu_log: the text of QEMU's ``-d`` log.
        snapshot: registers and page tables at death (or at PXREADY with ``inspect_ready``), or None.
        command: QEMU's argument vector.
        log_dir: where ``serial.log``, ``qemu.log`` and ``qemu.err`` lie.
        stderr_tail: QEMU's own last lines on stderr.
        ready_tsc: the guest's time-stamp counter at PXREADY, None when it was not reached.
    """

    outcome: OutcomeName
    seconds: float
    qemu_status: int | None
    serial: str
    units: tuple[Unit, ...]
    tests: dict[str, bool]
    kernel_fault: dict[str, str] | None
    panic: tuple[str, str] | None
    qemu_log: str
    snapshot: Snapshot | None
    command: tuple[str, ...]
    log_dir: Path | None
    stderr_tail: str = ""
    ready_tsc: int | None = None


# --- the fault report --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CodePlace:
    """An address with its name: ``symbol+offset`` and ``file:line`` where the image knows them."""

    address: int
    symbol: str | None = None
    offset: int = 0
    file: str | None = None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class SourceLine:
    """One line of source around a place; ``marked`` for the one that faulted."""

    number: int
    text: str
    marked: bool = False


@dataclass(frozen=True, slots=True)
class WalkLevel:
    """One level of a page walk (Intel SDM vol. 3, 4.5): the entry read and its flags by name."""

    level: Literal["PML4", "PDPT", "PD", "PT"]
    index: int
    entry_address: int
    entry: int | None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Walk:
    """A page walk of ``address``. ``ends_at`` and ``reason`` say where and why it ended when not mapped."""

    address: int
    cr3: int
    levels: tuple[WalkLevel, ...]
    mapped: bool
    physical: int | None
    page_size: int | None
    ends_at: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """One rule that matched: a sentence for a person, and the routines it points at, likeliest first."""

    rule: str
    sentence: str
    suspects: tuple[str, ...] = ()
    hint: str = ""


@dataclass(frozen=True, slots=True)
class FaultReport:
    """Why a boot died: the kernel's block, QEMU's exception chain and the snapshot, joined and named."""

    outcome: OutcomeName
    scope: Literal["kernel", "user", "expected"]
    cause: str
    chain: tuple[Exception_, ...]
    registers: dict[str, int]
    place: CodePlace | None
    instruction: str
    source: tuple[SourceLine, ...]
    trace: tuple[CodePlace, ...]
    stack: tuple[int, ...]
    walk: Walk | None
    unit: str | None
    units: tuple[Unit, ...]
    diagnosis: tuple[Diagnosis, ...]
    serial_tail: tuple[str, ...]
    panic: tuple[str, str] | None = None
    program: str | None = None  # of ring 3, whose thread ran
