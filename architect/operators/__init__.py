"""The declared edit operators of the search: what mistakes people make in assembly, each with its mend.

One module per kind of mistake; each exports ``OPERATORS``. An operator says why it exists and how likely its mistake
is before any evidence, and makes variants for one statement. Priors come from what goes wrong in kernels in general
and from the class of the failure; no operator knows a kernel, a routine or a planted bug.
"""

from __future__ import annotations

from functools import cache

from architect.operators import (
    amounts,
    architecture,
    compose,
    constants,
    contexts,
    directives,
    donors,
    memory,
    mnemonics,
    order,
    pairs,
    registers,
    routines,
    siblings,
    spelling,
    values,
)
from architect.operators.base import EVERYWHERE, Operator, Site, Variant
from architect.operators.view import View

__all__ = ["EVERYWHERE", "Operator", "Site", "Variant", "View", "operators"]


@cache
def operators() -> tuple[Operator, ...]:
    """Every operator, in no order that matters."""
    modules = (
        amounts,
        architecture,
        constants,
        contexts,
        registers,
        routines,
        siblings,
        memory,
        mnemonics,
        order,
        donors,
        values,
        compose,
        pairs,
        directives,
        spelling,
    )
    return tuple(operator for module in modules for operator in module.OPERATORS)
