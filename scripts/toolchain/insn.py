"""One instruction statement, parsed: prefixes, mnemonic, operands.

Owns the statement grammar and the operand types. What a text means follows GNU as in ``.intel_syntax noprefix``:
a name that stands for a number is an immediate, any other name is memory at that address, ``offset name`` is the
address itself, the target of a jump or call is code. It knows no opcodes: whether the operands suit the mnemonic is
``encode``'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final

from toolchain.expr import EvaluationError, Expr, SyntaxFault, fail, signed64
from toolchain.registers import BY_MODE, REGISTERS, Reg
from toolchain.types import Mode, Place

__all__ = ["Far", "Imm", "Insn", "Mem", "Operand", "Reg", "Target", "parse", "split_operands"]

Constants = Callable[[str], "int | None"]
Value = "int | Expr"


class Imm:
    """An immediate. ``value`` is signed 64-bit when it is a number, else an expression with names."""

    __slots__ = ("value",)

    def __init__(self, value: int | Expr) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Imm({self.value})"


class Mem:
    """A memory operand.

    Attributes:
        size: bytes named by ``... ptr`` (0 for ``far ptr``), None when the source names none.
        segment: ``"gs"`` and so on, None when none is named.
        base: a register, ``rip``/``eip`` included, or None.
        index: a register or None.
        scale: 1, 2, 4 or 8.
        disp: signed 64-bit displacement, or an expression with names.
        keyword: the size word as written (``"qword"``, ``"xmmword"``, ``"near"``), "" when none.
        mask: AVX-512 decorations as written (``{k1}{z}``), "" when none.
    """

    __slots__ = ("base", "disp", "index", "keyword", "mask", "scale", "segment", "size")

    def __init__(
        self,
        size: int | None = None,
        segment: str | None = None,
        base: Reg | None = None,
        index: Reg | None = None,
        scale: int = 1,
        disp: int | Expr = 0,
        keyword: str = "",
        mask: str = "",
    ) -> None:
        self.size = size
        self.segment = segment
        self.base = base
        self.index = index
        self.scale = scale
        self.disp = disp
        self.keyword = keyword
        self.mask = mask

    def __repr__(self) -> str:
        return (
            f"Mem({self.keyword} {self.segment}:[{self.base} + {self.index}*{self.scale} + {self.disp}]{self.mask})"
        )


class Target:
    """The destination of a direct jump or call: an absolute address, or an expression with names."""

    __slots__ = ("value",)

    def __init__(self, value: int | Expr) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Target({self.value})"


class Far:
    """``selector:offset`` of a far jump or call."""

    __slots__ = ("offset", "selector")

    def __init__(self, selector: int | Expr, offset: int | Expr) -> None:
        self.selector = selector
        self.offset = offset

    def __repr__(self) -> str:
        return f"Far({self.selector}:{self.offset})"


class Masked:
    """A vector register with AVX-512 decorations (``zmm0{k1}{z}``), or a rounding mode alone (``{rn-sae}``)."""

    __slots__ = ("mask", "reg")

    def __init__(self, reg: Reg | None, mask: str) -> None:
        self.reg = reg
        self.mask = mask

    def __repr__(self) -> str:
        return f"Masked({self.reg}{self.mask})"


Operand = Reg | Imm | Mem | Target | Far | Masked


class Core:
    """What a statement says, without its place: shared by all statements of the same text and constants.

    ``plan`` belongs to the encoder, which keeps there what it has worked out per mode.
    """

    __slots__ = ("mnemonic", "operands", "plan", "prefixes")

    def __init__(self, prefixes: tuple[str, ...], mnemonic: str, operands: tuple[Operand, ...]) -> None:
        self.prefixes = prefixes
        self.mnemonic = mnemonic
        self.operands = operands
        self.plan: object = None


class Insn:
    """A parsed instruction at its place.

    Attributes:
        place: where it stands.
        core: prefixes, mnemonic and operands (shared; do not change them).
    """

    __slots__ = ("core", "place")

    def __init__(self, place: Place, core: Core) -> None:
        self.place = place
        self.core = core

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Prefixes as written, in lower case: ``("lock",)``."""
        return self.core.prefixes

    @property
    def mnemonic(self) -> str:
        """In lower case; "" when the statement is prefixes alone."""
        return self.core.mnemonic

    @property
    def operands(self) -> tuple[Operand, ...]:
        """In the order of the source (destination first)."""
        return self.core.operands

    def __repr__(self) -> str:
        return f"Insn({' '.join((*self.prefixes, self.mnemonic))} {', '.join(map(repr, self.operands))})"


PREFIXES: Final = frozenset(
    """rep repe repz repne repnz lock es cs ss ds fs gs data16 data32 addr16 addr32 rex rex64 rex.w
    xacquire xrelease notrack bnd""".split()
)
_STATEMENT = re.compile(r"\s*([A-Za-z][A-Za-z0-9._]*)(?:\s+(\S.*?))?\s*$", re.ASCII | re.DOTALL)
_NAME = re.compile(r"'(?:\\.|[^\\])'?|(?<![\w.$])(?:\d+[bf](?![\w.$])|[A-Za-z_.$][\w.$]*)", re.ASCII)
# Words of the operand grammar that are never symbols.
WORDS: Final = frozenset(
    """byte word dword fword qword tbyte oword xmmword ymmword zmmword mmword near far ptr short offset st
    and or xor not shl shr mod eq ne lt le gt ge flat $""".split()
)
_memo: dict[tuple[object, ...], Core] = {}
_names: dict[str, tuple[str, ...]] = {}
_MEMO_LIMIT = 1 << 17


