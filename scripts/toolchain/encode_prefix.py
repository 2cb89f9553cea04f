"""The prefixes of a statement: which go with which instruction, and where their bytes stand.

Owns lock, the repeat prefixes, segment overrides of string instructions, operand size and REX.W as words before a
mnemonic (Intel SDM vol. 2A, 2.1.1). Segment overrides inside a memory operand are ``encode_modrm``'s.
"""

from __future__ import annotations

from typing import Final

from toolchain.encode_modrm import SEGMENT_PREFIX, Refusal
from toolchain.insn import Core
from toolchain.operand_types import Mem
from toolchain.registers import word_set
from toolchain.types import Encoding, Mode

_LOCKABLE: Final = word_set(
    """add adc and btc btr bts cmpxchg cmpxchg8b cmpxchg16b dec inc neg not or sbb sub xor xadd xchg"""
)
_STRING: Final = frozenset(
    f"{name}{suffix}" for name in ("movs", "cmps", "stos", "lods", "scas", "ins", "outs") for suffix in "bwdq"
)
_FROM_MEMORY: Final = frozenset(
    f"{name}{suffix}" for name in ("movs", "cmps", "lods", "outs") for suffix in "bwdq"
)
_REPEAT: Final = {"rep": 0xF3, "repe": 0xF3, "repz": 0xF3, "repne": 0xF2, "repnz": 0xF2}
_SPELLED: Final = {"repz": "repe", "repnz": "repne"}


class Prefixes:
    """The prefixes of a statement, checked: ``lead`` before everything, ``before`` just before REX and opcode."""

    def __init__(self, mode: Mode, core: Core) -> None:
        self.lead = b""
        self.before: tuple[int, ...] = ()
        self.data = False
        self.rex_w = False
        words = []
        name = core.mnemonic
        for word in core.prefixes:
            if word in _REPEAT and (name in _STRING or name == "ret"):
                self.before += (_REPEAT[word],)
                words.append(_repeat_spelling(word, name))
            elif (
                word == "lock"
                and name in _LOCKABLE
                and any(isinstance(item, Mem) for item in core.operands[:2])
            ):
                if name != "xchg" and not isinstance(core.operands[0], Mem):
                    raise Refusal("`lock' needs a memory destination", "memory as the first operand")
                self.before += (0xF0,)
                words.append("lock")
            elif word in SEGMENT_PREFIX and name in _FROM_MEMORY:
                self.lead += b"" if word == "ds" else bytes([SEGMENT_PREFIX[word]])
            elif word == ("data32" if mode == 16 else "data16"):
                self.data = True
            elif word in ("rex.w", "rex64") and mode == 64:
                self.rex_w = True
            else:
                raise Refusal(
                    f"prefix `{word}' does not go with `{name}'", _PREFIX_USES.get(word, "no prefix")
                )
        if len(self.before) > 1 or len(self.lead) > 1:
            raise Refusal("more than one prefix of a kind", "one repeat or lock prefix")
        self.spelled = "".join(f"{word} " for word in words)


NONE: Final = Prefixes(64, Core(64, (), "", ()))
_PREFIX_USES: Final = {
    "lock": "lock only before a read-modify-write instruction on memory",
    "rep": "rep only before a string instruction",
    "repe": "repe only before a string instruction",
    "repz": "repz only before a string instruction",
    "repne": "repne only before a string instruction",
    "repnz": "repnz only before a string instruction",
}


def _repeat_spelling(word: str, name: str) -> str:
    word = _SPELLED.get(word, word)
    compares = name.startswith(("cmps", "scas"))
    return "repe" if compares and word == "rep" else "rep" if word == "repe" and not compares else word


def alone(mode: Mode, prefixes: tuple[str, ...]) -> Encoding | Refusal:
    """A statement of prefixes only, which belong to whatever follows."""
    data = b""
    for word in prefixes:
        byte = _ALONE.get(word, SEGMENT_PREFIX.get(word))
        if byte is None:
            return Refusal(f"prefix `{word}' stands alone", "an instruction behind it")
        data += bytes([byte])
    return Encoding(data)


_ALONE: Final = {
    "lock": 0xF0, "rep": 0xF3, "repe": 0xF3, "repz": 0xF3, "repne": 0xF2, "repnz": 0xF2,
}  # fmt: skip
