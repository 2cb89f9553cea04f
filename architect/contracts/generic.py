"""The promises that every header makes, checked by calling the routine with seeded registers.

A routine that returns must leave every register alone that its header does not list, give its stack back, and leave
DF clear and IF as it was. A routine that does not return here (it needs hardware, it never returns, it wants memory
that only a boot provides) is not judged, but for one case: a ``ret`` to an address that nobody called from means that
the stack is not balanced.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from architect.contracts.model import Violation
from toolchain.errors import InputError
from toolchain.harness import BUFFER_BASE, BUFFER_SIZE, RETURN_PAGE, Harness, Result
from toolchain.headers import GENERAL, Routine, Slot, full_register, register_bits

_LIMIT = 20_000
_BUFFER_STEP = 0x1000
_POINTERS = {"ptr", "asciz", "address", "va", "buffer"}
_PHYSICAL = {"phys", "pa", "physical"}
_TEXT = b"test alpha=1 pci\0"


def check(harness: Harness, routine: Routine, *, seeds: int = 3) -> list[Violation]:
    """Call ``routine`` ``seeds`` times; its violations, each promise once."""
    if not harness.has(routine.name) or not _judged(routine):
        return []
    found: dict[str, Violation] = {}
    for seed in range(seeds):
        harness.reset()
        registers = inputs(harness, routine, seed)
        result = harness.call(routine.name, registers, seed=seed, limit=_LIMIT)
        for promise in broken(harness, routine, result):
            call: dict[str, int | str] = {"seed": seed, **registers}
            found.setdefault(promise, Violation(routine.name, promise, call))
    return list(found.values())


def _judged(routine: Routine) -> bool:
    context = routine.context.lower()
    return not any(
        words in context for words in ("32-bit", "16-bit", "real mode", "protected mode", "jumped to")
    )


def inputs(harness: Harness, routine: Routine, seed: int) -> dict[str, int]:
    """Registers by 64-bit name, made from the header's types and ranges; the same seed makes the same."""
    noise = random.Random(f"{routine.name}/{seed}")
    values: dict[str, int] = {}
    for index, slot in enumerate(routine.inputs):
        register = full_register(slot.register)
        if register:
            values[register] = _value(harness, slot, noise, index)
    return values


def _value(harness: Harness, slot: Slot, noise: random.Random, index: int) -> int:
    bits = register_bits(slot.register) or 64
    if slot.type in _POINTERS:
        address = BUFFER_BASE + (index * _BUFFER_STEP) % BUFFER_SIZE
        harness.write(address, _TEXT if slot.type == "asciz" else noise.randbytes(64))
        return address
    if slot.type in _PHYSICAL:
        return noise.randrange(0, harness.ram // 4096) * 4096
    if slot.type[:1] in ("u", "i", "s") and slot.type[1:].isdigit():
        bits = min(bits, int(slot.type[1:]))
    low = slot.low if slot.low is not None else 0
    high = slot.high if slot.high is not None else (1 << bits) - 1
    # Ends of the range are where routines break: take them more often than chance would.
    return noise.choice([low, high, noise.randint(low, max(low, high)), noise.randint(low, max(low, high))])


def broken(harness: Harness, routine: Routine, result: Result) -> Iterator[str]:
    """The promises that one call did not keep, each as a sentence without addresses."""
    if result.end == "fault" and _returned_astray(harness, result):
        yield "returns to an address that nobody called from: pushes and pops do not match"
    if result.end != "returned":
        return
    if result.registers["rsp"] != result.before["rsp"] + 8:
        yield "leaves the stack pointer off by " + str(result.registers["rsp"] - result.before["rsp"] - 8)
    allowed = routine.may_change() | {"rsp"}
    for name in GENERAL:
        if name not in allowed and result.registers[name] != result.before[name]:
            yield f"changes {name}, which its header does not list"
    flags = {slot.register for slot in routine.outputs}
    if result.flag("df"):
        yield "leaves DF set"
    if "if" not in flags and result.flag("if"):
        yield "changes IF"


def _returned_astray(harness: Harness, result: Result) -> bool:
    """A ``ret`` took RIP from the word below RSP; a call would have pushed there."""
    if result.rip == RETURN_PAGE or result.address != result.rip:  # the fetch itself must have failed
        return False
    try:
        return harness.read_u64(result.registers["rsp"] - 8) == result.rip
    except InputError:
        return False
