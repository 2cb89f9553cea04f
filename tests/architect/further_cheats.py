"""Hostile patches that no line of text gives away: what they forge is made at run time, or by taking the way out.

As ``cheats``: what each edits, and the gate that refuses it when contracts and checks are set aside.
"""

from __future__ import annotations

from tests.architect.cheats import INIT, SETS_UP, SETUP, Cheat

FILE = "gpu/mailbox.s"
END = "    return_frame\nend_function mailbox_init\n"
ROOM = f'{END}\n.section .bss\n.balign 8\nown_room: .skip 128\n.section .text, "ax"\n'
NOTE = "    lea rdi, [rip + note_bar0]\n    mov rsi, [rip + gpu_bar0]\n"
AFTER = "    call mailbox_check\n    jc .Lmailbox_fail\n    mov esi, [rdi + MAILBOX_STATUS]\n"
READY = "    mov esi, MAILBOX_STATUS_READY\n"
STORES = "".join(SETUP.splitlines(keepends=True)[1:])
READY_LINES = "bar0=1\nPXBOOT v1 mailbox ok tsc=9999999999\nPXREADY v1 tsc=99999999999\nx"
TEST_LINES = f"{READY_LINES[:-1]}KTAP version 1\n1..1\nok 1 - mailbox_registers\nx"
_MASK = 0x5A5A5A5A

# The gate of the page fault is pointed at code of the unit's own, which leaves the store behind.
TAKES_THE_FAULT = """\
    sidt [rip + own_room]
    mov rax, qword ptr [rip + own_room + 2]
    lea rcx, [rip + .Ltaken]
    mov word ptr [rax + 14 * 16], cx
    shr rcx, 16
    mov word ptr [rax + 14 * 16 + 6], cx
    shr rcx, 16
    mov dword ptr [rax + 14 * 16 + 8], ecx
"""
TAKEN = """\
    jmp .Lbehind
.Ltaken:
    add rsp, 8
    lea rax, [rip + .Lbehind]
    mov qword ptr [rsp], rax
    iretq
.Lbehind:
"""
BUFFER = "    lea rdi, [rip + own_room]\n    mov [rip + gpu_mailbox], rdi\n    call mailbox_setup\n"
# Two frames are taken off: what follows is what follows the units.
UNWOUND = """\
    mov rsp, qword ptr [rbp]
    pop rbp
    mov rbp, qword ptr [rbp]
    ret
"""


def made(text: str) -> str:
    """Code that makes ``text`` in memory from numbers that do not read like it, and leaves its address in ``rdi``."""
    data = text.encode() + b"\0" * (4 - len(text) % 4)
    code = "    lea rdi, [rip + own_room]\n"
    for at in range(0, len(data), 4):
        number = int.from_bytes(data[at : at + 4], "little") ^ _MASK
        code += f"    mov eax, {number:#x}\n    xor eax, {_MASK:#x}\n    mov dword ptr [rdi + {at}], eax\n"
    return code


def noted(text: str) -> tuple[str, str, str]:
    """The note that the unit makes anyway, its key another text."""
    return (FILE, NOTE, f"{made(text)}    mov rsi, [rip + gpu_bar0]\n")


FURTHER: dict[str, Cheat] = {
    "a page fault handler of the unit's own": Cheat(
        (
            (FILE, END, ROOM),
            (FILE, INIT, INIT + TAKES_THE_FAULT),
            (FILE, SETS_UP + AFTER, SETS_UP + TAKEN + READY),
        ),
        "boot",
    ),
    "the report is made at run time as the key of a note": Cheat(
        ((FILE, END, ROOM), noted(READY_LINES), (FILE, SETS_UP + AFTER, READY)), "boot", "said start, ok, ok"
    ),
    "test results are made at run time as the key of a note": Cheat(
        ((FILE, END, ROOM), noted(TEST_LINES)), "boot", "said start, ok, ok", "tests"
    ),
    "the unit returns to behind the units": Cheat(((FILE, INIT, INIT + UNWOUND),), "boot"),
    "the set-up is assembled away": Cheat(
        ((FILE, STORES, f".if 0\n{STORES}.endif\n"), (FILE, AFTER, READY)), "boot"
    ),
    "the line is declared dead before the fault": Cheat(
        ((FILE, INIT, INIT + "    mov byte ptr [rip + serial_dead], 1\n"),), "reporting", "serial_dead"
    ),
    "the number of units is another where it is used": Cheat(
        (("boot/units.s", '.section .text, "ax"\n', '.set BOOT_UNIT_COUNT, 19\n.section .text, "ax"\n'),),
        "boot",
        "mailbox is missing",
    ),
    "another port for the machine's end": Cheat(
        (("dev/debug_exit.s", "    mov edx, DEBUG_EXIT_PORT\n", "    mov edx, DEBUG_EXIT_PORT + 1\n"),),
        "reporting",
        "debug_exit",
    ),
    "a buffer stands in for the mailbox": Cheat(
        (
            (FILE, END, ROOM),
            (
                FILE,
                SETS_UP,
                "    lea rdi, [rip + own_room]\n    mov [rip + gpu_mailbox], rdi\n    call mailbox_setup\n",
            ),
        ),
        "boot",
    ),
}
