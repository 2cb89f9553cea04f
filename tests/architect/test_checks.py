"""Static checks: each finds what it is for in a small image, and nothing in the sound twin."""

from __future__ import annotations

import struct

import pytest

from architect import checks
from toolchain.types import Image, Line, Section, Symbol

BOOT = 0x100000
TEXT = 0xFFFFFFFF80110000
HEADER = "# {name} -- a routine\n# In:       none\n# Out:      none\n# Clobbers: {clobbers}\n# Context:  any\n{name}:\n"
MULTIBOOT2 = struct.pack("<4IHHI", 0xE85250D6, 0, 24, -(0xE85250D6 + 24) & 0xFFFFFFFF, 0, 0, 8)
PVH = struct.pack("<3I4sQ", 4, 8, 18, b"Xen\0", BOOT + 64)


def kernel(
    code: dict[str, str], clobbers: str = "rax", boot: bytes = MULTIBOOT2, note: bytes = PVH
) -> list[checks.Finding]:
    """Findings of an image with the given routines (hex), whose headers list ``clobbers``."""
    text, symbols, lines = b"", [], []
    for number, (name, body) in enumerate(code.items()):
        data = bytes.fromhex(body)
        symbols.append(Symbol(name, TEXT + len(text), len(data), "func", ".text", "x.s", number, True))
        lines.append(Line(TEXT + len(text), len(data), "x.s", 10 * number))
        text += data
    sections = (
        Section(".boot", BOOT, BOOT, 4096, boot.ljust(4096, b"\0"), "awx", 4096),
        Section(".note.pvh", BOOT + 4096, BOOT + 4096, len(note), note, "a", 4),
        Section(".text", TEXT, 0x110000, len(text), text, "ax", 4096),
    )
    source = "".join(HEADER.format(name=name, clobbers=clobbers) for name in code)
    return checks.findings(Image(BOOT, sections, tuple(symbols), tuple(lines), ("x.s",)), {"x.s": source})


@pytest.mark.parametrize(
    "body",
    [
        "50 58 c3",  # push rax; pop rax; ret
        "55 4889e5 4883ec20 c9 c3",  # frame of 32 bytes
        "55 4889e5 53 488d65f8 5b 5d c3",  # lea rsp, [rbp-8]; pop rbx; pop rbp
        "85c0 7402 9090 c3",  # a branch whose paths agree
        "4883e4f0 c3",  # and rsp, -16: no longer known
    ],
)
def test_sound_stack(body: str) -> None:
    assert kernel({"f": body}) == []


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        ("50 c3", "stack-return"),
        ("4883ec08 c3", "stack-return"),
        ("85c0 7401 50 90 c3", "stack-depth"),  # one arm pushes
    ],
)
def test_unsound_stack(body: str, rule: str) -> None:
    assert rule in [finding.rule for finding in kernel({"f": body})]


@pytest.mark.parametrize(
    "body",
    [
        "0f20c0 480d00000100 0f22c0 c3",  # mov rax, cr0; or rax, WP; mov cr0, rax
        "b801000180 0f22c0 c3",  # mov eax, PE | WP | PG
        "0f20e0 4889c1 2480 0f22e0 c3",  # mov rax, cr4; and al, 0x80: 8 bits of it
        "0f20e0 480fbae807 0f22e0 c3",  # bts rax, 7
        "b800000100 7400 0f22c0 c3",  # what a branch leads to
        "4831c0 480d01000080 0f22c0 c3",  # xor rax, rax; or rax, -0x7fffffff
    ],
)
def test_sound_control_registers(body: str) -> None:
    assert kernel({"f": body}, "rax, rcx") == []


@pytest.mark.parametrize(
    ("body", "lost"),
    [
        ("0f20c0 b800000100 0f22c0 c3", "CR0 without PE and PG"),  # mov eax, WP
        ("b801000100 0f22c0 c3", "CR0 without PG"),
        ("31c0 0f22c0 c3", "CR0 without PE and PG"),
        ("0f20c0 25ffffff7f 0f22c0 c3", "CR0 without PG"),  # and eax, ~PG
        ("0f20e0 4883e0df 0f22e0 c3", "CR4 without PAE"),
        ("0f20e0 480fbaf005 0f22e0 c3", "CR4 without PAE"),  # btr rax, 5
        ("41b880000000 410f22e0 c3", "CR4 without PAE"),  # mov r8d, PGE; mov cr4, r8
    ],
)
def test_mode_bits_that_a_load_loses(body: str, lost: str) -> None:
    found = kernel({"f": body}, "rax, r8")
    assert [finding.rule for finding in found] == ["control-register"]
    assert lost in found[0].message


def test_call_alignment() -> None:
    odd = {"f": "e801000000 c3", "g": "c3"}  # call with RSP = entry
    even = {"f": "4883ec08 e805000000 4883c408 c3", "g": "c3"}
    assert [finding.rule for finding in kernel(odd)] == ["stack-align"]
    assert kernel(even) == []


def test_tail_jump_with_bytes_left() -> None:
    found = kernel({"f": "50 eb00", "g": "c3"})
    assert [finding.rule for finding in found] == ["stack-return"]
    assert found[0].routine == "f"


def test_saves() -> None:
    assert [f.rule for f in kernel({"f": "31db c3"})] == ["register-saves"]
    assert kernel({"f": "31db c3"}, clobbers="rbx") == []
    assert kernel({"f": "53 31db 5b c3"}) == []


def test_saves_of_a_callee() -> None:
    code = {"f": "4883ec08 e805000000 4883c408 c3", "g": "31c0 c3"}
    source_says_rax = kernel(code, clobbers="rax")
    assert source_says_rax == []
    assert {f.routine for f in kernel(code, clobbers="rcx")} == {"g"}


@pytest.mark.parametrize(
    ("boot", "part"),
    [
        (b"", "no header magic"),
        (b"\0" * 4 + MULTIBOOT2, "8-byte aligned"),
        (MULTIBOOT2[:12] + b"\0\0\0\0" + MULTIBOOT2[16:], "sum to zero"),
        (struct.pack("<4I", 0xE85250D6, 0, 16, -(0xE85250D6 + 16) & 0xFFFFFFFF), "end tag"),
        (MULTIBOOT2[:-4] + struct.pack("<I", 4), "size 4"),
    ],
)
def test_multiboot2(boot: bytes, part: str) -> None:
    (found,) = kernel({}, boot=boot)
    assert found.rule == "multiboot2"
    assert part in found.message


@pytest.mark.parametrize(
    ("note", "part"),
    [
        (PVH[:8], "cut short"),
        (PVH[:8] + b"\x12\x01\0\0" + PVH[12:], "type 274"),
        (PVH[:16] + (0x5000).to_bytes(8, "little"), "no executable section"),
    ],
)
def test_pvh(note: bytes, part: str) -> None:
    (found,) = kernel({}, note=note)
    assert found.rule == "pvh-note"
    assert part in found.message


def test_gate_has_the_findings_as_evidence() -> None:
    gate = checks.run(Image(0, (), (), (), ()), {})
    assert not gate.passed
    assert gate.evidence["findings"][0]["rule"] == "multiboot2"
