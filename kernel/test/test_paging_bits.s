# Purpose:  tests of the bits of page-table entries that are easy to get wrong: PAT, and user along the way.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 4.6.1 (rights of all levels count), 4.9.2 (PAT bit)
# Exports:  rows of section .ktap
# Invariants: each test unmaps what it mapped; the tables on the way stay.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "registers.inc"
.include "layout.inc"

.set TEST_VA, 0xffffc12345600000                # nobody's, on 2 MB
.set TEST_VA_USER, 0x0000345600000000           # in the low half, nobody's
.set TEST_LARGE_PA, LARGE_PAGE_SIZE             # RAM on every machine that the kernel takes
.set TEST_LARGE_LAST, LARGE_PAGE_SIZE - PAGE_SIZE    # offset of the last small page

ktap_text text_alloc, "alloc"
ktap_text text_map, "map"
ktap_text text_split, "split"
ktap_text text_unmap, "unmap"
ktap_text text_entry, "entry"
ktap_text text_user, "granted to ring 3"
ktap_text text_pa, "physical address"

.section .text, "ax"

# test_paging_pat -- the PAT bit of a large page stands elsewhere than that of a small one
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test. Nothing is read through the page: its memory is write-back elsewhere
local_function test_paging_pat
    call_frame
    push rbx
    push r12
    mov rbx, TEST_VA
    mov rdi, rbx
    mov esi, TEST_LARGE_PA
    mov rdx, PTE_NX | PTE_CACHE_WT
    call page_map_large
    check_done text_map
    mov rdi, rbx
    call page_walk
    mov r12, [rax]
    mov rcx, PTE_NX | TEST_LARGE_PA | PTE_LARGE_PAT | PTE_LARGE | PTE_PCD | PTE_PWT | PTE_PRESENT
    check text_entry, r12, rcx
    mov rdi, rbx
    call page_split
    check_done text_split
    lea rdi, [rbx + PAGE_SIZE]
    call page_walk
    mov r12, [rax]
    mov rcx, PTE_NX | (TEST_LARGE_PA + PAGE_SIZE) | PTE_PAT | PTE_PCD | PTE_PWT | PTE_PRESENT
    check text_entry, r12, rcx
    lea r12, [rbx + TEST_LARGE_LAST]
.Lpat_unmap:
    mov rdi, r12
    call page_unmap
    check_done text_unmap
    sub r12, PAGE_SIZE
    cmp r12, rbx
    jae .Lpat_unmap
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_paging_pat
ktap_test test_paging_pat, "paging_pat_bit"

# test_paging_user -- a page of ring 3 is granted along the whole way to it
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_paging_user
    call_frame
    push rbx
    push r12
    mov rbx, TEST_VA_USER
    call frame_alloc_zeroed
    mov r12, rax
    check_done text_alloc
    mov rdi, rbx
    mov rsi, r12
    mov rdx, PTE_USER | PTE_NX
    call page_map
    check_done text_map
    mov rcx, [rip + page_root]
    mov rax, DIRECT_BASE
    add rcx, rax
    mov rax, rbx
    shr rax, PML4_SHIFT
    and eax, TABLE_INDEX_MASK
    mov eax, [rcx + rax * 8]
    and eax, PTE_USER
    check text_user, rax, PTE_USER
    mov rdi, rbx
    call page_unmap
    check text_pa, rax, r12
    mov rdi, r12
    call frame_free
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_paging_user
ktap_test test_paging_user, "paging_user_way"
