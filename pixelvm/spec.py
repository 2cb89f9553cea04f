"""The tables of SPEC.md, printed from the definitions: ``python -m pixelvm.spec`` writes them into the file.

Owns the marked blocks of SPEC.md (``<!-- table NAME -->`` to ``<!-- end -->``); the prose around them is written by
hand. A test fails while the file and the definitions differ.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pixelvm import isa, program, state
from pixelvm.isa import Operand

SPEC = Path(__file__).with_name("SPEC.md")
_BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(text: str) -> str:
    """``text`` with every marked block holding its table.

    Raises:
        KeyError: a block names no table.
    """
    return _BLOCK.sub(lambda match: f"{match[1]}\n{TABLES[match[2]]}\n\n{match[3]}", text)


def _table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines)


_CONSTANTS = (
    ("VERSION", "version of this machine"),
    ("STACK_SLOTS", "values on the stack, 32 bits each"),
    ("FRAMES", "frames, the entry's among them"),
    ("LOCALS", "locals of a frame, 32 bits each"),
    ("CODE_MAX", "instructions of a program"),
    ("MEMORY_MAX", "bytes of memory"),
    ("MEMORY_STEP", "a memory's size in bytes is a multiple of it"),
    ("SEED_DEFAULT", "seed of `random` when none is given, or 0"),
)
_WIDTH = {Operand.NONE: "none", Operand.SYSTEM: "call", Operand.TARGET: "target"}


def _operand(kind: Operand) -> str:
    return _WIDTH.get(kind, kind.name.lower())


def _stops(stops: Sequence[isa.Stop]) -> str:
    return ", ".join(stop.name for stop in stops)


TABLES = {
    "constants": _table(
        ("name", "value", "is"), [(name, getattr(isa, name), text) for name, text in _CONSTANTS]
    ),
    "operands": _table(("operand", "legal values"), [(_operand(kind), kind.value) for kind in Operand]),
    "instructions": _table(
        ("R", "name", "operand", "fuel", "effect", "can trap with"),
        [
            (
                f"0x{row.op:02x}",
                row.name,
                _operand(row.operand),
                row.fuel or "of the call",
                row.effect,
                _stops(row.traps),
            )
            for row in isa.INSTRUCTIONS.values()
        ],
    ),
    "calls": _table(
        ("number", "name", "fuel", "effect"),
        [(int(row.number), row.name, row.fuel, row.effect) for row in isa.SYSTEM_CALLS.values()],
    ),
    "stops": _table(
        ("code", "name", "means"), [(int(stop), stop.name, text) for stop, text in isa.STOPS.items()]
    ),
    "state": _table(
        ("offset", "size", "field", "is"),
        [
            (0, len(state.MAGIC), "magic", f"`{state.MAGIC.decode()}`"),
            *(
                (len(state.MAGIC) + 4 * at, 4, field.name, field.meaning)
                for at, field in enumerate(state.FIELDS)
            ),
            (state.DIGEST_AT, state.DIGEST, "program", "SHA-256 of the program (section 7)"),
            (state.HEADER, "4 each", "stack", "`depth` values, the top last"),
            ("", "4 each", "returns", "`frames` - 1 return addresses, the innermost last"),
            ("", "4 each", "locals", f"{isa.LOCALS} for each frame, the innermost frame last"),
            ("", "1 each", "memory", "`memory` bytes"),
        ],
    ),
    "program": _table(
        ("offset", "size", "field", "is"),
        [
            (0, 4, "magic", f"`{program.MAGIC.decode()}`"),
            (4, 4, "version", isa.VERSION),
            (8, 4, "instructions", "number of words"),
            (12, 4, "data", "bytes of data"),
            (16, 4, "memory", "bytes of memory"),
            (20, 4, "entry", "index of the first instruction"),
            (24, 32, "digest", "SHA-256 of everything else in this order"),
            (program.HEADER, "4 each", "code", "the words"),
            ("", "1 each", "data", "what memory begins with, padded with zeros to a multiple of 4"),
        ],
    ),
}


def main() -> None:
    """Write the tables into SPEC.md."""
    text = SPEC.read_text(encoding="utf-8")
    SPEC.write_text(filled(text), encoding="utf-8")


if __name__ == "__main__":
    main()
