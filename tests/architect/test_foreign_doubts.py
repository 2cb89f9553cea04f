"""What speaks against repairs that pass, and how one of several is chosen."""

from __future__ import annotations

import pytest

from architect.foreign.doubts import doubts
from architect.protocols import Edit, Evaluation, Patch
from architect.rivals import Choice


def patch(old: str | None, new: str | None, file: str = "a.s", cost: float = 10.0) -> Patch:
    """One line changed, taken away or added."""
    edit = Edit(file, 1, () if old is None else (old,), () if new is None else (new,))
    return Patch((edit,), "search", "operator", "reason", cost)


def passing(candidate: Patch, image: str) -> Evaluation:
    """An evaluation that passed."""
    return Evaluation(candidate, (), True, 2.0, True, image)


@pytest.mark.parametrize(
    ("old", "new", "file"),
    [
        ("        cmpl    $IRQ_BASE, %eax", "        testl   $IRQ_BASE, %eax", "a.s"),
        ("        cmp eax, 5", "        mov eax, 5", "a.asm"),
        ("        jz .wait", "        jmp .next", "a.asm"),
        ("        mov     esp, stack_top", "        or      esp, stack_top", "a.S"),
        ("        mov dx, COM1 + UART_LINE", "        mov dx, COM1", "a.asm"),
        ("UART_EMPTY      equ 1 << 5   ; empty", "UART_EMPTY      equ 1        ; empty", "a.inc"),
        ("        .set    FLAGS, PRESENT | WRITE", "        .set    FLAGS, PRESENT", "a.s"),
        ("        or eax, EFER_LME", "        or eax, EFER_LME - 1", "a.asm"),
        ("        outb    %al, $0x20", None, "a.s"),
        (None, "        orl     $IRQ_BASE, %esp", "a.s"),
        ("    int at = sizeof digits - 1;", "    int at = sizeof digits + 1;", "a.c"),
        ("    fill(bitmap, 0, sizeof bitmap);", "    fill(bitmap, sizeof bitmap, 0);", "a.c"),
        ("    if (free(frame))", "    if (1)", "a.c"),
    ],
)
def test_what_weakens_or_breaks_is_doubted(old: str | None, new: str | None, file: str) -> None:
    found = doubts(patch(old, new, file))
    assert found and all(doubt.bits > 0 and doubt.why.startswith("it") for doubt in found)


@pytest.mark.parametrize(
    ("old", "new", "file"),
    [
        ("        movl    36(%esp), %eax   # vector", "        movl    32(%esp), %eax   # vector", "a.s"),
        ("        jnz .wait", "        jz .wait", "a.asm"),
        ("        add edi, 4", "        add edi, 8", "a.asm"),
        ("        pop rsi", "        pop rdi", "a.asm"),
        ("        mov     esp, stack_top", "        mov     esp, offset stack_top", "a.S"),
        ("        cmpb    $0x20, %al", "        testb   $0x20, %al", "a.s"),
        ("EFER_LME        equ 1 << 10 ; long mode", "EFER_LME        equ 1 << 8 ; long mode", "a.inc"),
        (None, "        outb    %al, $0x20", "a.s"),
        ("    frame_give(first);", "    frame_give(second);", "a.c"),
        ("    digits[at--] = 0;", "    digits[--at] = 0;", "a.c"),
        ("    map[n] &= (1u << n);", "    map[n] &= ~(1u << n);", "a.c"),
    ],
)
def test_a_plain_repair_is_not_doubted(old: str | None, new: str, file: str) -> None:
    assert doubts(patch(old, new, file)) == ()


def test_a_doubted_repair_gives_way_to_a_dearer_one() -> None:
    cheap = passing(patch("        cmp eax, BASE", "        test eax, BASE", cost=9.0), "1")
    plain = passing(patch("        mov eax, 4", "        mov eax, 8", cost=11.0), "2")
    twin = passing(patch("        mov eax, 4", "        mov eax, 0x8", cost=12.0), "2")
    choice = Choice(100, doubts)
    assert choice.ranked([cheap, twin, plain]) == [plain, cheap]
    assert Choice().ranked([plain, cheap]) == [cheap, plain]


def test_others_are_looked_for_longer_while_all_are_doubtful() -> None:
    cheap = passing(patch("        cmp eax, BASE", "        test eax, BASE", cost=9.0), "1")
    plain = passing(patch("        mov eax, 4", "        mov eax, 8", cost=11.0), "2")
    choice = Choice(100, doubts)
    assert not choice.enough([cheap], 60) and choice.enough([cheap], 100)
    assert not choice.enough([cheap, plain], 20) and choice.enough([cheap, plain], 25)
    assert Choice().enough([cheap], 0)
