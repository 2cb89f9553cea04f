"""Direct jumps and calls: bytes that depend on nothing but the mnemonic and the mode.

Owns their opcodes (Intel SDM vol. 2, Jcc, JMP, CALL, LOOP, JRCXZ, XBEGIN). Keystone is not asked: it knows no labels,
and what it makes of a number is off by the instruction's place.
"""

from __future__ import annotations

from typing import Final

from toolchain.encode_modrm import Refusal
from toolchain.expr import Expr, number
from toolchain.operand_types import Target
from toolchain.types import Encoding, Fixup, Mode

_CONDITIONS: Final = (
    "o", "no", "b c nae", "ae nb nc", "e z", "ne nz", "be na", "a nbe", "s", "ns", "p pe", "np po", "l nge",
    "ge nl", "le ng", "g nle",
)  # fmt: skip
# Mnemonic -> (opcode of the long form, opcode of the short form), "" for none.
_OPCODES: Final = {
    "jmp": (b"\xe9", b"\xeb"),
    "call": (b"\xe8", b""),
    "xbegin": (b"\xc7\xf8", b""),
    "loop": (b"", b"\xe2"),
    "loope": (b"", b"\xe1"),
    "loopz": (b"", b"\xe1"),
    "loopne": (b"", b"\xe0"),
    "loopnz": (b"", b"\xe0"),
    **{
        f"j{name}": (bytes([0x0F, 0x80 + code]), bytes([0x70 + code]))
        for code, names in enumerate(_CONDITIONS)
        for name in names.split()
    },
}
# Which address size tests which counter; another than the mode's own needs the prefix 67.
_COUNTERS: Final = {
    ("jcxz", 16): b"\xe3", ("jecxz", 16): b"\x67\xe3", ("jecxz", 32): b"\xe3", ("jcxz", 32): b"\x67\xe3",
    ("jrcxz", 64): b"\xe3", ("jecxz", 64): b"\x67\xe3",
}  # fmt: skip


def mnemonics() -> list[str]:
    """All direct branches."""
    return [*_OPCODES, *(name for name, _ in _COUNTERS)]


def encode(mode: Mode, mnemonic: str, prefixes: tuple[str, ...], target: Target) -> Encoding:
    """The long form, with the two-byte form as ``short`` where the linker may choose.

    Raises:
        Refusal: when the mnemonic has no direct form in ``mode``, or its target cannot be reached by it.
    """
    if prefixes:
        raise Refusal(f"prefix `{prefixes[0]}' before a direct jump or call is not supported", "no prefix")
    value = target.value
    operand = value if isinstance(value, Expr) else number(value)
    long, short = _OPCODES.get(mnemonic) or (b"", _COUNTERS.get((mnemonic, mode), b""))
    if not long and not short:
        raise Refusal(
            f"`{mnemonic}' takes no direct target in {mode}-bit code", "a jump or call of this mode"
        )
    if not long:
        if not isinstance(value, Expr):
            raise Refusal(f"`{mnemonic}' cannot be sure to reach an absolute address", "a label near by")
        return Encoding(short + b"\0", (Fixup(len(short), 1, "pcrel", operand),))
    width = 2 if mode == 16 else 4
    brief = None
    if short and isinstance(value, Expr):
        brief = Encoding(short + b"\0", (Fixup(1, 1, "pcrel", operand),))
    return Encoding(long + bytes(width), (Fixup(len(long), width, "pcrel", operand),), brief)
