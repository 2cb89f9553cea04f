# Purpose:  the kernel heap: blocks of any size; small ones from slabs, large ones from frames.
# Mode:     64-bit
# Exports:  heap_alloc heap_alloc_zeroed heap_free; heap_blocks heap_bytes and other counts
# Invariants: a block is aligned as asked, to 16 bytes at least. No size of 0. A canary lies right behind each block: an
#           overrun is noticed when the block is freed, counted, and the block is never handed out again. What is no
#           block in use cannot be freed. Nothing that the owner of a block can write decides where a free goes.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "frame.inc"
.include "heap.inc"

.section .text, "ax"

# heap_alloc -- take a block of memory; its contents are whatever they were
# In:       rdi = size:u64, rsi = align:u64 (a power of two up to 4096; 0 = 16)
# Out:      rax = block:ptr or error code, cf = refused: ERROR_INVALID (a size of 0 or beyond 1 GB less a header, an
#           alignment that is none), ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF, after the frames unit
function heap_alloc
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r12
    lea rax, [rdi - 1]
    cmp rax, HEAP_SIZE_MAX - HEAP_ALIGN_MAX - PAGE_SIZE
    jae .Lheap_invalid
    cmp rsi, HEAP_ALIGN_MAX
    ja .Lheap_invalid
    lea rax, [rsi - 1]
    test rsi, rsi
    jz .Lheap_sound
    test rax, rsi
    jnz .Lheap_invalid
.Lheap_sound:
    mov rbx, rdi
    mov r12, rsi
    lea rdi, [rip + heap_lock]
    call mm_lock_enter
    push rax
    push rax
    mov rdi, rbx
    mov rsi, r12
    lea rax, [rdi + HEAP_CANARY_SIZE]
    cmp rax, 1 << HEAP_SLOT_MAX_SHIFT
    ja .Lheap_large
    call heap_take_slot
    jmp .Lheap_taken
.Lheap_large:
    call heap_take_large
.Lheap_taken:
    jc .Lheap_exhausted
    mov rdx, HEAP_CANARY
    xor rdx, rax
    mov [rax + rdi], rdx
    inc qword ptr [rip + heap_blocks]
    add [rip + heap_bytes], rdi
    clc
.Lheap_unlock:
    pop rsi
    pop rsi
    lea rdi, [rip + heap_lock]
    call mm_lock_leave
.Lheap_leave:
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lheap_exhausted:
    inc qword ptr [rip + heap_exhausted]
    mov eax, ERROR_NO_MEMORY
    stc
    jmp .Lheap_unlock
.Lheap_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lheap_leave
end_function heap_alloc

# heap_alloc_zeroed -- take a block of memory, all its bytes zero
# In:       rdi = size:u64, rsi = align:u64 (a power of two up to 4096; 0 = 16)
# Out:      rax = block:ptr or error code, cf = refused, as heap_alloc
# Clobbers: none
# Context:  as heap_alloc
function heap_alloc_zeroed
    call_frame
    push rcx
    push rdi
    call heap_alloc
    jc .Lheap_zeroed_leave
    push rax
    mov rcx, rdi
    mov rdi, rax
    xor eax, eax
    rep stosb
    pop rax
    clc
.Lheap_zeroed_leave:
    pop rdi
    pop rcx
    return_frame
end_function heap_alloc_zeroed

# heap_take_large -- take whole frames for one block
# In:       rdi = size:u64, rsi = align:u64[0..4096]
# Out:      rax = block:ptr, cf = out of memory
# Clobbers: rcx, rdx, rsi
# Context:  long mode, any IF, heap_lock held
local_function heap_take_large
    call_frame
    push rbx
    push rdi
    push r12
    push r12
    mov r12, rdi
    mov ebx, LARGE_HEADER                       # offset of the block
    cmp rsi, rbx
    cmova rbx, rsi
    lea rdi, [rdi + rbx + HEAP_CANARY_SIZE + PAGE_MASK]
    shr rdi, PAGE_SHIFT
    mov eax, LARGE_FRAMES_MIN
    cmp rdi, rax
    cmovb rdi, rax
    xor esi, esi
    call frame_alloc_span
    jc .Llarge_leave
    mov rdx, DIRECT_BASE
    add rax, rdx
    mov [rax + LARGE_FRAMES], rdi
    mov [rax + LARGE_SIZE], r12
    add [rip + heap_frames], rdi
    mov rdx, HEAP_LARGE_MAGIC
    xor rdx, rax
    mov [rax], rdx
    add rbx, rax
    mov [rax + LARGE_BLOCK], rbx
    mov rax, rbx
    clc
.Llarge_leave:
    pop r12
    pop r12
    pop rdi
    pop rbx
    return_frame
end_function heap_take_large

