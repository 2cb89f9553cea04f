# Purpose:  page tables of four levels: walk, map one page, map one large page.
# Mode:     64-bit
# Spec:     Intel SDM vol. 3, 4.5 (4-level paging), 4.10.2 (what the TLB may hold)
# Exports:  page_walk page_descend page_map page_map_large page_flags_large page_root
# Invariants: page_root is the kernel's PML4; while an address space is worked on, gs:PERCPU_ROOT has its own instead.
#           page_lock is held, but for page_walk and while there is one CPU. Tables lie in frames and are reached
#           through the direct map. A present entry is never overwritten here: that is for page_change.s.
#           An entry that becomes present needs no invlpg, the TLB holds no absent translations.
#
#   va  63..48 47..39 38..30 29..21 20..12 11..0
#       = 47   PML4   PDPT   PD     PT     offset       each index selects one of 512 entries of 8 bytes

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"
.include "percpu.inc"

.section .text, "ax"

# page_walk -- the entry at which the walk of an address ends
# In:       rdi = va:u64
# Out:      rax = entry:ptr (0 when va is not canonical), rdx = level:u64[0..4], cf = va is not mapped
# Clobbers: none
# Context:  long mode, any IF
function page_walk
    push rcx
    push r8
    push r9
    mov rax, rdi
    shl rax, CANONICAL_SHIFT
    sar rax, CANONICAL_SHIFT
    cmp rax, rdi
    jne .Lwalk_not_canonical
    mov r8, gs:[PERCPU_ROOT]
    test r8, r8
    cmovz r8, [rip + page_root]
    mov edx, PAGE_LEVEL_PML4
    mov ecx, PML4_SHIFT
.Lwalk_level:
    mov rax, DIRECT_BASE
    add r8, rax
    mov rax, rdi
    shr rax, cl
    and eax, TABLE_INDEX_MASK
    lea rax, [r8 + rax * 8]
    mov r8, [rax]
    test r8b, PTE_PRESENT
    jz .Lwalk_absent
    cmp edx, PAGE_LEVEL_PT
    je .Lwalk_mapped
    test r8b, PTE_LARGE
    jnz .Lwalk_mapped
    mov r9, PTE_ADDRESS_MASK
    and r8, r9
    sub ecx, TABLE_INDEX_BITS
    dec edx
    jmp .Lwalk_level
.Lwalk_mapped:
    clc
    jmp .Lwalk_leave
.Lwalk_not_canonical:
    xor eax, eax
    xor edx, edx
.Lwalk_absent:
    stc
.Lwalk_leave:
    pop r9
    pop r8
    pop rcx
    ret
end_function page_walk

# page_descend -- the entry of an address at a level; tables that lack on the way are made
# In:       rdi = va:u64, rsi = level:u64[1..3], rdx = flags:u64 (PTE_USER is granted along the way)
# Out:      rax = entry:ptr or error code, cf = a larger page is in the way, or out of memory
# Clobbers: none
# Context:  long mode, page_lock held (or one CPU)
function page_descend
    call_frame
    push rcx
    push rbx
    push r8
    push r9
    mov r8, gs:[PERCPU_ROOT]
    test r8, r8
    cmovz r8, [rip + page_root]
    mov r9d, PAGE_LEVEL_PML4
    mov ecx, PML4_SHIFT
.Ldescend_level:
    mov rax, DIRECT_BASE
    add r8, rax
    mov rbx, rdi
    shr rbx, cl
    and ebx, TABLE_INDEX_MASK
    lea rbx, [r8 + rbx * 8]
    cmp r9, rsi
    je .Ldescend_found
    mov rax, [rbx]
    test al, PTE_PRESENT
    jnz .Ldescend_present
    call frame_alloc_zeroed
    jc .Ldescend_leave
    or rax, PTE_PRESENT | PTE_WRITE
    mov [rbx], rax                              # an empty table: what it maps is for its leaves to say
    cmp r9d, PAGE_LEVEL_PML4
    jne .Ldescend_present
    call space_share_entry
.Ldescend_present:
    test al, PTE_LARGE
    jnz .Ldescend_exists
    mov r8d, edx
    and r8d, PTE_USER
    or [rbx], r8
    mov r8, PTE_ADDRESS_MASK
    and r8, rax
    sub ecx, TABLE_INDEX_BITS
    dec r9d
    jmp .Ldescend_level
.Ldescend_found:
    mov rax, rbx
    clc
.Ldescend_leave:
    pop r9
    pop r8
    pop rbx
    pop rcx
    return_frame
.Ldescend_exists:
    mov eax, ERROR_EXISTS
    stc
    jmp .Ldescend_leave
end_function page_descend

