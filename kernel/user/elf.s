# Purpose:  whether a file is a program that can be loaded as it says: ELF64, checked field by field.
# Mode:     64-bit long mode
# Spec:     System V ABI (gABI) 4.1, chapters 4 and 5; System V AMD64 ABI 1.0, 4.1 (EM_X86_64)
# Exports:  elf_check elf_reasons
# Invariants: nothing outside of the file is read, and no sum wraps. What passes: each segment lies whole in the file and in
#           what a program's image may have, on pages of its own, in ascending order, never writable and executable;
#           the entry lies in what an executable segment takes from the file. Anything that would need more than
#           copying (an interpreter, relocation, thread-local storage) is refused.
#
#   header   +0x00 magic   +0x04 class data version ABI   +0x10 type   +0x12 machine   +0x14 version   +0x18 entry
#            +0x20 place of the program headers   +0x30 flags   +0x34 size   +0x36 size of each   +0x38 count
#   segment  +0x00 type   +0x04 rights   +0x08 place in the file   +0x10 address   +0x20 bytes in the file
#            +0x28 bytes in memory   +0x30 alignment
.intel_syntax noprefix
.include "macros.inc"
.include "layout.inc"
.include "user.inc"
.include "elf.inc"

# elf_reason NAME, "text" -- a row of elf_reasons; they stand in the order of ELF_*
.macro elf_reason name, text
    .set REASON_ROW, REASON_ROW + 1
    .if ELF_\name - REASON_ROW
    .error "the rows of elf_reasons do not follow user.inc"
    .endif
    .section .rodata.reasons, "a"
    .quad .Lreason_\name
    .section .rodata, "a"
.Lreason_\name:
    .asciz "\text"
.endm

.section .rodata.reasons, "a"
    .balign 8
.global elf_reasons
elf_reasons:                                    # asciz, by ELF_*, from 1 on
.section .rodata, "a"
.set REASON_ROW, 0
    elf_reason SHORT, "shorter than an ELF header"
    elf_reason MAGIC, "no ELF file"
    elf_reason CLASS, "not 64-bit, little endian, version 1, System V"
    elf_reason TYPE, "no executable with fixed addresses (ET_EXEC)"
    elf_reason MACHINE, "for another machine than x86-64"
    elf_reason VERSION, "another version of ELF than 1"
    elf_reason FLAGS, "processor flags that x86-64 does not have"
    elf_reason HEADER_SIZES, "headers of another size than ELF64 has"
    elf_reason HEADER_COUNT, "no program header, or more than 16"
    elf_reason HEADER_PLACE, "program headers that lie outside of the file, or not on 8 bytes"
    elf_reason SEGMENT_TYPE, "a segment that needs a dynamic linker, or of an unknown type"
    elf_reason RIGHTS, "a segment that cannot be read, or with unknown rights"
    elf_reason WRITE_EXECUTE, "a segment that is writable and executable"
    elf_reason SIZE, "a segment of no size, or larger in the file than in memory"
    elf_reason TRUNCATED, "a segment that does not lie whole in the file"
    elf_reason ADDRESS, "a segment outside of what a program's image may have"
    elf_reason ALIGNMENT, "a segment whose place and address do not fit its alignment"
    elf_reason OVERLAP, "segments that share a page, or do not ascend"
    elf_reason LARGE, "more than 16 MB of memory"
    elf_reason NO_SEGMENT, "nothing to load"
    elf_reason ENTRY, "an entry outside of what is executable"
.if REASON_ROW - ELF_REASONS
    .error "elf_reasons lacks a reason"
.endif

.section .text, "ax"

