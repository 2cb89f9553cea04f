"""The cases of the conformance suite: programs, and by hand from SPEC.md how each of them ends.

Owns the table. What a case does not mention is as at the machine's start: an empty stack, one frame of zeros, memory as
the program brings it, the console's positions 0. Nothing here was computed by an engine.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from pixelvm import isa

MIN = 0x80000000
ONES = 0xFFFFFFFF


class Case(NamedTuple):
    """One cartridge and its end.

    Attributes:
        name: of its files; begins with the instruction, call, trap or limit that it is about.
        source: as the assembler reads it.
        spent: fuel.
        end: what differs from the machine's start; ``pc`` is the last word where it is not given.
        stop: why it stopped.
        fuel: given at the start.
        log: what the host was asked, in order (see ``conform.Host``).
        length: words of the program, where the source is only its end: a jump to there and many a `halt 1` before it.
    """

    name: str
    source: str
    spent: int
    end: dict[str, Any]
    stop: str = "HALTED"
    fuel: int = 100_000
    log: tuple[tuple[Any, ...], ...] = ()
    length: int = 0


def _binary(name: str, cost: int, *rows: tuple[int, int, int]) -> Case:
    """``a op b`` for each row, the results left on the stack."""
    lines = [f"push {a:#x}\n push {b:#x}\n {name}" for a, b, _ in rows]
    pushes = sum(1 + (not -(1 << 23) <= _signed(n) < 1 << 23) for a, b, _ in rows for n in (a, b))
    return Case(
        name,
        "\n".join([*lines, "halt"]),
        pushes + cost * len(rows) + 1,
        {"stack": [result for *_, result in rows]},
    )


def _signed(number: int) -> int:
    return number - (1 << 32) if number & MIN else number


def _trap(name: str, source: str, pc: int, spent: int, stop: str, fuel: int = 100_000, **end: Any) -> Case:
    return Case(name, source, spent, {"pc": pc, **end}, stop, fuel)


_FULL = "\n".join(f"push {n}" for n in range(isa.STACK_SLOTS))
_ALL = list(range(isa.STACK_SLOTS))
_DEEPEST = [[0] * isa.LOCALS] * isa.FRAMES

INSTRUCTIONS = (
    Case("push", "push 0\n push 8388607\n push -8388608\n push -1\n halt", 5,
         {"stack": [0, 0x7FFFFF, 0xFF800000, ONES]}),
    Case("high", "push -1\n high 0\n push 5\n high 128\n halt", 5, {"stack": [0x00FFFFFF, 0x80000005]}),
    Case("dup", "push 7\n dup\n halt", 3, {"stack": [7, 7]}),
    Case("drop", "push 1\n push 2\n drop\n halt", 4, {"stack": [1]}),
    Case("swap", "push 1\n push 2\n push 3\n swap\n halt", 5, {"stack": [1, 3, 2]}),
    Case("over", "push 1\n push 2\n over\n halt", 4, {"stack": [1, 2, 1]}),
    Case("rot", "push 9\n push 1\n push 2\n push 3\n rot\n halt", 6, {"stack": [9, 2, 3, 1]}),
    Case("pick", "push 5\n push 6\n push 7\n pick 0\n pick 2\n pick 4\n halt", 7, {"stack": [5, 6, 7, 7, 6, 5]}),
    Case("pick-deepest", f"drop_me: {_FULL}\n drop\n pick 254\n halt", 259, {"stack": [*_ALL[:-1], 0]}),
    _binary("add", 1, (2, 3, 5), (ONES, 1, 0), (MIN, MIN, 0), (0x7FFFFFFF, 1, MIN)),
    _binary("sub", 1, (5, 3, 2), (0, 1, ONES), (MIN, 1, 0x7FFFFFFF)),
    _binary("mul", 1, (6, 7, 42), (0x10001, 0x10001, 0x20001), (ONES, ONES, 1), (MIN, 2, 0)),
    _binary("divu", 4, (7, 2, 3), (ONES, 2, 0x7FFFFFFF), (1, ONES, 0), (MIN, ONES, 0)),
    _binary("divs", 4, (7, 2, 3), (-7 & ONES, 2, -3 & ONES), (7, -2 & ONES, -3 & ONES), (-7 & ONES, -2 & ONES, 3),
            (MIN, ONES, MIN), (MIN, 1, MIN), (1, MIN, 0)),
    _binary("remu", 4, (7, 2, 1), (ONES, 10, 5), (1, ONES, 1)),
    _binary("rems", 4, (7, 2, 1), (-7 & ONES, 2, ONES), (7, -2 & ONES, 1), (-7 & ONES, -2 & ONES, ONES),
            (MIN, ONES, 0), (1, MIN, 1)),
    _binary("and", 1, (12, 10, 8), (ONES, MIN, MIN)),
    _binary("or", 1, (12, 10, 14), (0, MIN, MIN)),
    _binary("xor", 1, (12, 10, 6), (ONES, ONES, 0)),
    _binary("shl", 1, (1, 31, MIN), (3, 32, 3), (1, 33, 2), (1, ONES, MIN), (MIN, 1, 0)),
    _binary("shr", 1, (MIN, 31, 1), (MIN, 32, MIN), (ONES, 33, 0x7FFFFFFF), (8, ONES, 0)),
    _binary("sar", 1, (MIN, 31, ONES), (MIN, 32, MIN), (8, 34, 2), (-8 & ONES, 1, -4 & ONES), (MIN, ONES, ONES)),
    _binary("eq", 1, (5, 5, 1), (5, 6, 0), (ONES, ONES, 1)),
    _binary("ne", 1, (5, 5, 0), (5, 6, 1), (0, MIN, 1)),
    _binary("ltu", 1, (1, ONES, 1), (5, 5, 0), (ONES, 0, 0)),
    _binary("lts", 1, (1, ONES, 0), (MIN, 0, 1), (5, 5, 0), (ONES, 1, 1)),
    Case("load8", ".memory 256\n push 0\n load8 0\n push 255\n load8 0\n push -1\n load8 2\n halt\n"
         " .data\n .byte 200, 9", 7, {"stack": [200, 0, 9]}),
    Case("store8", ".memory 256\n push 1\n push 0x1ff\n store8 2\n push -1\n push 5\n store8 1\n halt", 7,
         {"memory": {3: 255, 0: 5}}),
    Case("load32", ".memory 256\n push 0\n load32 0\n push -4\n load32 8\n push 252\n load32 0\n halt\n .data\n"
         " .byte 1, 2, 3, 4, 5, 6, 7, 128", 7, {"stack": [0x04030201, 0x80070605, 0]}),
    Case("store32", ".memory 256\n push 248\n push 0xdeadbeef\n store32 4\n halt", 5,
         {"memory": {252: 0xEF, 253: 0xBE, 254: 0xAD, 255: 0xDE}}),
    Case("jump", "main: jump on\n back: halt 1\n on: jump back", 3, {"pc": 1, "result": 1}),
    Case("jz", "push 1\n jz no\n push -2\n jz no\n push 0x80000000\n jz no\n push 0\n jz yes\n"
         " no: halt 1\n yes: halt 2", 10, {"pc": 10, "result": 2}),
    Case("jnz", "push 0\n jnz no\n push -2\n jnz on\n no: halt 1\n on: push 0x80000000\n jnz yes\n"
         " halt 3\n yes: halt 2", 8, {"pc": 9, "result": 2}),
    Case("call", "push 3\n set 0\n call f\n halt\n f: get 0\n push 4\n set 0\n halt 1", 8,
         {"stack": [0], "returns": [3], "locals": [[3] + [0] * 15, [4] + [0] * 15], "result": 1}),
    Case("ret", "push 3\n set 15\n call f\n get 15\n halt\n f: push 4\n set 15\n ret", 9,
         {"pc": 4, "stack": [3], "locals": [[0] * 15 + [3]]}),
    Case("call-again", "call f\n call g\n halt\n f: push 9\n set 2\n ret\n g: get 2\n ret", 10,
         {"pc": 2, "stack": [0]}),
    Case("call-clears", "call f\n call g\n halt\n f: push 9\n set 2\n ret\n g: push 1\n set 5\n get 2\n ret", 12,
         {"pc": 2, "stack": [0]}),
    Case("get", "get 0\n get 15\n halt", 3, {"stack": [0, 0]}),
    Case("set", "push 1\n set 15\n push 2\n set 3\n push 3\n set 3\n get 15\n halt", 8,
         {"stack": [1], "locals": [[0, 0, 0, 3] + [0] * 11 + [1]]}),
    Case("halt", "halt 255", 1, {"result": 255}),
    Case("entry", "halt 1\n main: halt 2", 1, {"result": 2}),
)  # fmt: skip

CALLS = (
    Case("sys-putc", "push 65\n sys putc\n push 0x1ff\n sys putc\n halt", 35, {"written": 2},
         log=(("put", 0, 65), ("put", 1, 255))),
    Case("sys-getc", "sys getc\n sys getc\n sys getc\n halt", 49, {"stack": [104, 105, ONES], "read": 2},
         log=(("get", 0), ("get", 1), ("get", 2))),
    Case("sys-time", "sys time\n halt", 17, {"stack": [5]}, log=(("time",),)),
    Case("sys-random", "sys random\n sys random\n halt", 17, {"stack": [1359758873, 3761132862], "seed": 3761132862}),
    Case("sys-size", "sys size\n halt", 17, {"stack": [4, 3]}, log=(("size",),)),
    Case("sys-plot", "push 3\n push 2\n push 0x11223344\n sys plot\n push -1\n push 0\n push 1\n sys plot\n halt", 40,
         {}, log=(("plot", 3, 2, 0x11223344), ("plot", ONES, 0, 1))),
    Case("sys-pixel", "push 1\n push 2\n sys pixel\n push 4\n push 0\n sys pixel\n halt", 37,
         {"stack": [0xFF000201, 0]}, log=(("pixel", 1, 2), ("pixel", 4, 0))),
    Case("sys-show", "sys show\n halt", 65, {}, log=(("show",),)),
    Case("sys-send", "push 8\n sys send\n push 9\n sys send\n halt", 131, {"stack": [1, 0]},
         log=(("send", 8), ("send", 9))),
    Case("sys-receive", "sys receive\n sys receive\n halt", 129, {"stack": [7, 1, 0, 0]},
         log=(("receive",), ("receive",))),
)  # fmt: skip

TRAPS = (
    _trap("illegal-zero", "push 1\n .pixel 0", 1, 1, "ILLEGAL", stack=[1]),
    _trap("illegal-ones", ".pixel 0xffffffff", 0, 0, "ILLEGAL"),
    _trap("illegal-operand", ".pixel 0x00000120", 0, 0, "ILLEGAL"),
    _trap("illegal-target", ".pixel 0x00000160", 0, 0, "ILLEGAL"),
    _trap("illegal-call", ".pixel 0x00000a80", 0, 0, "ILLEGAL"),
    _trap("illegal-local", ".pixel 0x00001070", 0, 0, "ILLEGAL"),
    _trap("illegal-slot", ".pixel 0x00010017", 0, 0, "ILLEGAL"),
    _trap("illegal-end", "push 1\n drop", 2, 2, "ILLEGAL"),
    _trap("illegal-before-fuel", ".pixel 0", 0, 0, "ILLEGAL", fuel=0),
    _trap("fuel-before-underflow", "drop", 0, 0, "FUEL", fuel=0),
    _trap("fuel-of-a-division", "push 1\n push 1\n divu\n halt", 2, 2, "FUEL", fuel=5, stack=[1, 1]),
    _trap("fuel-of-a-call", "sys show\n halt", 0, 0, "FUEL", fuel=63),
    _trap("underflow", "push 1\n add", 1, 1, "UNDERFLOW", stack=[1]),
    _trap("underflow-pick", "push 1\n pick 1", 1, 1, "UNDERFLOW", stack=[1]),
    _trap("underflow-call", "push 1\n push 2\n sys plot", 2, 2, "UNDERFLOW", stack=[1, 2]),
    _trap("underflow-before-division", "push 0\n divu", 1, 1, "UNDERFLOW", stack=[0]),
    _trap("overflow", f"{_FULL}\n push 1", 256, 256, "OVERFLOW", stack=_ALL),
    _trap("overflow-over", f"{_FULL}\n over", 256, 256, "OVERFLOW", stack=_ALL),
    _trap("overflow-call", f"{_FULL}\n drop\n sys size", 257, 257, "OVERFLOW", stack=_ALL[:-1]),
    *(_trap(f"division-{op}", f"push 5\n push 0\n {op}", 2, 2, "DIVISION", stack=[5, 0])
      for op in ("divu", "divs", "remu", "rems")),
    _trap("alignment-load", "push 1\n load32 0", 1, 1, "ALIGNMENT", stack=[1]),
    _trap("alignment-store", "push 0\n push 9\n store32 2", 2, 2, "ALIGNMENT", stack=[0, 9]),
    _trap("alignment-before-bounds", ".memory 256\n push 257\n load32 0", 1, 1, "ALIGNMENT", stack=[257]),
    _trap("bounds-load8", ".memory 256\n push 256\n load8 0", 1, 1, "BOUNDS", stack=[256]),
    _trap("bounds-store8", ".memory 256\n push -1\n push 1\n store8 0", 2, 2, "BOUNDS", stack=[ONES, 1]),
    _trap("bounds-load32", ".memory 256\n push 252\n load32 4", 1, 1, "BOUNDS", stack=[252]),
    _trap("bounds-store32", ".memory 256\n push -4\n push 1\n store32 0", 2, 2, "BOUNDS", stack=[ONES - 3, 1]),
    _trap("bounds-no-memory", ".memory 0\n push 0\n load8 0", 1, 1, "BOUNDS", stack=[0]),
    _trap("calls", "main: call main", 0, 2 * (isa.FRAMES - 1), "CALLS", returns=[1] * (isa.FRAMES - 1),
          locals=_DEEPEST),
    _trap("return", "ret", 0, 0, "RETURN"),
)  # fmt: skip

LIMITS = (
    Case("limit-stack", f"{_FULL}\n rot\n swap\n halt", 259, {"stack": [*_ALL[:253], 254, 253, 255]}),
    Case("limit-frames", "main: get 0\n drop\n push 7\n set 0\n call f\n f: push 1\n set 1\n call f",
         4 + 2 + 2 + 62 * 4,
         {"pc": 7, "returns": [5] + [8] * 62, "locals": [[7] + [0] * 15] + [[0, 1] + [0] * 14] * 63}, "CALLS"),
    Case("limit-code", "halt 3", 2, {"result": 3}, length=isa.CODE_MAX),
    Case("limit-fuel", "main: jump main", 100, {"pc": 0}, "FUEL", 100),
)  # fmt: skip

CASES = (*INSTRUCTIONS, *CALLS, *TRAPS, *LIMITS)
