"""``pxos bench pixel``: bytes and speeds of God Pixel beside other compressors, and of drawing seeds beside memcpy.

Owns the rows. Bytes are counted as in the table: header and dictionary too. Speeds are of bytes of content for each
second of this process's own time, measured in turn with the peer; the GPU's are by the clock, of tiles that stay on the
device, and name the adapter.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from pixelvm.god import container, dictionary, find, native, peers, press, seed, table
from pixelvm.god.container import Content
from pixelvm.god.dictionary import Dictionary
from pixelvm.god.family import FAMILIES, SIDE, TILE_BYTES, Code, Family, Kind
from pixelvm.god.press import Mode, NoCode, Pressed, Wish
from toolchain import build, measure
from toolchain.command import Ui
from toolchain.errors import PxError, ToolError
from toolchain.scratch import folder as scratch_folder

STAGE = "bench"
SPEED_ROUNDS = 3
SEED_ROUNDS = 7
GPU_ROUNDS = 5
CODES = 16  # of each family
_MEASURE = 1 << 24  # bytes that are drawn for one figure
_MB, _GB = 1e-6, 1e-9

Way = Callable[[Code, seed.Words], None]


def run(ui: Ui, kernel: Path | None = None) -> dict[str, Any]:
    """Measure.

    Args:
        ui: told of the progress.
        kernel: the kernel tree; None for the one of this checkout.

    Returns:
        ``machine`` and ``rows`` as ``measure.row`` makes them.
    """
    tree = kernel or Path(__file__).resolve().parents[2] / "kernel"
    rows: list[dict[str, Any]] = []
    with scratch_folder("pxos-bench-") as scratch:
        build.build(tree, scratch)
        for name, content in table.contents(scratch):
            ui.step(f"{name}: {len(content.data)} bytes")
            rows += _bytes(name, content, Wish())
        image = next(table.kernels(scratch))[1]
        rows += _with_dictionaries(ui, image)
        ui.step("speed on the kernel image")
        rows += _speed(image)
    ui.step("drawing seeds")
    codes = {kind: _some(kind) for kind in FAMILIES.values()}
    rows += _drawing(codes)
    rows += _finding(codes)
    rows += _on_gpu(ui, codes)
    return {"machine": measure.machine(), "rows": rows}


# --- bytes -----------------------------------------------------------------------------------------------


def _pressed(content: Content, wish: Wish) -> Pressed:
    found = press.press(content, wish)
    assert not isinstance(found, NoCode)
    return found


def _bytes(name: str, content: Content, wish: Wish) -> Iterator[dict[str, Any]]:
    """A row for each other compressor."""
    found = _pressed(content, wish)
    needs = len(wish.store.to_bytes()) if wish.store is not None and found.head.identity else 0
    ours = len(found.data) + needs
    best = min(size for size in peers.sizes(content).values())
    for peer, size in peers.sizes(content).items():
        yield measure.row(
            f"{name}: bytes against {peer}",
            [ours],
            peer,
            [size],
            "bytes",
            mode=found.mode,
            content=len(content.data),
            over_best=ours - best,
            header=press.overhead(found),
        )


def _with_dictionaries(ui: Ui, image: Content) -> Iterator[dict[str, Any]]:
    ui.step("with dictionaries")
    store = Dictionary("tiles", bytes(dictionary.ID))
    yield from _bytes("pxos.elf, every tile an address", image, Wish(Mode.ADDRESS, 0, store))
    trained = Dictionary("trained", bytes(dictionary.ID))
    trained.train([image.data])
    needs = len(trained.to_bytes())
    alone = with_it = 0
    for _, content in table.cartridges():
        alone += len(_pressed(content, Wish(Mode.LOSSLESS)).data)
        with_it += len(_pressed(content, Wish(Mode.LOSSLESS, 0, trained)).data)
    yield measure.row(
        "cartridges with a dictionary trained on the kernel, the dictionary counted once: bytes",
        [with_it + needs],
        "the same without it",
        [alone],
        "bytes",
        dictionary=needs,
        containers=with_it,
    )


# --- speed -----------------------------------------------------------------------------------------------


def _speed(image: Content) -> Iterator[dict[str, Any]]:
    """Compressing and expanding the kernel image, beside each peer."""
    data = _pressed(image, Wish()).data
    others = peers.of(image)
    packed = {name: peer.pack(image) for name, peer in others.items()}
    size = len(image.data)
    compress: dict[str, Callable[[], float]] = {"ours": _rate(size, lambda: press.press(image, Wish()))}
    expand: dict[str, Callable[[], float]] = {"ours": _rate(size, lambda: container.expand(data, "bench"))}
    for name, peer in others.items():
        compress[name] = _rate(size, lambda pack=peer.pack: pack(image))  # type: ignore[misc]
        expand[name] = _rate(size, lambda unpack=peer.unpack, made=packed[name]: unpack(made))  # type: ignore[misc]
    for what, runs in (("compress", compress), ("expand", expand)):
        found = measure.interleave(runs, SPEED_ROUNDS)
        for name in others:
            yield measure.row(f"{what} pxos.elf", found["ours"], name, found[name], "MB/s", _MB)


def _rate(size: int, action: Callable[[], object]) -> Callable[[], float]:
    """A measure in bytes of content for each second of this process's own time."""

    def taken() -> float:
        began = time.process_time()
        action()
        return size / max(time.process_time() - began, 1e-9)

    return taken