# elf_check -- whether an image can be loaded
# In:       rdi = image:ptr, rsi = length:u64 (bytes)
# Out:      rax = reason:u64 (ELF_*, 0 = it can), rdx = pages:u64 (that its segments take), cf = refused
# Clobbers: rcx, r8, r9, r10, r11
# Context:  long mode, any IF
function elf_check
    call_frame
    push rbx
    push r12
    push r13
    push r14
    xor edx, edx
    call elf_check_header
    jc .Lelf_return
    movzx r12d, word ptr [rdi + ELF_COUNT]
    mov rbx, [rdi + ELF_PLACE]
    add rbx, rdi
    xor r13d, r13d                              # end of the segment before: a page
    xor r14d, r14d                              # not 0: the entry was found
    xor edx, edx                                # pages
.Lelf_segment:
    call elf_check_segment
    jc .Lelf_return
    add rbx, ELF_SEGMENT_SIZE
    dec r12d
    jnz .Lelf_segment
    mov eax, ELF_NO_SEGMENT
    cmp edx, 1
    jb .Lelf_return
    mov eax, ELF_ENTRY
    cmp r14d, 1
    jb .Lelf_return
    xor eax, eax
.Lelf_return:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function elf_check

# elf_check_header -- whether the file's own header is one that this kernel can follow
# In:       rdi = image:ptr, rsi = length:u64
# Out:      rax = reason:u64 (ELF_*), cf = refused
# Clobbers: rcx, r8
# Context:  long mode, any IF
local_function elf_check_header
    mov eax, ELF_SHORT
    cmp rsi, ELF_HEADER_SIZE
    jb .Lheader_refused
    mov eax, ELF_MAGIC
    cmp dword ptr [rdi], ELF_MAGIC_VALUE
    jne .Lheader_refused
    mov eax, ELF_CLASS
    cmp dword ptr [rdi + ELF_IDENT], ELF_IDENT_VALUE
    jne .Lheader_refused
    mov eax, ELF_TYPE
    cmp word ptr [rdi + ELF_TYPE_AT], ELF_TYPE_EXEC
    jne .Lheader_refused
    mov eax, ELF_MACHINE
    cmp word ptr [rdi + ELF_MACHINE_AT], ELF_MACHINE_X86_64
    jne .Lheader_refused
    mov eax, ELF_VERSION
    cmp dword ptr [rdi + ELF_VERSION_AT], 1
    jne .Lheader_refused
    mov eax, ELF_FLAGS
    cmp dword ptr [rdi + ELF_FLAGS_AT], 0
    jne .Lheader_refused
    mov eax, ELF_HEADER_SIZES
    cmp dword ptr [rdi + ELF_SIZES_AT], ELF_SEGMENT_SIZE << 16 | ELF_HEADER_SIZE
    jne .Lheader_refused
    mov eax, ELF_HEADER_COUNT
    movzx ecx, word ptr [rdi + ELF_COUNT]
    dec ecx
    cmp ecx, ELF_SEGMENTS_MAX
    jae .Lheader_refused
    mov eax, ELF_HEADER_PLACE
    mov r8, [rdi + ELF_PLACE]
    test r8b, 7
    jnz .Lheader_refused
    cmp r8, ELF_HEADER_SIZE
    jb .Lheader_refused
    cmp r8, rsi
    ja .Lheader_refused
    inc ecx
    imul ecx, ecx, ELF_SEGMENT_SIZE
    sub r8, rsi
    neg r8                                      # bytes from there to the end
    cmp r8, rcx
    jb .Lheader_refused
    xor eax, eax
    ret
.Lheader_refused:
    stc
    ret
end_function elf_check_header

# elf_check_segment -- whether one segment can be loaded
# In:       rdi = image:ptr, rsi = length:u64, rbx = segment:ptr, r13 = floor:u64 (a page, where the one before ends),
#           r14 = found:u64, rdx = pages:u64 (so far)
# Out:      rax = reason:u64 (ELF_*), r13 = floor:u64, r14 = found:u64 (1 when the entry lies in it), rdx = pages:u64, cf = refused
# Clobbers: rcx, r8, r9, r10, r11
# Context:  long mode, any IF; from elf_check
local_function elf_check_segment
    mov ecx, [rbx + ELF_SEGMENT_RIGHTS]
    mov eax, [rbx + ELF_SEGMENT_TYPE_AT]
    cmp eax, ELF_SEGMENT_LOAD
    je .Lsegment_load
    test ecx, ELF_RIGHT_EXECUTE                 # a stack that is to be executable
    jz .Lsegment_kind
    cmp eax, ELF_SEGMENT_STACK
    je .Lsegment_both
