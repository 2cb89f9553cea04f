# Purpose:  slabs: 16 KB of slots of one size, from which the heap serves small blocks.
# Mode:     64-bit
# Spec:     Bonwick, The Slab Allocator, USENIX Summer 1994
# Exports:  heap_take_slot heap_give_slot
# Invariants: a slab is in the list of its class exactly when it has a free slot. Which slots are free stands in the
#           slab's header and never in the slots. A slab that becomes empty goes back to the frames unless it is the
#           only one of its class with free slots.

.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "layout.inc"
.include "frame.inc"
.include "heap.inc"

.section .rodata, "a"
    .balign 4
# slab_shapes: for each class, from 32 bytes up: u32 offset of the first slot, u32 slots; the header with a u16 for each
# slot lies before the first
slab_shapes:
    .long 1088, 478, 640, 246, 384, 125, 256, 63, 512, 31, 1024, 15, 2048, 7, 4096, 3

.section .text, "ax"

# heap_take_slot -- take a slot of the smallest class that holds a block with its canary
# In:       rdi = size:u64[1..4088], rsi = align:u64[0..4096]
# Out:      rax = block:ptr, cf = out of memory
# Clobbers: rcx, rdx, rsi
# Context:  long mode, any IF, heap_lock held
function heap_take_slot
    call_frame
    push rbx
    push r12
    push r13
    push r13
    lea rcx, [rdi + HEAP_CANARY_SIZE]
    cmp rcx, rsi
    cmovb rcx, rsi                              # a slot is aligned to its size
    dec ecx
    bsr ecx, ecx
    inc ecx
    mov eax, HEAP_SLOT_MIN_SHIFT
    cmp ecx, eax
    cmovb ecx, eax
    mov r12d, ecx                               # shift of the slot size
    lea r13, [rip + heap_slabs]
    lea r13, [r13 + r12 * 8 - HEAP_SLOT_MIN_SHIFT * 8]
    mov rbx, [r13]
    test rbx, rbx
    jnz .Ltake_slot
    call slab_make
    jc .Ltake_slot_leave
.Ltake_slot:
    call slab_take_bit
    mov [rbx + SLAB_SIZES + rax * 2], di
    inc dword ptr [rbx + SLAB_USED]
    mov edx, [rbx + SLAB_USED]
    cmp edx, [rbx + SLAB_SLOTS]
    jb .Ltake_slot_place
    call slab_unlink                            # full
.Ltake_slot_place:
    mov ecx, r12d
    shl rax, cl
    mov edx, [rbx + SLAB_FIRST]
    add rax, rdx
    add rax, rbx
    clc
.Ltake_slot_leave:
    pop r13
    pop r13
    pop r12
    pop rbx
    return_frame
end_function heap_take_slot

# slab_take_bit -- mark the first free slot of a slab as in use
# In:       rbx = slab:ptr (with a free slot)
# Out:      rax = slot:u64
# Clobbers: rcx, rdx
# Context:  long mode, any IF, heap_lock held
local_function slab_take_bit
    xor ecx, ecx
.Ltake_bit_word:
    mov rdx, [rbx + SLAB_FREE_BITS + rcx * 8]
    test rdx, rdx
    jnz .Ltake_bit_found
    inc ecx
    jmp .Ltake_bit_word
.Ltake_bit_found:
    bsf rax, rdx
    btr rdx, rax
    mov [rbx + SLAB_FREE_BITS + rcx * 8], rdx
    shl ecx, 6                                  # bits of a word
    add eax, ecx
    ret
end_function slab_take_bit

# slab_make -- a new slab, all its slots free, the first of its class's list
# In:       r12 = shift:u64[5..12], r13 = list:ptr (empty)
# Out:      rbx = slab:ptr, cf = out of memory
# Clobbers: rax, rcx, rdx, rsi
# Context:  long mode, any IF, heap_lock held
local_function slab_make
    call_frame
    push rdi
    push rdi
    mov edi, SLAB_ORDER
    xor esi, esi
    call frame_alloc_order
    jc .Lmake_leave
    mov rbx, DIRECT_BASE
    add rbx, rax
    mov rdi, rbx
    xor eax, eax
    mov ecx, SLAB_SIZES / 8
    rep stosq
    mov rax, HEAP_SLAB_MAGIC
    xor rax, rbx
    mov [rbx + SLAB_MAGIC], rax
    mov [rbx + SLAB_SHIFT], r12d
    lea rax, [rip + slab_shapes]
    mov edx, [rax + r12 * 8 - HEAP_SLOT_MIN_SHIFT * 8]
    mov [rbx + SLAB_FIRST], edx
    mov ecx, [rax + r12 * 8 - HEAP_SLOT_MIN_SHIFT * 8 + 4]
    mov [rbx + SLAB_SLOTS], ecx
    mov [r13], rbx
    add qword ptr [rip + heap_frames], SLAB_FRAMES
    lea rdi, [rbx + SLAB_FREE_BITS]
    mov rax, -1
