"""The honest table: what each mode needs to give a content back, everything counted, beside other compressors.

Owns the contents that are shown by default (the kernel images, the cartridges, this package's own source, tiles of
generators) and the account: a container with its header, and the whole dictionary where one is needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pixelvm.god import dictionary, family, files, peers, press, seed
from pixelvm.god.container import Content
from pixelvm.god.dictionary import Dictionary
from pixelvm.god.family import SIDE, STAGE
from pixelvm.god.press import Mode, NoCode, Pressed, Wish
from toolchain.command import Ui
from toolchain.errors import InputError
from toolchain.scratch import folder as scratch_folder

KERNELS = ("pxos.elf", "pxos.iso")
_HERE = Path(__file__).parent
EXAMPLES = _HERE.parent / "examples"
TILES = (
    family.Code(family.FAMILIES[family.Kind.XOR], (3, 5, 0)),
    family.Code(family.FAMILIES[family.Kind.CLOUDS], (12345, 5)),
    family.Code(family.FAMILIES[family.Kind.JULIA], (-51, 38, 30)),
)


def rows(ui: Ui, paths: Sequence[Path], built: Path) -> list[dict[str, Any]]:
    """The rows of the table.

    Args:
        ui: told of the progress.
        paths: these files; none: the project's own.
        built: where the kernel images lie.

    Raises:
        InputError: a file cannot be read, or the kernel has not been built.
    """
    if paths:
        return [_row(ui, str(path), files.content(path, files.Kind.AUTO)[0], Wish()) for path in paths]
    found = [_row(ui, name, content, Wish()) for name, content in contents(built)]
    kernel = next(kernels(built))[1]
    with scratch_folder("pxos-pixel-") as scratch:
        store = Dictionary(str(scratch / "tiles.pxd"), bytes(dictionary.ID))
        found.append(_row(ui, f"{KERNELS[0]}, every tile an address", kernel, Wish(Mode.ADDRESS, 0, store)))
    return found


def contents(built: Path) -> Iterator[tuple[str, Content]]:
    """The project's own contents by name.

    Raises:
        InputError: the kernel has not been built.
    """
    yield from kernels(built)
    yield from cartridges()
    yield "pixelvm/god, its source", source()
    for code in TILES:
        tile = seed.expand(code).astype("<u4", copy=False).tobytes()
        yield f"tile {code}", Content(tile, SIDE, SIDE)


def kernels(built: Path) -> Iterator[tuple[str, Content]]:
    """The kernel images.

    Raises:
        InputError: they are not there.
    """
    for name in KERNELS:
        if not (built / name).is_file():
            raise InputError(f"{built / name}: no such file; build the kernel with pxos build", stage=STAGE)
        yield name, files.content(built / name, files.Kind.BYTES)[0]


def cartridges() -> Iterator[tuple[str, Content]]:
    """The examples of the Pixel VM as pictures."""
    from pixelvm.load import load

    for path in sorted(EXAMPLES.glob("*.pxa")):
        yield f"cartridge {path.stem}", files.of_picture(load(str(path)).picture)


def source() -> Content:
    """This package's own source, one file after the other."""
    return Content(b"".join(path.read_bytes() for path in sorted(_HERE.glob("*.py"))))


def _row(ui: Ui, name: str, content: Content, wish: Wish) -> dict[str, Any]:
    ui.step(f"{name}: {len(content.data)} bytes")
    found = press.press(content, wish)
    assert isinstance(found, Pressed) and not isinstance(found, NoCode)
    others = peers.sizes(content)
    needs = len(wish.store.to_bytes()) if wish.store is not None and found.head.identity else 0
    counted = len(found.data) + needs
    return {
        "what": name,
        "mode": found.mode,
        "tiles": {"seed": found.seeds, "address": found.addresses, "lossless": found.packed},
        "bytes_in": len(content.data),
        "bytes_out": len(found.data),
        "dictionary_bytes": needs,
        "counted": counted,
        "ratio": round(len(content.data) / counted, 3),
        "how": found.how,
        "peers": others,
        "best_peer": min(others, key=lambda peer: others[peer]),
        "against_best": counted - min(others.values()),
    }


_COLUMNS = (
    "what",
    "mode",
    "tiles",
    "in",
    "out",
    "dictionary",
    "counted",
    "ratio",
    "best peer",
    "its bytes",
    "ours - its",
)


def text(found: Sequence[dict[str, Any]]) -> str:
    """The table for a person."""
    lines = [_COLUMNS]
    for row in found:
        tiles = sum(row["tiles"].values())
        best = row["best_peer"]
        lines.append(
            (
                row["what"],
                row["mode"],
                str(tiles),
                str(row["bytes_in"]),
                str(row["bytes_out"]),
                str(row["dictionary_bytes"]),
                str(row["counted"]),
                f"{row['ratio']:g}",
                best,
                str(row["peers"][best]),
                f"{row['against_best']:+d}",
            )
        )
    widths = [max(len(line[at]) for line in lines) for at in range(len(_COLUMNS))]
    left = (0, 1, 8)
    return "\n".join(
        "  ".join(
            cell.ljust(w) if at in left else cell.rjust(w)
            for at, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
