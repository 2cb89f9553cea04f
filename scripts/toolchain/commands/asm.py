"""``pxos asm``: one source to bytes, statement by statement."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.command import STATUS_INVALID, STATUS_OK, Outcome, Ui
from toolchain.commands.disasm import address
from toolchain.errors import InputError

if TYPE_CHECKING:
    from toolchain.single import Result, Surroundings
    from toolchain.source import SourceFile

HELP = "Assemble one source (Intel syntax, GNU as dialect) and show the bytes of each statement."
EXAMPLE = "echo 'mov eax, [rdi + 8]' | pxos asm - --mode 64 --org 0x1000"

STAGE = "asm"
SOURCE_MAX = 64 << 20  # bytes
_STDIN = "<stdin>"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("file", metavar="FILE", help="assembly source; - for stdin")
    parser.add_argument(
        "--mode", type=int, choices=(16, 32, 64), default=64, help="CPU mode at its start (default 64)"
    )
    parser.add_argument(
        "--org", type=address, default=0, metavar="ADDR", help="address of the first byte (default 0)"
    )
    parser.add_argument(
        "-I",
        "--include",
        type=Path,
        action="append",
        default=[],
        metavar="DIR",
        help="where .include looks first",
    )


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Assemble FILE. A statement in error is status 2; with ``--json`` the others are still told."""
    from toolchain import single
    from toolchain.encode import Encoder

    source, around = _source(args.file, args.include)
    with Encoder() as encoder:
        results = single.assemble(source, encoder, around, args.mode, args.org, ui.note)
    wrong = [result.error for result in results if result.error is not None]
    if wrong and not args.json:
        raise InputError(f"{source.name}: {len(wrong)} statements in error", stage=STAGE, diagnostics=wrong)
    rows = [_row(result, source.name) for result in results]
    data = {"file": args.file, "mode": args.mode, "org": args.org, "statements": rows}
    if wrong:
        return Outcome(STATUS_INVALID, data)
    return Outcome(STATUS_OK, data, "\n".join(map(_line, results)))


def _source(name: str, include: list[Path]) -> tuple[SourceFile, Surroundings]:
    from toolchain.files import read_bounded
    from toolchain.single import Surroundings
    from toolchain.source import SourceFile, decode

    if name == "-":
        data, path, label = sys.stdin.buffer.read(SOURCE_MAX), None, _STDIN
        around = Surroundings(Path.cwd(), [*include, Path.cwd()])
    else:
        path, label = Path(name), name
        data = read_bounded(path, SOURCE_MAX, stage=STAGE)
        around = _around(path.resolve(), include)
    text = decode(label, data)
    if not text.strip():
        raise InputError(f"{label}: empty; expected assembly source", stage=STAGE)
    return SourceFile(label, text, path), around


def _around(path: Path, include: list[Path]) -> Surroundings:
    """What a source sees: in a kernel tree what the tree's units see, else the folder that it lies in."""
    from toolchain.single import Surroundings

    tree = next((folder for folder in path.parents if (folder / "image.toml").is_file()), None)
    if tree is None:
        return Surroundings(path.parent, [*include, path.parent])
    from toolchain import generate, layout
    from toolchain.build import GENERATED

    folders = [GENERATED, *(tree / folder for folder in layout.load(tree / "image.toml").include)]
    texts = generate.texts(tree) if (tree / "boot.toml").is_file() else {}
    overrides = {f"{GENERATED}/{file}": text for file, text in texts.items()}
    return Surroundings(tree, [*include, *folders, path.parent], overrides)


def _row(result: Result, name: str) -> dict[str, Any]:
    row: dict[str, Any] = {"line": result.line, "text": result.text}
    if result.file != name:
        row["file"] = result.file
    if result.expanded_at is not None:
        row["expanded_at"] = result.expanded_at
    if result.error is None:
        return row | {"address": result.address, "bytes": result.data.hex()}
    return row | {"error": result.error.message, "expected": result.error.expected}


def _line(result: Result) -> str:
    return f"{result.address:16x}  {result.data.hex(' '):<30}  {result.text}"
