"""``pxos disasm``: bytes, an executable or one routine of it as instructions with names and source lines."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolchain.command import STATUS_OK, Outcome, Ui
from toolchain.errors import InputError

if TYPE_CHECKING:
    from toolchain.disassemble import Instruction
    from toolchain.symbols import SymbolTable
    from toolchain.types import CodePlace

HELP = "Disassemble raw bytes, an ELF executable, or one routine of it."
EXAMPLE = "pxos disasm build/pxos.elf --symbol page_map"

STAGE = "disasm"
_KERNEL = Path("kernel")
_SOURCE_MAX = 4 << 20  # bytes of one source file that is quoted


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument(
        "file", metavar="FILE", help="raw bytes or an ELF64 executable; - for raw bytes on stdin"
    )
    parser.add_argument(
        "--mode",
        type=int,
        choices=(16, 32, 64),
        help="CPU mode (default: 64; of an ELF what fits its line table)",
    )
    parser.add_argument(
        "--org", type=address, default=None, metavar="ADDR", help="address of the first raw byte"
    )
    parser.add_argument("--symbol", metavar="NAME", help="only this routine of an ELF")
    parser.add_argument(
        "--kernel", type=Path, metavar="DIR", help="sources to quote (default: kernel, if there is one)"
    )


def address(text: str) -> int:
    """An address of a command line: decimal, or with 0x, 0o, 0b.

    Raises:
        argparse.ArgumentTypeError: it is no number of 64 bits.
    """
    try:
        value = int(text, 0)
    except ValueError:
        value = -1
    if not 0 <= value < 1 << 64:
        raise argparse.ArgumentTypeError(f"'{text}': expected an address of up to 64 bits such as 0x7c00")
    return value


def run(args: argparse.Namespace, ui: Ui) -> Outcome:
    """Disassemble FILE."""
    from toolchain import disassemble, elf_read

    if args.kernel is not None and not args.kernel.is_dir():
        raise InputError(f"{args.kernel}: no such folder; name a kernel tree (--kernel DIR)", stage=STAGE)

    from_stdin = args.file == "-"
    data = sys.stdin.buffer.read(elf_read.FILE_MAX) if from_stdin else elf_read.read_bytes(Path(args.file))
    if not data:
        raise InputError(f"{args.file}: empty; expected bytes to disassemble", stage=STAGE)
    if elf_read.is_elf(data):
        if from_stdin:
            raise InputError("-: an ELF on standard input; give it as a file", stage=STAGE)
        return _executable(args)
    if args.symbol is not None:
        raise InputError(
            f"{args.file}: raw bytes have no symbols; leave --symbol away or give an ELF", stage=STAGE
        )
    origin = args.org or 0
    instructions = list(disassemble.decode(data, origin, args.mode or 64))
    rows = [_row(instruction) for instruction in instructions]
    return Outcome(STATUS_OK, _object(args, rows, args.mode or 64), "\n".join(map(_line, instructions)))


def _executable(args: argparse.Namespace) -> Outcome:
    from toolchain import disassemble
    from toolchain.symbols import SymbolTable

    if args.org is not None:
        raise InputError(f"{args.file}: an ELF has its own addresses; leave --org away", stage=STAGE)
    table = SymbolTable(Path(args.file))
    if args.symbol is None:
        instructions: Iterable[Instruction] = disassemble.image(table, args.mode)
    else:
        instructions = disassemble.stretch(table, *_extent(args, table), args.mode)
    quote = _quoter(args.kernel or _KERNEL)
    rows: list[dict[str, Any]] = []
    lines: list[str] = []
    previous: tuple[str | None, int | None] = (None, None)
    for instruction in instructions:
        place = table.place(instruction.address)
        refers = disassemble.comment(instruction, table.place)
        rows.append(_row(instruction, place, refers))
        if place.symbol is not None and place.offset == 0:
            lines += ["", f"{place.symbol}:"]
        if place.file is not None and place.line is not None and (place.file, place.line) != previous:
            lines.append(f"# {place.file}:{place.line}{quote(place.file, place.line)}")
        previous = (place.file, place.line)
        lines.append(_line(instruction) + (f"  # {refers}" if refers else ""))
    if not rows:
        raise InputError(
            f"{args.file}: it holds no code; expected a section that can be executed", stage=STAGE
        )
    return Outcome(STATUS_OK, _object(args, rows, args.mode), "\n".join(lines).lstrip("\n"))


def _extent(args: argparse.Namespace, table: SymbolTable) -> tuple[int, int]:
    symbol = table.find(args.symbol)
    if symbol is None:
        import difflib

        near = difflib.get_close_matches(args.symbol, {s.name for s in table.symbols}, n=1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise InputError(f"{args.file}: no symbol '{args.symbol}'{hint}", stage=STAGE)
    start, end = table.extent(symbol)
    section = table.section_at(start)
    if symbol.section is None or section is None or section.nobits or start == end:
        raise InputError(
            f"{args.file}: '{args.symbol}' has no bytes in the file; expected a routine", stage=STAGE
        )
    return start, end


def _quoter(tree: Path) -> Callable[[str, int], str]:
    """Returns ``quote(file, line)``: the source line behind ``": "``, or "" when it cannot be read from ``tree``."""
    known: dict[str, list[str]] = {}
    root = tree.resolve()

    def quote(file: str, line: int) -> str:
        if file not in known:
            path = (root / file).resolve()  # the name comes from the file: it must not lead out of the tree
            fits = path.is_relative_to(root) and path.is_file() and path.stat().st_size <= _SOURCE_MAX
            known[file] = path.read_text(errors="replace").splitlines() if fits else []
        return f": {known[file][line - 1].strip()}" if 0 < line <= len(known[file]) else ""

    return quote


def _row(instruction: Instruction, place: CodePlace | None = None, refers: str = "") -> dict[str, Any]:
    row: dict[str, Any] = {
        "line": place.line if place else None,
        "text": instruction.text,
        "address": instruction.address,
        "bytes": instruction.data.hex(),
    }
    if place is not None:
        row |= {"file": place.file, "symbol": place.symbol, "offset": place.offset}
        if refers:
            row["refers"] = refers
    return row


def _line(instruction: Instruction) -> str:
    return f"{instruction.address:16x}  {instruction.data.hex(' '):<30}  {instruction.text}"


def _object(args: argparse.Namespace, rows: list[dict[str, Any]], mode: int | None) -> dict[str, Any]:
    return {"file": args.file, "mode": mode, "statements": rows}
