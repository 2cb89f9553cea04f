# Purpose:  tests of the kernel's address space as the paging unit leaves it.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 4.5, 4.6; include/layout.inc
# Exports:  rows of section .ktap
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.set RIGHTS_MASK_LOW, PTE_PRESENT | PTE_WRITE | PTE_USER

ktap_text text_walk, "not mapped"
ktap_text text_rights, "rights"
ktap_text text_nx, "no-execute"
ktap_text text_alias, "writable alias of what is read-only"
ktap_text text_wx, "pages writable and executable"
ktap_text text_leaves, "no pages found"
ktap_text text_identity, "absence of a page"
ktap_text text_pa, "physical address"
ktap_text text_root, "root"
ktap_text text_type, "another type"
ktap_text text_behind, "writable behind the end of RAM"

# image_part FIRST, END, FLAGS -- a row of image_parts
.macro image_part first, end, flags
    .quad \first, \end, \flags
.endm
.set PART_FIRST, 0
.set PART_END, 8
.set PART_FLAGS, 16
.set PART_SIZE, 24

.section .rodata, "a"
    .balign 8
image_parts:
    image_part __text_start, __text_end, PTE_PRESENT
    image_part __rodata_start, __rodata_end, PTE_PRESENT | PTE_NX
    image_part __data_start, __data_end, PTE_PRESENT | PTE_NX | PTE_WRITE
    image_part percpu_boot, percpu_boot + PAGE_SIZE, PTE_PRESENT | PTE_NX | PTE_WRITE
image_parts_end:
absent:
    .quad 0, IMAGE_PHYSICAL, LARGE_PAGE_SIZE, VIRTUAL_BASE, VIRTUAL_BASE + IMAGE_PHYSICAL - PAGE_SIZE
absent_end:

.section .text, "ax"

# test_space_image -- every page of the image has the rights of its section, and the direct map grants no more
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_space_image
    call_frame
    push rbx
    push r12
    push r13
    push r14
    lea rbx, [rip + image_parts]
.Limage_part:
    mov r12, [rbx + PART_FIRST]
.Limage_page:
    mov rdi, r12
    call page_walk
    mov r13, [rax]
    mov r14, PTE_NX | RIGHTS_MASK_LOW
    and r13, r14
    check text_rights, r13, [rbx + PART_FLAGS]
    test byte ptr [rbx + PART_FLAGS], PTE_WRITE
    jnz .Limage_next
    mov rdi, r12
    mov rax, DIRECT_BASE - VIRTUAL_BASE
    add rdi, rax
    call page_walk
    mov r13, [rax]
    and r13d, PTE_WRITE
    check text_alias, r13, 0
.Limage_next:
    add r12, PAGE_SIZE
    cmp r12, [rbx + PART_END]
    jb .Limage_page
    add rbx, PART_SIZE
    lea rax, [rip + image_parts_end]
    cmp rbx, rax
    jb .Limage_part
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_space_image
ktap_test test_space_image, "space_image_rights"

# test_space_wx -- no page of the whole address space is writable and executable, or open to ring 3
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_space_wx
    call_frame
    push rbx
    push r12
    xor ebx, ebx                                # offending pages
    xor r12d, r12d                              # all pages
    mov rdi, [rip + page_root]
    mov rax, cr3
    check text_root, rax, rdi
    mov rdi, [rip + page_root]
    mov esi, PAGE_LEVEL_PML4
    call count_leaves
    check text_wx, rbx, 0
    cmp r12, 1
    check_cf text_leaves, 0
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_space_wx
ktap_test test_space_wx, "space_no_writable_code"

# count_leaves -- walk a table and those below it
# In:       rdi = table:u64 (physical), esi = level:u32[1..4], rbx = offending:u64, r12 = pages:u64
# Out:      rbx = offending:u64, r12 = pages:u64
# Clobbers: rax, rcx, rdx
# Context:  long mode; in a test; calls itself
local_function count_leaves
    call_frame
    push r13
    push r14
    push rdi
    push rsi
    mov r13, DIRECT_BASE
    add r13, rdi
    mov r14d, TABLE_ENTRIES
