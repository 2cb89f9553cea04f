"""``pxos pixel``: one pixel that stands for 16,384: compress, expand, say what a file is, keep dictionaries."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pixelvm.commands import pixel_dict
from toolchain.command import STATUS_NO, STATUS_OK, Outcome, Ui

if TYPE_CHECKING:
    from pixelvm.god.container import Content
    from pixelvm.god.dictionary import Dictionary
    from pixelvm.god.press import Pressed

HELP = "God Pixel: tiles of 128x128 pixels as seed codes, addresses or packed streams (pixelvm/god/SPEC.md)."
EXAMPLE = "pxos pixel compress build/pxos.elf pxos.pxg"

STAGE = "pixel"
_MIB = 20  # bits of a number of bytes below one MiB
_LIMIT_MAX = 1 << 14  # MiB
_ERROR_MAX = 255
_CODES_SHOWN = 8


def configure(parser: argparse.ArgumentParser) -> None:
    """Arguments: one subcommand each."""
    both = argparse.ArgumentParser(add_help=False)
    for options, what in (
        (("--json",), "one JSON object on stdout"),
        (("-q", "--quiet"), "no progress on stderr"),
    ):
        both.add_argument(*options, action="store_true", default=argparse.SUPPRESS, help=what)
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, what: str, example: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = actions.add_parser(
            name, parents=[both], help=what, description=what, epilog=f"example: pxos pixel {example}"
        )
        return made

    compress = action(
        "compress", "write a file or picture as a container", "compress build/pxos.elf pxos.pxg"
    )
    compress.add_argument("file", type=Path, metavar="FILE", help="any file; a PNG is taken for its picture")
    compress.add_argument(
        "out", type=Path, metavar="OUT", help="where to write it; *.png: the seed codes as a PNG"
    )
    compress.add_argument(
        "--mode",
        choices=("auto", "seed", "address", "lossless"),
        default="auto",
        help="seed: every tile has a code; address: every tile goes into --dict; lossless: one packed stream; "
        "auto (default): what is smallest",
    )
    compress.add_argument(
        "--as",
        dest="kind",
        choices=("auto", "bytes", "picture"),
        default="auto",
        help="bytes: a PNG as a file",
    )
    compress.add_argument(
        "--lossy",
        type=_error,
        default=0,
        metavar="MAX",
        help="pictures: codes that are off by up to MAX of 255 in a channel; the container states the error",
    )
    expand = action(
        "expand", "write what a container or a PNG of seed codes stands for", "expand pxos.pxg pxos.elf"
    )
    expand.add_argument(
        "file", type=Path, metavar="FILE", help="a container, or a PNG whose pixels are seed codes"
    )
    expand.add_argument("out", type=Path, metavar="OUT", help="where to write it: a PNG for a picture")
    draw = action("draw", "write the tile of a seed code", "draw 0x00010130 xor.png")
    draw.add_argument("code", metavar="CODE", help="0x and 8 hexadecimal digits: A, B, G, R of the pixel")
    draw.add_argument("out", type=Path, metavar="OUT.png", help="where to write it")
    for made in (expand, draw):
        made.add_argument(
            "--levels", type=int, metavar="N", help="a PNG: grow it N times, each pixel a tile (1)"
        )
        made.add_argument(
            "--limit", type=_mebibytes, default=256, metavar="MIB", help="refuse what is larger (default 256)"
        )
    info = action("info", "what a container, a picture, a dictionary or a code is", "info pxos.pxg")
    info.add_argument("file", metavar="FILE", help="a file, or a code as 0x and 8 hexadecimal digits")
    table = action("table", "what each mode needs, everything counted, beside other compressors", "table")
    table.add_argument(
        "files", nargs="*", type=Path, metavar="FILE", help="these; default: the project's own"
    )
    for made in (compress, expand):
        made.add_argument("--dict", type=Path, metavar="DICT", help="a dictionary of tiles")
    table.add_argument(
        "--out",
        type=Path,
        default=Path("build"),
        metavar="DIR",
        help="where the kernel was built (default build)",
    )
    pixel_dict.configure(action("dict", "keep dictionaries of tiles", "dict list tiles.pxd"), both)


def _error(text: str) -> int:
    return _within(text, _ERROR_MAX)


def _mebibytes(text: str) -> int:
    return _within(text, _LIMIT_MAX, 1)


def _within(text: str, greatest: int, least: int = 0) -> int:
    if not (text.isdecimal() and len(text) <= 9 and least <= int(text) <= greatest):
        raise argparse.ArgumentTypeError(f"'{text}': expected a number from {least} to {greatest}")
    return int(text)


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """One action."""
    if args.action == "compress":
        return _compress(args, ui)
    if args.action == "expand":
        return _expand(args)
    if args.action == "draw":
        return _draw(args)
    if args.action == "info":
        return _info(args.file)
    if args.action == "table":
        return _table(args, ui)
    return pixel_dict.run(args)


# --- compress ----------------------------------------------------------------------------------------------


def _compress(args: argparse.Namespace, ui: Ui) -> Outcome:
    from pixelvm.god import dictionary, files, press
    from pixelvm.god.press import Mode, NoCode, Wish
    from toolchain.errors import InputError
    from toolchain.files import write_atomic

    mode, png_out = Mode(args.mode), args.out.suffix.lower() == ".png"
    if png_out and mode not in (Mode.AUTO, Mode.SEED):
        raise InputError(
            f"{args.out}: a PNG holds seed codes only; name it otherwise for --mode {mode}", stage=STAGE
        )
    if mode is Mode.ADDRESS and args.dict is None:
        raise InputError("--mode address: name the dictionary with --dict", stage=STAGE)
    content, file_bytes = files.content(args.file, files.Kind(args.kind))
    if args.lossy and not content.is_picture:
        raise InputError(f"{args.file}: --lossy is for pictures, and this is a file of bytes", stage=STAGE)
    mode = Mode.SEED if png_out else mode
    ui.note(f"{args.file}: {len(content.data)} bytes, {mode}")
    store: Dictionary | None
    if mode is Mode.ADDRESS:
        with dictionary.changing(args.dict) as store:
            found = press.press(content, Wish(mode, args.lossy, store))
    else:
        store = dictionary.read(args.dict) if args.dict is not None else None
        found = press.press(content, Wish(mode, args.lossy, store))
    if isinstance(found, NoCode):
        text = f"{args.file}: {found.missing} of its {found.tiles} tiles have no seed code; --mode auto packs them"
        data = {"action": "compress", "file": str(args.file), "out": None}
        return Outcome(STATUS_NO, data | {"missing": found.missing, "tiles_in_all": found.tiles}, text)
    written = _codes_png(found) if png_out else found.data
    write_atomic(args.out, written, stage=STAGE)
    told = _account(found, content, file_bytes, len(written), store)
    data = {"action": "compress", "file": str(args.file), "out": str(args.out)} | told
    return Outcome(STATUS_OK, data, _told(args.out, told))


def _codes_png(found: Pressed) -> bytes:
    from pixelvm import png
    from pixelvm.god.container import Content
    from pixelvm.god.files import file_of

    grid = found.grid
    if grid is None or grid.size > png.PIXELS_MAX:
        from toolchain.errors import InputError

        raise InputError("no PNG holds these codes; write a container", stage=STAGE)
    return file_of(Content(grid.astype("<u4", copy=False).tobytes(), grid.shape[1], grid.shape[0]))


def _account(
    found: Pressed, content: Content, file_bytes: int, written: int, store: Dictionary | None
) -> dict[str, Any]:
    needs = store.size if store is not None and found.head.identity else 0
    counted = written + needs
    return {
        "kind": "picture" if content.is_picture else "bytes",
        "mode": found.mode,
        "tiles": {"seed": found.seeds, "address": found.addresses, "lossless": found.packed},
        "file_bytes": file_bytes,
        "bytes_in": len(content.data),
        "bytes_out": written,
        "dictionary_bytes": needs,
        "counted": counted,
        "ratio": round(len(content.data) / counted, 3),
        "levels": found.head.levels,
        "error": found.head.error,
        "how": found.how,
        "sha256": found.content.digest.hex(),
        "codes": _legend(found),
    }


def _legend(found: Pressed) -> list[str]:
    from pixelvm.god.press import legend

    return [] if found.grid is None else legend(found.grid)[:_CODES_SHOWN]


def _told(out: Path, told: dict[str, Any]) -> str:
    tiles = ", ".join(f"{count} {name}" for name, count in told["tiles"].items() if count) or "no tile"
    lines = [
        f"{out}: {told['bytes_out']} bytes for {told['bytes_in']}, mode {told['mode']} ({tiles})",
        f"counted with everything needed: {told['counted']} bytes, ratio {told['ratio']:g}",
    ]
    if told["dictionary_bytes"]:
        lines[-1] += f" (the dictionary's {told['dictionary_bytes']} among them)"
    if told["kind"] == "picture":
        lines.append(
            f"its {told['bytes_in']} bytes are pixels; the PNG that they came from has {told['file_bytes']}"
        )
    if told["error"]:
        lines.append(f"lossy: a channel is off by {told['error']} of 255 at most")
    return "\n".join([*lines, *(f"code: {code}" for code in told["codes"])])


# --- expand, draw ------------------------------------------------------------------------------------------


def _expand(args: argparse.Namespace) -> Outcome:
    from pixelvm.god import dictionary, files

    store = dictionary.read(args.dict) if args.dict is not None else None
    made = files.expand(args.file, args.levels, store, args.limit << _MIB)
    return _written(args.out, made, {"action": "expand", "file": str(args.file)})


def _draw(args: argparse.Namespace) -> Outcome:
    import numpy as np

    from pixelvm.god import family, files

    word = files.number(args.code)
    made = files.grow(np.array([[word]], np.uint32), args.levels or 1, args.code, args.limit << _MIB)
    data = {"action": "draw", "file": args.code, "codes": [str(family.parse(word))]}
    return _written(args.out, made, data)


def _written(out: Path, made: Content, data: dict[str, Any]) -> Outcome:
    from pixelvm.god.files import file_of
    from toolchain.files import write_atomic

    write_atomic(out, file_of(made), stage=STAGE)
    data |= {"out": str(out), "kind": "picture" if made.is_picture else "bytes"}
    data |= {"bytes": len(made.data), "sha256": made.digest.hex()}
    text = f"{out}: {len(made.data)} bytes"
    if made.is_picture:
        data |= {"width": made.width, "height": made.height}
        text = f"{out}: {made.width}x{made.height} pixels"
    return Outcome(STATUS_OK, data, f"{text}, SHA-256 {made.digest.hex()}")


# --- info, table -------------------------------------------------------------------------------------------


def _info(name: str) -> Outcome:
    from pixelvm.god import about

    told = about.code(name) if name.lower().startswith("0x") else about.file(Path(name))
    width = max(map(len, told))
    lines = [f"{key:<{width}}  {_said(value)}" for key, value in told.items()]
    return Outcome(STATUS_OK, {"action": "info", "file": name, "info": told}, "\n".join(lines))


def _said(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _table(args: argparse.Namespace, ui: Ui) -> Outcome:
    from pixelvm.god import table

    rows = table.rows(ui, args.files, args.out)
    return Outcome(STATUS_OK, {"action": "table", "file": None, "rows": rows}, table.text(rows))
