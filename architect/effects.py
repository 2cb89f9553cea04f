"""What one statement reads, writes and does to control flow and stack, from its source text (Intel SDM vol. 2).

Owns the table of instruction effects, as far as ranking suspicions needs it: general registers by their 64-bit
names, flags, memory operands, stack depth, the kind of branch. It never encodes anything and never decides
whether a program is right; what it does not know it reports as ``opaque`` (may read and write anything).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from architect.statements import Statement, is_symbol, tokens
from toolchain import headers
from toolchain.expr import literal

Flow = Literal["next", "jump", "branch", "call", "return", "stop"]

ALL = frozenset(headers.GENERAL)
FLAGS = "flags"
CONDITIONS = (
    "o no b nb c nc ae nae z nz e ne be nbe a na s ns p np pe po l nl ge nge le nle g ng".split()  # noqa: SIM905
)
CONDITION_JUMPS = frozenset(f"j{c}" for c in CONDITIONS) | {"jcxz", "jecxz", "jrcxz"}
_LOOPS = frozenset({"loop", "loope", "loopne", "loopz", "loopnz"})
_RETURNS = frozenset(
    {"ret", "retq", "lret", "retf", "retfq", "iret", "iretd", "iretq", "sysret", "sysretq", "sysretl"}
)
_READ_FIRST = frozenset(
    {"cmp", "test", "push", "pushq", "bt", "out", "lgdt", "lidt", "ltr", "lldt", "lmsw", "invlpg", "invpcid",
     "fxrstor", "ldmxcsr", "xrstor", "clflush", "clflushopt", "clwb", "verr", "verw", "prefetcht0", "prefetchnta",
     "prefetchw", "nop", "int", "comisd", "comiss", "ucomisd", "ucomiss", "ptest", "wrfsbase", "wrgsbase"}
)  # fmt: skip
_WRITE_FIRST = frozenset(
    {"mov", "movabs", "movzx", "movsx", "movsxd", "lea", "pop", "popq", "in", "bsf", "bsr", "tzcnt", "lzcnt",
     "popcnt", "rdrand", "rdseed", "sgdt", "sidt", "str", "sldt", "smsw", "movd", "movq", "movaps", "movups",
     "movdqa", "movdqu", "movapd", "movnti", "movntdq", "movntps", "stmxcsr", "fxsave", "xsave", "lsl", "lar",
     "rdfsbase", "rdgsbase", "rdpid", "movbe", "rorx", "sarx", "shlx", "shrx", "andn", "bextr", "cvttsd2si"}
) | frozenset(f"set{c}" for c in CONDITIONS)  # fmt: skip
_BOTH = frozenset({"xchg", "xadd"})
_KEEPS_FLAGS = frozenset(
    {"mov", "movabs", "movzx", "movsx", "movsxd", "lea", "pop", "push", "in", "out", "xchg", "not", "bswap", "call",
     "cli", "sti", "nop", "pause", "hlt", "lgdt", "lidt", "ltr", "invlpg", "rdmsr", "wrmsr", "rdtsc", "rdtscp",
     "cpuid", "mfence", "sfence", "lfence", "wbinvd", "cqo", "cdq", "cdqe", "cbw", "cwde", "cwd", "swapgs", "leave",
     "stosb", "stosw", "stosd", "stosq", "movsb", "movsw", "movsd", "movsq", "lodsb", "lodsw", "lodsd", "lodsq",
     "pusha", "pushaw", "pushad", "popa", "popaw", "popad",
     "cld", "std", "ret", "jmp", "movaps", "movups", "movdqa", "movdqu", "movq", "movd", "clts", "fninit", "int3"}
) | frozenset(f"{p}{c}" for p in ("set", "cmov", "j") for c in CONDITIONS)  # fmt: skip
_READS_FLAGS = frozenset(f"{p}{c}" for p in ("set", "cmov", "j") for c in CONDITIONS) | frozenset(
    {"adc", "sbb", "rcl", "rcr", "cmc", "lahf", "pushf", "pushfq", "pushfd", "loope", "loopne", "salc"}
)
# mnemonic without operands (or with implicit ones besides) -> registers read, registers written
_IMPLICIT: dict[str, tuple[str, str]] = {
    "cpuid": ("rax rcx", "rax rbx rcx rdx"), "rdmsr": ("rcx", "rax rdx"), "wrmsr": ("rcx rax rdx", ""),
    "rdtsc": ("", "rax rdx"), "rdtscp": ("", "rax rdx rcx"), "xgetbv": ("rcx", "rax rdx"),
    "xsetbv": ("rcx rax rdx", ""), "cqo": ("rax", "rdx"), "cdq": ("rax", "rdx"), "cwd": ("rax", "rdx"),
    "cdqe": ("rax", "rax"), "cwde": ("rax", "rax"), "cbw": ("rax", "rax"), "lahf": ("", "rax"), "sahf": ("rax", ""),
    "leave": ("rbp", "rbp"), "syscall": ("", "rcx r11"), "monitor": ("rax rcx rdx", ""), "mwait": ("rax rcx", ""),
    "cmpxchg": ("rax", "rax"), "cmpxchg8b": ("rax rbx rcx rdx", "rax rdx"), "rdpmc": ("rcx", "rax rdx"),
    "cmpxchg16b": ("rax rbx rcx rdx", "rax rdx"), "sysretq": ("rcx r11", ""), "sysret": ("rcx r11", ""),
    "div": ("rax rdx", "rax rdx"), "idiv": ("rax rdx", "rax rdx"), "mul": ("rax", "rax rdx"),
}  # fmt: skip
_ALL_OF_THEM = "rax rcx rdx rbx rbp rsi rdi"  # what PUSHA and POPA move besides the stack pointer
_IMPLICIT |= {f"pusha{w}": (_ALL_OF_THEM, "") for w in ("", "w", "d")}
_IMPLICIT |= {f"popa{w}": ("", _ALL_OF_THEM) for w in ("", "w", "d")}
_STRING = {"movs": ("rsi rdi", "rsi rdi"), "stos": ("rax rdi", "rdi"), "lods": ("rsi", "rax rsi"),
           "scas": ("rax rdi", "rdi"), "cmps": ("rsi rdi", "rsi rdi"), "ins": ("rdx rdi", "rdi"),
           "outs": ("rdx rsi", "rsi")}  # fmt: skip
_STRING_NAME = re.compile(r"(movs|stos|lods|scas|cmps|ins|outs)[bwdq]$")
_STOPS = frozenset({"ud2", "hlt"})
_MODIFY = frozenset(
    {"add", "sub", "and", "or", "xor", "inc", "dec", "neg", "not", "shl", "shr", "sar", "sal", "rol", "ror", "imul",
     "call", "jmp", "ljmp", "btr", "bts", "btc", "adc", "sbb", "bswap", "shld", "shrd", "int3", "ud2", "iretq", "rcl",
     "rcr"}
)  # fmt: skip
_ALL_PUSHED = {f"{verb}a{w}": count for verb, count in (("push", 8), ("pop", -8)) for w in ("", "w", "d")}
# Flags that these leave alone stay as they were.
_SOME_FLAGS = frozenset(
    {"clc", "stc", "cmc", "bt", "bts", "btr", "btc", "inc", "dec", "rol", "ror", "rcl", "rcr"}
)
# Every mnemonic that the tables know, for those who look for a misspelt one.
MNEMONICS = (
    frozenset(_IMPLICIT) | _KEEPS_FLAGS | _READ_FIRST | _READS_FLAGS | _WRITE_FIRST | _RETURNS | _MODIFY
    | _BOTH | _LOOPS | _SOME_FLAGS | CONDITION_JUMPS | {"popf", "popfd", "popfq"}
    | {name + width for name in _STRING for width in "bwdq"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Effects:
    """What a statement does.

    Attributes:
        reads: general registers (64-bit names) and ``"flags"``.
        writes: the same.
        merges: those of ``writes`` whose other bits stay (a write of 8 or 16 bits, a conditional move).
        loads: memory operands that are read, as written.
        stores: memory operands that are written.
        flow: where execution goes next.
        target: the symbol of a direct jump or call, else None.
        stack: bytes pushed (negative: popped), None when not known.
        opaque: not in the table; may do anything.
    """

    reads: frozenset[str] = frozenset()
    writes: frozenset[str] = frozenset()
    merges: frozenset[str] = frozenset()
    loads: tuple[str, ...] = ()
    stores: tuple[str, ...] = ()
    flow: Flow = "next"
    target: str | None = None
    stack: int | None = 0
    opaque: bool = False


@lru_cache(maxsize=1 << 14)
def registers_in(text: str) -> frozenset[str]:
    """The general registers that an operand names, by their 64-bit names."""
    found = (headers.full_register(t.text) for t in tokens(text))
    return frozenset(r for r in found if r)


def is_memory(operand: str) -> bool:
    """True for a memory operand in brackets."""
    return "[" in operand


def effects(statement: Statement, routines: Mapping[str, headers.Routine] | None = None) -> Effects:
    """The effects of one statement; ``routines`` (name -> header) tell what a call takes and changes."""
    if statement.kind in ("blank", "label", "directive"):
        return Effects()
    if statement.kind == "macro":
        read = frozenset().union(*(registers_in(o.text) for o in statement.operands))
        return Effects(reads=read, opaque=True, stack=None)
    name = statement.name
    operands = [o.text for o in statement.operands]
    flow = _control(name, operands, routines or {})
    if flow is not None:
        return flow
    return _plain(statement.prefix, name, tuple(operands), 8 if statement.mode == 64 else statement.mode // 8)


def _control(name: str, operands: list[str], routines: Mapping[str, headers.Routine]) -> Effects | None:
    target = operands[0].strip() if len(operands) == 1 and is_symbol(operands[0].strip()) else None
    if operands and target is None and re.fullmatch(r"\d+[bf]", operands[0].strip()):
        target = operands[0].strip()
    used = registers_in(operands[0]) if operands else frozenset()
    if name == "call":
        header = routines.get(target or "")
        if header is None:
            return Effects(reads=ALL, writes=frozenset({FLAGS}), flow="call", target=target, opaque=True)
        taken = {headers.full_register(slot.register) for slot in header.inputs}
        return Effects(
            reads=used | frozenset(r for r in taken if r),
            writes=header.may_change() | {FLAGS},
            flow="call",
            target=target,
        )
    if name in CONDITION_JUMPS or name in _LOOPS:
        counts = name in _LOOPS or name.endswith("cxz")
        reads = frozenset({"rcx"}) if counts else frozenset({FLAGS})
        writes = frozenset({"rcx"}) if name in _LOOPS else frozenset()
        return Effects(reads=reads, writes=writes, flow="branch", target=target)
    if name in ("jmp", "ljmp"):
        return Effects(reads=used, flow="jump", target=target, opaque=target is None)
    if name in _RETURNS:
        return Effects(flow="return", reads=registers_in(" ".join(operands)))
    return None


@lru_cache(maxsize=1 << 14)
def _plain(prefix: str, name: str, operands: tuple[str, ...], word: int) -> Effects:
    reads: set[str] = set()
    writes: set[str] = set()
    loads: list[str] = []
    stores: list[str] = []
    merges: set[str] = set()
    string = _STRING_NAME.match(name) if not any("xmm" in o for o in operands) else None
    if string:
        took, gave = _STRING[string[1]]
        reads |= set(took.split())
        writes |= set(gave.split())
        if prefix:
            reads.add("rcx")
            writes.add("rcx")
        loads = ["[rsi]"] if "rsi" in reads else []
        stores = ["[rdi]"] if string[1] in ("movs", "stos", "ins") else []
    if name in _IMPLICIT:
        took, gave = _IMPLICIT[name]
        reads |= set(took.split())
        writes |= set(gave.split())
    elif name == "imul" and len(operands) == 1:
        reads.add("rax")
        writes |= {"rax", "rdx"}
    zeroing = name in ("xor", "sub", "pxor") and len(operands) == 2 and operands[0] == operands[1]
    for index, operand in enumerate(operands):
        written = _writes_operand(name, index, len(operands))
        read = not zeroing and _reads_operand(name, index, len(operands))
        if is_memory(operand):
            reads |= registers_in(operand)
            if name != "lea":
                loads += [operand] if read else []
                stores += [operand] if written else []
            continue
        full = headers.full_register(operand)
        if full is None:
            reads |= registers_in(operand)
            continue
        narrow = (headers.register_bits(operand) or 64) < 32
        if written:
            writes.add(full)
        if written and not read and narrow:
            merges.add(full)
        if read:
            reads.add(full)
    result = Effects(
        reads=frozenset(reads) | ({FLAGS} if name in _READS_FLAGS else set()),
        writes=frozenset(writes) | (set() if name in _KEEPS_FLAGS else {FLAGS}),
        merges=frozenset(merges) | ({FLAGS} if name in _SOME_FLAGS else set()),
        loads=tuple(loads),
        stores=tuple(stores),
        flow="stop" if name in _STOPS else "next",
    )
    return replace(result, stack=_stack(name, operands, word))


def _writes_operand(name: str, index: int, count: int) -> bool:
    if name in _BOTH:
        return True
    if name in ("mul", "div", "idiv") or (name == "imul" and count == 1):
        return False
    return index == 0 and name not in _READ_FIRST


def _reads_operand(name: str, index: int, count: int) -> bool:
    if index > 0 or name in _READ_FIRST:
        return True
    return not (name in _WRITE_FIRST or (name == "imul" and count == 3))


def _stack(name: str, operands: Sequence[str], word: int) -> int | None:
    if name in ("push", "pushq", "pushf", "pushfq", "pushfd"):
        return word
    if name in ("pop", "popq", "popf", "popfq", "popfd"):
        return -word
    if name in _ALL_PUSHED:
        return _ALL_PUSHED[name] * (2 if name.endswith("w") else word)
    if operands and headers.full_register(operands[0]) == "rsp":
        amount = operands[1] if len(operands) > 1 else ""
        if name in ("sub", "add") and re.fullmatch(r"0x[0-9a-fA-F]+|\d+", amount):
            count = literal(amount)
            return None if count is None else count * (1 if name == "sub" else -1)
        if name not in _READ_FIRST:
            return None
    return None if name in ("leave", "enter") else 0