.Lsegment_kind:
    cmp eax, ELF_SEGMENT_NULL
    je .Lsegment_pass
    cmp eax, ELF_SEGMENT_NOTE
    je .Lsegment_pass
    cmp eax, ELF_SEGMENT_HEADERS
    je .Lsegment_pass
    cmp eax, ELF_SEGMENT_STACK
    je .Lsegment_pass
    cmp eax, ELF_SEGMENT_PROPERTY
    je .Lsegment_pass
    mov eax, ELF_SEGMENT_TYPE
    jmp .Lsegment_refused
.Lsegment_load:
    mov eax, ELF_RIGHTS
    test ecx, ~ELF_RIGHTS_ALL
    jnz .Lsegment_refused
    test ecx, ELF_RIGHT_READ
    jz .Lsegment_refused
    and ecx, ELF_RIGHT_WRITE | ELF_RIGHT_EXECUTE
    cmp ecx, ELF_RIGHT_WRITE | ELF_RIGHT_EXECUTE
    je .Lsegment_both
    mov eax, ELF_SIZE
    mov r8, [rbx + ELF_SEGMENT_MEMORY]
    mov r9, [rbx + ELF_SEGMENT_FILE]
    test r8, r8
    jz .Lsegment_refused
    cmp r9, r8
    ja .Lsegment_refused
    mov eax, ELF_TRUNCATED
    mov r10, [rbx + ELF_SEGMENT_PLACE]
    cmp r10, rsi
    ja .Lsegment_refused
    mov r11, rsi
    sub r11, r10
    cmp r9, r11
    ja .Lsegment_refused
    mov eax, ELF_ADDRESS
    mov r11, [rbx + ELF_SEGMENT_ADDRESS]
    mov rcx, USER_FIRST
    cmp r11, rcx
    jb .Lsegment_refused
    mov rcx, USER_IMAGE_END
    sub rcx, r11
    jb .Lsegment_refused
    cmp r8, rcx
    ja .Lsegment_refused
    mov eax, ELF_ALIGNMENT
    mov rcx, [rbx + ELF_SEGMENT_ALIGN]
    sub rcx, 1
    jb .Lsegment_aligned                        # 0 means 1
    test rcx, [rbx + ELF_SEGMENT_ALIGN]
    jnz .Lsegment_refused                       # no power of two
    sub r10, r11
    test r10, rcx
    jnz .Lsegment_refused
.Lsegment_aligned:
    mov eax, ELF_OVERLAP
    mov rcx, r11
    and rcx, ~PAGE_MASK
    cmp rcx, r13
    jb .Lsegment_refused
    lea r13, [r11 + r8 + PAGE_MASK]
    and r13, ~PAGE_MASK
    mov eax, ELF_LARGE
    mov r10, r13
    sub r10, rcx
    shr r10, PAGE_SHIFT
    add rdx, r10                                # at most 2^32 for each of 16
    cmp rdx, USER_PAGES_MAX
    ja .Lsegment_refused
    test byte ptr [rbx + ELF_SEGMENT_RIGHTS], ELF_RIGHT_EXECUTE
    jz .Lsegment_pass
    mov rcx, [rdi + ELF_ENTRY_AT]
    sub rcx, r11
    jb .Lsegment_pass
    cmp rcx, r9
    jae .Lsegment_pass
    mov r14d, 1
.Lsegment_pass:
    xor eax, eax
    ret
.Lsegment_both:
    mov eax, ELF_WRITE_EXECUTE
.Lsegment_refused:
    stc
    ret
end_function elf_check_segment