.Lmake_word:
    cmp ecx, 64
    jb .Lmake_rest
    stosq
    sub ecx, 64
    jmp .Lmake_word
.Lmake_rest:
    shl rax, cl
    not rax
    mov [rdi], rax
    clc
.Lmake_leave:
    pop rdi
    pop rdi
    return_frame
end_function slab_make

# slab_unlink -- take a slab out of the list of its class
# In:       rbx = slab:ptr, r13 = list:ptr
# Out:      none
# Clobbers: rcx, rdx
# Context:  long mode, any IF, heap_lock held
local_function slab_unlink
    mov rcx, [rbx + SLAB_NEXT]
    mov rdx, [rbx + SLAB_PREVIOUS]
    test rcx, rcx
    jz .Lunlink_last
    mov [rcx + SLAB_PREVIOUS], rdx
.Lunlink_last:
    test rdx, rdx
    jz .Lunlink_first
    mov [rdx + SLAB_NEXT], rcx
    ret
.Lunlink_first:
    mov [r13], rcx
    ret
end_function slab_unlink

# heap_give_slot -- give the slot of a block back
# In:       rdi = block:ptr, rax = slab:ptr (its magic is right)
# Out:      rax = error:u64, rsi = size:u64 (as it was asked for), cf = refused: ERROR_INVALID (not the beginning of a
#           slot), ERROR_NOT_FOUND (free already), ERROR_MALFORMED (overrun)
# Clobbers: rcx, rdx
# Context:  long mode, any IF, heap_lock held
function heap_give_slot
    call_frame
    push rbx
    push r13
    push rdi
    push r12
    mov rbx, rax
    mov rax, rdi
    sub rax, rbx
    mov edx, [rbx + SLAB_FIRST]
    sub rax, rdx
    jb .Lgive_slot_invalid
    mov ecx, [rbx + SLAB_SHIFT]
    mov edx, 1
    shl edx, cl
    dec edx
    test eax, edx
    jnz .Lgive_slot_invalid
    shr eax, cl
    cmp eax, [rbx + SLAB_SLOTS]
    jae .Lgive_slot_invalid
    lea r13, [rip + heap_slabs]
    lea r13, [r13 + rcx * 8 - HEAP_SLOT_MIN_SHIFT * 8]
    bt dword ptr [rbx + SLAB_FREE_BITS], eax
    jc .Lgive_slot_double
    movzx esi, word ptr [rbx + SLAB_SIZES + rax * 2]
    call heap_canary_check
    jc .Lgive_slot_overrun
    bts dword ptr [rbx + SLAB_FREE_BITS], eax
    mov r12d, [rbx + SLAB_USED]
    dec dword ptr [rbx + SLAB_USED]
    cmp r12d, [rbx + SLAB_SLOTS]
    jb .Lgive_slot_linked
    mov rcx, [r13]                              # it was full: into the list again
    mov [rbx + SLAB_NEXT], rcx
    mov qword ptr [rbx + SLAB_PREVIOUS], 0
    mov [r13], rbx
    test rcx, rcx
    jz .Lgive_slot_linked
    mov [rcx + SLAB_PREVIOUS], rbx
.Lgive_slot_linked:
    call slab_drop_empty
    xor eax, eax
.Lgive_slot_leave:
    pop r12
    pop rdi
    pop r13
    pop rbx
    return_frame
.Lgive_slot_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lgive_slot_leave
.Lgive_slot_double:
    mov eax, ERROR_NOT_FOUND
    stc
    jmp .Lgive_slot_leave
.Lgive_slot_overrun:
    mov eax, ERROR_MALFORMED
    stc
    jmp .Lgive_slot_leave
end_function heap_give_slot

# slab_drop_empty -- give an empty slab back unless it is the only one in the list of its class
# In:       rbx = slab:ptr, r13 = list:ptr
# Out:      none
# Clobbers: rax, rcx, rdx, rdi
# Context:  long mode, any IF, heap_lock held
local_function slab_drop_empty
    call_frame
    push rsi
    push rsi
    cmp dword ptr [rbx + SLAB_USED], 0
    jne .Ldrop_slab_leave
    mov rax, [rbx + SLAB_NEXT]
    or rax, [rbx + SLAB_PREVIOUS]
    jz .Ldrop_slab_leave
    call slab_unlink
    mov qword ptr [rbx + SLAB_MAGIC], 0         # no slab any more
    sub qword ptr [rip + heap_frames], SLAB_FRAMES
    mov rax, DIRECT_BASE
    mov rdi, rbx
    sub rdi, rax
    mov esi, SLAB_ORDER
    call frame_free_order
.Ldrop_slab_leave:
    pop rsi
    pop rsi
    return_frame
end_function slab_drop_empty

.section .bss, "aw", @nobits
    .balign 8
object heap_slabs                               # for each class, from 32 bytes up: the first slab with a free slot
    .skip HEAP_CLASSES * 8
end_object heap_slabs
