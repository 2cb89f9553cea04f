"""The shape of a statement: everything that decides its bytes but the numbers in it.

Owns the sharing: statements of one shape have one plan, one answer of the worker, one template of bytes; the numbers
are written into a copy. It knows no opcodes; where a number changes the encoding, ``key`` says so by the range in
which the number lies.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from toolchain.encode_check import agrees
from toolchain.encode_modrm import DISPLACEMENT_MARK, IMMEDIATE_MARK, Field, FieldKind, Refusal, displacement
from toolchain.encode_plan import Plan, wraps
from toolchain.expr import Expr
from toolchain.insn import Core
from toolchain.operand_types import Far, Imm, Mem, Operand
from toolchain.types import Encoding, Fixup, Mode

# Where an immediate begins to be encoded otherwise, or to be refused: the ends of the signed, unsigned and masked
# ranges of 8, 16, 32 and 64 bits, those of the short forms behind a wrap, and 1 and 3, which have opcodes.
_STEPS: Final = sorted(
    {
        *(-(1 << bits) + more for bits in (8, 16, 32) for more in (1, 128)),
        *(-(1 << bits - 1) for bits in (8, 16, 32, 64)),
        *(1 << bits - 1 for bits in (8, 16, 32, 64)),
        *(1 << bits for bits in (8, 16, 32)),
        *((1 << bits) - 128 for bits in (16, 32)),
        *(1, 2, 3, 4),
    }
)


def key(mode: Mode, core: Core) -> tuple[object, ...] | None:
    """What the statements of one shape have in common; None for a statement that is alone in its kind."""
    parts: list[object] = [mode, core.prefixes, core.mnemonic]
    for operand in core.operands:
        if isinstance(operand, Imm):
            value = operand.value
            parts.append(-1 if isinstance(value, Expr) else bisect_right(_STEPS, value))
        elif isinstance(operand, Mem):
            shape = operand.shape
            if core.mnemonic == "lea":
                shape = _memory_shape(mode, operand, wraps(mode, "lea", core.operands))
            elif shape is None:
                shape = operand.shape = _memory_shape(mode, operand)
            if shape is _ALONE:
                return None
            parts.append(shape)
        elif isinstance(operand, Far):
            return None
        else:
            parts.append(operand)
    return tuple(parts)


_ALONE: Final = object()


def _memory_shape(mode: Mode, mem: Mem, wrapping: bool = False) -> object:
    try:
        field = displacement(mem, mode, wrapping)
    except Refusal:
        return _ALONE
    width = 0 if field is None else field.size
    named = isinstance(mem.disp, Expr)
    return (mem.keyword, mem.segment, mem.base, mem.index, mem.scale, width, named, mem.mask)


class Shape:
    """A plan, and the template that its answer gave.

    Attributes:
        plan: what was asked.
        encoding: the bytes, when there is no number in them.
    """

    __slots__ = ("_data", "_layout", "encoding", "plan")

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.encoding: Encoding | None = None
        self._data = b""
        self._layout: list[tuple[int, int, FieldKind, int]] | None = None

    def learn(self, reply: str) -> None:
        """Take the worker's reply.

        Raises:
            Refusal: when there is no encoding, or one that says something else than the statement.
        """
        plan = self.plan
        if reply[0] == "!":
            raise Refusal(f"no encoding for `{plan.expect}' ({reply[1:]})", "an instruction of this mode")
        text, _, decoded = reply.partition("\t")
        if not agrees(plan.expect, decoded):
            raise Refusal(f"`{plan.expect}' would be encoded as `{decoded}'", "another form of it")
        data = bytearray.fromhex(text)
        layout: list[tuple[int, int, FieldKind, int]] = []
        end = len(data) - _suffix(data, plan.fields)
        for field in reversed(plan.fields):
            begin = end - field.size
            mark = int.from_bytes(data[begin:end], "little")
            if mark not in (IMMEDIATE_MARK[field.size], DISPLACEMENT_MARK[field.size]):
                raise Refusal(f"no field for the number in `{plan.expect}'", "another form of it")
            data[begin:end] = bytes(field.size)
            layout.append((begin, field.size, field.kind, field.source))
            end = begin
        layout.reverse()
        self._data = bytes(data)
        self._layout = layout
        if not layout:
            self.encoding = Encoding(self._data)

    @property
    def known(self) -> bool:
        """Whether ``learn`` has succeeded."""
        return self._layout is not None

    def fill(self, operands: tuple[Operand, ...]) -> Encoding:
        """The bytes with the numbers of ``operands`` in their places."""
        data = bytearray(self._data)
        fixups = []
        for offset, size, kind, source in self._layout or ():
            value = _value(operands, source)
            if isinstance(value, int):
                data[offset : offset + size] = (value & _MASKS[size]).to_bytes(size, "little")
            else:
                fixups.append(Fixup(offset, size, kind, value))
        return Encoding(bytes(data), tuple(fixups))


_MASKS: Final = {size: (1 << 8 * size) - 1 for size in (1, 2, 4, 8)}
# Sources of the two numbers of a far pointer; other sources are the place of the operand.
FAR_OFFSET: Final = -1
FAR_SELECTOR: Final = -2


def _value(operands: tuple[Operand, ...], source: int) -> int | Expr:
    operand = operands[source if source >= 0 else 0]
    if isinstance(operand, Mem):
        return operand.disp
    if isinstance(operand, Far):
        return operand.offset if source == FAR_OFFSET else operand.selector
    return operand.value  # type: ignore[union-attr]


def _suffix(data: bytes | bytearray, fields: tuple[Field, ...]) -> int:
    """Bytes behind the fields: 1 where the opcode ends in a byte of its own (3DNow!, ``cmpeqps``), else 0."""
    if not fields:
        return 0
    size = fields[-1].size
    for suffix in (0, 1):
        end = len(data) - suffix
        mark = int.from_bytes(data[end - size : end], "little")
        if mark in (IMMEDIATE_MARK[size], DISPLACEMENT_MARK[size]):
            return suffix
    return 0


_LEGACY: Final = b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3"


def is_evex(reply: str) -> bool:
    """Whether a reply's bytes begin, behind legacy prefixes, with the EVEX prefix, which scales displacements."""
    return reply[0] != "!" and bytes.fromhex(reply.partition("\t")[0]).lstrip(_LEGACY)[:1] == b"\x62"
