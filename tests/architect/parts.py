"""Parts of sources that stand at the end of a file of the small kernel, each with room for a mistake of some kind."""

from __future__ import annotations

from tests.architect.kernels import FILES

PAGE, GPU, PAGING = "mm/page.s", "gpu/gpu.s", "include/paging.inc"
LOCK = """
# lock_take -- wait for the lock
# In:       rdi = lock:ptr
# Out:      none
# Clobbers: rax
# Context:  long mode
function lock_take
.Ltake_again:
    mov eax, 1
    xchg eax, [rdi]
    test eax, eax
    jnz .Ltake_again
    ret
end_function lock_take

# lock_give -- let the lock go
# In:       rdi = lock:ptr
# Out:      none
# Clobbers: none
# Context:  long mode
function lock_give
    mov dword ptr [rdi], 0
    ret
end_function lock_give

# count_up -- count under the lock
# In:       rdi = lock:ptr, rsi = counter:ptr
# Out:      rax = count:u64
# Clobbers: none
# Context:  long mode
function count_up
    call_frame
    push rbx
    sub rsp, 8
    call lock_take
    lock inc qword ptr [rsi + 8]
    mov rbx, [rsi + 8]
    call lock_give
    mov rax, rbx
    add rsp, 8
    pop rbx
    return_frame
end_function count_up

# count_set -- set the count under the lock
# In:       rdi = lock:ptr, rsi = counter:ptr, rax = count:u64
# Out:      none
# Clobbers: rax
# Context:  long mode
function count_set
    push rax
    call lock_take
    pop rax
    mov [rsi + 8], rax
    sub rsp, 8
    call lock_give
    add rsp, 8
    ret
end_function count_set
"""
JOIN = """
.set SPAN_PAGE, 4096
# span_join -- join a page to a span
# In:       rdi = span:ptr
# Out:      rax = span:u64
# Clobbers: none
# Context:  long mode
function span_join
    mov rax, [rdi]
    or rax, SPAN_PAGE
    ret
end_function span_join
"""
TABLE = """
gpu_segments:
    .quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
    .quad 0x0000890000000000
"""
COPY = """
# copy_rows -- copy words of a row
# In:       rdi = to:ptr, rsi = from:ptr, rcx = words:u64
# Out:      rax = end:ptr
# Clobbers: rcx, rsi, rdi
# Context:  long mode
function copy_rows
    rep movsq
    mov rax, rdi
    ret
end_function copy_rows
"""
CLEARED = """    xor eax, eax
    mov ecx, 512
    rep stosq
"""
FRAMES = """
.set FRAME_BASE, 0xffff800000000000
# frame_take -- take a frame from the list of free ones
# In:       rdi = list:ptr
# Out:      rax = frame:u64
# Clobbers: rcx, rdi
# Context:  long mode
function frame_take
    mov rax, [rdi]
    mov rcx, FRAME_BASE
    add rcx, rax
    mov rcx, [rcx]
    mov [rdi], rcx
    mov rcx, FRAME_BASE
    add rcx, rax
    mov qword ptr [rcx], 0
    ret
end_function frame_take

# frame_clear -- take a frame, all its bytes zero
# In:       rdi = list:ptr
# Out:      rax = frame:u64
# Clobbers: rcx, rdi
# Context:  long mode
function frame_clear
    call frame_take
    mov rdi, FRAME_BASE
    add rdi, rax
    push rax
    xor eax, eax
    mov ecx, 512
    rep stosq
    pop rax
    ret
end_function frame_clear

# frame_back -- the physical address that a mapped one has
# In:       rdi = mapped:ptr
# Out:      rax = frame:u64
# Clobbers: none
# Context:  long mode
function frame_back
    mov rax, rdi
    ret
end_function frame_back
"""
CELLS = """
# cell_read32 -- read a cell
# In:       rdi = cell:ptr
# Out:      rax = value:u32, cf = there is none
# Clobbers: none
# Context:  long mode
function cell_read32
    call_frame
    call cell_check
    jc .Lcell_read_leave
    mov eax, [rdi]
    clc
.Lcell_read_leave:
    return_frame
end_function cell_read32

# cell_clear -- clear a cell
# In:       rdi = cell:ptr
# Out:      cf = there is none
# Clobbers: rdx
# Context:  long mode
function cell_clear
    xor edx, edx
    jmp cell_write32
end_function cell_clear

# cell_write32 -- write a cell
# In:       rdi = cell:ptr, edx = value:u32
# Out:      cf = there is none
# Clobbers: none
# Context:  long mode
"""
WRITTEN = """function cell_write32
    call_frame
    call cell_check
    jc .Lcell_write_leave
    mov [rdi], edx
    clc
.Lcell_write_leave:
    return_frame
end_function cell_write32
"""
CONTEXT = """
# context_switch -- keep what a thread has
# In:       none
# Out:      none
# Clobbers: none
# Context:  long mode
function context_switch
    push r9
    push r10
    push r11
    push r12
    nop
    pop r12
    pop r11
    pop r10
    pop r9
    ret
end_function context_switch
"""
SPAN = """
.set SPAN_PAGE, 4096
# span_round -- the pages of a span
# In:       rdi = base:u64, rsi = end:u64
# Out:      rax = first:u64, rdx = last:u64
# Clobbers: none
# Context:  long mode
function span_round
    mov rax, rdi
    mov rdx, rsi
    add rdx, SPAN_PAGE - 1
    shr rax, PT_SHIFT
    shr rdx, PT_SHIFT
    ret
end_function span_round

# span_grow -- a page more at either end
# In:       rdi = base:ptr, rsi = end:ptr
# Out:      none
# Clobbers: rax
# Context:  long mode
function span_grow
    mov rax, [rdi]
    sub rax, SPAN_PAGE
    mov [rdi], rax
    mov rax, [rsi]
    add rax, SPAN_PAGE
    mov [rsi], rax
    ret
end_function span_grow
"""
FLUSH = """
# page_clear -- unmap one page
# In:       rdi = va:ptr, rsi = entry:ptr
# Out:      none
# Clobbers: none
# Context:  long mode
function page_clear
    mov qword ptr [rsi], 0
    invlpg [rdi]
    ret
end_function page_clear
"""
ROWS = """
.section .rodata, "a"
    .balign 16
gpu_modes: .quad 640, 480, 32
.section .text, "ax"
"""
MAPPED = FILES[PAGE].split("    push rbx\n", 1)[1].split("    pop rbx\n", 1)[0]
COUNTED = LOCK.split("    sub rsp, 8\n", 1)[1].split("    add rsp, 8\n", 1)[0]
OFFSETS = """
.set ROW_NAME, 0x00
.set ROW_BASE, 0x08
.set ROW_END, 0x10
.set ROW_SIZE, 0x18
.set ROW_NEXT, 0x20
"""
TRAPS = """
.section .boot.text, "ax"
trap_common:
    pushad
    mov eax, [esp + 32]
    mov edi, offset trap_table
    mov [edi], ax
    shr eax, 16
    mov [edi + 2], ax
    add edi, 8
    popad
    add esp, 8
    iretd
trap_gdt: .quad 0x00af9a000000ffff
trap_table: .quad 0
"""
EARLY = """
.section .boot.text, "ax"
.code32
boot_entry:
    mov eax, cr0
    hlt
.code64
"""
