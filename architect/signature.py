"""The typed key of a failure: what it looked like, free of addresses and line numbers.

Owns making a ``Signature`` from a ``Case`` and how alike two of them are. Never touches the store.
"""

from __future__ import annotations

import re

from architect.protocols import Case, Signature

# How much each column says about the cause when it agrees (and half of it against when it contradicts): which
# rule matched and where the walk ended say most, the routine and the unit say where rather than what.
WEIGHTS = {
    "rules": 4.0,
    "walk_level": 3.0,
    "vector": 2.0,
    "error_bits": 2.0,
    "failed_gate": 2.0,
    "outcome": 1.0,
    "mnemonic": 1.0,
    "routine": 1.0,
    "unit": 0.5,
}

RULES_MAX = 8
_WHICH = re.compile(
    r"\b(?:0x[0-9a-f]+|\d+|r[a-z0-9]{1,3}|e[a-ds][xipl])\b"
)  # numbers and registers of a promise


def of_case(case: Case) -> Signature:
    """The signature of what is wrong with the unpatched tree."""
    report = case.report
    matched = [d.rule for d in report.diagnosis] if report else []
    first = report.chain[0] if report and report.chain else None
    words = report.instruction.split() if report else []
    return Signature(
        outcome=case.boot.outcome if case.boot else "does-not-assemble",
        vector=first.vector if first else None,
        error_bits=tuple(first.decoded) if first else (),
        walk_level=report.walk.ends_at if report and report.walk else None,
        unit=report.unit if report else _last_unit(case),
        mnemonic=words[0] if words else None,
        routine=report.place.symbol if report and report.place else None,
        rules=tuple(dict.fromkeys([*matched, *_broken(case)])),
        failed_gate=case.failures[0].gate if case.failures else None,
    )


def _broken(case: Case) -> list[str]:
    """What the gates without a boot say is broken: rules of static checks, promises of contracts."""
    found = []
    for gate in case.failures:
        found += [f"check:{row['rule']}" for row in gate.evidence.get("findings", ())]
        found += [
            f"contract:{_WHICH.sub('*', row['promise'])}" for row in gate.evidence.get("violations", ())
        ]
    return found[:RULES_MAX]


def _last_unit(case: Case) -> str | None:
    units = case.boot.units if case.boot else ()
    return units[-1].name if units and units[-1].state in ("start", "fail") else None


def similarity(ours: Signature, theirs: Signature) -> float:
    """How alike two failures are: 1.0 for equal signatures, 0.0 for nothing in common.

    A column that neither has says nothing, one that only one has says little; a contradiction counts against.
    """
    score = total = 0.0
    for column, weight in WEIGHTS.items():
        a, b = getattr(ours, column), getattr(theirs, column)
        if not a and not b:
            continue
        total += weight if a and b else weight / 2
        if isinstance(a, tuple):
            score += weight * len(set(a) & set(b)) / len(set(a) | set(b))
        elif a == b:
            score += weight
        elif a and b:
            score -= weight / 2
    return max(0.0, score / total) if total else 0.0
