"""Every form of instruction in translated code, byte for byte as the toolchain's encoder has it."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from pixelvm.x86 import context, encode
from pixelvm.x86.encode import NONE, Mem
from toolchain import single
from toolchain.encode import Encoder
from toolchain.source import SourceFile

LETTERS = ("a", "c", "d", "b")
POINTERS = ("sp", "bp", "si", "di")
NEW = range(8, 16)
NAMES = [*(f"e{c}x" for c in LETTERS), *(f"e{p}" for p in POINTERS), *(f"r{n}d" for n in NEW)]
WIDE = [*(f"r{c}x" for c in LETTERS), *(f"r{p}" for p in POINTERS), *(f"r{n}" for n in NEW)]
BYTES = [*(f"{c}l" for c in LETTERS), *(f"{p}l" for p in POINTERS), *(f"r{n}b" for n in NEW)]
REGISTERS = range(16)
SOME = (encode.RAX, encode.RSI, encode.R9, encode.R13)
ALU = {
    "add": encode.ADD,
    "or": encode.OR,
    "and": encode.AND,
    "sub": encode.SUB,
    "xor": encode.XOR,
    "cmp": encode.CMP,
}
SHIFTS = {"shl": encode.SHL, "shr": encode.SHR, "sar": encode.SAR, "rol": encode.ROL, "ror": encode.ROR}
GROUP3 = {"neg": encode.NEG, "div": encode.DIV, "idiv": encode.IDIV}
CONDITIONS = {
    "b": encode.B, "ae": encode.AE, "e": encode.E, "ne": encode.NE, "be": encode.BE, "a": encode.A,
    "s": encode.S, "ns": encode.NS, "l": encode.L, "ge": encode.GE, "le": encode.LE, "g": encode.G,
}  # fmt: skip
NUMBERS = (1, -1, 127, -128, 128, 0x12345678)
DISTANCES = (0, 8, 127, -128, 128, 5688, 0x100000)
MEMS = [
    *(Mem(base, disp) for base, disp in product(REGISTERS, DISTANCES)),
    *(
        Mem(base, disp, index, scale)
        for base, disp, index, scale in product(SOME, (0, -4, 5688), REGISTERS, (0, 2))
        if index != encode.RSP
    ),
    *(Mem(NONE, disp, index, 3) for disp, index in product((0, 5688), REGISTERS) if index != encode.RSP),
    Mem(encode.RBX, 0, encode.RSI, 1),
    Mem(encode.RBX, -1024, encode.RSI),
]
FEW = [mem for at, mem in enumerate(MEMS) if at % 7 == 0]

Row = tuple[str, bytes]


def text(mem: Mem) -> str:
    parts = [] if mem.base == NONE else [WIDE[mem.base]]
    if mem.register != NONE:
        parts.append(f"{WIDE[mem.register]}*{1 << mem.scale}")
    return f"[{' + '.join(parts)} + {mem.disp}]"


def moves() -> list[Row]:
    rows = [(f"mov {NAMES[a]}, {NAMES[b]}", encode.mov(a, b)) for a, b in product(REGISTERS, REGISTERS)]
    rows += [
        (f"mov {NAMES[a]}, {n & 0xFFFFFFFF}", encode.mov_imm(a, n)) for a, n in product(REGISTERS, NUMBERS)
    ]
    for mem in MEMS:
        rows.append((f"mov r9d, dword ptr {text(mem)}", encode.load(encode.R9, mem)))
        rows.append((f"mov dword ptr {text(mem)}, ecx", encode.store(mem, encode.RCX)))
        rows.append((f"lea edx, {text(mem)}", encode.lea(encode.RDX, mem)))
    for a, mem in product(REGISTERS, FEW):
        rows.append((f"mov {NAMES[a]}, dword ptr {text(mem)}", encode.load(a, mem)))
        rows.append((f"movzx {NAMES[a]}, byte ptr {text(mem)}", encode.load_byte(a, mem)))
        rows.append((f"mov dword ptr {text(mem)}, {NAMES[a]}", encode.store(mem, a)))
        rows.append((f"mov byte ptr {text(mem)}, {BYTES[a]}", encode.store_byte(mem, a)))
    for mem in FEW:
        rows.append((f"mov dword ptr {text(mem)}, 305419896", encode.store_imm(mem, 0x12345678)))
        rows.append((f"mov byte ptr {text(mem)}, 200", encode.store_byte_imm(mem, 200)))
        rows.append((f"movups xmmword ptr {text(mem)}, xmm0", encode.store_xmm0(mem)))
    return rows


def arithmetic() -> list[Row]:
    rows: list[Row] = []
    for name, op in ALU.items():
        rows += [
            (f"{name} {NAMES[a]}, {NAMES[b]}", encode.alu(op, a, b)) for a, b in product(REGISTERS, SOME)
        ]
        rows += [
            (f"{name} {NAMES[a]}, {n}", encode.alu_imm(op, a, n)) for a, n in product(REGISTERS, NUMBERS)
        ]
        rows += [(f"{name} r10d, dword ptr {text(mem)}", encode.alu_mem(op, encode.R10, mem)) for mem in FEW]
    for name in ("add", "sub"):
        rows.append((f"{name} rsp, 64", encode.alu_imm(ALU[name], encode.RSP, 64, wide=1)))
    for a, b in product(REGISTERS, REGISTERS):
        rows.append((f"imul {NAMES[a]}, {NAMES[b]}", encode.imul(a, b)))
        rows.append((f"imul {NAMES[a]}, {NAMES[b]}, 7", encode.imul_imm(a, b, 7)))
        rows.append((f"imul {NAMES[a]}, {NAMES[b]}, 1000", encode.imul_imm(a, b, 1000)))
        rows.append((f"test {NAMES[a]}, {NAMES[b]}", encode.test(a, b)))
    rows += [(f"imul r11d, dword ptr {text(mem)}", encode.imul_mem(encode.R11, mem)) for mem in FEW]
    for (name, op), a in product(SHIFTS.items(), REGISTERS):
        rows.append((f"{name} {NAMES[a]}, cl", encode.shift_cl(op, a)))
        rows += [(f"{name} {NAMES[a]}, {n}", encode.shift_imm(op, a, n)) for n in (1, 2, 31)]
    rows += [
        (f"{name} {NAMES[a]}", encode.group3(op, a)) for (name, op), a in product(GROUP3.items(), REGISTERS)
    ]
    rows.append(("cdq", encode.cdq()))
    for name, condition in CONDITIONS.items():
        rows += [(f"set{name} al; movzx {NAMES[a]}, al", encode.set_into(condition, a)) for a in REGISTERS]
    return rows


def branches() -> list[Row]:
    rows: list[Row] = [("ret", encode.ret())]
    for mem in FEW:
        rows.append((f"jmp qword ptr {text(mem)}", encode.jump_mem(mem)))
        rows.append((f"call qword ptr {text(mem)}", encode.call_mem(mem)))
        rows.append((f"cmp rsp, qword ptr {text(mem)}", encode.cmp_wide_mem(encode.RSP, mem)))
    far = 0x1000
    for name, condition in CONDITIONS.items():
        code = encode.jump_if(condition)
        rows.append((f"j{name} . + {far + len(code) + 4}", code + far.to_bytes(4, "little")))
    rows.append((f"jmp . + {far + 5}", encode.JUMP + far.to_bytes(4, "little")))
    rows.append((f"call . + {far + 5}", encode.CALL + far.to_bytes(4, "little")))
    return rows


def assembled(source: str) -> list[bytes]:
    """The bytes of each line of a source."""
    here = single.Surroundings(Path.cwd())
    with Encoder() as encoder:
        results = single.assemble(SourceFile("forms.s", source), encoder, here)
    found = [b""] * (source.count("\n") + 1)
    for result in results:
        assert result.error is None, f"{result.text}: {result.error}"
        found[result.line - 1] += result.data
    return found


@pytest.mark.long
@pytest.mark.parametrize("rows", [moves(), arithmetic(), branches()], ids=["moves", "arithmetic", "branches"])
def test_every_form_is_what_the_toolchain_encodes(rows: list[Row]) -> None:
    found = assembled("\n".join(line for line, _ in rows))
    wrong = [
        (line, made.hex(), data.hex()) for (line, made), data in zip(rows, found, strict=True) if made != data
    ]
    assert not wrong


@pytest.mark.parametrize("name", ["ENTER", "LEAVE", "RETURNED"])
def test_the_templates_are_their_source(name: str) -> None:
    source = getattr(context, f"{name}_SOURCE")
    data = getattr(context, name if name != "RETURNED" else "RETURNED_CODE")
    assert b"".join(assembled(source)) == data
