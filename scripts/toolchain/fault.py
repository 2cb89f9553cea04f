"""Why a boot died: the kernel's own block, QEMU's exception chain and the snapshot, joined into one FaultReport.

Owns: which exception was the first, whose registers count, the trace and the source lines. The kernel's block wins
over what was read later, and the cause is the first exception of the chain, because nested faults overwrite CR2. It
makes no difference whether an IDT was up. Never guesses at reasons: ``diagnose`` does, by declared rules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from toolchain import boot_log, contract, diagnose, qemulog, serial, vectors, walk
from toolchain.clues import Clues, describe
from toolchain.qemulog import QemuLog, Raised
from toolchain.symbols import SymbolTable
from toolchain.types import BootResult, CodePlace, Exception_, FaultReport, SourceLine

SERIAL_LINES = 12  # of the log's end, in the report
SOURCE_AROUND = 4  # lines before and after the marked one

_NO_DEATH = frozenset({"ready", "tests-passed", "tests-failed", "healthy", "qemu-died"})
_FRAME = 40
_HANDLER_REACH = 64 << 10
_LEAF_SCAN = 8  # quadwords above RSP in which a leaf's return address is looked for
_MAX_SOURCE = 4 << 20  # bytes of a source file worth reading


def analyse(
    result: BootResult, symbols: SymbolTable | None = None, tree: Path | None = None
) -> FaultReport | None:
    """Explain a boot that did not end well.

    Args:
        result: what ``qemu.boot`` returned, or what was read back from its logs.
        symbols: of the kernel that was booted; without them addresses stay bare.
        tree: its kernel tree, for source lines and routine headers.

    Returns:
        The report; None for a boot that needs none (ready, tests ran, QEMU itself died).
    """
    if result.outcome in _NO_DEATH:
        return None
    said = serial.parse(result.serial.encode("latin-1", "replace"))
    log = qemulog.parse(result.qemu_log.encode("latin-1", "replace"))
    raised = _chain(result, log, _handled(said))
    chain = tuple(_joined(result, raised))
    registers = _registers(result, raised, chain)
    unit = (result.kernel_fault or {}).get("unit") or _unit_in_progress(result)
    clues = Clues(result, chain, registers, symbols, tree, unit=unit)
    clues.place = _place(symbols, registers)
    clues.stack = _stack(clues)
    clues.trace = _trace(clues)
    instruction = clues.instruction if clues.first is None or "fetch" not in clues.first.decoded else None
    scope = (result.kernel_fault or {}).get("scope", "kernel")
    return FaultReport(
        outcome=result.outcome,
        scope="user" if scope == "user" else "expected" if scope == "expected" else "kernel",
        cause=_cause(clues),
        chain=chain,
        registers={name: value for name, value in registers.items() if name != "bits"},
        place=clues.place,
        instruction=instruction.text if instruction else "",
        source=source_lines(tree, clues.place),
        trace=clues.trace,
        stack=clues.stack,
        walk=clues.walk,
        unit=unit,
        units=result.units,
        diagnosis=diagnose.diagnose(clues),
        serial_tail=tuple(said.tail)[-SERIAL_LINES:],
        panic=result.panic,
        program=(result.kernel_fault or {}).get("program") or None,
    )


# --- the chain ---------------------------------------------------------------------------------------------


def _handled(said: serial.SerialLog) -> set[tuple[int, int]]:
    """(vector, rip) of the faults that the kernel reported and survived: a test's, or a user thread's."""
    found = set()
    for block in said.faults:
        values = boot_log.numbers(block.values)
        if block.scope != "kernel" and "vector" in values and "rip" in values:
            found.add((values["vector"], values["rip"]))
    return found


def _chain(result: BootResult, log: QemuLog, handled: set[tuple[int, int]]) -> tuple[Raised, ...]:
    """QEMU's part: the chain that holds the kernel's exception, or that ended in the triple fault."""
    block = _told(result)
    if "vector" in block:
        found = log.chain_of(block["vector"], block.get("rip"))
        if found or not log.triple_fault:
            return found
    chain = log.final_chain(handled)
    if not chain or result.outcome in ("panic", "reset", "shutdown"):
        return ()
    if log.triple_fault or result.outcome == "fault":
        return chain
    return chain if _still_in_handler(result, chain[-1]) or log.repeats() else ()


def _still_in_handler(result: BootResult, last: Raised) -> bool:
    """For a hang: true when the stack pointer now lies below the frame that the exception pushed."""
    now = result.snapshot.registers.get("rsp") if result.snapshot else None
    if now is None or last.sp is None or not last.delivered or last.software:
        return False
    return 0 <= (last.sp & ~15) - _FRAME - now < _HANDLER_REACH


def _told(result: BootResult) -> dict[str, int]:
    """The numbers of the kernel's block; a vector that a second fault cut out of it is known by its name."""
    words = result.kernel_fault or {}
    found = boot_log.numbers(words)
    vector = vectors.number(words.get("name", ""))
    if "vector" not in found and vector is not None:
        found["vector"] = vector
    return found


