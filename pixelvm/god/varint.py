"""Numbers in a file of anybody's: LEB128, and a reader that never reads beyond the end.

Owns how numbers and byte strings lie in containers and dictionaries; every refusal is one line that names the file.
"""

from __future__ import annotations

from toolchain.errors import InputError

STAGE = "pixel"
_BITS = 7
_MORE = 1 << _BITS
_LONGEST = 5  # bytes: 35 bits, more than any size here


def number(value: int) -> bytes:
    """An unsigned number, 7 bits a byte, the low ones first."""
    out = bytearray()
    while value >= _MORE:
        out.append(value & _MORE - 1 | _MORE)
        value >>= _BITS
    out.append(value)
    return bytes(out)


class Reader:
    """Takes one thing after another from bytes that nobody vouches for."""

    def __init__(self, data: bytes, name: str, at: int = 0) -> None:
        self.data = data
        self.name = name
        self.at = at

    def take(self, count: int) -> bytes:
        """The next bytes.

        Raises:
            InputError: there are fewer.
        """
        if count > len(self.data) - self.at:
            raise self.refuse("is cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def byte(self) -> int:
        """The next byte."""
        return self.take(1)[0]

    def number(self, greatest: int, what: str) -> int:
        """The next number.

        Raises:
            InputError: it is above ``greatest``, or longer than it needs to be.
        """
        value = 0
        for place in range(_LONGEST):
            byte = self.byte()
            value |= (byte & _MORE - 1) << _BITS * place
            if byte < _MORE:
                if place and not byte:
                    break
                if value > greatest:
                    raise self.refuse(f"{what} is {value}; at most {greatest} can be")
                return value
        raise self.refuse(f"{what} is no number as it should be written")

    def end(self) -> None:
        """Nothing may be left.

        Raises:
            InputError: something is.
        """
        if self.at != len(self.data):
            raise self.refuse(f"{len(self.data) - self.at} bytes follow its end")

    def refuse(self, message: str) -> InputError:
        """The error for these bytes."""
        return InputError(f"{self.name}: {message}", stage=STAGE)
