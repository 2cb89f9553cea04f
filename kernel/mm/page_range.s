# Purpose:  map long ranges at once: RAM, the kernel image, tables of the firmware.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.5 (page sizes), 11.11.9 (large pages and memory types)
# Exports:  page_map_range page_cover page_huge_allowed
# Invariants: the largest page that fits is taken, so that 8 GB cost as little as 8 MB where the CPU has 1 GB pages;
#           one descent of the tables serves a whole table of entries.
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.section .text, "ax"

# page_choose_level -- the largest page that can begin here
# In:       rdi = va:u64, rsi = pa:u64, rdx = length:u64
# Out:      rax = level:u64[1..3], rcx = size:u64 (of the page)
# Clobbers: none
# Context:  long mode, any IF
local_function page_choose_level
    push rbx
    mov rbx, rdi
    or rbx, rsi
    mov eax, PAGE_LEVEL_PDPT
    mov ecx, HUGE_PAGE_SIZE
    cmp byte ptr [rip + page_huge_allowed], 0
    je .Lchoose_large
    test ebx, HUGE_PAGE_MASK
    jnz .Lchoose_large
    cmp rdx, rcx
    jae .Lchoose_known
.Lchoose_large:
    mov eax, PAGE_LEVEL_PD
    mov ecx, LARGE_PAGE_SIZE
    test ebx, LARGE_PAGE_MASK
    jnz .Lchoose_small
    cmp rdx, rcx
    jae .Lchoose_known
.Lchoose_small:
    mov eax, PAGE_LEVEL_PT
    mov ecx, PAGE_SIZE
.Lchoose_known:
    pop rbx
    ret
end_function page_choose_level

# page_map_range -- map a range of whole pages, none of which is mapped
# In:       rdi = va:u64, rsi = pa:u64, rdx = length:u64 (bytes), rcx = flags:u64 (PAGE_FLAGS_ALL)
# Out:      rax = error:u64, cf = refused, what precedes the page in the way stays mapped: ERROR_INVALID,
#           ERROR_EXISTS, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, page_lock held (or one CPU)
function page_map_range
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r8
    push r9
    push r10
    mov r8, rdx                                 # bytes that are left
    mov r9, rcx
    test edx, PAGE_MASK
    jnz .Lrange_invalid
    mov rdx, r9
    mov ecx, PAGE_MASK
    call page_check
    jc .Lrange_leave
.Lrange_table:
    test r8, r8
    jz .Lrange_done
    mov rdx, r8
    call page_choose_level
    mov r10, rcx                                # size of these pages
    mov rbx, rsi                                # entry to write: address and bits
    mov rsi, rax
    mov rdx, r9
    call page_descend
    jc .Lrange_leave
    cmp esi, PAGE_LEVEL_PT
    mov rsi, rbx
    je .Lrange_small
    call page_flags_large
.Lrange_small:
    or rdx, PTE_PRESENT
    or rbx, rdx
    mov rdx, r8
    call page_fill_table
    jc .Lrange_leave
    sub rdx, r8                                 # bytes that are mapped now
    add rdi, rdx
    add rsi, rdx
    jmp .Lrange_table
.Lrange_done:
    xor eax, eax
.Lrange_leave:
    pop r10
    pop r9
    pop r8
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lrange_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lrange_leave
end_function page_map_range

# page_fill_table -- write consecutive entries of one table, none of which is present yet
# In:       rax = entry:ptr, rbx = value:u64 (of the first), r10 = size:u64 (of a page), r8 = left:u64 (bytes, a page
#           at least)
# Out:      r8 = left:u64, rax = error:u64 (ERROR_EXISTS), cf = an entry was present
# Clobbers: rbx
# Context:  long mode, any IF
local_function page_fill_table
.Lfill_entry:
    test byte ptr [rax], PTE_PRESENT
    jnz .Lfill_exists
    mov [rax], rbx
    add rbx, r10
    sub r8, r10
    add rax, 1 << TABLE_ENTRY_SHIFT
    test eax, PAGE_MASK
    jz .Lfill_done                              # the next entry stands in another table
    cmp r8, r10
    jae .Lfill_entry
.Lfill_done:
    xor eax, eax
    ret
.Lfill_exists:
    mov eax, ERROR_EXISTS
    stc
    ret
end_function page_fill_table

# page_cover -- make a piece of firmware memory readable through the direct map; what is mapped stays as it is
# In:       rdi = pa:u64, rsi = length:u64
# Out:      rax = va:ptr or error code, cf = refused: ERROR_INVALID, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF
#
# The pages are read-only. Write-back is right even where the address turns out to be no memory: the MTRRs of the
# firmware say so then, and uncacheable wins (SDM vol. 3, 11.5.2.2).
function page_cover
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r8
    mov rbx, rdi
    lea r8, [rdi + rsi - 1]
    cmp r8, rdi
    jb .Lcover_invalid                          # empty, or around the end of the address space
    mov rax, r8
    shr rax, DIRECT_SIZE_SHIFT
    jnz .Lcover_invalid
    lea rdi, [rip + page_lock]
    call mm_lock_enter
    push rax
    push rax
    mov rdi, rbx
    mov rsi, rdi
    and rsi, ~PAGE_MASK
.Lcover_page:
    mov rdi, DIRECT_BASE
    add rdi, rsi
    call page_walk
    jnc .Lcover_next
    mov edx, PAGE_SIZE
    mov rcx, PAGE_KERNEL_RODATA
    call page_map_range
    jc .Lcover_unlock
.Lcover_next:
    add rsi, PAGE_SIZE
    cmp rsi, r8
    jbe .Lcover_page
    mov rax, DIRECT_BASE
    add rax, rbx
    clc
.Lcover_unlock:
    pop rsi
    pop rsi
    lea rdi, [rip + page_lock]
    call mm_lock_leave
.Lcover_leave:
    pop r8
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lcover_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lcover_leave
end_function page_cover

.section .bss, "aw", @nobits
object page_huge_allowed                        # byte: the CPU has 1 GB pages
    .skip 1
end_object page_huge_allowed