def _joined(result: BootResult, raised: tuple[Raised, ...]) -> Iterator[Exception_]:
    """QEMU's chain, with the kernel's own account in place of the exception that it reported."""
    block = _told(result)
    own = _kernel_exception(block, result.kernel_fault or {}) if "vector" in block else None
    before: int | None = None
    for item in raised:
        if own and item.vector == own.vector and (own.rip is None or item.ip == own.rip):
            # A double fault's CR2 is that of the fault before it.
            decoded = vectors.decode(own.vector, own.error, before)
            yield replace(own, decoded=decoded, cr2=item.cr2 if item.cr2 is not None else own.cr2)
            own = None
        else:
            decoded = vectors.decode(item.vector, item.error, before)
            name = vectors.name(item.vector)
            yield Exception_(item.vector, name, item.error, decoded, item.ip, item.cr2, "qemu")
        before = item.vector
    if own:
        yield own


def _kernel_exception(block: Mapping[str, int], words: Mapping[str, str]) -> Exception_:
    vector = block["vector"]
    name = vectors.name(vector) if vector < 256 else words.get("name", f"{vector:#x}")
    error = block.get("error") if vector in vectors.WITH_ERROR_CODE else None
    cr2 = block.get("cr2") if vector == vectors.PAGE_FAULT else None
    return Exception_(vector, name, error, vectors.decode(vector, error), block.get("rip"), cr2, "kernel")


def _registers(
    result: BootResult, raised: tuple[Raised, ...], chain: tuple[Exception_, ...]
) -> dict[str, int]:
    """Registers at the first exception: the kernel's, completed by QEMU's; at a hang those of now."""
    now = dict(result.snapshot.registers) if result.snapshot else {}
    keys = set(contract.load().fault_keys)
    block = {k: v for k, v in boot_log.numbers(result.kernel_fault or {}).items() if k in keys}
    for name in ("vector", "error", "cpu"):
        block.pop(name, None)
    logged = dict(raised[0].registers) if raised else {}
    first_is_kernels = not chain or chain[0].source == "kernel"
    found = {**now, **logged, **block} if first_is_kernels else {**now, **block, **logged}
    if chain and chain[0].cr2 is not None:
        found["cr2"] = chain[0].cr2
    if chain and chain[0].rip is not None:
        found["rip"] = chain[0].rip
    return found


def _unit_in_progress(result: BootResult) -> str | None:
    return next((unit.name for unit in reversed(result.units) if unit.state == "start"), None)


# --- places ------------------------------------------------------------------------------------------------


def _place(symbols: SymbolTable | None, registers: Mapping[str, int]) -> CodePlace | None:
    if "rip" not in registers:
        return None
    return symbols.place(registers["rip"]) if symbols else CodePlace(registers["rip"])


def return_place(symbols: SymbolTable | None, address: int) -> CodePlace:
    """A return address, named by the call in front of it (which may be the last instruction of its routine)."""
    if symbols is None or address == 0:
        return CodePlace(address)
    call = symbols.place(address - 1)
    return replace(call, address=address, offset=call.offset + 1 if call.symbol else 0)


def _stack(clues: Clues) -> tuple[int, ...]:
    told = boot_log.number_list((clues.result.kernel_fault or {}).get("stack", ""))
    if told:
        return told
    rsp, found = clues.registers.get("rsp", 0), []
    for slot in range(contract.constant("FAULT_STACK_QUADS")):
        value = clues.slot(rsp + clues.word * slot) if clues.registers.get("bits", 64) != 16 else None
        if value is None:
            break
        found.append(value)
    return tuple(found)


