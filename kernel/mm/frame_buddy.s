# Purpose:  the buddy system: blocks are halved when a smaller one is wanted and joined when both halves are free.
# Mode:     64-bit
# Spec:     Knuth, The Art of Computer Programming, vol. 1, 2.5 (buddy system)
# Exports:  frame_take frame_give
# Invariants: each step is bounded by the number of orders, whatever the size of the memory. Two free
#           buddies of one order are always joined, unless one's links were overwritten.
#
#   block of order n at address a: its buddy is at a ^ (4096 << n), and both make the block of order n + 1
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "frame.inc"

.section .text, "ax"

# frame_take -- take the first frames of the smallest block that holds them
# In:       rdi = order:u64[0..18], rsi = zone:u64[0..1], rdx = frames:u64 (more than half of such a block)
# Out:      rax = block:u64 (physical), cf = there is none
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
function frame_take
    call_frame
    push rcx
    push rdi
    push rsi
    push rbx
    push r12
    push r13
    mov r12, rdi
    mov r13, rsi
.Ltake_search:
    lea rax, [rip + frame_list_masks]
    mov eax, [rax + r13 * 4]
    mov ecx, r12d
    shr eax, cl                                 # by 0, it would leave the flags of before
    test eax, eax
    jz .Ltake_carve
    bsf esi, eax
    add esi, r12d                               # the smallest order that has a block
    mov eax, r13d
    shl eax, ZONE_SHIFT
    mov ecx, esi
    shl ecx, LIST_SHIFT
    add eax, ecx
    lea rdi, [rip + frame_lists]
    mov rdi, [rdi + rax + LIST_HEAD]
    call frame_list_take
    jnc .Ltake_region
    call frame_list_cut
.Ltake_region:
    call frame_region_find
    mov rbx, rax
.Ltake_halve:
    cmp esi, r12d
    je .Ltake_whole
    call frame_halve
    jmp .Ltake_halve
.Ltake_whole:
    call frame_trim
    mov rax, rdi
    clc
.Ltake_leave:
    pop r13
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rcx
    return_frame
.Ltake_carve:
    mov rdi, r13
    call frame_carve
    jnc .Ltake_search
    jmp .Ltake_leave
end_function frame_take

# frame_halve -- free the upper half of a block in hand
# In:       rdi = block:u64 (physical, in no list), rsi = order:u64[1..18], rbx = region:ptr
# Out:      rsi = order:u64[0..17]
# Clobbers: none
# Context:  long mode, any IF, frame_lock held; the state of what is left is the caller's to set
local_function frame_halve
    call_frame
    push rax
    push rcx
    push rdi
    push rdi
    call frame_open_chunk
    dec esi
    mov ecx, esi
    mov eax, PAGE_SIZE
    shl rax, cl
    add rdi, rax
    call frame_state_at
    lea ecx, [rsi + BLOCK_FREE]
    mov [rax], cl
    call frame_list_push
    pop rdi
    pop rdi
    pop rcx
    pop rax
    return_frame
end_function frame_halve

# frame_open_chunk -- where a block of 2 MB is about to be halved, give its frames states of their own
# In:       rdi = block:u64 (physical), rsi = order:u64[1..18], rbx = region:ptr
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
local_function frame_open_chunk
    call_frame
    push rax
    push rcx
    push rdi
    push rdi
    cmp esi, FRAME_ORDER_CHUNK
    jne .Lopen_leave
    call frame_state_at
    mov byte ptr [rax], BLOCK_SPLIT
    shr rdi, PAGE_SHIFT
    add rdi, [rbx + REGION_BLOCKS]
    xor eax, eax
    mov ecx, FRAMES_PER_CHUNK / 8
    rep stosq
.Lopen_leave:
    pop rdi
    pop rdi
    pop rcx
    pop rax
    return_frame
end_function frame_open_chunk

# frame_trim -- keep the first frames of a block in hand, in blocks in use of descending order, and free the others
# In:       rdi = block:u64 (physical, in no list), rsi = order:u64[0..18], rdx = frames:u64[1..262144] (no more than it
#           has), rbx = region:ptr
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
local_function frame_trim
    call_frame
    push rax
    push rcx
    push rdx
    push rdi
    push rsi
    push rsi
.Ltrim_block:
    mov ecx, esi
    mov eax, 1
    shl rax, cl
    cmp rdx, rax
    jae .Ltrim_whole
    shr rax, 1
    cmp rdx, rax
    ja .Ltrim_both
    call frame_halve
    jmp .Ltrim_block
