# Purpose:  the boot unit `paging`: the kernel's own address space in place of the early tables.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.5, 4.6 (access rights), 4.10.4 (CR3, CR4.PGE and the TLB), 11.11.9 (large pages and
#           the MTRRs of the first megabyte)
# Exports:  paging_init, page_guard
# Invariants: nothing is writable and executable. What is read-only in the image is read-only in the direct map
#           too. Page 0 and the identity map are gone once CR3 is loaded; nothing of .boot is reachable after.
#
#   image .text    r-x     image .rodata  r--     image .data, .bss  rw-     guard pages under stacks: absent
#   DIRECT_BASE + RAM      rw-, but r-- where the image's .boot, .text and .rodata lie
.intel_syntax noprefix
.include "macros.inc"
.include "contract.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.section .rodata, "a"
note_root:      .asciz "root"
note_tables:    .asciz "tables"
note_ram_kib:   .asciz "ram_kib"
note_huge:      .asciz "huge"
note_error:     .asciz "error"

    .balign 8
# section_map: {first, end, flags} of each part of the image, virtual addresses; ended by 0
section_map:
    .quad __text_start, __text_end, PAGE_KERNEL_TEXT
    .quad __rodata_start, __rodata_end, PAGE_KERNEL_RODATA
    .quad __data_start, __data_end, PAGE_KERNEL_DATA
    .quad __bss_start, __bss_end, PAGE_KERNEL_DATA
    .quad 0
.set SECTION_FIRST, 0x00
.set SECTION_END, 0x08
.set SECTION_FLAGS, 0x10
.set SECTION_SIZE, 0x18

.set BYTES_PER_KIB_SHIFT, 10

.section .text, "ax"

# paging_init -- build the kernel's address space and switch to it
# In:       rdi = row:ptr
# Out:      rax = result:u64 (BOOT_RESULT_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, interrupts off, GS base set, early page tables, frames ready; boot unit, boot CPU
function paging_init
    call_frame
    push rbx
    push r12
    mov r12, [rip + frame_used]
    call page_find_features
    call frame_alloc_zeroed
    jc .Lpaging_fail
    mov [rip + page_root], rax
    call space_map_image
    jc .Lpaging_fail
    call space_map_ram
    jc .Lpaging_fail
    call space_guard_stacks
    jc .Lpaging_fail
    call space_enter
    mov rax, [rip + frame_zone_top]             # all of it is mapped now: keep the low memory for who needs it
    mov [rip + frame_zone_first], rax
    lea rdi, [rip + note_root]
    mov rsi, [rip + page_root]
    call unit_note
    lea rdi, [rip + note_tables]
    mov rsi, [rip + frame_used]
    sub rsi, r12
    call unit_note_dec
    lea rdi, [rip + note_huge]
    movzx esi, byte ptr [rip + page_huge_allowed]
    call unit_note_dec
    call space_count_ram
    lea rdi, [rip + note_ram_kib]
    shr rax, BYTES_PER_KIB_SHIFT
    mov rsi, rax
    call unit_note_dec
    mov eax, BOOT_RESULT_OK
.Lpaging_leave:
    pop r12
    pop rbx
    return_frame
.Lpaging_fail:
    lea rdi, [rip + note_error]
    mov rsi, rax
    call unit_note_dec
    mov eax, BOOT_RESULT_FAIL
    jmp .Lpaging_leave
end_function paging_init

# page_find_features -- learn whether the CPU has 1 GB pages
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx
# Context:  long mode, any IF
local_function page_find_features
    push rbx
    mov eax, CPUID_LEAF_EXTENDED                # is there wherever long mode is
    cpuid
    test edx, CPUID_EXT_EDX_1GB
    setnz byte ptr [rip + page_huge_allowed]
    pop rbx
    ret
end_function page_find_features

# space_map_image -- map each part of the image with its own rights
# In:       none
# Out:      rax = error:u64, cf = failed
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as paging_init
local_function space_map_image
    call_frame
    push rbx
    push r8
    lea rbx, [rip + section_map]
.Limage_section:
    mov rdi, [rbx + SECTION_FIRST]
    test rdi, rdi
    jz .Limage_done
    mov rdx, [rbx + SECTION_END]
    add rdx, PAGE_MASK
    and rdx, ~PAGE_MASK
    sub rdx, rdi
    mov r8, VIRTUAL_BASE
    mov rsi, rdi
    sub rsi, r8
    mov rcx, [rbx + SECTION_FLAGS]
    call page_map_range
    jc .Limage_leave
    add rbx, SECTION_SIZE
    jmp .Limage_section
.Limage_done:
    xor eax, eax
.Limage_leave:
    pop r8
    pop rbx
    return_frame
end_function space_map_image

