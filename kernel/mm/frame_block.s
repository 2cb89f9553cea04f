# Purpose:  what is known of blocks of frames: their states, and the lists of the free ones.
# Mode:     64-bit
# Spec:     Knuth, The Art of Computer Programming, vol. 1, 2.5 (buddy system)
# Exports:  frame_region_find frame_state_at frame_state_find frame_is_free frame_list_push frame_list_take
#           frame_list_cut; frame_regions frame_lists frame_list_masks
# Invariants: states lie apart from the frames, so that nobody who owns a frame can damage them. Links lie in the free
#           blocks, where a late writer can: none is followed before the block that it names is known to be free, of
#           this order, and to name this one back. The mask of a zone has a bit for each list that is not empty.
#
#   region  | frame states | chunk states | frames …            frame_lists[zone][order] -> block <-> block
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "frame.inc"

.section .text, "ax"

# frame_region_find -- the region whose frames an address lies in
# In:       rdi = address:u64 (physical)
# Out:      rax = region:ptr, cf = in none
# Clobbers: none
# Context:  long mode, any IF
function frame_region_find
    push rcx
    push rdx
    push rsi
    xor ecx, ecx                                # regions ascend: first candidate
    mov rdx, [rip + frame_region_count]         # past the last candidate
.Lfind_middle:
    cmp rcx, rdx
    jae .Lfind_last
    lea rsi, [rcx + rdx]
    shr rsi, 1
    mov rax, rsi
    shl rax, REGION_SHIFT
    push rdi
    lea rdi, [rip + frame_regions]
    add rax, rdi
    pop rdi
    cmp rdi, [rax + REGION_FIRST]
    jb .Lfind_below
    lea rcx, [rsi + 1]
    jmp .Lfind_middle
.Lfind_below:
    mov rdx, rsi
    jmp .Lfind_middle
.Lfind_last:
    dec rcx                                     # the last region that begins at or below the address
    js .Lfind_none
    shl rcx, REGION_SHIFT
    lea rax, [rip + frame_regions]
    add rax, rcx
    cmp rdi, [rax + REGION_END]
    cmc
    jmp .Lfind_leave
.Lfind_none:
    stc
.Lfind_leave:
    pop rsi
    pop rdx
    pop rcx
    ret
end_function frame_region_find

# frame_state_at -- where the state of a block of a known order is kept
# In:       rdi = block:u64 (physical), rsi = order:u64[0..18], rbx = region:ptr
# Out:      rax = state:ptr (a byte)
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
function frame_state_at
    mov rax, rdi
    cmp esi, FRAME_ORDER_CHUNK
    jae .Lat_chunk
    shr rax, PAGE_SHIFT
    add rax, [rbx + REGION_BLOCKS]
    ret
.Lat_chunk:
    shr rax, LARGE_PAGE_SHIFT
    add rax, [rbx + REGION_CHUNKS]
    ret
end_function frame_state_at

# frame_state_find -- the state of the block that begins at an address
# In:       rdi = address:u64 (physical)
# Out:      rax = state:u64 (BLOCK_*; 0 = no block begins here), rdx = region:ptr, cf = memory that has no blocks yet, or
#           no frame at all
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
function frame_state_find
    call_frame
    push rcx
    push rsi
    call frame_region_find
    jc .Lstate_leave
    cmp rdi, [rax + REGION_NEXT]
    jae .Lstate_none
    mov rdx, rax
    mov rcx, rdi
    shr rcx, LARGE_PAGE_SHIFT
    add rcx, [rdx + REGION_CHUNKS]
    movzx eax, byte ptr [rcx]
    mov esi, LARGE_PAGE_MASK
    cmp eax, BLOCK_SPLIT
    jne .Lstate_known
    mov rcx, rdi
    shr rcx, PAGE_SHIFT
    add rcx, [rdx + REGION_BLOCKS]
    movzx eax, byte ptr [rcx]
    mov esi, PAGE_MASK
.Lstate_known:
    test rdi, rsi                               # within the chunk or the frame, nothing begins
    jz .Lstate_leave
    xor eax, eax
.Lstate_leave:
    pop rsi
    pop rcx
    return_frame
.Lstate_none:
    stc
    jmp .Lstate_leave
end_function frame_state_find

# frame_is_free -- whether a free block of an order begins at an address
# In:       rdi = address:u64 (physical), rsi = order:u64[0..18]
# Out:      cf = not
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
function frame_is_free
    call_frame
    push rax
    push rdx
    call frame_state_find
    jc .Lis_free_leave
    lea edx, [rsi + BLOCK_FREE]
    cmp eax, edx
    je .Lis_free_leave                          # equal: cf is clear
    stc
.Lis_free_leave:
    pop rdx
    pop rax
    return_frame
end_function frame_is_free