.Ltrim_both:
    call frame_open_chunk
    dec esi
    sub rdx, rax                                # the lower half is kept whole
    push rax
    push rax
    call frame_mark_used
    pop rax
    pop rax
    shl rax, PAGE_SHIFT
    add rdi, rax
    jmp .Ltrim_block
.Ltrim_whole:
    call frame_mark_used
    pop rsi
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    pop rax
    return_frame
end_function frame_trim

# frame_mark_used -- note that a block is in use
# In:       rdi = block:u64 (physical), rsi = order:u64[0..18], rbx = region:ptr
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, any IF, frame_lock held
local_function frame_mark_used
    call_frame
    call frame_state_at
    lea ecx, [rsi + BLOCK_USED]
    mov [rax], cl
    return_frame
end_function frame_mark_used

# frame_give -- take a block back and join it with its buddy as often as that is free
# In:       rdi = block:u64 (physical), rsi = order:u64
# Out:      rax = error:u64, cf = refused and counted: ERROR_INVALID (no block of this order is in use here),
#           ERROR_NOT_FOUND (free already)
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
function frame_give
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r8
    call frame_state_find
    jc .Lgive_invalid
    mov rbx, rdx
    cmp rsi, FRAME_ORDER_MAX
    ja .Lgive_invalid
    lea ecx, [rsi + BLOCK_USED]
    cmp eax, ecx
    jne .Lgive_not_in_use
.Lgive_join:
    cmp esi, FRAME_ORDER_MAX
    jae .Lgive_free
    call frame_buddy_free
    jc .Lgive_free
    mov r8, rdi                                 # the lower half begins the joined block
    and r8, rax
    or rdi, rax                                 # the upper half begins none any more
    call frame_state_at
    mov byte ptr [rax], 0
    mov rdi, r8
    inc esi
    jmp .Lgive_join
.Lgive_free:
    call frame_state_at
    lea ecx, [rsi + BLOCK_FREE]
    mov [rax], cl
    call frame_list_push
    xor eax, eax
.Lgive_leave:
    pop r8
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lgive_not_in_use:
    call frame_is_within_free
    jc .Lgive_invalid
    inc qword ptr [rip + frame_double_frees]
    mov eax, ERROR_NOT_FOUND
    stc
    jmp .Lgive_leave
.Lgive_invalid:
    inc qword ptr [rip + frame_bad_frees]
    mov eax, ERROR_INVALID
    stc
    jmp .Lgive_leave
end_function frame_give

# frame_buddy_free -- take the buddy of a block out of its list, where it is free
# In:       rdi = block:u64 (physical), rsi = order:u64[0..17], rbx = region:ptr
# Out:      rax = buddy:u64 (physical), cf = it is not free, not of this order, or its links were overwritten
# Clobbers: rcx
# Context:  long mode, any IF, frame_lock held
local_function frame_buddy_free
    call_frame
    push rdi
    push rdx
    mov ecx, esi
    mov edx, PAGE_SIZE
    shl rdx, cl
    xor rdi, rdx
    cmp rdi, [rbx + REGION_FIRST]
    jb .Lbuddy_leave
    add rdx, rdi
    mov rax, [rbx + REGION_NEXT]
    cmp rax, rdx
    jb .Lbuddy_leave                            # beyond the region, or never touched
    call frame_state_at
    movzx eax, byte ptr [rax]
    lea ecx, [rsi + BLOCK_FREE]
    cmp eax, ecx
    stc
    jne .Lbuddy_leave
    call frame_list_take
    mov rax, rdi
.Lbuddy_leave:
    pop rdx
    pop rdi
    return_frame
end_function frame_buddy_free

# frame_is_within_free -- whether an address lies in a free block
# In:       rdi = address:u64 (physical), rbx = region:ptr
# Out:      cf = not
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, any IF, frame_lock held
local_function frame_is_within_free
    call_frame
    push rdi
    push r8
    mov r8, rdi
    xor esi, esi
.Lwithin_order:
    mov ecx, esi
    mov rax, -PAGE_SIZE
    shl rax, cl
    mov rdi, r8
    and rdi, rax                                # where a block of this order around the address begins
    cmp rdi, [rbx + REGION_FIRST]
    jb .Lwithin_not
    call frame_state_find
    jc .Lwithin_not
    test eax, BLOCK_FREE
    jz .Lwithin_next
    and eax, BLOCK_ORDER_MASK
    cmp eax, esi
    jae .Lwithin_leave                          # it reaches as far as the address: cf is clear
.Lwithin_next:
    inc esi
    cmp esi, FRAME_ORDER_MAX
    jbe .Lwithin_order
.Lwithin_not:
    stc
.Lwithin_leave:
    pop r8
    pop rdi
    return_frame
end_function frame_is_within_free
