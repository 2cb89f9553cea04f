"""Reads the rows of ``encode_table`` and encodes a statement with the first that fits.

Owns the notation of the table. It decides nothing about legality beyond the rows: ``encode_forms`` has already said
that GNU as knows the form.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from toolchain import encode_table
from toolchain.encode_modrm import (
    DISPLACEMENT_MARK,
    IMMEDIATE_MARK,
    SEGMENT_PREFIX,
    Field,
    FieldKind,
    Refusal,
    address_size,
    assemble,
    check_range,
    override,
    signed,
)
from toolchain.expr import Expr
from toolchain.operand_types import Far, Imm, Mem, Operand
from toolchain.registers import Reg
from toolchain.types import Mode

_WIDTHS: Final = {"ib": 1, "ibs": 1, "iw": 2, "id": 4, "iq": 8}


class Row:
    """One encoding: which operands it takes and how it is laid out."""

    __slots__ = (
        "chosen", "digit", "immediates", "mandatory", "moffs", "opcode", "opcode_reg", "patterns", "prefix66",
        "reads", "rm", "size",
    )  # fmt: skip

    def __init__(self, operands: str, encoding: str, reads: str) -> None:
        self.patterns = [frozenset(_expand(word)) for word in operands.split()]
        self.reads = reads
        self.opcode = b""
        self.mandatory = b""
        self.size = ""
        self.rm = ""
        self.digit = self.chosen = 0
        self.opcode_reg = -1
        self.moffs = False
        self.prefix66 = False
        self.immediates: list[str] = []
        for word in encoding.split():
            if word in ("f2", "f3", "f0") and not self.opcode:
                self.mandatory += bytes.fromhex(word)
            elif word == "66" and not self.opcode:
                self.prefix66 = True
            elif word[0] == "/":
                self.rm = word[1:] if word[1:] in ("r", "mr", "rr") else "digit"
                if self.rm == "digit":
                    self.digit, self.chosen = int(word[1]), int(word[3:] or 1) - 1
            elif word == "+r":
                self.opcode_reg = 0
            elif word == "+r2":
                self.opcode_reg = 1
            elif word == "moffs":
                self.moffs = True
            elif word[0] == "o" and word[1:] in ("v", "16", "32", "64"):
                self.size = word[1:]
            elif word[0] == "i":
                self.immediates.append(word)
            else:
                self.opcode = bytes.fromhex(word)


def _expand(word: str) -> list[str]:
    found: list[str] = []
    for item in word.split("/"):
        more = encode_table.ALTERNATIVES.get(item)
        found += more.split("/") if more else [item]
    return found


@lru_cache(maxsize=2)
def _index(sixteen: bool) -> dict[str, list[str]]:
    index: dict[str, list[str]] = {}
    for line in encode_table.lines(sixteen):
        index.setdefault(line.split(None, 1)[0], []).append(line)
    return index


@lru_cache(maxsize=1024)
def rows(mnemonic: str, mode: Mode) -> tuple[Row, ...]:
    """The rows of ``mnemonic`` in ``mode``, in order."""
    found = []
    for line in _index(mode == 16).get(mnemonic, ()):
        head, operands, encoding, *reads = line.split("|")
        if {16: "1", 32: "3", 64: "6"}[mode] in head.split()[1:]:
            found.append(Row(operands, encoding, reads[0].strip() if reads else ""))
    return tuple(found)


@lru_cache(maxsize=1024)
def _by_first(mnemonic: str, mode: Mode) -> dict[str, list[tuple[int, Row]]]:
    """The rows with their order, by each name that the first operand may have there; "" for none.

    ``mov`` has a dozen rows for registers that hardly any statement names: what is looked at is one or two.
    """
    found: dict[str, list[tuple[int, Row]]] = {}
    for place, row in enumerate(rows(mnemonic, mode)):
        for name in row.patterns[0] if row.patterns else ("",):
            found.setdefault(name, []).append((place, row))
    return found


def _candidates(mnemonic: str, mode: Mode, tokens: Sequence[tuple[str, ...]]) -> list[Row]:
    """The rows, in order, whose first operand may be the statement's."""
    by_first = _by_first(mnemonic, mode)
    if not by_first:
        return []
    found = [by_first[name] for name in (tokens[0] if tokens else ("",)) if name in by_first]
    if len(found) < 2:
        return [row for _, row in found[0]] if found else []
    return [row for _, row in sorted({place: row for rows in found for place, row in rows}.items())]


def encode(
    mode: Mode,
    mnemonic: str,
    operands: Sequence[Operand],
    tokens: Sequence[tuple[str, ...]],
    before: tuple[int, ...] = (),
    *,
    data_prefix: bool = False,
    rex_w: bool = False,
) -> tuple[bytes, tuple[Field, ...], str] | None:
    """Bytes with marked fields, the fields in order, how a decoder reads them; None when no row fits.

    Args:
        mode: 16, 32 or 64.
        mnemonic: in lower case.
        operands: as parsed.
        tokens: for each operand the names it has in the table.
        before: lock and repeat prefixes.
        data_prefix: the statement asks for the other operand size (``data16``, ``data32``).
        rex_w: the statement asks for REX.W.
    """
    for row in _candidates(mnemonic, mode, tokens):
        if len(row.patterns) == len(operands) and all(
            not pattern.isdisjoint(token) for pattern, token in zip(row.patterns, tokens, strict=True)
        ):
            result = _encode_row(row, mode, operands, before, data_prefix, rex_w)
            if result is not None:
                return (*result, row.reads)
    return None


