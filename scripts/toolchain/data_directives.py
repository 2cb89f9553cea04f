"""Directives that put data, gaps and alignment into a section.

Owns ``.byte`` and its kin, strings, ``.skip``, ``.fill``, ``.align``, ``.org``, ``.incbin``. Values out of range are
errors (gas warns and cuts them off). Where a size depends on labels, ``relax`` settles it later.
"""

from __future__ import annotations

import struct

from toolchain import strings
from toolchain.errors import InputError
from toolchain.expr import Expr, number
from toolchain.fragment import SECTION_MAX, Align, Datum, Org, Space
from toolchain.resolve import BOUNDS, out_of_range
from toolchain.source import Statement
from toolchain.unit_state import UnitState, split

_ALIGN_POWER_MAX = 24

INTEGERS = {
    ".byte": 1, ".word": 2, ".short": 2, ".value": 2, ".hword": 2, ".2byte": 2, ".long": 4, ".int": 4, ".4byte": 4,
    ".quad": 8, ".8byte": 8, ".octa": 16,
}  # fmt: skip
_ADDRESS_MAX = 8  # bytes of the widest field that can hold an address
_FLOATS = {".float": "<f", ".single": "<f", ".double": "<d"}


class DataDirectives(UnitState):
    """Handlers, each called with its statement."""

    def integers(self, statement: Statement) -> None:
        """``.byte``, ``.long``, ``.quad`` and their kin."""
        if not statement.args:
            return
        size = INTEGERS[statement.op]
        low, high = BOUNDS["data", size]
        out = []
        fields: list[tuple[int, int, str, Expr]] = []
        for piece in split(statement.args):
            value = self.expression(piece, statement)
            if isinstance(value, int):
                if not low <= value <= high:
                    self.errors.append(out_of_range(statement, piece, "data", size, value))
                    value = 0
                out.append((value & ((1 << 8 * size) - 1)).to_bytes(size, "little"))
                continue
            if value is not None:
                if size > _ADDRESS_MAX:
                    self.fail(statement, f"`{piece}' is an address in {statement.op}", "numbers")
                else:
                    fields.append((size * len(out), size, "data", value))
            out.append(bytes(size))
        self._put(Datum(b"".join(out), statement, fields))

    def floats(self, statement: Statement) -> None:
        """``.float``, ``.double``."""
        out = b""
        for piece in split(statement.args):
            try:
                out += struct.pack(_FLOATS[statement.op], float(piece))
            except (ValueError, OverflowError):
                self.fail(statement, f"`{piece}' is no number of this size", "a decimal number such as 1.5")
        self._put(Datum(out, statement))

    def text(self, statement: Statement) -> None:
        """``.ascii``, ``.asciz``, ``.string``."""
        end = b"" if statement.op == ".ascii" else b"\0"
        out = b""
        for piece in split(statement.args):
            try:
                out += strings.parse(piece) + end
            except strings.StringFault as fault:
                self.fail(
                    statement, str(fault), 'text in quotes, escapes \\n \\t \\r \\b \\f \\\\ \\" \\ooo \\xhh'
                )
        self._put(Datum(out, statement))

    def incbin(self, statement: Statement) -> None:
        """``.incbin "file"[, skip[, count]]``."""
        pieces = split(statement.args)
        numbers = [self.known(piece, statement) for piece in pieces[1:3] if piece]
        try:
            name = strings.parse(pieces[0]).decode()
            data = self.unit.reader.binary(name, self.unit)
        except (strings.StringFault, UnicodeDecodeError) as fault:
            self.fail(statement, f".incbin: {fault}", "a file name in quotes")
            return
        except InputError as error:
            self.fail(statement, error.message)
            return
        if None in numbers:
            return
        skip = numbers[0] if numbers else 0
        count = numbers[1] if len(numbers) > 1 else len(data)
        assert skip is not None and count is not None
        if not 0 <= skip <= len(data) or count < 0:
            self.fail(statement, f".incbin: {skip} and {count} lie outside the {len(data)} bytes of the file")
            return
        self._put(Datum(data[skip : skip + count], statement))

    def known(self, text: str, statement: Statement) -> int | None:
        """A number that must be known here; None after an error."""
        value = self.expression(text, statement, settle=True)
        if isinstance(value, Expr):
            self.fail(
                statement, f"`{text}' is not known here", "constants, or labels above with nothing between"
            )
            return None
        return value

    # --- gaps ----------------------------------------------------------------------------------------------

    def skip(self, statement: Statement) -> None:
        """``.skip count[, fill]`` (also ``.space``), ``.zero count``."""
        pieces = split(statement.args)
        fill = self.known(pieces[1], statement) if len(pieces) > 1 else 0
        if fill is None or not self._operands(statement, pieces, 1, 2):
            return
        if not -128 <= fill <= 255:
            self.errors.append(out_of_range(statement, pieces[1], "either", 1, fill))
            return
        self._gap(statement, pieces[0], bytes([fill & 0xFF]))

    def fill(self, statement: Statement) -> None:
        """``.fill repeat[, size[, value]]``."""
        pieces = split(statement.args)
        if not self._operands(statement, pieces, 1, 3):
            return
        size = self.known(pieces[1], statement) if len(pieces) > 1 else 1
        value = self.known(pieces[2], statement) if len(pieces) > 2 else 0
        if size is None or value is None:
            return
        if not 0 <= size <= 8:
            self.fail(statement, f".fill of {size} bytes each", "a size from 0 to 8")
            return
        # gas writes the low four bytes of the value and zeros above.
        low = -(1 << 8 * size - 1) if 0 < size <= 4 else 0
        if size and not low <= value < 1 << 8 * min(size, 4):
            self.fail(
                statement, f"`{pieces[2]}' is {value:#x}: it does not fit", "a value of at most 32 bits"
            )
            return
        pattern = (value & ((1 << 8 * size) - 1)).to_bytes(size, "little") if size else b""
        self._gap(statement, pieces[0], pattern)

    def _gap(self, statement: Statement, text: str, pattern: bytes) -> None:
        count = self.expression(text, statement, settle=True)
        if count is None:
            return
        if isinstance(count, Expr):
            self.items.append(Space(count, pattern, statement))
        elif count < 0 or count * len(pattern) > SECTION_MAX:
            self.fail(
                statement, f"a gap of {count} times {len(pattern)} bytes", f"0 to {SECTION_MAX:#x} bytes"
            )
        elif pattern == b"\0":
            if count:
                self.items.append(Datum(bytes(count), statement))  # costs no memory until it is looked at
        else:
            self._put(Datum(pattern * count, statement))

    def align(self, statement: Statement) -> None:
        """``.align``/``.balign`` in bytes, ``.p2align`` as a power of two; then fill and most bytes to skip."""
        pieces = split(statement.args)
        if not self._operands(statement, pieces, 1, 3):
            return
        boundary = self.known(pieces[0], statement)
        limit = self.known(pieces[2], statement) if len(pieces) > 2 else 0
        value = self.known(pieces[1], statement) if len(pieces) > 1 and pieces[1] else None
        if boundary is None or limit is None or (len(pieces) > 1 and pieces[1] and value is None):
            return
        if statement.op.startswith(".p2"):
            if not 0 <= boundary <= _ALIGN_POWER_MAX:
                self.fail(statement, f"alignment to 2 to the power of {boundary}", f"0 to {_ALIGN_POWER_MAX}")
                return
            boundary = 1 << boundary
        if boundary < 0 or boundary & (boundary - 1) or boundary > 1 << _ALIGN_POWER_MAX:
            self.fail(statement, f"alignment {boundary} is not a power of two", "1, 2, 4, 8 …")
            return
        if limit < 0:
            self.fail(statement, f"most bytes to skip is {limit}", "zero or more")
            return
        width = {"w": 2, "l": 4}.get(statement.op[-1] if statement.op[-2:] != "gn" else "", 1)
        fill: bytes | None = bytes(width)
        if value is not None:
            if not BOUNDS["either", width][0] <= value <= BOUNDS["either", width][1]:
                self.errors.append(out_of_range(statement, pieces[1], "either", width, value))
                return
            fill = (value & ((1 << 8 * width) - 1)).to_bytes(width, "little")
        if self.section.is_code and (value is None or fill == b"\x90"):
            fill = None
        if boundary > 1:
            self.section.align = max(self.section.align, boundary)
            self.items.append(Align(boundary, fill, limit, self.mode, statement))

    def org(self, statement: Statement) -> None:
        """``.org offset[, fill]``: go on at that offset of the section."""
        pieces = split(statement.args)
        if not self._operands(statement, pieces, 1, 2):
            return
        fill = self.known(pieces[1], statement) if len(pieces) > 1 else 0
        target = self.expression(pieces[0], statement, settle=True)
        if fill is None or target is None:
            return
        if isinstance(target, int) and not 0 <= target <= SECTION_MAX:
            self.fail(statement, f".org to {target:#x}", f"0 to {SECTION_MAX:#x}")
            return
        self.items.append(Org(number(target) if isinstance(target, int) else target, fill & 0xFF, statement))

    # --- helpers -------------------------------------------------------------------------------------------

    def _operands(self, statement: Statement, pieces: tuple[str, ...], least: int, most: int) -> bool:
        if least <= len(pieces) <= most and pieces[0]:
            return True
        count = f"{least} to {most} operands" if most > least else f"{least} operand"
        self.fail(statement, f"bad operands of {statement.op}", count)
        return False

    def _put(self, datum: Datum) -> None:
        if self.section.nobits and (datum.fields or datum.data.strip(b"\0")):
            self.fail(
                datum.statement,
                f"data in section {self.section.name}, which holds zeros",
                "a section with data",
            )
        elif datum.data:
            self.items.append(datum)
