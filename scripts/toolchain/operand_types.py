"""The operands of an instruction: registers, numbers, memory, code addresses.

Owns the types alone; ``operand`` makes them from text, ``encode`` makes bytes of them. They compare by identity:
``insn`` gives equal texts the same object.
"""

from __future__ import annotations

from toolchain.expr import Expr
from toolchain.registers import Reg


class Imm:
    """An immediate. ``value`` is signed 64-bit when it is a number, else an expression with names."""

    __slots__ = ("value",)

    def __init__(self, value: int | Expr) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Imm({self.value})"


class Mem:
    """A memory operand.

    Attributes:
        size: bytes named by ``... ptr`` (0 for ``far ptr``), None when the source names none.
        segment: ``"gs"`` and so on, None when none is named.
        base: a register, ``rip``/``eip`` included, or None.
        index: a register or None.
        scale: 1, 2, 4 or 8.
        disp: signed 64-bit displacement, or an expression with names.
        keyword: the size word as written (``"qword"``, ``"xmmword"``, ``"near"``), "" when none.
        mask: AVX-512 decorations as written (``{k1}{z}``), "" when none.
        shape: belongs to the encoder.
    """

    __slots__ = ("base", "disp", "index", "keyword", "mask", "scale", "segment", "shape", "size")

    def __init__(
        self,
        size: int | None = None,
        segment: str | None = None,
        base: Reg | None = None,
        index: Reg | None = None,
        scale: int = 1,
        disp: int | Expr = 0,
        keyword: str = "",
        mask: str = "",
    ) -> None:
        self.size = size
        self.segment = segment
        self.base = base
        self.index = index
        self.scale = scale
        self.disp = disp
        self.keyword = keyword
        self.mask = mask
        self.shape: object = None

    def __repr__(self) -> str:
        address = f"{self.base} + {self.index}*{self.scale} + {self.disp}"
        return f"Mem({self.keyword} {self.segment}:[{address}]{self.mask})"


class Target:
    """The destination of a direct jump or call: an absolute address, or an expression with names."""

    __slots__ = ("value",)

    def __init__(self, value: int | Expr) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Target({self.value})"


class Far:
    """``selector:offset`` of a far jump or call."""

    __slots__ = ("offset", "selector")

    def __init__(self, selector: int | Expr, offset: int | Expr) -> None:
        self.selector = selector
        self.offset = offset

    def __repr__(self) -> str:
        return f"Far({self.selector}:{self.offset})"


class Masked:
    """A vector register with AVX-512 decorations (``zmm0{k1}{z}``), or a rounding mode alone (``{rn-sae}``)."""

    __slots__ = ("mask", "reg")

    def __init__(self, reg: Reg | None, mask: str) -> None:
        self.reg = reg
        self.mask = mask

    def __repr__(self) -> str:
        return f"Masked({self.reg}{self.mask})"


Operand = Reg | Imm | Mem | Target | Far | Masked
