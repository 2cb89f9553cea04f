"""Instructions that have another meaning in 64-bit code than their names suggest.

Without REX.W, SYSRET returns to 32-bit code, IRET pops 32-bit (or, with a prefix, 16-bit) values, and a far RET pops
32-bit ones (SDM vol. 2). Some emulators and some CPUs let this pass for a while.
"""

from __future__ import annotations

from collections.abc import Iterator

from architect.checks import Found, Subject
from toolchain.flow import RoutineFlow

_WRONG = {
    "sysret": ("returns to 32-bit code", "sysretq"),
    "sysexit": ("returns to 32-bit code", "sysexitq"),
    "iretd": ("pops 32-bit values", "iretq"),
    "iret": ("pops 16-bit values", "iretq"),
    "retf": ("pops 32-bit values", "retfq"),
    "pushf": ("pushes 16 bits", "pushfq"),
    "popf": ("pops 16 bits", "popfq"),
}


def check(subject: Subject, flow: RoutineFlow) -> Iterator[Found]:
    """One finding per instruction."""
    for instruction in flow.instructions:
        wrong = _WRONG.get(instruction.mnemonic)
        if wrong:
            does, right = wrong
            message = f"{instruction.mnemonic} {does} here; {right} is the 64-bit form"
            yield Found("wrong-form", message, instruction.address)
