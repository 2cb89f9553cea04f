"""Branch relaxation: how long each jump and each gap is.

Owns GNU as's algorithm (``write.c``, ``relax_segment``): jumps start short and only grow; alignments, ``.org`` and
``.skip`` follow the addresses. Kept step by step, its guesses about labels not yet reached included, so that sizes
come out as gas has them.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.expr_tree import EvaluationError
from toolchain.fragment import Align, Branch, Fragment, Org, SectionBuilder, Space
from toolchain.resolve import Linear, ResolveFault, Resolver
from toolchain.source import Statement

PASSES_BEFORE_ERRORS = 2  # an .org may go backwards while other sections are still growing
_SHORT_LENGTH = 2


class RelaxFault(ValueError):
    """What cannot be laid out, and where."""

    def __init__(self, statement: Statement, message: str, expected: str = "") -> None:
        super().__init__(message)
        self.statement = statement
        self.message = message
        self.expected = expected


def relax(sections: Sequence[SectionBuilder], resolver: Resolver) -> None:
    """Give every fragment its address and every variable part its size.

    Args:
        sections: all sections of the unit.
        resolver: evaluates the operands of ``.org`` and ``.skip`` with the addresses as they are.

    Raises:
        RelaxFault: ``.org`` goes backwards, ``.skip`` is negative or not a number.
    """
    for section in sections:
        _start(section)
        _refuse_circles(section, resolver)
    dependent = any(
        isinstance(fragment.variable, Org | Space) for section in sections for fragment in section.fragments
    )
    rounds = 0
    while True:
        again = False
        for section in sections:
            if len(section.fragments) > 1:
                again |= _relax_section(section, resolver, rounds)
        rounds += 1
        if not dependent or (not again and rounds > PASSES_BEFORE_ERRORS):
            return
        if rounds > 100 + sum(len(section.fragments) for section in sections):
            statement = next(
                v.statement for s in sections for f in s.fragments if isinstance(v := f.variable, Org | Space)
            )
            raise RelaxFault(statement, "sizes that depend on each other never settle", "a count known above")


def _start(section: SectionBuilder) -> None:
    address = 0
    region = 0
    for fragment in section.fragments:
        fragment.region = region
        fragment.marker = False
        fragment.address = address
        address += fragment.size
        variable = fragment.variable
        if variable is None:
            continue
        if variable.__class__ is Branch:
            assert isinstance(variable, Branch)
            if variable.target is not None:
                variable.is_long = False
                fragment.grown = _SHORT_LENGTH
            else:
                fragment.grown = len(variable.encoding.data)
        elif isinstance(variable, Align):
            region += 1
            fragment.grown = _gap(variable, address)
        elif isinstance(variable, Org):
            region += 1
        address += fragment.grown


class _Order(Resolver):
    """Sees of a label only where it stands: the key 0, or behind a given fragment the number of its region, from 1.

    Between regions are gaps that follow the addresses, so only a distance within a region is free of what the fragment
    does to all that is behind it.
    """

    refuses_negative = False  # its keys tell more addresses apart than there are

    def __init__(self, resolver: Resolver, behind: set[int]) -> None:
        super().__init__(resolver.labels, resolver.constants, resolver.equations, frozenset())
        self.behind = behind

    def term(self, name: str, section: SectionBuilder, here: int) -> Linear:
        if name == ".":  # where the fragment itself begins
            return 0, {0: 1}
        label = self.labels.get(name)
        if label is None:
            return super().term(name, section, here)
        fragment = label.fragment
        follows = fragment is not None and label.section is section and id(fragment) in self.behind
        return 0, {1 + fragment.region if fragment is not None and follows else 0: 1}


def _refuse_circles(section: SectionBuilder, resolver: Resolver) -> None:
    """Refuse a gap whose size depends on a label behind it, or on another gap there that follows the addresses."""
    fragments = section.fragments
    for index, fragment in enumerate(fragments):
        variable = fragment.variable
        if not isinstance(variable, Org | Space):
            continue
        operand = variable.target if isinstance(variable, Org) else variable.count
        order = _Order(resolver, {id(later) for later in fragments[index + 1 :]})
        try:
            _, terms = order.linear(operand.tree, section, 0)
        except (ResolveFault, EvaluationError) as fault:
            raise RelaxFault(
                variable.statement, f"cannot resolve `{operand}': {fault}", "labels and numbers"
            ) from None
        if any(isinstance(key, int) and key for key in terms):
            raise RelaxFault(
                variable.statement, f"`{operand}' depends on the size of this gap itself", "labels above it"
            )


def _gap(align: Align, address: int) -> int:
    gap = -address % align.boundary
    return 0 if align.limit and gap > align.limit else gap


def _relax_section(section: SectionBuilder, resolver: Resolver, rounds: int) -> bool:
    """Pass over the fragments until nothing moves; True when anything did."""
    fragments = section.fragments
    passes = 0
    while True:
        stretch = 0
        stretched = False
        for index, fragment in enumerate(fragments):
            fragment.marker = not fragment.marker
            was = fragment.address
            address = fragment.address = was + stretch
            variable = fragment.variable
            if variable is None:
                continue
            growth = 0
            if variable.__class__ is Branch:
                if not variable.is_long:
                    growth = _grow(variable, fragment, section, stretch)
            elif isinstance(variable, Align):
                growth = _gap(variable, address + fragment.size) - _gap(variable, was + fragment.size)
            elif isinstance(variable, Org):
                target = resolver.offset(variable.target, section, 0)
                if target is None:
                    raise RelaxFault(
                        variable.statement, ".org to something that is no offset in this section"
                    )
                growth = target - (fragments[index + 1].address + stretch)
                if growth < 0:
                    if rounds >= PASSES_BEFORE_ERRORS:
                        here = address + fragment.size
                        raise RelaxFault(
                            variable.statement, f".org to {target:#x} goes backwards", f"at least {here:#x}"
                        )
                    growth = 0
                growth -= stretch
            elif isinstance(variable, Space):
                count = resolver.number(variable.count, section, 0)
                if count is None:
                    raise RelaxFault(
                        variable.statement,
                        "a count that is no number",
                        "constants, or a difference of labels here",
                    )
                if count < 0:
                    if rounds >= PASSES_BEFORE_ERRORS:
                        raise RelaxFault(variable.statement, f"negative count {count}", "zero or more")
                    count = 0
                amount = count * len(variable.pattern)
                growth = was + fragment.size + amount - fragments[index + 1].address
            if growth:
                fragment.grown += growth
                stretch += growth
                stretched = True
        if not stretched:
            return passes > 0
        passes += 1
        if passes > len(fragments) ** 2 + 2:
            statement = next((f.statement for f in fragments if f.statement is not None), None)
            if statement is None:
                raise AssertionError("relaxation without a statement never settles")
            raise RelaxFault(statement, "sizes that depend on each other never settle", "a count known above")


def _grow(branch: Branch, fragment: Fragment, section: SectionBuilder, stretch: int) -> int:
    """How much a short jump must grow now (``relax_frag``)."""
    assert branch.target is not None
    label, addend = branch.target
    home = label.fragment
    assert home is not None
    target = home.address + label.offset + addend
    address = fragment.address
    if stretch and home.marker != fragment.marker:
        # The label comes later in this pass and will probably move as this jump just did.
        if stretch < 0 or home.region == fragment.region:
            target += stretch
        elif target < address:
            return 0
    distance = target - (address + fragment.size + _SHORT_LENGTH)
    if -128 <= distance <= 127:
        return 0
    branch.is_long = True
    return len(branch.encoding.data) - _SHORT_LENGTH
