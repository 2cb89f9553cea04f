"""What the models share: calls that must return, and violations with the call that shows them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from toolchain import contract as shared
from toolchain.errors import InputError
from toolchain.harness import Harness, Result

MASK64 = (1 << 64) - 1
# What a routine that fails leaves in RAX (kernel/include/errors.inc): callers tell refusals apart by it.
INVALID, NO_MEMORY, NOT_FOUND, EXISTS, NOT_MAPPED, MALFORMED, FULL, TIMEOUT, UNSUPPORTED = range(1, 10)
# What a boot unit's entry answers.
OK, SKIP, FAIL = (shared.constant(f"BOOT_RESULT_{name}") for name in ("OK", "SKIP", "FAIL"))


def stand_for_mmio_map(
    harness: Harness, refused: Callable[[int], bool] = lambda physical: False
) -> list[tuple[int, int, int]]:
    """Let ``mmio_map`` map each address onto itself, or refuse it for want of memory; what it is asked, as it comes."""
    asked: list[tuple[int, int, int]] = []

    def mmio_map(machine: Harness) -> None:
        physical = machine.get("rdi")
        asked.append((physical, machine.get("rsi"), machine.get("rdx")))
        machine.set("rax", NO_MEMORY if refused(physical) else physical)
        machine.set_flag("cf", refused(physical))

    harness.substitute("mmio_map", mmio_map)
    return asked


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was not kept. ``call`` is what reproduces it: registers, seed, what came and what should."""

    routine: str
    promise: str
    call: Mapping[str, int | str]


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

    def call(self, routine: str, /, *, limit: int = 200_000, **registers: int) -> Result:
        """Call a routine that must return; raises ``Broken`` when it does not."""
        self.calls += 1
        result = self.harness.call(routine, registers, seed=self.calls, limit=limit)
        if result.end != "returned":
            what = (
                "touches what is not its own" if result.end == "fault" else f"does not return: {result.end}"
            )
            where = {"address": result.address} if result.address is not None else {}
            self.fail(routine, what, {**registers, **where})
        return result

    def fail(self, routine: str, promise: str, call: Mapping[str, int | str] | None = None) -> None:
        """Raise ``Broken`` for a promise."""
        raise Broken(Violation(routine, promise, {"seed": self.calls, **(call or {})}))

    def expect(self, condition: bool, routine: str, promise: str, /, **call: int | str) -> None:
        """Raise ``Broken`` unless the condition holds."""
        if not condition:
            self.fail(routine, promise, call)

    def equal(
        self,
        got: int | str | bytes,
        expected: int | str | bytes,
        routine: str,
        promise: str,
        **call: int | str,
    ) -> None:
        """Raise ``Broken`` unless two values are equal; both go into the evidence."""
        if got != expected:
            self.fail(routine, promise, {**call, "got": _shown(got), "expected": _shown(expected)})

    def refused(self, result: Result, error: int, routine: str, what: str, /, **call: int | str) -> None:
        """A call that had to succeed (``error`` 0) or fail with a code, by CF and RAX; ``what`` it was given."""
        failed = result.flag("cf")
        self.expect(failed or not error, routine, f"accepts {what}", **call)
        self.expect(bool(error) or not failed, routine, f"refuses {what}", **call)
        if error:
            self.equal(
                result.registers["rax"], error, routine, f"gives another reason to refuse {what}", **call
            )

    def source(self, symbol: str, lines: int = 0) -> str:
        """Where the sources define a symbol, or so many lines behind, as ``file:line``; empty when unknown."""
        found = next((s for s in self.harness.image.symbols if s.name == symbol and s.file), None)
        return f"{found.file}:{found.line + lines}" if found else ""

    def read(self, address: int, size: int, routine: str, **call: int | str) -> bytes:
        """Memory that a routine named; ``Broken`` where there is none."""
        try:
            return self.harness.read(address, size)
        except InputError:
            self.fail(routine, "names memory that is not there", {**call, "address": address})
            raise


def _shown(value: int | str | bytes) -> int | str:
    return repr(value) if isinstance(value, bytes) else int(value) if isinstance(value, bool) else value
