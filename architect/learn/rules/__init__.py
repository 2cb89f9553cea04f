"""Rules that a guard can be made of: each finds one general kind of mistake on source text, without a build.

A rule is a function of a ``View`` that yields suspicions. A suspicion has a *sort*: what kind of place it is, free of
names and lines (``computed by or``, ``div takes rdx from div``). A rule by itself judges nothing: a sound kernel
shows suspicions too. Which sorts count is what a guard learns (``architect.learn.guards``). No rule knows a bug, a
routine or a file of any kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from architect.learn.rules.view import Suspicion, View

Rule = Callable[[View], Iterator[Suspicion]]


def rules() -> Mapping[str, Rule]:
    """Every rule by name, in the order in which they are tried."""
    from architect.learn.rules import bits, dead, fields, physical, producers, relations, unused

    return {
        "value-never-used": dead.rule,
        "name-never-used": unused.rule,
        "operand-from-elsewhere": producers.rule,
        "field-overrun": fields.rule,
        "bits-known": bits.rule,
        "physical-as-virtual": physical.rule,
        "constants-disagree": relations.rule,
    }


def suspicions(view: View) -> list[Suspicion]:
    """What all rules see, rule by rule, each once."""
    return list(dict.fromkeys(found for rule in rules().values() for found in rule(view)))


__all__ = ["Rule", "Suspicion", "View", "rules", "suspicions"]
