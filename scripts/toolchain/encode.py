"""From parsed instructions to bytes, in batches.

Owns the cache of encodings and the way of a statement through the stages: a plan (``encode_plan``), the bytes from
Keystone behind ``encode_guard``, the comparison of what Capstone decodes with what the statement said, and the
fields. It never runs Keystone in this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from toolchain.encode_check import agrees
from toolchain.encode_guard import Guard
from toolchain.encode_modrm import DISPLACEMENT_MARK, IMMEDIATE_MARK, Field, Refusal
from toolchain.encode_plan import Plan, plan
from toolchain.expr import Expr, number
from toolchain.insn import Core, Insn, Target
from toolchain.types import Diagnostic, Encoding, Fixup, Mode

_JCC = {
    name: code
    for code, names in enumerate(
        ["jo", "jno", "jb jc jnae", "jae jnb jnc", "je jz", "jne jnz", "jbe jna", "ja jnbe", "js", "jns", "jp jpe",
         "jnp jpo", "jl jnge", "jge jnl", "jle jng", "jg jnle"]
    )
    for name in names.split()
}  # fmt: skip


class Encoder:
    """Encodes batches of instructions; use as a context manager.

    Args:
        cache_dir: where encodings are kept between runs, or None.
    """

    def __init__(self, cache_dir: Path | None = None) -> None:
        self._guard = Guard()
        self._templates: dict[str, str] = {}
        self._guard.start()

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the worker process."""
        self._guard.close()

    def encode(self, requests: Sequence[tuple[Mode, Insn]]) -> list[Encoding | Diagnostic]:
        """Encode each instruction; the result at the same index is its encoding or what is wrong with it."""
        plans: list[Plan | Encoding | Refusal] = []
        wanted: dict[str, None] = {}
        for mode, insn in requests:
            core = insn.core
            try:
                item = _branch(mode, core) or plan(mode, core)
            except Refusal as refusal:
                plans.append(refusal)
                continue
            plans.append(item)
            if isinstance(item, Plan) and item.request not in self._templates:
                wanted[item.request] = None
        self._ask(wanted)
        scaled = {
            item.literal.request: None
            for item in plans
            if isinstance(item, Plan) and item.literal is not None and _is_evex(self._templates[item.request])
        }
        self._ask({request: None for request in scaled if request not in self._templates})
        results: list[Encoding | Diagnostic] = []
        for (_, insn), item in zip(requests, plans, strict=True):
            try:
                if isinstance(item, Refusal):
                    raise item
                results.append(item if isinstance(item, Encoding) else self._finish(item))
            except Refusal as refusal:
                results.append(Diagnostic(insn.place, refusal.message, refusal.expected))
        return results

    def _ask(self, requests: Mapping[str, None]) -> None:
        if requests:
            self._guard.submit(list(requests))
            self._templates.update(zip(requests, self._guard.collect(), strict=True))

    def _finish(self, item: Plan) -> Encoding:
        reply = self._templates[item.request]
        if item.literal is not None and _is_evex(reply):
            return self._finish(item.literal)
        if reply[0] == "!":
            raise Refusal(f"no encoding for `{item.expect}' ({reply[1:]})", "an instruction of this mode")
        text, decoded = reply.split("\t")
        if not agrees(item.expect, decoded):
            raise Refusal(f"`{item.expect}' would be encoded as `{decoded}'")
        data = bytearray.fromhex(text)
        end = len(data) - _suffix(data, item.fields)
        fixups = []
        for index in range(len(item.fields) - 1, -1, -1):
            field = item.fields[index]
            begin = end - field.size
            placeholders = (IMMEDIATE_MARK[field.size], DISPLACEMENT_MARK[field.size])
            if int.from_bytes(data[begin:end], "little") not in placeholders:
                raise Refusal(f"no field for the number in `{item.expect}'")
            value = field.value
            if isinstance(value, Expr):
                data[begin:end] = bytes(field.size)
                fixups.append(Fixup(begin, field.size, field.kind, value))
            else:
                data[begin:end] = (value & ((1 << 8 * field.size) - 1)).to_bytes(field.size, "little")
            end = begin
        return Encoding(bytes(data), tuple(reversed(fixups)))


def _is_evex(reply: str) -> bool:
    """Whether the bytes begin, behind legacy prefixes, with the EVEX prefix, whose 8-bit displacements are scaled."""
    return reply[0] != "!" and bytes.fromhex(reply.split("\t")[0]).lstrip(_LEGACY)[:1] == b"\x62"


_LEGACY = b"\x26\x2e\x36\x3e\x64\x65\x66\x67\xf0\xf2\xf3"


def _suffix(data: bytes, fields: Sequence[Field]) -> int:
    """Bytes behind the fields: 1 where the opcode ends in a byte of its own (3DNow!, ``cmpeqps``), else 0."""
    if not fields:
        return 0
    field = fields[-1]
    for suffix in (0, 1):
        end = len(data) - suffix
        mark = int.from_bytes(data[end - field.size : end], "little")
        if mark in (IMMEDIATE_MARK[field.size], DISPLACEMENT_MARK[field.size]):
            return suffix
    return 0


def _branch(mode: Mode, core: Core) -> Encoding | None:
    """A direct jump or call: the long form, and the short one where the linker may choose."""
    if len(core.operands) != 1 or not isinstance(core.operands[0], Target) or core.prefixes:
        return None
    value = core.operands[0].value
    operand = value if isinstance(value, Expr) else number(value)
    width = 2 if mode == 16 else 4
    name = core.mnemonic
    if name == "jmp":
        long, short = b"\xe9", b"\xeb"
    elif name == "call":
        long, short = b"\xe8", b""
    elif name in _JCC:
        long, short = bytes([0x0F, 0x80 + _JCC[name]]), bytes([0x70 + _JCC[name]])
    else:
        raise Refusal(f"no direct `{name}'")
    brief = None
    if short and isinstance(value, Expr):
        brief = Encoding(short + b"\0", (Fixup(1, 1, "pcrel", operand),))
    return Encoding(long + bytes(width), (Fixup(len(long), width, "pcrel", operand),), brief)
