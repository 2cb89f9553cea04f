"""The classes of a failure: what kind of thing went wrong, as far as the evidence says. Several can hold at once.

Owns the names that operators' priors refer to. They follow from outcome, exception chain and failed gates alone.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.protocols import Case

PAGE_FAULT, RESERVED_BIT, PROTECTION, INVALID_OPCODE = (
    "page-fault",
    "reserved-bit",
    "protection",
    "invalid-opcode",
)
HANG, NO_BOOT, FAILED_TEST, WRONG_VALUE = "hang", "no-boot", "failed-test", "wrong-value"
CONTRACT, CHECK, UNASSEMBLED, PANIC = "contract", "check", "unassembled", "panic"

_VECTORS = {6: INVALID_OPCODE, 7: INVALID_OPCODE, 10: PROTECTION, 11: PROTECTION, 12: PROTECTION, 13: PROTECTION,
            14: PAGE_FAULT}  # fmt: skip
_OUTCOMES = {
    "timeout": HANG,
    "silent": NO_BOOT,
    "reset": NO_BOOT,
    "panic": PANIC,
    "tests-failed": FAILED_TEST,
}


def classes(case: Case) -> frozenset[str]:
    """Every class that a case belongs to."""
    return frozenset(_classes(case))


def _classes(case: Case) -> Iterator[str]:
    if case.diagnostics or case.image is None:
        yield UNASSEMBLED
    for exception in case.report.chain[:1] if case.report else ():
        if exception.vector in _VECTORS:
            yield _VECTORS[exception.vector]
        if any("reserved" in word for word in exception.decoded):
            yield RESERVED_BIT
    if case.boot is not None:
        if case.boot.outcome in _OUTCOMES:
            yield _OUTCOMES[case.boot.outcome]
        if not case.boot.units:
            yield NO_BOOT
        if any(not passed for passed in case.boot.tests.values()):
            yield FAILED_TEST
    for gate in case.failures:
        if gate.gate == "contract":
            yield CONTRACT
        elif gate.gate == "checks":
            yield CHECK
        elif case.report is None:
            yield WRONG_VALUE
