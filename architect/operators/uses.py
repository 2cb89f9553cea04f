"""How the statements around a number use what it changes: the width that a shift brings out, a pointer that goes on.

Owns two questions that the operators on numbers ask of a site. Makes no variant.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.effects import registers_in
from architect.operators.base import Site
from toolchain import headers

_NEXT = 3  # statements up to the first use
_AROUND = 8  # statements to each side in which a pointer is used


def width_used(site: Site) -> Iterator[int]:
    """The width of the part of a shifted register that the next statements use: what the shift should bring there."""
    s = site.statement
    target = headers.full_register(s.operand(0))
    found, place = site.view.sequence(s)
    for other in found[place + 1 : place + _NEXT] if target is not None else ():
        for operand in other.operands:
            if headers.full_register(operand.text) == target:
                bits = headers.register_bits(operand.text)
                if bits in (8, 16, 32) and bits != headers.register_bits(s.operand(0)):
                    yield bits
                return


def walks(site: Site) -> bool:
    """Whether a register that a number is added to is an address that the statements around use."""
    target = headers.full_register(site.statement.operand(0))
    found, place = site.view.sequence(site.statement)
    near = [o.text for other in found[max(0, place - _AROUND) : place + _AROUND] for o in other.operands]
    return target is not None and any("[" in text and target in registers_in(text) for text in near)
