"""Where and of what a candidate died, told from what the kernel said alone.

Owns the short fault report: without the walk, the trace and the diagnosis, which take as long as a boot. The whole one
is ``toolchain.fault``'s.
"""

from __future__ import annotations

from toolchain import boot_log, vectors
from toolchain.types import BootResult, CodePlace, Exception_, FaultReport, Image


def report(result: BootResult, image: Image) -> FaultReport | None:
    """The short report of a boot, or None where the kernel told of no fault."""
    block = result.kernel_fault
    if block is None:
        return None
    values = boot_log.numbers(block)
    vector, error, rip = values.get("vector", -1), values.get("error"), values.get("rip")
    decoded = vectors.decode(vector, error)
    died = Exception_(vector, vectors.name(vector), error, decoded, rip, values.get("cr2"), "kernel")
    routines = (
        s for s in image.symbols if s.kind == "func" and rip is not None and 0 <= rip - s.address < s.size
    )
    symbol = next(routines, None)
    place = (
        CodePlace(rip, symbol.name, rip - symbol.address, symbol.file) if symbol and rip is not None else None
    )
    where = f" at {place.symbol}+{place.offset:#x}" if place else ""
    return FaultReport(
        outcome=result.outcome,
        scope="kernel",
        cause=f"{vectors.name(vector)}{where}",
        chain=(died,),
        registers=values,
        place=place,
        instruction="",
        source=(),
        trace=(),
        stack=(),
        walk=None,
        unit=block.get("unit"),
        units=result.units,
        diagnosis=(),
        serial_tail=(),
        panic=result.panic,
    )
