# Purpose:  tests of mappings for devices and for firmware tables.
# Mode:     64-bit long mode
# Spec:     Intel SDM vol. 3, 11.3 (memory types); include/layout.inc
# Exports:  rows of section .ktap
# Invariants: what is mapped for a test is unmapped again, but for the page of the firmware's ROM.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.set TEST_MMIO, 0x0000123400000000              # no device, no memory, no mapping
.set TEST_MMIO_BEYOND, 1 << DIRECT_SIZE_SHIFT
.set TEST_ROM, 0xff000                           # firmware's, never RAM of ours
.set TEST_COVER_BEYOND, 1 << DIRECT_SIZE_SHIFT
.set RIGHTS_MASK_LOW, PTE_PRESENT | PTE_WRITE | PTE_USER

ktap_text text_rights, "rights"
ktap_text text_map, "map"
ktap_text text_va, "virtual address"
ktap_text text_entry, "entry"
ktap_text text_type, "another type"
ktap_text text_ram, "RAM"
ktap_text text_page0, "page 0"
ktap_text text_empty, "empty"
ktap_text text_beyond, "beyond the address space"
ktap_text text_cover, "cover"
ktap_text text_unmap, "unmap"

.section .text, "ax"

# test_mmio -- device mappings: uncacheable, never RAM, never two types
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_mmio
    call_frame
    push rbx
    push r12
    mov rbx, TEST_MMIO
    lea rdi, [rbx + 0x123]
    mov esi, PAGE_SIZE                          # touches two pages
    mov edx, PTE_CACHE_UC
    call mmio_map
    mov r12, rax
    check_done text_map
    mov rax, DIRECT_BASE + 0x123
    add rax, rbx
    mov rcx, rax
    check text_va, r12, rcx
    lea rdi, [rbx + PAGE_SIZE]
    mov rax, DIRECT_BASE
    add rdi, rax
    call page_walk
    mov r12, [rax]
    lea rcx, [rbx + PAGE_SIZE]
    mov rax, PTE_PRESENT | PTE_WRITE | PTE_NX | PTE_GLOBAL | PTE_CACHE_UC
    or rcx, rax
    check text_entry, r12, rcx
    mov rdi, rbx
    mov esi, PAGE_SIZE * 2
    mov edx, PTE_CACHE_UC
    call mmio_map
    check_done text_map                         # the same again
    mov rdi, rbx
    mov esi, PAGE_SIZE
    mov edx, PTE_CACHE_WC
    call mmio_map
    check_refused text_type, ERROR_EXISTS
    mov rdi, DIRECT_BASE
    add rdi, rbx
    call page_unmap
    check_done text_unmap
    mov rdi, DIRECT_BASE + PAGE_SIZE
    add rdi, rbx
    call page_unmap
    check_done text_unmap
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_mmio
ktap_test test_mmio, "mmio_device_mappings"

# test_mmio_refuse -- what is no device memory is not mapped as such
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_mmio_refuse
    call_frame
    mov edi, IMAGE_PHYSICAL
    mov esi, PAGE_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map
    check_refused text_ram, ERROR_INVALID
    mov edi, 0x10
    mov esi, PAGE_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map
    check_refused text_page0, ERROR_INVALID
    mov rdi, TEST_MMIO
    xor esi, esi
    mov edx, PTE_CACHE_UC
    call mmio_map
    check_refused text_empty, ERROR_INVALID
    mov rdi, TEST_MMIO
    mov esi, PAGE_SIZE
    mov edx, PTE_CACHE_WB
    call mmio_map
    check_refused text_type, ERROR_INVALID
    mov rdi, TEST_MMIO_BEYOND
    mov esi, PAGE_SIZE
    mov edx, PTE_CACHE_UC
    call mmio_map
    check_refused text_beyond, ERROR_INVALID
    mov rdi, TEST_COVER_BEYOND
    mov esi, PAGE_SIZE
    call page_cover
    check_refused text_beyond, ERROR_INVALID
    mov edi, IMAGE_PHYSICAL
    xor esi, esi
    call page_cover
    check_refused text_empty, ERROR_INVALID
    mov edi, IMAGE_PHYSICAL
    mov esi, PAGE_SIZE
    call page_cover
    mov rcx, DIRECT_BASE + IMAGE_PHYSICAL
    check text_cover, rax, rcx
    mov edi, TEST_ROM
    mov esi, PAGE_SIZE
    call page_cover
    check_done text_cover
    mov rdi, DIRECT_BASE + TEST_ROM
    call page_walk
    mov rcx, [rax]
    and ecx, RIGHTS_MASK_LOW
    mov rax, rcx
    check text_rights, rax, PTE_PRESENT
    mov eax, KTAP_DONE
    return_frame
end_function test_mmio_refuse
ktap_test test_mmio_refuse, "mmio_device_refusals"
