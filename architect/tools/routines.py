"""Tools that call one routine of the linked kernel under Unicorn, and hold routines to their contracts."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from architect.tools.base import Answer, schema
from toolchain.errors import InputError

if TYPE_CHECKING:
    from architect.tools.desk import Desk
    from toolchain.called import Result
    from toolchain.harness import Harness
    from toolchain.headers import Routine

STAGE = "tools"
LIMIT, LIMIT_MAX = 200_000, 5_000_000
BYTES_MAX = 4096
_VALUE = {
    "type": "string",
    "maxLength": 200,
    "pattern": "^(0x[0-9a-fA-F]{1,16}|-?[0-9]{1,20}|@[0-9a-fA-F]{0,199})$",
}


class RunRoutine:
    """``run_routine``."""

    name = "run_routine"
    summary = (
        "Run one routine of the linked kernel alone under Unicorn (long mode, no devices): registers in, registers,"
        " flags and memory out. A value is a number, or @HEXBYTES: the bytes are put into a buffer and the register"
        " gets its address. Registers that are not given hold noise."
    )
    parameters = schema(
        ("routine",),
        routine={"type": "string", "minLength": 1, "maxLength": 200},
        registers={"type": "object", "properties": {}, "additionalProperties": _VALUE},
        write={
            "type": "array",
            "maxItems": 32,
            "items": {
                "type": "object",
                "required": ["address", "bytes"],
                "properties": {
                    "address": _VALUE,
                    "bytes": {"type": "string", "pattern": "^[0-9a-fA-F]{2,8192}$"},
                },
                "additionalProperties": False,
            },
        },
        read={
            "type": "array",
            "maxItems": 32,
            "items": {
                "type": "object",
                "required": ["address", "size"],
                "properties": {
                    "address": {"type": "string", "maxLength": 100},
                    "size": {"type": "integer", "minimum": 1, "maximum": BYTES_MAX},
                },
                "additionalProperties": False,
            },
        },
        seed={"type": "integer", "minimum": 0, "maximum": 1 << 32},
        limit={"type": "integer", "minimum": 1, "maximum": LIMIT_MAX},
    )

    def call(
        self,
        desk: Desk,
        routine: str,
        registers: dict[str, str] | None = None,
        write: list[dict[str, str]] | None = None,
        read: list[dict[str, Any]] | None = None,
        seed: int = 0,
        limit: int = LIMIT,
    ) -> Answer:
        """One call."""
        from toolchain.harness import Harness

        desk.need_native(self.name)
        with closing(Harness(desk.image())) as harness:
            if not harness.has(routine):
                raise InputError(f"no routine '{routine}' in the kernel; symbols lists them", stage=STAGE)
            given = _registers(harness, registers or {})
            for row in write or ():
                harness.write(_address(harness, row["address"]), bytes.fromhex(row["bytes"]))
            result = harness.call(routine, given, seed=seed, limit=limit)
            memory = [
                {
                    "address": row["address"],
                    "bytes": harness.read(_address(harness, row["address"], result), row["size"]).hex(),
                }
                for row in read or ()
            ]
        return _told(desk, routine, desk.headers().get(routine), result, memory)


def _registers(harness: Harness, texts: dict[str, str]) -> dict[str, int]:
    from toolchain.harness import BUFFER_BASE
    from toolchain.headers import full_register

    values = {}
    for number, (name, text) in enumerate(texts.items()):
        full = full_register(name)
        if full is None or full == "rsp":
            raise InputError(f"{name}: no general register that can be given", stage=STAGE)
        if text.startswith("@"):
            data = bytes.fromhex(text[1:] + "0" * (len(text[1:]) % 2))
            values[full] = BUFFER_BASE + number * BYTES_MAX
            harness.write(values[full], data)
        else:
            values[full] = int(text, 0)
    return values


def _address(harness: Harness, text: str, result: Result | None = None) -> int:
    """A number, a symbol, or after a run a register."""
    from toolchain.headers import full_register

    full = full_register(text)
    if full is not None and result is not None:
        return result.registers[full]
    if harness.has(text):
        return harness.address(text)
    try:
        return int(text, 0)
    except ValueError:
        raise InputError(f"{text}: neither an address, a symbol nor a register", stage=STAGE) from None


def _told(
    desk: Desk, routine: str, header: Routine | None, result: Result, memory: list[dict[str, str]]
) -> Answer:
    from toolchain.headers import GENERAL, full_register

    flags = {name: result.flag(name) for name in ("cf", "zf", "df")}
    changed = {
        n: hex(result.registers[n]) for n in GENERAL if result.registers[n] != result.before[n] and n != "rsp"
    }
    lines = [
        f"{routine}: {result.end}" + (f" at {desk.table().place(result.rip).symbol}" if result.rip else "")
    ]
    if result.end == "returned":
        lines = [f"{routine}: returned"]
    if result.address is not None and result.end == "fault":
        lines.append(f"the address {result.address:#x} cannot be used")
    for slot in header.outputs if header else ():
        if slot.register in flags:
            lines.append(f"  {slot.register} = {int(flags[slot.register])}  ({slot.name})")
        elif full_register(slot.register):
            lines.append(f"  {slot.register} = {result.value(slot.register):#x}  ({slot.name})")
    lines.append("changed: " + (", ".join(f"{n} = {v}" for n, v in changed.items()) or "no register"))
    lines += [f"[{row['address']}] {row['bytes']}" for row in memory]
    if result.ports:
        lines.append("ports: " + ", ".join(f"out {p:#x} = {v:#x}" for p, _, v in result.ports[:20]))
    data = {"end": result.end, "registers": changed, "flags": flags, "memory": memory}
    return Answer("\n".join(lines), data, ok=result.end == "returned")


class CheckContracts:
    """``check_contracts``."""

    name = "check_contracts"
    summary = (
        "Hold routines of the kernel (with the proposed edits) to their headers and models under Unicorn; names each"
        " broken promise with the call that shows it. Without names, all of them (seconds)."
    )
    parameters = schema(
        routines={
            "type": "array",
            "maxItems": 64,
            "items": {"type": "string", "minLength": 1, "maxLength": 100},
        }
    )

    def call(self, desk: Desk, routines: list[str] | None = None) -> Answer:
        """The violations."""
        from architect import contracts

        desk.need_native(self.name)
        headers = contracts.routines(desk.copy().sources())
        unknown = [name for name in routines or () if name not in headers]
        if unknown:
            raise InputError(f"no header describes '{unknown[0]}'", stage=STAGE)
        found = contracts.violations(desk.image(), headers, routines)
        rows = [{"routine": v.routine, "promise": v.promise, "call": dict(v.call)} for v in found]
        lines = [f"{v.routine}: {v.promise}  ({call_text(v.call)})" for v in found]
        what = "every routine" if routines is None else ", ".join(routines)
        return Answer("\n".join(lines) or f"{what}: every promise is kept", rows, ok=not rows)


def call_text(call: Any) -> str:
    """The call that shows a violation, for people."""
    return ", ".join(f"{k}={v:#x}" if isinstance(v, int) and v > 9 else f"{k}={v}" for k, v in call.items())