.Lleaves_entry:
    mov rax, [r13]
    add r13, 1 << TABLE_ENTRY_SHIFT
    test al, PTE_PRESENT
    jz .Lleaves_next
    cmp esi, PAGE_LEVEL_PT
    je .Lleaves_leaf
    test al, PTE_LARGE
    jnz .Lleaves_leaf
    mov rdi, PTE_ADDRESS_MASK
    and rdi, rax
    dec esi
    call count_leaves
    inc esi
    jmp .Lleaves_next
.Lleaves_leaf:
    inc r12
    test al, PTE_USER
    jnz .Lleaves_offends
    test al, PTE_WRITE
    jz .Lleaves_next
    bt rax, PTE_NX_BIT
    jc .Lleaves_next
.Lleaves_offends:
    inc rbx
.Lleaves_next:
    dec r14d
    jnz .Lleaves_entry
    pop rsi
    pop rdi
    pop r14
    pop r13
    return_frame
end_function count_leaves

# test_space_absent -- page 0, the identity map and what lies below the image are not mapped
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_space_absent
    call_frame
    push rbx
    push r12
    lea rbx, [rip + absent]
.Labsent_next:
    mov r12, [rbx]
    mov rdi, r12
    call page_walk
    check_cf text_walk, 1
    check_fault text_identity, provoke_pf_read, r12, PROBE_PF
    add rbx, 8
    lea rax, [rip + absent_end]
    cmp rbx, rax
    jb .Labsent_next
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_space_absent
ktap_test test_space_absent, "space_identity_map_is_gone"

# test_space_direct -- both ends of every row of RAM are where the direct map says, and nothing writable behind the last
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_space_direct
    call_frame
    push rbx
    push r12
    lea rbx, [rip + memory_ram + RANGES_ROWS]
    mov r12, [rip + memory_ram + RANGES_COUNT]
.Ldirect_row:
    mov rdi, [rbx + RANGE_FIRST]
    call check_direct
    mov rdi, [rbx + RANGE_END]
    sub rdi, PAGE_SIZE
    call check_direct
    add rbx, RANGE_SIZE
    dec r12
    jnz .Ldirect_row
    mov rdi, DIRECT_BASE
    add rdi, [rbx - RANGE_SIZE + RANGE_END]
    call page_walk
    jc .Ldirect_end
    mov r12d, [rax]                             # firmware's tables may begin there (page_cover): read-only
    and r12d, PTE_WRITE
    check text_behind, r12, 0
.Ldirect_end:
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_space_direct
ktap_test test_space_direct, "space_direct_map"

# check_direct -- the direct map leads to a physical page, cached, not executable
# In:       rdi = pa:u64
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, GS base set; in a test
local_function check_direct
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov rax, DIRECT_BASE
    add rdi, rax
    mov r13, rdi
    call page_walk
    setc cl
    mov r12, rax
    mov r14, rdx
    movzx ecx, cl
    check text_walk, rcx, 0
    mov rax, [r12]
    shr rax, PTE_NX_BIT
    check text_nx, rax, 1
    mov eax, [r12]
    and eax, PTE_PWT | PTE_PCD
    check text_type, rax, PTE_CACHE_WB
    mov ecx, PAGE_SHIFT - TABLE_INDEX_BITS      # bits below the page's address
.Ldirect_shift:
    add ecx, TABLE_INDEX_BITS
    dec r14
    jnz .Ldirect_shift
    mov rax, [r12]
    mov r13, PTE_ADDRESS_MASK
    and rax, r13
    shr rax, cl
    shr rbx, cl
    mov r12, rax
    check text_pa, r12, rbx
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function check_direct
