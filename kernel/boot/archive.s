# Purpose:  a module that is an archive: each file in it becomes a module of its own.
# Mode:     64-bit long mode, early page tables
# Spec:     cpio(5), "New ASCII Format" (newc), as Linux takes it for an initial RAM file system
# Exports:  archive_expand
# Invariants: nothing is read outside of the module; an entry that does not fit ends the reading, and what came before
#           it counts. The archive stays a module too, so that its memory is nobody else's.
#
#   entry:  +0 "070701"   +6 thirteen numbers of eight hexadecimal digits   +110 name, zero-ended   data
#           the data begin, and the next entry, at multiples of 4 from the begin of the archive
#   +54 size of the file   +94 size of the name with its zero   the last entry's name is TRAILER!!!
.intel_syntax noprefix
.include "macros.inc"
.include "boot.inc"

.set CPIO_MAGIC_LOW, 0x37303730                 # "0707"
.set CPIO_MAGIC_HIGH, 0x3130                    # "01"
.set CPIO_FILE_SIZE, 54
.set CPIO_NAME_SIZE, 94
.set CPIO_DIGITS, 8
.set CPIO_HEADER_SIZE, 110
.set CPIO_ALIGN, 4
.set CPIO_TRAILER_LOW, 0x2152454c49415254       # "TRAILER!"

.section .text, "ax"

# archive_expand -- append the files of every module that is an archive to the modules
# In:       none
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode, early page tables, after the loader's modules were read
function archive_expand
    call_frame
    push rbx
    push r12
    lea rbx, [rip + bootinfo_modules]
    mov r12, qword ptr [rip + bootinfo_module_count]
.Lexpand_next:
    dec r12
    js .Lexpand_done
    mov rdi, qword ptr [rbx + MODULE_BASE]
    mov rsi, qword ptr [rbx + MODULE_LENGTH]
    call bootinfo_reach
    jc .Lexpand_skip
    mov rdx, rax
    call archive_read
.Lexpand_skip:
    add rbx, MODULE_ENTRY_SIZE
    jmp .Lexpand_next
.Lexpand_done:
    pop r12
    pop rbx
    return_frame
end_function archive_expand

# archive_read -- append the files of one archive; what is none has none
# In:       rdi = pa:u64, rsi = length:u64, rdx = va:ptr (of the archive)
# Out:      none
# Clobbers: rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
# Context:  long mode
local_function archive_read
    call_frame
    push rbx
    push r12
    push r13
    push r14
    mov rbx, rdx
    mov r12, rdi
    mov r13, rsi
    xor r14d, r14d                              # where the entry begins
.Larchive_entry:
    mov rax, r13
    sub rax, r14
    cmp rax, CPIO_HEADER_SIZE
    jb .Larchive_done
    lea rdi, [rbx + r14]
    cmp dword ptr [rdi], CPIO_MAGIC_LOW
    jne .Larchive_done
    cmp word ptr [rdi + 4], CPIO_MAGIC_HIGH
    jne .Larchive_done
    lea rsi, [rdi + CPIO_NAME_SIZE]
    call archive_number
    jc .Larchive_done
    mov r8, rax                                 # bytes of the name
    lea rsi, [rdi + CPIO_FILE_SIZE]
    call archive_number
    jc .Larchive_done
    mov r9, rax                                 # bytes of the file
    lea r10, [r14 + r8 + CPIO_HEADER_SIZE + CPIO_ALIGN - 1]
    and r10, -CPIO_ALIGN                        # where its data begin: all of these are far below 2^64
    lea r11, [r10 + r9]
    cmp r11, r13
    ja .Larchive_done
    cmp r8, 8                                   # long enough for the name of the last
    jb .Larchive_file
    mov rax, CPIO_TRAILER_LOW
    cmp qword ptr [rdi + CPIO_HEADER_SIZE], rax
    je .Larchive_done
.Larchive_file:
    lea rdx, [rdi + CPIO_HEADER_SIZE]
    mov rcx, r8
    lea rdi, [r12 + r10]
    mov rsi, r9
    test rsi, rsi
    jz .Larchive_advance                        # a folder, or nothing to run
    call bootinfo_add_module
.Larchive_advance:
    lea r14, [r11 + CPIO_ALIGN - 1]
    and r14, -CPIO_ALIGN
    cmp r14, r13
    jb .Larchive_entry
.Larchive_done:
    pop r14
    pop r13
    pop r12
    pop rbx
    return_frame
end_function archive_read

# archive_number -- a number of eight hexadecimal digits
# In:       rsi = digits:ptr
# Out:      rax = number:u64, cf = one of them is no digit
# Clobbers: rcx, rdx, rsi
# Context:  long mode
local_function archive_number
    xor eax, eax
    mov ecx, CPIO_DIGITS
.Lnumber_digit:
    movzx edx, byte ptr [rsi]
    inc rsi
    sub edx, '0'
    cmp edx, 9
    jbe .Lnumber_add
    or edx, 0x20                                # letters of either case
    sub edx, 'a' - '0'
    cmp edx, 5
    ja .Lnumber_none
    add edx, 10
.Lnumber_add:
    shl rax, 4
    or rax, rdx
    dec ecx
    jnz .Lnumber_digit
    clc
    ret
.Lnumber_none:
    stc
    ret
end_function archive_number
