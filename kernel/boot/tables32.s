# Purpose:  the page tables of the first moments: enough to run in the higher half until the real ones stand.
# Mode:     32-bit protected mode, paging off
# Spec:     Intel SDM vol. 3, 4.5 (4-level paging)
# Exports:  boot_make_tables, boot_pml4
# Invariants: the tables lie in .bss, which every loader hands over cleared.
#
#   PML4[0]   -> PDPT        -> PD 0..3: 4 GB of 2 MB pages    identity, while .boot runs
#   PML4[256] -> the same PDPT                                  DIRECT_BASE
#   PML4[511] -> PDPT[510]   -> PD 0: the first GB              VIRTUAL_BASE
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "registers.inc"

.set TABLE_FLAGS, PTE_PRESENT | PTE_WRITE
.set TABLE_BYTES_PER_ENTRY, 8

.section .bss, "aw", @nobits
    .balign 4096
object boot_pml4
    .skip PAGE_SIZE
end_object boot_pml4
boot_pdpt:
    .skip PAGE_SIZE
boot_pdpt_image:
    .skip PAGE_SIZE
boot_directories:
    .skip PAGE_SIZE * EARLY_DIRECTORIES

.section .boot.text, "ax"
.code32

# boot_make_tables -- fill the early page tables: identity, direct and image map of EARLY_MAP_SIZE bytes
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdi
# Context:  32-bit protected mode, paging off
function boot_make_tables
    mov eax, offset boot_pdpt - VIRTUAL_BASE + TABLE_FLAGS
    mov edi, offset boot_pml4 - VIRTUAL_BASE
    mov dword ptr [edi], eax
    mov dword ptr [edi + DIRECT_PML4_INDEX * TABLE_BYTES_PER_ENTRY], eax
    mov eax, offset boot_pdpt_image - VIRTUAL_BASE + TABLE_FLAGS
    mov dword ptr [edi + VIRTUAL_PML4_INDEX * TABLE_BYTES_PER_ENTRY], eax

    mov eax, offset boot_directories - VIRTUAL_BASE + TABLE_FLAGS
    mov edi, offset boot_pdpt_image - VIRTUAL_BASE
    mov dword ptr [edi + VIRTUAL_PDPT_INDEX * TABLE_BYTES_PER_ENTRY], eax
    mov edi, offset boot_pdpt - VIRTUAL_BASE
    mov ecx, EARLY_DIRECTORIES
.Ltables_directory:
    mov dword ptr [edi], eax
    add edi, TABLE_BYTES_PER_ENTRY
    add eax, PAGE_SIZE
    dec ecx
    jnz .Ltables_directory

    mov eax, TABLE_FLAGS | PTE_LARGE
    mov edi, offset boot_directories - VIRTUAL_BASE
.Ltables_page:
    mov dword ptr [edi], eax
    add edi, TABLE_BYTES_PER_ENTRY
    add eax, LARGE_PAGE_SIZE
    jnc .Ltables_page                           # 4 GB: the address wraps
    ret
end_function boot_make_tables
