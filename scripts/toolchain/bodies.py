"""The bodies of macros of include files: where each line of one stands in the units, and its bytes when it is another.

Owns the index of what macros made of their lines. Answers where instructions without parameters and names become others
that take no more bytes; all else is left to whoever assembles the units.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from toolchain import nops
from toolchain.errors import InputError
from toolchain.objectfile import ObjectFile
from toolchain.pieces import Bytes, Change
from toolchain.pool import Pool
from toolchain.preprocess import Unit
from toolchain.source import LABEL, SourceFile, Statement
from toolchain.types import Encoding

_Spot = tuple[int, int, int, int]  # line in the include file, section, offset, length
_OTHER_MODES = (".code16", ".code32")


class Bodies:
    """What the macros of include files made.

    Args:
        units: the units by name, without errors.
        made: what was assembled of each; may get room later.
        pool: numbers and encodes instructions.
        stands: unit and number of a section -> where it lies, and the bytes there; None where it has none.
        moves: whether what takes fewer bytes is followed by others in a link of the whole: then it is left to that.
    """

    def __init__(
        self,
        units: Mapping[str, Unit],
        made: Mapping[str, ObjectFile],
        pool: Pool,
        stands: Callable[[str, int], Bytes | None],
        *,
        moves: bool = False,
    ) -> None:
        self._made, self._pool, self._stands, self._moves = made, pool, stands, moves
        self._mixed = {n for n, unit in units.items() if any(s.op in _OTHER_MODES for s in unit.statements)}
        self._spots: dict[str, tuple[ObjectFile, dict[str, list[_Spot]]]] = {}

    def variant(
        self, file: str, lines: Sequence[str], first: int, count: int, new: Sequence[str]
    ) -> list[Change] | None:
        """What changes in the tree when lines of a macro's body become others; None when that is not known.

        Args:
            file: the include file.
            lines: all of its lines.
            first: the first that changes, from 0.
            count: how many do.
            new: what they become.
        """
        before = SourceFile(file, "\n".join(lines[first : first + count])).statements
        after = SourceFile(file, "\n".join(new)).statements
        data = self._encoded(after) if before and _in_macro(file, lines, first, count) else None
        if data is None or not all(map(_is_plain, before)):
            return None
        numbers = [first + statement.line for statement in before]
        found: list[Change] = []
        for unit in sorted(self._made):
            for section, offset, length in self._places(unit, file, numbers):
                stands = self._stands(unit, section)
                fits = length == len(data) or (length > len(data) and not self._moves)
                if stands is None or not fits or unit in self._mixed:
                    return None
                found.append(Change(stands[0] + offset, data + nops.fill(length - len(data), 64)))
        return found

    def _encoded(self, statements: Sequence[Statement]) -> bytes | None:
        """Instructions that name nothing, as bytes."""
        numbers = []
        for statement in statements:
            if not _is_plain(statement):
                return None
            text = f"{statement.op} {statement.args}" if statement.args else statement.op
            try:
                numbers.append(self._pool.number(text, 64, _nothing, lambda one, other: None))
            except InputError:
                return None
        self._pool.flush()
        data = b""
        for number in numbers:
            made = self._pool.encodings[number]
            if not isinstance(made, Encoding) or made.short or made.fixups:
                return None
            data += made.data
        return data

    def _places(self, unit: str, file: str, numbers: Sequence[int]) -> Iterator[tuple[int, int, int]]:
        """Section, offset and length of each place where these lines stand behind each other."""
        known = self._spots.get(unit)
        if known is None or known[0] is not self._made[unit]:
            known = self._spots[unit] = (self._made[unit], _spots(self._made[unit]))
        spots = [spot for spot in known[1].get(file, ()) if spot[0] in numbers]
        for at in range(0, len(spots), len(numbers)):
            group = spots[at : at + len(numbers)]
            section, begin = group[0][1:3]
            end = group[-1][2] + group[-1][3]
            whole = sum(spot[3] for spot in group)
            if (
                [spot[0] for spot in group] != list(numbers)
                or end - begin != whole
                or group[-1][1] != section
            ):
                yield section, begin, 0  # they do not stand behind each other: too small for anything
            else:
                yield section, begin, whole


def _nothing(name: str) -> int | None:
    raise InputError(f"`{name}' is a name", stage="bodies")


def _is_plain(statement: Statement) -> bool:
    """Whether a statement is an instruction that a macro does not change."""
    op = statement.op
    return op != LABEL and op.isidentifier() and "\\" not in statement.args


def _in_macro(file: str, lines: Sequence[str], first: int, count: int) -> bool:
    """Whether some lines lie within the body of one macro that no other statement takes apart."""
    open_ = -1
    for statement in SourceFile(file, "\n".join(lines)).statements:
        if statement.op == ".macro":
            open_ = statement.line
        elif statement.op == ".endm":
            if 0 < open_ <= first and first + count < statement.line:
                return True
            open_ = -1
    return False


def _spots(made: ObjectFile) -> dict[str, list[_Spot]]:
    found: dict[str, list[_Spot]] = {}
    for number, section in enumerate(made.sections):
        for offset, length, statement, _ in section.rows:
            if statement.trail:
                row = (statement.line, number, offset, length)
                found.setdefault(statement.source.name, []).append(row)
    return found
