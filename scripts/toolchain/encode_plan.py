"""From a parsed instruction to one canonical statement for Keystone and the fields to write into its bytes."""

from __future__ import annotations

from typing import Final, Literal

from toolchain.expr import Expr
from toolchain.insn import Core, Far, Imm, Masked, Mem, Reg, Target
from toolchain.types import Mode

FieldKind = Literal["pcrel", "signed", "unsigned", "either"]


class Refusal(ValueError):
    """The statement has no encoding; the message says why."""

    def __init__(self, message: str, expected: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected


class Field:
    __slots__ = ("kind", "size", "value")

    def __init__(self, size: int, kind: FieldKind, value: int | Expr) -> None:
        self.size = size
        self.kind: FieldKind = kind
        self.value = value


class Plan:
    """``request`` goes to the worker; the bytes end in ``fields``, in this order."""

    __slots__ = ("expect", "fields", "request")

    def __init__(self, request: str, expect: str, fields: tuple[Field, ...]) -> None:
        self.request = request
        self.expect = expect
        self.fields = fields


SIZE_WORDS: Final = {1: "byte", 2: "word", 4: "dword", 6: "fword", 8: "qword", 10: "tbyte", 16: "xmmword", 32: "ymmword", 64: "zmmword"}
PLACEHOLDER: Final = {1: 0x22, 2: 0x2233, 4: 0x22334455, 8: 0x2233445566778899}
DISP: Final = {1: 0x11, 2: 0x1122, 4: 0x11223344}
ARITHMETIC: Final = frozenset(["add", "or", "adc", "sbb", "and", "sub", "xor", "cmp", "imul"])
SHIFTS: Final = frozenset(["rol", "ror", "rcl", "rcr", "shl", "sal", "shr", "sar"])
FULL: Final = frozenset(["mov", "test"])
UNSIZED: Final = frozenset(["movzx", "movsx", "movsxd", "lea", "crc32", "in", "out", "lar", "lsl", "cvtsi2sd", "cvtsi2ss"]) | SHIFTS
BITS = {"r8": 1, "r16": 2, "r32": 4, "r64": 8}


def plan(mode: Mode, core: Core) -> Plan:
    operands = core.operands
    size = 0
    for operand in operands:
        if isinstance(operand, Reg) and operand.kind in BITS:
            size = operand.size
            break
        if isinstance(operand, Mem) and operand.size:
            size = operand.size
            break
    fields: list[Field] = []
    ks: list[str] = []
    expect: list[str] = []
    mnemonic = core.mnemonic
    for operand in operands:
        if isinstance(operand, Reg):
            ks.append(operand.name)
            expect.append(operand.name)
        elif isinstance(operand, Masked):
            text = (operand.reg.name if operand.reg else "") + operand.mask
            ks.append(text)
            expect.append(text)
        elif isinstance(operand, Mem):
            a, b, field = memory(mode, core, operand, size)
            ks.append(a)
            expect.append(b)
            if field:
                fields.insert(0, field)
        elif isinstance(operand, Imm):
            text, field = immediate(mode, core, operand, size)
            if mnemonic == "mov" and field and field.size == 8:
                mnemonic = "movabs"
            ks.append(text)
            expect.append(text)
            if field:
                fields.append(field)
        else:
            raise Refusal("unsupported operand")
    head = " ".join((*core.prefixes, mnemonic))
    request = f"{mode} {head} {', '.join(ks)}".rstrip()
    return Plan(request, f"{head} {', '.join(expect)}".rstrip(), tuple(fields))


def memory(mode: Mode, core: Core, mem: Mem, size: int) -> tuple[str, str, Field | None]:
    word = mem.size or (0 if core.mnemonic in UNSIZED or core.operands[0] is None else size)
    head = f"{SIZE_WORDS[word]} ptr " if word else ""
    if mem.segment:
        head += mem.segment + ":"
    parts = []
    if mem.base is not None:
        parts.append(mem.base.name)
    if mem.index is not None:
        parts.append(f"{mem.index.name}*{mem.scale}" if mem.scale > 1 else mem.index.name)
    width, kind = displacement(mode, mem)
    field = None
    ks_parts = list(parts)
    if width:
        field = Field(width, kind, mem.disp)
        parts.append(hex(DISP[width]))
        ks_parts.append(hex(DISP[width]))
        if len(parts) == 1 and mode == 64:
            ks_parts.insert(0, "riz*1")
    return f"{head}[{' + '.join(ks_parts)}]{mem.mask}", f"{head}[{' + '.join(parts)}]{mem.mask}", field


def displacement(mode: Mode, mem: Mem) -> tuple[int, FieldKind]:
    disp = mem.disp
    base = mem.base
    kind: FieldKind = "signed" if mode == 64 else "either"
    if base is not None and base.kind == "ip":
        return 4, "pcrel" if isinstance(disp, Expr) else "signed"
    if base is None or isinstance(disp, Expr):
        return 4, kind
    if disp == 0 and base.number & 7 != 5:
        return 0, kind
    if disp == 0:
        return 0, kind
    if -128 <= disp < 128:
        return 1, "signed"
    if not (-(1 << 31) <= disp < 1 << 31):
        raise Refusal(f"displacement {disp:#x} does not fit 32 bits", "a signed 32-bit displacement")
    return 4, kind


def immediate(mode: Mode, core: Core, imm: Imm, size: int) -> tuple[str, Field | None]:
    value = imm.value
    name = core.mnemonic
    width = 1
    kind: FieldKind = "either"
    size = size or 4
    if name in ARITHMETIC or name in FULL:
        width = min(size, 4)
        kind = "signed" if size == 8 else "either"
        if size > 1 and name in ARITHMETIC and isinstance(value, int):
            short = value & ((1 << 8 * size) - 1)
            if short >> (8 * size - 1):
                short -= 1 << 8 * size
            if -128 <= short < 128:
                width, kind = 1, "signed"
                value = short
        if name == "mov" and size == 8 and isinstance(core.operands[0], Reg) and isinstance(value, int) and not -(1 << 31) <= value < 1 << 31:
            width, kind = 8, "either"
    elif name == "movabs":
        width = 8
    elif name == "push":
        width, kind = (1, "signed") if isinstance(value, int) and -128 <= value < 128 else (4, "signed")
    elif name == "ret":
        width = 2
    elif name in SHIFTS and value == 1:
        return "1", None
    if isinstance(value, int):
        check(value, width, kind)
    return hex(PLACEHOLDER[width]), Field(width, kind, value)


def check(value: int, size: int, kind: FieldKind) -> None:
    low = 0 if kind == "unsigned" else -(1 << 8 * size - 1)
    high = 1 << (8 * size - (kind == "signed"))
    if not low <= value < high:
        raise Refusal(f"value {value:#x} does not fit {8 * size} bits")
