"""The Pixel VM's definition: opcodes, system calls, how a program stops, and the sizes of the machine.

Owns every number that engines, tools and SPEC.md share; the tables in SPEC.md are printed from here. Runs nothing.

An instruction is one RGBA pixel. Its *word* is ``opcode | operand << 8`` with a 24-bit operand; the pixel holds the
word little-endian with the last byte complemented (``ALPHA_FLIP``), so that small operands give opaque pixels.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from functools import lru_cache
from typing import NamedTuple

VERSION = 1
MASK = 0xFFFFFFFF
ALPHA_FLIP = (
    0xFF000000  # word ^ ALPHA_FLIP = the pixel as a little-endian number: R, G, B, A from its low byte
)

STACK_SLOTS = 256  # 32-bit values
FRAMES = 64  # the entry's frame among them: 63 calls deep
LOCALS = 16  # 32-bit values of each frame
CODE_MAX = 1 << 18  # instructions: 16 tiles of 128x128
MEMORY_MAX = 1 << 20  # bytes
MEMORY_STEP = 256  # a memory's size is a multiple of it
MEMORY_DEFAULT = 1 << 16
SEED_DEFAULT = 0x9E3779B9  # also stands in for the seed 0, which xorshift never leaves
OPERAND_BITS = 24
_REMEMBERED = 1 << 16  # words whose facts are looked up once
OPERAND_MAX = (1 << OPERAND_BITS) - 1


class Stop(IntEnum):
    """Why a machine does not run. From ``ILLEGAL`` on they are traps.

    ``FUEL`` and the traps leave the state as it was before the instruction at ``pc``, its fuel unspent. Where several
    apply the first of this order counts: ``ILLEGAL``, ``FUEL``, ``UNDERFLOW``, ``OVERFLOW``, then the others by their
    codes.
    """

    RUNNING = 0
    HALTED = 1
    FUEL = 2
    ILLEGAL = 16
    UNDERFLOW = 17
    OVERFLOW = 18
    DIVISION = 19
    ALIGNMENT = 20
    BOUNDS = 21
    CALLS = 22
    RETURN = 23


STOPS: dict[Stop, str] = {
    Stop.RUNNING: "it has more to do",
    Stop.HALTED: "a `halt` was executed; `pc` stays at it, `result` is its operand",
    Stop.FUEL: "the next instruction costs more fuel than is left; add fuel and resume",
    Stop.ILLEGAL: "unknown opcode, an operand outside its range, or `pc` behind the last instruction",
    Stop.UNDERFLOW: "the stack holds fewer values than the instruction takes",
    Stop.OVERFLOW: "the stack would hold more than its slots",
    Stop.DIVISION: "the divisor is zero",
    Stop.ALIGNMENT: "the address of a word is no multiple of 4",
    Stop.BOUNDS: "a byte of the access lies outside memory",
    Stop.CALLS: "all frames are in use",
    Stop.RETURN: "a return from the entry's frame",
}


class Operand(Enum):
    """What the operand of an instruction means; its value is the range that is legal."""

    NONE = "0"
    SIGNED = "-8388608 to 8388607, sign-extended"
    BYTE = "0 to 255"
    OFFSET = "0 to 16777215"
    SLOT = f"0 to {STACK_SLOTS - 1}, a place on the stack"
    LOCAL = f"0 to {LOCALS - 1}"
    TARGET = "0 to instructions - 1"
    SYSTEM = "the number of a system call"


class Op(IntEnum):
    """The opcodes: the red channel. 0x00 and 0xff are none for ever, so that erased pixels are illegal."""

    PUSH = 0x10
    HIGH = 0x11
    DUP = 0x12
    DROP = 0x13
    SWAP = 0x14
    OVER = 0x15
    ROT = 0x16
    PICK = 0x17
    ADD = 0x20
    SUB = 0x21
    MUL = 0x22
    DIVU = 0x23
    DIVS = 0x24
    REMU = 0x25
    REMS = 0x26
    AND = 0x30
    OR = 0x31
    XOR = 0x32
    SHL = 0x33
    SHR = 0x34
    SAR = 0x35
    EQ = 0x40
    NE = 0x41
    LTU = 0x42
    LTS = 0x43
    LOAD8 = 0x50
    STORE8 = 0x51
    LOAD32 = 0x52
    STORE32 = 0x53
    JUMP = 0x60
    JZ = 0x61
    JNZ = 0x62
    CALL = 0x63
    RET = 0x64
    GET = 0x70
    SET = 0x71
    SYS = 0x80
    HALT = 0x90


class Instruction(NamedTuple):
    """One row of the instruction table.

    Attributes:
        op: its opcode.
        operand: what the 24 bits mean.
        pops: values that it takes; fewer on the stack is ``UNDERFLOW``. A ``PICK`` needs its operand + 1 values, a
            ``SYS`` what its call takes.
        pushes: values that it leaves in their place.
        fuel: what it costs (``SYS``: the call's own cost).
        effect: the stack before and after, top at the right, and what it does.
        traps: what it can end in besides ``ILLEGAL``, ``FUEL`` and the two of the stack.
    """

    op: Op
    operand: Operand
    pops: int
    pushes: int
    fuel: int
    effect: str
    traps: tuple[Stop, ...] = ()

    @property
    def name(self) -> str:
        """Its mnemonic."""
        return self.op.name.lower()


class System(IntEnum):
    """The numbers of the system calls."""

    PUTC = 0
    GETC = 1
    TIME = 2
    RANDOM = 3
    SIZE = 4
    PLOT = 5
    PIXEL = 6
    SHOW = 7
    SEND = 8
    RECEIVE = 9


class SystemCall(NamedTuple):
    """One row of the table of system calls; as ``Instruction``."""

    number: System
    pops: int
    pushes: int
    fuel: int
    effect: str

    @property
    def name(self) -> str:
        """Its name in the assembler."""
        return self.number.name.lower()


_N, _DIV = Operand.NONE, (Stop.DIVISION,)
_BYTES, _WORDS = (Stop.BOUNDS,), (Stop.ALIGNMENT, Stop.BOUNDS)

INSTRUCTIONS: dict[int, Instruction] = {
    row.op: row
    for row in (
        Instruction(Op.PUSH, Operand.SIGNED, 0, 1, 1, "( -- n ) the operand"),
        Instruction(Op.HIGH, Operand.BYTE, 1, 1, 1, "( a -- b ) bits 31 to 24 of a become the operand"),
        Instruction(Op.DUP, _N, 1, 2, 1, "( a -- a a )"),
        Instruction(Op.DROP, _N, 1, 0, 1, "( a -- )"),
        Instruction(Op.SWAP, _N, 2, 2, 1, "( a b -- b a )"),
        Instruction(Op.OVER, _N, 2, 3, 1, "( a b -- a b a )"),
        Instruction(Op.ROT, _N, 3, 3, 1, "( a b c -- b c a )"),
        Instruction(
            Op.PICK, Operand.SLOT, 0, 1, 1, "( x … -- x … x ) a copy of the value that many below the top"
        ),
        Instruction(Op.ADD, _N, 2, 1, 1, "( a b -- a+b ) modulo 2^32"),
        Instruction(Op.SUB, _N, 2, 1, 1, "( a b -- a-b ) modulo 2^32"),
        Instruction(Op.MUL, _N, 2, 1, 1, "( a b -- a*b ) modulo 2^32"),
        Instruction(Op.DIVU, _N, 2, 1, 4, "( a b -- a/b ) unsigned", _DIV),
        Instruction(Op.DIVS, _N, 2, 1, 4, "( a b -- a/b ) signed, towards zero; -2^31 / -1 is -2^31", _DIV),
        Instruction(Op.REMU, _N, 2, 1, 4, "( a b -- r ) remainder, unsigned", _DIV),
        Instruction(
            Op.REMS, _N, 2, 1, 4, "( a b -- r ) remainder of divs, sign of a; -2^31 rem -1 is 0", _DIV
        ),
        Instruction(Op.AND, _N, 2, 1, 1, "( a b -- a&b )"),
        Instruction(Op.OR, _N, 2, 1, 1, "( a b -- a|b )"),
        Instruction(Op.XOR, _N, 2, 1, 1, "( a b -- a^b )"),
        Instruction(Op.SHL, _N, 2, 1, 1, "( a n -- b ) left by n modulo 32"),
        Instruction(Op.SHR, _N, 2, 1, 1, "( a n -- b ) right by n modulo 32, zeros enter"),
        Instruction(Op.SAR, _N, 2, 1, 1, "( a n -- b ) right by n modulo 32, the sign enters"),
        Instruction(Op.EQ, _N, 2, 1, 1, "( a b -- f ) 1 when equal, else 0"),
        Instruction(Op.NE, _N, 2, 1, 1, "( a b -- f ) 0 when equal, else 1"),
        Instruction(Op.LTU, _N, 2, 1, 1, "( a b -- f ) 1 when a < b unsigned, else 0"),
        Instruction(Op.LTS, _N, 2, 1, 1, "( a b -- f ) 1 when a < b signed, else 0"),
        Instruction(Op.LOAD8, Operand.OFFSET, 1, 1, 1, "( p -- b ) byte at p + operand modulo 2^32", _BYTES),
        Instruction(Op.STORE8, Operand.OFFSET, 2, 0, 1, "( p v -- ) low byte of v to p + operand", _BYTES),
        Instruction(Op.LOAD32, Operand.OFFSET, 1, 1, 1, "( p -- w ) word at p + operand modulo 2^32", _WORDS),
        Instruction(
            Op.STORE32, Operand.OFFSET, 2, 0, 1, "( p w -- ) w to p + operand, low byte first", _WORDS
        ),
        Instruction(Op.JUMP, Operand.TARGET, 0, 0, 1, "( -- ) continue at the operand"),
        Instruction(Op.JZ, Operand.TARGET, 1, 0, 1, "( f -- ) continue at the operand when f is 0"),
        Instruction(Op.JNZ, Operand.TARGET, 1, 0, 1, "( f -- ) continue at the operand when f is not 0"),
        Instruction(
            Op.CALL,
            Operand.TARGET,
            0,
            0,
            2,
            "( -- ) a new frame, its locals 0; on at the operand",
            (Stop.CALLS,),
        ),
        Instruction(Op.RET, _N, 0, 0, 1, "( -- ) drop the frame; on behind its call", (Stop.RETURN,)),
        Instruction(Op.GET, Operand.LOCAL, 0, 1, 1, "( -- v ) a local of this frame"),
        Instruction(Op.SET, Operand.LOCAL, 1, 0, 1, "( v -- ) a local of this frame"),
        Instruction(Op.SYS, Operand.SYSTEM, 0, 0, 0, "the system call of that number"),
        Instruction(Op.HALT, Operand.BYTE, 0, 0, 1, "( -- ) end; the operand is the result"),
    )
}

SYSTEM_CALLS: dict[int, SystemCall] = {
    row.number: row
    for row in (
        SystemCall(System.PUTC, 1, 0, 16, "( b -- ) low byte of b to the console"),
        SystemCall(System.GETC, 0, 1, 16, "( -- b ) next byte of the console's input; -1 when there is none"),
        SystemCall(System.TIME, 0, 1, 16, "( -- ms ) milliseconds of the host's clock modulo 2^32"),
        SystemCall(System.RANDOM, 0, 1, 8, "( -- n ) next of xorshift32 (shifts 13, 17, 5), from the seed"),
        SystemCall(System.SIZE, 0, 2, 16, "( -- w h ) of the screen, in pixels; 0 0 when there is none"),
        SystemCall(
            System.PLOT, 3, 0, 16, "( x y c -- ) pixel x, y becomes c (R in the low byte); outside: nothing"
        ),
        SystemCall(System.PIXEL, 2, 1, 16, "( x y -- c ) the pixel at x, y; 0 outside the screen"),
        SystemCall(System.SHOW, 0, 0, 64, "( -- ) the picture is complete: show it"),
        SystemCall(System.SEND, 1, 1, 64, "( w -- f ) a word to the mailbox; 1, or 0 when it is full"),
        SystemCall(
            System.RECEIVE, 0, 2, 64, "( -- w f ) a word from the mailbox and 1; 0 0 when it is empty"
        ),
    )
}


def word(op: int, operand: int = 0) -> int:
    """The word of an instruction; a negative operand is taken modulo 2^24."""
    return op | (operand & OPERAND_MAX) << 8


def signed_operand(code: int) -> int:
    """The operand of a word, sign-extended."""
    operand = code >> 8
    return operand - (1 << OPERAND_BITS) if operand >> (OPERAND_BITS - 1) else operand


@lru_cache(maxsize=_REMEMBERED)
def is_legal(code: int, instructions: int) -> bool:
    """Whether a word is an instruction of a program that is ``instructions`` long; else executing it is a trap."""
    row = INSTRUCTIONS.get(code & 0xFF)
    return row is not None and code >> 8 < operand_limit(row.operand, instructions)


def operand_limit(kind: Operand, instructions: int) -> int:
    """The operands of this kind, unsigned, are below it."""
    if kind is Operand.TARGET:
        return instructions
    return _LIMITS.get(kind, OPERAND_MAX + 1)


_LIMITS = {
    Operand.NONE: 1,
    Operand.BYTE: 256,
    Operand.SLOT: STACK_SLOTS,
    Operand.LOCAL: LOCALS,
    Operand.SYSTEM: len(System),
}


class Cost(NamedTuple):
    """What a legal word needs and does to the stack, and its fuel."""

    needs: int
    pops: int
    pushes: int
    fuel: int


@lru_cache(maxsize=_REMEMBERED)
def cost(code: int) -> Cost:
    """Needs of a legal word; ``PICK`` and ``SYS`` depend on the operand."""
    row = INSTRUCTIONS[code & 0xFF]
    if row.op is Op.SYS:
        call = SYSTEM_CALLS[code >> 8]
        return Cost(call.pops, call.pops, call.pushes, call.fuel)
    needs = (code >> 8) + 1 if row.op is Op.PICK else row.pops
    return Cost(needs, row.pops, row.pushes, row.fuel)


def next_random(seed: int) -> int:
    """The seed after one step of xorshift32, which is also the number drawn.

    G. Marsaglia, "Xorshift RNGs", Journal of Statistical Software 8 (14), 2003.
    """
    seed ^= seed << 13 & MASK
    seed ^= seed >> 17
    return seed ^ (seed << 5 & MASK)
