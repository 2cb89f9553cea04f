# Purpose:  tests of page tables: map, unmap, protect, large pages, and what is refused.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 4.6 (access rights), 4.7 (error code), 4.10.4 (what must be invalidated)
# Exports:  rows of section .ktap
# Invariants: each test unmaps what it mapped; the tables on the way stay.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.set TEST_VA, 0xffffc12345600000                # nobody's, on 2 MB
.set TEST_VA_BAD, 0x0000800000000000            # not canonical
.set TEST_PA_BAD, 0x0010000000000000            # 53 bits
.set TEST_LARGE_PA, LARGE_PAGE_SIZE             # RAM on every machine that the kernel takes
.set TEST_LARGE_LAST, LARGE_PAGE_SIZE - PAGE_SIZE    # offset of the last small page
.set TEST_LARGE_LAST_QUAD, LARGE_PAGE_SIZE - 8
.set PATTERN_A, 0x1111222233334444
.set REMAP_ROUNDS, 4
.set CODE_RET, 0xc3

ktap_text text_alloc, "alloc"
ktap_text text_map, "map"
ktap_text text_again, "map again"
ktap_text text_unmap, "unmap"
ktap_text text_unmap_again, "unmap again"
ktap_text text_pa, "physical address"
ktap_text text_level, "level"
ktap_text text_entry, "entry"
ktap_text text_walk, "not mapped"
ktap_text text_contents, "contents"
ktap_text text_outcome, "outcome of an access"
ktap_text text_protect, "protect"
ktap_text text_split, "split"
ktap_text text_canonical, "address that is not canonical"
ktap_text text_misaligned, "misaligned"
ktap_text text_physical, "physical address of 53 bits"
ktap_text text_flags, "flag that is none"
ktap_text text_absent, "not mapped"
ktap_text text_inside, "within a large page"
ktap_text text_small, "small page where a large one is"
ktap_text text_large, "large page where small ones are"

.section .text, "ax"

# test_paging_map -- a mapped page is memory, an unmapped one faults
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_paging_map
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r14, TEST_VA
    call frame_alloc_zeroed
    mov rbx, rax
    check_done text_alloc
    call frame_alloc_zeroed
    mov r12, rax
    check_done text_alloc
    check_fault text_outcome, provoke_pf_read, r14, PROBE_PF
    mov rdi, r14
    mov rsi, rbx
    mov rdx, PAGE_KERNEL_DATA
    call page_map
    check_done text_map
    mov rdi, r14
    mov rsi, r12
    mov rdx, PAGE_KERNEL_DATA
    call page_map
    check_refused text_again, ERROR_EXISTS
    mov rax, PATTERN_A
    mov [r14], rax
    mov rdi, DIRECT_BASE
    check text_contents, [rdi + rbx], [r14]
    mov rdi, r14
    call page_walk
    mov r13, [rax]
    check text_level, rdx, PAGE_LEVEL_PT
    and r13, ~(PTE_ACCESSED | PTE_DIRTY)
    mov rax, PAGE_KERNEL_DATA | PTE_PRESENT
    or rax, rbx
    mov rcx, rax
    check text_entry, r13, rcx
    mov rdi, r14
    call page_unmap
    check text_pa, rax, rbx
    check_fault text_outcome, provoke_pf_write, r14, PROBE_PF | PF_WRITE
    mov rdi, r14
    call page_unmap
    check_refused text_unmap_again, ERROR_NOT_MAPPED
    mov rdi, rbx
    call frame_free
    mov rdi, r12
    call frame_free
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_paging_map
ktap_test test_paging_map, "paging_map_unmap"

# test_paging_remap -- an address leads to the frame that it was mapped to last
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_paging_remap
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r14, TEST_VA
    mov r13d, REMAP_ROUNDS
    xor r12d, r12d                              # the frame of the round before
.Lremap_next:
    call frame_alloc_zeroed
    mov rbx, rax
    check_done text_alloc
    mov rdi, r12
    test rdi, rdi
    jz .Lremap_first
    call frame_free
.Lremap_first:
    mov r12, rbx
    mov rdi, r14
    mov rsi, rbx
    mov rdx, PAGE_KERNEL_DATA
    call page_map
    check_done text_map
    check text_contents, [r14], 0               # no old translation is used
    mov [r14], r14
    mov rdi, r14
    call page_unmap
    check text_pa, rax, rbx
    dec r13d
    jnz .Lremap_next
    mov rdi, r12
    call frame_free
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_paging_remap
ktap_test test_paging_remap, "paging_remap"

# test_paging_rights -- read-only and no-execute are obeyed at once, and given back at once
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_paging_rights
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r14, TEST_VA
    call frame_alloc_zeroed
    mov rbx, rax
    check_done text_alloc
    mov rdi, r14
    mov rsi, rbx
    mov rdx, PAGE_KERNEL_DATA
    call page_map
    check_done text_map
    mov byte ptr [r14], CODE_RET
    check_fault text_outcome, provoke_pf_fetch, r14, PROBE_PF | PF_PRESENT | PF_FETCH
    check_fault text_outcome, provoke_pf_write, r14, PROBE_NONE
    mov byte ptr [r14], CODE_RET
    mov rdi, r14
    mov rsi, PAGE_KERNEL_TEXT
    call page_protect
    check_done text_protect
    check_fault text_outcome, provoke_pf_fetch, r14, PROBE_NONE
    check_fault text_outcome, provoke_pf_write, r14, PROBE_PF | PF_PRESENT | PF_WRITE
    check_fault text_outcome, provoke_pf_read, r14, PROBE_NONE
    mov rdi, r14
    mov rsi, PAGE_KERNEL_RODATA
    call page_protect
    check_done text_protect
    check_fault text_outcome, provoke_pf_fetch, r14, PROBE_PF | PF_PRESENT | PF_FETCH
    check_fault text_outcome, provoke_pf_write, r14, PROBE_PF | PF_PRESENT | PF_WRITE
    mov rdi, r14
    mov rsi, PAGE_KERNEL_DATA
    call page_protect
    check_done text_protect
    check_fault text_outcome, provoke_pf_write, r14, PROBE_NONE
    mov rdi, r14
    call page_unmap
    check text_pa, rax, rbx                     # protect has not moved it
    mov rdi, rbx
    call frame_free
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_paging_rights
ktap_test test_paging_rights, "paging_rights"

