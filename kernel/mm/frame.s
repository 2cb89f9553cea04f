# Purpose:  frames: the 4 KB units of physical memory, one at a time.
# Mode:     64-bit
# Exports:  frame_alloc frame_alloc_zeroed frame_free frame_region_find; frame_total frame_used and other counts
# Invariants: a frame is in exactly one of three states: never handed out (at or above its region's `next`), in use
#           (its bit is set), or free again (its bit is clear and it is linked in the free list). Only the bits
#           below `next` are valid, so that setting up costs nothing per frame, whatever the size of the memory.
#
# A free frame holds the list in its first quadword, reached through the direct map:
#
#   frame_free_head -> frame: | physical address of the next free frame, 0 = last | not used … |

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.section .text, "ax"

# frame_alloc -- take one frame; its contents are whatever they were
# In:       none
# Out:      rax = frame:u64 (physical) or error code, cf = out of memory or free list damaged
# Clobbers: none
# Context:  long mode, any IF, one caller at a time
function frame_alloc
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    mov rdi, [rip + frame_free_head]
    test rdi, rdi
    jz .Lalloc_fresh
    test edi, PAGE_MASK                         # a link that leads to no free frame was overwritten
    jnz .Lalloc_damaged
    call frame_bit_find
    jc .Lalloc_damaged
    bts qword ptr [rax], rcx
    jc .Lalloc_damaged
    mov rsi, DIRECT_BASE
    mov rsi, [rsi + rdi]
    mov [rip + frame_free_head], rsi
    jmp .Lalloc_taken
.Lalloc_fresh:
    call frame_take_fresh
    jc .Lalloc_none
.Lalloc_taken:
    inc qword ptr [rip + frame_used]
    mov rax, rdi
    clc
.Lalloc_leave:
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lalloc_damaged:
    mov qword ptr [rip + frame_free_head], 0    # the rest of the list is lost, not followed
    inc qword ptr [rip + frame_damaged]
    mov eax, ERROR_MALFORMED
    stc
    jmp .Lalloc_leave
.Lalloc_none:
    inc qword ptr [rip + frame_exhausted]
    mov eax, ERROR_NO_MEMORY
    stc
    jmp .Lalloc_leave
end_function frame_alloc

# frame_take_fresh -- the next frame that was never handed out
# In:       none
# Out:      rdi = frame:u64, cf = there is none
# Clobbers: rax, rcx, rdx, rsi
# Context:  as frame_alloc
local_function frame_take_fresh
    mov rsi, [rip + frame_region_now]
.Lfresh_region:
    cmp rsi, [rip + frame_region_count]
    jae .Lfresh_none
    mov rdx, rsi
    shl rdx, REGION_SHIFT
    lea rax, [rip + frame_regions]
    add rdx, rax
    mov rdi, [rdx + REGION_NEXT]
    cmp rdi, [rdx + REGION_END]
    jb .Lfresh_found
    inc rsi
    mov [rip + frame_region_now], rsi
    jmp .Lfresh_region
.Lfresh_found:
    mov rcx, rdi
    sub rcx, [rdx + REGION_FIRST]
    shr rcx, PAGE_SHIFT                         # number of the frame in its region
    mov rax, [rdx + REGION_BITMAP]
    test ecx, FRAMES_PER_WORD - 1
    jnz .Lfresh_mark
    mov rsi, rcx
    shr rsi, FRAMES_PER_WORD_SHIFT              # the first frame of a word: the word was never written
    mov qword ptr [rax + rsi * 8], 0
.Lfresh_mark:
    bts qword ptr [rax], rcx
    add qword ptr [rdx + REGION_NEXT], PAGE_SIZE
    clc
    ret
.Lfresh_none:
    stc
    ret
end_function frame_take_fresh

# frame_alloc_zeroed -- take one frame, all its bytes zero
# In:       none
# Out:      rax = frame:u64 (physical) or error code, cf = out of memory or free list damaged
# Clobbers: none
# Context:  as frame_alloc
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

# frame_free -- give one frame back
# In:       rdi = frame:u64 (physical)
# Out:      rax = error:u64, cf = refused: misaligned, never handed out, or free already (which is counted)
# Clobbers: none
# Context:  as frame_alloc
function frame_free
    call_frame
    push rcx
    push rdx
    test edi, PAGE_MASK
    jnz .Lfree_invalid
    call frame_bit_find
    jc .Lfree_invalid
    btr qword ptr [rax], rcx
    jnc .Lfree_double
    mov rax, [rip + frame_free_head]
    mov rdx, DIRECT_BASE
    mov [rdx + rdi], rax
    mov [rip + frame_free_head], rdi
    dec qword ptr [rip + frame_used]
    xor eax, eax
.Lfree_leave:
    pop rdx
    pop rcx
    return_frame
.Lfree_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lfree_leave
.Lfree_double:
    inc qword ptr [rip + frame_double_frees]
    mov eax, ERROR_NOT_FOUND
    stc
    jmp .Lfree_leave
end_function frame_free

# frame_bit_find -- where the state of a frame is kept
# In:       rdi = frame:u64 (physical)
# Out:      rax = bitmap:ptr, rcx = bit:u64, cf = never handed out, or no frame at all
# Clobbers: none
# Context:  as frame_alloc
local_function frame_bit_find
    call_frame
    call frame_region_find
    jc .Lbit_leave
    cmp rdi, [rax + REGION_NEXT]
    jae .Lbit_none
    mov rcx, rdi
    sub rcx, [rax + REGION_FIRST]
    shr rcx, PAGE_SHIFT
    mov rax, [rax + REGION_BITMAP]
    clc
.Lbit_leave:
    return_frame
.Lbit_none:
    stc
    jmp .Lbit_leave
end_function frame_bit_find

# frame_region_find -- the region whose frames an address lies in
# In:       rdi = address:u64 (physical)
# Out:      rax = region:ptr, cf = in none
# Clobbers: none
# Context:  long mode, any IF
function frame_region_find
    push rcx
    mov rcx, [rip + frame_region_count]
    lea rax, [rip + frame_regions]
.Lfind_region:
    test rcx, rcx
    jz .Lfind_none
    cmp rdi, [rax + REGION_FIRST]
    jb .Lfind_next
    cmp rdi, [rax + REGION_END]
    jb .Lfind_found
.Lfind_next:
    add rax, REGION_SIZE
    dec rcx
    jmp .Lfind_region
.Lfind_none:
    stc
    jmp .Lfind_leave
.Lfind_found:
    clc
.Lfind_leave:
    pop rcx
    ret
end_function frame_region_find

.section .bss, "aw", @nobits
    .balign 8
object frame_regions
    .skip REGION_MAX * REGION_SIZE
end_object frame_regions
object frame_region_count                       # rows of frame_regions in use
    .skip 8
end_object frame_region_count
object frame_region_now                         # the region that fresh frames come from; earlier ones are spent
    .skip 8
end_object frame_region_now
object frame_free_head                          # physical address of the first frame of the free list, 0 = none
    .skip 8
end_object frame_free_head
object frame_total                              # frames of all regions
    .skip 8
end_object frame_total
object frame_used                               # frames in use
    .skip 8
end_object frame_used
object frame_double_frees                       # frees refused because the frame was free
    .skip 8
end_object frame_double_frees
object frame_exhausted                          # requests refused because no frame was free
    .skip 8
end_object frame_exhausted
object frame_damaged                            # times the free list was found overwritten
    .skip 8
end_object frame_damaged
