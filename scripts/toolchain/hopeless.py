"""Which silent machines can never speak again, read from the registers of one that runs.

Owns the two states that no kernel of a single processor leaves: halted with interrupts off, and out of long mode after
a line that only 64-bit code says. Never stops a machine and never decides how a boot ended: ``qemu`` does.
"""

from __future__ import annotations

import re

from toolchain import qemulog, walk

_RFLAGS_IF = 1 << 9  # Intel SDM volume 1, 3.4.3
_HALTED = re.compile(r"\bHLT=1\b")


def reason(dump: str, *, spoken: bool) -> str | None:
    """Why the processor of a silent machine will never say anything again, or None where it may.

    Nothing sends it an NMI or INIT while nobody debugs it, so HLT with IF clear is the end; and firmware's modes come
    before the first line of the contract, not after it.

    Args:
        dump: the monitor's ``info registers`` of the only processor.
        spoken: whether the kernel has told of a boot unit, which it does in long mode.
    """
    known = qemulog.parse_registers(dump)
    if "rflags" not in known or "efer" not in known:
        return None
    if _HALTED.search(dump) and not known["rflags"] & _RFLAGS_IF:
        return "halted with interrupts off"
    if spoken and not known["efer"] & walk.EFER_LMA:
        return "has left long mode"
    return None