# test_paging_refuse -- arguments that cannot stand in an entry, and pages that are not there
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_paging_refuse
    call_frame
    push rbx
    push r12
    mov rbx, TEST_VA
    mov rdi, TEST_VA_BAD
    mov esi, TEST_LARGE_PA
    mov edx, PTE_WRITE
    call page_map
    check_refused text_canonical, ERROR_INVALID
    mov rdi, TEST_VA_BAD
    call page_walk
    check_cf text_walk, 1
    lea rdi, [rbx + 8]
    mov esi, TEST_LARGE_PA
    mov edx, PTE_WRITE
    call page_map
    check_refused text_misaligned, ERROR_INVALID
    mov rdi, rbx
    mov esi, TEST_LARGE_PA + 8
    mov edx, PTE_WRITE
    call page_map
    check_refused text_misaligned, ERROR_INVALID
    mov rdi, rbx
    mov esi, TEST_LARGE_PA + PAGE_SIZE
    mov edx, PTE_WRITE
    call page_map_large
    check_refused text_misaligned, ERROR_INVALID
    mov rdi, rbx
    mov rsi, TEST_PA_BAD
    mov edx, PTE_WRITE
    call page_map
    check_refused text_physical, ERROR_INVALID
    mov rdi, rbx
    mov esi, TEST_LARGE_PA
    mov edx, PTE_DIRTY
    call page_map
    check_refused text_flags, ERROR_INVALID
    mov rdi, rbx
    mov esi, PTE_DIRTY
    call page_protect
    check_refused text_flags, ERROR_INVALID
    mov rdi, rbx
    xor esi, esi
    call page_protect
    check_refused text_absent, ERROR_NOT_MAPPED
    mov rdi, rbx
    call page_split
    check_refused text_absent, ERROR_NOT_MAPPED
    mov rdi, rbx
    call page_walk
    check_cf text_walk, 1                       # nothing of it left a mapping
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_paging_refuse
ktap_test test_paging_refuse, "paging_refusals"

# test_paging_large -- a 2 MB page: mapped, refused where something is, split, parts unmapped and protected alone
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_paging_large
    call_frame
    push rbx
    push r12
    mov rbx, TEST_VA
    mov rdi, rbx
    mov esi, TEST_LARGE_PA
    mov rdx, PAGE_KERNEL_RODATA
    call page_map_large
    check_done text_map
    lea rdi, [rbx + PAGE_SIZE]
    mov esi, TEST_LARGE_PA
    mov rdx, PAGE_KERNEL_RODATA
    call page_map
    check_refused text_small, ERROR_EXISTS
    lea rdi, [rbx + PAGE_SIZE]
    call page_unmap
    check_refused text_inside, ERROR_INVALID
    lea rdi, [rbx + PAGE_SIZE]
    xor esi, esi
    call page_protect
    check_refused text_inside, ERROR_INVALID
    call large_same                             # fills the TLB with the large page
    mov rdi, rbx
    call page_walk
    check text_level, rdx, PAGE_LEVEL_PD
    lea r12, [rbx + TEST_LARGE_LAST]
    check_fault text_outcome, provoke_pf_write, r12, PROBE_PF | PF_PRESENT | PF_WRITE
    mov rdi, r12
    call page_split
    check_done text_split
    mov rdi, r12
    call page_split
    check_refused text_split, ERROR_INVALID
    call large_same
    mov rdi, rbx
    mov esi, TEST_LARGE_PA
    mov rdx, PAGE_KERNEL_RODATA
    call page_map_large
    check_refused text_large, ERROR_EXISTS
    check_fault text_outcome, provoke_pf_write, r12, PROBE_PF | PF_PRESENT | PF_WRITE
    mov rdi, r12
    call page_unmap
    check text_pa, rax, TEST_LARGE_PA + TEST_LARGE_LAST
    check_fault text_outcome, provoke_pf_read, r12, PROBE_PF
    sub r12, PAGE_SIZE
    check_fault text_outcome, provoke_pf_read, r12, PROBE_NONE
.Llarge_unmap:
    mov rdi, r12
    call page_unmap
    check_done text_unmap
    sub r12, PAGE_SIZE
    cmp r12, rbx
    jae .Llarge_unmap
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_paging_large
ktap_test test_paging_large, "paging_large_pages"

# large_same -- the first and the last quadword of the large page are those of the memory behind it
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set; in test_paging_large
local_function large_same
    call_frame
    push rbx
    push r12
    mov rbx, TEST_VA
    mov r12, DIRECT_BASE + TEST_LARGE_PA
    check text_contents, [rbx], [r12]
    check text_contents, [rbx + TEST_LARGE_LAST_QUAD], [r12 + TEST_LARGE_LAST_QUAD]
    pop r12
    pop rbx
    return_frame
end_function large_same
