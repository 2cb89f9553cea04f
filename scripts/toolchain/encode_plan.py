"""From a parsed instruction to a request for the worker.

Owns three decisions: whether GNU as knows the form (``encode_forms``), whether the hand-made table or Keystone
encodes it, and how wide each number in it is. A request holds marks in place of the numbers, so that all statements
of one shape share one encoding.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from toolchain import encode_forms, encode_table
from toolchain.encode_check import SIZELESS
from toolchain.encode_modrm import (
    DISPLACEMENT_MARK,
    IMMEDIATE_MARK,
    SEGMENT_PREFIX,
    Field,
    FieldKind,
    Refusal,
    address_size,
    check_range,
    displacement,
    override,
    signed,
)
from toolchain.encode_prefix import NONE as NO_PREFIXES
from toolchain.encode_prefix import Prefixes
from toolchain.encode_rows import encode, operand_size
from toolchain.expr import Expr
from toolchain.insn import Core
from toolchain.operand_types import Far, Imm, Masked, Mem, Operand, Target
from toolchain.registers import REGISTERS, Reg
from toolchain.types import Mode


class Plan:
    """What to ask the worker and what to make of the answer.

    Attributes:
        request: a line for the worker.
        expect: the statement as the decoder should say it, marks for numbers.
        fields: the numbers at the end of the bytes, in order.
        literal: the same with the displacement itself instead of a mark, for an encoding that scales it (EVEX);
            None where that cannot be.
    """

    __slots__ = ("expect", "fields", "literal", "request")

    def __init__(
        self, request: str, expect: str, fields: tuple[Field, ...], literal: Plan | None = None
    ) -> None:
        self.request = request
        self.expect = expect
        self.fields = fields
        self.literal = literal


SIZE_WORDS: Final = {
    1: "byte", 2: "word", 4: "dword", 6: "fword", 8: "qword", 10: "tbyte", 16: "xmmword", 32: "ymmword",
    64: "zmmword",
}  # fmt: skip
_KIND_TOKEN: Final = {
    "r8": "b", "r16": "w", "r32": "d", "r64": "q", "seg": "s", "cr": "C", "dr": "G", "tr": "T", "st": "t",
    "mm": "M", "xmm": "x", "ymm": "y", "zmm": "z", "k": "k", "bnd": "B", "ip": "ip",
}  # fmt: skip
_ARITHMETIC: Final = frozenset(["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp", "imul"])
SHIFTS: Final = frozenset(["rol", "ror", "rcl", "rcr", "shl", "sal", "shr", "sar"])


def plan(mode: Mode, core: Core) -> Plan:
    """Plan one instruction that is not a direct branch.

    Raises:
        Refusal: when it has no encoding in ``mode``, or none that is supported.
    """
    mnemonic, operands = core.mnemonic, core.operands
    tokens = [_tokens(operand) for operand in operands]
    form = encode_forms.find(mode, mnemonic, tokens)
    if form is None:
        raise _unknown(mode, mnemonic, operands)
    if mnemonic in _ADDRESSED:
        _check_addressed(mode, mnemonic, operands)
    prefixes = Prefixes(mode, core) if core.prefixes else NO_PREFIXES
    absolute = _far_accumulator(mnemonic, operands) if mode == 64 else None
    table = encode(
        mode,
        "movabs" if absolute else mnemonic,
        operands,
        tokens,
        prefixes.before,
        data_prefix=prefixes.data,
        rex_w=prefixes.rex_w,
    )
    if table is not None:
        data, fields, reads = table
        expect = (
            f"{prefixes.spelled}{_reading(reads or mnemonic, operands, fields, mode)}"
            if reads != "~"
            else "~"
        )
        return Plan(f"{mode} ={(prefixes.lead + data).hex()}", expect, fields)
    if mode == 16 or prefixes.data or prefixes.rex_w or mnemonic in encode_table.NEVER_KEYSTONE:
        raise Refusal(f"`{mnemonic}' is not supported in this form", "another form of it")
    return _for_keystone(mode, mnemonic, operands, prefixes, form)


# Instructions whose register holds an address too: it is as wide as the memory operand's address.
_ADDRESSED: Final = frozenset(["enqcmd", "enqcmds", "movdir64b"])


def _check_addressed(mode: Mode, mnemonic: str, operands: Sequence[Operand]) -> None:
    reg, memory = operands
    if isinstance(reg, Reg) and isinstance(memory, Mem) and address_size(memory, mode) != reg.size * 8:
        raise Refusal(f"`{mnemonic}' needs an address as wide as {reg.name}", "registers of one width")


def _unknown(mode: Mode, mnemonic: str, operands: Sequence[Operand]) -> Refusal:
    if not encode_forms.known_mnemonic(mnemonic):
        return Refusal(f"no such instruction: `{mnemonic}'", "an instruction of the x86")
    kinds = ", ".join(_describe(operand) for operand in operands) or "no operands"
    return Refusal(
        f"`{mnemonic}' does not take {kinds} in {mode}-bit code",
        "operands that it takes, with `... ptr' where the size is not clear",
    )


def _describe(operand: Operand) -> str:
    if isinstance(operand, Reg):
        return operand.name
    if isinstance(operand, Mem):
        return f"{operand.keyword or 'unsized'} memory"
    return {Imm: "a number", Target: "a target", Far: "a far pointer"}.get(
        type(operand), "a decorated operand"
    )


_MASK_REGISTER: Final = re.compile(r"\{k[1-7]\}")


def _tokens(operand: Operand) -> tuple[str, ...]:
    """The names that an operand has in the tables."""
    if isinstance(operand, Reg):
        return (_KIND_TOKEN[operand.kind], "st0" if operand.name == "st(0)" else operand.name)
    if isinstance(operand, Imm):
        return ("i", str(operand.value)) if operand.value in (1, 3) else ("i",)
    if isinstance(operand, Mem):
        index = operand.index
        lead = (
            f"v{_KIND_TOKEN[index.kind]}"
            if index is not None and index.kind in ("xmm", "ymm", "zmm")
            else "m"
        )
        if operand.mask:
            return (f"{lead}{operand.size or ''}{_MASK_REGISTER.sub('{k}', operand.mask)}",)
        if operand.size is None:
            return (lead,) if operand.base is not None or operand.index is not None else (lead, "a")
        return (f"{lead}{operand.size}",) if operand.size else (f"{lead}{operand.keyword[0]}",)
    if isinstance(operand, Masked):
        mask = _MASK_REGISTER.sub("{k}", operand.mask)
        return (f"{_KIND_TOKEN[operand.reg.kind]}{mask}" if operand.reg is not None else mask,)
    return ("f",) if isinstance(operand, Far) else ("j",) if isinstance(operand, Target) else ("?",)


def _far_accumulator(mnemonic: str, operands: Sequence[Operand]) -> bool:
    """Whether this is ``mov`` between the accumulator and an address beyond 32 bits, which has a form of its own."""
    if mnemonic != "mov" or len(operands) != 2:
        return False
    memory = next((item for item in operands if isinstance(item, Mem)), None)
    register = next((item for item in operands if isinstance(item, Reg)), None)
    if memory is None or register is None or register.name not in ("al", "ax", "eax", "rax"):
        return False
    if memory.base is not None or memory.index is not None or isinstance(memory.disp, Expr):
        return False
    return not -(1 << 31) <= memory.disp < 1 << 31


# --- the canonical statement -------------------------------------------------------------------------------


def _for_keystone(
    mode: Mode,
    mnemonic: str,
    operands: Sequence[Operand],
    prefixes: Prefixes,
    form: str,
    literal: bool = False,
) -> Plan:
    """The request for Keystone; with ``literal`` displacements stand in it as they are, not as marks."""
    size = operand_size(operands)
    fields: list[Field] = []
    asked: list[str] = []
    expect: list[str] = []
    added = "".join(f"+{byte:02x}" for byte in (*prefixes.lead, *prefixes.before))
    again = False
    for place, operand in enumerate(operands):
        if isinstance(operand, Reg):
            if operand.number > 15:
                raise Refusal(
                    f"`{operand.name}' is supported with 512-bit operands only", "a register up to 15"
                )
            asked.append(operand.name)
            expect.append(operand.name)
        elif isinstance(operand, Mem):
            field = displacement(operand, mode, wraps(mode, mnemonic, operands))
            if field is not None and not literal:
                field.source = place
                fields.insert(0, field)
                again = mnemonic[0] == "v" and isinstance(field.value, int)
            shown = field.value if literal and field is not None else None
            text = _memory(operand, field, shown=shown)
            expect.append(text)
            if mnemonic in SIZELESS or (not operand.size and not size):
                # Keystone wants the one size that the instruction has, or none.
                word = 0 if mnemonic in SIZELESS else encode_forms.memory_size(mode, mnemonic, form)
                text = _memory(operand, field, word, shown)
            if mode == 64 and operand.base is None and operand.index is None:
                # Keystone makes a bare address RIP-relative.
                text = text.replace("[", "[riz*1 + ")
            segment = override(operand)
            if segment is not None:
                # Keystone forgets some and puts others behind 66.
                text = text.replace(f"{segment}:", "")
                added += f"+{SEGMENT_PREFIX[segment]:02x}"
            if operand.base is None and operand.index is not None and operand.scale == 1:
                # Keystone makes a lone index a base: ask for another scale, the worker sets it to 1.
                text = text.replace(operand.index.name, f"{operand.index.name}*2")
                added += "*"
                if literal:
                    raise Refusal("an index alone with 512-bit operands is not supported", "a base register")
            if operand.base is not None and operand.base.kind == "r16":
                _check_short_address(mnemonic, operand, field)
            asked.append(text)
        elif isinstance(operand, Imm):
            field = immediate(mnemonic, operand.value, size, mode, operands)
            text = "1"
            if field is not None:
                field.source = place
                fields.append(field)
                text = hex(IMMEDIATE_MARK[field.size])
                if mnemonic == "mov" and field.size == 8:
                    mnemonic = "movabs"
            asked.append(text)
            expect.append(text)
        elif isinstance(operand, Masked):
            text = (operand.reg.name if operand.reg is not None else "") + operand.mask
            asked.append(text)
            expect.append(text)
        else:
            raise Refusal(f"`{mnemonic}' takes no {_describe(operand)}", "a register, memory or a number")
    if sum(isinstance(operand, Imm) for operand in operands) > 1:
        raise Refusal(f"`{mnemonic}' with two numbers is not supported", "another form of it")
    request = f"{mode} {added or '-'} {mnemonic} {', '.join(asked)}".rstrip()
    said = f"{prefixes.spelled}{mnemonic} {', '.join(expect)}".rstrip()
    other = _for_keystone(mode, mnemonic, operands, prefixes, form, literal=True) if again else None
    return Plan(request, said, tuple(fields), other)


def _check_short_address(mnemonic: str, memory: Mem, field: Field | None) -> None:
    """16-bit addressing in 32-bit code: Keystone lengthens [bp+si], and scales no displacement with it."""
    if (memory.index is not None and memory.base.number == 5 and field is None) or mnemonic[0] == "v":  # type: ignore[union-attr]
        raise Refusal("this 16-bit address is not supported in 32-bit code", "32-bit registers")


def _memory(mem: Mem, field: Field | None, size: int | None = None, shown: int | Expr | None = None) -> str:
    """A memory operand in the decoder's style; ``shown`` is a displacement to write in place of the mark."""
    parts = []
    if mem.base is not None:
        parts.append(mem.base.name)
    if mem.index is not None:
        parts.append(f"{mem.index.name}*{mem.scale}" if mem.scale > 1 else mem.index.name)
    if field is not None:
        number = shown if isinstance(shown, int) else DISPLACEMENT_MARK[field.size]
        parts.append(str(number) if -10 < number < 10 else hex(number))
    segment = override(mem)
    size = mem.size if size is None else size
    lead = f"{SIZE_WORDS[size]} ptr " if size else ""
    return f"{lead}{segment + ':' if segment else ''}[{' + '.join(parts).replace('+ -', '- ')}]{mem.mask}"


