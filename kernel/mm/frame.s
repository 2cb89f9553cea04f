# Purpose:  frames, the 4 KB units of physical memory, and aligned blocks of them: the allocator's entry points.
# Mode:     64-bit
# Exports:  frame_alloc frame_alloc_zeroed frame_alloc_order frame_alloc_span; frame_free frame_free_order
#           frame_free_span; frame_total frame_used and other counts
# Invariants: every block is free, in use, or part of memory that was never touched; whoever frees is checked
#           against that (frame_block.s). A refusal has a code and is counted. frame_lock is held while blocks move.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "frame.inc"

.section .text, "ax"

# frame_alloc -- take one frame; its contents are whatever they were
# In:       none
# Out:      rax = frame:u64 (physical) or error code, cf = out of memory: ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF
function frame_alloc
    call_frame
    push rdi
    push rsi
    xor edi, edi
    xor esi, esi
    call frame_alloc_order
    pop rsi
    pop rdi
    return_frame
end_function frame_alloc

# frame_alloc_zeroed -- take one frame, all its bytes zero
# In:       none
# Out:      rax = frame:u64 (physical) or error code, cf = out of memory: ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF
function frame_alloc_zeroed
    call_frame
    push rcx
    push rdi
    call frame_alloc
    jc .Lzeroed_leave
    push rax
    mov rdi, DIRECT_BASE
    add rdi, rax
    xor eax, eax
    mov ecx, PAGE_SIZE / 8
    rep stosq
    pop rax
    clc
.Lzeroed_leave:
    pop rdi
    pop rcx
    return_frame
end_function frame_alloc_zeroed

# frame_alloc_order -- take a block of 2^order frames, aligned to its size
# In:       rdi = order:u64, rsi = flags:u64 (FRAME_BELOW_4G, FRAME_ZEROED)
# Out:      rax = block:u64 (physical) or error code, cf = refused: ERROR_INVALID (an order or a flag that there
#           is not), ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF
function frame_alloc_order
    call_frame
    push rdx
    push rcx
    cmp rdi, FRAME_ORDER_MAX
    ja .Lorder_invalid
    mov ecx, edi
    mov edx, 1
    shl rdx, cl
    call frame_take_pages
.Lorder_leave:
    pop rcx
    pop rdx
    return_frame
.Lorder_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lorder_leave
end_function frame_alloc_order

# frame_alloc_span -- take so many frames in a row, aligned to the next power of two
# In:       rdi = frames:u64, rsi = flags:u64 (FRAME_BELOW_4G, FRAME_ZEROED)
# Out:      rax = first:u64 (physical) or error code, cf = refused: ERROR_INVALID (none, more than a block of the
#           highest order, or a flag that there is not), ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF; frame_free_span takes it back
function frame_alloc_span
    call_frame
    push rdx
    push rdi
    lea rax, [rdi - 1]
    cmp rax, 1 << FRAME_ORDER_MAX
    jae .Lspan_invalid
    mov rdx, rdi
    xor edi, edi
    test rax, rax
    jz .Lspan_order_known
    bsr rdi, rax
    inc edi                                     # the order that holds so many frames
.Lspan_order_known:
    call frame_take_pages
.Lspan_leave:
    pop rdi
    pop rdx
    return_frame
.Lspan_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lspan_leave
end_function frame_alloc_span

# frame_take_pages -- take the first frames of a block, under the lock, and count them
# In:       rdi = order:u64[0..18], rsi = flags:u64, rdx = frames:u64 (more than half of the block's)
# Out:      rax = first:u64 (physical) or error code, cf = refused: ERROR_INVALID, ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF
local_function frame_take_pages
    call_frame
    push rcx
    push rdi
    push rsi
    push rbx
    push r12
    push r12
    mov rbx, rdi
    mov r12, rsi
    test rsi, ~FRAME_FLAGS_ALL
    jnz .Lpages_invalid
    lea rdi, [rip + frame_lock]
    call mm_lock_enter
    push rax
    push rax
    mov rdi, rbx
    mov esi, ZONE_LOW
    test r12d, FRAME_BELOW_4G
    jnz .Lpages_take
    mov rsi, [rip + frame_zone_first]
    call frame_take                             # keep the low memory for those who can use no other
    jnc .Lpages_taken
    xor esi, ZONE_HIGH