# --- seeds -----------------------------------------------------------------------------------------------


def _some(kind: Family) -> list[Code]:
    """Legal codes of a family, the same in every run."""
    chance = random.Random(kind.name)
    codes = []
    for _ in range(CODES):
        values = [chance.randint(field.least, field.greatest) for field in kind.fields]
        if kind.kind is Kind.CARPET:
            values[-1] &= (1 << (values[0] + 2) ** 2) - 1
        codes.append(Code(kind, tuple(values)))
    return codes


def _drawing(codes: dict[Family, list[Code]]) -> Iterator[dict[str, Any]]:
    """Each family in one thread, as ``seed.expand`` draws many tiles, beside copying tiles in the cache."""
    out, tile = np.empty((SIDE, SIDE), np.uint32), np.zeros((SIDE, SIDE), np.uint32)

    def copy() -> None:
        for _ in range(CODES):
            np.copyto(out, tile)

    def draw(chosen: list[Code], way: Way) -> None:
        for code in chosen:
            way(code, out)

    runs = {"memcpy": _repeated(copy)}
    ways = {kind: _way(kind) for kind in codes}
    for kind, chosen in codes.items():
        way = ways[kind][1]
        runs[kind.name] = _repeated(lambda chosen=chosen, way=way: draw(chosen, way))  # type: ignore[misc]
    found = measure.interleave(runs, SEED_ROUNDS)
    for kind in codes:
        yield measure.row(
            f"seed expansion, {ways[kind][0]}, {kind.name}",
            found[kind.name],
            "memcpy of a tile",
            found["memcpy"],
            "GB/s",
            _GB,
        )
    means = [statistics.geometric_mean(found[kind.name][at] for kind in codes) for at in range(SEED_ROUNDS)]
    name = "seed expansion, one thread, geometric mean"
    yield measure.row(name, means, "memcpy of a tile", found["memcpy"], "GB/s", _GB)


def _way(kind: Family) -> tuple[str, Way]:
    """What draws many tiles of a family, and its name."""
    if kind.kind in native.KINDS and native.ready():
        return "machine code", seed.by_machine_code
    return "NumPy", seed.by_arrays


def _repeated(action: Callable[[], None]) -> Callable[[], float]:
    """Bytes for each second, from enough repetitions of something that draws ``CODES`` tiles."""
    began = time.perf_counter()
    action()
    once = max(time.perf_counter() - began, 1e-6)
    times = max(1, min(_MEASURE // (CODES * TILE_BYTES), int(0.05 / once)))

    def taken() -> float:
        began = time.process_time()
        for _ in range(times):
            action()
        return times * CODES * TILE_BYTES / max(time.process_time() - began, 1e-9)

    return taken


def _finding(codes: dict[Family, list[Code]]) -> Iterator[dict[str, Any]]:
    """What it takes to find the code of a tile."""
    for kind, chosen in codes.items():
        tiles = [seed.expand(code) for code in chosen]
        taken = []
        for tile in tiles:
            began = time.process_time()
            found = find.exact(tile)
            taken.append(time.process_time() - began)
            if found is None or not np.array_equal(seed.expand(found), tile):
                raise PxError(f"no code was found for a tile of {kind.name}", stage=STAGE)
        yield measure.row(f"seed search, {kind.name}", taken, "", [], "ms", 1e3)


def _on_gpu(ui: Ui, codes: dict[Family, list[Code]]) -> Iterator[dict[str, Any]]:
    """Each family by the shader, tiles staying on the device, beside a copy of as much memory."""
    from pixelvm.god import gpu
    from toolchain.gpu.device import Device

    try:
        device = Device()
    except ToolError as error:
        ui.note(f"no WGSL rows: {error.message}")
        return
    with device:
        painter = gpu.Painter(device)
        ui.step(f"drawing seeds on {device.adapter}")
        source = np.zeros(gpu.BATCH * TILE_BYTES, np.uint8)
        target = np.empty_like(source)

        def timed(action: Callable[[], None]) -> Callable[[], float]:
            return lambda: source.nbytes / measure.timed(action)

        def draw(chosen: list[Code]) -> None:
            painter.draw(chosen)
            device.finish()

        runs = {"memcpy": timed(lambda: np.copyto(target, source))}
        for kind, chosen in codes.items():
            batch = (chosen * (gpu.BATCH // CODES + 1))[: gpu.BATCH]
            runs[kind.name] = timed(lambda batch=batch: draw(batch))  # type: ignore[misc]
        found = measure.interleave(runs, GPU_ROUNDS)
        name = f"memcpy of {source.nbytes >> 20} MiB"
        for kind in codes:
            what = f"seed expansion, WGSL, {kind.name}"
            yield measure.row(
                what, found[kind.name], name, found["memcpy"], "GB/s", _GB, adapter=str(device.adapter)
            )
        means = [
            statistics.geometric_mean(found[kind.name][at] for kind in codes) for at in range(GPU_ROUNDS)
        ]
        what = "seed expansion, WGSL, geometric mean"
        yield measure.row(what, means, name, found["memcpy"], "GB/s", _GB, adapter=str(device.adapter))
