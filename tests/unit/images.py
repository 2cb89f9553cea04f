"""Hand-made images: two source files, a call chain over rbp frames, data; they run as Linux programs too."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from toolchain.types import Image, Line, Section, Symbol

TEXT, NOTE, DATA, BSS = 0x401000, 0x402000, 0x403000, 0x404000

MAIN_S = """\
.intel_syntax noprefix
# the entry
.global start
start:
    push rbp
    mov rbp, rsp
    push rbx
    call middle
    pop rbx
    pop rbp
    mov eax, 60
    xor edi, edi
    syscall
"""

SUB_S = """\
.intel_syntax noprefix
.global middle
middle:
    push rbp
    mov rbp, rsp
    push r12
    sub rsp, 16
    call leaf
    lea rsp, [rbp - 8]
    pop r12
    leave
    ret
leaf:
    push rbx
    test edi, edi
    jne .Lother
    pop rbx
    ret
.Lother:
    nop
    pop rbx
    ret
"""


@dataclass
class _Code:
    at: int
    data: bytearray = field(default_factory=bytearray)
    lines: list[Line] = field(default_factory=list)
    marks: dict[str, int] = field(default_factory=dict)

    def put(self, file: str, line: int, code: str) -> None:
        raw = bytes.fromhex(code)
        self.lines.append(Line(self.at + len(self.data), len(raw), file, line))
        self.data += raw

    def mark(self, name: str) -> None:
        self.marks[name] = self.at + len(self.data)


def symbol(
    name: str,
    address: int,
    section: str | None = ".text",
    *,
    size: int = 0,
    kind: Literal["func", "object", "notype"] = "notype",
    file: str = "main.s",
    line: int = 1,
    is_global: bool = True,
) -> Symbol:
    return Symbol(name, address, size, kind, section, file, line, is_global)


def program() -> Image:
    """MAIN_S and SUB_S, assembled by hand: sources ``main.s`` and ``sub/sub.s``."""
    code = _Code(TEXT)
    code.mark("start")
    code.put("main.s", 5, "55")
    code.put("main.s", 6, "48 89 e5")
    code.put("main.s", 7, "53")
    code.put("main.s", 8, "e8 0e 00 00 00")
    code.put("main.s", 9, "5b")
    code.put("main.s", 10, "5d")
    code.put("main.s", 11, "b8 3c 00 00 00")
    code.put("main.s", 12, "31 ff")
    code.put("main.s", 13, "0f 05")
    code.data += b"\x90" * 3  # alignment: no line owns it
    code.mark("middle")
    code.put("sub/sub.s", 4, "55")
    code.put("sub/sub.s", 5, "48 89 e5")
    code.put("sub/sub.s", 6, "41 54")
    code.put("sub/sub.s", 7, "48 83 ec 10")
    code.put("sub/sub.s", 8, "e8 08 00 00 00")
    code.put("sub/sub.s", 9, "48 8d 65 f8")
    code.put("sub/sub.s", 10, "41 5c")
    code.put("sub/sub.s", 11, "c9")
    code.put("sub/sub.s", 12, "c3")
    code.mark("leaf")
    code.put("sub/sub.s", 14, "53")
    code.put("sub/sub.s", 15, "85 ff")
    code.put("sub/sub.s", 16, "75 02")
    code.put("sub/sub.s", 17, "5b")
    code.put("sub/sub.s", 18, "c3")
    code.mark("other")
    code.put("sub/sub.s", 20, "90")
    code.put("sub/sub.s", 21, "5b")
    code.put("sub/sub.s", 22, "c3")
    marks = code.marks
    return Image(
        entry=TEXT,
        sections=(
            Section(".text", TEXT, TEXT, len(code.data), bytes(code.data), "ax", 16),
            Section(".note.pvh", NOTE, 0x802000, 20, _note(), "a", 4),
            Section(".data", DATA, 0x803000, 8, b"\x2a\0\0\0\0\0\0\0", "aw", 8),
            Section(".bss", BSS, 0x804000, 0x2000, b"", "aw", 4096, nobits=True),
            Section(".empty", BSS + 0x2000, 0x806000, 0, b"", "aw", 1),
        ),
        symbols=(
            symbol("start", marks["start"], line=4),
            symbol("middle", marks["middle"], file="sub/sub.s", line=3),
            symbol("leaf", marks["leaf"], file="sub/sub.s", line=13, is_global=False, kind="func", size=11),
            symbol("answer", DATA, ".data", kind="object", size=8, is_global=False),
            symbol("buffer", BSS, ".bss", kind="object", size=0x2000),
            symbol("PORT", 0x3F8, None, is_global=False),
        ),
        lines=tuple(code.lines),
        files=("main.s", "sub/sub.s"),
    )


def _note() -> bytes:
    words = (4, 4, 18)  # name size, descriptor size, XEN_ELFNOTE_PHYS32_ENTRY
    return b"".join(w.to_bytes(4, "little") for w in words) + b"Xen\0" + (0x100020).to_bytes(4, "little")