# page_check -- whether addresses and flags can stand in an entry
# In:       rdi = va:u64, rsi = pa:u64, rdx = flags:u64, rcx = offset_mask:u64 (page size - 1)
# Out:      rax = error:u64, cf = not canonical, misaligned, beyond 52 bits, or a flag that is none
# Clobbers: none
# Context:  long mode, any IF
function page_check
    mov rax, rdi
    shl rax, CANONICAL_SHIFT
    sar rax, CANONICAL_SHIFT
    cmp rax, rdi
    jne .Lcheck_invalid
    or rax, rsi
    test rax, rcx
    jnz .Lcheck_invalid
    mov rax, ~PTE_ADDRESS_MASK
    test rsi, rax
    jnz .Lcheck_invalid
    mov rax, ~PAGE_FLAGS_ALL
    test rdx, rax
    jnz .Lcheck_invalid
    xor eax, eax
    ret
.Lcheck_invalid:
    mov eax, ERROR_INVALID
    stc
    ret
end_function page_check

# page_map -- map one 4 KB page that is not mapped
# In:       rdi = va:u64, rsi = pa:u64, rdx = flags:u64 (PAGE_FLAGS_ALL)
# Out:      rax = error:u64, cf = refused: ERROR_INVALID, ERROR_EXISTS, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, page_lock held (or one CPU)
function page_map
    call_frame
    push rcx
    push rdx
    push rsi
    push rbx
    mov rbx, rsi
    mov ecx, PAGE_MASK
    call page_check
    jc .Lmap_leave
    mov esi, PAGE_LEVEL_PT
    call page_descend
    jc .Lmap_leave
    test byte ptr [rax], PTE_PRESENT
    jnz .Lmap_exists
    or rdx, rbx
    or rdx, PTE_PRESENT
    mov [rax], rdx                              # from here on the page is mapped
    xor eax, eax
.Lmap_leave:
    pop rbx
    pop rsi
    pop rdx
    pop rcx
    return_frame
.Lmap_exists:
    mov eax, ERROR_EXISTS
    stc
    jmp .Lmap_leave
end_function page_map

# page_map_large -- map one 2 MB page where nothing is mapped
# In:       rdi = va:u64, rsi = pa:u64, rdx = flags:u64 (PAGE_FLAGS_ALL, the PAT bit in its place of a 4 KB page)
# Out:      rax = error:u64, cf = refused: ERROR_INVALID, ERROR_EXISTS, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, page_lock held (or one CPU)
function page_map_large
    call_frame
    push rcx
    push rdx
    push rsi
    push rbx
    mov rbx, rsi
    mov ecx, LARGE_PAGE_MASK
    call page_check
    jc .Lmap_large_leave
    mov esi, PAGE_LEVEL_PD
    call page_descend
    jc .Lmap_large_leave
    call page_drop_empty
    jc .Lmap_large_leave
    call page_flags_large
    or rdx, rbx
    mov [rax], rdx
    xor eax, eax
.Lmap_large_leave:
    pop rbx
    pop rsi
    pop rdx
    pop rcx
    return_frame
end_function page_map_large

# page_drop_empty -- free an entry for a large page: a table of small pages that are all unmapped is given back
# In:       rax = entry:ptr (of a page directory), rdi = va:u64
# Out:      rax = entry:ptr or error code, cf = a page, or a table with pages, is there: ERROR_EXISTS
# Clobbers: none
# Context:  long mode, page_lock held (or one CPU)
local_function page_drop_empty
    call_frame
    push rbx
    push rcx
    push rdi
    push rsi
    mov rbx, rax
    mov rsi, [rbx]
    test sil, PTE_PRESENT
    jz .Ldrop_done
    test sil, PTE_LARGE
    jnz .Ldrop_exists
    mov rax, PTE_ADDRESS_MASK
    and rsi, rax
    mov rax, DIRECT_BASE
    add rax, rsi
    mov ecx, TABLE_ENTRIES
.Ldrop_entry:
    test byte ptr [rax], PTE_PRESENT
    jnz .Ldrop_exists
    add rax, 1 << TABLE_ENTRY_SHIFT
    dec ecx
    jnz .Ldrop_entry
    mov qword ptr [rbx], 0
    invlpg [rdi]                                # the CPU may hold the way to the table
    mov rdi, rsi
    call frame_free
    jc .Ldrop_leave
.Ldrop_done:
    mov rax, rbx
    clc
.Ldrop_leave:
    pop rsi
    pop rdi
    pop rcx
    pop rbx
    return_frame
.Ldrop_exists:
    mov eax, ERROR_EXISTS
    stc
    jmp .Ldrop_leave
end_function page_drop_empty

# page_flags_large -- flags of a 4 KB page as the low bits of a large page's entry
# In:       rdx = flags:u64
# Out:      rdx = bits:u64 (present and large among them)
# Clobbers: none
# Context:  long mode, any IF
function page_flags_large
    btr rdx, PTE_PAT_BIT
    jnc .Lflags_large_no_pat
    or rdx, PTE_LARGE_PAT
.Lflags_large_no_pat:
    or rdx, PTE_PRESENT | PTE_LARGE
    ret
end_function page_flags_large

.section .bss, "aw", @nobits
    .balign 8
object page_root                                # physical address of the PML4
    .skip 8
end_object page_root
