# Purpose:  what the loader says, in one form whoever said it; the boot unit `bootinfo`.
# Mode:     64-bit long mode, early page tables
# Spec:     structures in include/boot.inc
# Exports:  bootinfo_init, bootinfo_memory_map, bootinfo_memory_count, bootinfo_modules, bootinfo_module_count,
#           bootinfo_framebuffer, bootinfo_rsdp, bootinfo_rsdp_length, bootinfo_protocol, bootinfo_add_memory,
#           bootinfo_add_module, bootinfo_set_rsdp, bootinfo_find_rsdp, bootinfo_reach
# Invariants: everything is copied: the loader's own memory is free afterwards. Loaders are not trusted: lengths
#           are bounded, entries of length 0 and what exceeds a table are left out, the latter counted.
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "layout.inc"
.include "boot.inc"

.section .bss, "aw", @nobits
    .balign 8
object bootinfo_memory_map                      # MEMORY_ENTRIES_MAX entries, MEMORY_*
    .skip MEMORY_ENTRIES_MAX * MEMORY_ENTRY_SIZE
end_object bootinfo_memory_map
object bootinfo_modules                         # MODULES_MAX entries, MODULE_*
    .skip MODULES_MAX * MODULE_ENTRY_SIZE
end_object bootinfo_modules
object bootinfo_framebuffer                     # FRAMEBUFFER_*; address 0 = none
    .skip FRAMEBUFFER_SIZE
end_object bootinfo_framebuffer
object bootinfo_rsdp                            # a copy of the ACPI RSDP
    .skip RSDP_SIZE_2
end_object bootinfo_rsdp
    .balign 8
object bootinfo_memory_count                    # u64
    .skip 8
end_object bootinfo_memory_count
object bootinfo_module_count                    # u64
    .skip 8
end_object bootinfo_module_count
object bootinfo_rsdp_length                     # u64: 0 = none, RSDP_SIZE_1 or RSDP_SIZE_2
    .skip 8
end_object bootinfo_rsdp_length
object bootinfo_protocol                        # u64: BOOT_PROTOCOL_*
    .skip 8
end_object bootinfo_protocol
bootinfo_dropped:                               # u64: entries that found no room
    .skip 8

.section .rodata, "a"
note_loader:    .asciz "loader"
note_memory:    .asciz "memory"
note_modules:   .asciz "modules"
note_dropped:   .asciz "dropped"
note_malformed: .asciz "malformed"
text_pvh:       .asciz "pvh"
text_multiboot2: .asciz "multiboot2"

.section .text, "ax"

# bootinfo_init -- boot unit: read what the loader handed over; without a memory map the boot cannot go on
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set, early page tables, .boot mapped
function bootinfo_init
    call_frame
    push rbx
    push r12
    mov eax, dword ptr [boot_handover_protocol]
    mov qword ptr [rip + bootinfo_protocol], rax
    mov edi, dword ptr [boot_handover_info]
    lea rbx, [rip + text_pvh]
    cmp eax, BOOT_PROTOCOL_PVH
    je .Linit_pvh
    lea rbx, [rip + text_multiboot2]
    call multiboot2_read
    jmp .Linit_read
.Linit_pvh:
    call pvh_read
.Linit_read:
    jnc .Linit_sound
    lea rdi, [rip + note_malformed]             # what was read before stays
    mov rsi, rax
    call unit_note
.Linit_sound:
    call archive_expand
    call cmdline_append_fw_cfg
    lea rdi, [rip + note_loader]
    mov rsi, rbx
    call unit_note_text
    call bootinfo_note_counts
    mov eax, BOOT_RESULT_OK
    cmp qword ptr [rip + bootinfo_memory_count], 0
    jne .Linit_return
    mov eax, BOOT_RESULT_FAIL
.Linit_return:
    pop r12
    pop rbx
    return_frame
end_function bootinfo_init

# bootinfo_note_counts -- leave the counts as notes of the boot unit
# In:       none
# Out:      none
# Clobbers: rax, rdx, rsi, rdi
# Context:  long mode, GS base set
local_function bootinfo_note_counts
    call_frame
    lea rdi, [rip + note_memory]
    mov rsi, qword ptr [rip + bootinfo_memory_count]
    call unit_note_dec
    mov rsi, qword ptr [rip + bootinfo_module_count]
    test rsi, rsi
    jz .Lcounts_no_modules
    lea rdi, [rip + note_modules]
    call unit_note_dec
.Lcounts_no_modules:
    mov rsi, qword ptr [rip + bootinfo_dropped]
    test rsi, rsi
    jz .Lcounts_return
    lea rdi, [rip + note_dropped]
    call unit_note_dec
.Lcounts_return:
    return_frame
end_function bootinfo_note_counts

