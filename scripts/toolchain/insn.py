"""One instruction statement, parsed: prefixes, mnemonic, operands.

Owns the statement grammar and the sharing of what was parsed. What a text means follows GNU as in
``.intel_syntax noprefix``: a name that stands for a number is an immediate, any other name is memory at that
address, ``offset name`` is the address itself, the target of a jump or call is code. It knows no opcodes: whether
the operands suit the mnemonic is ``encode``'s business.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from toolchain.expr import EvaluationError, SyntaxFault, fail
from toolchain.operand import BRANCHES, WORDS, Constants, Distance, OperandContext, parse_operand, wrap
from toolchain.operand_types import Far, Imm, Masked, Mem, Operand, Target
from toolchain.registers import BY_MODE, REGISTERS, Reg, word_set
from toolchain.types import Mode, Place

__all__ = [
    "Core", "Far", "Imm", "Insn", "Masked", "Mem", "Operand", "Reg", "Target", "parse", "register",
    "split_operands", "wrap",
]  # fmt: skip


class Core:
    """What a statement says, without its place: shared by all statements that say the same.

    ``plan`` belongs to the encoder, which keeps there what it has made of it.
    """

    __slots__ = ("mnemonic", "mode", "operands", "plan", "prefixes")

    def __init__(
        self, mode: Mode, prefixes: tuple[str, ...], mnemonic: str, operands: tuple[Operand, ...]
    ) -> None:
        self.mode = mode
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


PREFIXES: Final = word_set(
    """rep repe repz repne repnz lock es cs ss ds fs gs data16 data32 addr16 addr32 rex rex64 rex.w
    xacquire xrelease notrack bnd"""
)
_NAME = re.compile(r"'(?:\\.|[^\\])'?|(?<![\w.$])(?:\d+[bf](?![\w.$])|[A-Za-z_.$][\w.$]*)", re.ASCII)


class _Known:
    """What was parsed before, for one mode and for branches apart: an operand's text may mean other things there."""

    __slots__ = ("branch", "names", "operands", "valued")

    def __init__(self, branch: bool) -> None:
        self.branch = branch
        self.operands: dict[str, Operand] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        self.valued: dict[tuple[object, ...], Operand] = {}


_LIMIT = 1 << 16
_known: dict[tuple[Mode, bool], _Known] = {}
_cores: dict[tuple[object, ...], Core] = {}


def parse(
    text: str,
    place: Place,
    mode: Mode,
    constants: Constants,
    distance: Distance | None = None,
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
    try:
        return Insn(place, _parse(text, mode, constants, distance))
    except SyntaxFault as fault:
        fail(place, fault.message, fault.expected)
    except (EvaluationError, RecursionError) as error:
        fail(place, str(error) if isinstance(error, EvaluationError) else "expression nested too deeply")


def _parse(text: str, mode: Mode, constants: Constants, distance: Distance | None) -> Core:
    parts = text.split(None, 1)
    word = parts[0].lower() if parts else ""
    prefixes: tuple[str, ...] = ()
    while word in PREFIXES:
        prefixes += (word,)
        if len(parts) == 1:
            word = ""
            break
        parts = parts[1].split(None, 1)
        word = parts[0].lower()
    operands: list[Operand] = []
    if len(parts) > 1:
        branch = word in BRANCHES
        known = _known.get((mode, branch))
        if known is None:
            known = _known[mode, branch] = _Known(branch)
        rest = parts[1]
        plain = "'" not in rest and "(" not in rest and "{" not in rest
        for piece in rest.split(",") if plain else split_operands(rest):
            piece = piece.strip()
            operand = known.operands.get(piece)
            operands.append(operand or _operand(piece, mode, known, constants, distance))
    key = (mode, prefixes, word, *operands)
    core = _cores.get(key)
    if core is None:
        if len(_cores) > _LIMIT:
            _cores.clear()
            _known.clear()
        core = _cores[key] = _new(text, mode, prefixes, word, operands)
    return core


def _new(text: str, mode: Mode, prefixes: tuple[str, ...], word: str, operands: list[Operand]) -> Core:
    if not (word.replace(".", "").replace("_", "").isalnum() and word.isascii() and word[0].isalpha()) and (
        word or not prefixes
    ):
        raise SyntaxFault(f"`{text.strip()}' is not an instruction", "a mnemonic and its operands")
    if len(operands) == 2 and isinstance(operands[0], Target) and isinstance(operands[1], Target):
        # `ljmp selector, offset` and `jmp selector, offset` are one far pointer.
        operands = [Far(operands[0].value, operands[1].value)]
    return Core(mode, prefixes, word, tuple(operands))


def _operand(
    piece: str, mode: Mode, known: _Known, constants: Constants, distance: Distance | None
) -> Operand:
    """An operand that is not known by its text alone: it is new, or names in it have values."""
    names = known.names.get(piece)
    if names is None:
        if not piece:
            raise SyntaxFault("an operand is missing", "an operand on each side of a comma")
        names = tuple(
            name
            for name in dict.fromkeys(_NAME.findall(piece))
            if name[0] != "'" and name != "." and name.lower() not in REGISTERS and name.lower() not in WORDS
        )
        known.names[piece] = names
        if len(known.names) > _LIMIT:
            _known.clear()
    if not names:
        operand = parse_operand(piece, OperandContext(mode, known.branch, constants, distance))
        known.operands[piece] = operand
        return operand
    values = tuple([constants(name) for name in names])
    key: tuple[object, ...] = (piece, values)
    if distance is not None and len(names) > 1 and None in values and "-" in piece:
        distances = {(a, b): distance(a, b) for a in names for b in names if a != b}
        key = (piece, values, *distances.values())
    operand = known.valued.get(key)  # type: ignore[assignment]
    if operand is None:
        if len(known.valued) > _LIMIT:
            known.valued.clear()
        folded = dict(zip(names, values, strict=True))
        operand = parse_operand(piece, OperandContext(mode, known.branch, folded.get, distance))
        known.valued[key] = operand
    return operand


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
    if not all(pieces):
        raise SyntaxFault("an operand is missing", "an operand on each side of a comma")
    return pieces


def register(name: str, mode: Mode) -> Reg | None:
    """The register that ``name`` (any case, ``%`` allowed) is in ``mode``, or None."""
    return BY_MODE[mode].get(name.lower().lstrip("%"))