def _reading(reads: str, operands: Sequence[Operand], fields: Sequence[Field], mode: Mode) -> str:
    """What the decoder says of bytes from the table: ``reads`` is a mnemonic, and operand numbers if not all."""
    name, *chosen = reads.split()
    marks = iter(fields)
    texts = []
    for operand in operands:
        if isinstance(operand, Reg):
            texts.append(operand.name)
        elif isinstance(operand, Mem):
            bare = operand.base is None and operand.index is None
            field = next(marks) if bare or displacement(operand, mode) is not None else None
            texts.append(_memory(operand, field))
        elif isinstance(operand, Imm):
            mark = next(marks, None)
            texts.append(hex(IMMEDIATE_MARK[mark.size]) if mark is not None else "")
        elif isinstance(operand, Far):
            offset, selector = next(marks), next(marks)
            texts.append(f"{IMMEDIATE_MARK[selector.size]:#x}:{IMMEDIATE_MARK[offset.size]:#x}")
    if chosen:
        texts = [_reread(texts[int(item[0]) - 1], item[1:]) for item in chosen if item != "-"]
    return f"{name} {', '.join(text for text in texts if text)}".rstrip()


def _reread(text: str, width: str) -> str:
    if not width:
        return text
    kind, number = {"d": "r32", "w": "r16"}[width], REGISTERS[text].number
    return next(item.name for item in REGISTERS.values() if item.kind == kind and item.number == number)


