"""Bugs in ring 3's ways in and out that the models must notice: each is a way to the kernel, or a leak."""

from __future__ import annotations

from tests.contract.planting import Plant, plant

ELF = "user/elf.s"
BUGS: dict[str, tuple[Plant, ...]] = {
    "elf_images": (
        plant(ELF, "elf_check_header", ("cmp rsi, ELF_HEADER_SIZE jb .Lheader_refused", "")),
        plant(ELF, "elf_check_header", ("cmp ecx, ELF_SEGMENTS_MAX jae", "cmp ecx, ELF_SEGMENTS_MAX\n ja")),
        plant(ELF, "elf_check_header", ("cmp r8, rsi ja .Lheader_refused", "")),
        plant(ELF, "elf_check_header", ("cmp r8, rcx jb .Lheader_refused", "")),
        plant(ELF, "elf_check_segment", ("cmp r10, rsi ja .Lsegment_refused", "")),
        plant(ELF, "elf_check_segment", ("cmp r9, r11 ja .Lsegment_refused", "")),
        plant(ELF, "elf_check_segment", ("cmp r9, r8 ja .Lsegment_refused", "")),
        plant(ELF, "elf_check_segment", ("test r8, r8 jz .Lsegment_refused", "")),
        plant(ELF, "elf_check_segment", ("sub rcx, r11 jb .Lsegment_refused", "sub rcx, r11")),
        plant(ELF, "elf_check_segment", ("cmp r8, rcx ja .Lsegment_refused", "")),
        plant(ELF, "elf_check_segment", ("cmp r11, rcx jb .Lsegment_refused", "")),
        plant(ELF, "elf_check_segment", ("je .Lsegment_both mov eax, ELF_SIZE", "mov eax, ELF_SIZE")),
        plant(ELF, "elf_check_segment", ("cmp rcx, r13 jb .Lsegment_refused", "")),
        plant(ELF, "elf_check_segment", ("cmp rdx, USER_PAGES_MAX ja .Lsegment_refused", "")),
        plant(ELF, "elf_check_segment", ("cmp rcx, r9 jae .Lsegment_pass", "cmp rcx, r8\n jae .Lsegment_pass")),
        plant(ELF, "elf_check", ("cmp r14d, 1 jb .Lelf_return", "")),
    ),
    "call_registers": (
        plant("user/entry.s", "", ("RFLAGS_NT | RFLAGS_RF | RFLAGS_AC", "RFLAGS_NT | RFLAGS_RF")),
        plant("user/entry.s", "", ("RFLAGS_STATUS | RFLAGS_TF | RFLAGS_IF", "RFLAGS_STATUS | RFLAGS_TF")),
        plant("user/entry.s", "", ("(SELECTOR_USER_BASE | SELECTOR_RPL_MASK) << 16", "SELECTOR_USER_BASE << 16")),
        plant("user/entry.s", "syscall_enable", ("or eax, EFER_SCE", "")),
        plant("user/entry.s", "syscall_enable", ("shr rdx, 32", "")),
    ),
    "system_call_entry": (
        plant("user/entry.s", "syscall_enter", ("swapgs mov", "mov")),
        plant("user/entry.s", "syscall_enter", ("mov rsp, qword ptr gs:[PERCPU_KERNEL_RSP]", "")),
        plant("user/entry.s", "syscall_enter", ("push qword ptr gs:[PERCPU_USER_RSP]", "push rsp")),
        plant("user/entry.s", "syscall_enter", ("sti", "")),
        plant("user/entry.s", "syscall_enter", ("push r11 push SELECTOR", "push rcx\n push SELECTOR")),
    ),
    "gates_from_ring_3": (
        plant("cpu/idt.s", "interrupt_enter", ("swapgs pushfq", "pushfq")),
        plant("cpu/idt.s", "interrupt_enter", ("and dword ptr [rsp], ~RFLAGS_AC", "")),
        plant("cpu/idt.s", "interrupt_enter", ("jnz .Lenter_ring3", "")),
    ),
    "switched_state": (
        plant("user/leave.s", "user_switch", ("fxsave64 [rcx]", "")),
        plant("user/leave.s", "user_switch", ("fxrstor64 [rdx]", "")),
        plant("user/leave.s", "user_switch", ("mov qword ptr gs:[PERCPU_FPU_OWNER], rsi", "")),
        plant("user/leave.s", "user_switch", ("mov qword ptr gs:[PERCPU_TSS + TSS_RSP0], rax", "")),
        plant("user/leave.s", "user_switch", ("je .Lswitch_fpu", "")),
    ),
    "stack_slots": (
        plant("user/thread.s", "user_slot_take", ("cmp rcx, 1 jb .Lslot_return", "")),
        plant("user/thread.s", "user_slot_take", ("lock bts", "lock btr")),
    ),
    "dispatched_calls": (
        plant("user/calls.s", "syscall_dispatch", ("cmp rax, SYSCALL_COUNT jae", "cmp rax, SYSCALL_COUNT\n ja")),
        plant("user/calls.s", "syscall_dispatch", ("sub rax, SYSCALL_FIRST", "sub eax, SYSCALL_FIRST")),
        plant("user/calls.s", "syscall_dispatch", ("~RFLAGS_CF & 0xff", "0xff")),
        plant("user/calls.s", "syscall_dispatch", ("mov [r13 + FRAME_RDX], rdx", "")),
        plant("user/calls.s", "", ("call_row MAP, call_map", "call_row MAP, call_unmap")),
        plant("user/calls.s", "syscall_dispatch", ("lock inc qword ptr [r12 + PROGRAM_FORWARDED]", "")),
    ),
    "forwarded_calls": (
        plant("user/forward.s", "call_forward", ("jne .Lforward_invalid", "")),
        plant("user/forward.s", "call_forward", ("jae .Lforward_invalid", "ja .Lforward_invalid")),
        plant("user/forward.s", "call_forward", ("je .Lforward_nobody", "")),
        plant("user/forward.s", "call_forward", ("jae .Lforward_ask", "")),
        plant("user/forward.s", "call_forward", ("jc .Lforward_return mov rax, [rbx", "mov rax, [rbx")),
        plant("user/forward.s", "", ("1 << MAILBOX_CALL_SHADER_FIND | ", "")),
        plant("user/forward.s", "call_forward", ("mov qword ptr [rbx + USER_ASK_BYTES], 0", "")),
    ),
    "checked_returns": (
        plant("user/leave.s", "user_return_check", ("jnz .Lcheck_no_address", "")),
        plant("user/leave.s", "user_return_check", ("jne .Lcheck_end", "")),
        plant("user/leave.s", "user_return_check", ("shr rax, USER_CANONICAL_SHIFT", "shr rax, 48")),
    ),
    "page_rights": (
        plant("user/memory.s", "user_rights", ("jae .Lrights_refused", "ja .Lrights_refused")),
        plant("user/memory.s", "user_rights", ("mov rax, PTE_NX cmp", "mov rax, PTE_NX | PTE_WRITE\n cmp")),
        plant("user/memory.s", "user_rights", ("cmp rdi, RIGHTS_WRITE", "cmp edi, RIGHTS_WRITE")),
    ),
    "mapped_memory": (
        plant("user/memory.s", "memory_pages", ("jae .Lpages_refused", "ja .Lpages_refused")),
        plant("user/memory.s", "call_map", ("jg .Lmap_give", "")),
        plant("user/memory.s", "call_map", ("neg r13 lock", "lock")),
        plant("user/memory.s", "call_map", ("ja .Lmap_give", "")),
        plant("user/memory.s", "call_map", ("lea rsi, [rcx + PAGE_SIZE]", "mov rsi, rcx")),
    ),
    "returned_memory": (
        plant("user/memory.s", "memory_range", ("jb .Lrange_refused mov rdx", "mov rdx")),
        plant("user/memory.s", "memory_range", ("sub rdx, rcx", "")),
        plant("user/memory.s", "call_unmap", ("neg rbx", "")),
        plant("user/memory.s", "call_unmap", ("call space_unmap jc .Lunmap_return", "call space_unmap")),
    ),
    "chosen_periods": (
        plant("user/admit.s", "user_choose", ("cmovb rax, rcx", "")),
        plant("user/admit.s", "user_choose", ("cmova rax, rcx", "")),
        plant("user/admit.s", "user_choose", ("ja .Lchoose_return", "")),
        plant("user/admit.s", "user_choose", ("jne .Lchoose_return", "")),
    ),
}  # fmt: skip