# heap_free -- give a block back
# In:       rdi = block:ptr
# Out:      rax = error:u64, cf = refused and counted: ERROR_INVALID (no block), ERROR_NOT_FOUND (free already),
#           ERROR_MALFORMED (what lies behind it was overwritten: it stays in use)
# Clobbers: none
# Context:  as heap_alloc
function heap_free
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r12
    mov rbx, rdi
    lea rdi, [rip + heap_lock]
    call mm_lock_enter
    push rax
    push rax
    mov rdi, rbx
    call heap_base_find
    jc .Lheap_free_invalid
    mov rdx, HEAP_SLAB_MAGIC
    xor rdx, rax
    cmp [rax], rdx
    je .Lheap_free_slot
    mov rdx, HEAP_LARGE_MAGIC
    xor rdx, rax
    cmp [rax], rdx
    jne .Lheap_free_invalid
    cmp [rax + LARGE_BLOCK], rdi
    jne .Lheap_free_invalid
    mov rsi, [rax + LARGE_SIZE]
    call heap_canary_check
    jc .Lheap_free_overrun
    call heap_give_large
    jmp .Lheap_free_done
.Lheap_free_slot:
    call heap_give_slot
    jc .Lheap_free_refused
.Lheap_free_done:
    dec qword ptr [rip + heap_blocks]
    sub [rip + heap_bytes], rsi
    xor eax, eax
.Lheap_free_unlock:
    pop rsi
    pop rsi
    lea rdi, [rip + heap_lock]
    call mm_lock_leave
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lheap_free_refused:
    cmp eax, ERROR_MALFORMED
    je .Lheap_free_overrun
    cmp eax, ERROR_NOT_FOUND
    jne .Lheap_free_invalid
    inc qword ptr [rip + heap_double_frees]
    mov eax, ERROR_NOT_FOUND
    stc
    jmp .Lheap_free_unlock
.Lheap_free_overrun:
    inc qword ptr [rip + heap_overruns]
    mov eax, ERROR_MALFORMED
    stc
    jmp .Lheap_free_unlock
.Lheap_free_invalid:
    inc qword ptr [rip + heap_bad_frees]
    mov eax, ERROR_INVALID
    stc
    jmp .Lheap_free_unlock
end_function heap_free

# heap_base_find -- where the header of a block would lie; it can be read there
# In:       rdi = block:u64 (any address)
# Out:      rax = header:ptr, cf = not in memory that the frame allocator hands out
# Clobbers: none
# Context:  long mode, any IF
local_function heap_base_find
    call_frame
    push rdi
    push rdx
    and rdi, -SLAB_SIZE
    mov rdx, DIRECT_BASE
    sub rdi, rdx
    jb .Lbase_leave
    call frame_region_find
    lea rax, [rdi + rdx]                        # leaves cf alone
.Lbase_leave:
    pop rdx
    pop rdi
    return_frame
end_function heap_base_find

# heap_canary_check -- whether the bytes behind a block are as they were made
# In:       rdi = block:ptr, rsi = size:u64
# Out:      cf = not
# Clobbers: rdx
# Context:  long mode, any IF, heap_lock held
function heap_canary_check
    mov rdx, HEAP_CANARY
    xor rdx, rdi
    cmp [rdi + rsi], rdx
    je .Lcanary_leave                           # equal: cf is clear
    stc
.Lcanary_leave:
    ret
end_function heap_canary_check

# heap_give_large -- give the frames of a large block back
# In:       rax = header:ptr
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, any IF, heap_lock held
local_function heap_give_large
    call_frame
    push rdi
    push rsi
    mov qword ptr [rax], 0                      # no header any more
    mov rsi, [rax + LARGE_FRAMES]
    sub [rip + heap_frames], rsi
    mov rdx, DIRECT_BASE
    mov rdi, rax
    sub rdi, rdx
    call frame_free_span
    pop rsi
    pop rdi
    return_frame
end_function heap_give_large

.section .bss, "aw", @nobits
    .balign 8
object heap_lock
    .skip 8
end_object heap_lock
object heap_blocks                              # blocks in use
    .skip 8
end_object heap_blocks
object heap_bytes                               # bytes in use, as they were asked for
    .skip 8
end_object heap_bytes
object heap_frames                              # frames that the heap holds
    .skip 8
end_object heap_frames
object heap_exhausted                           # requests refused because no memory was left
    .skip 8
end_object heap_exhausted
object heap_double_frees                        # frees refused because the block was free
    .skip 8
end_object heap_double_frees
object heap_bad_frees                           # frees refused because there is no such block
    .skip 8
end_object heap_bad_frees
object heap_overruns                            # frees refused because what lies behind the block was overwritten
    .skip 8
end_object heap_overruns
