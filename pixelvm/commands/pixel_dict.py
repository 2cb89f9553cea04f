"""``pxos pixel dict``: dictionaries of tiles: add, list, get, train, gc."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from toolchain.command import STATUS_OK, Outcome

STAGE = "pixel"
_DICT = "the dictionary's file"


def configure(parser: argparse.ArgumentParser, both: argparse.ArgumentParser) -> None:
    """Arguments: one subcommand each.

    Args:
        parser: of ``pxos pixel dict``.
        both: the options that each subcommand has.
    """
    deeds = parser.add_subparsers(dest="deed", required=True, metavar="ACTION")

    def deed(name: str, what: str, example: str) -> argparse.ArgumentParser:
        made: argparse.ArgumentParser = deeds.add_parser(
            name, parents=[both], help=what, description=what, epilog=f"example: pxos pixel dict {example}"
        )
        made.add_argument("dict", type=Path, metavar="DICT", help=_DICT)
        return made

    add = deed("add", "put the tiles of files in", "add tiles.pxd build/pxos.elf")
    add.add_argument(
        "files", nargs="+", type=Path, metavar="FILE", help="any file; a PNG is taken for its picture"
    )
    deed("list", "its tiles with their short names", "list tiles.pxd")
    get = deed("get", "write one tile as a picture", "get tiles.pxd 1f6aab04 tile.png")
    get.add_argument("name", metavar="NAME", help="the first digits of its SHA-256, or # and its index")
    get.add_argument("out", type=Path, metavar="OUT.png", help="where to write it")
    train = deed("train", "learn what files have in common, once", "train tiles.pxd build/pxos.elf")
    train.add_argument("files", nargs="+", type=Path, metavar="FILE", help="to learn from")
    gc = deed("gc", "drop the tiles that none of these containers uses", "gc tiles.pxd *.pxg")
    gc.add_argument(
        "files", nargs="+", type=Path, metavar="CONTAINER", help="every container that is still needed"
    )


def run(args: argparse.Namespace) -> Outcome:
    """One deed."""
    from pixelvm.god import dictionary

    if args.deed == "list":
        return _told(args, dictionary.read(args.dict), {})
    if args.deed == "get":
        return _get(args)
    if args.deed == "add":
        return _add(args)
    return _train(args) if args.deed == "train" else _gc(args)


def _told(args: argparse.Namespace, store: Any, more: dict[str, Any]) -> Outcome:
    from pixelvm.god.about import of_dictionary

    told = of_dictionary(store)
    tiles = [
        {
            "index": row.number,
            "name": store.short(row.number),
            "sha256": row.digest.hex(),
            "bytes": len(row.packed),
        }
        for row in store.entries.values()
    ]
    lines = [f"#{tile['index']:<6} {tile['name']}  {tile['bytes']} bytes" for tile in tiles]
    lines.append(f"{args.dict}: {len(tiles)} tiles, {store.size} bytes, {len(store.trained)} of them trained")
    lines += [f"{key}: {value}" for key, value in more.items()]
    data = {
        "action": "dict",
        "file": str(args.dict),
        "deed": args.deed,
        "info": told,
        "tiles_kept": tiles,
    } | more
    return Outcome(STATUS_OK, data, "\n".join(lines))


def _add(args: argparse.Namespace) -> Outcome:
    from pixelvm.god import dictionary, files, surface

    contents = [files.content(path, files.Kind.AUTO)[0] for path in args.files]
    added = 0
    with dictionary.changing(args.dict) as store:
        before = store.next
        for content in contents:
            if content.data:
                for piece in surface.tiles(surface.words(content.data, content.size), content.size):
                    store.add(piece.words.astype("<u4", copy=False).tobytes())
        added = store.next - before
    return _told(args, store, {"added": added})


def _get(args: argparse.Namespace) -> Outcome:
    from pixelvm.god import dictionary
    from pixelvm.god.container import Content
    from pixelvm.god.family import SIDE
    from pixelvm.god.files import file_of
    from toolchain.files import write_atomic

    store = dictionary.read(args.dict)
    index = store.named(args.name)
    write_atomic(args.out, file_of(Content(store.tile(index), SIDE, SIDE)), stage=STAGE)
    data = {"action": "dict", "file": str(args.dict), "deed": "get", "out": str(args.out)}
    data |= {"sha256": store.entries[index].digest.hex()}
    return Outcome(STATUS_OK, data, f"{args.out}: tile {index}, SHA-256 {store.entries[index].digest.hex()}")


def _train(args: argparse.Namespace) -> Outcome:
    from pixelvm.god import dictionary
    from pixelvm.god.files import FILE_MAX
    from toolchain.files import read_bounded

    samples = [read_bounded(path, FILE_MAX, stage=STAGE) for path in args.files]
    with dictionary.changing(args.dict) as store:
        store.train(samples)
    return _told(args, store, {})


def _gc(args: argparse.Namespace) -> Outcome:
    from pixelvm.god import about, dictionary

    with dictionary.changing(args.dict) as store:
        used = set().union(*(about.addresses(path, store) for path in args.files))
        dropped = [index for index in store.entries if index not in used]
        for index in dropped:
            store.drop(index)
    return _told(args, store, {"dropped": len(dropped)})