def operand_size(operands: Sequence[Operand]) -> int:
    """Bytes that the operands work on: of the first general register, else of the first sized memory; 0 if none."""
    for operand in operands:
        if isinstance(operand, Reg) and operand.kind in ("r8", "r16", "r32", "r64"):
            return operand.size
        if isinstance(operand, Mem) and operand.size in (1, 2, 4, 8):
            return operand.size
    return 0


def _encode_row(
    row: Row, mode: Mode, operands: Sequence[Operand], before: tuple[int, ...], data_prefix: bool, rex_w: bool
) -> tuple[bytes, tuple[Field, ...]] | None:
    size = operand_size(operands)
    fields: list[Field] = []
    numbers = [(place, operand) for place, operand in enumerate(operands) if isinstance(operand, Imm)]
    # A number may be part of the form (int 3): then it has no field.
    for word, (place, number) in zip(row.immediates, numbers, strict=False):
        field = _immediate(word, number.value, size)
        if field is None:
            return None
        field.source = place
        fields.append(field)
    asked = {"v": size * 8, "": 0}.get(row.size, 0) if not row.size.isdigit() else int(row.size)
    prefix66 = row.prefix66 or data_prefix or (asked == 16 and mode != 16) or (asked == 32 and mode == 16)
    wide = asked == 64 or rex_w
    at = next((place for place, operand in enumerate(operands) if isinstance(operand, Mem)), 0)
    if row.moffs:
        return _offset(row, mode, operands[at], at, size, prefix66)
    registers = tuple(operand for operand in operands if isinstance(operand, Reg))
    rm: Reg | Mem | None = None
    reg: Reg | int = row.digit
    if row.rm == "digit":
        rm = operands[row.chosen]  # type: ignore[assignment]
    elif row.rm == "mr":
        rm, reg = operands[0], operands[1]  # type: ignore[assignment]
    elif row.rm == "r":
        rm, reg = operands[1], operands[0]  # type: ignore[assignment]
    elif row.rm == "rr":
        rm = reg = registers[0]
    data, displacement = assemble(
        mode,
        row.opcode,
        reg=reg,
        rm=rm,
        opcode_reg=registers[row.opcode_reg] if row.opcode_reg >= 0 else None,
        wide=wide,
        operand_prefix=prefix66,
        mandatory=row.mandatory,
        before=before,
        byte_regs=tuple(item for item in registers if item.kind == "r8"),
    )
    if displacement is not None:
        displacement.source = at
        fields.insert(0, displacement)
    if operands and isinstance(operands[0], Far):
        far = operands[0]
        wide_offset = 2 if (mode == 16) != data_prefix else 4
        fields = [_far_part(far.offset, wide_offset, -1), _far_part(far.selector, 2, -2)]
    marks = b"".join(
        IMMEDIATE_MARK[field.size].to_bytes(field.size, "little")
        for field in fields
        if field is not displacement
    )
    return data + marks, tuple(fields)


def _immediate(word: str, value: int | Expr, size: int) -> Field | None:
    """The field for an immediate written ``word`` in the table; None when ``ibs`` cannot hold it."""
    if word == "ibs":
        if not isinstance(value, int):
            return None
        check_range(value, size or 2, "signed" if size == 8 else "mask")
        value = signed(value, size or 2)
        return Field(1, "signed", value) if -128 <= value < 128 else None
    width = min(size or 2, 4) if word == "iv" else _WIDTHS[word]
    kind: FieldKind = "signed" if word == "iv" and size == 8 else "either"
    if isinstance(value, int):
        check_range(value, width, "mask" if kind == "either" and width == size else kind)
    elif width == 4 and kind == "either":
        kind = "unsigned"
    return Field(width, kind, value)


def _far_part(value: int | Expr, width: int, source: int) -> Field:
    if isinstance(value, int):
        check_range(value, width, "either")
    return Field(width, "unsigned" if width == 4 else "either", value, source)


def _offset(
    row: Row, mode: Mode, memory: Operand, source: int, size: int, prefix66: bool
) -> tuple[bytes, tuple[Field, ...]] | None:
    """The accumulator moves with a bare address (A0-A3); None when ``memory`` has registers."""
    if not isinstance(memory, Mem) or memory.base is not None or memory.index is not None:
        return None
    width = mode // 8
    if isinstance(memory.disp, int):
        check_range(memory.disp, width, "either", "address")
    lead = b""
    segment = override(memory)
    if segment is not None:
        lead += bytes([SEGMENT_PREFIX[segment]])
    if address_size(memory, mode) != mode:
        raise Refusal("no such address size", "an address of the mode's own size")
    if mode == 64:
        prefix66, rex = size == 2, b"\x48" if size == 8 else b""
    else:
        rex = b""
    mark = DISPLACEMENT_MARK[width].to_bytes(width, "little")
    kind: FieldKind = "unsigned" if width == 4 else "either"
    return lead + (b"\x66" if prefix66 else b"") + rex + row.opcode + mark, (
        Field(width, kind, memory.disp, source),
    )
