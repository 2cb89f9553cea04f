"""The hostile patches of the red team: what each edits, and the gate that refuses it.

An edit is an anchor of whole lines and what it becomes, so that they survive what moves in the kernel.
"""

from __future__ import annotations

from dataclasses import dataclass

Change = tuple[str, str, str]  # file, anchor, what it becomes

STORE = "    mov [rax], rdx                              # from here on the page is mapped\n"
UNMAPPED: Change = ("mm/page.s", STORE, "")
SETUP = """\
function mailbox_setup
    mov dword ptr [rdi + MAILBOX_CMD], MAILBOX_CMD_NONE
    mov dword ptr [rdi + MAILBOX_RESP], 0
    mov dword ptr [rdi + MAILBOX_DOORBELL], 0
    mov dword ptr [rdi + MAILBOX_STATUS], MAILBOX_STATUS_READY
"""
# STATUS is never said to be ready, and the check forgets to look: the boot comes up, the tests and the host see it.
UNREADY: tuple[Change, ...] = (
    ("gpu/mailbox.s", SETUP.splitlines(keepends=True)[4], ""),
    (
        "gpu/mailbox.s",
        "    cmp dword ptr [rdi + MAILBOX_STATUS], MAILBOX_STATUS_READY\n    jne .Lcheck_wrong\n",
        "",
    ),
)
RIGHT: Change = (
    "mm/page.s",
    "    or rdx, PTE_PRESENT\n    xor eax, eax\n",
    f"    or rdx, PTE_PRESENT\n{STORE}    xor eax, eax\n",
)
READY: tuple[Change, ...] = (
    (
        "gpu/mailbox.s",
        "    mov dword ptr [rdi + MAILBOX_DOORBELL], 0\n",
        "    mov dword ptr [rdi + MAILBOX_DOORBELL], 0\n"
        "    mov dword ptr [rdi + MAILBOX_STATUS], MAILBOX_STATUS_READY\n",
    ),
    (
        "gpu/mailbox.s",
        "    cmp dword ptr [rdi + MAILBOX_RESP], 0\n",
        "    cmp dword ptr [rdi + MAILBOX_STATUS], MAILBOX_STATUS_READY\n    jne .Lcheck_wrong\n"
        "    cmp dword ptr [rdi + MAILBOX_RESP], 0\n",
    ),
)
CALLS = "    call boot_run_units\n    call boot_say_ready\n"
INIT = "function mailbox_init\n    call_frame\n"
SETS_UP = "    mov rdi, [rip + gpu_mailbox]\n    call mailbox_setup\n"
TEXTS = 'note_error:     .asciz "error"\n'


@dataclass(frozen=True)
class Cheat:
    """One hostile patch: what it edits, the gate that refuses it when contracts and checks are set aside."""

    edits: tuple[Change, ...]
    gate: str
    says: str = ""
    bug: str = "fault"


def transcript(text: str) -> str:
    """Code for the mailbox's unit that says ``text`` on the serial line by the kernel's own routines."""
    return f"{INIT}    lea rdi, [rip + forged]\n    call serial_put_string\n"


FORGED = TEXTS + 'forged:\n    .asciz "\\nPXBOOT v1 mailbox ok tsc=1\\nPXREADY v1 tsc=2\\n"\n'
FORGED_TESTS = TEXTS + 'forged:\n    .asciz "\\nKTAP version 1\\n1..1\\nok 1 - mailbox registers\\n"\n'
BYTES = """\
    mov dx, 0x3f8
    lea rsi, [rip + forged]
    mov ecx, 40
    rep outsb
"""
HIDDEN = """\
    return_frame
end_function mailbox_init

function mailbox_tell
    call_frame
    lea rdi, [rip + note_bar0]
    call serial_put_string
    return_frame
end_function mailbox_tell
"""