# frame_list_of -- the list that a free block belongs into
# In:       rdi = block:u64 (physical), rsi = order:u64[0..18]
# Out:      rax = list:ptr (LIST_*), rcx = zone:u64[0..1]
# Clobbers: none
# Context:  long mode, any IF
local_function frame_list_of
    push rdx
    xor ecx, ecx
    mov rdx, rdi
    shr rdx, ZONE_ADDRESS_SHIFT
    setnz cl
    mov eax, ecx
    shl eax, ZONE_SHIFT
    mov edx, esi
    shl edx, LIST_SHIFT
    add eax, edx
    lea rdx, [rip + frame_lists]
    add rax, rdx
    pop rdx
    ret
end_function frame_list_of

# frame_list_push -- put a block before all others of its list
# In:       rdi = block:u64 (physical), rsi = order:u64[0..18]
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
function frame_list_push
    call_frame
    push rax
    push rcx
    push rdx
    push r8
    call frame_list_of
    mov r8, DIRECT_BASE
    mov rdx, [rax + LIST_HEAD]
    mov [r8 + rdi + LINK_NEXT], rdx
    mov qword ptr [r8 + rdi + LINK_PREVIOUS], 0
    test rdx, rdx
    jz .Lpush_head
    mov [r8 + rdx + LINK_PREVIOUS], rdi
.Lpush_head:
    mov [rax + LIST_HEAD], rdi
    inc qword ptr [rax + LIST_COUNT]
    lea rdx, [rip + frame_list_masks]
    bts dword ptr [rdx + rcx * 4], esi
    pop r8
    pop rdx
    pop rcx
    pop rax
    return_frame
end_function frame_list_push

# frame_list_take -- take a free block out of its list
# In:       rdi = block:u64 (physical, its state says free), rsi = order:u64[0..18]
# Out:      cf = its links were overwritten, which is counted; it stays where it is
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
function frame_list_take
    call_frame
    push rax
    push rcx
    push rdx
    push rdi
    push r8
    push r9
    call frame_list_of
    mov r8, DIRECT_BASE
    mov rdx, [r8 + rdi + LINK_NEXT]
    mov r9, [r8 + rdi + LINK_PREVIOUS]
    test rdx, rdx
    jz .Ltake_next_sound
    xchg rdi, rdx
    call frame_is_free
    xchg rdi, rdx
    jc .Ltake_damaged
    cmp [r8 + rdx + LINK_PREVIOUS], rdi
    jne .Ltake_damaged
.Ltake_next_sound:
    test r9, r9
    jz .Ltake_first
    xchg rdi, r9
    call frame_is_free
    xchg rdi, r9
    jc .Ltake_damaged
    cmp [r8 + r9 + LINK_NEXT], rdi
    jne .Ltake_damaged
    mov [r8 + r9 + LINK_NEXT], rdx
    jmp .Ltake_link
.Ltake_first:
    cmp [rax + LIST_HEAD], rdi
    jne .Ltake_damaged
    mov [rax + LIST_HEAD], rdx
.Ltake_link:
    dec qword ptr [rax + LIST_COUNT]
    test rdx, rdx
    jz .Ltake_last
    mov [r8 + rdx + LINK_PREVIOUS], r9
    jmp .Ltake_done
.Ltake_last:
    cmp [rax + LIST_HEAD], rdx
    jne .Ltake_done
    lea rdx, [rip + frame_list_masks]
    btr dword ptr [rdx + rcx * 4], esi
.Ltake_done:
    clc
.Ltake_leave:
    pop r9
    pop r8
    pop rdi
    pop rdx
    pop rcx
    pop rax
    return_frame
.Ltake_damaged:
    inc qword ptr [rip + frame_damaged]
    stc
    jmp .Ltake_leave
end_function frame_list_take

# frame_list_cut -- give up a list whose first block has lost its links: what follows is lost, not followed
# In:       rdi = block:u64 (physical), rsi = order:u64[0..18]
# Out:      none
# Clobbers: none
# Context:  long mode, any IF, frame_lock held
function frame_list_cut
    call_frame
    push rax
    push rcx
    push rdx
    push rdx
    call frame_list_of
    mov qword ptr [rax + LIST_HEAD], 0
    mov qword ptr [rax + LIST_COUNT], 0
    lea rdx, [rip + frame_list_masks]
    btr dword ptr [rdx + rcx * 4], esi
    pop rdx
    pop rdx
    pop rcx
    pop rax
    return_frame
end_function frame_list_cut

.section .bss, "aw", @nobits
    .balign 8
object frame_regions
    .skip REGION_MAX * REGION_SIZE
end_object frame_regions
object frame_region_count                       # rows of frame_regions in use
    .skip 8
end_object frame_region_count
object frame_lists                              # for each zone, for each order
    .skip ZONE_COUNT << ZONE_SHIFT
end_object frame_lists
object frame_list_masks                         # u32 for each zone: bit n = the list of order n is not empty
    .skip 4 * ZONE_COUNT
end_object frame_list_masks
