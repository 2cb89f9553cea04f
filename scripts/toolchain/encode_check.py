"""Whether what the decoder reads is what the statement said.

Owns the comparison and the list of spellings that mean the same. Both texts are one instruction in Capstone's
style; the statement's has the marks of ``encode_modrm`` for numbers. A difference that is not listed here is an
error: that is what catches an encoder that is silently wrong.
"""

from __future__ import annotations

import re
from typing import Final

from toolchain.registers import word_set

# Spellings of one instruction; each line begins with the one that Capstone uses.
_SYNONYMS: Final = """
setae setnb setnc
setb setc setnae
sete setz
setne setnz
setbe setna
seta setnbe
setp setpe
setnp setpo
setl setnge
setge setnl
setle setng
setg setnle
cmovae cmovnb cmovnc
cmovb cmovc cmovnae
cmove cmovz
cmovne cmovnz
cmovbe cmovna
cmova cmovnbe
cmovp cmovpe
cmovnp cmovpo
cmovl cmovnge
cmovge cmovnl
cmovle cmovng
cmovg cmovnle
shl sal
wait fwait
popal popad
popaw popa
pushal pushad
pushaw pusha
retf lret
ret retq
leave leaveq
movabs mov
movsxd movsx
fcompi fcomip
fucompi fucomip
movq movd
vmovq vmovd
"""
_CANONICAL: Final = {
    name: line.split()[0] for line in _SYNONYMS.splitlines() if line for name in line.split()[1:]
}
# The table's word for bytes that Capstone cannot read.
UNREADABLE: Final = "~"
_SIZE: Final = re.compile(r"(?:(?:byte|word|dword|fword|qword|tbyte|xmmword|ymmword|zmmword) )?ptr ")
# Instructions on which a named memory size has no bearing: the decoder may name another.
SIZELESS: Final = word_set(
    """lea ljmp lcall lgdt lidt sgdt sidt clflush clflushopt clwb cldemote invlpg prefetch prefetchw prefetchnta
    prefetcht0 prefetcht1 prefetcht2 prefetchwt1 clrssbsy rstorssp comisd fxsave fxrstor"""
)
# Instructions whose general register reads the same with 32 and 64 bits.
_NARROW: Final = word_set(
    """extractps movmskpd movmskps pextrb pextrw pmovmskb pinsrb pinsrw vextractps vmovmskpd vmovmskps vpextrb vpextrw
    vpmovmskb vpinsrb vpinsrw"""
)
_IMPLIED: Final = ("1", "cl", "xmm0")
_PREFIXES: Final = frozenset(["lock", "rep", "repe", "repne", "notrack", "bnd", "xacquire", "xrelease"])
_COMMUTATIVE: Final = frozenset(["test", "xchg"])


def synonyms() -> list[str]:
    """Every mnemonic that has another spelling, and those spellings."""
    return _SYNONYMS.split()


def agrees(expect: str, decoded: str) -> bool:
    """Whether ``decoded`` says the same as ``expect``."""
    if expect in (decoded, UNREADABLE):
        return True
    if not decoded:
        return False
    if decoded.startswith("wait; fn") and expect.startswith("f"):
        return agrees("fn" + expect[1:], decoded[6:])
    said_prefixes, said, said_operands = _split(expect)
    read_prefixes, read, read_operands = _split(decoded)
    if said_prefixes != read_prefixes or said != read:
        return False
    if not said_operands:
        return True  # an instruction without operands has no choice; the decoder spells the implicit ones
    if len(said_operands) == 1 and ":0x" in said_operands[0]:
        read_operands = [":".join(read_operands)]
    if len(said_operands) == len(read_operands):
        if _same(said, said_operands, read_operands):
            return True
        return said in _COMMUTATIVE and _same(said, said_operands[::-1], read_operands)
    if said[0] == "f":
        return [item for item in said_operands if item != "st(0)"] == [
            item for item in read_operands if item != "st(0)"
        ]
    if said in ("rcl", "rcr") and said_operands[-1] == "1":
        return _same(said, said_operands[:-1], read_operands)
    if len(said_operands) + 1 != len(read_operands):
        return False
    if said == "imul":
        return _same(said, [said_operands[0], *said_operands], read_operands)
    return read_operands[-1] in _IMPLIED and _same(said, said_operands, read_operands[:-1])


def _same(name: str, said: list[str], read: list[str]) -> bool:
    if len(said) != len(read):
        return False
    for a, b in zip(said, read, strict=True):
        if a == b:
            continue
        bare_a, bare_b = _SIZE.sub("", a), _SIZE.sub("", b)
        if bare_a == bare_b and ("ptr" not in a or b.startswith("ptr ") or name in SIZELESS):
            continue
        if name in _NARROW and a in _WIDE and _WIDE[a] == b:
            continue
        return False
    return True


_WIDE: Final = {
    **{f"r{name}": f"e{name}" for name in ("ax", "cx", "dx", "bx", "sp", "bp", "si", "di")},
    **{f"r{number}": f"r{number}d" for number in range(8, 16)},
}


def _split(text: str) -> tuple[list[str], str, list[str]]:
    words = text.split(" ")
    prefixes = []
    while words and words[0] in _PREFIXES:
        prefixes.append(words.pop(0))
    name = words[0] if words else ""
    rest = " ".join(words[1:])
    rest = rest.replace(" {", "{").replace("xword ptr", "tbyte ptr")
    if name in ("jmp", "call") and rest.startswith("ptr "):
        name = f"l{name}"  # Capstone's way to say far
    return prefixes, _CANONICAL.get(name, name), rest.split(", ") if rest else []