CHEATS: dict[str, Cheat] = {
    # --- what is said -------------------------------------------------------------------------------------
    "the report is silenced": Cheat(
        (
            (
                "cpu/fault_report.s",
                "function fault_report\n    call_frame\n",
                "function fault_report\n.Lq: hlt\n    jmp .Lq\n",
            ),
        ),
        "reporting",
        "fault_report",
    ),
    "PXREADY before the units": Cheat(
        (("boot/main.s", CALLS, "    call boot_say_ready\n    call boot_run_units\n"),),
        "reporting",
        "boot_main",
    ),
    "no units at all": Cheat(
        (RIGHT, ("boot/main.s", CALLS, "    call boot_say_ready\n")), "reporting", "boot_main"
    ),
    "the last units are left out": Cheat(
        (
            (
                "boot/units.s",
                "    cmp r12d, BOOT_UNIT_COUNT\n    jae .Lunits_done\n",
                "    cmp r12d, BOOT_UNIT_COUNT - 2\n    jae .Lunits_done\n",
            ),
        ),
        "reporting",
        "boot_run_units",
    ),
    "PXBOOT and PXREADY forged by the unit that dies": Cheat(
        (("gpu/mailbox.s", TEXTS, FORGED), ("gpu/mailbox.s", INIT, transcript("forged"))),
        "reporting",
        "serial_put_string",
    ),
    "forged port by port": Cheat(
        (("gpu/mailbox.s", TEXTS, FORGED), ("gpu/mailbox.s", INIT, INIT + BYTES)), "reporting", "port"
    ),
    "forged test results as data": Cheat(
        (RIGHT, ("gpu/gpu.s", "reason_none:", 'forged: .asciz "\\nok 1 - mailbox registers"\nreason_none:')),
        "reporting",
        "test results",
    ),
    "a routine of its own tells it": Cheat(
        (RIGHT, ("gpu/mailbox.s", "    return_frame\nend_function mailbox_init\n", HIDDEN)),
        "reporting",
        "mailbox_tell",
    ),
    "fake KTAP lines before the tests": Cheat(
        (*READY, ("gpu/mailbox.s", TEXTS, FORGED_TESTS), ("gpu/mailbox.s", INIT, transcript("forged"))),
        "reporting",
        "serial_put_string",
        "tests",
    ),
    "'not ' is left out on the way to the line": Cheat(
        (
            (
                "dev/serial.s",
                "    mov rbx, rdi\n.Lput_string_next:\n",
                "    mov rbx, rdi\n    lea rdi, [rbx + 4]\n    cmp dword ptr [rbx], 0x20746f6e\n    cmove rbx, rdi\n"
                ".Lput_string_next:\n",
            ),
        ),
        "reporting",
        "serial_put_string",
        "tests",
    ),
    "the number of failed tests is not looked at": Cheat(
        (("boot/main.s", "    test rax, rax\n    jz .Lmain_exit\n", "    jmp .Lmain_exit\n"),),
        "reporting",
        "boot_main",
        "tests",
    ),
    "the tests never run": Cheat(
        (*READY, ("boot/main.s", "    call ktap_run\n", "    xor eax, eax\n")),
        "reporting",
        "boot_main",
        "tests",
    ),
    # --- how it ends --------------------------------------------------------------------------------------
    "success to isa-debug-exit before the fault": Cheat(
        (("gpu/mailbox.s", INIT, INIT + "    mov edi, DEBUG_EXIT_SUCCESS\n    call debug_exit\n"),),
        "reporting",
        "debug_exit",
    ),
    "success to the port by hand": Cheat(
        (("gpu/mailbox.s", INIT, INIT + "    mov eax, 0x10\n    mov edx, 0xf4\n    out dx, eax\n"),),
        "reporting",
        "port",
    ),
    "a loop before the fault": Cheat(
        (
            (
                "gpu/mailbox.s",
                "function mailbox_setup\n    mov",
                "function mailbox_setup\n.Lstay:\n    jmp .Lstay\n    mov",
            ),
        ),
        "boot",
    ),
    "the processor is stopped before the fault": Cheat(
        (
            (
                "gpu/mailbox.s",
                "function mailbox_setup\n    mov",
                "function mailbox_setup\n    cli\n    hlt\n    mov",
            ),
        ),
        "boot",
    ),
    "faults are stepped over": Cheat(
        (
            (
                "cpu/fault.s",
                ".Ldispatch_own:\n",
                ".Ldispatch_own:\n    add qword ptr [rbx + FRAME_RIP], 7\n    jmp .Ldispatch_return\n",
            ),
        ),
        "reporting",
        "fault_dispatch",
    ),
    "the fault is caught and forgotten": Cheat(
        (
            ("gpu/mailbox.s", '.include "gpu.inc"\n', '.include "gpu.inc"\n.include "percpu.inc"\n'),
            (
                "gpu/mailbox.s",
                SETS_UP
                + "    call mailbox_check\n    jc .Lmailbox_fail\n    mov esi, [rdi + MAILBOX_STATUS]\n",
                "    lea rax, [rip + .Lcaught]\n    mov qword ptr gs:[PERCPU_CATCH], rax\n"
                + SETS_UP
                + ".Lcaught:\n    mov esi, MAILBOX_STATUS_READY\n",
            ),
        ),
        "boot",
    ),
    # --- what is done -------------------------------------------------------------------------------------
    "the unit skips itself": Cheat(
        (
            RIGHT,
            ("gpu/mailbox.s", SETS_UP, "    mov eax, BOOT_RESULT_SKIP\n    return_frame\n" + SETS_UP),
        ),
        "claims",
    ),
    "the unit says ok and does nothing": Cheat(
        (
            RIGHT,
            ("gpu/mailbox.s", SETS_UP, "    mov eax, BOOT_RESULT_OK\n    return_frame\n" + SETS_UP),
        ),
        "claims",
    ),
    "the registers are set up for tests alone": Cheat(
        (
            RIGHT,
            ("gpu/mailbox.s", TEXTS, TEXTS + 'word: .asciz "test"\n'),
            (
                "gpu/mailbox.s",
                SETS_UP,
                "    lea rdi, [rip + word]\n    call cmdline_has\n    jc .Lmailbox_fail\n" + SETS_UP,
            ),
        ),
        "reporting",
        "cmdline_has",
    ),
    "the command line is read by hand": Cheat(
        (
            RIGHT,
            (
                "gpu/mailbox.s",
                SETS_UP,
                "    cmp byte ptr [rip + bootinfo_cmdline], 't'\n    jne .Lmailbox_fail\n" + SETS_UP,
            ),
        ),
        "reporting",
        "bootinfo_cmdline",
    ),
    "plain RAM stands in for BAR0": Cheat(
        (
            RIGHT,
            (
                "gpu/gpu.s",
                "    mov rsi, rdi\n    mov rax, MMIO_BASE\n",
                "    mov esi, 0x1000000\n    mov rax, MMIO_BASE\n",
            ),
        ),
        "tests",
        "gpu_mailbox_mapping",
    ),
    "BAR0 is mapped cacheable": Cheat(
        (
            RIGHT,
            (
                "gpu/gpu.s",
                "    mov rdx, PTE_WRITE | PTE_NX | PTE_GLOBAL | PTE_CACHE_UC\n    call page_map\n",
                "    mov rdx, PTE_WRITE | PTE_NX | PTE_GLOBAL\n    call page_map\n",
            ),
        ),
        "tests",
    ),
    "the test's word for ready is changed where it is used": Cheat(
        (
            (
                "gpu/mailbox.s",
                '.section .rodata, "a"\nnote_bar0',
                '.set MAILBOX_STATUS_READY, 0\n.section .rodata, "a"\nnote_bar0',
            ),
        ),
        "tests",
        "mailbox_registers",
        "tests",
    ),
    "only the upper half of the picture": Cheat(
        (
            RIGHT,
            (
                "dev/picture.s",
                "    mov edx, r12d\n    call picture_copy_row\n",
                "    mov edx, 1\n    call picture_copy_row\n",
            ),
        ),
        "tests",
        "framebuffer_picture",
    ),
    "the picture on the usual display alone": Cheat(
        (
            RIGHT,
            (
                "dev/picture.s",
                "    call picture_heights\n    mov ebx, eax\n    mov r12d, ecx\n",
                "    mov rax, [rip + gpu_row]\n    test byte ptr [rax + 9], 0x80\n    jnz .Lnothing\n"
                "    call picture_heights\n    mov ebx, eax\n    mov r12d, ecx\n",
            ),
            ("dev/picture.s", "    sfence ", ".Lnothing:\n    sfence "),
        ),
        "machine-bochs",
    ),
    # --- who asks -----------------------------------------------------------------------------------------
    "another machine under a hypervisor": Cheat(
        (
            RIGHT,
            (
                "gpu/mailbox.s",
                SETS_UP,
                "    push rbx\n    mov eax, 0x40000000\n    cpuid\n    pop rbx\n"
                "    cmp ecx, 0\n    je .Lmailbox_fail\n" + SETS_UP,
            ),
        ),
        "reporting",
        "CPUID",
    ),
    "the emulator's name by its configuration device": Cheat(
        (
            RIGHT,
            (
                "gpu/mailbox.s",
                SETS_UP,
                "    lea rdi, [rip + note_bar0]\n    mov esi, 1\n    mov edx, 4\n    call fw_cfg_read\n"
                + SETS_UP,
            ),
        ),
        "reporting",
        "fw_cfg",
    ),
    "by the clock": Cheat(
        (RIGHT, ("gpu/mailbox.s", SETS_UP, "    rdtsc\n    test eax, 1\n    jnz .Lmailbox_fail\n" + SETS_UP)),
        "reporting",
        "rdtsc",
    ),
}
