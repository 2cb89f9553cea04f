# Purpose:  tests of blocks of frames: orders, frames in a row, lists that somebody wrote over.
# Mode:     64-bit long mode
# Exports:  rows of section .ktap
# Invariants: every block that a test takes it gives back.
.intel_syntax noprefix
.include "macros.inc"
.include "ktap.inc"
.include "check.inc"
.include "errors.inc"
.include "layout.inc"
.include "frame.inc"

.set TEST_ORDERS, 11                            # up to 4 MB

ktap_text text_alloc, "alloc"
ktap_text text_free, "free"
ktap_text text_contents, "contents"
ktap_text text_used, "frames in use"
ktap_text text_double, "double free"
ktap_text text_count, "counted"
ktap_text text_order, "free of another order"
ktap_text text_within, "free of a part"
ktap_text text_bad, "order that there is not"
ktap_text text_aligned, "offset in block"
ktap_text text_below, "above 4 GB"
ktap_text text_next, "rest of the block"

.section .text, "ax"

# test_frames_blocks -- blocks of every small order: aligned, and taken back only as what they are
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_frames_blocks
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r14, [rip + frame_used]
    mov r12d, 1
.Lblocks_order:
    mov rdi, r12
    mov esi, FRAME_BELOW_4G
    call frame_alloc_order
    mov rbx, rax
    check_done text_alloc
    mov ecx, r12d
    mov r13d, PAGE_SIZE
    shl r13, cl
    lea rax, [r13 - 1]
    and rax, rbx
    check text_aligned, rax, 0
    mov rax, rbx
    shr rax, ZONE_ADDRESS_SHIFT
    check text_below, rax, 0
    mov rdi, rbx
    call frame_free
    check_refused text_order, ERROR_INVALID
    lea rdi, [rbx + r13 - PAGE_SIZE]
    call frame_free
    check_refused text_within, ERROR_INVALID
    mov rdi, rbx
    mov rsi, r12
    call frame_free_order
    check_done text_free
    lea rdi, [rbx + r13 - PAGE_SIZE]
    call frame_free
    check_refused text_double, ERROR_NOT_FOUND
    check text_used, [rip + frame_used], r14
    inc r12d
    cmp r12d, TEST_ORDERS
    jb .Lblocks_order
    mov edi, FRAME_ORDER_MAX + 1
    xor esi, esi
    call frame_alloc_order
    check_refused text_bad, ERROR_INVALID
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_frames_blocks
ktap_test test_frames_blocks, "frames_in_blocks"

# test_frames_span -- three frames in a row, cleared; the fourth of their block stays free
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_frames_span
    call_frame
    push rbx
    push r12
    mov r12, [rip + frame_used]
    mov edi, 3
    mov esi, FRAME_ZEROED
    call frame_alloc_span
    mov rbx, rax
    check_done text_alloc
    lea rcx, [r12 + 3]
    check text_used, [rip + frame_used], rcx
    mov rdi, DIRECT_BASE
    add rdi, rbx
    xor eax, eax
    mov ecx, 3 * PAGE_SIZE / 8
    repe scasq
    setne al
    check text_contents, rax, 0
    call frame_alloc
    lea rcx, [rbx + 3 * PAGE_SIZE]
    check text_next, rax, rcx
    lea rdi, [rbx + 3 * PAGE_SIZE]
    call frame_free
    check_done text_free
    mov rdi, rbx
    mov esi, 3
    call frame_free_span
    check_done text_free
    check text_used, [rip + frame_used], r12
    mov eax, KTAP_DONE
    pop r12
    pop rbx
    return_frame
end_function test_frames_span
ktap_test test_frames_span, "frames_in_a_row"

# test_frames_damaged -- a free block that somebody wrote into is noticed, and its links are not followed
# In:       none
# Out:      rax = result:u64 (KTAP_*)
# Clobbers: rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, GS base set; a test
local_function test_frames_damaged
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov r14, [rip + frame_damaged]
    mov r13, DIRECT_BASE
    mov edi, 3
    xor esi, esi
    call frame_alloc_span                       # the fourth frame is the first of its list now
    mov rbx, rax
    check_done text_alloc
    mov r12, [r13 + rbx + 3 * PAGE_SIZE + LINK_NEXT]
    lea rax, [rbx + 1]
    mov [r13 + rbx + 3 * PAGE_SIZE + LINK_NEXT], rax
    call frame_alloc
    lea rcx, [rbx + 3 * PAGE_SIZE]
    check text_next, rax, rcx
    inc r14
    check text_count, [rip + frame_damaged], r14
    lea rdi, [rbx + 3 * PAGE_SIZE]              # what the list had besides is put back
    call frame_free
    check_done text_free
    mov [r13 + rbx + 3 * PAGE_SIZE + LINK_NEXT], r12
    test r12, r12
    jz .Ldamaged_alone
    lea rax, [rbx + 3 * PAGE_SIZE]
    mov [r13 + r12 + LINK_PREVIOUS], rax
.Ldamaged_alone:
    mov rdi, rbx
    mov esi, 3
    call frame_free_span
    check_done text_free
    check text_count, [rip + frame_damaged], r14
    mov eax, KTAP_DONE
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function test_frames_damaged
ktap_test test_frames_damaged, "frames_detect_overwritten_list"