def _trace(clues: Clues) -> tuple[CodePlace, ...]:
    told = boot_log.number_list((clues.result.kernel_fault or {}).get("trace", ""))
    addresses = told or tuple(_frames(clues))
    leaf = _leaf_return(clues)
    if leaf is not None and leaf not in addresses[:2]:
        addresses = (leaf, *addresses)
    addresses = addresses[: contract.constant("FAULT_TRACE_MAX")]
    return tuple(return_place(clues.symbols, address) for address in addresses if address)


def _frames(clues: Clues) -> Iterator[int]:
    """Return addresses along RBP's chain, as far as memory was read and the addresses are code."""
    frame = clues.registers.get("rbp", 0)
    for _ in range(contract.constant("FAULT_TRACE_MAX")):
        above, back = clues.slot(frame), clues.slot(frame + clues.word)
        if above is None or not back or not _is_code(clues.symbols, back):
            return
        yield back
        if above <= frame:
            return
        frame = above


def _leaf_return(clues: Clues) -> int | None:
    """The return address of a routine that set up no frame: the first one on the stack that follows a call to it.

    Where RIP is no routine at all (a call through a wrong pointer), the call that led there is looked for.
    """
    code, home = clues.code, clues.code.routine_symbol(clues.rip)
    if home is not None and _is_code(clues.symbols, clues.rip + 1):
        before = (step.text for step in code.routine(clues.rip) if step.address < clues.rip)
        if {"mov rbp, rsp", "mov ebp, esp"}.intersection(before):
            return None
        wanted = (home.address, None)
    else:
        wanted = (clues.rip, None)
    for value in clues.stack[:_LEAF_SCAN]:
        call = code.before(value) if _is_code(clues.symbols, value) else None
        if call and call.is_call and call.target in wanted:
            return value
    return None


def _is_code(symbols: SymbolTable | None, address: int) -> bool:
    if symbols is None:
        return address != 0
    section = symbols.section_at(symbols.linked(address - 1))
    return section is not None and "x" in section.flags


def source_lines(tree: Path | None, place: CodePlace | None) -> tuple[SourceLine, ...]:
    """The lines around a place; empty where the tree has no such file."""
    if tree is None or place is None or place.file is None or place.line is None:
        return ()
    path = (tree / place.file).resolve()
    try:
        if not path.is_relative_to(tree.resolve()) or path.stat().st_size > _MAX_SOURCE:
            return ()
        lines = path.read_text("utf-8", "replace").splitlines()
    except OSError:
        return ()  # the image was built from another state of the tree
    first = max(1, place.line - SOURCE_AROUND)
    window = enumerate(lines[first - 1 : place.line + SOURCE_AROUND], first)
    return tuple(SourceLine(number, text, number == place.line) for number, text in window)


# --- the sentence ------------------------------------------------------------------------------------------


def _cause(clues: Clues) -> str:
    first = clues.first
    where = f" at {describe(clues.place)}" if clues.place and clues.place.address else ""
    if first is not None:
        return f"{first.name} ({vectors.title(first.vector)}){_what(first)}{where}"
    result = clues.result
    if result.outcome == "panic":
        code, text = result.panic or ("", "the kernel told pvpanic and said nothing")
        return f"{code}: {text}" if code else text
    within = f" within {result.seconds:.1f} s" if result.seconds else ""
    progress = f", boot unit {clues.unit} in progress" if clues.unit else ""
    efer = clues.registers.get("efer")
    mode = "" if efer is None or efer & walk.EFER_LMA else ", the processor not in long mode"
    sentences = {
        "timeout": f"no PXREADY{within}{where}{progress}{mode}",
        "silent": f"the kernel said nothing{within}{where}",
        "reset": f"the guest reset the machine{where}{progress}",
        "shutdown": f"the guest ended the machine before PXREADY{where}{progress}",
        "fault": f"the kernel ended with the status of a fault and reported none{progress}",
    }
    return sentences.get(result.outcome, result.outcome)


def _what(first: Exception_) -> str:
    if first.vector == vectors.PAGE_FAULT:
        words: Iterable[str] = first.decoded
        kind = next((word for word in words if word in ("read", "write", "fetch")), "access")
        others = [word for word in words if word not in ("read", "write", "fetch")]
        preposition = {"write": "to", "read": "from", "fetch": "from"}.get(kind, "to")
        target = f" {preposition} {first.cr2:#x}" if first.cr2 is not None else ""
        return f": {kind}{target}" + (f" ({', '.join(others)})" if others else "")
    return f": {', '.join(first.decoded)}" if first.decoded else ""
