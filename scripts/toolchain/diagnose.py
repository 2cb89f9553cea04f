"""What a death means: every declared rule that matches, as a sentence for a person with the routines it points at.

Owns the order of the rules and nothing else. A rule looks at ``Clues`` and returns a ``Diagnosis`` or None; it must
point at evidence (an entry, a bit, an instruction), never at a particular kernel. ``rules_paging`` holds those of
page faults, ``rules_tables`` of tables set up wrongly, ``rules_cpu`` of the other exceptions, ``rules_delivery`` of
descriptor tables and stacks, ``rules_end`` of ends without an exception.
"""

from __future__ import annotations

from collections.abc import Callable

from toolchain import rules_cpu, rules_delivery, rules_end, rules_paging, rules_tables
from toolchain.clues import Clues
from toolchain.types import Diagnosis

Rule = Callable[[Clues], Diagnosis | None]

# Likeliest cause first; what only explains the course of events comes last.
RULES: tuple[Rule, ...] = (
    *rules_paging.FIRST,
    *rules_tables.RULES,
    *rules_paging.RULES,
    *rules_cpu.RULES,
    *rules_delivery.RULES,
    *rules_end.RULES,
)


def diagnose(clues: Clues) -> tuple[Diagnosis, ...]:
    """Every rule that matches, in the declared order."""
    found = (rule(clues) for rule in RULES)
    return tuple(item for item in found if item is not None)
