# Purpose:  stacks for threads and for CPUs, each above a guard page.
# Mode:     64-bit
# Exports:  stack_alloc stack_free; stack_count stack_double_frees
# Invariants: the area is cut into slots of STACK_SLOT_SIZE; a stack ends where its slot does, and what lies below it in
#           the slot, a page at least, is never mapped: an overflow faults, in the neighbour's direction too.
#
#   slot n  | guard …        | stack         | slot n + 1: guard …
#           never mapped       top - size      top
.intel_syntax noprefix
.include "macros.inc"
.include "errors.inc"
.include "registers.inc"
.include "layout.inc"
.include "paging.inc"

.set STACK_WORDS, STACK_SLOTS / 64
.set STACK_SIZE_MAX, STACK_SLOT_SIZE - PAGE_SIZE

.section .text, "ax"

# stack_alloc -- a new stack, cleared
# In:       rdi = size:u64 (bytes, up to 60 KB; rounded up to pages)
# Out:      rax = top:u64 (the first byte above it) or error code, cf = refused: ERROR_INVALID (a size of 0, or too
#           large), ERROR_FULL (no slot), ERROR_NO_MEMORY
# Clobbers: none
# Context:  long mode, any IF, after the paging unit
function stack_alloc
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r12
    lea rbx, [rdi + PAGE_MASK]
    and rbx, ~PAGE_MASK
    dec rdi
    cmp rdi, STACK_SIZE_MAX
    jae .Lstack_invalid
    lea rdi, [rip + page_lock]
    call mm_lock_enter
    mov r12, rax
    call stack_find_slot
    jc .Lstack_full
    mov rdx, rax
    shl rax, STACK_SLOT_SHIFT
    mov rdi, STACK_AREA + STACK_SLOT_SIZE
    add rdi, rax                                # top
    sub rdi, rbx
    mov rsi, rbx
    push rdx
    push rdi
    mov rdx, PAGE_KERNEL_DATA
    call page_alloc_range
    pop rdi
    pop rdx
    jc .Lstack_unlock
    bts qword ptr [rip + stack_slots], rdx
    lea rcx, [rip + stack_sizes]
    mov eax, ebx
    shr eax, PAGE_SHIFT
    mov [rcx + rdx], al
    inc qword ptr [rip + stack_count]
    lea rax, [rdi + rbx]
    clc
.Lstack_unlock:
    lea rdi, [rip + page_lock]
    mov rsi, r12
    call mm_lock_leave
.Lstack_leave:
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lstack_full:
    mov eax, ERROR_FULL
    stc
    jmp .Lstack_unlock
.Lstack_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lstack_leave
end_function stack_alloc

# stack_find_slot -- the first slot without a stack
# In:       none
# Out:      rax = slot:u64[0..4095], cf = all have one
# Clobbers: rcx, rdx, rdi
# Context:  long mode, page_lock held
local_function stack_find_slot
    lea rdi, [rip + stack_slots]
    xor ecx, ecx
.Lslot_word:
    mov rdx, [rdi + rcx * 8]
    not rdx
    test rdx, rdx
    jnz .Lslot_found
    inc ecx
    cmp ecx, STACK_WORDS
    jb .Lslot_word
    stc
    ret
.Lslot_found:
    bsf rax, rdx
    shl ecx, 6                                  # bits of a word
    add eax, ecx                                # no carry: cf is clear
    ret
end_function stack_find_slot

# stack_free -- give a stack back
# In:       rdi = top:u64 (what stack_alloc gave)
# Out:      rax = error:u64, cf = refused: ERROR_INVALID (no stack's top), ERROR_NOT_FOUND (free already, counted);
#           ERROR_TIMEOUT: a CPU did not answer, the slot stays out of use
# Clobbers: none
# Context:  long mode, any IF, on another stack
function stack_free
    call_frame
    push rcx
    push rdx
    push rdi
    push rsi
    push rbx
    push r12
    mov rdx, rdi
    mov rax, STACK_AREA + STACK_SLOT_SIZE
    sub rdx, rax
    test edx, STACK_SLOT_SIZE - 1
    jnz .Lstack_free_invalid
    shr rdx, STACK_SLOT_SHIFT
    cmp rdx, STACK_SLOTS
    jae .Lstack_free_invalid
    mov rbx, rdi
    lea rdi, [rip + page_lock]
    call mm_lock_enter
    mov r12, rax
    bt qword ptr [rip + stack_slots], rdx
    jnc .Lstack_free_double
    lea rcx, [rip + stack_sizes]
    movzx esi, byte ptr [rcx + rdx]
    shl esi, PAGE_SHIFT
    mov rdi, rbx
    sub rdi, rsi
    call page_unmap_range
    jc .Lstack_free_unlock
    btr qword ptr [rip + stack_slots], rdx
    dec qword ptr [rip + stack_count]
    xor eax, eax
.Lstack_free_unlock:
    lea rdi, [rip + page_lock]
    mov rsi, r12
    call mm_lock_leave
.Lstack_free_leave:
    pop r12
    pop rbx
    pop rsi
    pop rdi
    pop rdx
    pop rcx
    return_frame
.Lstack_free_double:
    inc qword ptr [rip + stack_double_frees]
    mov eax, ERROR_NOT_FOUND
    stc
    jmp .Lstack_free_unlock
.Lstack_free_invalid:
    mov eax, ERROR_INVALID
    stc
    jmp .Lstack_free_leave
end_function stack_free

.section .bss, "aw", @nobits
    .balign 8
object stack_slots                              # bit n = slot n has a stack
    .skip STACK_WORDS * 8
end_object stack_slots
object stack_sizes                              # pages of each stack, by slot
    .skip STACK_SLOTS
end_object stack_sizes
object stack_count                              # stacks in use
    .skip 8
end_object stack_count
object stack_double_frees                       # frees refused because the stack was free
    .skip 8
end_object stack_double_frees
