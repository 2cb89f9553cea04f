# Purpose:  the command map: the walk of an address through the page tables, level by level.
# Mode:     64-bit long mode, 4-level paging
# Spec:     Intel SDM vol. 3, 4.5 (4-level paging), 4.9.2 and 12.12 (memory types, PAT)
# Exports:  a row of section .shell
# Invariants: tables are read through the direct map by fault_probe: a damaged entry ends the walk with a word.
#
#   63 NX   51..12 address   12 PAT (large)   8 G   7 PS or PAT (PT)   6 D   5 A   4 PCD   3 PWT   2 U   1 W   0 P
.intel_syntax noprefix
.include "macros.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "shell.inc"

.set FLAGS_SIZE, 64                             # holds every flag's name and its comma
.set PAT_INDEX_PAT, 4                           # the PAT bit's weight in the index of a PAT entry
.set PAT_TYPES, 8
.set CANONICAL_SHIFT, 47                        # 4-level paging

.section .bss, "aw", @nobits
flags_text:     .skip FLAGS_SIZE

.section .rodata, "a"
    .balign 8
level_names:    .quad 0, level_pt, level_pd, level_pdpt, level_pml4     # by PAGE_LEVEL_*
level_sizes:    .quad 0, size_4k, size_2m, size_1g, 0
level_pt:       .asciz "PT"
level_pd:       .asciz "PD"
level_pdpt:     .asciz "PDPT"
level_pml4:     .asciz "PML4"
size_4k:        .asciz "4K"
size_2m:        .asciz "2M"
size_1g:        .asciz "1G"
    .balign 8
flag_rows:                                      # bit, name
    .quad 1, flag_write
    .quad 2, flag_user
    .quad 3, flag_pwt
    .quad 4, flag_pcd
    .quad 5, flag_accessed
    .quad 6, flag_dirty
    .quad 7, flag_large
    .quad 8, flag_global
    .quad 63, flag_nx
flag_rows_end:
flag_write:     .asciz "W"
flag_user:      .asciz "U"
flag_pwt:       .asciz "PWT"
flag_pcd:       .asciz "PCD"
flag_accessed:  .asciz "A"
flag_dirty:     .asciz "D"
flag_large:     .asciz "PS"
flag_global:    .asciz "G"
flag_nx:        .asciz "NX"
flag_pat:       .asciz "PAT"
    .balign 8
pat_names:      .quad pat_uc, pat_wc, pat_reserved, pat_reserved, pat_wt, pat_wp, pat_wb, pat_uc_minus
pat_uc:         .asciz "UC"
pat_wc:         .asciz "WC"
pat_wt:         .asciz "WT"
pat_wp:         .asciz "WP"
pat_wb:         .asciz "WB"
pat_uc_minus:   .asciz "UC-"
pat_reserved:   .asciz "reserved"

.section .text, "ax"

# command_map -- map ADDR
# In:       rdi = words:ptr, rsi = count:u64
# Out:      rax = reason:asciz, cf = refused
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a command
local_function command_map
    call_frame
    push rbx
    push r12
    push r13
    push r14
    cmp rsi, 1
    jne .Lmap_usage
    mov rdi, qword ptr [rdi]
    call words_number
    jc .Lmap_usage
    mov rbx, rax                                # the address
    sar rax, CANONICAL_SHIFT
    inc rax
    cmp rax, 1
    ja .Lmap_no_address                         # bits 63:47 are neither all clear nor all set
    lea rdi, [rip + name_map]
    call out_begin
    lea rdi, [rip + key_levels]
    call out_list
    mov r13, cr3
    mov rax, PTE_ADDRESS_MASK
    and r13, rax                                # the table, physical
    mov r12d, PAGE_LEVEL_PML4
.Lmap_level:
    mov rdi, rbx
    mov esi, r12d
    mov rdx, r13
    call map_read
    mov r14, rax                                # the entry
    jc .Lmap_absent
    test r14b, PTE_PRESENT
    jz .Lmap_absent
    cmp r12d, PAGE_LEVEL_PT
    je .Lmap_leaf
    cmp r12d, PAGE_LEVEL_PML4
    je .Lmap_descend
    test r14b, PTE_LARGE
    jnz .Lmap_leaf
.Lmap_descend:
    mov rax, PTE_ADDRESS_MASK
    mov r13, r14
    and r13, rax
    dec r12d
    jmp .Lmap_level
.Lmap_leaf:
    call out_list_end
    mov rdi, rbx
    mov rsi, r14
    mov edx, r12d
    call map_say_page
    jmp .Lmap_end
.Lmap_absent:
    call out_list_end
    lea rdi, [rip + key_mapped]
    lea rsi, [rip + text_no]
    call out_text
.Lmap_end:
    call out_end
    clc
.Lmap_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lmap_usage:
    lea rax, [rip + text_usage]
    stc
    jmp .Lmap_return
.Lmap_no_address:
    lea rax, [rip + text_not_canonical]
    stc
    jmp .Lmap_return
end_function command_map
shell_text name_map, "map"
shell_text key_levels, "levels"
shell_text key_mapped, "mapped"
shell_text text_no, "no"
shell_text text_not_canonical, "not canonical: bits 63 to 47 differ, so nothing can lie there"
shell_text text_usage, "expected an address, such as 0xffff800000100000"
shell_command command_map, "map", "ADDR", "the walk of an address through the page tables"