def parse(
    text: str,
    place: Place,
    mode: Mode,
    constants: Constants,
    distance: Callable[[str, str], int | None] | None = None,
) -> Insn:
    """Parse one instruction.

    Args:
        text: the statement, comments and labels already taken off.
        place: where it stands.
        mode: 16, 32 or 64: which register names exist.
        constants: the number that a name stands for here, or None (then the name is a symbol).
        distance: ``left - right`` of two labels when it is fixed already (GNU as folds such a difference at once,
            which decides the width of an immediate), else None.

    Raises:
        InputError: with one diagnostic, when the text is no instruction statement.
    """
    names = _names.get(text)
    if names is None:
        if len(_names) > _MEMO_LIMIT:
            _names.clear()
        names = _names[text] = _find_names(text)
    if not names:
        key: tuple[object, ...] = (mode, text)
    else:
        values = tuple([constants(name) for name in names])
        key = (mode, text, values)
        if distance is not None and "-" in text and None in values:
            pairs = [(a, b) for a in names for b in names if a != b]
            distances = {pair: distance(*pair) for pair in pairs}
            key = (*key, *distances.values())
            distance = lambda left, right: distances.get((left, right))  # noqa: E731
    core = _memo.get(key)
    if core is None:
        try:
            core = _parse(text, mode, constants, distance)
        except SyntaxFault as fault:
            fail(place, fault.message, fault.expected)
        except (EvaluationError, RecursionError) as error:
            fail(place, str(error) if isinstance(error, EvaluationError) else "expression nested too deeply")
        if len(_memo) > _MEMO_LIMIT:
            _memo.clear()
        _memo[key] = core
    return Insn(place, core)


def _find_names(text: str) -> tuple[str, ...]:
    """The names in ``text`` whose values may matter: no mnemonic, register or word of the grammar."""
    match = _STATEMENT.match(text)
    if match is None or match[2] is None:
        return ()
    found = dict.fromkeys(_NAME.findall(match[2]))
    return tuple(
        name
        for name in found
        if name[0] != "'" and name != "." and name.lower() not in REGISTERS and name.lower() not in WORDS
    )


def _parse(
    text: str, mode: Mode, constants: Constants, distance: Callable[[str, str], int | None] | None
) -> Core:
    from toolchain.operand import OperandContext, parse_operand  # it imports the operand types from here

    prefixes: list[str] = []
    rest: str | None = text
    while True:
        match = _STATEMENT.match(rest or "")
        if match is None:
            raise SyntaxFault(f"`{text.strip()}' is not an instruction", "a mnemonic and its operands")
        word, rest = match[1].lower(), match[2]
        if word not in PREFIXES:
            break
        prefixes.append(word)
        if rest is None:
            return Core(tuple(prefixes), "", ())
    if rest is None:
        return Core(tuple(prefixes), word, ())
    context = OperandContext(mode, word, constants, distance)
    operands = [parse_operand(piece, context) for piece in split_operands(rest)]
    if context.branch and len(operands) == 2 and all(isinstance(item, Target) for item in operands):
        # `ljmp selector, offset` and `jmp selector, offset` are one far pointer.
        operands = [Far(operands[0].value, operands[1].value)]  # type: ignore[union-attr]
    return Core(tuple(prefixes), word, tuple(operands))


def split_operands(text: str) -> Sequence[str]:
    """Cut at the commas that stand outside brackets and character constants."""
    if "'" not in text and "(" not in text and "{" not in text:
        pieces = text.split(",")
    else:
        pieces, depth, begin, at = [], 0, 0, 0
        while at < len(text):
            char = text[at]
            if char == "'":
                at += 2 if text[at + 1 : at + 2] == "\\" else 1
                if text[at + 1 : at + 2] == "'":
                    at += 1
            elif char in "([{":
                depth += 1
            elif char in ")]}":
                depth -= 1
            elif char == "," and depth <= 0:
                pieces.append(text[begin:at])
                begin = at + 1
            at += 1
        pieces.append(text[begin:])
    pieces = [piece.strip() for piece in pieces]
    for piece in pieces:
        if not piece:
            raise SyntaxFault("an operand is missing", "an operand on each side of a comma")
    return pieces


def register(name: str, mode: Mode) -> Reg | None:
    """The register that ``name`` (any case, ``%`` allowed) is in ``mode``, or None."""
    return BY_MODE[mode].get(name.lower().lstrip("%"))


def wrap(value: int) -> int:
    """A literal as GNU as holds it: signed 64-bit.

    Raises:
        SyntaxFault: when it has more than 64 bits.
    """
    if not -(1 << 63) <= value < 1 << 64:
        raise SyntaxFault(f"{value:#x} is wider than 64 bits", "a value of at most 64 bits")
    return signed64(value)