.Lpages_take:
    call frame_take
    jc .Lpages_none
.Lpages_taken:
    add [rip + frame_used], rdx
    clc
.Lpages_unlock:
    pop rsi
    pop rsi
    lea rdi, [rip + frame_lock]
    call mm_lock_leave
    jc .Lpages_leave
    test r12d, FRAME_ZEROED
    jz .Lpages_leave                            # test leaves cf clear
    mov rsi, rax
    mov rdi, DIRECT_BASE
    add rdi, rax
    mov rcx, rdx
    shl rcx, PAGE_SHIFT - 3
    xor eax, eax
    rep stosq
    mov rax, rsi
.Lpages_leave:
    pop r12
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rcx
    return_frame
.Lpages_none:
    inc qword ptr [rip + frame_exhausted]
    mov eax, ERROR_NO_MEMORY
    stc
    jmp .Lpages_unlock
.Lpages_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lpages_leave
end_function frame_take_pages

# frame_free -- give one frame back
# In:       rdi = frame:u64 (physical)
# Out:      rax = error:u64, cf = refused: ERROR_INVALID (no frame that was handed out alone), ERROR_NOT_FOUND
#           (it is free already); both are counted
# Clobbers: none
# Context:  long mode, any IF
function frame_free
    call_frame
    push rsi
    push rsi
    xor esi, esi
    call frame_free_order
    pop rsi
    pop rsi
    return_frame
end_function frame_free

# frame_free_order -- give a block back
# In:       rdi = block:u64 (physical), rsi = order:u64
# Out:      rax = error:u64, cf = refused: ERROR_INVALID (no block of this order was handed out here), ERROR_NOT_FOUND
#           (it is free already); both are counted
# Clobbers: none
# Context:  long mode, any IF
function frame_free_order
    call_frame
    push rdx
    push rcx
    push rdi
    push rsi
    mov rdx, rdi
    lea rdi, [rip + frame_lock]
    call mm_lock_enter
    mov rdi, rdx
    mov rdx, rax
    call frame_give
    jc .Lfree_unlock
    mov ecx, esi
    mov esi, 1
    shl rsi, cl
    sub [rip + frame_used], rsi
    xor eax, eax
.Lfree_unlock:
    lea rdi, [rip + frame_lock]
    mov rsi, rdx
    call mm_lock_leave
    pop rsi
    pop rdi
    pop rcx
    pop rdx
    return_frame
end_function frame_free_order

# frame_free_span -- give back what frame_alloc_span gave
# In:       rdi = first:u64 (physical), rsi = frames:u64 (as many as were asked for)
# Out:      rax = error:u64, cf = refused, what precedes the block refused is given back: ERROR_INVALID,
#           ERROR_NOT_FOUND
# Clobbers: none
# Context:  long mode, any IF
function frame_free_span
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    lea rax, [rsi - 1]
    cmp rax, 1 << FRAME_ORDER_MAX
    jae .Lfree_span_invalid
    mov rdx, rsi
.Lfree_span_block:
    bsr rsi, rdx                                # the blocks that frame_trim made: the largest first
    call frame_free_order
    jc .Lfree_span_leave
    btr rdx, rsi
    mov ecx, esi
    mov eax, PAGE_SIZE
    shl rax, cl
    add rdi, rax
    xor eax, eax
    test rdx, rdx
    jnz .Lfree_span_block
.Lfree_span_leave:
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lfree_span_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lfree_span_leave
end_function frame_free_span

.section .bss, "aw", @nobits
    .balign 8
object frame_lock
    .skip 8
end_object frame_lock
object frame_zone_first                         # the zone that requests try first; the high one once it is mapped
    .skip 8
end_object frame_zone_first
object frame_zone_top                           # the highest zone that has a region
    .skip 8
end_object frame_zone_top
object frame_total                              # frames of all regions
    .skip 8
end_object frame_total
object frame_used                               # frames in use
    .skip 8
end_object frame_used
object frame_double_frees                       # frees refused because the block was free
    .skip 8
end_object frame_double_frees
object frame_bad_frees                          # frees refused because no such block was handed out
    .skip 8
end_object frame_bad_frees
object frame_exhausted                          # requests refused because no block was left
    .skip 8
end_object frame_exhausted
object frame_damaged                            # times the links of a free block were found overwritten
    .skip 8
end_object frame_damaged