# map_shift -- where the index of a level begins in an address
# In:       edx = level:u32[1..4]
# Out:      ecx = shift:u32
# Clobbers: none
# Context:  long mode
local_function map_shift
    lea ecx, [rdx - 1]
    imul ecx, ecx, TABLE_INDEX_BITS
    add ecx, PAGE_SHIFT
    ret
end_function map_shift

# map_read -- read an entry, and say it as a row
# In:       rdi = va:u64, esi = level:u32[1..4], rdx = table:u64 (physical)
# Out:      rax = entry:u64, cf = it cannot be read
# Clobbers: rcx, rdx, rsi, rdi
# Context:  long mode, in a list
local_function map_read
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r12, rdx
    mov r13d, esi
    mov r14, rdi
    call out_row
    lea rdi, [rip + key_level]
    lea rax, [rip + level_names]
    mov rsi, qword ptr [rax + r13 * 8]
    call out_text
    mov edx, r13d
    call map_shift
    mov rsi, r14
    shr rsi, cl
    and esi, (1 << TABLE_INDEX_BITS) - 1
    lea r12, [r12 + rsi * 8]
    lea rdi, [rip + key_index]
    call out_number
    lea rdi, [rip + key_at]
    mov rsi, r12
    call out_hex
    mov rdi, DIRECT_BASE
    add rdi, r12
    call fault_probe
    mov rbx, rax
    jc .Lread_failed
    lea rdi, [rip + key_entry]
    mov rsi, rbx
    call out_hex
    mov rdi, rbx
    mov esi, r13d
    call map_flags
    lea rdi, [rip + key_flags]
    lea rsi, [rip + flags_text]
    call out_text
    call out_row_end
    mov rax, rbx
    clc
    jmp .Lread_return
.Lread_failed:
    lea rdi, [rip + key_entry]
    lea rsi, [rip + text_unreadable]
    call out_text
    call out_row_end
    stc
.Lread_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function map_read
shell_text key_level, "level"
shell_text key_index, "index"
shell_text key_at, "at"
shell_text key_entry, "entry"
shell_text key_flags, "flags"
shell_text text_unreadable, "unreadable"

# map_flags -- the flags of an entry by name, into flags_text
# In:       rdi = entry:u64, esi = level:u32[1..4]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode
local_function map_flags
    push rbx
    push r8
    lea rdx, [rip + flags_text]
    mov byte ptr [rdx], 'P'
    test dil, PTE_PRESENT
    jnz .Lflags_present
    mov byte ptr [rdx], '-'
.Lflags_present:
    inc rdx
    lea rbx, [rip + flag_rows]
.Lflags_row:
    mov rcx, qword ptr [rbx]
    bt rdi, rcx
    jnc .Lflags_next
    mov r8, qword ptr [rbx + 8]
    cmp ecx, PTE_PAT_BIT
    jne .Lflags_put
    cmp esi, PAGE_LEVEL_PT
    jne .Lflags_put
    lea r8, [rip + flag_pat]                    # the same bit means PAT where it cannot mean a large page
.Lflags_put:
    mov byte ptr [rdx], ','
.Lflags_char:
    inc rdx
    mov al, byte ptr [r8]
    mov byte ptr [rdx], al
    inc r8
    test al, al
    jnz .Lflags_char
.Lflags_next:
    add rbx, 16
    lea rax, [rip + flag_rows_end]
    cmp rbx, rax
    jb .Lflags_row
    mov byte ptr [rdx], 0
    pop r8
    pop rbx
    ret
end_function map_flags

# map_say_page -- what an address is mapped to: physical address, size of the page, memory type
# In:       rdi = va:u64, rsi = entry:u64 (of a page), edx = level:u32[1..3]
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, between out_begin and out_end
local_function map_say_page
    call_frame
    push rbx
    push r12
    mov rbx, rsi
    mov r12d, edx
    call map_shift
    mov rax, -1
    shl rax, cl                                 # what of the address the entry gives
    mov rdx, PTE_ADDRESS_MASK
    and rdx, rbx
    and rdx, rax
    not rax
    and rdi, rax
    lea rsi, [rdi + rdx]
    lea rdi, [rip + key_physical]
    call out_hex
    lea rdi, [rip + key_size]
    lea rax, [rip + level_sizes]
    mov rsi, qword ptr [rax + r12 * 8]
    call out_text
    mov eax, ebx                                # index of the PAT entry: PAT, PCD, PWT
    shr eax, 3
    and eax, 3
    mov ecx, PTE_PAT_BIT
    mov edx, PTE_LARGE_PAT_BIT
    cmp r12d, PAGE_LEVEL_PT
    cmovne ecx, edx
    bt rbx, rcx
    jnc .Lpage_type
    add eax, PAT_INDEX_PAT
.Lpage_type:
    lea r12d, [rax * 8]
    mov ecx, MSR_PAT
    rdmsr
    shl rdx, 32
    or rax, rdx
    mov ecx, r12d
    shr rax, cl
    and eax, PAT_TYPES - 1
    lea rdi, [rip + pat_names]
    mov rsi, qword ptr [rdi + rax * 8]
    lea rdi, [rip + key_type]
    call out_text
    pop r12
    pop rbx
    return_frame
end_function map_say_page
shell_text key_physical, "physical"
shell_text key_size, "size"
shell_text key_type, "type"
