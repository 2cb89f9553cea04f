"""One instruction statement, parsed: prefixes, mnemonic, operands.

Owns the statement grammar and the sharing of what was parsed. What a text means follows GNU as in
``.intel_syntax noprefix``: a name that stands for a number is an immediate, any other name is memory at that
address, ``offset name`` is the address itself, the target of a jump or call is code. It knows no opcodes: whether
the operands suit the mnemonic is ``encode``'s business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from toolchain.expr import EvaluationError, SyntaxFault, fail
from toolchain.operand import BRANCHES, Constants, Distance, OperandContext, parse_operand, wrap
from toolchain.operand_types import Far, Imm, Masked, Mem, Operand, Target
from toolchain.registers import BY_MODE, Reg, word_set
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


class _Known:
    """What was parsed before, for one mode and for branches apart: an operand's text may mean other things there.

    Attributes:
        operands: by text, those whose meaning depends on no name.
        names: by text, the names that the meaning of the others depends on.
        valued: by text and the values of those names.
        context: for the next operand.
    """

    __slots__ = ("context", "names", "operands", "valued")

    def __init__(self, mode: Mode, branch: bool) -> None:
        self.operands: dict[str, Operand] = {}
        self.names: dict[str, tuple[str, ...]] = {}
        self.valued: dict[tuple[object, ...], Operand] = {}
        self.context = OperandContext(mode, branch, _nothing)


def _nothing(name: str) -> int | None:
    return None


_LIMIT = 1 << 16
_known: dict[Mode, tuple[_Known, _Known]] = {}
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
        both = _known.get(mode)
        if both is None:
            both = _known[mode] = (_Known(mode, False), _Known(mode, True))
        known = both[word in BRANCHES]
        rest = parts[1]
        plain = "'" not in rest and "(" not in rest and "{" not in rest
        for piece in rest.split(",") if plain else split_operands(rest):
            piece = piece.strip()
            operand = known.operands.get(piece)
            operands.append(operand or _operand(piece, known, constants, distance))
    key = (mode, prefixes, word, *operands)
    core = _cores.get(key)
    if core is None:
        if len(_cores) > _LIMIT:
            _cores.clear()
            _known.clear()
        core = _cores[key] = _new(text, mode, prefixes, word, operands)
    return core


def _new(text: str, mode: Mode, prefixes: tuple[str, ...], word: str, operands: list[Operand]) -> Core:
    if not word.isalnum() or not word.isascii() or word[0].isdigit():
        bare = word.replace(".", "").replace("_", "")
        if (word or not prefixes) and not (bare.isalnum() and bare.isascii() and word[0].isalpha()):
            raise SyntaxFault(f"`{text.strip()}' is not an instruction", "a mnemonic and its operands")
    if len(operands) == 2 and isinstance(operands[0], Target) and isinstance(operands[1], Target):
        # `ljmp selector, offset` and `jmp selector, offset` are one far pointer.
        operands = [Far(operands[0].value, operands[1].value)]
    return Core(mode, prefixes, word, tuple(operands))


def _operand(piece: str, known: _Known, constants: Constants, distance: Distance | None) -> Operand:
    """An operand that is not known by its text alone: it is new, or names in it have values."""
    names = known.names.get(piece)
    if names is not None:
        key = _valued(piece, names, [constants(name) for name in names], distance)
        operand = known.valued.get(key)
        if operand is not None:
            return operand
    elif not piece:
        raise SyntaxFault("an operand is missing", "an operand on each side of a comma")
    asked: dict[str, int | None] = {}

    def ask(name: str) -> int | None:
        value = asked[name] = constants(name)
        return value

    context = known.context
    context.constants = ask
    context.distance = distance
    operand = parse_operand(piece, context)
    if len(known.valued) > _LIMIT or len(known.names) > _LIMIT or len(known.operands) > _LIMIT:
        _known.clear()
        _cores.clear()
    if asked:
        names = known.names[piece] = tuple(asked)
        known.valued[_valued(piece, names, list(asked.values()), distance)] = operand
    else:
        known.operands[piece] = operand
    return operand


def _valued(
    piece: str, names: tuple[str, ...], values: list[int | None], distance: Distance | None
) -> tuple[object, ...]:
    """What decides the meaning of ``piece``: the values of its names, and the distances between its labels."""
    if distance is None or len(names) == 1 or None not in values or "-" not in piece:
        return (piece, *values)
    return (piece, *values, *[distance(a, b) for a in names for b in names if a != b])


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
