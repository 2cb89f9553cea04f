"""``pxos bench boot``: what a boot costs, beside an empty kernel in the same machine.

Owns: the figures of the contract. ``direct boot``, ``iso boot bios`` and ``iso boot uefi`` are wall time from
the call to the machine being gone; the peer is a bare QEMU without log, monitor or watch and on the heap that its C
library gives it (ours is on ``machine.quick_environment``), whose kernel writes one byte and exits. A disk image of
somebody else's is measured to the text by which it is ready (``bench_peer``), beside our ISO to PXREADY. What a boot is
made of comes from ``bench_boot_parts``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolchain import accel, bench_boot_parts, build, iso, launch, measure, qemu, qemu_args, scratch
from toolchain.bench_peer import Peer
from toolchain.command import Ui
from toolchain.errors import GuestFault, ToolError
from toolchain.types import BootConfig, BootResult

STAGE = "bench"
DIRECT_ROUNDS = 25
BIOS_ROUNDS = 7
UEFI_ROUNDS = 3
ICOUNT_ROUNDS = 5
PEER_ROUNDS = 7
REACH_RATIO = 1.5  # a direct boot to PXREADY over the empty kernel's wall time
_PEER_SECONDS = 60.0
_MILLI = 1000.0


def run(ui: Ui, kernel: Path | None = None, peer: Peer | None = None) -> dict[str, Any]:
    """Measure.

    Args:
        ui: told of the progress.
        kernel: the kernel tree; None for the one of this checkout.
        peer: a disk image to compare with.

    Returns:
        ``machine`` and ``rows`` as ``measure.row`` makes them.

    Raises:
        GuestFault: a boot did not end in ready.
        InputError: the tree does not build, or the peer's image cannot be booted.
        Timeout: the peer does not say that it is ready.
        ToolError: QEMU, a firmware or GRUB is missing.
    """
    if peer is not None:
        peer.check()
    tree = kernel or Path(__file__).resolve().parents[2] / "kernel"
    with scratch.folder("pxos-bench-") as folder:
        built = build.build(tree, folder / "out", ui=ui)
        assert built.iso is not None
        empty, empty_iso = folder / "empty.elf", folder / "empty.iso"
        empty.write_bytes(accel.empty_kernel())
        iso.make(empty, empty_iso)
        direct = _row(ui, "direct boot", BootConfig(built.elf), BootConfig(empty), DIRECT_ROUNDS)
        rows = [
            {**direct, "reach": REACH_RATIO, "reach_of": "ratio"},
            _row(ui, "iso boot bios", _iso(built.iso, "bios"), _iso(empty_iso, "bios"), BIOS_ROUNDS),
            _row(ui, "iso boot uefi", _iso(built.iso, "uefi"), _iso(empty_iso, "uefi"), UEFI_ROUNDS),
        ]
        if peer is not None:
            rows.append(_beside(ui, built.iso, peer))
        rows += _instructions(ui, built.elf, folder, peer)
        ui.step("image and memory")
        rows.append(bench_boot_parts.image(built.elf, empty, peer.image if peer else None))
        rows.append(bench_boot_parts.memory(built.elf))
    return {"machine": measure.machine(), "rows": rows}


def _iso(image: Path, firmware: str) -> BootConfig:
    return BootConfig(image, path="iso", firmware=firmware, timeout=_PEER_SECONDS)  # type: ignore[arg-type]


def _row(ui: Ui, what: str, ours: BootConfig, peer: BootConfig, rounds: int) -> dict[str, Any]:
    ui.step(what)
    to_ready: list[float] = []

    def boot() -> float:
        result: list[float] = []
        seconds = measure.timed(lambda: result.append(_ready(ours)))
        to_ready.extend(result)
        return seconds

    found = measure.interleave({"ours": boot, "peer": _bare(peer)}, rounds, tick=ui.progress)
    title = "empty PVH kernel, bare QEMU" if peer.path == "direct" else "empty Multiboot2 kernel, bare QEMU"
    return measure.row(
        what, found["ours"], title, found["peer"], "ms", _MILLI, to_ready=round(min(to_ready) * _MILLI, 2)
    )


def _ready(config: BootConfig) -> float:
    """Seconds to PXREADY of one boot."""
    result = qemu.boot(config)
    if result.outcome != "ready":
        raise GuestFault(f"{config.image}: the boot ended as {result.outcome}, not ready", stage=STAGE)
    return result.seconds


def _bare(config: BootConfig) -> Callable[[], float]:
    command = [*qemu_args.machine_arguments(config, "tcg"), "-serial", "stdio"]
    return lambda: measure.timed(lambda: _peer(command))


def _peer(command: list[str]) -> bytes:
    process = launch.spawn_bare(command)
    try:
        output, _ = process.communicate(timeout=_PEER_SECONDS)
    finally:
        launch.kill(process)
    if process.returncode != accel.EMPTY_STATUS:
        raise ToolError(
            f"the empty kernel ended with status {process.returncode}", stage=STAGE, command=command
        )
    return output


def _beside(ui: Ui, image: Path, peer: Peer) -> dict[str, Any]:
    """Our ISO to PXREADY and the peer's disk to its text, both from QEMU's start by way of BIOS."""
    what = "bios boot to ready"
    ui.step(what)
    runs = {"ours": lambda: _ready(_iso(image, "bios")), "peer": peer.seconds}
    found = measure.interleave(runs, PEER_ROUNDS, tick=ui.progress)
    return measure.row(what, found["ours"], peer.name, found["peer"], "ms", _MILLI)


def _instructions(ui: Ui, elf: Path, folder: Path, peer: Peer | None) -> list[dict[str, Any]]:
    """Boots under icount; a kernel that does nothing else tells the ticks at the entry."""
    ui.step("instructions to ready")
    probe = folder / "count.elf"
    probe.write_bytes(accel.counting_kernel())
    command = [*qemu_args.machine_arguments(BootConfig(probe, icount=True), "tcg"), "-serial", "stdio"]
    boots: list[tuple[int, BootResult]] = []
    peers: list[float] = []
    for _ in range(ICOUNT_ROUNDS):
        entry = int.from_bytes(_peer(command), "little")
        result = qemu.boot(BootConfig(elf, icount=True))
        if result.outcome != "ready" or result.ready_tsc is None:
            raise GuestFault(f"the boot under icount ended as {result.outcome}, not ready", stage=STAGE)
        boots.append((entry, result))
        if peer is not None:
            peers.append(peer.instructions())
    return bench_boot_parts.instructions(boots, peers, peer.name if peer else "")
