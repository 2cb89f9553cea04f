# Purpose:  reads the stack of faulting code without ever faulting itself: raw quadwords and return addresses.
# Mode:     64-bit long mode, interrupts off
# Spec:     Intel SDM vol. 3, 4.5 (4-level paging)
# Exports:  fault_read, fault_probe_load, fault_probe_failed, fault_put_stack, fault_put_trace, fault_put_trace_of
# Invariants: every load goes through fault_probe_load, whose fault the dispatcher turns into fault_probe_failed;
#           the page walk before it keeps that from happening, and the host's exception log clean, as long as the
#           page tables are sound.
#
#   frame of a routine:   [rbp]     caller's rbp    (higher, 8-aligned)
#                         [rbp + 8] return address  (within .text)
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "registers.inc"

.set WALK_LEVELS, 4
.set TABLE_INDEX_BITS, 9
.set CANONICAL_SHIFT, 16
.set QUAD_SIZE, 8

.section .text, "ax"

# fault_probe -- read one quadword; a fault is a failure, not an exception
# In:       rdi = address:u64
# Out:      rax = value:u64, cf = cannot be read
# Clobbers: none
# Context:  long mode, any IF, IDT loaded
function fault_probe
fault_probe_load:
    mov rax, qword ptr [rdi]
    clc
    ret
fault_probe_failed:
    xor eax, eax
    stc
    ret
end_function fault_probe
.global fault_probe_load
.global fault_probe_failed

# fault_read -- read one quadword when the page tables map its first and its last byte
# In:       rdi = address:u64
# Out:      rax = value:u64, cf = not mapped
# Clobbers: rcx, rdx
# Context:  long mode, any IF, IDT loaded, direct map in place
function fault_read
    call_frame
    push rdi
    push rsi
    call fault_page_mapped
    jc .Lread_return
    add rdi, QUAD_SIZE - 1
    call fault_page_mapped
    jc .Lread_return
    mov rdi, qword ptr [rbp - 8]
    call fault_probe_any
.Lread_return:
    pop rsi
    pop rdi
    return_frame
end_function fault_read

# fault_probe_any -- fault_probe, for an address of ring 3 too, where SMAP is on
# In:       rdi = address:u64
# Out:      rax = value:u64, cf = cannot be read
# Clobbers: rcx
# Context:  long mode, any IF, IDT loaded
local_function fault_probe_any
    mov rax, cr4
    test eax, CR4_SMAP
    jz fault_probe
    call_frame
    pushfq
    push rax
    stac
    call fault_probe
    sbb ecx, ecx                                # cf, meanwhile
    add rsp, 8
    popfq                                       # AC as it was
    add ecx, ecx
    pop rbp
    ret
end_function fault_probe_any

# fault_page_mapped -- walk the page tables that CR3 holds; where they cannot be read themselves, the load may try
# In:       rdi = address:u64
# Out:      cf = not mapped
# Clobbers: rax, rcx, rdx
# Context:  long mode, any IF, IDT loaded, direct map in place
local_function fault_page_mapped
    call_frame
    push rbx
    push rdi
    mov rbx, rdi
    mov rax, rdi
    shl rax, CANONICAL_SHIFT
    sar rax, CANONICAL_SHIFT
    cmp rax, rdi
    stc
    jne .Lmapped_return
    mov rax, cr3
    mov ecx, PML4_SHIFT
.Lmapped_level:
    mov rdx, PTE_ADDRESS_MASK
    and rax, rdx
    mov rdx, DIRECT_BASE
    add rax, rdx
    mov rdx, rbx
    shr rdx, cl
    and edx, TABLE_INDEX_MASK
    lea rdi, [rax + rdx * 8]
    call fault_probe
    cmc
    jnc .Lmapped_return
    test al, PTE_PRESENT
    stc
    jz .Lmapped_return
    cmp ecx, PT_SHIFT
    je .Lmapped_return                          # cf is clear: it is equal
    sub ecx, TABLE_INDEX_BITS
    test al, PTE_LARGE                          # clears cf; in a PML4E the bit is reserved and faults the load
    jz .Lmapped_level
.Lmapped_return:
    pop rdi
    pop rbx
    return_frame
end_function fault_page_mapped

# fault_put_stack -- print quadwords from an address up, comma-separated, as far as they can be read
# In:       rdi = address:u64, esi = count:u32
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, within a serial line
function fault_put_stack
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdi
    mov r12d, esi
    xor r13d, r13d                              # quads printed
.Lstack_next:
    cmp r13d, r12d
    jae .Lstack_return
    mov rdi, rbx
    call fault_read
    jc .Lstack_return
    mov rdi, rax
    mov esi, r13d
    call fault_put_item
    add rbx, QUAD_SIZE
    inc r13d
    jmp .Lstack_next
.Lstack_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function fault_put_stack

# fault_put_trace -- print the return addresses of a chain of the kernel's rbp frames, as far as it is sound
# In:       rdi = rbp:u64, esi = count:u32
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  as fault_put_trace_of
function fault_put_trace
    lea rdx, [rip + __text_start]
    lea rcx, [rip + __text_end]
    jmp fault_put_trace_of
end_function fault_put_trace

# fault_put_trace_of -- print the return addresses of a chain of rbp frames, as far as it is sound
# In:       rdi = rbp:u64, esi = count:u32, rdx = first:u64, rcx = end:u64 (of the text that the frames are of)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi
# Context:  long mode, interrupts off, within a serial line. A frame is sound when it lies in the half of the text on 8
#           bytes, above the one before, and its return address lies in the text
function fault_put_trace_of
    call_frame
    push rbx
    push r12
    push r13
    push r14
    push r15
    push r15
    mov rbx, rdi
    mov r12d, esi
    mov r14, rdx
    mov r15, rcx
    xor r13d, r13d                              # addresses printed
.Ltrace_next:
    cmp r13d, r12d
    jae .Ltrace_return
    test bl, QUAD_SIZE - 1
    jnz .Ltrace_return
    mov rax, rbx
    xor rax, r14
    js .Ltrace_return                           # the other half
    lea rdi, [rbx + QUAD_SIZE]
    call fault_read
    jc .Ltrace_return
    cmp rax, r14
    jb .Ltrace_return
    cmp rax, r15
    ja .Ltrace_return                           # a call may be the last instruction
    mov rdi, rax
    mov esi, r13d
    call fault_put_item
    inc r13d
    mov rdi, rbx
    call fault_read
    jc .Ltrace_return
    cmp rax, rbx
    jbe .Ltrace_return                          # frames go up, so the walk ends
    mov rbx, rax
    jmp .Ltrace_next
.Ltrace_return:
    pop r15
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function fault_put_trace_of

# fault_put_item -- print one number of a list
# In:       rdi = number:u64, esi = index:u32 (a comma goes before all but the first)
# Out:      none
# Clobbers: rax, rdx
# Context:  long mode, within a serial line
local_function fault_put_item
    call_frame
    push rdi
    push rsi
    test esi, esi
    jz .Litem_number
    mov edi, ','
    call serial_put_char
    mov rdi, qword ptr [rbp - 8]
.Litem_number:
    call serial_put_hex
    pop rsi
    pop rdi
    return_frame
end_function fault_put_item