def wraps(mode: Mode, mnemonic: str, operands: Sequence[Operand]) -> bool:
    """Whether an address counts modulo 2^32 though the mode's is wider."""
    return mode == 64 and mnemonic == "lea" and isinstance(operands[0], Reg) and operands[0].size < 8


def immediate(
    mnemonic: str, value: int | Expr, size: int, mode: Mode, operands: Sequence[Operand]
) -> Field | None:
    """The field of an immediate as GNU as sizes it; None for the 1 of a shift, which needs none.

    Args:
        mnemonic: in lower case.
        value: the number or expression.
        size: bytes that the operands work on, 0 when they do not say.
        mode: 16, 32 or 64.
        operands: all of them.

    Raises:
        Refusal: when the number does not fit.
    """
    width, kind, size = 1, "either", size or 4
    sized = mnemonic in _ARITHMETIC or mnemonic in ("mov", "test")
    if sized:
        width, kind = min(size, 4), "signed" if size == 8 else "either"
        if isinstance(value, int):
            if mnemonic == "mov" and size == 8 and isinstance(operands[0], Reg):
                if not -(1 << 31) <= value < 1 << 31:
                    width, kind = 8, "either"
            elif size > 1 and mnemonic in _ARITHMETIC:
                check_range(value, width, "mask" if kind == "either" else "signed")
                if -128 <= signed(value, size) < 128:
                    width, kind, value = 1, "signed", signed(value, size)
    elif mnemonic == "push":
        width, kind = 4, "signed" if mode == 64 else "either"
        if isinstance(value, int):
            check_range(value, width, kind)  # type: ignore[arg-type]
            if -128 <= signed(value, 4) < 128:
                width, kind, value = 1, "signed", signed(value, 4)
    elif mnemonic in ("ret", "retf"):
        width = 2
    elif mnemonic in SHIFTS and value == 1:
        return None
    wanted: FieldKind = kind  # type: ignore[assignment]
    if isinstance(value, int):
        check_range(value, width, "mask" if sized and kind == "either" else wanted)
    elif width == 4 and kind == "either":
        wanted = "unsigned"
    return Field(width, wanted, value)
