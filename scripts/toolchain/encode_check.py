"""Whether what the decoder reads is what the statement said.

Owns the comparison and the list of spellings that mean the same. Both texts are one instruction in Capstone's
style; the statement's has the marks of ``encode_modrm`` for numbers. A difference that is not listed here is an
error: that is what catches an encoder that is silently wrong.
"""

from __future__ import annotations

import re
from typing import Final

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
jmp ljmp
call lcall
retf lret
ret retq
leave leaveq
movabs mov
movsxd movsx
"""
_CANONICAL: Final = {
    name: line.split()[0] for line in _SYNONYMS.splitlines() if line for name in line.split()[1:]
}
_SIZE: Final = re.compile(r"(?:(?:byte|word|dword|fword|qword|tbyte|xmmword|ymmword|zmmword) )?ptr ")
_PREFIXES: Final = frozenset(["lock", "rep", "repe", "repne", "notrack", "bnd", "xacquire", "xrelease"])
_COMMUTATIVE: Final = frozenset(["test", "xchg"])


def agrees(expect: str, decoded: str) -> bool:
    """Whether ``decoded`` says the same as ``expect``."""
    if expect == decoded:
        return True
    if not decoded:
        return False
    said_prefixes, said, said_operands = _split(expect)
    read_prefixes, read, read_operands = _split(decoded)
    if said_prefixes != read_prefixes or said != read:
        return False
    if not said_operands:
        return True  # an instruction without operands has no choice; the decoder spells the implicit ones
    said_operands = [operand.replace(" {", "{") for operand in said_operands]
    read_operands = [operand.replace(" {", "{") for operand in read_operands]
    if len(said_operands) != len(read_operands):
        return _implicit(said, said_operands, read_operands)
    if _same(said_operands, read_operands):
        return True
    return said in _COMMUTATIVE and _same(said_operands[::-1], read_operands)


def _same(said: list[str], read: list[str]) -> bool:
    return all(a == b or ("ptr" not in a and a == _SIZE.sub("", b)) for a, b in zip(said, read, strict=True))


def _implicit(name: str, said: list[str], read: list[str]) -> bool:
    """Operands that one side spells and the other leaves out."""
    if name[0] == "f":
        return [item for item in said if item != "st(0)"] == [item for item in read if item != "st(0)"]
    return [*said, "1"] == read


def _split(text: str) -> tuple[list[str], str, list[str]]:
    words = text.split(" ")
    prefixes = []
    while words and words[0] in _PREFIXES:
        prefixes.append(words.pop(0))
    name = words[0] if words else ""
    rest = " ".join(words[1:])
    return prefixes, _CANONICAL.get(name, name), rest.split(", ") if rest else []