# space_map_ram -- the direct map: all RAM at DIRECT_BASE, the read-only parts of the image read-only
# In:       none
# Out:      rax = error:u64, cf = failed
# Clobbers: rcx, rdx, rsi, rdi
# Context:  as paging_init
local_function space_map_ram
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r13, offset __image_start_physical      # what is to be read-only
    and r13, ~PAGE_MASK
    mov r14, offset __data_start
    mov rax, VIRTUAL_BASE
    sub r14, rax
    lea rbx, [rip + memory_ram + RANGES_ROWS]
    mov r12, [rip + memory_ram + RANGES_COUNT]
.Lram_row:
    dec r12
    js .Lram_done
    mov rsi, [rbx + RANGE_FIRST]
    mov rdx, [rbx + RANGE_END]
    add rbx, RANGE_SIZE
    cmp rsi, r13
    ja .Lram_whole
    cmp rdx, r14
    jb .Lram_whole
    push rdx                                    # the image lies in this row: below, within, above
    push rax
    mov rdx, r13
    mov rcx, PAGE_KERNEL_DATA
    call space_map_direct
    jc .Lram_drop
    mov rsi, r13
    mov rdx, r14
    mov rcx, PAGE_KERNEL_RODATA
    call space_map_direct
    jc .Lram_drop
    mov rsi, r14
    pop rdx
    pop rdx
.Lram_whole:
    mov rcx, PAGE_KERNEL_DATA
    call space_map_direct
    jc .Lram_leave
    jmp .Lram_row
.Lram_done:
    xor eax, eax
.Lram_leave:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
.Lram_drop:
    pop rdx
    pop rdx
    jmp .Lram_leave                             # pop leaves cf as it is
end_function space_map_ram

# space_map_direct -- map a range of RAM in the direct map
# In:       rsi = first:u64, rdx = end:u64 (exclusive), rcx = flags:u64
# Out:      rax = error:u64, cf = failed
# Clobbers: rdx, rdi
# Context:  as paging_init
local_function space_map_direct
    call_frame
    mov rdi, DIRECT_BASE
    add rdi, rsi
    sub rdx, rsi
    call page_map_range
    return_frame
end_function space_map_direct

# space_guard_stacks -- unmap the page under each stack
# In:       none
# Out:      rax = error:u64, cf = failed
# Clobbers: rdi
# Context:  as paging_init
local_function space_guard_stacks
    call_frame
    push rbx
    push rcx
    lea rbx, [rip + stack_guards]
.Lguards_next:
    mov rdi, [rbx]
    add rbx, 8
    xor eax, eax
    test rdi, rdi
    jz .Lguards_leave
    call page_guard
    jnc .Lguards_next
.Lguards_leave:
    pop rcx
    pop rbx
    return_frame
end_function space_guard_stacks

# page_guard -- take one 4 KB page out of what is mapped, whatever the size of the page around it
# In:       rdi = va:u64
# Out:      rax = error:u64, cf = failed: ERROR_NOT_MAPPED, ERROR_INVALID, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, page_lock held (or one CPU)
function page_guard
    call_frame
    push rdx
    push rcx
.Lguard_walk:
    call page_walk
    jc .Lguard_absent
    cmp edx, PAGE_LEVEL_PT
    je .Lguard_unmap
    call page_split
    jnc .Lguard_walk
    jmp .Lguard_leave
.Lguard_unmap:
    call page_unmap
    jc .Lguard_leave
    xor eax, eax
.Lguard_leave:
    pop rcx
    pop rdx
    return_frame
.Lguard_absent:
    mov eax, ERROR_NOT_MAPPED
    stc
    jmp .Lguard_leave
end_function page_guard

# space_enter -- load the new tables; no translation of the early ones survives
# In:       none
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, interrupts off; stack, code and data are mapped alike in both
local_function space_enter
    mov rcx, cr4
    mov rax, rcx
    and rax, ~CR4_PGE                           # global translations would outlive the change of CR3
    mov cr4, rax
    mov rax, [rip + page_root]
    mov cr3, rax
    or rcx, CR4_PGE                             # on every CPU that has long mode
    mov cr4, rcx
    mov rax, cr0
    or rax, CR0_WP                              # the kernel too obeys read-only pages
    mov cr0, rax
    ret
end_function space_enter

# space_count_ram -- bytes of all RAM in the direct map
# In:       none
# Out:      rax = bytes:u64
# Clobbers: rcx, rdx
# Context:  long mode, any IF
local_function space_count_ram
    xor eax, eax
    lea rdx, [rip + memory_ram + RANGES_ROWS]
    mov rcx, [rip + memory_ram + RANGES_COUNT]
.Lcount_row:
    dec rcx
    js .Lcount_done
    add rax, [rdx + RANGE_END]
    sub rax, [rdx + RANGE_FIRST]
    add rdx, RANGE_SIZE
    jmp .Lcount_row
.Lcount_done:
    ret
end_function space_count_ram