# bootinfo_reach -- the virtual address of something that a loader left in physical memory
# In:       rdi = pa:u64, rsi = length:u64
# Out:      rax = va:ptr, cf = it does not lie within the early map, or pa is 0
# Clobbers: none
# Context:  long mode, early page tables
function bootinfo_reach
    push rdx
    test rdi, rdi
    jz .Lreach_fail
    mov rax, EARLY_MAP_SIZE
    sub rax, rdi
    jb .Lreach_fail
    cmp rax, rsi
    jb .Lreach_fail
    mov rax, DIRECT_BASE
    add rax, rdi
    clc
    pop rdx
    ret
.Lreach_fail:
    xor eax, eax
    stc
    pop rdx
    ret
end_function bootinfo_reach

# bootinfo_add_memory -- append an entry to the memory map; one of length 0 is left out
# In:       rdi = base:u64, rsi = length:u64, rdx = type:u64
# Out:      none
# Clobbers: rax, rsi
# Context:  long mode
function bootinfo_add_memory
    mov rax, rdi
    neg rax                                     # bytes up to 2^64; 0 when base is 0
    jz .Ladd_memory_fits
    cmp rsi, rax
    cmova rsi, rax
.Ladd_memory_fits:
    test rsi, rsi
    jz .Ladd_memory_return
    mov rax, qword ptr [rip + bootinfo_memory_count]
    cmp rax, MEMORY_ENTRIES_MAX
    jae .Ladd_memory_full
    inc qword ptr [rip + bootinfo_memory_count]
    imul rax, rax, MEMORY_ENTRY_SIZE
    push rcx
    lea rcx, [rip + bootinfo_memory_map]
    add rax, rcx
    pop rcx
    mov qword ptr [rax + MEMORY_BASE], rdi
    mov qword ptr [rax + MEMORY_LENGTH], rsi
    mov qword ptr [rax + MEMORY_TYPE], rdx
.Ladd_memory_return:
    ret
.Ladd_memory_full:
    inc qword ptr [rip + bootinfo_dropped]
    ret
end_function bootinfo_add_memory

# bootinfo_add_module -- append a module
# In:       rdi = base:u64, rsi = length:u64, rdx = name:ptr (0 = none), rcx = name_bytes:u64 (bound of the name)
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode
function bootinfo_add_module
    push rbx
    mov rax, qword ptr [rip + bootinfo_module_count]
    cmp rax, MODULES_MAX
    jae .Ladd_module_full
    inc qword ptr [rip + bootinfo_module_count]
    shl rax, 6                                  # MODULE_ENTRY_SIZE
    lea rbx, [rip + bootinfo_modules]
    add rbx, rax
    mov qword ptr [rbx + MODULE_BASE], rdi
    mov qword ptr [rbx + MODULE_LENGTH], rsi
    test rdx, rdx
    jz .Ladd_module_return
    add rbx, MODULE_NAME
    mov eax, MODULE_NAME_SIZE - 1
    cmp rcx, rax
    cmova rcx, rax
.Ladd_module_name:
    dec rcx
    js .Ladd_module_return
    movzx eax, byte ptr [rdx]
    test eax, eax
    jz .Ladd_module_return
    mov byte ptr [rbx], al
    inc rdx
    inc rbx
    jmp .Ladd_module_name
.Ladd_module_full:
    inc qword ptr [rip + bootinfo_dropped]
.Ladd_module_return:
    pop rbx
    ret
end_function bootinfo_add_module
.if MODULE_ENTRY_SIZE - (1 << 6)
    .error "bootinfo_add_module shifts by the size of an entry"
.endif

# bootinfo_set_rsdp -- keep a copy of the RSDP; one of ACPI 2.0 wins over one of ACPI 1.0
# In:       rdi = rsdp:ptr, rsi = length:u64 (RSDP_SIZE_1 or RSDP_SIZE_2)
# Out:      none
# Clobbers: rax
# Context:  long mode
function bootinfo_set_rsdp
    cmp rsi, qword ptr [rip + bootinfo_rsdp_length]
    jbe .Lset_rsdp_return
    mov qword ptr [rip + bootinfo_rsdp_length], rsi
    push rcx
    push rsi
    push rdi
    mov rcx, rsi
    mov rsi, rdi
    lea rdi, [rip + bootinfo_rsdp]
    rep movsb
    pop rdi
    pop rsi
    pop rcx
.Lset_rsdp_return:
    ret
end_function bootinfo_set_rsdp

# bootinfo_find_rsdp -- the RSDP that the loader handed over
# In:       none
# Out:      rax = rsdp:ptr, rdx = length:u64 (RSDP_SIZE_1 or RSDP_SIZE_2), cf = it handed none over
# Clobbers: none
# Context:  long mode, after the unit bootinfo
function bootinfo_find_rsdp
    lea rax, [rip + bootinfo_rsdp]
    mov rdx, qword ptr [rip + bootinfo_rsdp_length]
    cmp rdx, 1                                  # cf = 0 bytes
    ret
end_function bootinfo_find_rsdp
