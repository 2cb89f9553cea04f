"""What the models share: a call that must return, and violations with the call that shows them."""

from __future__ import annotations

from collections.abc import Mapping

from architect.contracts import Violation
from toolchain.harness import Harness, Result

MASK64 = (1 << 64) - 1


class Broken(Exception):
    """A promise was not kept; carries the violation."""

    def __init__(self, violation: Violation) -> None:
        super().__init__(violation.promise)
        self.violation = violation


class Session:
    """Calls routines of one harness in sequence; the seed changes with each call."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.calls = 0

    def call(self, routine: str, **registers: int) -> Result:
        """Call a routine that must return; raises ``Broken`` when it does not."""
        self.calls += 1
        result = self.harness.call(routine, registers, seed=self.calls)
        if result.end != "returned":
            where = f" at {result.address:#x}" if result.address is not None else ""
            self.fail(routine, f"does not return: {result.end}{where}", registers)
        return result

    def fail(self, routine: str, promise: str, registers: Mapping[str, int] | None = None) -> None:
        """Raise ``Broken`` for a promise."""
        raise Broken(Violation(routine, promise, {"seed": self.calls, **(registers or {})}))

    def expect(self, condition: bool, routine: str, promise: str, **registers: int) -> None:
        """Raise ``Broken`` unless the condition holds."""
        if not condition:
            self.fail(routine, promise, registers)
