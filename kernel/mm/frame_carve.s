# Purpose:  memory that was never touched becomes blocks of frames only when they are wanted.
# Mode:     64-bit
# Exports:  frame_carve; frame_region_now
# Invariants: setting up costs nothing for each frame, whatever the size of the memory. One call makes one block and no
#           more states than that needs (512 bytes at most). States are valid below the region's REGION_NEXT.
#
#   region  | states | blocks: free or in use      | never touched …    |
#           first                                  next                 end
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "frame.inc"

.section .text, "ax"

# frame_carve -- make one block of memory that was never touched, the largest that begins where such memory does
# In:       rdi = zone:u64[0..1]
# Out:      cf = the zone has none left
# Clobbers: rax, rcx, rdi, rsi
# Context:  long mode, any IF, frame_lock held
function frame_carve
    call_frame
    push rbx
    push rdx
    lea rdx, [rip + frame_region_now]
    lea rdx, [rdx + rdi * 8]
.Lcarve_region:
    mov rbx, [rdx]
    cmp rbx, [rip + frame_region_count]
    jae .Lcarve_none
    shl rbx, REGION_SHIFT
    lea rax, [rip + frame_regions]
    add rbx, rax
    mov rax, [rbx + REGION_FIRST]
    shr rax, ZONE_ADDRESS_SHIFT
    setnz al
    cmp al, dil
    ja .Lcarve_none                             # regions ascend: this one is above the zone
    jb .Lcarve_next
    mov rax, [rbx + REGION_NEXT]
    cmp rax, [rbx + REGION_END]
    jb .Lcarve_found
.Lcarve_next:
    inc qword ptr [rdx]
    jmp .Lcarve_region
.Lcarve_found:
    mov rdi, rax
    call frame_carve_order
    call frame_carve_states
    mov ecx, esi
    mov eax, PAGE_SIZE
    shl rax, cl
    add [rbx + REGION_NEXT], rax
    call frame_state_at
    lea ecx, [rsi + BLOCK_FREE]
    mov [rax], cl
    call frame_list_push
    clc
.Lcarve_leave:
    pop rdx
    pop rbx
    return_frame
.Lcarve_none:
    stc
    jmp .Lcarve_leave
end_function frame_carve

# frame_carve_order -- the largest block that can begin at an address
# In:       rdi = block:u64 (physical, not 0, not on the region's end), rbx = region:ptr
# Out:      rsi = order:u64[0..18]
# Clobbers: rax
# Context:  long mode, any IF, frame_lock held
local_function frame_carve_order
    bsf rsi, rdi                                # its alignment
    mov rax, [rbx + REGION_END]
    sub rax, rdi
    bsr rax, rax                                # its length, rounded down to a power of two
    cmp rsi, rax
    cmova rsi, rax
    sub esi, PAGE_SHIFT
    mov eax, FRAME_ORDER_MAX
    cmp esi, eax
    cmova esi, eax
    ret
end_function frame_carve_order

# frame_carve_states -- make the states valid that a new block needs: memory holds whatever it held
# In:       rdi = block:u64 (physical), rsi = order:u64[0..18], rbx = region:ptr
# Out:      none
# Clobbers: rax, rcx
# Context:  long mode, any IF, frame_lock held
local_function frame_carve_states
    call_frame
    push rdi
    push rdi
    cmp esi, FRAME_ORDER_CHUNK
    jae .Lcarve_chunks
    cmp rdi, [rbx + REGION_FIRST]
    je .Lcarve_part
    test edi, LARGE_PAGE_MASK
    jnz .Lcarve_leave_states                    # of a chunk whose states are valid already
.Lcarve_part:
    mov rax, rdi                                # the first block of a chunk that the region holds a part of
    shr rax, LARGE_PAGE_SHIFT
    add rax, [rbx + REGION_CHUNKS]
    mov byte ptr [rax], BLOCK_SPLIT
    mov rcx, rdi
    or rcx, LARGE_PAGE_MASK
    inc rcx
    cmp rcx, [rbx + REGION_END]
    cmova rcx, [rbx + REGION_END]
    sub rcx, rdi
    shr rcx, PAGE_SHIFT
    shr rdi, PAGE_SHIFT
    add rdi, [rbx + REGION_BLOCKS]
    jmp .Lcarve_clear
.Lcarve_chunks:
    lea ecx, [rsi - FRAME_ORDER_CHUNK]
    mov eax, 1
    shl eax, cl
    mov ecx, eax
    shr rdi, LARGE_PAGE_SHIFT
    add rdi, [rbx + REGION_CHUNKS]
.Lcarve_clear:
    xor eax, eax
    rep stosb
.Lcarve_leave_states:
    pop rdi
    pop rdi
    return_frame
end_function frame_carve_states

.section .bss, "aw", @nobits
    .balign 8
object frame_region_now                         # for each zone: the region to carve; earlier ones are spent
    .skip 8 * ZONE_COUNT
end_object frame_region_now
