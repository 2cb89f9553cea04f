"""Bugs in what runs pixel programs on bare metal, and in how they come there."""

from __future__ import annotations

from tests.contract.planting import Plant, plant

BUGS: dict[str, tuple[Plant, ...]] = {
    "pixel_programs": (
        plant("vm/run.s", "vm_decode", ("cmovae ecx, r9d", "cmova ecx, r9d")),
        plant("vm/run.s", "vm_decode", ("sar eax, 8", "shr eax, 8")),
        plant("include/vm_run.inc", "", ("jbe .Lunderflow_\\cost", "jb .Lunderflow_\\cost")),
        plant("vm/run.s", "vm_run", ("and eax, 0x00ffffff", "")),
        plant("vm/run.s", "vm_run", ("je .Ldivs_negate", "")),
        plant("vm/run.s", "vm_run", ("add edi, 4 mov ecx, VM_STOP_DIVISION", "mov ecx, VM_STOP_DIVISION")),
        plant("vm/run.s", "vm_run", ("test cl, 3 jnz .Lalignment", "")),
        plant("vm/run.s", "vm_run", ("mov qword ptr [r13 + 0x38], rcx", "")),
        plant("vm/run.s", "vm_run", ("(VM_FRAMES - 1)", "VM_FRAMES")),
        plant("vm/run.s", "vm_run", ("shr ecx, 17", "shr ecx, 16")),
    ),
    "pixel_calls": (
        plant("vm/run.s", "vm_run", ("jb .Lunderflow add ebp", "add ebp")),
        plant("vm/run.s", "vm_run", ("cmp ebp, VM_STACK_SLOTS ja .Loverflow", "cmp ebp, VM_STACK_SLOTS")),
        plant("vm/run.s", "vm_run", ("mov dword ptr [rsi], eax mov dword ptr [r15", "mov dword ptr [r15")),
    ),
    "pixel_loading": (
        plant("vm/load.s", "vm_program_check", ("cmp ecx, VM_CODE_MAX jae .Lcheck_malformed", "")),
        plant("vm/load.s", "vm_program_check", ("cmp rsi, rcx jb .Lcheck_malformed", "")),
        plant("vm/load.s", "vm_program_check", ("cmp edx, ecx ja .Lcheck_malformed", "")),
        plant("vm/load.s", "vm_load", ("VM_SIZE + VM_CELL_SIZE + MACHINE_ALIGN - 1", "VM_SIZE")),
        plant("vm/load.s", "vm_load", ("rep movsb", "")),
    ),
    "pixel_host": (
        plant("vm/host.s", "serve_getc", ("je .Lgetc_ended", "")),
        plant("vm/host.s", "serve_getc", ("mov eax, CHAR_NEWLINE", "")),
        plant("vm/host.s", "vm_serve", ("jne .Lserve_run", "jmp .Lserve_run")),
        plant("vm/host.s", "serve_size", ("call serve_answer call serve_answer", "call serve_answer")),
        plant("vm/host.s", "serve_plot", ("mov esi, dword ptr [r12 + 4]", "mov esi, dword ptr [r12 + 8]")),
    ),
    "pixel_mail": (
        plant("vm/mail.s", "vm_mail_send", ("jne .Lsend_full cmp qword", "cmp qword")),
        plant("vm/mail.s", "vm_mail_send", ("jnc .Lsend_refused", "")),
        plant("vm/mail.s", "vm_mail_send", ("jz .Lsend_full", "")),
        plant("vm/mail.s", "vm_mail_send", ("call session_ring", "")),
        plant("vm/mail.s", "vm_mail_receive", ("jne .Lreceive_none", "")),
        plant("vm/mail.s", "vm_mail_receive", ("mov dword ptr [rip + mail_state], MAIL_FREE", "")),
    ),
    "pixel_screen": (
        plant("vm/screen.s", "screen_at", ("cmp esi, SCREEN_SIDE jae .Lat_outside", "")),
        plant("vm/screen.s", "vm_screen_plot", ("bswap edx", "shl edx, 8")),
        plant("vm/screen.s", "screen_place", ("shr ecx, 1", "")),
        plant("vm/screen.s", "screen_measure", ("cmovb eax, ecx", "")),
    ),
    "archive_files": (
        plant("boot/archive.s", "archive_read", ("cmp r11, r13 ja .Larchive_done", "")),
        plant("boot/archive.s", "archive_read", ("and r14, -CPIO_ALIGN", "")),
        plant("boot/archive.s", "archive_read", ("je .Larchive_done", "")),
        plant("boot/archive.s", "archive_number", ("cmp edx, 5 ja .Lnumber_none", "")),
    ),
}  # fmt: skip
