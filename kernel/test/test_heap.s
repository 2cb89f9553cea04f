# Purpose:  tests of the kernel heap on the real machine: contents, alignment, wrong frees.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
# Invariants: every block that a test takes it gives back.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "layout.inc"

.set TEST_BLOCKS, 64
.set TEST_STEP, 97                              # bytes that each block is larger than the one before
.set LARGE_BLOCK_SIZE, 100000

ktap_text text_alloc, "alloc"
ktap_text text_free, "free"
ktap_text text_aligned, "offset"
ktap_text text_contents, "contents"
ktap_text text_bytes, "bytes in use"
ktap_text text_blocks, "blocks in use"
ktap_text text_double, "double free"
ktap_text text_wild, "free of what is no block"
ktap_text text_overrun, "overrun"
ktap_text text_count, "counted"
ktap_text text_nothing, "size of 0"

.section .bss, "aw", @nobits
    .balign 8
blocks:
    .skip TEST_BLOCKS * 8

.section .text, "ax"

# test_heap_blocks -- blocks of many sizes keep what is written into them, and all of it comes back
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_heap_blocks
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r13, [rip + heap_blocks]
    mov r14, [rip + heap_bytes]
    lea rbx, [rip + blocks]
    xor r12d, r12d
.Lblocks_alloc:
    imul edi, r12d, TEST_STEP
    inc edi
    mov esi, 64
    call heap_alloc
    mov [rbx + r12 * 8], rax
    check_done text_alloc
    mov rax, [rbx + r12 * 8]
    and eax, 63
    check text_aligned, rax, 0
    mov rdi, [rbx + r12 * 8]
    imul ecx, r12d, TEST_STEP
    inc ecx
    mov eax, r12d
    rep stosb
    inc r12d
    cmp r12d, TEST_BLOCKS
    jb .Lblocks_alloc
    lea rcx, [r13 + TEST_BLOCKS]
    check text_blocks, [rip + heap_blocks], rcx
.Lblocks_free:
    dec r12d
    mov rdi, [rbx + r12 * 8]
    imul ecx, r12d, TEST_STEP
    inc ecx
    mov eax, r12d
    repe scasb
    setne al
    movzx eax, al
    check text_contents, rax, 0
    mov rdi, [rbx + r12 * 8]
    call heap_free
    check_done text_free
    test r12d, r12d
    jnz .Lblocks_free
    check text_blocks, [rip + heap_blocks], r13
    check text_bytes, [rip + heap_bytes], r14
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_heap_blocks
ktap_test test_heap_blocks, "heap_blocks"

# test_heap_refuse -- double frees, overruns and wild frees are told apart and counted
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_heap_refuse
    call_frame
    push rbx
    push r12
    push r13
    push r14
    xor edi, edi
    xor esi, esi
    call heap_alloc
    check_refused text_nothing, ERROR_INVALID
    mov edi, LARGE_BLOCK_SIZE
    mov esi, PAGE_SIZE
    call heap_alloc_zeroed
    mov rbx, rax
    check_done text_alloc
    mov r12, [rip + heap_overruns]
    mov r13, [rip + heap_bad_frees]
    mov r14, [rip + heap_double_frees]
    not byte ptr [rbx + LARGE_BLOCK_SIZE]
    mov rdi, rbx
    call heap_free
    check_refused text_overrun, ERROR_MALFORMED
    inc r12
    check text_count, [rip + heap_overruns], r12
    not byte ptr [rbx + LARGE_BLOCK_SIZE]
    lea rdi, [rbx + 16]
    call heap_free
    check_refused text_wild, ERROR_INVALID
    xor edi, edi
    call heap_free
    check_refused text_wild, ERROR_INVALID
    mov rdi, offset boot_stack_top
    call heap_free
    check_refused text_wild, ERROR_INVALID
    add r13, 3
    check text_count, [rip + heap_bad_frees], r13
    mov rdi, rbx
    call heap_free
    check_done text_free
    mov edi, 100
    xor esi, esi
    call heap_alloc
    mov rbx, rax
    check_done text_alloc
    mov rdi, rbx
    call heap_free
    check_done text_free
    mov rdi, rbx
    call heap_free
    check_refused text_double, ERROR_NOT_FOUND
    inc r14
    check text_count, [rip + heap_double_frees], r14
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_heap_refuse
ktap_test test_heap_refuse, "heap_refuses_bad_frees"
